"""Read what a translation needs from an Arrow table: labels and magnitudes with errors, the labels on the other base, the cuts.

Shape legend: B stars, L labels, M = L + 3 measured columns (labels, then magnitudes), D = L + 2 inputs, K outputs of a network.
Physical matrices are float64 with NaN where something is missing; networks see `scaled` ones, which have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lake.columns import COLUMNS
from lake.columns.spectrotranslator import OUTPUTS
from models.scaling import IQR_OF_GAUSSIAN
from models.translation import FROM, MAGNITUDES, TO, Cut, Translation

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

VELOCITY = "velocity"
INTRINSIC, EXTRINSIC = "intrinsic", "extrinsic"


@dataclass(frozen=True, eq=False)
class Measured:
    """Labels and magnitudes of B stars on base A, and their errors, (B, M) each; NaN is missing.

    Parameters
    ----------
    columns : tuple of str
        Names of the M columns: of the labels, and of `MAGNITUDES`.
    """

    source_id: IntArray
    columns: tuple[str, ...]
    values: FloatArray
    errors: FloatArray


@dataclass(frozen=True, eq=False)
class InputScaling:
    """What brings the D inputs of a network to order 1, and the outermost training stars; shape (D,) each.

    Parameters
    ----------
    centre, scale
        Median, and interquartile range / 1.349, in physical units.
    low, high
        Smallest and largest scaled value in training: a star beyond is corrected like the outermost one.
    """

    centre: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray


def require_known(translation: Translation) -> None:
    """Refuse labels that translated tables have no columns for, or in another order.

    Raises
    ------
    ValueError
        Naming the labels found and expected.
    """
    found = tuple(label.name for label in translation.labels)
    known = (*OUTPUTS, VELOCITY)
    if not found or found[0] == VELOCITY or found != tuple(name for name in known if name in found):
        raise ValueError(
            f"translation {translation.name!r}: its labels are {found}, expected some of {known} in this order, "
            "one of them not the velocity; declare them so in models.translation"
        )


def networks_of(translation: Translation) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the inputs and outputs of each network by its name; the extrinsic one is there if the velocity is a label."""
    labels = tuple(label.name for label in translation.labels)
    intrinsic = tuple(name for name in labels if name != VELOCITY)
    inputs = (*intrinsic, "bp_g", "g_rp")
    parts = {INTRINSIC: (inputs, intrinsic)}
    if VELOCITY in labels:
        parts[EXTRINSIC] = ((*inputs, VELOCITY), (VELOCITY,))
    return parts


def measured(table: pa.Table, translation: Translation) -> Measured:
    """Read labels and magnitudes of base A.

    A label beyond the limits of a star (those of its translated column) is missing. An error is missing where it is null or
    negative.

    Raises
    ------
    ValueError
        If the table lacks a column, or one holds no numbers.
    """
    labels = [label.name for label in translation.labels]
    names = [f"{FROM}_{label.source}" for label in translation.labels] + list(MAGNITUDES)
    values = np.stack([_numbers(table, name) for name in names], axis=1)
    for at, label in enumerate(labels):
        values[:, at] = within_limits(values[:, at], f"{label}_p50")
    errors = _errors(table, names)
    return Measured(source_ids(table), (*labels, *MAGNITUDES), values, np.where(np.isfinite(values), errors, np.nan))


def targets(table: pa.Table, translation: Translation) -> tuple[FloatArray, FloatArray]:
    """Read the L labels of base B and their errors, (B, L) each; missing and errors as in `measured`."""
    names = [f"{TO}_{label.target}" for label in translation.labels]
    columns = [f"{label.name}_p50" for label in translation.labels]
    values = np.stack([within_limits(_numbers(table, a), b) for a, b in zip(names, columns, strict=True)], axis=1)
    return values, np.where(np.isfinite(values), _errors(table, names), np.nan)


def inputs(values: FloatArray, columns: Sequence[str], names: Sequence[str]) -> FloatArray:
    """Turn measured columns (..., M) into the inputs of a network (..., D), colours in place of magnitudes."""
    at = {name: values[..., i] for i, name in enumerate(columns)}
    bp, g, rp = (at[name] for name in MAGNITUDES)
    at |= {"bp_g": bp - g, "g_rp": g - rp}
    return np.stack([at[name] for name in names], axis=-1)


def input_scaling(values: FloatArray) -> InputScaling:
    """Measure the scaling of inputs (N, D) of the training split, NaN where missing.

    Raises
    ------
    ValueError
        If an input is missing in all stars.
    """
    empty = np.flatnonzero(~np.isfinite(values).any(axis=0))
    if len(empty):
        raise ValueError(f"input {empty[0]} of {values.shape[1]} is missing in all {len(values)} training stars, expected some")
    low, centre, high = np.nanpercentile(values, (25, 50, 75), axis=0)
    scale = np.where(high > low, (high - low) / IQR_OF_GAUSSIAN, 1.0)
    x = (values - centre) / scale
    return InputScaling(centre, scale, np.nanmin(x, axis=0), np.nanmax(x, axis=0))


def scaled(values: FloatArray, scaling: InputScaling) -> tuple[NDArray[np.float32], BoolArray]:
    """Scale inputs (..., D), and tell which are there; a missing one is 0."""
    present: BoolArray = np.isfinite(values)
    x = np.clip((np.where(present, values, scaling.centre) - scaling.centre) / scaling.scale, scaling.low, scaling.high)
    return np.where(present, x, 0.0).astype(np.float32), present


def density_weights(x: NDArray[np.float32], *, neighbours: int, power: float, cap: float) -> FloatArray:
    """Weigh stars by their inverse local density among scaled inputs (N, D), from 1 in the crowd up to `cap`."""
    k = min(neighbours, len(x) - 1)
    if power == 0 or k < 1:
        return np.ones(len(x))
    # The first neighbour of a star is itself.
    distance = cKDTree(x).query(x, k=[k + 1])[0][:, 0]
    typical = max(float(np.median(distance)), 1e-12)
    weights: FloatArray = np.clip((distance / typical) ** (x.shape[1] * power), 1.0, cap)
    return weights


def passes(table: pa.Table, cut: Cut) -> BoolArray:
    """Tell which stars (B,) fulfil a cut; a null does not.

    Raises
    ------
    ValueError
        As `measured`.
    """
    name = f"{cut.side}_{cut.column}"
    if cut.only is not None:
        _require(table, name)
        if not pa.types.is_string(table[name].type):
            raise ValueError(f"column {name!r} is {table[name].type}, expected words; check which table is read")
        same: BoolArray = pc.fill_null(pc.equal(table.column(name), cut.only), False).to_numpy()
        return same
    values = _numbers(table, name)
    good = np.isfinite(values)
    if cut.low is not None:
        good &= values >= cut.low
    if cut.high is not None:
        good &= values <= cut.high
    if cut.bits:
        # Bits of 64 would not survive as floats.
        good &= (pc.fill_null(table.column(name), cut.bits).to_numpy().astype(np.int64) & cut.bits) == 0
    return good


def said(cut: Cut) -> str:
    """Spell a cut, for counts and messages."""
    name = f"{cut.side}_{cut.column}"
    parts = [f"{name} >= {cut.low:g}"] if cut.low is not None else []
    parts += [f"{name} <= {cut.high:g}"] if cut.high is not None else []
    parts += [f"{name} without bits {cut.bits}"] if cut.bits else []
    parts += [f"{name} {cut.only}"] if cut.only is not None else []
    return " and ".join(parts) + (f" (for {', '.join(cut.labels)})" if cut.labels else "")


def source_ids(table: pa.Table) -> IntArray:
    """Read the source ids.

    Raises
    ------
    ValueError
        If they are missing, null or not int64.
    """
    _require(table, "source_id")
    column = table.column("source_id")
    if column.type != pa.int64() or column.null_count:
        raise ValueError(f"source_id is {column.type} with {column.null_count} nulls, expected int64 without; check the join")
    return np.ascontiguousarray(column.to_numpy())


def within_limits(values: FloatArray, column: str) -> FloatArray:
    """Make NaN of what lies beyond the limits of a column of the vocabulary."""
    limits = COLUMNS[column]
    low = -np.inf if limits.low is None else limits.low
    high = np.inf if limits.high is None else limits.high
    return np.where((values >= low) & (values <= high), values, np.nan)


def _errors(table: pa.Table, names: Sequence[str]) -> FloatArray:
    errors = np.stack([_numbers(table, f"{name}_error") for name in names], axis=1)
    return np.where(errors >= 0, errors, np.nan)


def _numbers(table: pa.Table, name: str) -> FloatArray:
    _require(table, name)
    column: Any = table.column(name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"column {name!r} is {column.type}, expected numbers; check which table is read")
    values = column.cast(pa.float64(), safe=False).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def _require(table: pa.Table, name: str) -> None:
    if name not in table.column_names:
        raise ValueError(f"the table lacks column {name!r}, which the translation needs; found {table.column_names}")
