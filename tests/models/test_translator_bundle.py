"""Trained translations on disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.document import Kind, read, verified, write
from models.translation import TRANSLATIONS
from models.translator_bundle import BundleError, load, save
from models.translator_predict import translate
from tests.models.translators import NAME, inference, trained, translation


@pytest.fixture
def folder(tmp_path):
    judged = replace(trained(), metrics={"teff": {"bias": 1.5}})
    save(tmp_path / "translator" / "f00d", "f00d", judged, {"common": "b0b0"})
    return tmp_path / "translator" / "f00d"


def rewritten(folder, change):
    """Edit the document and vouch for it again, as another version of this code would have."""
    kind = Kind("spectro_translator", 2)
    body, weights = read(folder, verified(folder, kind))
    for name in ("format", "model", "code_version", "sha256", "weights_sha256"):
        body.pop(name)
    change(body)
    write(folder.with_name("edited"), kind, body, weights)
    return folder.with_name("edited")


def test_a_translator_reads_back_and_gives_equal_numbers(folder):
    found = load(folder)
    assert (found.fingerprint, found.training_builds) == ("f00d", {"common": "b0b0"})
    one = found.translator
    for name in ("translation", "config", "seed", "counts", "history"):
        assert getattr(one, name) == getattr(trained(), name), name
    assert one.metrics == {"teff": {"bias": 1.5}}
    for a, b in zip(one.networks, trained().networks, strict=True):
        for name, tensor in b.members.state_dict().items():
            assert torch.equal(a.members.state_dict()[name], tensor)
        np.testing.assert_array_equal(a.offsets, b.offsets)
        np.testing.assert_array_equal(a.quadratic, b.quadratic)
        np.testing.assert_array_equal(a.calibration.stretch, b.calibration.stretch)
    assert translate(inference(), one, realisations=20).equals(translate(inference(), trained(), realisations=20))


def test_the_folder_holds_weights_and_a_document_that_says_what_goes_in_and_out(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "weights.safetensors"]
    document = json.loads((folder / "bundle.json").read_text())
    assert (document["model"], document["code_version"]) == ("spectro_translator", 2)
    assert (document["base_from"], document["base_to"]) == ("galah_dr3", "apogee_dr17")
    intrinsic, extrinsic = document["networks"]
    assert intrinsic["inputs"][0] == {"name": "teff", "unit": "K"}
    assert [one["name"] for one in extrinsic["inputs"]] == ["teff", "logg", "metallicity", "mg_fe", "bp_g", "g_rp", "velocity"]
    assert extrinsic["outputs"] == [{"name": "velocity", "unit": "km / s"}]
    assert set(intrinsic["scaling"]) == {"centre", "scale", "low", "high"}
    assert set(intrinsic["calibration"]) == {"level", "gate", "floor", "stretch", "inflation"}
    assert document["counts"]["stars"] == 800


def test_the_same_content_is_loaded_once_per_process(folder):
    assert load(folder) is load(folder)


@pytest.mark.parametrize("place", [10, -1])
def test_corrupted_weights_are_refused_even_after_a_good_load(folder, place):
    load(folder)
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.safetensors: sha256 is"):
        load(folder)


def test_an_edited_document_is_refused(folder):
    path = folder / "bundle.json"
    document = json.loads(path.read_text())
    document["networks"][0]["offsets"][0][0] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"bundle\.json: sha256 of its content"):
        load(folder)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: cannot be read"):
        load(folder)


@pytest.mark.parametrize(("name", "value"), [("MODEL", "other"), ("TRANSLATOR_VERSION", 99)])
def test_another_model_or_version_is_refused(folder, monkeypatch, name, value):
    monkeypatch.setattr(f"models.translator_bundle.{name}", value)
    with pytest.raises(BundleError, match=f"expected {value!r}"):
        load(folder)


def test_a_bundle_of_another_translation_is_refused(folder):
    with pytest.raises(BundleError, match=r"translation is .* expected 'apogee_dr17_on_galah_dr3'"):
        load(folder, translation=TRANSLATIONS["apogee_dr17_on_galah_dr3"])


def test_a_translation_declared_otherwise_since_is_refused(folder, monkeypatch):
    labels = (replace(translation().labels[0], unit="mK"), *translation().labels[1:])
    monkeypatch.setitem(TRANSLATIONS, NAME, replace(translation(), labels=labels))
    with pytest.raises(BundleError, match="labels of translation"):
        load(folder)


def test_a_translation_that_is_declared_no_more_is_refused(folder, monkeypatch):
    monkeypatch.delitem(TRANSLATIONS, NAME)
    with pytest.raises(BundleError, match="expected one of .*declare it"):
        load(folder)
    assert load(folder, translation=trained().translation).translator.translation.name == NAME


def test_what_decides_no_number_may_change(folder, monkeypatch):
    monkeypatch.setitem(TRANSLATIONS, NAME, replace(translation(), key="source_id"))
    assert load(folder).translator.translation.key == "source_id"


def test_an_input_in_another_unit_is_refused(folder):
    def change(body):
        body["networks"][0]["inputs"][4]["unit"] = "mmag"

    with pytest.raises(BundleError, match="bp_g is in 'mmag', expected 'mag'"):
        load(rewritten(folder, change))


def test_inputs_in_another_order_are_refused(folder):
    def change(body):
        body["networks"][0]["inputs"].reverse()

    with pytest.raises(BundleError, match="intrinsic network"):
        load(rewritten(folder, change))


def test_weights_of_another_size_are_refused(folder):
    with pytest.raises(BundleError, match="do not make a spectro_translator"):
        load(rewritten(folder, lambda body: body["config"].update(width=32)))


def test_a_finished_bundle_is_never_overwritten(folder):
    before = (folder / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="kept as it is"):
        save(folder, "f00d", trained(), {})
    assert (folder / "bundle.json").read_bytes() == before
