"""Reduce sorted runs to one partition: merge by source_id, one row per source, written row group by row group."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import RawFileError
from lake.layout import Slot
from lake.manifest import Partition, finished
from lake.parquet import group_edges, group_rows, parquet_file, write_partition
from lake.partition import Ids, file_name, first_id
from lake.storage import Storage, partition_key
from lake.survey import OBSERVATIONS, Survey

_IN_FILE, _IN_FILES = "same source again in one file", "same source again in another file"
_NOT_BEST, _SAME_ROW = "not the best observation of its source", "same row again"


@dataclass(frozen=True)
class ReduceTask:
    """Order to make one partition.

    Attributes
    ----------
    slot
        The partition: its leaves, and its fingerprint.
    runs
        (sha256 of the raw file, its name, key of the run), in the order that decides ties.
    """

    survey: Survey
    table: str
    storage: Storage
    build: str
    slot: Slot
    runs: tuple[tuple[str, str, str], ...]
    folder: str

    @property
    def record(self) -> str:
        """Key of the task's done-record."""
        return f"{self.folder}/reduce/{self.table}-{self.slot.first:06d}-{self.slot.end - 1:06d}-{self.slot.content[:12]}.json"


def reduce_partition(task: ReduceTask) -> Partition:
    """Write one partition, unless an earlier run of the same build has; return its entry for the manifest.

    Memory is bounded by a row group, not by the partition: only ids are held whole.

    Raises
    ------
    RawFileError
        If one file holds a source twice and the survey has no rule for it, or two files disagree on a source.
    """
    name = file_name(task.slot.first, task.slot.end)
    key = partition_key(task.table, task.build, name)
    done = finished(task.storage, task.record)
    if done is not None:
        return done
    merged = _Merge(task)
    with task.storage.staged(key) as path:
        written = write_partition(path, task.survey.schema(task.table), merged.groups())
    partition = Partition(
        first=task.slot.first,
        end=task.slot.end,
        key=key if written else None,
        rows=written.rows if written else 0,
        rows_in=merged.rows_in,
        dropped={reason: rows for reason, rows in merged.dropped.items() if rows},
        bytes=written.bytes if written else 0,
        sha256=written.sha256 if written else None,
        content=task.slot.content,
        leaf_rows=merged.leaf_rows,
    )
    task.storage.write_bytes(task.record, json.dumps(asdict(partition)).encode())
    return partition


class _Run:
    """One run, read by ranges of ids; its file is open only while it is read, for there may be thousands."""

    def __init__(self, storage: Storage, key: str, low: int, high: int) -> None:
        self._storage, self._key = storage, key
        with parquet_file(storage, key) as file:
            self._metadata = file.metadata
        groups = range(self._metadata.num_row_groups)
        statistics = [self._metadata.row_group(i).column(0).statistics for i in groups]
        self._low = np.array([one.min for one in statistics], dtype=np.int64)
        self._high = np.array([one.max for one in statistics], dtype=np.int64)
        self.ids = self.read(low, high, ["source_id"])["source_id"].to_numpy()

    def read(self, low: int, high: int, columns: list[str] | None = None) -> pa.Table:
        """Return rows with low <= source_id < high."""
        first = int(np.searchsorted(self._high, low))
        last = int(np.searchsorted(self._low, high))
        with parquet_file(self._storage, self._key, self._metadata) as file:
            table = file.read_row_groups(list(range(first, last)), columns=columns, use_threads=False)
        begin, end = np.searchsorted(table["source_id"].to_numpy(), [low, high])
        return table.slice(begin, end - begin)


class _Merge:
    """Merge the runs of one partition, counting what is dropped."""

    def __init__(self, task: ReduceTask) -> None:
        self._task = task
        self.rows_in = 0
        self.leaf_rows: tuple[int, ...] = ()
        self.dropped = dict.fromkeys((_IN_FILE, _IN_FILES, _NOT_BEST, _SAME_ROW), 0)

    def groups(self) -> Iterator[pa.Table]:
        """Yield the merged rows, one table per row group, ascending in source_id."""
        task = self._task
        low, high = first_id(task.slot.first), first_id(task.slot.end)
        runs = [_Run(task.storage, key, low, high) for _, _, key in task.runs]
        schema = task.survey.schema(task.table)
        ids = np.unique(np.concatenate([run.ids for run in runs])) if runs else np.empty(0, dtype=np.int64)
        leaves = np.diff(np.searchsorted(ids, [first_id(edge) for edge in task.slot.leaves]))
        self.leaf_rows = tuple(leaves.tolist())
        begin = 0
        for end in group_edges(leaves[leaves > 0].tolist(), group_rows(schema)):
            bound = int(ids[end]) if end < len(ids) else high
            yield self._merged(runs, int(ids[begin]), bound).cast(schema)
            begin = end

    def _merged(self, runs: list[_Run], low: int, high: int) -> pa.Table:
        pieces = [(rank, run.read(low, high)) for rank, run in enumerate(runs)]
        pieces = [(rank, piece) for rank, piece in pieces if piece.num_rows]
        table = pa.concat_tables([piece for _, piece in pieces]).combine_chunks()
        rank = np.concatenate([np.full(piece.num_rows, rank) for rank, piece in pieces])
        ids: Ids = table["source_id"].to_numpy()
        self.rows_in += len(ids)
        if not (np.diff(ids) > 0).all():
            order = np.argsort(ids, kind="stable")
            table, rank, ids = table.take(pa.array(order)), rank[order], ids[order]
        if self._task.survey.duplicates == "best" and self._task.table == self._task.survey.name:
            return self._best_per_source(table)
        return table if (np.diff(ids) > 0).all() else self._one_per_source(table, rank)

    def _best_per_source(self, table: pa.Table) -> pa.Table:
        """Keep the best observation of each source, and count its observations.

        Ties go to the more complete row, then to the one with the smaller values, column by column, so that neither files nor
        their order decide. A row that is equal to another in all columns is the same observation, delivered twice.
        """
        ids: Ids = table["source_id"].to_numpy()
        repeated = np.zeros(len(ids), dtype=bool)
        repeated[1:] |= ids[1:] == ids[:-1]
        observations = np.ones(len(ids), dtype=np.int64)
        if repeated.any():
            present = sum(np.asarray(pc.is_valid(column), dtype=np.int32) for column in table.columns)
            keys = [_ranked(table[name.removeprefix("-")], name.startswith("-")) for name in reversed(self._task.survey.ranking)]
            order = _ordered(table, (-np.asarray(present), *keys, ids))
            table, ids = table.take(pa.array(order)), ids[order]
            same = _same_as_an_earlier(table, ids)
            first = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
            observations = np.add.reduceat((~same).astype(np.int64), first)
            self.dropped[_SAME_ROW] += int(same.sum())
            self.dropped[_NOT_BEST] += len(ids) - len(first) - int(same.sum())
            table = table.take(pa.array(first))
        counted = pa.array(np.minimum(observations, np.iinfo(np.int16).max).astype(np.int16))
        return table.append_column(OBSERVATIONS, counted)

    def _one_per_source(self, table: pa.Table, rank: Ids) -> pa.Table:
        """Keep the most complete row of each source, the smaller file hash on ties; refuse rows that disagree."""
        ids: Ids = table["source_id"].to_numpy()
        shas = np.array([sha for sha, _, _ in self._task.runs])[rank]
        present = sum(np.asarray(pc.is_valid(column), dtype=np.int32) for column in table.columns)
        order = np.lexsort((np.arange(len(ids)), shas, -np.asarray(present), ids))
        table, ids, shas, rank = table.take(pa.array(order)), ids[order], shas[order], rank[order]
        again = np.concatenate([[False], ids[1:] == ids[:-1]])
        chosen = np.maximum.accumulate(np.where(~again, np.arange(len(ids)), 0))
        kept = np.flatnonzero(~again)
        same_file = again & self._in_same_file(ids, shas)
        if same_file.any() and self._task.survey.duplicates == "error":
            self._refuse_repeats(ids, same_file, rank)
        others = np.flatnonzero(again & ~same_file)
        self._refuse_contradictions(table, others, chosen[others], rank)
        self.dropped[_IN_FILE] += int(same_file.sum())
        self.dropped[_IN_FILES] += len(others)
        return table.take(pa.array(kept))

    @staticmethod
    def _in_same_file(ids: Ids, shas: np.ndarray) -> np.ndarray:
        """Tell the rows whose source stands in an earlier row of the same file."""
        order = np.lexsort((np.arange(len(ids)), shas, ids))
        repeat = np.zeros(len(ids), dtype=bool)
        repeat[order[1:]] = (ids[order[1:]] == ids[order[:-1]]) & (shas[order[1:]] == shas[order[:-1]])
        return repeat

    def _refuse_repeats(self, ids: Ids, repeat: np.ndarray, rank: Ids) -> None:
        row = int(np.flatnonzero(repeat)[0])
        raise RawFileError(
            f"{self._task.runs[rank[row]][1]}: column 'source_id': {ids[row]} stands in more than one row ({int(repeat.sum()):,} "
            f"repeated rows among these), {self._task.survey.name} expects one row per source in a file. Remove the repeats, or "
            "declare duplicates='most_complete' in the survey"
        )

    def _refuse_contradictions(self, table: pa.Table, rows: Ids, chosen: Ids, rank: Ids) -> None:
        """Compare every present value of rows that will be dropped with the row that is kept."""
        if not len(rows):
            return
        tolerance = self._task.survey.tolerance
        for name in table.column_names:
            first, second = (table[name].take(pa.array(at)).combine_chunks() for at in (rows, chosen))
            apart = _apart(first, second, tolerance)
            if apart.any():
                at = int(np.flatnonzero(apart)[0])
                raise RawFileError(
                    f"column {name!r}: source_id {table['source_id'][int(rows[at])].as_py()} has {first[at].as_py()!r} in "
                    f"{self._task.runs[rank[rows[at]]][1]}, but {second[at].as_py()!r} in {self._task.runs[rank[chosen[at]]][1]} "
                    f"({int(apart.sum()):,} sources differ by more than {tolerance:g}). Keep one of the files, by "
                    f"`gaialake ingest {self._task.survey.name} --replace --raw PATH...`"
                )


def _ordered(table: pa.Table, keys: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the order of rows by keys, the last one first, and where all are equal by the values of every column."""
    order = np.lexsort(keys)
    alike = np.all([key[order][1:] == key[order][:-1] for key in keys], axis=0)
    tied = np.flatnonzero(np.concatenate([alike, [False]]) | np.concatenate([[False], alike]))
    if len(tied):
        rows = order[tied]
        some = table.take(pa.array(rows))
        values = [_ranked(some[name], largest_first=False) for name in reversed(some.column_names)]
        # The keys decide first, so each group of rows that are alike stays in its places.
        order[tied] = rows[np.lexsort((*values, *(key[rows] for key in keys)))]
    return order


def _ranked(values: pa.ChunkedArray, largest_first: bool) -> np.ndarray:
    """Return numbers that sort as the ranking wants, nulls last."""
    held = values.combine_chunks()
    there = np.asarray(pc.is_valid(held))
    if pa.types.is_fixed_size_list(held.type):
        held = pa.array([None if row is None else str(row) for row in held.to_pylist()], pa.string())
    known, place = np.unique(held.drop_null().to_numpy(zero_copy_only=False), return_inverse=True)
    ranks = np.full(len(held), len(known), dtype=np.int64)
    ranks[there] = len(known) - 1 - place if largest_first else place
    return ranks


def _same_as_an_earlier(table: pa.Table, ids: Ids) -> np.ndarray:
    """Tell rows that are equal to the row before them in every column; rows are in order of source and rank."""
    same = np.concatenate([[False], ids[1:] == ids[:-1]])
    rows = np.flatnonzero(same)
    for name in table.column_names:
        if not len(rows):
            break
        values = table[name].combine_chunks()
        first, second = values.take(pa.array(rows)), values.take(pa.array(rows - 1))
        if pa.types.is_fixed_size_list(values.type):
            equal = np.array([a == b for a, b in zip(first.to_pylist(), second.to_pylist(), strict=True)])
        else:
            both_null = pc.and_(pc.is_null(first), pc.is_null(second))
            equal = np.asarray(pc.or_(both_null, pc.fill_null(pc.equal(first, second), False)))
        same[rows[~equal]] = False
        rows = rows[equal]
    return same


def _apart(first: pa.Array, second: pa.Array, tolerance: float) -> np.ndarray:
    """Tell where two columns both have a value and the values differ by more than the tolerance."""
    both = np.asarray(pc.and_(pc.is_valid(first), pc.is_valid(second)))
    if pa.types.is_fixed_size_list(first.type):
        size = first.type.list_size
        where = pa.array(np.flatnonzero(both))
        element = _apart(first.take(where).flatten(), second.take(where).flatten(), tolerance).reshape(-1, size).any(axis=1)
        apart = np.zeros(len(both), dtype=bool)
        apart[both] = element
        return apart
    if pa.types.is_floating(first.type):
        a, b = (np.nan_to_num(side.to_numpy(zero_copy_only=False).astype(np.float64)) for side in (first, second))
        size = np.maximum(np.abs(a), np.abs(b))
        # A value near zero is compared on the scale of its column: archives round to a number of decimals.
        floor = np.median(size[both]) if both.any() else 0.0
        return both & (np.abs(a - b) > tolerance * np.maximum(size, floor))
    return both & np.asarray(pc.fill_null(pc.not_equal(first, second), False))
