"""Build a survey's tables from its raw files: map every file to sorted runs, then reduce every partition.

Nothing is done twice: a finished build is found by its fingerprint, a partition whose content did not change is named
again from the older build that made it, and a killed run continues from the done-records in its scratch folder.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from lake.errors import LakeError
from lake.layout import STEPS, layout
from lake.ledger import RawFile
from lake.manifest import (
    Input,
    Manifest,
    Partition,
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
from lake.merge import ReduceTask, reduce_partition
from lake.part import file_number, in_part
from lake.partition import Grid
from lake.runs import MapTask, input_of, map_file, union
from lake.standing import ON_FILES, Standing
from lake.storage import Storage
from lake.survey import Survey

T = TypeVar("T")
R = TypeVar("R")


class Runner(Protocol):
    """Run one function over many tasks, anywhere, in any order, and yield the results as they come."""

    def __call__(self, label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
        """Yield one result per task; raise the first error."""
        ...


def serial(label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """Run tasks one after the other in this process."""
    return map(function, tasks)


@dataclass(frozen=True)
class Outcome:
    """What building a survey came to.

    Attributes
    ----------
    manifests
        One per table.
    mapped, reduced, reused
        Raw files read, partitions made, partitions named again from older builds.
    left
        Raw files that other elements of a job array have still to read, so that no partition could be made yet.
    """

    manifests: tuple[Manifest, ...]
    mapped: int = 0
    reduced: int = 0
    reused: int = 0
    left: int = 0


def build_id(table: str, survey: Survey, grid: Grid, hashes: Iterable[str], against: str = "") -> str:
    """Return the name of the build of a table from these raw contents: equal inputs, declaration and steps, equal name.

    Parameters
    ----------
    against
        Fingerprint of what the rows are matched with (see `lake.standing.Standing`).
    """
    return digest([table, survey.fingerprint, STEPS, grid.id, sorted(set(hashes)), *([against] if against else [])])[:16]


def builds(storage: Storage, table: str) -> list[str]:
    """Return the ids of a table's finished builds."""
    return [name.removesuffix(".json") for name in storage.names(f"tables/{table}") if name.endswith(".json")]


def ingest(  # noqa: PLR0913
    storage: Storage,
    grid: Grid,
    survey: Survey,
    files: Sequence[RawFile],
    *,
    standing: Standing = ON_FILES,
    run: Runner = serial,
    part: tuple[int, int] | None = None,
) -> Outcome:
    """Build all tables of a survey from the given raw files; do only what no earlier run has done.

    Parameters
    ----------
    files
        From `lake.ledger.raw_files`; each content once.
    standing
        What the rows are matched with.
    run
        Where tasks are carried out.
    part
        Share (i, n) of the work to do, as element i of a job array: first its raw files; once all files are read, its
        partitions. The build has no manifest before somebody does all of it, which then takes no time.

    Raises
    ------
    LakeError
        If there is no file, a file is not what the survey declares, or the lake cannot be written. Nothing that was
        published changes, and finished work is kept for the next run.
    """
    if not files:
        way = f"`gaialake fetch {survey.name}`, or " if survey.fetch else ""
        raise LakeError(f"{survey.name}: no raw files; {way}name some with `gaialake ingest {survey.name} --raw PATH...`")
    hashes = [file.sha256 for file in files]
    wanted = {table: build_id(table, survey, grid, hashes, standing.id) for table in survey.tables}
    done = [read_manifest(storage, table, build) for table, build in wanted.items() if build in builds(storage, table)]
    # Runs and finished partitions depend on contents, not on the build: one bad file, replaced, costs only itself.
    scratch = f"scratch/{survey.name}"
    folder = f"{scratch}/{digest([survey.fingerprint, STEPS, grid.id])[:16]}"
    if len(done) == len(wanted) and not files_gone(storage, [part for manifest in done for part in manifest.partitions]):
        storage.remove_tree(scratch)
        return Outcome(tuple(done))
    work = _Work(storage, grid, survey, sorted(files, key=lambda file: file.sha256), wanted, folder, standing, run, part)
    outcome = work.carry_out()
    if part is not None:
        return outcome
    for table, build in wanted.items():
        clear_remains(storage, table, build)
    # That of another declaration or grid, given up since, goes as well.
    storage.remove_tree(scratch)
    return outcome


class _Work:
    """One build in progress."""

    def __init__(  # noqa: PLR0913
        self,
        storage: Storage,
        grid: Grid,
        survey: Survey,
        files: Sequence[RawFile],
        wanted: dict[str, str],
        folder: str,
        standing: Standing,
        run: Runner,
        part: tuple[int, int] | None,
    ) -> None:
        self.part = part
        self.storage, self.grid, self.survey, self.files = storage, grid, survey, files
        self.wanted, self.folder, self.standing, self.run = wanted, folder, standing, run
        self._files = {file.sha256: file for file in files}
        self.started = time.monotonic()
        self.older = {table: self._older(table) for table in wanted}

    def _older(self, table: str) -> list[Manifest]:
        """Return earlier builds of a table that share declaration, steps and grid."""
        found = [read_manifest(self.storage, table, build) for build in builds(self.storage, table)]
        return [m for m in found if (m.declaration, m.grid, dict(m.steps)) == (self.survey.fingerprint, self.grid.id, STEPS)]

    def carry_out(self) -> Outcome:
        """Map what is new, find what is stale, map what that needs, reduce it, and write the manifests."""
        attempts = self._count_attempt() if self.part is None else 0
        known = {table: self._known_inputs(table) for table in self.wanted}
        fresh = [file for file in self.files if any(file.sha256 not in known[table] for table in self.wanted)]
        records, left = self._map([self._order(file) for file in fresh])
        mapped = len(records)
        if left:
            return Outcome((), mapped=mapped, left=left)
        for table in self.wanted:
            known[table] |= {sha: input_of(record, table, self._file(sha), self.standing.id) for sha, record in records.items()}
        inputs = {table: [known[table][file.sha256] for file in self.files] for table in self.wanted}
        entries = {table: self._entries(table, inputs[table]) for table in self.wanted}
        stale = {table: [one for one in entries[table] if isinstance(one, ReduceTask)] for table in self.wanted}
        again = self._to_map_again(stale, records)
        more, left = self._map(again)
        records |= more
        if left:
            return Outcome((), mapped=mapped + len(more), left=left)
        shared = {
            table: [one for n, one in enumerate(entries[table]) if isinstance(one, ReduceTask) and in_part(self.part, n)]
            for table in self.wanted
        }
        tasks = [self._with_runs(task, records) for table in self.wanted for task in shared[table]]
        made = {(part.first, task.table): part for task, part in self._reduce(tasks)}
        if self.part is not None:
            return Outcome((), mapped=mapped + len(more), reduced=len(tasks))
        manifests = []
        for table, build in self.wanted.items():
            parts = tuple(one if isinstance(one, Partition) else made[one.slot.first, table] for one in entries[table])
            manifests.append(
                self._manifest(table, build, parts, tuple(sorted(inputs[table], key=lambda one: one.name)), attempts)
            )
        for manifest in manifests:
            write_manifest(self.storage, manifest)
        reused = sum(isinstance(one, Partition) for found in entries.values() for one in found)
        return Outcome(tuple(manifests), mapped=mapped + len(more), reduced=len(tasks), reused=reused)

    def _count_attempt(self) -> int:
        marker = f"{self.folder}/attempts"
        attempts = int(self.storage.read_bytes(marker)) + 1 if self.storage.exists(marker) else 1
        self.storage.write_bytes(marker, str(attempts).encode())
        return attempts

    def _file(self, sha256: str) -> RawFile:
        return self._files[sha256]

    def _order(self, file: RawFile, spans: tuple[tuple[int, int], ...] = ()) -> MapTask:
        return MapTask(self.storage, self.survey, self.grid, file, self.folder, spans, self.standing)

    def _known_inputs(self, table: str) -> dict[str, Input]:
        """Return what earlier builds know of the current raw files, under their current names."""
        names = {file.sha256: file.name for file in self.files}
        found = {}
        for manifest in self.older[table]:
            for one in manifest.inputs:
                if one.sha256 in names and one.against == self.standing.id:
                    found[one.sha256] = Input(**{**one.__dict__, "name": names[one.sha256]})
        return found

    def _map(self, tasks: list[MapTask]) -> tuple[dict[str, dict[str, Any]], int]:
        """Return the records of these files; of a share of the work, those at hand and how many others are not read yet."""
        own = [task for task in tasks if in_part(self.part, file_number(task.file.sha256))]
        records = {record["sha256"]: record for record in self.run(f"read {self.survey.name}", map_file, own)} if own else {}
        others = [task for task in tasks if task.file.sha256 not in records]
        done = [task for task in others if self.storage.exists(task.record)]
        if len(done) == len(others):
            records |= {task.file.sha256: self.storage.read_json(task.record) for task in done}
        return records, len(others) - len(done)

    def _entries(self, table: str, inputs: list[Input]) -> list[Partition | ReduceTask]:
        """Return one entry per partition: an older one with the same content, or an order to make it."""
        names = {file.sha256: file.name for file in self.files}
        older = [part for manifest in self.older[table] for part in manifest.partitions]
        there = files_there(self.storage, older)
        at = {part.content: part for part in older if part.key is None or part.key in there}
        entries: list[Partition | ReduceTask] = []
        for slot in layout(self.survey, table, self.grid, inputs, self.standing.id):
            if slot.content in at:
                entries.append(at[slot.content])
                continue
            entries.append(
                ReduceTask(
                    survey=self.survey,
                    table=table,
                    storage=self.storage,
                    build=self.wanted[table],
                    slot=slot,
                    runs=tuple((sha, names[sha], "") for sha in slot.touching),
                    folder=self.folder,
                )
            )
        return entries

    def _to_map_again(self, stale: dict[str, list[ReduceTask]], records: dict[str, Any]) -> list[MapTask]:
        """Return orders to read those parts of unchanged files that touch stale partitions."""
        spans: dict[str, set[tuple[int, int]]] = {}
        for tasks in stale.values():
            for task in tasks:
                for sha, _, _ in task.runs:
                    # What one element of a job array has finished must not change what the others call the files' records.
                    if sha not in records and (self.part is not None or finished(self.storage, task.record) is None):
                        spans.setdefault(sha, set()).add((task.slot.first, task.slot.end))
        return [self._order(self._file(sha), union(found)) for sha, found in sorted(spans.items())]

    def _with_runs(self, task: ReduceTask, records: dict[str, Any]) -> ReduceTask:
        found: list[tuple[str, str, str]] = []
        for sha, name, _ in task.runs:
            names = records[sha]["tables"][task.table]["runs"] if sha in records else ()
            found.extend((sha, name, f"{self.folder}/{run}") for run in names)
        return ReduceTask(**{**task.__dict__, "runs": tuple(found)})

    def _reduce(self, tasks: list[ReduceTask]) -> Iterator[tuple[ReduceTask, Partition]]:
        for table in self.wanted:
            own = [task for task in tasks if task.table == table]
            by_first = {task.slot.first: task for task in own}
            for part in self.run(f"write {table}", reduce_partition, own) if own else ():
                yield by_first[part.first], part

    def _manifest(
        self, table: str, build: str, parts: tuple[Partition, ...], inputs: tuple[Input, ...], attempts: int
    ) -> Manifest:
        schema = self.survey.schema(table)
        absent = set(schema.names).intersection(*(one.absent for one in inputs))
        return Manifest(
            table=table,
            build=build,
            kind=self.survey.kind,
            title=self.survey.title + (" (extension)" if table != self.survey.name else ""),
            release=self.survey.release,
            citation=self.survey.citation,
            licence=self.survey.licence,
            grid=self.grid.id,
            declaration=self.survey.fingerprint,
            steps=STEPS,
            columns=describe_columns(schema),
            schema_hash=schema_hash(schema),
            partitions=parts,
            inputs=inputs,
            made_of=self._made_of(),
            absent=tuple(name for name in schema.names if name in absent),
            versions=byte_versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
            seconds=round(time.monotonic() - self.started, 3),
            attempts=attempts,
        )

    def _made_of(self) -> dict[str, str]:
        reference = self.standing.reference
        files = {f"files of {name}": digest(one.contents)[:16] for name, one in self.standing.beside.items()}
        return files | ({reference.table: reference.build} if reference else {})


def scratch_left(storage: Storage) -> list[str]:
    """Return the tables and surveys with work that an unfinished run left."""
    return [name for name in storage.names("scratch") if storage.names(f"scratch/{name}")]
