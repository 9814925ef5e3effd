"""Read HDF5 (one dataset per column), VOTable and Parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lake.errors import RawFileError, listing
from lake.readers.batch import RawBatch, batch_of, select
from lake.survey import Survey

CHUNK_BYTES = 64 << 20


def to_arrow(values: NDArray[Any], null: int | None = None) -> pa.Array:
    """Turn a numpy column, 1-D or (N, n), into Arrow; `null` is the integer that stands for a missing value."""
    if np.ma.isMaskedArray(values) and values.ndim == 1 and values.dtype.kind != "O":
        return (
            pa.array(np.asarray(values.data), mask=np.ma.getmaskarray(values)) if values.dtype.kind not in "SU" else _text(values)
        )
    values = np.asarray(values)
    if values.dtype.kind == "O":
        return _ragged(values)
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if native.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(native).ravel()), native.shape[1])
    if native.dtype.kind in "SU":
        return _text(native)
    return pa.array(native, mask=native == null if null is not None and native.dtype.kind in "iu" else None)


def _text(values: NDArray[Any]) -> pa.Array:
    decoded = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    return pa.array(np.ma.filled(np.char.strip(np.asarray(decoded)), "") if decoded.size else [], pa.string())


def _ragged(values: NDArray[np.object_]) -> pa.Array:
    """Turn an object column of arrays (or of texts) into lists, empty ones into null."""
    if len(values) and isinstance(values[0], str | bytes):
        return pa.array([v.decode() if isinstance(v, bytes) else v for v in values], pa.string())
    if not len(values):
        return pa.nulls(0)
    arrays = [np.atleast_1d(np.ma.filled(np.ma.asarray(v), np.nan)) if v is not None else np.empty(0) for v in values]
    lengths = np.array([len(a) for a in arrays])
    flat = np.concatenate(arrays)
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), mask=pa.array(lengths == 0))


def read_hdf5(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of an HDF5 file with one 1-D or 2-D dataset per column at its root."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RawFileError(
            f"{path}: HDF5 cannot be opened ({error}); the file is truncated or damaged: fetch it again"
        ) from error
    with file:
        data = {name: held for name, held in file.items() if isinstance(held, h5py.Dataset) and held.ndim in (1, 2)}
        selection = select(list(data), survey, path)
        chosen = {name: data[name] for name in selection.names}
        lengths = {name: len(held) for name, held in chosen.items()}
        rows = lengths[next(name for name, canonical in selection.scalar.items() if canonical == "source_id")]
        odd = [f"{name} ({length})" for name, length in lengths.items() if length != rows]
        if odd:
            raise RawFileError(
                f"{path}: datasets differ in length: source_id has {rows} rows, but {listing(odd)}; fetch it again"
            )
        width = sum(held.dtype.itemsize * int(np.prod(held.shape[1:])) for held in chosen.values())
        step = max(1, CHUNK_BYTES // width)
        for start in range(0, max(rows, 1), step):
            columns = {name: to_arrow(held[start : start + step]) for name, held in chosen.items()}
            yield batch_of(pa.table(columns), selection, survey, path)


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
