"""Forget single values, and leave out rows, that a survey's own flags and limits condemn; count both by reason."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Where
from lake.survey import Survey


def condemned(table: pa.Table, where: Where, survey: Survey) -> pa.Array:
    """Tell the rows that a condition condemns.

    Returns
    -------
    pa.BooleanArray
        One entry per row, without nulls.
    """
    values = table[where.column].combine_chunks()
    bad = pa.array(np.zeros(len(values), dtype=bool))
    if where.bits:
        mask = sum(1 << survey.flags[where.column][bit] for bit in where.bits)
        bad = pc.or_(bad, _any_bit(values, mask))
    if where.below is not None:
        bad = pc.or_(bad, pc.fill_null(pc.less(values, _bound(where.below, values.type)), False))
    if where.above is not None:
        bad = pc.or_(bad, pc.fill_null(pc.greater(values, _bound(where.above, values.type)), False))
    if where.other_than:
        known = pc.is_in(values, pa.array(where.other_than, values.type))
        bad = pc.or_(bad, pc.and_(pc.is_valid(values), pc.invert(known)))
    return pc.or_(bad, pc.is_null(values)) if where.absent else bad


def _any_bit(values: pa.Array, mask: int) -> pa.Array:
    held = pc.fill_null(values, 0).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return pa.array((held.view(np.uint64) & np.uint64(mask)) != 0)


def _bound(value: float, kind: pa.DataType) -> pa.Scalar:
    """Return a bound in the column's own type where that is exact: 1.001 is above itself as float32."""
    return pa.scalar(value, kind) if pa.types.is_floating(kind) or float(value).is_integer() else pa.scalar(value)


def mask(table: pa.Table, survey: Survey, columns: Collection[str]) -> tuple[pa.Table, dict[str, int]]:
    """Apply the survey's masks whose deciding column is among `columns`.

    Returns
    -------
    pa.Table
        The same rows, with values that are condemned null.
    dict
        Number of values that were present and were masked, by ``column: reason``.
    """
    counts: dict[str, int] = {}
    for one in survey.masks:
        if one.where.column not in columns or one.where.column not in table.column_names:
            continue
        bad = condemned(table, one.where, survey)
        if not pc.any(bad).as_py():
            continue
        for name in one.columns:
            if name not in table.column_names:
                continue
            values = table[name].combine_chunks()
            lost = pc.sum(pc.and_(bad, pc.is_valid(values))).as_py() or 0
            if lost:
                counts[f"{name}: {one.where}"] = counts.get(f"{name}: {one.where}", 0) + lost
                values = pc.if_else(bad, pa.scalar(None, values.type), values)
                table = table.set_column(table.column_names.index(name), table.field(name).with_nullable(True), values)
    return table, counts


def drop(table: pa.Table, survey: Survey, columns: Collection[str]) -> tuple[pa.Table, dict[str, int]]:
    """Leave out the rows that a `Survey.drops` among `columns` condemns; the first that does is the reason counted."""
    counts: dict[str, int] = {}
    for where in survey.drops:
        if where.column not in columns or where.column not in table.column_names:
            continue
        bad = condemned(table, where, survey)
        lost = pc.sum(bad).as_py() or 0
        if lost:
            counts[str(where)] = lost
            table = table.filter(pc.invert(bad))
    return table, counts
