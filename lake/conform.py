"""Bring a raw batch to the declared form: types, units, nulls, list lengths, ids; refuse what does not fit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.columns import column
from lake.declaration import Mark
from lake.errors import RawFileError, SurveyError
from lake.manifest import add_up
from lake.masks import drop, mask
from lake.partition import BASE_SHIFT, N_PIXELS
from lake.readers.arrays import ArrayTextError, parse_arrays
from lake.readers.batch import RawBatch
from lake.survey import Survey

_MAX_ID = N_PIXELS << BASE_SHIFT
_TOP = 1 << 63
_BLANK = pa.array(["", "null", "nan", "NaN", "None", "--"])


class _MisfitError(ValueError):
    """Carry what does not fit and its first row, until file and column are known."""

    def __init__(self, message: str, row: int = 0) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Conformed:
    """Rows under a survey's schema, and what became of the others.

    Attributes
    ----------
    table
        Canonical columns, without ``source_id`` where a match has yet to find it.
    dropped
        Rows left out, by reason.
    masked
        Values that became null by the survey's masks, by ``column: reason``; the rows stay.
    """

    table: pa.Table
    dropped: Mapping[str, int]
    masked: Mapping[str, int]


def conform(batch: RawBatch, survey: Survey, path: object, *, columns: Iterable[str] | None = None) -> Conformed:
    """Return the batch under the survey's schema, and the number of rows dropped and values masked by reason.

    Every declared column is present; those that the file lacks are null. NaN, sentinels, empty texts and empty arrays
    become null. Values keep their bits: float32 stays float32 or widens to float64. The order: types and nulls, masks
    and drops on what the file holds, the survey's `clean`, then masks and drops on what that made.

    Parameters
    ----------
    path
        The file, for messages.
    columns
        Canonical columns to return; all that are declared if None. Absent lists are as large as present ones.

    Raises
    ------
    RawFileError
        If a value does not fit its column, an array has another length, an id is not a positive Gaia id, or a marked
        column shows another release.
    """
    rows = batch.table.num_rows
    arrays: list[pa.Array] = []
    fields = [column(name).field(survey.lengths.get(name)) for name in columns or survey.columns]
    for field in fields:
        if field.name not in batch.table.column_names:
            arrays.append(pa.nulls(rows, field.type))
            continue
        try:
            sentinels = survey.missing.get(field.name, ())
            raw = _forget(_plain(batch.table[field.name].combine_chunks()), sentinels)
            # Numbers that came as text show only now that they are sentinels.
            arrays.append(_forget(_coerced(_in_units(raw, field.name, survey), field.type), sentinels))
        except (_MisfitError, ArrayTextError) as error:
            raise _located(error, batch, survey, path, field) from error
    table = pa.Table.from_arrays(arrays, schema=pa.schema([field.with_nullable(True) for field in fields]))
    dropped: dict[str, int] = {}
    if survey.has_ids:
        _refuse_ids(table["source_id"].combine_chunks(), batch.first_row, path, may_lack="source_id" in survey.missing)
        table, dropped = _without_ids(table, survey)
    for mark in survey.marks:
        if mark.column in batch.table.column_names:
            _refuse_release(table, mark, survey, path)
    table, masked = mask(table, survey, survey.columns)
    table, left_out = drop(table, survey, survey.columns)
    if survey.clean is not None:
        given, table = table.num_rows, survey.clean(table)
        if table.num_rows != given:
            raise SurveyError(
                f"survey {survey.name}: `clean` was given {given:,} rows of {path} and returned {table.num_rows:,}; it must "
                "return the same rows. Rows are left out by `drops`, which are counted"
            )
        table, late = mask(table, survey, survey.made)
        table, last = drop(table, survey, survey.made)
        masked, left_out = add_up([masked, late]), add_up([left_out, last])
    wanted = [*fields, *(column(name).field(survey.lengths.get(name)) for name in survey.made)]
    return Conformed(table.select([field.name for field in wanted]).cast(pa.schema(wanted)), add_up([dropped, left_out]), masked)


def _located(error: Exception, batch: RawBatch, survey: Survey, path: object, field: pa.Field) -> RawFileError:
    row = getattr(error, "row", 0)
    name = survey.columns[field.name].name
    star = ""
    if survey.has_ids and field.name != "source_id" and row < batch.table.num_rows:
        star = f", source_id {batch.table['source_id'][row].as_py()}"
    return RawFileError(
        f"{path}: column {name!r}, row {batch.first_row + row + 1:,}{star}: {error}; {survey.name} declares "
        f"{field.type}. Fetch the file again, or ingest it under the survey and release it belongs to"
    )


def _without_ids(table: pa.Table, survey: Survey) -> tuple[pa.Table, dict[str, int]]:
    """Drop rows whose id is a declared sentinel, or null where the survey says that ids may be missing.

    A null id of a survey that declares nothing is left to be refused.
    """
    if "source_id" not in survey.missing or not table["source_id"].null_count:
        return table, {}
    return table.filter(pc.is_valid(table["source_id"])), {"no source_id": table["source_id"].null_count}


def _refuse_ids(ids: pa.Array, first_row: int, path: object, *, may_lack: bool) -> None:
    good = pc.fill_null(pc.and_(pc.greater(ids, 0), pc.less(ids, _MAX_ID)), may_lack)
    bad = len(good) - (pc.sum(good).as_py() or 0)
    if bad:
        row = pc.index(good, False).as_py()
        raise RawFileError(
            f"{path}: column 'source_id', row {first_row + row + 1:,}: {ids[row].as_py()} is no Gaia source identifier "
            f"({bad:,} such rows here); ids are integers from 1 to {_MAX_ID - 1}. Remove these rows from the file, or declare "
            "the value as missing in the survey so that they are dropped and counted"
        )


def _refuse_release(table: pa.Table, mark: Mark, survey: Survey, path: object) -> None:
    values = table[mark.column]
    if mark.prefix:
        good = pc.starts_with(values, mark.prefix)
        wanted = f"values that begin with {mark.prefix!r}"
    else:
        kind = values.type
        low, high = pa.scalar(mark.low, kind), pa.scalar(mark.high, kind)
        good = pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
        wanted = f"{mark.low}" if mark.low == mark.high else f"{mark.low} to {mark.high}"
    bad = pc.invert(pc.fill_null(good, True))
    count = pc.sum(bad).as_py() or 0
    if count:
        row = pc.index(bad, True).as_py()
        star = f"source_id {table['source_id'][row].as_py()}" if survey.has_ids else "a row"
        raise RawFileError(
            f"{path}: column {mark.column!r} shows another release: {star} has "
            f"{values[row].as_py()!r} ({count:,} such rows here), {survey.name} ({survey.release}) expects {wanted}. Ids of "
            f"another release name other sources: pass files of {survey.release}"
        )


def _plain(values: pa.Array) -> pa.Array:
    """Return dictionary and large text columns, as other tools write them to Parquet, as what they stand for."""
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    return pc.cast(values, pa.string()) if pa.types.is_large_string(values.type) else values


def _forget(values: pa.Array, sentinels: tuple[float | str, ...]) -> pa.Array:
    for sentinel in sentinels:
        if isinstance(sentinel, str) == pa.types.is_string(values.type) and _holds(values.type, sentinel):
            values = pc.if_else(pc.equal(values, pa.scalar(sentinel, values.type)), pa.scalar(None, values.type), values)
    return values


def _holds(kind: pa.DataType, sentinel: float | str) -> bool:
    """Tell whether a raw column of this type can hold the sentinel at all."""
    try:
        pa.scalar(sentinel, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError):
        return False
    return not pa.types.is_null(kind)


@lru_cache(maxsize=256)
def _factor(raw: str, unit: str) -> float:
    from astropy import units

    return float(units.Unit(raw).to(units.Unit(unit)))


def _in_units(values: pa.Array, name: str, survey: Survey) -> pa.Array:
    raw = survey.columns[name].unit
    if not raw or raw == column(name).unit:
        return values
    return pc.multiply(values, pa.scalar(_factor(raw, column(name).unit), pa.float64()))


def _coerced(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Turn a raw column into its declared type without loss, or raise `_MisfitError`."""
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), kind)
    if pa.types.is_fixed_size_list(kind):
        return _lists(values, kind)
    if pa.types.is_floating(kind):
        return _floats(values, kind)
    if pa.types.is_integer(kind):
        return _integers(values, kind)
    if pa.types.is_boolean(kind):
        return _booleans(values)
    if not pa.types.is_string(values.type):
        raise _MisfitError(f"expected text, found {values.type}")
    trimmed = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _floats(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise _MisfitError(f"expected numbers, found {values.type}, such as {_first(values)!r}")
    if values.type == pa.int64() and values.null_count < len(values):
        raise _MisfitError(f"expected floating numbers, found 64-bit integers, such as {_first(values)!r}")
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        infinite = pc.is_inf(values)
        if pc.any(infinite).as_py():
            raise _MisfitError(f"{pc.sum(infinite).as_py():,} infinite values", pc.index(infinite, True).as_py())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    narrow = pc.cast(values, kind, safe=False)
    if narrow.type != values.type and pc.all(pc.is_finite(narrow)).as_py() is False:
        row = pc.index(pc.is_inf(narrow), True).as_py()
        raise _MisfitError(f"{values[row].as_py()!r} is beyond {kind}", row)
    return narrow


def _integers(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(values.type):
        if kind == pa.int64():
            raise _MisfitError(f"expected 64-bit integers, found {values.type}: identifiers lose digits as floating numbers")
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    elif pa.types.is_string(values.type):
        values = _digits(values)
    elif not pa.types.is_integer(values.type):
        raise _MisfitError(f"expected integers, found {values.type}, such as {_first(values)!r}")
    try:
        return pc.cast(values, kind)
    except pa.ArrowInvalid as error:
        for row, value in enumerate(values.to_pylist()):
            try:
                pa.scalar(value, values.type).cast(kind)
            except pa.ArrowInvalid:
                raise _MisfitError(f"expected {kind}, found {value!r}", row) from error
        raise


def _digits(values: pa.Array) -> pa.Array:
    """Turn integers written as text into int64, blanks into null."""
    trimmed = pc.utf8_trim_whitespace(values)
    trimmed = pc.if_else(pc.is_in(trimmed, _BLANK), pa.scalar(None, pa.string()), trimmed)
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(trimmed, r"^[+-]?[0-9]{1,19}$")), False)
    if pc.any(odd).as_py():
        row = pc.index(odd, True).as_py()
        raise _MisfitError(f"expected an integer, found the text {values[row].as_py()!r}", row)
    try:
        return pc.cast(trimmed, pa.int64())
    except pa.ArrowInvalid as error:
        row = next(i for i, value in enumerate(trimmed.to_pylist()) if value and not -_TOP <= int(value) < _TOP)
        raise _MisfitError(f"expected a 64-bit integer, found the text {values[row].as_py()!r}", row) from error


def _booleans(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return values
    if pa.types.is_string(values.type):
        lower = pc.utf8_lower(pc.utf8_trim_whitespace(values))
        known = pc.or_(pc.is_in(lower, pa.array(["true", "t", "1"])), pc.is_in(lower, pa.array(["false", "f", "0", ""])))
        if not pc.all(known).as_py():
            row = pc.index(known, False).as_py()
            raise _MisfitError(f"expected true or false, found {values[row].as_py()!r}", row)
        said = pc.is_in(lower, pa.array(["true", "t", "1"]))
        return pc.if_else(pc.or_kleene(pc.is_null(lower), pc.equal(lower, "")), pa.scalar(None, pa.bool_()), said)
    if pa.types.is_integer(values.type):
        odd = pc.invert(pc.is_in(values, pa.array([0, 1, None], values.type)))
        if pc.any(odd).as_py():
            raise _MisfitError(
                f"expected 0 or 1, found {values[pc.index(odd, True).as_py()].as_py()}", pc.index(odd, True).as_py()
            )
        return pc.cast(values, pa.bool_())
    raise _MisfitError(f"expected true or false, found {values.type}")


def _lists(values: pa.Array, kind: pa.FixedSizeListType) -> pa.Array:
    size = kind.list_size
    if pa.types.is_string(values.type):
        values = parse_arrays(values, kind.value_type)
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)):
        raise _MisfitError(f"expected arrays of {size}, found {values.type}")
    lengths = pc.list_value_length(values)
    odd = pc.fill_null(pc.not_equal(lengths, size), False)
    empty = pc.fill_null(pc.equal(lengths, 0), False)
    wrong = pc.and_(odd, pc.invert(empty))
    if pc.any(wrong).as_py():
        row = pc.index(wrong, True).as_py()
        raise _MisfitError(
            f"expected an array of {size} values, found {lengths[row].as_py()} ({pc.sum(wrong).as_py():,} such rows here)", row
        )
    there = pc.and_(pc.is_valid(values), pc.invert(empty))
    full = values if pc.all(there).as_py() else values.filter(there)
    # flatten() honours offsets and skips null rows, and none is null here.
    try:
        listed = pa.FixedSizeListArray.from_arrays(_floats(full.flatten(), kind.value_type), size)
    except _MisfitError as error:
        raise _MisfitError(str(error), int(np.flatnonzero(there)[error.row // size])) from error
    if listed.values.null_count:
        blank = listed.values.is_null().to_numpy(zero_copy_only=False).reshape(-1, size).all(axis=1)
        if blank.any():
            listed = listed.take(pa.array(np.arange(len(blank)), mask=blank))
    if len(full) < len(values):
        index = np.cumsum(there.to_numpy(zero_copy_only=False)) - 1
        listed = listed.take(pa.array(index, mask=~there.to_numpy(zero_copy_only=False)))
    return listed.cast(kind)


def _first(values: pa.Array) -> object:
    present = values.drop_null()
    return present[0].as_py() if len(present) else None
