"""Write one partition as Parquet, row group by row group, with the measured settings, and read slices of it.

Settings (measured on XP-like rows, see README "Files"): BYTE_STREAM_SPLIT and no dictionary for floats, zstd, 1 MiB
pages, statistics on source_id only. Row groups hold at most 65,536 rows and about 100 MB.
"""

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake.partition import Ids
from lake.storage import Storage
from lake.whole import unwritable

POOL_ROWS = 8_192
_GROUP_ROWS = 65_536
_GROUP_BYTES = 100_000_000


def row_bytes(schema: pa.Schema) -> int:
    """Return the bytes of a row in memory, 16 for a text."""
    return sum(_width(field.type) for field in schema)


def _width(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    return int(max(1, kind.bit_width // 8)) if pa.types.is_primitive(kind) else 16


def group_rows(schema: pa.Schema) -> int:
    """Return the rows of a full row group: a power of two, 65,536 at most, about 100 MB.

    >>> group_rows(pa.schema([("source_id", pa.int64())]))
    65536
    """
    return int(min(_GROUP_ROWS, 2 ** int(np.log2(max(1024, _GROUP_BYTES // row_bytes(schema))))))


def group_edges(leaf_rows: Sequence[int], limit: int) -> list[int]:
    """Return the row counts at which row groups end: at leaf edges, neighbours pooled up to `POOL_ROWS` rows.

    A leaf larger than `limit` is cut into equal pieces.
    """
    edges, begin, end = [], 0, 0
    for rows in leaf_rows:
        if end > begin and end + rows - begin > POOL_ROWS:
            edges.append(end)
            begin = end
        end += int(rows)
        if end - begin > limit:
            pieces = -(-(end - begin) // limit)
            edges.extend(begin + (end - begin) * k // pieces for k in range(1, pieces + 1))
            begin = end
    if end > begin:
        edges.append(end)
    return edges


def _float_leaves(schema: pa.Schema) -> list[str]:
    """Return the Parquet paths of the floating columns."""
    paths = []
    for field in schema:
        if pa.types.is_floating(field.type):
            paths.append(field.name)
        elif pa.types.is_fixed_size_list(field.type) and pa.types.is_floating(field.type.value_type):
            paths.append(f"{field.name}.list.element")
    return paths


@dataclass(frozen=True)
class Written:
    """What a finished file holds."""

    rows: int
    bytes: int
    sha256: str


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Report what the disk refuses as an error of writing this file; errors of reading the rows keep their own words."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def write_partition(path: Path, schema: pa.Schema, groups: Iterable[pa.Table], *, level: int = 3) -> Written | None:
    """Write row groups to a file that appears only when it is whole, read-only; no rows, no file.

    Raises
    ------
    LakeError
        If the disk is full or the folder not writable; no part of the file remains.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}")
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_boolean(field.type)]
    rows = 0
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(
                beside,
                schema,
                compression="zstd",
                compression_level=level,
                use_dictionary=texts,
                use_byte_stream_split=_float_leaves(schema),
                write_statistics=["source_id"],
                data_page_size=1 << 20,
                write_page_index=False,
            )
        try:
            for group in groups:
                with _writing(path):
                    if group.num_rows:
                        writer.write_table(group, row_group_size=max(1, group.num_rows))
                rows += group.num_rows
        finally:
            with _writing(path):
                writer.close()
        if not rows:
            return None
        with _writing(path):
            with beside.open("rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            beside.chmod(0o444)
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return Written(rows=rows, bytes=path.stat().st_size, sha256=checksum)


@contextmanager
def parquet_file(storage: Storage, key: str, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of the lake; from an object store, the wanted column chunks come in few requests.

    Parameters
    ----------
    metadata
        Its footer, if it was read before.
    """
    with (
        storage.open_input(key) as source,
        pq.ParquetFile(source, metadata=metadata, pre_buffer=not storage.is_local) as file,
    ):
        yield file


def _groups_between(metadata: pq.FileMetaData, low: int, high: int) -> list[int]:
    """Return the row groups that may hold ids from `low` up to but not including `high`."""
    found = []
    for i in range(metadata.num_row_groups):
        statistics = metadata.row_group(i).column(0).statistics
        if statistics is None or not statistics.has_min_max or (statistics.max >= low and statistics.min < high):
            found.append(i)
    return found


def read_slice(
    storage: Storage, key: str, low: int, high: int, columns: Sequence[str] | None, groups_at_once: int | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of a file with ``low <= source_id < high``, ascending; row groups outside are not decoded.

    Parameters
    ----------
    columns
        Columns to read; source_id is always among those returned.
    groups_at_once
        Row groups per table, all in one if None.
    """
    with parquet_file(storage, key) as file:
        names = None if columns is None else ["source_id", *(name for name in columns if name != "source_id")]
        groups = _groups_between(file.metadata, low, high)
        step = groups_at_once or max(1, len(groups))
        for at in range(0, len(groups), step):
            table = file.read_row_groups(groups[at : at + step], columns=names, use_threads=False)
            ids: Ids = table["source_id"].to_numpy()
            begin, end = np.searchsorted(ids, [low, high])
            if end > begin:
                yield table.slice(begin, end - begin)


def read_ids(storage: Storage, key: str, ids: Ids, columns: Sequence[str]) -> pa.Table:
    """Return the rows of a file with these ids (ascending), decoding only row groups that hold one of them."""
    with parquet_file(storage, key) as file:
        groups: list[int] = []
        for i in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(i).column(0).statistics
            low, high = np.searchsorted(ids, [statistics.min, statistics.max + 1])
            if high > low:
                groups.append(i)
        found = []
        for i in groups:
            held: Ids = file.read_row_group(i, columns=["source_id"], use_threads=False)["source_id"].to_numpy()
            rows = np.flatnonzero(np.isin(held, ids, assume_unique=True))
            if len(rows):
                found.append(file.read_row_group(i, columns=list(columns), use_threads=False).take(pa.array(rows)))
        return pa.concat_tables(found) if found else file.schema_arrow.empty_table().select(list(columns))


def read_pixels(storage: Storage, key: str, pixels: Ids, shift: int, columns: Sequence[str]) -> pa.Table:
    """Return the rows of a file whose ids, shifted right by `shift`, are among ascending pixels; others are not decoded."""
    with parquet_file(storage, key) as file:
        found = []
        for i in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(i).column(0).statistics
            low, high = np.searchsorted(pixels, [statistics.min >> shift, (statistics.max >> shift) + 1])
            if high > low:
                table = file.read_row_group(i, columns=list(columns), use_threads=False)
                held = np.right_shift(table["source_id"].to_numpy(), shift)
                at = np.minimum(np.searchsorted(pixels, held), len(pixels) - 1)
                found.append(table.filter(pa.array(pixels[at] == held)))
        return pa.concat_tables(found) if found else file.schema_arrow.empty_table().select(list(columns))
