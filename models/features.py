"""Declare the input features of a network and read them from Arrow batches.

Shape legend: B rows, D values per row (a scalar column is one, an XP band is n), n coefficients of
one band.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

XP_GROUPS = ("xp_bp", "xp_rp")
# The pretrain table nulls the coefficients of a star that it cannot scale and calls it "unscaled".
UNSCALED_FLUX_STATES = ("raw", "unscaled")
PARALLAX_SIGNIFICANCE_LIMIT = 10.0
# Inverse variances are float32: errors outside these limits would overflow or vanish when squared.
SMALLEST_ERROR, LARGEST_ERROR = 1e-12, 1e15

FloatArray = NDArray[np.float64]
Batch: TypeAlias = pa.Table | pa.RecordBatch
Array: TypeAlias = "pa.Array[Any]"


@dataclass(frozen=True)
class Feature:
    """Describe one input column of a network.

    Parameters
    ----------
    name : str
        Unique name; random draws are keyed by it, so renaming changes masks.
    column : str
        Arrow column of the value.
    error_column : str or None
        Arrow column of its one-sigma error, in the unit of the value.
    group : str
        ``xp_bp``, ``xp_rp``, ``photometry`` or ``astrometry``.
    transform : str
        A key of ``TRANSFORMS``, applied before scaling.
    default_error : float
        One-sigma error assumed for a value whose error is missing or not positive.
    reconstructed : bool
        Whether the network has to predict it.
    size : int
        1 for a scalar column, n for a ``fixed_size_list`` of n.
    """

    name: str
    column: str
    error_column: str | None
    group: str
    transform: str = "identity"
    default_error: float = 1.0
    reconstructed: bool = False
    size: int = 1


def gaia_features(schema: pa.Schema) -> tuple[Feature, ...]:
    """Declare the features of the pretrain table, with the XP lengths that its schema states.

    Magnitudes are [mag], coefficients are the flux coefficients of a star placed at G = 8.5.
    Reconstructed are XP and photometry. A scalar column that the schema lacks stays declared (it is
    then missing everywhere); an XP band that the schema lacks is left out, its length being unknown.

    Raises
    ------
    ValueError
        If an XP column is there but is not a ``fixed_size_list``.
    """
    bands = tuple(_xp_feature(schema, band) for band in ("bp", "rp"))
    return tuple(band for band in bands if band is not None) + PHOTOMETRY + ASTROMETRY


def _magnitude(column: str, *, default_error: float, has_error: bool = True) -> Feature:
    error_column = f"{column}_error" if has_error else None
    return Feature(column, column, error_column, "photometry", default_error=default_error, reconstructed=True)


# catwise_2021 magnitudes reach the pretrain table without errors, hence the assumed 0.03 mag.
PHOTOMETRY = (
    _magnitude("catwise_w1_mag", default_error=0.03, has_error=False),
    _magnitude("catwise_w2_mag", default_error=0.03, has_error=False),
    _magnitude("phot_g_mean_mag", default_error=0.01),
    _magnitude("phot_bp_mean_mag", default_error=0.02),
    _magnitude("phot_rp_mean_mag", default_error=0.02),
)
# Astrometry is input only: predicting the parallax that was just read is an identity path, and
# position and proper motion are not a function of the spectrum.
ASTROMETRY = (
    Feature("parallax_significance", "parallax", "parallax_error", "astrometry", "significance"),
    Feature("pmra", "pmra", "pmra_error", "astrometry"),
    Feature("pmdec", "pmdec", "pmdec_error", "astrometry"),
    Feature("cos_ra", "ra", None, "astrometry", "cosine"),
    Feature("sin_ra", "ra", None, "astrometry", "sine"),
    Feature("sin_dec", "dec", None, "astrometry", "sine"),
)


def _xp_feature(schema: pa.Schema, band: str) -> Feature | None:
    column = f"{band}_coefficients"
    if column not in schema.names:
        return None
    found = schema.field(column).type
    if not pa.types.is_fixed_size_list(found):
        raise ValueError(
            f"column {column!r} has type {found}, expected fixed_size_list<double>[n]: "
            "the number of coefficients is read from the type, so cast the column before training"
        )
    return Feature(
        name=column,
        column=column,
        error_column=f"{band}_coefficient_errors",
        group=f"xp_{band}",
        default_error=1e3,
        reconstructed=True,
        size=found.list_size,
    )


def width(features: tuple[Feature, ...]) -> int:
    """Count the values D that the features put in one row."""
    return sum(feature.size for feature in features)


def value_names(features: tuple[Feature, ...]) -> tuple[str, ...]:
    """Name each of the D values: the feature's name, with ``[k]`` (from 0) inside a list column."""
    return tuple(
        feature.name if feature.size == 1 else f"{feature.name}[{k}]" for feature in features for k in range(feature.size)
    )


def xp_values(features: tuple[Feature, ...]) -> NDArray[np.bool_]:
    """Tell which of the D values are XP coefficients, as booleans of shape (D,)."""
    return _per_value(features, lambda feature: feature.group in XP_GROUPS)


def reconstructed_values(features: tuple[Feature, ...]) -> NDArray[np.bool_]:
    """Tell which of the D values a network has to predict, as booleans of shape (D,)."""
    return _per_value(features, lambda feature: feature.reconstructed)


def _per_value(features: tuple[Feature, ...], test: Callable[[Feature], bool]) -> NDArray[np.bool_]:
    return np.repeat([test(f) for f in features], [f.size for f in features]).astype(bool)


def matrices(batch: Batch, features: tuple[Feature, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Read the features of a batch as dense matrices.

    Parameters
    ----------
    batch : pyarrow.Table or pyarrow.RecordBatch
        Rows of the pretrain table; columns in any order, others ignored, absent ones missing.
    features : tuple of Feature
        The D values wanted, in order.

    Returns
    -------
    source_id : int64, shape (B,)
        In the order of the batch.
    values : float32, shape (B, D)
        Transformed but unscaled; 0 where missing.
    ivar : float32, shape (B, D)
        Inverse variance of the values; 0 where missing, positive elsewhere. Missing is null, NaN or
        infinite, or a null list. A value without a positive error has ``default_error``.

    Raises
    ------
    ValueError
        If source_id is absent, null or not int64, if a column has another type or list length than
        declared, or if XP of a row is not scaled (``flux_state`` in ``UNSCALED_FLUX_STATES``).
    """
    source_id = _source_id(batch)
    values = np.zeros((len(source_id), width(features)), dtype=np.float32)
    ivar = np.zeros_like(values)
    start = 0
    for feature in features:
        stop = start + feature.size
        raw = _numbers(batch, feature.column, feature.size)
        if raw is not None:
            value, error = _transformed(feature, raw, _errors(batch, feature, raw))
            present = np.isfinite(value) & (np.abs(value) < np.finfo(np.float32).max)
            values[:, start:stop] = np.where(present, value, 0.0)
            ivar[:, start:stop] = np.where(present, error**-2, 0.0)
        start = stop
    _refuse_unscaled(batch, ivar[:, xp_values(features)])
    return source_id, values, ivar


def _transformed(feature: Feature, value: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    value, error = TRANSFORMS[feature.transform](value, error)
    usable = np.isfinite(error) & (error > 0)
    error = np.where(usable, error, feature.default_error)
    return value, np.clip(error, SMALLEST_ERROR, LARGEST_ERROR)


def _identity(value: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    return value, error


def _significance(value: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give value / error within +-10, with unit error; missing without a positive error."""
    usable = np.isfinite(error) & (error > 0)
    ratio = np.divide(value, error, out=np.full_like(value, np.nan), where=usable)
    limit = PARALLAX_SIGNIFICANCE_LIMIT
    return np.clip(ratio, -limit, limit), np.ones_like(value)


# An angle enters as sine and cosine, so that 359.9 deg and 0.1 deg are neighbours. NaN stays NaN and
# an infinite angle is made NaN first, because numpy warns about its sine.
def _sine(value: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.sin(np.radians(np.where(np.isfinite(value), value, np.nan))), error


def _cosine(value: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.cos(np.radians(np.where(np.isfinite(value), value, np.nan))), error


TRANSFORMS: dict[str, Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]] = {
    "identity": _identity,
    "significance": _significance,
    "sine": _sine,
    "cosine": _cosine,
}


def _column(batch: Batch, name: str) -> "Array | None":
    """Return a column as one contiguous array, or None when it is absent or of null type."""
    if name not in batch.schema.names:
        return None
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return None if pa.types.is_null(column.type) else column


def _source_id(batch: Batch) -> NDArray[np.int64]:
    column = _column(batch, "source_id")
    found = "no such column" if column is None else f"{column.type} with {column.null_count} nulls"
    if column is None or column.type != pa.int64() or column.null_count:
        raise ValueError(f"source_id: found {found}, expected int64 without nulls; rebuild the table that feeds the model")
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _errors(batch: Batch, feature: Feature, raw: FloatArray) -> FloatArray:
    errors = _numbers(batch, feature.error_column, feature.size) if feature.error_column else None
    return np.full_like(raw, np.nan) if errors is None else errors


def _numbers(batch: Batch, name: str, size: int) -> FloatArray | None:
    """Return a numeric column as float64 (B, size) with NaN where null, or None when absent."""
    column = _column(batch, name)
    if column is None:
        return None
    if isinstance(column, pa.FixedSizeListArray) and column.type.list_size == size:
        return _list_numbers(column, size)
    if size == 1 and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return _floats(column)[:, np.newaxis]
    expected = "a number" if size == 1 else f"fixed_size_list of {size} numbers"
    raise ValueError(
        f"column {name!r} has type {column.type}, expected {expected}; "
        "use a model trained on this release, or rebuild the table that feeds it"
    )


def _list_numbers(column: "pa.FixedSizeListArray[Any, Any]", size: int) -> FloatArray:
    # `values` keeps the slots of null lists (`flatten` drops them, which shifts all later rows) but
    # ignores the offset of a slice. What lies in the slot of a null list is undefined.
    first = column.offset * size
    child = column.values.slice(first, len(column) * size)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return np.where(valid[:, np.newaxis], _floats(child).reshape(-1, size), np.nan)


def _floats(column: Array) -> FloatArray:
    numbers = column.cast(pa.float64()) if pa.types.is_integer(column.type) else column
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _refuse_unscaled(batch: Batch, xp_ivar: NDArray[np.float32]) -> None:
    state = _column(batch, "flux_state")
    if state is None or not xp_ivar.size:
        return
    raw = pc.is_in(state, pa.array(UNSCALED_FLUX_STATES)).to_numpy(zero_copy_only=False)
    count = int(np.count_nonzero(raw & (xp_ivar > 0).any(axis=1)))
    if count:
        raise ValueError(
            f"flux_state is one of {UNSCALED_FLUX_STATES} in {count} of {len(raw)} rows with XP values, "
            "expected coefficients scaled to one brightness; read the pretrain table, not the XP table"
        )
