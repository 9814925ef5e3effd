"""Name what can be wrong with single values of a training table: one small function per defect, and what to do about it.

A check takes one column of some rows and tells which values are bad. The limits of magnitudes and their errors are those of
the surveys' declarations and of the vocabulary, so that what the lake would have refused is found in files of others too.
Every defect is one that was found in published training tables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lake.columns import COLUMNS
from lake.declaration import Where
from lake.finetune import WIDE_LABELS
from lake.pretrain import COLUMNS as PRETRAIN
from lake.pretrain import SOURCES
from lake.survey import surveys
from lake.training_rows import BLOCKS, Floats, Rows

Bools = NDArray[np.bool_]
ERROR, WARNING = "error", "warning"
# Compared exactly, also as float32 spells them: among billions of coefficients some come near.
SENTINELS = (-9999.0, -9999.99, float(np.float32(-9999.99)), -99999.0, -999.0, -99.0, 999999.0)
G_RANGE = (5.0, 25.0)
GAIA_MAGS = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")


@dataclass(frozen=True)
class ValueCheck:
    """One way in which values can be wrong.

    Attributes
    ----------
    bad
        Function from the rows and a canonical column to a mask of bad values of the column's shape; None where the check
        does not concern the column.
    share
        Share of a column's values up to which bad ones may be chance.
    """

    name: str
    level: str
    bad: Callable[[Rows, str], Bools | None]
    advice: str
    share: float = 0.0


def error_of(name: str) -> str:
    """Return the column with the error of a column.

    >>> error_of("bp_coefficients"), error_of("parallax")
    ('bp_coefficient_errors', 'parallax_error')
    """
    return f"{name.removesuffix('s')}_errors" if name in BLOCKS[:2] else f"{name}_error"


def is_error(name: str) -> bool:
    """Tell whether a column holds errors."""
    return name.endswith(("_error", "_errors"))


def is_magnitude(name: str) -> bool:
    """Tell whether a column holds magnitudes or their errors."""
    known = COLUMNS.get(name)
    return known is not None and known.unit == "mag"


def _infinite(rows: Rows, name: str) -> Bools | None:
    return np.isinf(rows.numbers[name])


def sentinel(values: Floats, name: str) -> Bools:
    """Tell which numbers stand for missing: -9999 and its kin, and 99.x among magnitudes."""
    known = COLUMNS.get(name)
    # Velocities rounded to integers may well be -99.
    plausible = known is not None and known.low is not None and known.low <= -99
    found = np.isin(values, [one for one in SENTINELS if not (plausible and one == -99)])
    if is_magnitude(name):
        found |= (np.abs(values) >= 99) & (np.abs(values) < 100)
    return found


def _sentinel(rows: Rows, name: str) -> Bools | None:
    return sentinel(rows.numbers[name], name)


def _outside(rows: Rows, name: str) -> Bools | None:
    known = COLUMNS.get(name)
    if known is None or name in GAIA_MAGS or (known.low is None and known.high is None):
        return None
    values = rows.numbers[name]
    bad = np.zeros(values.shape, dtype=bool)
    # Values were rounded to float32 on their way, so the limits are met within that.
    if known.low is not None and not is_error(name):
        bad |= values < known.low - 1e-6 * abs(known.low)
    if known.high is not None:
        bad |= values > known.high + 1e-6 * abs(known.high)
    return bad


def _faint_or_bright(rows: Rows, name: str) -> Bools | None:
    values = rows.numbers[name]
    return (values < G_RANGE[0]) | (values > G_RANGE[1]) if name == "phot_g_mean_mag" else None


def _not_positive(rows: Rows, name: str) -> Bools | None:
    return rows.numbers[name] <= 0 if is_error(name) else None


def _own_error(rows: Rows, name: str) -> Bools | None:
    values, errors = rows.numbers[name], rows.numbers.get(error_of(name))
    return (values == errors) & (values != 0) if errors is not None and errors.shape == values.shape else None


def _error_missing(rows: Rows, name: str) -> Bools | None:
    errors = rows.numbers.get(error_of(name))
    # That a whole column of errors is missing is told with the missing columns.
    return np.isfinite(rows.numbers[name]) & ~np.isfinite(errors) if name in WIDE_LABELS and errors is not None else None


def _root_of_age(rows: Rows, name: str) -> Bools | None:
    if name != "age_error" or "age" not in rows.numbers:
        return None
    root = np.sqrt(np.maximum(rows.numbers["age"], 0))
    return np.isclose(rows.numbers[name], root, rtol=1e-5, atol=0)


def _input(rows: Rows, name: str) -> Bools | None:
    parallax = rows.numbers.get("parallax")
    if parallax is None or rows.numbers[name].ndim > 1 or name in PRETRAIN or is_error(name):
        return None
    values = rows.numbers[name]
    logarithm = np.log10(parallax, out=np.full(rows.n, np.nan), where=parallax > 0)
    return (values == parallax) | np.isclose(values, logarithm, rtol=1e-6, atol=0)


@lru_cache(maxsize=1)
def _condemning() -> Mapping[str, tuple[Where, ...]]:
    """Return the limits below or above which the surveys' declarations forget a value, by column."""
    found: dict[str, tuple[Where, ...]] = {}
    for table, columns in SOURCES.items():
        for one in surveys()[table].masks:
            where = one.where
            if where.column in columns and not where.bits and not where.other_than and not where.absent:
                found[where.column] = (*found.get(where.column, ()), where)
    return found


def _condemned(rows: Rows, name: str) -> Bools | None:
    wheres = _condemning().get(name, ())
    values = rows.numbers[name]
    bad = np.zeros(values.shape, dtype=bool)
    for where in wheres:
        bad |= values < where.below * (1 - 1e-6) if where.below is not None else False
        bad |= values > where.above * (1 + 1e-6) if where.above is not None else False
    # What is not positive, or beyond all limits, is told by other checks.
    return bad & ~(values <= 0) if wheres else None


# Sentinels and infinities are taken as missing by all that follow.
FIRST = (
    ValueCheck("infinite", ERROR, _infinite, "make it null where it arose: a division by zero, or an overflow of float32"),
    ValueCheck("sentinel", ERROR, _sentinel, "make it null at ingest: networks and means take it for a value"),
)
CHECKS = (
    ValueCheck("outside limits", ERROR, _outside, "no star has such a value; mask it at ingest (limits in lake.columns)"),
    ValueCheck(
        "G outside 5 to 25", WARNING, _faint_or_bright, "Gaia sees few stars so bright and none so faint; look at its unit"
    ),
    ValueCheck(
        "saturated or absurd",
        ERROR,
        _condemned,
        "the survey's declaration forgets such values (saturation, faint limit, error beyond use); mask them at ingest",
    ),
    ValueCheck("error not positive", ERROR, _not_positive, "an error of 0 gives infinite weight; make value and error null"),
    ValueCheck(
        "error equals value",
        ERROR,
        _own_error,
        "the column of errors is a copy of the values; take the survey's own errors, by name",
        share=0.01,
    ),
    ValueCheck("label without error", ERROR, _error_missing, "no weight can be given; leave the label out or find its error"),
    ValueCheck(
        "age error is the root of the age",
        ERROR,
        _root_of_age,
        "it was invented; take a published error or make the age null",
        share=0.01,
    ),
    ValueCheck(
        "target is an input",
        WARNING,
        _input,
        "it equals the parallax, which is an input: a model learns to copy; hide one of them, or test without",
        share=0.5,
    ),
)
