"""Translate a table of labels: values, percentiles and systematic errors, and what speaks against them.

Shape legend: B stars, M measured columns, D inputs and K labels of one network.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.columns import schema
from lake.columns.spectrotranslator import INPUTS, OUTPUTS, PERCENTILES, REASONS
from models.translation import MAGNITUDES
from models.translator import TrainedNetwork, Translator, corrections
from models.translator_noise import Translated, draws, translated, widened
from models.translator_rows import INTRINSIC, FloatArray, IntArray, Measured, inputs, measured, within_limits

__all__ = ["TrainedNetwork", "Translator", "corrections", "draws", "translate"]

FEWEST_REALISATIONS = 20
_BITS = {name: 1 << at for at, name in enumerate(REASONS)}


def translate(table: pa.Table, translator: Translator, *, realisations: int = 200) -> pa.Table:
    """Translate one row per input row, in the same order.

    Parameters
    ----------
    table : pyarrow.Table
        With ``source_id``, the columns ``from_<source>`` and ``from_<source>_error`` of every label, and the magnitudes with
        their errors.
    translator : Translator
    realisations : int
        Of the Monte Carlo over the errors of the inputs.

    Returns
    -------
    pyarrow.Table
        ``source_id`` and columns of `lake.columns.spectrotranslator`, with their fields. A label whose own input is missing,
        or whose p50 lies beyond the limits of a star, is null in all its columns; any other percentile beyond them is null by
        itself, as with enormous errors. Another missing input counts as unknown and raises a flag. A missing error of an input
        is the typical one of the training, and sets a bit of ``translator_reasons``.

    Raises
    ------
    ValueError
        If a column is missing or holds no numbers, or the realisations are too few for percentiles.
    """
    if realisations < FEWEST_REALISATIONS:
        raise ValueError(
            f"found {realisations} realisations, expected at least {FEWEST_REALISATIONS}; 200 give steady percentiles"
        )
    stars = measured(table, translator.translation)
    columns: dict[str, NDArray[Any]] = {"source_id": stars.source_id}
    parts: dict[str, list[Translated]] = {network.name: [] for network in translator.networks}
    for _, results in translated(stars, translator, realisations=realisations):
        for network, result in zip(translator.networks, results, strict=True):
            parts[network.name].append(result)
    reasons = _missing(stars)
    for network in translator.networks:
        result = _joined(parts[network.name], len(network.outputs))
        columns |= _labels(network, result)
        flags, found = _flags(network, inputs(stars.values, stars.columns, network.inputs), result.values)
        columns |= flags
        reasons |= found
    columns["translator_reasons"] = reasons
    return _table(columns)


def _joined(parts: list[Translated], labels: int) -> Translated:
    if not parts:
        return Translated(np.zeros((0, labels)), np.zeros((0, labels)), np.zeros((0, len(PERCENTILES), labels)))
    return Translated(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.scatter for part in parts]),
        np.concatenate([part.spread for part in parts]),
    )


def _labels(network: TrainedNetwork, result: Translated) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    calibration = network.calibration
    spreads = widened(result.spread, calibration.floor)
    for at, name in enumerate(network.outputs):
        value = within_limits(result.values[:, at], f"{name}_p50")
        inner, outer = calibration.stretch[:, at]
        spread = spreads[:, :, at] * np.array([outer, inner, 1.0, inner, outer])
        # Two factors and few realisations could cross.
        spread[:, 0] = np.minimum(spread[:, 0], spread[:, 1])
        spread[:, -1] = np.maximum(spread[:, -1], spread[:, -2])
        for index, percent in enumerate(PERCENTILES):
            column = f"{name}_p{percent:02d}"
            columns[column] = within_limits(value + spread[:, index], column)
        systematic = calibration.inflation[at] * result.scatter[:, at]
        columns[f"{name}_systematic"] = np.where(np.isfinite(value), systematic, np.nan)
    return columns


def _missing(stars: Measured) -> IntArray:
    """Return the bits (B,) of what is missing."""
    labels = stars.columns[: -len(MAGNITUDES)]
    names = (*labels, "bp_g", "g_rp")
    reasons = np.zeros(len(stars.source_id), dtype=np.int64)
    values = inputs(stars.values, stars.columns, names)
    # An error of either magnitude that is missing makes that of the colour so.
    errors = inputs(stars.errors, stars.columns, names)
    for at, name in enumerate(names):
        absent = ~np.isfinite(values[:, at])
        reasons[absent] |= _BITS[f"{name}_missing"]
        reasons[~absent & ~np.isfinite(errors[:, at])] |= _BITS[f"{name}_error_missing"]
    return reasons


def _flags(network: TrainedNetwork, values: FloatArray, outputs: FloatArray) -> tuple[dict[str, NDArray[Any]], IntArray]:
    """Return the flags of a network and the bits (B,) that they add, of inputs (B, D) and outputs (B, K)."""
    domain, name = network.domain, network.name
    reasons = np.zeros(len(values), dtype=np.int64)
    score = domain.score(values)
    inside = np.asarray(np.isfinite(score) & (score <= 1))
    outside = {"input": domain.input_pairs_outside(values), "output": domain.outputs_outside(outputs)}
    pairs = {
        "input": [f"input_{a}_{b}" for a, b in _ordered_pairs(network.inputs, INPUTS)],
        "output": [f"output_{a}_{b}" for a, b in _ordered_pairs(network.outputs, OUTPUTS)]
        if name == INTRINSIC and len(network.outputs) > 1
        else [f"output_{one}" for one in network.outputs],
    }
    for side, names in pairs.items():
        for at, pair in enumerate(names):
            # A single label of the intrinsic network has a flag, but no bit of its own.
            reasons[outside[side][:, at]] |= _BITS.get(pair, 0)
    reasons[~inside] |= _BITS[f"{name}_domain"]
    flags: dict[str, NDArray[Any]] = {
        f"{name}_input_missing": np.asarray(~np.isfinite(values).all(axis=1)),
        f"{name}_input_covered": np.asarray(~outside["input"].any(axis=1)),
        f"{name}_output_covered": np.asarray(~outside["output"].any(axis=1)),
        f"{name}_domain_score": score,
        f"{name}_in_domain": inside,
    }
    return flags, reasons


def _ordered_pairs(names: Sequence[str], order: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of names as the vocabulary spells them."""
    return [(a, b) if order.index(a) < order.index(b) else (b, a) for a, b in combinations(names, 2)]


def _table(columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    fields = schema(columns)
    arrays = [
        pa.array(values, type=field.type, mask=np.isnan(values) if values.dtype.kind == "f" else None)
        for field, values in zip(fields, columns.values(), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=fields)
