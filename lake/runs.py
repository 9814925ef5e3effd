"""Map one raw file to sorted runs: read, conform, sort by source_id, count the rows of every leaf.

A run is a Parquet file of at most about 256 MB in memory, so that memory does not grow with the raw file, and a
partition is later merged from slices of runs whatever the order of the raw rows.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.conform import conform
from lake.errors import RawFileError
from lake.ledger import RawFile
from lake.manifest import Input, add_up, digest
from lake.parquet import group_edges, row_bytes
from lake.partition import Grid, Ids, count_leaves, first_id
from lake.readers import read
from lake.standing import ON_FILES, Standing
from lake.storage import Storage
from lake.survey import OBSERVATIONS, Survey
from lake.whole import unwritable

RUN_BYTES = 256 << 20
_GROUP_BYTES = 8 << 20


@dataclass(frozen=True)
class MapTask:
    """Order to map one raw file.

    Attributes
    ----------
    spans
        Level-8 pixel ranges (first, end) whose rows are wanted; the whole sky if empty.
    folder
        Key of the build's scratch folder.
    standing
        What the rows are matched with.
    """

    storage: Storage
    survey: Survey
    grid: Grid
    file: RawFile
    folder: str
    spans: tuple[tuple[int, int], ...] = ()
    standing: Standing = field(default_factory=lambda: ON_FILES)

    @property
    def record(self) -> str:
        """Key of the task's done-record; it is written last, so its presence means that all runs are whole."""
        part = f"-{digest([self.spans, self.standing.id])[:8]}" if self.spans or self.standing.id else ""
        return f"{self.folder}/map/{self.file.sha256[:20]}{part}.json"


def map_file(task: MapTask) -> dict[str, Any]:
    """Write the runs of one raw file, unless an earlier run of the same build has; return the task's record.

    Returns
    -------
    dict
        ``sha256``, ``rows`` read, ``dropped`` by reason, ``absent`` and ``ignored`` columns, and for each table its
        ``runs`` (paths below the scratch folder, which may move), ``leaves``, ``counts`` and ``dropped``.

    Raises
    ------
    RawFileError
        If the file does not hold what the survey declares, or changed since it was hashed.
    """
    done = task.storage.find_json(task.record)
    if done and all(task.storage.exists(f"{task.folder}/{run}") for table in done["tables"].values() for run in table["runs"]):
        return dict(done)
    writer = _RunWriter(task)
    rows = 0
    dropped: dict[str, int] = {}
    masked: dict[str, int] = {}
    absent, ignored = set(task.survey.columns), set[str]()
    for batch in read(task.file.path, task.survey):
        held = conform(batch, task.survey, task.file.path, columns=_there(task.survey, batch.absent))
        rows += batch.table.num_rows
        dropped, masked = add_up([dropped, held.dropped]), add_up([masked, held.masked])
        absent &= set(batch.absent)
        ignored |= set(batch.ignored)
        writer.add(held.table)
    state = task.file.path.stat()
    if (state.st_size, state.st_mtime_ns) != (task.file.bytes, task.file.mtime_ns):
        raise RawFileError(
            f"{task.file.path}: the file changed while it was read; run the same command again when it is complete"
        )
    record = {
        "sha256": task.file.sha256,
        "rows": rows,
        "tables": writer.close(),
        "dropped": add_up([dropped, writer.unmatched]),
        "masked": masked,
        "absent": sorted(absent),
        "ignored": sorted(ignored),
    }
    task.storage.write_bytes(task.record, json.dumps(record).encode())
    return record


def _there(survey: Survey, absent: Collection[str]) -> list[str]:
    """Return the survey's columns without those of extensions of which a file has nothing."""
    empty = {name for names in survey.extensions.values() if set(names) <= set(absent) for name in names}
    return [name for name in survey.columns if name not in empty]


def input_of(record: dict[str, Any], table: str, file: RawFile, against: str = "") -> Input:
    """Return what a manifest keeps of a mapped file's record, for one table."""
    own = record["tables"][table]
    return Input(
        name=file.name,
        bytes=file.bytes,
        sha256=file.sha256,
        rows=record["rows"],
        dropped={**record["dropped"], **own["dropped"]},
        leaves=tuple(own["leaves"]),
        counts=tuple(own["counts"]),
        absent=tuple(record["absent"]),
        ignored=tuple(record["ignored"]),
        masked=record["masked"],
        against=against,
    )


def union(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join touching spans."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return tuple(joined)


class _RunWriter:
    """Gather conformed rows and write them as sorted runs, for the survey's table and its extensions."""

    def __init__(self, task: MapTask) -> None:
        self._task = task
        self._held: dict[str, list[pa.Table]] = {table: [] for table in task.survey.tables}
        self._bytes = 0
        self._runs: dict[str, list[str]] = {table: [] for table in task.survey.tables}
        self._counts = {table: np.zeros(len(task.grid), dtype=np.int64) for table in task.survey.tables}
        self._rows = 0
        self._waiting: list[pa.Table] = []
        self.unmatched: dict[str, int] = {}

    def add(self, table: pa.Table) -> None:
        """Take some rows, and write a run when enough are held; rows to be matched wait for many others."""
        if self._task.survey.beside or self._task.survey.match:
            self._waiting.append(table)
            if sum(held.nbytes for held in self._waiting) >= RUN_BYTES:
                self._match()
        else:
            self._take(table)

    def _match(self) -> None:
        """Match all rows that wait at once: a match by position reads every Gaia source around them."""
        if self._waiting:
            together = pa.concat_tables(self._waiting)
            self._waiting.clear()
            table, lost = self._task.standing.matched(together, self._task.survey, self._task.file.path)
            self.unmatched = add_up([self.unmatched, lost])
            self._take(table)

    def _take(self, table: pa.Table) -> None:
        self._rows += table.num_rows
        for name, columns in self._task.survey.tables.items():
            # How often a source was observed is known only when all files are merged.
            columns = tuple(column for column in columns if column != OBSERVATIONS)
            if not set(columns) <= set(table.column_names):
                continue
            own = table.select(columns)
            if name != self._task.survey.name:
                there = [pc.is_valid(own[column]) for column in columns[1:]]
                own = own.filter(reduce(pc.or_, there))
            self._held[name].append(own)
            self._bytes += own.nbytes
        if self._bytes >= RUN_BYTES:
            self._flush()

    def close(self) -> dict[str, Mapping[str, Any]]:
        """Write what is held, and return what was written per table."""
        self._match()
        self._flush()
        done: dict[str, Mapping[str, Any]] = {}
        for table, counts in self._counts.items():
            lost = self._rows - int(counts.sum())
            touched = np.flatnonzero(counts)
            done[table] = {
                "runs": self._runs[table],
                "leaves": touched.tolist(),
                "counts": counts[touched].tolist(),
                "dropped": {"none of the table's columns present": lost} if lost else {},
            }
        return done

    def _flush(self) -> None:
        for table, pieces in self._held.items():
            if not pieces:
                continue
            own = pa.concat_tables(pieces).combine_chunks()
            pieces.clear()
            ids: Ids = own["source_id"].to_numpy()
            if (np.diff(ids) < 0).any():
                order = np.argsort(ids, kind="stable")
                own, ids = own.take(pa.array(order)), ids[order]
            self._counts[table] += count_leaves(self._task.grid, ids)
            own = _within(own, self._task.spans)
            if own.num_rows:
                self._write(table, own)
        self._bytes = 0

    def _write(self, table: str, rows: pa.Table) -> None:
        own = self._task.record.removeprefix(f"{self._task.folder}/").removesuffix(".json")
        run = f"{own}/{table}-{len(self._runs[table]):04d}.parquet"
        limit = max(256, _GROUP_BYTES // row_bytes(rows.schema))
        leaves = count_leaves(self._task.grid, rows["source_id"].to_numpy())
        with self._task.storage.staged(f"{self._task.folder}/{run}") as path:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with pq.ParquetWriter(
                    path, rows.schema, compression="lz4", use_dictionary=False, write_statistics=["source_id"]
                ) as writer:
                    begin = 0
                    for end in group_edges(leaves[leaves > 0].tolist(), limit):
                        writer.write_table(rows.slice(begin, end - begin), row_group_size=limit * 2)
                        begin = end
            except OSError as error:
                path.unlink(missing_ok=True)
                raise unwritable(path, error) from error
        self._runs[table].append(run)


def _within(rows: pa.Table, spans: tuple[tuple[int, int], ...]) -> pa.Table:
    """Return the rows whose ids lie in one of the spans; all of them if there are no spans."""
    if not spans:
        return rows
    ids: Ids = rows["source_id"].to_numpy()
    bounds = [np.searchsorted(ids, [first_id(first), first_id(end)]) for first, end in spans]
    return pa.concat_tables([rows.slice(begin, end - begin) for begin, end in bounds]).combine_chunks()
