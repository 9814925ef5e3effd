"""Read HDF5: one dataset per column at the root, or one dataset of records, which astropy, h5py and PyTables write."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.errors import RawFileError, listing
from lake.readers.batch import LackingError, RawBatch, Selection, batch_of, select
from lake.readers.binary import CHUNK_BYTES, to_arrow
from lake.survey import Survey

# Where astropy keeps units and descriptions: beside the dataset of records, as lines of text.
_META = ".__table_column_meta__"
_MASK = ".mask"
_BLOCKS = "values_block_0"


@dataclass(frozen=True)
class _Held:
    """One table of the file: the datasets of its columns, or one dataset whose fields they are."""

    columns: Mapping[str, Any]
    records: Any = None


def read_hdf5(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of the first table of an HDF5 file that has every required column.

    A table is all 1-D and 2-D datasets at the root, or a 1-D dataset of records at any depth. Where astropy wrote a
    masked column ``x`` beside ``x.mask``, masked values are null.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RawFileError(
            f"{path}: HDF5 cannot be opened ({error}); the file is truncated or damaged: fetch it again"
        ) from error
    with file:
        held, selection = _chosen(_tables(file), survey, path)
        rows = _rows(held, selection, path)
        widths = [held.columns[name].dtype.itemsize * int(np.prod(_cell(held.columns[name]))) for name in selection.names]
        step = max(1, CHUNK_BYTES // sum(widths))
        for start in range(0, max(rows, 1), step):
            yield batch_of(_read(held, selection, slice(start, start + step)), selection, survey, path)


def _tables(file: Any) -> list[_Held]:
    """Return every table of the file, the one of separate datasets first."""
    import h5py

    records: list[_Held] = []

    def visit(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset) and found.dtype.names and found.ndim == 1 and not name.endswith(_META):
            fields = {field: np.empty(0, found.dtype[field]) for field in found.dtype.names}
            records.append(_Held(fields, found))

    file.visititems(visit)
    plain = {name: held for name, held in file.items() if isinstance(held, h5py.Dataset) and held.ndim in (1, 2)}
    plain = {name: held for name, held in plain.items() if not (held.dtype.names or name.endswith(_META))}
    return [*([_Held(plain)] if plain or not records else []), *records]


def _chosen(tables: list[_Held], survey: Survey, path: Path) -> tuple[_Held, Selection]:
    """Return the first table that has every required column; of others, the complaint about the last is raised."""
    complaint: LackingError | None = None
    for held in tables:
        if _BLOCKS in held.columns:
            complaint = LackingError(
                f"{path}: pandas wrote the columns of {held.records.name} in blocks, under names that only pandas can read; "
                "Export it again with `to_hdf(..., format='table', data_columns=True)`"
            )
            continue
        try:
            return held, select([name for name in held.columns if not _masks(name, held)], survey, path)
        except LackingError as error:
            complaint = error
    assert complaint is not None
    raise complaint


def _masks(name: str, held: _Held) -> bool:
    return name.endswith(_MASK) and name.removesuffix(_MASK) in held.columns and held.columns[name].dtype == bool


def _rows(held: _Held, selection: Selection, path: Path) -> int:
    """Return the number of rows, which all columns must have."""
    if held.records is not None:
        return len(held.records)
    lengths = {name: len(held.columns[name]) for name in selection.names}
    first, rows = next(iter(lengths.items()))
    odd = [f"{name} ({length})" for name, length in lengths.items() if length != rows]
    if odd:
        raise RawFileError(f"{path}: datasets differ in length: {first} has {rows} rows, but {listing(odd)}; fetch it again")
    return rows


def _cell(column: Any) -> tuple[int, ...]:
    """Return the shape of one row's value."""
    return tuple(column.shape[1:])


def _read(held: _Held, selection: Selection, rows: slice) -> pa.Table:
    names = selection.names
    masks = [name + _MASK for name in names if name + _MASK in held.columns and _masks(name + _MASK, held)]
    values: Mapping[str, NDArray[Any]] | NDArray[Any]
    if held.records is None:
        values = {name: held.columns[name][rows] for name in (*names, *masks)}
    else:
        values = held.records.fields([*names, *masks])[rows]
    masked = {name: np.ma.array(values[name], mask=values[name + _MASK]) for name in names if name + _MASK in masks}
    return pa.table({name: to_arrow(masked.get(name, values[name])) for name in names})
