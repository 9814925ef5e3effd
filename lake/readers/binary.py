"""Read VOTable and Parquet, and turn numpy columns of all binary forms into Arrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lake.errors import RawFileError
from lake.readers.batch import RawBatch, batch_of, select
from lake.survey import Survey

CHUNK_BYTES = 64 << 20
_ASCII = 0x7F


def to_arrow(values: NDArray[Any], null: int | None = None) -> pa.Array:
    """Turn a numpy column into Arrow, one of more dimensions into lists in row order.

    Parameters
    ----------
    values
        Masked entries and the integer `null` become null; texts lose what pads them: NUL and all behind it, blanks.
    """
    mask = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) and values.dtype.kind != "O" else None
    values = np.asarray(values)
    if values.dtype.kind == "O":
        return _ragged(values)
    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    if null is not None and native.dtype.kind in "iu":
        mask = native == null if mask is None else mask | (native == null)
    size = int(np.prod(native.shape[1:]))
    flat = native.reshape(len(native) * size)
    gone = None if mask is None else mask.reshape(len(flat))
    if flat.dtype.kind in "SU":
        listed = pc.utf8_rtrim_whitespace(_decoded(flat))
        listed = listed if gone is None else pc.if_else(pa.array(gone), pa.scalar(None, pa.string()), listed)
    else:
        listed = pa.array(flat, mask=gone)
    return listed if native.ndim == 1 else pa.FixedSizeListArray.from_arrays(listed, size)


def _decoded(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "U":
        return pa.array(values, pa.string())
    return texts(_until_nul(values.view(np.uint8).reshape(len(values), values.dtype.itemsize)))


def texts(cells: NDArray[np.uint8]) -> pa.Array:
    """Return rows of bytes as texts of equal length, blanks included; bytes that are no UTF-8 are taken as Latin-1."""
    rows, width = cells.shape
    data = np.ascontiguousarray(cells)
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    held = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))
    if data.size and int(data.max()) > _ASCII:
        try:
            held.validate(full=True)
        except pa.ArrowInvalid:
            held = pa.array([bytes(row).decode("latin-1") for row in data], pa.string())
    return held


def _until_nul(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blank every cell from its first NUL on, where FITS and C end a text."""
    nul = cells == 0
    if not nul.any():
        return cells
    return np.where(np.logical_or.accumulate(nul, axis=1), np.uint8(ord(" ")), cells)


def _ragged(values: NDArray[np.object_]) -> pa.Array:
    """Turn an object column of arrays (or of texts) into lists, empty ones into null."""
    if any(isinstance(value, str | bytes) for value in values[:1]):
        return pa.array([v.decode() if isinstance(v, bytes) else v for v in values], pa.string())
    if not len(values):
        return pa.nulls(0)
    arrays = [np.ma.atleast_1d(np.ma.asarray(v)) if v is not None else np.ma.empty(0) for v in values]
    lengths = np.array([len(a) for a in arrays])
    # Empty cells come as arrays of floats and would make floats of identifiers.
    held = [a for a in arrays if len(a)] or arrays
    flat = np.concatenate([np.asarray(a.data) for a in held])
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    mask = np.concatenate([np.ma.getmaskarray(a) for a in held])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, mask=mask), mask=pa.array(lengths == 0))


def read_votable(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of a VOTable; it is read whole, as archive exports of this form are small."""
    import warnings

    from astropy.io.votable import parse_single_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            held = parse_single_table(str(path))
        except Exception as error:
            raise RawFileError(f"{path}: the VOTable cannot be parsed ({error}); fetch it again") from error
    names = [field.name for field in held.fields]
    selection = select(names, survey, path)
    positions = {field.name: field.ID for field in held.fields}
    columns = {name: to_arrow(held.array[positions[name]]) for name in selection.names}
    yield batch_of(pa.table(columns), selection, survey, path)


def read_parquet(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of a Parquet file, row group by row group."""
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise RawFileError(
            f"{path}: Parquet cannot be opened ({error}); the file is truncated or damaged: fetch it again"
        ) from error
    with file:
        selection = select(file.schema_arrow.names, survey, path)
        empty = True
        for group in range(file.num_row_groups):
            empty = False
            yield batch_of(file.read_row_group(group, columns=selection.names, use_threads=False), selection, survey, path)
        if empty:
            yield batch_of(file.schema_arrow.empty_table().select(selection.names), selection, survey, path)
