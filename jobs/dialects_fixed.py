"""Write an Arrow table as fixed-width text after the manner of CDS; see `jobs.dialects`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.dialects_binary import is_list, is_text, output, said_of, whole

_CHUNK = 16 << 20
_BLANK, _NEWLINE = ord(" "), ord("\n")


def write_fixed_width(table: pa.Table, path: Path) -> None:
    """Write records of equal length, every column at the bytes that its field's metadata names.

    Numbers stand at the right of their bytes, in the shortest text that is read back bit for bit, whatever format a
    ReadMe announces; texts and truth stand at the left; missing values are blank. A table without rows is an empty file.

    Parameters
    ----------
    table
        Metadata ``bytes`` (such as ``41-60``, from 1) on every field; ``record`` on the schema is the length of a record
        where a column not in the table would end it. `jobs.dialects_raw.as_raw` sets both.

    Raises
    ------
    ValueError
        If a field names no bytes, or a value is longer than they are.
    """
    at = [_bytes_of(field) for field in table.schema]
    length = int((table.schema.metadata or {}).get(b"record", b"0")) or max(last for _, last in at)
    step = max(1, _CHUNK // (length + 1))
    with output(path) as out:
        for start in range(0, len(table), step):
            part = table.slice(start, step)
            records = np.full((len(part), length + 1), _BLANK, np.uint8)
            records[:, length] = _NEWLINE
            for field, (first, last), column in zip(table.schema, at, part.columns, strict=True):
                records[:, first - 1 : last] = _cells(whole(column), field, last - first + 1)
            out.write(records.tobytes())


def _bytes_of(field: pa.Field) -> tuple[int, int]:
    said = said_of(field, "bytes")
    if not said or is_list(field.type):
        raise ValueError(
            f"column {field.name!r} ({field.type}) names no bytes for fixed-width text; bring the table to the survey's raw form "
            "with jobs.dialects_raw.as_raw, and declare the column's bytes with Raw(..., at=(first, last))"
        )
    first, last = said.split("-")
    return int(first), int(last)


def _cells(column: pa.Array, field: pa.Field, width: int) -> NDArray[np.uint8]:
    """Return a column as (n, width) letters."""
    text = _words(column, width)
    lengths = np.asarray(pc.fill_null(pc.binary_length(text), 0), dtype=np.int64)
    if lengths.max(initial=0) > width:
        row = int(np.argmax(lengths))
        raise ValueError(f"column {field.name!r}: {text[row].as_py()!r} is longer than bytes {said_of(field, 'bytes')}")
    cells = np.full((len(text), width), _BLANK, np.uint8)
    data = np.frombuffer(b"".join(word.encode() for word in text.to_pylist() if word), np.uint8)
    begin = np.zeros_like(lengths) if is_text(field.type) or pa.types.is_boolean(field.type) else width - lengths
    place = np.arange(width)
    cells[(place >= begin[:, None]) & (place < (begin + lengths)[:, None])] = data
    return cells


def _words(column: pa.Array, width: int) -> pa.Array:
    if pa.types.is_boolean(column.type):
        # One flag of the real tables has room for "true" only.
        return pc.if_else(column, *(("true", "false") if width >= len("false") else ("T", "F")))
    text = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        text = pc.if_else(pc.fill_null(pc.is_nan(column), False), pa.scalar(None, pa.string()), text)
    return text
