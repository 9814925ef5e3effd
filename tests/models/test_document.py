"""Folders of weights and a document, whatever the model."""

import json

import pytest
import torch

from models.document import BundleError, Kind, read, verified, write

KIND = Kind("toy", 3)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "toy", KIND, {"answer": 42}, {"w": torch.arange(4.0).reshape(2, 2).T})
    return tmp_path / "toy"


def test_entries_and_weights_read_back(folder):
    entries, weights = read(folder, verified(folder, KIND))
    assert (entries["answer"], entries["model"], entries["code_version"]) == (42, "toy", 3)
    assert torch.equal(weights["w"], torch.arange(4.0).reshape(2, 2).T)


def test_files_exchanged_after_they_were_hashed_are_refused(folder, tmp_path):
    seen = verified(folder, KIND)
    write(tmp_path / "other", KIND, {"answer": 43}, {"w": torch.zeros(1)})
    for path in (tmp_path / "other").iterdir():
        path.replace(folder / path.name)
    with pytest.raises(BundleError, match="content sha256 is"):
        read(folder, seen)


@pytest.mark.parametrize("kind", [Kind("other", 3), Kind("toy", 4), Kind("toy", 3, format=9)])
def test_another_kind_is_refused(folder, kind):
    with pytest.raises(BundleError, match="train again with this code"):
        verified(folder, kind)


def test_what_json_cannot_hold_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "toy", KIND, {"answer": float("nan")}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_document_is_readable_json(folder):
    document = json.loads((folder / "bundle.json").read_text())
    assert list(document)[:3] == ["format", "model", "code_version"]
