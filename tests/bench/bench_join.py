"""Join four tables of N rows and write the result, against reading and writing the same bytes and a Dask shuffle."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import dask.dataframe as dd
import pyarrow as pa
import pyarrow.parquet as pq
from dask.distributed import Client, LocalCluster, as_completed, get_worker
from measure import Line, Setting, Usage, contest, measure
from tables import TABLES, shared_lake

import lake
from lake.join import JoinTask
from lake.parquet import group_rows, write_partition
from lake.root import Lake
from lake.table import Piece

_READY: dict[int, pa.Table] = {}


def _settings(schema: pa.Schema) -> dict[str, object]:
    """Return the settings of `lake.parquet.write_partition` for plain pyarrow."""
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": False,
        "use_byte_stream_split": floats,
        "write_statistics": ["source_id"],
        "data_page_size": 1 << 20,
    }


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="4 GiB", dashboard_address=None, silence_logs=40) as local,
        Client(local) as client,
    ):
        opened = shared_lake(
            setting, lambda _, function, tasks: (f.result() for f in as_completed(client.map(function, tasks, pure=False)))
        )
        ways = _Ways(opened, client, setting.folder / "joined")
        ways.hold()
        found = contest(
            {
                "floor": ways.floor,
                "tasks": ways.tasks,
                "frame": ways.frame,
                "shuffle": ways.shuffle,
            },
            setting.rounds,
            by=ways.measured,
        )
    rows = opened.table(TABLES[0]).rows
    assert {usage.result for usage in found.values()} == {rows}, {name: usage.result for name, usage in found.items()}
    floor, peer = found["floor"].cpu, found["shuffle"].cpu

    def line(what: str, usage: Usage, *, ours: bool = True) -> Line:
        ratio = usage.cpu / floor
        goal = {"goal": "<= 1.2 floor", "met": ratio <= 1.2} if ours else {}
        return Line("join", what, usage, usage.cpu / peer, ratio, **goal)

    return [
        line(f"floor: decode 4 tables, encode {rows:,} x 47, {len(opened.grid)} leaves", found["floor"], ours=False),
        line("lake.join, one task per leaf + write_partition", found["tasks"]),
        line("lake.open().join().to_parquet()", found["frame"]),
        line("peer: dask merge on column (shuffle)", found["shuffle"], ours=False),
    ]


class _Ways:
    """The same join, done in four ways; each returns the number of rows that it wrote."""

    def __init__(self, opened: Lake, client: Client, folder: Path) -> None:
        self._opened, self._client, self._folder = opened, client, folder
        self._join = opened.prepare(TABLES)
        self._schema = self._join.schema()
        self._workers = sorted(client.scheduler_info()["workers"])

    def measured(self, work) -> Usage:  # type: ignore[no-untyped-def]
        """Measure one way in an empty folder, and count its rows outside of the clock."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        usage = measure(work)
        rows = sum(pq.ParquetFile(path).metadata.num_rows for path in self._folder.glob("*.parquet"))
        return Usage(usage.cpu, usage.wall, usage.peaks, rows)

    def _home(self, leaf: int) -> str:
        return self._workers[leaf % len(self._workers)]

    def hold(self) -> None:
        """Leave the joined rows in the workers' memory, so that the floor can write them without joining."""
        held = [
            self._client.submit(_keep, leaf, self._join.task, self._join.pieces(leaf), workers=[self._home(leaf)], pure=False)
            for leaf in range(len(self._opened.grid))
        ]
        self._client.gather(held)

    def floor(self) -> None:
        """Decode all files of the four tables and encode the joined rows, by plain pyarrow."""
        futures = []
        for leaf in range(len(self._opened.grid)):
            keys = [piece.key for piece in self._join.pieces(leaf)]
            paths = [self._opened.storage.path(key) for key in keys if key is not None]
            target = self._folder / f"{leaf}.parquet"
            futures.append(self._client.submit(_floor, leaf, paths, target, workers=[self._home(leaf)], pure=False))
        self._client.gather(futures)

    def tasks(self) -> None:
        """Join and write leaf by leaf, as lake's own derived tables are made."""
        task = self._join.task
        leaves = range(len(self._opened.grid))
        pieces = [self._join.pieces(leaf) for leaf in leaves]
        targets = [self._folder / f"{leaf}.parquet" for leaf in leaves]
        self._client.gather(self._client.map(_ours, pieces, targets, task=task, schema=self._schema, pure=False))

    def frame(self) -> None:
        """Join as a user would, from opening the lake on."""
        joined = lake.open(self._opened.storage.root).join(TABLES)
        joined.to_parquet(self._folder, **_settings(self._schema))

    def shuffle(self) -> None:
        """Merge plain Parquet folders on a column, as one does without known divisions."""
        first, *others = [dd.read_parquet(self._opened.storage.path(f"current/{name}")) for name in TABLES]
        for other in others:
            first = first.merge(other, on="source_id", how="left")
        first.to_parquet(self._folder, write_index=False, **_settings(self._schema))


def _keep(leaf: int, task: JoinTask, pieces: Sequence[Piece]) -> None:
    assert get_worker()
    _READY[leaf] = task.read(pieces)


def _floor(leaf: int, paths: Sequence[Path], target: Path) -> None:
    for path in paths:
        with pq.ParquetFile(path) as file:
            file.read(use_threads=False)
    table = _READY[leaf]
    with pq.ParquetWriter(target, table.schema, **_settings(table.schema)) as writer:
        writer.write_table(table, row_group_size=group_rows(table.schema))


def _ours(pieces: Sequence[Piece], target: Path, *, task: JoinTask, schema: pa.Schema) -> int:
    table = task.read(pieces)
    step = group_rows(schema)
    groups = (table.slice(begin, step) for begin in range(0, len(table), step))
    written = write_partition(target, schema, groups)
    return written.rows if written else 0
