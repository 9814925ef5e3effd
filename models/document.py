"""Keep a folder of two files that vouch for each other: ``weights.safetensors`` and ``bundle.json``."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

WEIGHTS, DOCUMENT = "weights.safetensors", "bundle.json"
FORMAT = 1


class BundleError(Exception):
    """A bundle cannot be read or written; the message says which file and what to do."""


@dataclass(frozen=True)
class Kind:
    """What a document must say of itself to be read by this code."""

    model: str
    code_version: int
    format: int = FORMAT

    def entries(self) -> dict[str, str | int]:
        """Return what it says, in the order in which it is written."""
        return {"format": self.format, "model": self.model, "code_version": self.code_version}


def write(folder: Path, kind: Kind, entries: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a new folder, which appears complete or not at all.

    Raises
    ------
    BundleError
        If the folder already holds something: bundles are never overwritten.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    draft.mkdir()
    try:
        content = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in weights.items()})
        body = {**kind.entries(), **entries, "weights_sha256": sha256(content).hexdigest()}
        _write(draft / WEIGHTS, content)
        _write(draft / DOCUMENT, json.dumps(body | {"sha256": _digest(body)}, indent=1, allow_nan=False).encode())
        try:
            # Replaces an empty folder, and fails on any other.
            draft.replace(folder)
        except OSError as error:
            raise BundleError(
                f"{folder}: cannot be put in place ({error.strerror}), expected no folder or an empty one; "
                "a finished bundle is kept as it is: load it, or train under another fingerprint"
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def verified(folder: Path, kind: Kind) -> str:
    """Hash both files (milliseconds), and return the hash of their content.

    Raises
    ------
    BundleError
        If a file is missing, corrupt, or of another model, format or code version.
    """
    document, content = _read(folder / DOCUMENT), _read(folder / WEIGHTS)
    body = _verified_body(folder / DOCUMENT, document, kind)
    expect(folder / WEIGHTS, "sha256", sha256(content).hexdigest(), body["weights_sha256"])
    return sha256(document + content).hexdigest()


def read(folder: Path, content_hash: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the entries and the weights of a verified folder.

    Raises
    ------
    BundleError
        If the files were exchanged since they were hashed, or the weights are none.
    """
    document, content = _read(folder / DOCUMENT), _read(folder / WEIGHTS)
    expect(folder, "content sha256", sha256(document + content).hexdigest(), content_hash)
    try:
        return json.loads(document), safetensors.torch.load(content)
    except (ValueError, SafetensorError) as error:
        raise BundleError(f"{folder / WEIGHTS}: holds no weights: {error}; train again") from error


def expect(path: Path, what: str, found: object, expected: object) -> None:
    """Refuse what is not as expected.

    Raises
    ------
    BundleError
        Naming the path and both.
    """
    if found != expected:
        raise BundleError(f"{path}: {what} is {found!r}, expected {expected!r}; restore the file, or train again with this code")


def _write(path: Path, content: bytes) -> None:
    # Synced before the rename, or a crash could leave a complete folder with empty files.
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _digest(body: Mapping[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}), expected a bundle with {DOCUMENT} and {WEIGHTS}; "
            "check the folder, or train again"
        ) from error


def _verified_body(path: Path, document: bytes, kind: Kind) -> dict[str, Any]:
    try:
        body = json.loads(document)
        stated = body.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BundleError(
            f"{path}: not a bundle document ({error!r}), expected a JSON object with its sha256; restore the file, or train again"
        ) from error
    expect(path, "sha256 of its content", _digest(body), stated)
    for name, expected in kind.entries().items():
        expect(path, name, body.get(name), expected)
    return dict(body)
