"""Read delimited text: bulk files with ECSV header, archive CSV and ECSV, DataLink CSV; plain or gzip."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from lake.errors import RawFileError
from lake.readers.batch import RawBatch, Selection, batch_of, select
from lake.readers.form import open_bytes
from lake.survey import Survey

NULLS = ["", "null", "NULL", "nan", "NaN", "--"]
_TRUE, _FALSE = ["True", "true", "TRUE", "T", "t", "1"], ["False", "false", "FALSE", "F", "f", "0"]
# Parsing is fastest in blocks that fit a processor's cache, and what follows in batches of many rows.
_BLOCK = 1 << 20
_BATCH = 8 << 20


def read_text(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of one text table (see `lake.readers.read`)."""
    with open_bytes(path) as stream:
        names, delimiter = _header(stream, path)
        selection = select(names, survey, path)
        try:
            tables = _tables(stream, names, delimiter, {name: _parsed(selection.type_of(name)) for name in selection.names})
            if selection.by:
                yield batch_of(pa.concat_tables(tables), selection, survey, path)
            else:
                for table in tables:
                    yield batch_of(table, selection, survey, path)
        except pa.ArrowInvalid as error:
            raise _diagnosis(path, selection) or RawFileError(
                f"{path}: the text table breaks off or is malformed: {error}. Fetch the file again"
            ) from error


def _header(stream: IO[bytes], path: Path) -> tuple[list[str], str]:
    """Consume comment lines and the line of names; return the names and the delimiter."""
    delimiter, ecsv = ",", False
    for line in iter(stream.readline, b""):
        if not line.startswith(b"#") and line.strip():
            try:
                text = line.decode("utf-8-sig").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise RawFileError(
                    f"{path}: the line of column names is no UTF-8 text ({error}); is this a text table?"
                ) from error
            return [name.strip() for name in next(csv.reader([text], delimiter=delimiter))], delimiter
        if line.startswith(b"# %ECSV"):
            delimiter, ecsv = " ", True
        said = re.match(rb"#\s*delimiter:\s*'?(.)'?", line)
        if ecsv and said:
            delimiter = said.group(1).decode()
    raise RawFileError(f"{path}: comment lines only, no line of column names; fetch the file again")


def _parsed(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is parsed from text.

    Small integers are parsed as float64, exactly: some files turn them into ``24.0`` in the middle.
    Identifiers are parsed as int64 and nothing else. Arrays arrive as text.
    """
    if pa.types.is_list(kind):
        return pa.string()
    if pa.types.is_integer(kind) and kind != pa.int64():
        return pa.float64()
    return kind


def _tables(stream: IO[bytes], names: list[str], delimiter: str, types: dict[str, pa.DataType]) -> Iterator[pa.Table]:
    """Yield the parsed rows of a text table, at least one table, whose first line of data is next in the stream."""
    first = stream.peek(1) if hasattr(stream, "peek") else b"?"
    if not first:
        yield pa.table({name: pa.array([], kind) for name, kind in types.items()})
        return
    reader = pacsv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pacsv.ReadOptions(column_names=names, block_size=_BLOCK, use_threads=False),
        parse_options=pacsv.ParseOptions(delimiter=delimiter),
        convert_options=pacsv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=NULLS,
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            true_values=_TRUE,
            false_values=_FALSE,
        ),
    )
    held: list[pa.RecordBatch] = []
    size = 0
    for record in reader:
        held.append(record)
        size += record.nbytes
        if size >= _BATCH:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _diagnosis(path: Path, selection: Selection) -> RawFileError | None:
    """Find the first column, row and value that does not parse, by reading the file again as text."""
    row = 0
    with open_bytes(path) as stream:
        names, delimiter = _header(stream, path)
        try:
            for table in _tables(stream, names, delimiter, dict.fromkeys(selection.names, pa.string())):
                for name in selection.names:
                    bad = [i for i, value in enumerate(table[name].to_pylist()) if not _parses(value, selection.type_of(name))]
                    if bad:
                        return RawFileError(
                            f"{path}: column {name!r} should be {selection.type_of(name)}, but row {row + bad[0] + 1:,} holds "
                            f"{table[name][bad[0]].as_py()!r} ({len(bad):,} such values in rows {row + 1:,} to "
                            f"{row + table.num_rows:,}). Fetch the file again, or export the column with its type"
                        )
                row += table.num_rows
        except pa.ArrowInvalid:
            return None
    return None


def _parses(value: str | None, kind: pa.DataType) -> bool:
    if value is None or pa.types.is_string(kind) or pa.types.is_list(kind):
        return True
    if pa.types.is_boolean(kind):
        return value in _TRUE + _FALSE
    try:
        pc.cast(pa.scalar(value), _parsed(kind))
    except pa.ArrowInvalid:
        return False
    return True
