"""Read joined label tables, whose columns are called ``table.column``, and tell the rows that advice speaks against."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.declaration import Where
from lake.masks import condemned
from lake.survey import survey

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_WITHOUT_BITS = "apogee_dr17"


@dataclass(frozen=True)
class Advice:
    """What speaks against the labels of a row; a null does, where the condition says ``absent``.

    Attributes
    ----------
    table
        Table that holds the deciding column.
    where
        The condition; bits are those that the survey of that name declares.
    labels
        Labels that it concerns; all if empty.
    """

    table: str
    where: Where
    labels: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """Name of the deciding column in the joined table."""
        return f"{self.table}.{self.where.column}"

    def __str__(self) -> str:
        """Say the condition as it is counted: ``galah_dr4.snr below 30, absent``."""
        return f"{self.table}.{self.where}"

    def concerns(self, label: str) -> bool:
        """Tell whether the advice is about a label."""
        return not self.labels or label in self.labels


def speaks_against(table: pa.Table, advice: Advice) -> Bools:
    """Tell the rows, shape (rows,), of which the advice says not to use them; without its table, that is where null is meant.

    Raises
    ------
    SurveyError
        If the condition names bits and there is no survey of that name.
    """
    if advice.column not in table.column_names:
        return np.full(len(table), advice.where.absent)
    held = pa.table({advice.where.column: table[advice.column]})
    # Only bits need the survey, and tables of translated labels, which are no survey's, have none.
    named = survey(advice.table if advice.where.bits else _WITHOUT_BITS)
    return np.asarray(condemned(held, advice.where, named).to_numpy(zero_copy_only=False), dtype=bool)


def numbers(table: pa.Table, name: str) -> Floats:
    """Return a column as float64, shape (rows,), NaN for null, infinity, and where the joined table lacks it."""
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    values = table[name].combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def stored(values: Floats) -> pa.Array:
    """Return numbers as float32, null where they are not finite."""
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    return pa.array(small, pa.float32(), mask=~np.isfinite(small))
