"""Keep a trained model in a folder: ``weights.safetensors`` and ``bundle.json``."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import safetensors.torch
from safetensors import SafetensorError

from models.config import CODE_VERSION, MODEL, Config
from models.fit import Record
from models.masked_autoencoder import MaskedAutoencoder
from models.scaling import Scaling, scaling_from_json, scaling_to_json

WEIGHTS, DOCUMENT = "weights.safetensors", "bundle.json"
FORMAT = 1


class BundleError(Exception):
    """A bundle cannot be read or written; the message says which file and what to do."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Hold a trained model with all that is needed to apply it and to say where it came from.

    Parameters
    ----------
    fingerprint : str
        The caller's name for it; also the id under which predictions cite it.
    network : MaskedAutoencoder
        In evaluation mode.
    config : Config
    scaling : Scaling
        Its features are the ordered input columns.
    seed : int
        Of the training; also keys the halves of ``reconstruction_error_masked``.
    training_builds : mapping of str to str
        Table -> build that it was trained on.
    history : tuple of dict
        As returned by ``models.fit.fit``.
    """

    fingerprint: str
    network: MaskedAutoencoder
    config: Config
    scaling: Scaling
    seed: int
    training_builds: Mapping[str, str]
    history: tuple[Record, ...]


def save(folder: Path, bundle: Bundle) -> None:
    """Write a bundle as a new folder, which appears complete or not at all.

    Raises
    ------
    BundleError
        If the folder already holds something: bundles are never overwritten.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    draft.mkdir()
    try:
        weights = {name: t.detach().cpu().contiguous() for name, t in bundle.network.state_dict().items()}
        content = safetensors.torch.save(weights)
        _write(draft / WEIGHTS, content)
        _write(draft / DOCUMENT, _document(bundle, content))
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


def _write(path: Path, content: bytes) -> None:
    # Synced before the rename, or a crash could leave a complete folder with empty files.
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _document(bundle: Bundle, weights: bytes) -> bytes:
    body = {
        "format": FORMAT,
        "model": MODEL,
        "code_version": CODE_VERSION,
        "fingerprint": bundle.fingerprint,
        "seed": bundle.seed,
        "training_builds": dict(bundle.training_builds),
        "config": asdict(bundle.config),
        "input_columns": [feature.column for feature in bundle.scaling.features],
        "scaling": scaling_to_json(bundle.scaling),
        "history": list(bundle.history),
        "weights_sha256": sha256(weights).hexdigest(),
    }
    return json.dumps(body | {"sha256": _digest(body)}, indent=1, allow_nan=False).encode()


def _digest(body: Mapping[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()


def load(folder: Path, device: str = "cpu") -> Bundle:
    """Read and verify a bundle; a process that reads the same content again gets the same object.

    Both files are hashed on every call (milliseconds), so a file that changed is noticed.

    Raises
    ------
    BundleError
        If a file is missing, corrupt, or of another model, format or code version.
    """
    document, weights = _read(folder / DOCUMENT), _read(folder / WEIGHTS)
    body = _verified_body(folder / DOCUMENT, document)
    _expect(folder / WEIGHTS, "sha256", sha256(weights).hexdigest(), body["weights_sha256"])
    return _cached(folder.resolve(), sha256(document + weights).hexdigest(), device)


@lru_cache(maxsize=4)
def _cached(folder: Path, content_hash: str, device: str) -> Bundle:
    document, weights = _read(folder / DOCUMENT), _read(folder / WEIGHTS)
    # The files may have been exchanged since they were hashed.
    _expect(folder, "content sha256", sha256(document + weights).hexdigest(), content_hash)
    body = json.loads(document)
    try:
        config = Config(**body["config"])
        scaling = scaling_from_json(body["scaling"])
        network = MaskedAutoencoder(config, scaling.features)
        network.load_state_dict(safetensors.torch.load(weights))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(
            f"{folder}: its entries do not make a {MODEL} of code version {CODE_VERSION}: {error}; train again"
        ) from error
    return Bundle(
        fingerprint=body["fingerprint"],
        network=network.to(device).eval(),
        config=config,
        scaling=scaling,
        seed=body["seed"],
        training_builds=body["training_builds"],
        history=tuple(body["history"]),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}), expected a bundle with {DOCUMENT} and {WEIGHTS}; "
            "check the folder, or train again"
        ) from error


def _verified_body(path: Path, document: bytes) -> dict[str, Any]:
    try:
        body = json.loads(document)
        stated = body.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BundleError(
            f"{path}: not a bundle document ({error!r}), expected a JSON object with its sha256; restore the file, or train again"
        ) from error
    _expect(path, "sha256 of its content", _digest(body), stated)
    for name, expected in (("format", FORMAT), ("model", MODEL), ("code_version", CODE_VERSION)):
        _expect(path, name, body.get(name), expected)
    return dict(body)


def _expect(path: Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise BundleError(
            f"{path}: {what} is {found!r}, expected {expected!r}; restore the file, or train again with this code"
        )
