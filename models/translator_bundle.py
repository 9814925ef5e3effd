"""Keep a trained translation in a folder: ``weights.safetensors`` and ``bundle.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.document import BundleError, Kind, expect, read, verified, write
from models.domain import domain_from
from models.spectro_translator import network as new_network
from models.translation import TRANSLATIONS, Translation
from models.translator import Calibration, TrainedNetwork, Translator
from models.translator_config import MODEL, TRANSLATOR_VERSION, TranslatorConfig
from models.translator_quadratic import terms_of
from models.translator_rows import InputScaling, networks_of

__all__ = ["BundleError", "TranslatorBundle", "load", "save"]


@dataclass(frozen=True, eq=False)
class TranslatorBundle:
    """Hold a trained translation, and where it came from.

    Parameters
    ----------
    fingerprint : str
        The caller's name for it; also the id under which translated tables cite it.
    translator : Translator
    training_builds : mapping of str to str
        Table -> build that it was trained on.
    """

    fingerprint: str
    translator: Translator
    training_builds: Mapping[str, str]


def save(folder: Path, fingerprint: str, translator: Translator, training_builds: Mapping[str, str]) -> None:
    """Write a bundle as a new folder, which appears complete or not at all.

    Raises
    ------
    BundleError
        If the folder already holds something: bundles are never overwritten.
    """
    translation = translator.translation
    entries = {
        "fingerprint": fingerprint,
        "translation": translation.name,
        **{name: asdict(translation)[name] for name in _DECISIVE},
        "seed": translator.seed,
        "training_builds": dict(training_builds),
        "config": asdict(translator.config),
        "typical_errors": translator.typical_errors.tolist(),
        "networks": [_entry(network, translation) for network in translator.networks],
        "counts": dict(translator.counts),
        "metrics": dict(translator.metrics),
        "history": [dict(record) for record in translator.history],
    }
    weights: dict[str, Tensor] = {}
    for network in translator.networks:
        weights |= {f"{network.name}.members.{name}": tensor for name, tensor in network.members.state_dict().items()}
        weights[f"{network.name}.quadratic"] = _tensor(network.quadratic)
        weights |= {f"{network.name}.domain.{name}": _tensor(array) for name, array in network.domain.arrays().items()}
    write(folder, _kind(), entries, weights)


def _kind() -> Kind:
    return Kind(MODEL, TRANSLATOR_VERSION)


def _entry(network: TrainedNetwork, translation: Translation) -> dict[str, Any]:
    units = {label.name: label.unit for label in translation.labels} | {"bp_g": "mag", "g_rp": "mag"}
    scaling, calibration = network.scaling, network.calibration
    return {
        "name": network.name,
        "inputs": [{"name": name, "unit": units[name]} for name in network.inputs],
        "outputs": [{"name": name, "unit": units[name]} for name in network.outputs],
        "scaling": {name: getattr(scaling, name).tolist() for name in _SCALING},
        "calibration": {name: getattr(calibration, name).tolist() for name in _CALIBRATION},
        "output_scale": network.output_scale.tolist(),
        "offsets": network.offsets.tolist(),
    }


# What of a declaration decides the numbers.
_DECISIVE = ("base_from", "base_to", "labels", "cuts")
_SCALING = ("centre", "scale", "low", "high")
_CALIBRATION = ("level", "gate", "floor", "stretch", "inflation")


def _tensor(array: NDArray[Any]) -> Tensor:
    # safetensors knows numbers and bool; a copy, because torch takes no read-only arrays.
    return torch.from_numpy(np.array(array))


def load(folder: Path, device: str = "cpu", *, translation: Translation | None = None) -> TranslatorBundle:
    """Read and verify a bundle; a process that reads the same content again gets the same object.

    Both files are hashed on every call (milliseconds), so a file that changed is noticed.

    Parameters
    ----------
    folder : pathlib.Path
    device : str
        Torch device of the networks.
    translation : Translation, optional
        The one that is expected; without it, the one of the same name in `models.translation.TRANSLATIONS`.

    Raises
    ------
    BundleError
        If a file is missing, corrupt, of another model, format or code version, or of a translation that is declared
        otherwise: other tables, labels, units or cuts.
    """
    return _cached(folder.resolve(), verified(folder, _kind()), device, translation)


@lru_cache(maxsize=4)
def _cached(folder: Path, content_hash: str, device: str, translation: Translation | None) -> TranslatorBundle:
    body, weights = read(folder, content_hash)
    expected = translation or TRANSLATIONS.get(body["translation"])
    if expected is None:
        raise BundleError(
            f"{folder}: translation is {body['translation']!r}, expected one of {sorted(TRANSLATIONS)}; declare it in "
            "models.translation, or train another"
        )
    expect(folder, "translation", body["translation"], expected.name)
    # Through JSON, which knows no tuples.
    for name, value in json.loads(json.dumps(asdict(expected))).items():
        if name in _DECISIVE:
            expect(folder, f"{name} of translation {expected.name!r}", body.get(name), value)
    return _built(folder, body, weights, expected, device)


def _built(
    folder: Path, body: Mapping[str, Any], weights: Mapping[str, Tensor], translation: Translation, device: str
) -> TranslatorBundle:
    try:
        config = TranslatorConfig(**body["config"])
        units = {label.name: label.unit for label in translation.labels} | {"bp_g": "mag", "g_rp": "mag"}
        translator = Translator(
            translation,
            config,
            body["seed"],
            tuple(_network(entry, config, units, weights, device) for entry in _in_order(body["networks"], translation)),
            np.array(body["typical_errors"]),
            body["counts"],
            body["metrics"],
            tuple(body["history"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{folder}: its entries do not make a {MODEL} of version {TRANSLATOR_VERSION}: {error}; train again"
        ) from error
    return TranslatorBundle(body["fingerprint"], translator, body["training_builds"])


def _in_order(entries: Sequence[Mapping[str, Any]], translation: Translation) -> Sequence[Mapping[str, Any]]:
    """Return the networks if their inputs and outputs are those that the code gives them, in its order."""
    expected = networks_of(translation)
    if [entry["name"] for entry in entries] != list(expected):
        raise ValueError(f"its networks are {[entry['name'] for entry in entries]}, expected {list(expected)}")
    for entry in entries:
        found = tuple(tuple(column["name"] for column in entry[side]) for side in ("inputs", "outputs"))
        if found != expected[entry["name"]]:
            raise ValueError(f"the {entry['name']} network has {found}, expected {expected[entry['name']]}")
    return entries


def _network(
    entry: Mapping[str, Any], config: TranslatorConfig, units: Mapping[str, str], weights: Mapping[str, Tensor], device: str
) -> TrainedNetwork:
    for column in (*entry["inputs"], *entry["outputs"]):
        if column["unit"] != units[column["name"]]:
            raise ValueError(f"{column['name']} is in {column['unit']!r}, expected {units[column['name']]!r}")
    names, outputs = (tuple(column["name"] for column in entry[side]) for side in ("inputs", "outputs"))
    members = nn.ModuleList(new_network(config, len(names), len(outputs)) for _ in range(config.ensemble))
    members.load_state_dict(_under(f"{entry['name']}.members.", weights))
    return TrainedNetwork(
        entry["name"],
        names,
        outputs,
        InputScaling(*(np.array(entry["scaling"][name]) for name in _SCALING)),
        np.array(entry["output_scale"]),
        np.array(entry["offsets"]),
        _shaped(weights[f"{entry['name']}.quadratic"], (config.ensemble, terms_of(len(names)), len(outputs))),
        members.to(device).eval(),
        Calibration(*(np.array(entry["calibration"][name]) for name in _CALIBRATION)),
        domain_from({name: tensor.numpy() for name, tensor in _under(f"{entry['name']}.domain.", weights).items()}),
    )


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> NDArray[Any]:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"coefficients of shape {tuple(tensor.shape)}, expected {shape}")
    return tensor.numpy()


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
