"""Write an Arrow table as fixed-width text after the manner of CDS; see `jobs.dialects`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.dialects_binary import is_list, is_text, output, said_of, whole
from lake.record_cells import blank_records, lengths, place

_CHUNK = 16 << 20


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
            records = blank_records(len(part), length)
            for field, (first, last), column in zip(table.schema, at, part.columns, strict=True):
                _put(records[:, first - 1 : last], whole(column), field)
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


def _put(cells: NDArray[np.uint8], column: pa.Array, field: pa.Field) -> None:
    """Put a column into its (n, width) cells."""
    text = _words(column, cells.shape[1])
    size = lengths(text)
    if size.max(initial=0) > cells.shape[1]:
        row = int(np.argmax(size))
        raise ValueError(f"column {field.name!r}: {text[row].as_py()!r} is longer than bytes {said_of(field, 'bytes')}")
    place(cells, text, right=not (is_text(field.type) or pa.types.is_boolean(field.type)))


def _words(column: pa.Array, width: int) -> pa.Array:
    if pa.types.is_boolean(column.type):
        # One flag of the real tables has room for "true" only.
        return pc.if_else(column, *(("true", "false") if width >= len("false") else ("T", "F")))
    text = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        text = pc.if_else(pc.fill_null(pc.is_nan(column), False), pa.scalar(None, pa.string()), text)
    return text
