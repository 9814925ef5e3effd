"""Train a translation on common stars: two ensembles of networks that learn the difference between two label tables.

Shape legend: N stars, D inputs and K labels of one network, E networks of the ensemble.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from models.domain import fit_domain
from models.masks import hashed, text_key
from models.scaling import IQR_OF_GAUSSIAN
from models.translation import Translation
from models.translation_split import SELECT, TRAIN, folds, left_out
from models.translator import TrainedNetwork, Translator, uncalibrated
from models.translator_calibration import calibrated
from models.translator_config import TranslatorConfig
from models.translator_member import Scaled, fit_member
from models.translator_quadratic import fit_quadratic
from models.translator_rows import BoolArray, FloatArray, density_weights, input_scaling, networks_of, scaled
from models.translator_stars import CommonStars, Sample, common_stars, sample, typical_errors

__all__ = ["CommonStars", "common_stars", "train"]

_MEMBER = text_key("translation member")


def train(
    table: pa.Table,
    translation: Translation,
    config: TranslatorConfig,
    *,
    seed: int,
    device: str = "cpu",
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Translator:
    """Train a translation on the common stars of two label tables; the order of the rows has no influence.

    Parameters
    ----------
    table : pyarrow.Table
        ``source_id``, ``from_<source>`` and ``to_<target>`` of every label, the magnitudes, an ``_error`` beside each of them,
        and the columns of the cuts after ``from_`` or ``to_``.
    translation : Translation
    config : TranslatorConfig
    seed : int
        Of splits, folds, weights, batches and hidden inputs.
    device : str
        Torch device of the training; the result is on the CPU.
    progress : callable, optional
        Called with each record of the history as soon as its network is trained.

    Returns
    -------
    Translator
        Without metrics.

    Raises
    ------
    ValueError
        As `common_stars`.
    FloatingPointError
        If the loss is not finite.
    """
    stars = common_stars(table, translation, config, seed=seed)
    typical = typical_errors(stars)
    history: list[dict[str, Any]] = []

    def note(record: dict[str, Any]) -> None:
        history.append(record)
        if progress is not None:
            progress(record)

    networks = []
    for name, (names, outputs) in networks_of(translation).items():
        learnt = sample(stars, names, outputs)
        networks.append(_fit_ensemble(name, learnt, config, seed=seed, device=device, note=note))
    draft = Translator(translation, config, seed, tuple(networks), typical, stars.counts, {}, tuple(history))
    return calibrated(draft, stars)


def _fit_ensemble(
    name: str, sample: Sample, config: TranslatorConfig, *, seed: int, device: str, note: Callable[[dict[str, Any]], None]
) -> TrainedNetwork:
    training = sample.part == TRAIN
    scaling = input_scaling(sample.values[training])
    x, present = scaled(sample.values, scaling)
    output_scale = np.array([_robust_scale(d[u & training]) for d, u in zip(sample.differences.T, sample.usable.T, strict=True)])
    variance = sample.variance / output_scale**2 + config.error_floor**2
    weight = np.where(sample.usable, 1.0 / variance, 0.0)
    balance = np.ones(len(x))
    balance[training] = density_weights(x[training], neighbours=config.neighbours, power=config.balance, cap=config.balance_cap)
    members, offsets, levels = nn.ModuleList(), [], []
    for number in range(config.ensemble):
        key = int(hashed(_MEMBER, seed, text_key(name), number)[0])
        fold, count = left_out(number, config.ensemble)
        taught = training & (folds(sample.source_id, seed=seed, count=count) != fold)
        offset = _offset(sample, taught, weight)
        beyond = sample.differences - offset
        level = fit_quadratic(x[taught], beyond[taught], weight[taught], sample.usable[taught])
        wanted = np.where(sample.usable, beyond / output_scale, 0.0)

        def tensors(chosen: BoolArray, wanted: FloatArray = wanted) -> Scaled:
            held = (x, present, wanted.astype(np.float32), weight.astype(np.float32), balance.astype(np.float32))
            return Scaled(sample.source_id[chosen], *(torch.from_numpy(array[chosen]).to(device) for array in held))

        member, record = fit_member(
            tensors(taught), tensors(sample.part == SELECT), config, (x.shape[1], wanted.shape[1]), key=key
        )
        members.append(member.cpu())
        offsets.append(offset)
        levels.append(level)
        note({"network": name, "member": number} | record)
    outputs = np.where(sample.usable, sample.targets, np.nan)
    return TrainedNetwork(
        name,
        sample.inputs,
        sample.outputs,
        scaling,
        output_scale,
        np.stack(offsets),
        np.stack(levels),
        members.eval(),
        uncalibrated(len(output_scale)),
        fit_domain(sample.values[training], outputs[training]),
    )


def _robust_scale(differences: FloatArray) -> float:
    if not len(differences):
        return 1.0
    low, high = np.percentile(differences, (25, 75))
    return float(high - low) / IQR_OF_GAUSSIAN or 1.0


def _offset(sample: Sample, taught: BoolArray, weight: FloatArray) -> FloatArray:
    """Return the mean difference of each label, shape (K,), error-weighted and without outliers."""
    offsets = np.zeros(weight.shape[1])
    for at in range(weight.shape[1]):
        good = taught & sample.usable[:, at]
        if good.any():
            d, w = sample.differences[good, at], weight[good, at]
            middle = np.median(d)
            limit = 3 * _robust_scale(d)
            offsets[at] = middle + np.average(np.clip(d - middle, -limit, limit), weights=w)
    return offsets
