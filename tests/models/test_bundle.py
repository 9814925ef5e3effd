"""Models on disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.bundle import BundleError, load, save


@pytest.fixture
def folder(tmp_path, bundle):
    save(tmp_path / "xp_mae" / "f00d", bundle)
    return tmp_path / "xp_mae" / "f00d"


def test_a_bundle_reads_back_as_it_was_written(folder, bundle):
    found = load(folder)
    for name in ("fingerprint", "config", "seed", "training_builds", "history"):
        assert getattr(found, name) == getattr(bundle, name)
    assert found.scaling.features == bundle.scaling.features
    np.testing.assert_array_equal(found.scaling.centre, bundle.scaling.centre)
    for name, weight in bundle.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], weight)
    assert not found.network.training


def test_the_folder_holds_two_files_and_leaves_no_draft(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "weights.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["f00d"]


def test_the_document_states_what_it_is(folder):
    document = json.loads((folder / "bundle.json").read_text())
    assert document["model"] == "xp_mae"
    assert document["training_builds"] == {"pretrain": "b0b0"}
    assert document["input_columns"][:2] == ["bp_coefficients", "rp_coefficients"]
    assert document["scaling"]["never_seen"] == []
    assert len(document["history"]) == 2


def test_the_same_content_is_loaded_once_per_process(folder):
    assert load(folder) is load(folder)


@pytest.mark.parametrize("place", [10, -1])
def test_corrupted_weights_are_refused_even_after_a_good_load(folder, place):
    load(folder)
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.safetensors: sha256 is .*expected.*train again"):
        load(folder)


def test_an_edited_document_is_refused(folder):
    path = folder / "bundle.json"
    document = json.loads(path.read_text())
    document["scaling"]["centre"][0] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"bundle\.json: sha256 of its content"):
        load(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1'])
def test_a_document_that_is_none_is_refused(folder, content):
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load(folder)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: cannot be read .*train again"):
        load(folder)


@pytest.mark.parametrize(("name", "value"), [("MODEL", "other"), ("CODE_VERSION", 99), ("FORMAT", 99)])
def test_another_model_code_version_or_format_is_refused(folder, monkeypatch, name, value):
    monkeypatch.setattr(f"models.bundle.{name}", value)
    with pytest.raises(BundleError, match=f"expected {value!r}"):
        load(folder)


def test_a_finished_bundle_is_never_overwritten(folder, bundle):
    before = (folder / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="kept as it is"):
        save(folder, replace(bundle, seed=8))
    assert (folder / "bundle.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["f00d"]


def test_an_empty_folder_may_be_there_already(tmp_path, bundle):
    (tmp_path / "new").mkdir()
    save(tmp_path / "new", bundle)
    assert load(tmp_path / "new").fingerprint == "f00d"
