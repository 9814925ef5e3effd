"""Describe one immutable build of a table: its partitions, inputs, schema, and the account of its rows."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from lake.errors import LakeError
from lake.partition import N_PIXELS, Grid, Ids
from lake.storage import Storage, checked_key, manifest_key

LAYOUT = 1
VOLATILE = ("created", "host", "seconds", "attempts")


def digest(content: object) -> str:
    """Return the hash of JSON-like content, equal for equal content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def add_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of rows dropped by reason, reasons sorted, zeros left out."""
    total: dict[str, int] = {}
    for one in counts:
        for reason, rows in one.items():
            total[reason] = total.get(reason, 0) + rows
    return {reason: total[reason] for reason in sorted(total) if total[reason]}


@dataclass(frozen=True)
class Partition:
    """One file of a build.

    Attributes
    ----------
    first, end
        Level-8 pixels that it covers: first inclusive, end exclusive.
    key
        Where the file lies, relative to the root, maybe in an older build's folder; None for no rows.
    rows_in, rows, dropped
        Rows that reached the partition, rows kept, rows dropped by reason.
    content
        Hash of all that decides the partition's rows; equal content means that an older file can be named again.
    leaf_rows
        Rows in each leaf of the grid that the file covers, so that empty leaves are never opened.
    masked
        Values of a derived table's inputs that it made no use of, by reason.
    """

    first: int
    end: int
    key: str | None
    rows: int
    rows_in: int
    dropped: Mapping[str, int]
    bytes: int
    sha256: str | None
    content: str
    leaf_rows: tuple[int, ...] = ()
    masked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """One raw file, or one partition of another table, that a build was made from.

    Attributes
    ----------
    rows, dropped
        Rows read, and rows dropped by reason before partitions were formed.
    leaves, counts
        Leaves of the grid that its remaining rows touch, and how many rows touch each.
    masked
        Values that became null by the survey's masks, by ``column: reason``.
    against
        Fingerprint of what its rows were matched with; empty for rows that know their source_id.
    """

    name: str
    bytes: int
    sha256: str
    rows: int
    dropped: Mapping[str, int]
    leaves: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    masked: Mapping[str, int] = field(default_factory=dict)
    against: str = ""


@dataclass(frozen=True)
class Manifest:
    """One build of one table; see the module's first line. `checks` is None until the audit has passed it."""

    table: str
    build: str
    kind: str
    title: str
    release: str
    citation: str
    licence: str
    grid: str
    declaration: str
    steps: Mapping[str, int]
    columns: tuple[Mapping[str, str], ...]
    schema_hash: str
    partitions: tuple[Partition, ...]
    inputs: tuple[Input, ...]
    made_of: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Any] | None = None
    created: str = ""
    host: str = ""
    seconds: float = 0.0
    attempts: int = 1
    layout: int = LAYOUT

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(part.rows for part in self.partitions)

    @property
    def bytes(self) -> int:
        """Size of its files, those shared with older builds included."""
        return sum(part.bytes for part in self.partitions)

    @cached_property
    def account(self) -> dict[str, Any]:
        """Rows in, rows out, rows dropped by reason; in = out + dropped in a sound build."""
        dropped = add_up([*(one.dropped for one in self.inputs), *(part.dropped for part in self.partitions)])
        return {"in": sum(one.rows for one in self.inputs), "out": self.rows, "dropped": dropped}

    @cached_property
    def masked(self) -> dict[str, int]:
        """Values that became null by the survey's masks, or that a derived table made no use of, by ``column: reason``."""
        return add_up([*(one.masked for one in self.inputs), *(one.masked for one in self.partitions)])

    @cached_property
    def edges(self) -> Ids:
        """Level-8 pixels at which its files begin, ended by that of the sky's end."""
        return np.array([part.first for part in self.partitions] + [self.partitions[-1].end], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as it is stored, with its account."""
        return asdict(self) | {"account": self.account}

    def stable_json(self) -> dict[str, Any]:
        """Return what must be equal in two builds that are called byte-equal."""
        return {name: value for name, value in self.to_json().items() if name not in VOLATILE}


def describe_columns(schema: pa.Schema) -> tuple[Mapping[str, str], ...]:
    """Return name, type, unit, description and meaning of null of every field."""
    described = []
    for one in schema:
        said = {key.decode(): value.decode() for key, value in (one.metadata or {}).items()}
        described.append({"name": one.name, "type": str(one.type)} | said)
    return tuple(described)


def schema_hash(schema: pa.Schema) -> str:
    """Return the hash of names, types and units: what a reader of the table relies on."""
    return digest([[one["name"], one["type"], one.get("unit", "")] for one in describe_columns(schema)])[:16]


def byte_versions() -> dict[str, str]:
    """Return the library versions that decide the bytes of files."""
    return {name: importlib.metadata.version(name) for name in ("pyarrow", "numpy")}


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Make a finished build visible."""
    storage.write_json(manifest_key(manifest.table, manifest.build), manifest.to_json())


def read_manifest(storage: Storage, table: str, build: str) -> Manifest:
    """Return the manifest of a build (see `manifest_at`)."""
    return manifest_at(storage, manifest_key(table, build))


def manifest_at(storage: Storage, key: str) -> Manifest:
    """Return the manifest at a key.

    Raises
    ------
    LakeError
        If it is missing, of another layout, malformed, or names files outside the lake.
    """
    stamp = storage.stamp(checked_key(key))
    if stamp is None:
        raise LakeError(
            f"{storage.root}/{key}: the manifest of this build is not there; restore it, or build the table again "
            f"(`gaialake --lake {storage.root} nightly`)"
        )
    return _parsed(storage, key, stamp)


@lru_cache(maxsize=64)
def _parsed(storage: Storage, key: str, _stamp: str) -> Manifest:
    """Parse a manifest, which takes a tenth of a second for a large table; one that changed has another stamp."""
    held = storage.read_json(key)
    if not isinstance(held, dict) or held.get("layout") != LAYOUT:
        found = held.get("layout") if isinstance(held, dict) else type(held).__name__
        raise LakeError(
            f"{storage.root}/{key}: manifest layout {found!r}, this gaialake reads layout {LAYOUT}; rebuild the table"
        )
    held.pop("account", None)
    try:
        partitions = tuple(Partition(**_tuples(one)) for one in held.pop("partitions"))
        inputs = tuple(Input(**_tuples(one)) for one in held.pop("inputs"))
        plain = _tuples(held)
        manifest = Manifest(partitions=partitions, inputs=inputs, **plain)
        if [0, *(part.end for part in partitions)] != [*(part.first for part in partitions), N_PIXELS]:
            raise ValueError("its partitions do not cover the sky in order")
        for part in partitions:
            if part.key is not None:
                checked_key(part.key)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LakeError(
            f"{storage.root}/{key}: malformed manifest ({error}); restore it, or delete it and rebuild the table"
        ) from error
    return manifest


def is_there(storage: Storage, part: Partition) -> bool:
    """Tell whether a partition's file still is in its place and of its size (or never was, for no rows)."""
    return part.key is None or storage.size(part.key) == part.bytes


def files_there(storage: Storage, partitions: Iterable[Partition]) -> set[str]:
    """Return the keys of those partitions' files that are in their place and of their size.

    An object store is asked for one listing per table, a disk for every file.
    """
    wanted = {part.key: part.bytes for part in partitions if part.key is not None}
    if storage.is_local:
        return {key for key, size in wanted.items() if storage.size(key) == size}
    folders = {"/".join(key.split("/")[:2]) for key in wanted}
    held = {one.key: one.bytes for folder in sorted(folders) for one in storage.files(folder)}
    return {key for key, size in wanted.items() if held.get(key) == size}


def files_gone(storage: Storage, partitions: Sequence[Partition]) -> list[str]:
    """Return the keys of those partitions' files that are not in their place, or not of their size, in order."""
    there = files_there(storage, partitions)
    return [part.key for part in partitions if part.key is not None and part.key not in there]


def finished(storage: Storage, record: str) -> Partition | None:
    """Return the partition of a done-record (its key), unless there is none or the file has gone since."""
    held = storage.find_json(record)
    part = Partition(**_tuples(held)) if held else None
    return part if part and is_there(storage, part) else None


def clear_remains(storage: Storage, table: str, build: str) -> None:
    """Remove what killed writers left beside the files of a finished build."""
    if not storage.is_local:
        return
    for folder in (storage.path(f"tables/{table}"), storage.path(f"tables/{table}/{build}")):
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)


def _tuples(held: Mapping[str, Any]) -> dict[str, Any]:
    """Turn JSON lists back into tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}


def same_grid(manifest: Manifest, grid: Grid) -> None:
    """Refuse a table that was built on another grid.

    Raises
    ------
    LakeError
        If the grid ids differ.
    """
    if manifest.grid != grid.id:
        raise LakeError(
            f"table {manifest.table}, build {manifest.build}: built on grid {manifest.grid}, but this lake has grid {grid.id} "
            f"({grid.name}); run `gaialake ingest {manifest.table}` to rebuild it"
        )
