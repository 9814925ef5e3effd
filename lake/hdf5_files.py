"""Write training tables in the HDF5 layouts that existing training code reads: records by patch of the sky, or by split.

*Records* (masked stellar autoencoder): 1-D datasets of records at the root, at most 2,000,000 rows each, columns in the
stored order with wide names. Pretraining datasets are called ``sslset<portion>_part<k>``; a portion is a contiguous range of
the sky. The fine-tune table is one dataset ``finetune``. Numbers keep the precision of the lake (float64 for positions,
parallax, proper motions and XP coefficients, float32 for what was measured to fewer digits): a file of float64 throughout
would be 37 % larger and hold no digit more. Missing is NaN, in text the empty string; integers that may be missing
become float64. Units stand in the attribute ``units`` of the file, as JSON.

*Arrays by split* (labels to XP): groups ``group_1``, ``group_2``, ``group_3`` for training, validation and test, each with
``data`` (4 labels, N) in the order feh, logg, teff, alpha, ``label`` and ``e_label`` (coefficients of BP then RP, N) and ``gmag``
(N). Added are the errors of the labels, ``e_data`` (4, N), ``source_id`` and ``xp_scale`` (N). Coefficients are scaled to
G = 8.5; divided by ``xp_scale`` they are those of the archive.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.errors import LakeError, listing
from lake.join import Join
from lake.manifest import add_up
from lake.split import RESERVE, SPLITS
from lake.training_columns import SPLIT, has_labels, is_wide, made_of, stored_first, units
from lake.training_files import Account, balanced, leaves_with_rows, new_folder, read_leaves
from lake.whole import unwritable

PORTIONS = 50
PART_ROWS = 2_000_000
TEXT_BYTES = 64
_CHUNK_BYTES = 1 << 20
_WHOLE_FLOATS = 2**53
# Group -> split, and rows of ``data``: the seed's name -> canonical column.
GROUPS: Mapping[str, str] = {f"group_{k}": split for k, split in enumerate(SPLITS, start=1)}
DATA_ROWS: Mapping[str, str] = {"feh": "m_h", "logg": "logg", "teff": "teff", "alpha": "mg_fe"}
_VALUES, _ERRORS = ("bp_coefficients", "rp_coefficients"), ("bp_coefficient_errors", "rp_coefficient_errors")
_CHUNK_STARS = 2_048


def record_type(schema: pa.Schema) -> np.dtype[Any]:
    """Return the type of one record: the schema's columns, with a NaN or an empty text for what is missing."""
    return np.dtype([(one.name, _number_type(one)) for one in schema])


def _number_type(one: pa.Field) -> Any:
    if one.name == "source_id":
        return np.int64
    if pa.types.is_floating(one.type):
        return one.type.to_pandas_dtype()
    if pa.types.is_integer(one.type) or pa.types.is_boolean(one.type):
        return np.float64
    if pa.types.is_string(one.type):
        return f"S{TEXT_BYTES}"
    raise LakeError(f"column {one.name} is {one.type}, which has no place in an HDF5 record; export the wide table")


def records(table: pa.Table) -> NDArray[Any]:
    """Return rows as records, shape (n,).

    Raises
    ------
    LakeError
        If a text is longer than 64 bytes, or an integer loses digits as float64.
    """
    made = np.empty(table.num_rows, dtype=record_type(table.schema))
    for name in table.column_names:
        made[name] = _numbers(name, table[name].combine_chunks())
    return made


def _numbers(name: str, values: pa.Array) -> NDArray[Any]:
    if pa.types.is_string(values.type):
        longest = pc.max(pc.binary_length(values)).as_py() or 0
        if longest > TEXT_BYTES:
            raise LakeError(f"column {name} holds a text of {longest} bytes; HDF5 records have room for {TEXT_BYTES}")
        return np.array(pc.cast(pc.fill_null(values, ""), pa.binary()).to_pylist(), dtype=f"S{TEXT_BYTES}")
    if pa.types.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    if name != "source_id" and pa.types.is_integer(values.type):
        largest = max((abs(one or 0) for one in pc.min_max(values).as_py().values()), default=0)
        if largest > _WHOLE_FLOATS:
            raise LakeError(f"column {name} holds the integer {largest}, which loses digits as float64; leave the column out")
        values = pc.cast(values, pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False))


@contextmanager
def _file(path: Path, join: Join) -> Iterator[Any]:
    """Open a new HDF5 file with the tables it is made of as attribute; what the disk refuses is told."""
    try:
        with h5py.File(path, "w", libver=("earliest", "v110")) as file:
            file.attrs["made_of"] = json.dumps(made_of(join))
            yield file
    except OSError as error:
        raise unwritable(path, error) from error


class _Records:
    """One dataset of records that grows, and is followed by another one when it is full."""

    def __init__(self, file: Any, name: str, limit: int | None) -> None:
        self.file, self.name, self.limit = file, name, limit
        self.parts: dict[str, int] = {}
        self.dataset: Any = None

    def append(self, rows: NDArray[Any]) -> None:
        """Write records behind those written before."""
        while len(rows):
            if self.dataset is None or (self.limit and len(self.dataset) >= self.limit):
                own = f"{self.name}_part{len(self.parts)}" if self.limit else self.name
                chunk = (max(1, min(_CHUNK_BYTES // rows.dtype.itemsize, self.limit or _CHUNK_BYTES)),)
                self.dataset = self.file.create_dataset(own, (0,), rows.dtype, maxshape=(self.limit,), chunks=chunk)
                self.current = own
            held = len(self.dataset)
            room = self.limit - held if self.limit else len(rows)
            own_rows, rows = rows[:room], rows[room:]
            self.dataset.resize(held + len(own_rows), axis=0)
            self.dataset[held:] = own_rows
            self.parts[self.current] = held + len(own_rows)


def export_hdf5(join: Join, to: Path, *, portions: int = PORTIONS, part_rows: int = PART_ROWS) -> Account:
    """Write the records of a wide training table to one HDF5 file in a new folder.

    Parameters
    ----------
    to
        A new or empty folder; the file is ``pretrain.h5`` or ``finetune.h5``.
    portions
        Contiguous ranges of the sky, each with datasets of its own (pretraining only).
    part_rows
        Most rows of a dataset (pretraining only).

    Returns
    -------
    Account
        Its ``files`` are the datasets.

    Raises
    ------
    LakeError
        If the join is not wide, the folder not empty or not writable, or a value does not fit into a record.
    """
    names = join.schema().names
    if not is_wide(names):
        raise LakeError("HDF5 records have the names of wide tables; export `lake.pretrain(wide=True)` or `finetune(wide=True)`")
    which = "finetune" if has_labels(names) else "pretrain"
    ordered = stored_first(names)
    cuts: list[tuple[str, list[int], int | None]] = [("finetune", leaves_with_rows(join), None)]
    if which == "pretrain":
        ranges = np.array_split(np.arange(len(join.grid)), portions)
        rows_in = set(leaves_with_rows(join))
        cuts = [
            (f"sslset{k}", [int(leaf) for leaf in leaves if int(leaf) in rows_in], part_rows) for k, leaves in enumerate(ranges)
        ]
    parts: dict[str, int] = {}
    read = 0
    with new_folder(to) as draft:
        with _file(draft / f"{which}.h5", join) as file:
            file.attrs["units"] = json.dumps(units(join.schema()))
            for name, leaves, limit in cuts:
                writer = _Records(file, name, limit)
                for table in read_leaves(join, leaves):
                    read += table.num_rows
                    writer.append(records(table.select(ordered)))
                parts |= writer.parts
            if not parts:
                # An empty table is still a table: readers find its columns.
                schema = join.schema()
                empty = records(schema.empty_table().select(ordered))
                file.create_dataset("finetune" if which == "finetune" else "sslset0_part0", data=empty)
        return balanced(Account(str(to), "hdf5", sum(parts.values()), parts), read)


@dataclass
class _Group:
    """The arrays of one split, which grow along their last axis."""

    group: Any
    rows: int = 0
    arrays: dict[str, Any] = field(default_factory=dict)

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write stars behind those written before; the last axis of every array counts stars."""
        added = next(iter(columns.values())).shape[-1]
        for name, values in columns.items():
            if name not in self.arrays:
                self.arrays[name] = self.group.create_dataset(
                    name,
                    (*values.shape[:-1], 0),
                    values.dtype,
                    maxshape=(*values.shape[:-1], None),
                    chunks=(*values.shape[:-1], _CHUNK_STARS),
                )
            held = self.arrays[name]
            held.resize(self.rows + added, axis=held.ndim - 1)
            held[..., self.rows :] = values
        self.rows += added


def export_split_hdf5(join: Join, to: Path) -> Account:
    """Write the fine-tune table as arrays by split to ``finetune-split.h5`` in a new folder.

    Rows are left out, and counted by the first reason that holds: ``no split``, ``reserve``, ``label missing`` (any of the
    four), ``XP missing`` (coefficients or errors, of BP or RP, whole or in part), ``G missing``.

    Parameters
    ----------
    join
        The fine-tune table under canonical names.

    Raises
    ------
    LakeError
        If the join is wide or has no labels or no split, or the folder is not empty or not writable.
    """
    schema = join.schema()
    labels = [part for name in DATA_ROWS.values() for part in (name, f"{name}_error")]
    needed = [*labels, *_VALUES, *_ERRORS, "phot_g_mean_mag", "xp_scale", SPLIT]
    lacking = [name for name in needed if name not in schema.names]
    if lacking:
        raise LakeError(f"arrays by split need {listing(lacking)}, which the table lacks; export `lake.finetune()`, not wide")
    left_out: dict[str, int] = {}
    read = 0
    with new_folder(to) as draft:
        with _file(draft / "finetune-split.h5", join) as file:
            groups = {split: _Group(file.create_group(name)) for name, split in GROUPS.items()}
            file.attrs["data"] = list(DATA_ROWS)
            file.attrs["flux_state"] = "g_8.5"
            for split, one in groups.items():
                one.group.attrs["split"] = split
                one.append(_columns(schema.empty_table()))
            for table in read_leaves(join, leaves_with_rows(join)):
                read += table.num_rows
                reasons = _reasons(table)
                for reason in np.unique(reasons[reasons != ""]):
                    left_out = add_up([left_out, {str(reason): int((reasons == reason).sum())}])
                kept = table.filter(pa.array(reasons == ""))
                for split, one in groups.items():
                    one.append(_columns(kept.filter(pc.equal(kept[SPLIT], split))))
        files = {name: groups[split].rows for name, split in GROUPS.items()}
        return balanced(Account(str(to), "hdf5-split", sum(files.values()), files, left_out), read)


def _reasons(table: pa.Table) -> NDArray[Any]:
    """Return why each row is left out, the empty text for rows that are kept, shape (n,)."""
    reasons = np.full(table.num_rows, "", dtype="U16")
    words = table[SPLIT]
    tests: list[tuple[str, NDArray[np.bool_]]] = [
        ("no split", ~np.asarray(pc.is_in(words, pa.array([*SPLITS, RESERVE])))),
        (RESERVE, np.asarray(pc.fill_null(pc.equal(words, RESERVE), False))),
        ("label missing", _any_missing(table, tuple(DATA_ROWS.values()))),
        ("XP missing", _any_missing(table, (*_VALUES, *_ERRORS))),
        ("G missing", _any_missing(table, ("phot_g_mean_mag", "xp_scale"))),
    ]
    for reason, holds in reversed(tests):
        reasons[holds] = reason
    return reasons


def _any_missing(table: pa.Table, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Tell which rows lack one of some columns, or an element of one, shape (n,)."""
    missing = np.zeros(table.num_rows, dtype=bool)
    for name in names:
        values = block(table[name]) if pa.types.is_fixed_size_list(table[name].type) else _floats(table[name])[:, None]
        missing |= ~np.isfinite(values).all(axis=1)
    return missing


def _floats(values: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(pc.cast(values.combine_chunks(), pa.float64()).to_numpy(zero_copy_only=False))


def block(values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a list column as an array (n, size), NaN where a list or an element is null."""
    whole = values.combine_chunks()
    size = whole.type.list_size
    made = np.full((len(whole), size), np.nan)
    there = np.asarray(pc.is_valid(whole))
    flat = pc.cast(whole.filter(pa.array(there)).flatten(), pa.float64())
    made[there] = np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, size)
    return made


def _columns(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Return the arrays of some stars, their last axis counting stars."""
    return {
        "data": np.stack([_floats(table[name]) for name in DATA_ROWS.values()]),
        "e_data": np.stack([_floats(table[f"{name}_error"]) for name in DATA_ROWS.values()]),
        "label": np.concatenate([block(table[name]) for name in _VALUES], axis=1).T,
        "e_label": np.concatenate([block(table[name]) for name in _ERRORS], axis=1).T,
        "gmag": _floats(table["phot_g_mean_mag"]),
        "source_id": np.asarray(table["source_id"].to_numpy(), dtype=np.int64),
        "xp_scale": _floats(table["xp_scale"]),
    }
