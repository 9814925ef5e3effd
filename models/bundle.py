"""Keep a trained model in a folder: ``weights.safetensors`` and ``bundle.json``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from models.config import CODE_VERSION, MODEL, Config
from models.document import FORMAT, BundleError, Kind, read, verified, write
from models.fit import Record
from models.masked_autoencoder import MaskedAutoencoder
from models.scaling import Scaling, scaling_from_json, scaling_to_json

__all__ = ["Bundle", "BundleError", "load", "save"]


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
    entries = {
        "fingerprint": bundle.fingerprint,
        "seed": bundle.seed,
        "training_builds": dict(bundle.training_builds),
        "config": asdict(bundle.config),
        "input_columns": [feature.column for feature in bundle.scaling.features],
        "scaling": scaling_to_json(bundle.scaling),
        "history": list(bundle.history),
    }
    write(folder, _kind(), entries, bundle.network.state_dict())


def _kind() -> Kind:
    return Kind(MODEL, CODE_VERSION, FORMAT)


def load(folder: Path, device: str = "cpu") -> Bundle:
    """Read and verify a bundle; a process that reads the same content again gets the same object.

    Both files are hashed on every call (milliseconds), so a file that changed is noticed.

    Raises
    ------
    BundleError
        If a file is missing, corrupt, or of another model, format or code version.
    """
    return _cached(folder.resolve(), verified(folder, _kind()), device)


@lru_cache(maxsize=4)
def _cached(folder: Path, content_hash: str, device: str) -> Bundle:
    body, weights = read(folder, content_hash)
    try:
        config = Config(**body["config"])
        scaling = scaling_from_json(body["scaling"])
        network = MaskedAutoencoder(config, scaling.features)
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
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
