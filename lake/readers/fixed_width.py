"""Read fixed-width text, in which CDS keeps tables: every record as long as the others, every column at its own bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.errors import RawFileError
from lake.readers.batch import RawBatch, batch_of, select
from lake.readers.binary import texts
from lake.readers.form import open_bytes
from lake.readers.words import FALSE, TRUE, parsed, parses
from lake.survey import Survey

Bytes = NDArray[np.uint8]

_CHUNK = 16 << 20
_NEWLINE, _RETURN = b"\n", b"\r\n"


def read_fixed_width(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of a table without header, whose columns are declared by their bytes (`Raw.at`).

    Blank cells are null. Records end with the last byte declared and a line feed (with carriage return or without);
    only the last may lack it.

    Raises
    ------
    RawFileError
        If a record has another length, or a cell is no value of its column.
    """
    at = {raw.name: raw.at for raw in survey.columns.values() if raw.at}
    selection = select(list(at), survey, path)
    length = max(last for _, last in at.values())
    row = 0
    for records in _records(path, length, survey):
        columns = {}
        for name, kind in selection.types().items():
            first, last = at[name]
            try:
                columns[name] = _column(records[:, first - 1 : last], kind)
            except pa.ArrowInvalid as error:
                raise _misfit(path, row, records[:, first - 1 : last], kind, f"{name!r} (bytes {first}-{last})") from error
        row += len(records)
        yield batch_of(pa.table(columns), selection, survey, path)


def _records(path: Path, length: int, survey: Survey) -> Iterator[Bytes]:
    """Yield records without their line ends, (n, length)."""
    row = 0
    with open_bytes(path) as stream:
        data = stream.readline(2 * length)
        end = _RETURN if data.endswith(_RETURN) else _NEWLINE
        stride = length + len(end)
        while data := data + stream.read(max(2, _CHUNK // stride) * stride - len(data)):
            if len(data) % stride in (length, stride - 1):
                data += end[len(data) % stride - length :]
            if len(data) % stride or data.count(_NEWLINE) != len(data) // stride:
                _refuse(path, data, row, length, end, survey)
            held = np.frombuffer(data, np.uint8).reshape(-1, stride)
            if (held[:, length:] != np.frombuffer(end, np.uint8)).any():
                _refuse(path, data, row, length, end, survey)
            yield held[:, :length]
            row += len(held)
            data = b""


def _refuse(path: Path, data: bytes, row: int, length: int, end: bytes, survey: Survey) -> NoReturn:
    """Raise an error that names the first record of another length."""
    lines = data.removesuffix(_NEWLINE).split(_NEWLINE)
    tail = end.removesuffix(_NEWLINE)
    odd = next((i for i, line in enumerate(lines) if len(line) != length + len(tail) or not line.endswith(tail)), len(lines) - 1)
    found = len(lines[odd].removesuffix(b"\r"))
    hint = f"is this the table that {survey.name} declares? " if row + odd == 0 else ""
    said = f"{found:,} bytes" if found != length else "another line end than the first"
    raise RawFileError(f"{path}: record {row + odd + 1:,} has {said}, expected {length:,} bytes; {hint}fetch the file again")


def _column(cells: Bytes, kind: pa.DataType) -> pa.Array:
    """Return cells as values, blank ones as null."""
    words = pc.ascii_trim_whitespace(texts(cells))
    if pa.types.is_floating(kind):
        try:
            return pc.cast(words, kind)
        except pa.ArrowInvalid:  # blank cells most likely; looking for them in all columns takes longer
            return pc.cast(_present(words, cells, kind), kind)
    words = _present(words, cells, kind)
    if pa.types.is_boolean(kind):
        true = pc.is_in(words, pa.array(TRUE))
        if not pc.all(pc.or_(true, pc.is_in(words, pa.array([*FALSE, None])))).as_py():
            raise pa.ArrowInvalid("no truth value")
        return pc.if_else(pc.is_valid(words), true, pa.scalar(None, pa.bool_()))
    return words if pa.types.is_string(kind) else pc.cast(words, parsed(kind))


def _present(words: pa.Array, cells: Bytes, kind: pa.DataType) -> pa.Array:
    """Return words as Arrow takes them: null for nothing, integers without a plus."""
    if pc.min(pc.binary_length(words)).as_py() == 0:
        words = pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)
    return pc.replace_substring_regex(words, r"^\+", "") if pa.types.is_integer(kind) and (cells == ord("+")).any() else words


def _misfit(path: Path, row: int, cells: Bytes, kind: pa.DataType, where: str) -> RawFileError:
    words = _present(pc.ascii_trim_whitespace(texts(cells)), cells, kind).to_pylist()
    bad = [i for i, word in enumerate(words) if not parses(word, kind)]
    return RawFileError(
        f"{path}: record {row + bad[0] + 1:,}, column {where}: expected {kind}, found {words[bad[0]]!r} ({len(bad):,} such cells "
        f"in records {row + 1:,} to {row + len(words):,}). Fetch the file again, or compare the bytes declared with its ReadMe"
    )
