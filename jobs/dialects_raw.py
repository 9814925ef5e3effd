"""Bring canonical columns to the form in which a survey's files hold them, ready for `jobs.dialects.write`."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.dialects_binary import whole
from lake.columns import COLUMNS
from lake.survey import Survey


def as_raw(declared: Survey, table: pa.Table) -> pa.Table:
    """Return canonical columns under raw names and units, elements gathered into arrays or texts.

    Columns that no file holds are left out: those that `clean`, the match or the merge adds. Fields carry ``unit``,
    ``description`` and, where the survey declares them, ``bytes`` (such as ``41-60``); the schema keeps its metadata and
    says the length of a fixed-width ``record``.

    Parameters
    ----------
    table
        Canonical names and types; a column that it lacks is lacking in the result.

    Returns
    -------
    pa.Table
        Numbers of one raw column as a fixed-size list that ends with the last element declared, others null; letters of
        one raw column as a text, blank where null, the whole text null where all are. Numbers in other units are float64,
        so that reading them gives float32 its bits back.
    """
    arrays: dict[str, pa.Array] = {}
    fields: dict[str, pa.Field] = {}
    for canonical, raw in declared.columns.items():
        key = raw.name.lower()
        if key in arrays or canonical not in table.column_names:
            continue
        if raw.element is None:
            values = _in_raw_units(whole(table[canonical]), raw.unit, COLUMNS[canonical].unit)
            values = values.cast(pa.string()) if raw.text else values
        else:
            values = _gathered(_elements(declared, key, table))
        said = {"unit": raw.unit or COLUMNS[canonical].unit}
        said["description"] = COLUMNS[canonical].description if raw.element is None else ""
        said["bytes"] = "-".join(map(str, raw.at)) if raw.at else ""
        arrays[key] = values
        fields[key] = pa.field(raw.name, values.type, metadata={key: text for key, text in said.items() if text})
    record = max((raw.at[1] for raw in declared.columns.values() if raw.at), default=0)
    metadata = {**(table.schema.metadata or {}), **({b"record": str(record).encode()} if record else {})}
    return pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(list(fields.values()), metadata=metadata or None))


def _elements(declared: Survey, key: str, table: pa.Table) -> dict[int, pa.Array]:
    """Return the columns of a table that are elements of one raw column, by place."""
    found = {}
    for canonical, raw in declared.columns.items():
        if raw.name.lower() == key and raw.element is not None and canonical in table.column_names:
            found[raw.element] = _in_raw_units(whole(table[canonical]), raw.unit, COLUMNS[canonical].unit)
    return found


def _gathered(elements: Mapping[int, pa.Array]) -> pa.Array:
    size = max(elements) + 1
    kinds = {held.type for held in elements.values()}
    if kinds == {pa.string()}:
        return _text(elements, size)
    kind = kinds.pop() if len(kinds) == 1 else pa.from_numpy_dtype(np.result_type(*(one.to_pandas_dtype() for one in kinds)))
    rows = len(next(iter(elements.values())))
    columns = [elements[place].cast(kind) if place in elements else pa.nulls(rows, kind) for place in range(size)]
    # All first elements, all second ones, ...: taken in the order of rows.
    order = np.arange(rows * size).reshape(size, rows).T.ravel()
    return pa.FixedSizeListArray.from_arrays(pa.concat_arrays(columns).take(pa.array(order)), size)


def _text(letters: Mapping[int, pa.Array], size: int) -> pa.Array:
    for place, held in letters.items():
        longest = pc.max(pc.utf8_length(held)).as_py() or 0
        if longest > 1:
            raise ValueError(f"element {place} of a text should be one letter, but one of them has {longest}")
    rows = len(next(iter(letters.values())))
    blank = pa.array([" "] * rows, pa.string())
    joined = pc.binary_join_element_wise(*(pc.fill_null(letters.get(place, blank), " ") for place in range(size)), "")
    there = np.any([np.asarray(pc.is_valid(held)) for held in letters.values()], axis=0)
    return pc.if_else(pa.array(there), joined, pa.scalar(None, pa.string()))


def _in_raw_units(values: pa.Array, raw: str, unit: str) -> pa.Array:
    """Undo the conversion that reading does, in float64: float32 comes back bit for bit, float64 up to its last bit."""
    if not raw or raw == unit or not pa.types.is_floating(values.type):
        return values
    from astropy import units

    return pc.divide(values.cast(pa.float64()), float(units.Unit(raw).to(units.Unit(unit))))
