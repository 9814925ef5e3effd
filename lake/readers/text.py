"""Read delimited text: bulk files with ECSV header, archive CSV and ECSV, DataLink CSV, cells between bars; plain or gzip."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pacsv

from lake.errors import RawFileError
from lake.readers.batch import RawBatch, Selection, batch_of, select
from lake.readers.fixed_width import read_fixed_width
from lake.readers.form import open_bytes
from lake.readers.words import FALSE, NULLS, TRUE, parsed, parses
from lake.survey import Survey

# Parsing is fastest in blocks that fit a processor's cache, and what follows in batches of many rows.
_BLOCK = 1 << 20
_BATCH = 8 << 20


def read_text(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of one text table (see `lake.readers.read`).

    A survey declared by bytes is read so, unless the first line names columns: then the table has been exported as CSV.
    """
    with open_bytes(path) as stream:
        line, delimiter = _first_line(stream, path)
        if any(raw.at for raw in survey.columns.values()) and not _names_columns(line, delimiter, survey):
            stream.close()
            yield from read_fixed_width(path, survey)
            return
        names = _names(line, delimiter, path)
        selection = select(names, survey, path)
        try:
            tables = _tables(stream, names, delimiter, {name: parsed(kind) for name, kind in selection.types().items()})
            if selection.by:
                yield batch_of(pa.concat_tables(tables), selection, survey, path)
            else:
                for table in tables:
                    yield batch_of(table, selection, survey, path)
        except pa.ArrowInvalid as error:
            raise _diagnosis(path, selection) or RawFileError(
                f"{path}: the text table breaks off or is malformed: {error}. Fetch the file again"
            ) from error


def _first_line(stream: IO[bytes], path: Path) -> tuple[bytes, str]:
    """Consume comment lines and the first other line; return that and the delimiter."""
    delimiter, ecsv = "", False
    for line in iter(stream.readline, b""):
        if not line.startswith(b"#") and line.strip():
            return line, delimiter or ("|" if b"|" in line and b"," not in line else ",")
        if line.startswith(b"# %ECSV"):
            delimiter, ecsv = " ", True
        said = re.match(rb"#\s*delimiter:\s*'?(.)'?", line)
        if ecsv and said:
            delimiter = said.group(1).decode()
    raise RawFileError(f"{path}: comment lines only, no line of column names; fetch the file again")


def _names(line: bytes, delimiter: str, path: Path) -> list[str]:
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RawFileError(f"{path}: the line of column names is no UTF-8 text ({error}); is this a text table?") from error
    return [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]


def _names_columns(line: bytes, delimiter: str, survey: Survey) -> bool:
    """Tell whether a line holds names that the survey declares, rather than values."""
    cells = {cell.strip(' "\r\n').lower() for cell in line.decode("utf-8-sig", "replace").split(delimiter)}
    return any(raw.name.lower() in cells for raw in survey.columns.values())


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
            true_values=TRUE,
            false_values=FALSE,
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
        line, delimiter = _first_line(stream, path)
        names = _names(line, delimiter, path)
        try:
            for table in _tables(stream, names, delimiter, dict.fromkeys(selection.names, pa.string())):
                for name, kind in selection.types().items():
                    bad = [i for i, value in enumerate(table[name].to_pylist()) if not parses(value, kind)]
                    if bad:
                        return RawFileError(
                            f"{path}: column {name!r} should be {kind}, but row {row + bad[0] + 1:,} holds "
                            f"{table[name][bad[0]].as_py()!r} ({len(bad):,} such values in rows {row + 1:,} to "
                            f"{row + table.num_rows:,}). Fetch the file again, or export the column with its type"
                        )
                row += table.num_rows
        except pa.ArrowInvalid:
            return None
    return None
