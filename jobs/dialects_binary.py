"""Write an Arrow table as FITS or VOTable, and turn Arrow columns into numpy for all binary dialects; see `jobs.dialects`."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from isal import igzip
from numpy.typing import NDArray

Array = NDArray[Any]

_CODES = {"uint8": "B", "int16": "I", "int32": "J", "int64": "K", "float": "E", "double": "D", "bool": "L"}
_VOTABLE = {"uint8": "unsignedByte", "int16": "short", "int32": "int", "int64": "long", "float": "float", "double": "double"}


def as_numpy(column: pa.Array, *, fill: int = 0) -> Array:
    """Return a column as numpy: NaN for missing floats, `fill` for missing integers, fixed-width bytes for text.

    A list column becomes a matrix (n_row, longest); short or missing rows are padded with NaN (integers: `fill`).
    """
    kind = column.type
    if is_list(kind):
        flat = as_numpy(column.flatten(), fill=fill)
        return _padded(column, flat, np.nan if flat.dtype.kind == "f" else fill)
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if is_text(kind):
        width = max(1, pc.max(pc.binary_length(column)).as_py() or 0)
        return np.asarray(pc.fill_null(column, "").to_numpy(zero_copy_only=False)).astype(f"S{width}")
    return np.asarray(pc.fill_null(column, False if pa.types.is_boolean(kind) else fill).to_numpy(zero_copy_only=False))


def _padded(column: pa.Array, flat: Array, blank: float) -> Array:
    """Return the elements of a list column as (n_row, longest)."""
    lengths, kind = lengths_of(column), column.type
    longest = kind.list_size if pa.types.is_fixed_size_list(kind) else int(lengths.max(initial=1))
    held = np.full((len(column), longest), blank, dtype=flat.dtype)
    held[np.arange(longest) < lengths[:, None]] = flat
    return held


def write_fits(table: pa.Table, path: Path, *, variable: bool) -> None:
    """Write a binary table by hand: astropy turns cells of variable length into Python objects, one by one."""
    from astropy.io import fits

    columns, heap, cards, heap_size = [], [], [], 0
    for i, field in enumerate(table.schema, 1):
        column = whole(table.column(i - 1))
        null = _fits_null(column)
        cards.append((f"TTYPE{i}", field.name))
        if variable and is_list(field.type):
            flat, lengths = _fits_values(column.flatten(), null), lengths_of(column)
            offsets = heap_size + np.concatenate([[0], np.cumsum(lengths)[:-1]])[: len(lengths)] * flat.itemsize
            held = np.stack([lengths, offsets], axis=1).astype(">i4")
            heap.append(flat.tobytes())
            heap_size += flat.nbytes
            form = f"P{_CODES[str(field.type.value_type)]}({int(lengths.max(initial=0))})"
        else:
            held = _fits_values(column, null)
            code = _CODES.get(str(column.type.value_type if is_list(column.type) else column.type), "A")
            width = held.itemsize if code == "A" else held.shape[1] if held.ndim == 2 else 1
            form = f"{width if width > 1 or code == 'A' else ''}{code}"
        cards.append((f"TFORM{i}", form))
        cards += [(f"TNULL{i}", null)] if null is not None else []
        cards += [(f"TUNIT{i}", said_of(field, "unit"))] if said_of(field, "unit") else []
        columns.append(held)
    rows = np.zeros(len(table), dtype=[(f"c{i}", held.dtype, held.shape[1:]) for i, held in enumerate(columns)])
    for i, held in enumerate(columns):
        rows[f"c{i}"] = held
    primary = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    primary["COMMENT"] = comment(table) or "Dummy header; see following table extension"
    counts = [("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", rows.itemsize), ("NAXIS2", len(rows)), ("PCOUNT", heap_size), ("GCOUNT", 1)]
    header = fits.Header([("XTENSION", "BINTABLE"), *counts, ("TFIELDS", len(columns)), *cards])
    with output(path) as out:
        out.write(primary.tostring().encode())
        out.write(header.tostring().encode())
        out.write(rows.tobytes())
        out.writelines(heap)
        out.write(b"\0" * (-(rows.nbytes + heap_size) % 2880))


def _fits_null(column: pa.Array) -> int | None:
    """Return the value that stands for null in an integer column with nulls (the archive takes the smallest)."""
    flat = column.flatten() if is_list(column.type) else column
    if not pa.types.is_integer(flat.type) or not (column.null_count or flat.null_count):
        return None
    limits = np.iinfo(flat.type.to_pandas_dtype())
    return int(limits.min if limits.min < 0 else limits.max)


def _fits_values(column: pa.Array, null: int | None) -> Array:
    if is_list(column.type):
        flat = _fits_values(column.flatten(), null)
        return _padded(column, flat, np.nan if flat.dtype.kind == "f" else null or 0)
    held = as_numpy(column, fill=null or 0)
    if held.dtype.kind == "b":
        said = np.where(held, np.uint8(ord("T")), np.uint8(ord("F")))
        return np.where(np.asarray(pc.is_valid(column)), said, np.uint8(0))
    if held.dtype.kind == "S":
        return np.char.ljust(held, held.itemsize).astype(held.dtype) if len(held) else held
    return held.astype(held.dtype.newbyteorder(">"))


def write_votable(table: pa.Table, path: Path) -> None:
    """Write a VOTable of one table in BINARY2: per row one bit per column that says null, then big-endian values."""
    columns = [whole(column) for column in table.columns]
    null = np.stack([~np.asarray(pc.is_valid(column)) for column in columns], axis=1)
    cells = [list(np.packbits(null, axis=1)), *(_votable_cells(column, _votable_null(column)) for column in columns)]
    stream = base64.b64encode(b"".join(bytes(cell) for row in zip(*cells, strict=True) for cell in row))
    lines = [stream[i : i + 64] for i in range(0, len(stream), 64)]
    said = f"<DESCRIPTION>{escape(comment(table))}</DESCRIPTION>\n" if comment(table) else ""
    with output(path) as out:
        out.write(
            b'<?xml version="1.0" encoding="UTF-8"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
            b'<RESOURCE type="results">\n<TABLE>\n' + said.encode()
        )
        out.writelines(_votable_field(*held).encode() for held in zip(table.schema, columns, strict=True))
        out.write(b"<DATA>\n<BINARY2>\n<STREAM encoding='base64'>\n" + b"\n".join(lines))
        out.write(b"\n</STREAM>\n</BINARY2>\n</DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>\n")


def _votable_null(column: pa.Array) -> int | None:
    """Return the integer that stands for null inside arrays, of which the bits of BINARY2 say nothing."""
    return _fits_null(column) if is_list(column.type) else None


def _votable_field(field: pa.Field, column: pa.Array) -> str:
    kind = field.type.value_type if is_list(field.type) else field.type
    size = ' arraysize="*"' if is_list(field.type) or is_text(kind) else ""
    name = "boolean" if pa.types.is_boolean(kind) else _VOTABLE.get(str(kind), "char")
    unit = f' unit="{escape(said_of(field, "unit"))}"' if said_of(field, "unit") else ""
    said = f"\n<DESCRIPTION>{escape(said_of(field, 'description'))}</DESCRIPTION>\n" if said_of(field, "description") else ""
    null = _votable_null(column)
    values = "" if null is None else f'<VALUES null="{null}"/>'
    return f'<FIELD{size} datatype="{name}" name="{escape(field.name)}"{unit}>{said}{values}</FIELD>\n'


def _votable_cells(column: pa.Array, null: int | None) -> list[bytes]:
    """Return each value as BINARY2 has it; arrays and text after their length."""
    if is_text(column.type):
        return [len(text).to_bytes(4, "big") + text for text in map(str.encode, pc.fill_null(column, "").to_pylist())]
    if not is_list(column.type):
        held = _fits_values(column, None)
        return [held[i : i + 1].tobytes() for i in range(len(held))]
    flat = _fits_values(column.flatten(), null)
    lengths, data, size = lengths_of(column), flat.tobytes(), flat.itemsize
    ends = np.cumsum(lengths) * size
    return [int(n).to_bytes(4, "big") + data[end - n * size : end] for n, end in zip(lengths, ends, strict=True)]


@contextmanager
def output(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for bytes, compressed without a time stamp or a name if it ends in ``.gz``."""
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            yield raw
            return
        with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def comment(table: pa.Table) -> str:
    """Return the text that the schema's metadata holds for the file's header."""
    return (table.schema.metadata or {}).get(b"comment", b"").decode()


def said_of(field: pa.Field, what: str) -> str:
    """Return an entry of a field's metadata, empty if there is none."""
    return (field.metadata or {}).get(what.encode(), b"").decode()


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a type is a list of variable or fixed size."""
    return pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def lengths_of(cells: pa.Array) -> Array:
    """Return the number of elements of each list, 0 for a missing one."""
    return np.asarray(pc.fill_null(pc.list_value_length(cells), 0), dtype=np.int64)
