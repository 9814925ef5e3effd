"""Read a training table in any form in which it is written, part by part, and bring its columns to canonical names.

Forms are told by what is found, not by names of files: a folder of Parquet files (by leaf, or ``data/<split>-*.parquet`` for
Hugging Face), an HDF5 file with datasets of records at its root, an HDF5 file with groups of arrays by split, or a folder
that holds one such file. Files of others are read as they are: ids of the wrong type, text among numbers and sentinels come
through to the audit.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lake.columns import COLUMNS
from lake.errors import LakeError, listing
from lake.hdf5_files import DATA_ROWS, GROUPS, block
from lake.partition import Ids, first_id, pixel_range
from lake.training_columns import block_element, canonical, is_wide

Floats = NDArray[np.float64]
PARQUET, HUB, RECORDS, ARRAYS, BATCHES = "parquet", "huggingface", "hdf5", "hdf5-split", "batches"
BATCH_ROWS = 16_384
BLOCKS = ("bp_coefficients", "rp_coefficients", "bp_coefficient_errors", "rp_coefficient_errors")
_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}\.parquet")
_ARRAYS = ("data", "label", "e_label", "gmag")
# Which of these h5py and pyarrow raise on a damaged file depends on the byte that is wrong.
_DAMAGE = (OSError, KeyError, RuntimeError, TypeError, ValueError, pa.ArrowException)


@dataclass(frozen=True)
class Part:
    """One file, dataset or group of a training table.

    Attributes
    ----------
    key
        Dataset or group inside an HDF5 file.
    split
        What the place of the part says of its rows; None where a column says it, or nothing.
    """

    form: str
    path: str
    key: str = ""
    split: str | None = None

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.key or Path(self.path).name

    @property
    def id_range(self) -> tuple[int, int] | None:
        """The ids that a file named by pixels may hold: first inclusive, end exclusive; None if it is not named so."""
        pixels = pixel_range(Path(self.path).name) if self.form == PARQUET else None
        return (first_id(pixels[0]), first_id(pixels[1] + 1)) if pixels else None

    def read(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows as stored, some 16,384 at a time; `columns` that the part lacks are left out.

        Raises
        ------
        LakeError
            If it is damaged, or holds what no table has.
        """
        try:
            yield from _READERS[self.form](self, columns)
        except _DAMAGE as error:
            raise LakeError(f"{self.name} cannot be read ({error}); write it again") from error


@dataclass(frozen=True)
class Rows:
    """Some rows of a training table under canonical names.

    Attributes
    ----------
    ids
        int64, shape (n,); None where the table has no source_id that is one.
    numbers
        Column -> float64 with NaN for missing, shape (n,), or (n, k) for the blocks of XP values.
    texts
        Column -> text.
    text_numbers
        Column -> texts that stand in a column of numbers, as they were found (an empty one for missing).
    shown
        Canonical name -> the table's own.
    """

    ids: Ids | None
    numbers: Mapping[str, Floats]
    texts: Mapping[str, pa.Array]
    text_numbers: Mapping[str, list[Any]]
    shown: Mapping[str, str]
    n: int


def parts_of(path: Path) -> list[Part]:
    """Return the parts of what was written at a path, in the order of their names.

    Raises
    ------
    LakeError
        If nothing is there, it cannot be opened, or it is no training table in a form that we know.
    """
    if not path.exists():
        raise LakeError(f"{path}: nothing is there; name a file or folder, or a table of the lake (pretrain, finetune)")
    if path.is_dir():
        return _of_folder(path)
    if path.suffix == ".parquet":
        return [Part(PARQUET, str(path))]
    return _of_hdf5(path)


def _of_folder(path: Path) -> list[Part]:
    shards = [(file, _SHARD.fullmatch(file.name)) for file in sorted((path / "data").glob("*.parquet"))]
    if shards:
        return [Part(HUB, str(file), split=found[1] if found else None) for file, found in shards]
    files = sorted(path.glob("*.parquet"))
    if files:
        return [Part(PARQUET, str(file)) for file in files]
    held = sorted(file for file in path.iterdir() if file.suffix in (".h5", ".hdf5"))
    if len(held) == 1:
        return _of_hdf5(held[0])
    raise LakeError(
        f"{path}: neither Parquet files nor one HDF5 file; it holds {listing(sorted(f.name for f in path.iterdir()))}"
    )


def _of_hdf5(path: Path) -> list[Part]:
    import h5py

    try:
        with h5py.File(path) as file:
            if any(isinstance(file.get(name), h5py.Group) for name in GROUPS):
                return [_group_part(path, file, name) for name in GROUPS]
            sets = [name for name, one in _datasets(file).items() if one.dtype.names and one.ndim == 1]
            inside = list(file)
    except _DAMAGE as error:
        raise LakeError(f"{path}: does not open as HDF5 ({error}); it is damaged, or another kind of file") from error
    if not sets:
        raise LakeError(f"{path}: no dataset of records at its root and no {listing(GROUPS)}; it holds {listing(inside)}")
    return [Part(RECORDS, str(path), key=name) for name in sorted(sets, key=_natural)]


def _datasets(group: Any) -> dict[str, Any]:
    """Return the datasets of a group that are arrays; links that lead nowhere are none."""
    import h5py

    return {key: one for key in group if isinstance(one := group.get(key), h5py.Dataset) and one.ndim}


def _group_part(path: Path, file: Any, name: str) -> Part:
    import h5py

    group = file.get(name)
    arrays = _datasets(group) if isinstance(group, h5py.Group) else {}
    lacking = [key for key in _ARRAYS if key not in arrays]
    if lacking:
        raise LakeError(f"{path}: {name} lacks {listing(lacking)}; each of {listing(GROUPS)} needs {listing(_ARRAYS)}")
    stars = {key: one.shape[-1] for key, one in arrays.items()}
    if len(set(stars.values())) > 1:
        raise LakeError(f"{path}: the arrays of {name} hold different numbers of stars: {stars}; write it again")
    return Part(ARRAYS, str(path), key=name, split=GROUPS[name])


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name) if piece]


def _read_parquet(part: Part, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    with pq.ParquetFile(part.path) as file:
        held = file.schema_arrow.names
        twice = sorted({name for name in held if held.count(name) > 1})
        if twice:
            raise LakeError(f"{part.name} holds more than one column {listing(twice)}; which is meant, nobody can tell")
        names = [name for name in held if columns is None or name in columns]
        yield file.schema_arrow.empty_table().select(names)
        for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
            yield pa.Table.from_batches([batch])


def _read_records(part: Part, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    import h5py

    with h5py.File(part.path) as file:
        held = file[part.key]
        names = [name for name in held.dtype.names if columns is None or name in columns]
        for at in range(0, max(1, len(held)), BATCH_ROWS):
            # All fields of a slice in one pass: records are stored row by row.
            rows = held[at : at + BATCH_ROWS]
            yield pa.table({name: _arrow(rows[name]) for name in names})


def _arrow(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "S":
        return pa.array(values.tolist(), pa.binary())
    if values.dtype.kind == "O":
        return pa.array([one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in values], pa.string())
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
    return pa.array(np.ascontiguousarray(values))


def _read_arrays(part: Part, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    import h5py

    with h5py.File(part.path) as file:
        group = file[part.key]
        n = group["gmag"].shape[-1]
        for at in range(0, max(1, n), BATCH_ROWS):
            cut = {name: group[name][..., at : at + BATCH_ROWS] for name in (*_ARRAYS, *_optional(group))}
            made = {name: _arrow(values) for name, values in cut.items() if name in ("source_id", "xp_scale")}
            made |= {f"{name}_error": _arrow(row) for name, row in zip(DATA_ROWS.values(), cut.get("e_data", ()), strict=False)}
            made |= {name: _arrow(row) for name, row in zip(DATA_ROWS.values(), cut["data"], strict=False)}
            half = cut["label"].shape[0] // 2
            halves = (cut["label"][:half], cut["label"][half:], cut["e_label"][:half], cut["e_label"][half:])
            made |= {name: _arrow(values.T) for name, values in zip(BLOCKS, halves, strict=True)}
            made["phot_g_mean_mag"] = _arrow(cut["gmag"])
            yield pa.table({name: values for name, values in made.items() if columns is None or name in columns})


def _optional(group: Any) -> list[str]:
    return [name for name in ("source_id", "xp_scale", "e_data") if name in group]


_READERS: Mapping[str, Callable[[Part, Sequence[str] | None], Iterator[pa.Table]]] = {
    PARQUET: _read_parquet,
    HUB: _read_parquet,
    RECORDS: _read_records,
    ARRAYS: _read_arrays,
}


def rows_of(table: pa.Table) -> Rows:
    """Bring some rows to canonical names and float64; ids stay int64, and are None if they are stored as anything else."""
    wide = is_wide(table.column_names)
    numbers: dict[str, Floats] = {}
    texts: dict[str, pa.Array] = {}
    text_numbers: dict[str, list[Any]] = {}
    shown: dict[str, str] = {}
    blocks: dict[str, dict[int, Floats]] = {}
    for own in table.column_names:
        if own == "source_id":
            continue
        name, number = canonical(own, wide=wide), block_element(own)[1] if wide else 0
        values = _plain(table[own].combine_chunks(), own, name)
        shown[name] = own if not number else f"{block_element(own)[0]}1.."
        if pa.types.is_fixed_size_list(values.type):
            numbers[name] = block(pa.chunked_array([values]))
        elif _is_text(values.type):
            if _is_number(name):
                text_numbers[own] = [one for one in values.to_pylist() if one is not None]
                numbers[name] = _parsed(values)
            else:
                texts[name] = pc.cast(values, pa.string())
        elif number:
            blocks.setdefault(name, {})[number] = _floats(values)
        elif not pa.types.is_nested(values.type):
            numbers[name] = _floats(values)
    for name, elements in blocks.items():
        numbers[name] = np.stack([elements[k] for k in sorted(elements)], axis=1)
    return Rows(_ids(table), numbers, texts, text_numbers, shown, table.num_rows)


def _plain(values: pa.Array, own: str, name: str) -> pa.Array:
    """Return words of a dictionary as text, and XP values in lists of any length as lists of fixed size, as the lake has them."""
    if pa.types.is_dictionary(values.type):
        return values.dictionary_decode()
    if name not in BLOCKS or not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
        return values
    size = pc.max(pc.list_value_length(values)).as_py() or 1
    try:
        return values.cast(pa.list_(values.type.value_type, size))
    except pa.ArrowInvalid as error:
        raise LakeError(f"the lists of {own} have different lengths ({error}); write them again") from error


def _is_text(kind: pa.DataType) -> bool:
    return any(
        asked(kind)
        for asked in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _is_number(name: str) -> bool:
    known = COLUMNS.get(name)
    return known is not None and not pa.types.is_string(known.type)


def _floats(values: pa.Array) -> Floats:
    if pa.types.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _parsed(values: pa.Array) -> Floats:
    """Return the numbers that texts spell, NaN for those that spell none."""
    found = np.full(len(values), np.nan)
    for k, one in enumerate(values.to_pylist()):
        try:
            found[k] = float(one)
        except (TypeError, ValueError):
            continue
    return found


def _ids(table: pa.Table) -> Ids | None:
    if "source_id" not in table.column_names:
        return None
    held = table["source_id"]
    if not pa.types.is_int64(held.type) or held.null_count:
        return None
    return np.asarray(held.to_numpy(), dtype=np.int64)
