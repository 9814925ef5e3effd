"""Build a table that is computed from other tables, partition by partition, like predictions of a model."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from lake.columns import schema
from lake.errors import LakeError
from lake.ingest import Outcome, Runner, builds, serial
from lake.join import Join, JoinTask
from lake.manifest import (
    Input,
    Manifest,
    Partition,
    add_up,
    byte_versions,
    clear_remains,
    describe_columns,
    digest,
    files_gone,
    files_there,
    finished,
    read_manifest,
    schema_hash,
    write_manifest,
)
from lake.parquet import POOL_ROWS, group_edges, group_rows, write_partition
from lake.part import in_part
from lake.partition import Grid, Ids, file_name
from lake.storage import Storage, partition_key
from lake.table import Piece

STEPS = {"derive": 1}
# Why a joined row is no row of its own.
SAME_SOURCE = "same source in another of the joined tables"


@dataclass(frozen=True)
class Derivation:
    """A table to compute: its name, what computes it, and what it is made of.

    Attributes
    ----------
    function
        Arrow table of a leaf of the join in, Arrow table with the same source_ids, ascending, out. Must be picklable.
    columns, lengths
        Canonical columns of the result after source_id, and the lengths of its list columns.
    version
        Fingerprint of the function: a model bundle's id.
    made_of
        What to remember in the manifest, such as the bundle.
    unused
        Counts the values of a leaf of the join that the function makes no use of, by reason; None if it uses all.
    resources
        What a worker must offer to make a partition, such as ``{"GPU": 1}``, on clusters where some do.
    """

    name: str
    title: str
    release: str
    kind: str
    citation: str
    licence: str
    function: Callable[[pa.Table], pa.Table]
    columns: tuple[str, ...]
    lengths: Mapping[str, int]
    version: str
    made_of: Mapping[str, str]
    resources: Mapping[str, float] = field(default_factory=dict)
    unused: Callable[[pa.Table], Mapping[str, int]] | None = None

    def schema(self) -> pa.Schema:
        """Return the schema of the table."""
        return schema(("source_id", *self.columns), lengths=self.lengths)


@dataclass(frozen=True)
class DeriveTask:
    """Order to make one partition of a derived table."""

    derivation: Derivation
    storage: Storage
    build: str
    join: JoinTask
    pieces: tuple[tuple[Piece, ...], ...]
    first: int
    end: int
    content: str
    record: str

    @property
    def resources(self) -> Mapping[str, float]:
        """What the worker must offer that carries out the task."""
        return self.derivation.resources


def derive_partition(task: DeriveTask) -> Partition:
    """Compute and write one partition, unless an earlier run of the same build has."""
    done = finished(task.storage, task.record)
    if done is not None:
        return done
    key = partition_key(task.derivation.name, task.build, file_name(task.first, task.end))
    wanted = task.derivation.schema()
    leaf_rows: list[int] = []
    rows_in: list[int] = []
    unused: list[Mapping[str, int]] = []

    def groups() -> Iterator[pa.Table]:
        held: list[pa.Table] = []
        for pieces in task.pieces:
            source, rows = task.join.read_counted(pieces)
            rows_in.append(rows)
            leaf_rows.append(source.num_rows)
            if held and sum(one.num_rows for one in held) + source.num_rows > POOL_ROWS:
                yield from _cut(computed(held))
                held = []
            if source.num_rows:
                held.append(source)
        if held:
            yield from _cut(computed(held))

    def computed(held: list[pa.Table]) -> pa.Table:
        source = pa.concat_tables(held)
        made = task.derivation.function(source)
        if not made["source_id"].equals(source["source_id"]):
            raise LakeError(f"{task.derivation.name}: {source.num_rows:,} rows in, but other source_ids out; nothing was written")
        if task.derivation.unused is not None:
            unused.append(task.derivation.unused(source))
        return made.select(wanted.names).cast(wanted)

    with task.storage.staged(key) as path:
        written = write_partition(path, wanted, groups())
    part = Partition(
        first=task.first,
        end=task.end,
        key=key if written else None,
        rows=written.rows if written else 0,
        rows_in=sum(rows_in),
        dropped={SAME_SOURCE: again} if (again := sum(rows_in) - sum(leaf_rows)) else {},
        bytes=written.bytes if written else 0,
        sha256=written.sha256 if written else None,
        content=task.content,
        leaf_rows=tuple(leaf_rows),
        masked=add_up(unused),
    )
    task.storage.write_bytes(task.record, json.dumps(asdict(part)).encode())
    return part


def _cut(made: pa.Table) -> Iterator[pa.Table]:
    """Yield the row groups of a leaf, which is one unless it is too large."""
    begin = 0
    for end in group_edges([made.num_rows], group_rows(made.schema)):
        yield made.slice(begin, end - begin)
        begin = end


def derived_build(join: Join, name: str, version: str) -> str:
    """Return the id of the build that a derivation of this name and version makes of these tables."""
    return build_of(name, version, join.grid, {table.name: table.manifest.build for table in join.tables})


def build_of(name: str, version: str, grid: Grid, made_of: Mapping[str, str]) -> str:
    """Return the same from the builds (table -> build) that are to be joined, which need not exist yet."""
    return digest([name, version, STEPS, grid.id, dict(made_of)])[:16]


def derive(
    storage: Storage, join: Join, derivation: Derivation, *, run: Runner = serial, part: tuple[int, int] | None = None
) -> Outcome:
    """Build a derived table on the files of the join's anchor; partitions whose inputs did not change are named again.

    Parameters
    ----------
    part
        Share (i, n) of the partitions to make, as element i of a job array; the build then gets no manifest yet.

    Raises
    ------
    LakeError
        If the lake cannot be written; finished partitions are kept for the next run.
    """
    started = time.monotonic()
    build = derived_build(join, derivation.name, derivation.version)
    if build in builds(storage, derivation.name):
        done = read_manifest(storage, derivation.name, build)
        if not files_gone(storage, done.partitions):
            storage.remove_tree(f"scratch/{derivation.name}")
            return Outcome((done,))
    folder = f"scratch/{derivation.name}/{build}"
    older = _older_partitions(storage, derivation.name)
    there = files_there(storage, older.values())
    parts: dict[int, Partition] = {}
    tasks: list[DeriveTask] = []
    for number, own in enumerate(join.tables[0].manifest.partitions):
        content = _content(join, derivation, own)
        known = older.get(content)
        if known is not None and (known.key is None or known.key in there):
            parts[own.first] = known
            continue
        if not in_part(part, number):
            continue
        low, high = np.searchsorted(join.grid.array, [own.first, own.end])
        pieces = tuple(join.pieces(leaf) for leaf in range(low, high))
        record = f"{folder}/reduce/{own.first:06d}-{own.end - 1:06d}.json"
        tasks.append(DeriveTask(derivation, storage, build, join.task, pieces, own.first, own.end, content, record))
    reused = len(parts)
    made = list(run(f"compute {derivation.name}", derive_partition, tasks)) if tasks else []
    if part is not None:
        return Outcome((), reduced=len(made), reused=reused)
    parts |= {one.first: one for one in made}
    manifest = _manifest(
        join, derivation, build, tuple(parts[first] for first in sorted(parts)), round(time.monotonic() - started, 3)
    )
    write_manifest(storage, manifest)
    clear_remains(storage, derivation.name, build)
    storage.remove_tree(f"scratch/{derivation.name}")
    return Outcome((manifest,), reduced=len(tasks), reused=reused)


def _older_partitions(storage: Storage, table: str) -> dict[str, Partition]:
    return {part.content: part for build in builds(storage, table) for part in read_manifest(storage, table, build).partitions}


def _content(join: Join, derivation: Derivation, own: Partition) -> str:
    """Hash what decides a partition: the derivation, and the content of every input file that overlaps it."""
    touching = []
    for table in join.tables:
        overlap = overlapping(table.manifest.edges, own.first, own.end)
        touching.append([table.name, *(part.content for part in table.manifest.partitions[overlap])])
    return content_of(derivation.name, derivation.version, join.grid, (own.first, own.end), touching)


def overlapping(edges: Ids, first: int, end: int) -> slice:
    """Return which partitions of a table, cut at these level-8 pixels, overlap the pixels `first` to `end` - 1."""
    return slice(int(np.searchsorted(edges, first, side="right")) - 1, int(np.searchsorted(edges, end, side="left")))


def content_of(name: str, version: str, grid: Grid, pixels: tuple[int, int], touching: Sequence[Sequence[str]]) -> str:
    """Return the fingerprint of one partition of a derived table.

    Parameters
    ----------
    pixels
        First level-8 pixel, and that behind the last one.
    touching
        Per joined table its name, and the content of every partition of it that overlaps.
    """
    return digest([name, version, STEPS, grid.id, *pixels, touching])


def _manifest(join: Join, derivation: Derivation, build: str, parts: tuple[Partition, ...], seconds: float) -> Manifest:
    own = derivation.schema()
    joined = join.tables if join.how == "outer" else join.tables[:1]
    sources = tuple(
        Input(name=f"tables/{one.table}/{one.build}", bytes=one.bytes, sha256=one.build, rows=one.rows, dropped={})
        for one in (table.manifest for table in joined)
    )
    return Manifest(
        table=derivation.name,
        build=build,
        kind=derivation.kind,
        title=derivation.title,
        release=derivation.release,
        citation=derivation.citation,
        licence=derivation.licence,
        grid=join.grid.id,
        declaration=derivation.version,
        steps=STEPS,
        columns=describe_columns(own),
        schema_hash=schema_hash(own),
        partitions=parts,
        inputs=sources,
        made_of={**derivation.made_of, **{table.name: table.manifest.build for table in join.tables}},
        versions=byte_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        host=socket.gethostname(),
        seconds=seconds,
    )
