"""Hold a trained translation, and say by how much its networks correct labels.

Shape legend: B stars, M measured columns, D inputs and K labels of one network, E networks of the ensemble.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.domain import Domain
from models.translation import Translation
from models.translator_config import TranslatorConfig
from models.translator_quadratic import terms
from models.translator_rows import BoolArray, FloatArray, InputScaling, scaled


@dataclass(frozen=True, eq=False)
class Calibration:
    """What stars that did not train taught about K labels.

    Parameters
    ----------
    level, gate
        Shares in [0, 1] of the quadratic correction and of the networks' that pay beyond the mean offset, shape (K,); at most
        one of the two is not 0.
    floor
        What scatters a label beside the errors of the inputs, added to the Monte Carlo's spread in quadrature, shape (K,).
    stretch
        Factors of the widened spread with which 68 % of the stars lie between percentiles 16 and 84, and 90 % between
        5 and 95, shape (2, K).
    inflation
        Factor, at least 1, of the scatter over the ensemble with which it covers the mean residuals of groups of stars,
        shape (K,).
    """

    level: FloatArray
    gate: FloatArray
    floor: FloatArray
    stretch: FloatArray
    inflation: FloatArray


def uncalibrated(labels: int) -> Calibration:
    """Return what applies all corrections of K labels and believes all errors."""
    return Calibration(np.ones(labels), np.ones(labels), np.zeros(labels), np.ones((2, labels)), np.ones(labels))


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """An ensemble of networks of one kind with all that is needed to apply it.

    Parameters
    ----------
    name : str
        ``intrinsic`` or ``extrinsic``.
    inputs, outputs : tuple of str
        In order.
    scaling : InputScaling
    output_scale
        Physical unit of the networks' answers, shape (K,).
    offsets
        Mean difference that each network of the ensemble was trained about, shape (E, K), physical units.
    quadratic
        Coefficients of `models.translator_quadratic.terms` for what each network was to find beyond that, shape (E, P, K).
    members : nn.ModuleList
        E networks in evaluation mode.
    calibration : Calibration
    domain : Domain
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scaling: InputScaling
    output_scale: FloatArray
    offsets: FloatArray
    quadratic: FloatArray
    members: nn.ModuleList
    calibration: Calibration
    domain: Domain


@dataclass(frozen=True, eq=False)
class Translator:
    """A trained translation.

    Parameters
    ----------
    translation : Translation
    config : TranslatorConfig
    seed : int
        Of the training; `models.translation_split.split` with it tells which stars judge.
    networks : tuple of TrainedNetwork
        The intrinsic one, and the extrinsic one if the velocity is translated.
    typical_errors
        Median error of each measured column in training, shape (M,): stands in for a missing one.
    counts : mapping of str to int
        Stars, and how many were left out by which cut.
    metrics : mapping
        Figures of the test split, as JSON; empty until judged.
    history : tuple of dict
        One record per network of the ensembles.
    """

    translation: Translation
    config: TranslatorConfig
    seed: int
    networks: tuple[TrainedNetwork, ...]
    typical_errors: FloatArray
    counts: Mapping[str, int]
    metrics: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]


def corrections(network: TrainedNetwork, values: FloatArray) -> FloatArray:
    """Return by how much each member of the ensemble corrects the labels of stars, shape (E, B, K), physical units.

    Parameters
    ----------
    network : TrainedNetwork
    values
        Inputs, shape (B, D), physical units, NaN where missing.
    """
    return np.stack([correction(network, member, values) for member in range(len(network.members))])


def correction(network: TrainedNetwork, member: int, values: FloatArray) -> FloatArray:
    """Return by how much one member of the ensemble corrects the labels, shape (B, K); see `corrections`."""
    of_quadratic, of_network = parts(network, member, values)
    calibration = network.calibration
    return network.offsets[member] + calibration.level * of_quadratic + calibration.gate * of_network


def parts(network: TrainedNetwork, member: int, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what the quadratic level and the network of one member say beyond the mean offset, (B, K) each, before gates."""
    x, present = scaled(values, network.scaling)
    return terms(x) @ network.quadratic[member], network.output_scale * answers(network.members[member], x, present)


@torch.inference_mode()
def answers(member: nn.Module, x: NDArray[np.float32], present: BoolArray) -> FloatArray:
    """Apply one network to scaled inputs (B, D); scaled differences (B, K).

    Raises
    ------
    FloatingPointError
        If a result is not finite.
    """
    device = next(member.parameters()).device
    result = member(torch.from_numpy(x).to(device), torch.from_numpy(present).to(device))
    if not bool(result.isfinite().all()):
        raise FloatingPointError(
            "a network gives differences that are not finite for finite inputs: its weights are damaged; train again"
        )
    found: FloatArray = result.cpu().numpy().astype(np.float64)
    return found
