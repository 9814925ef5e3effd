"""Open one published table: partitions on the lake's grid, a lazy frame, and look-ups by source_id."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lake.errors import LakeError, listing
from lake.manifest import Manifest, same_grid
from lake.parquet import read_slice
from lake.partition import Grid, Ids, first_id
from lake.storage import Storage

if TYPE_CHECKING:
    import dask.dataframe as dd

_TYPES = {str(kind): kind for kind in (pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string())}
_FIXED = re.compile(r"fixed_size_list<\w+: (\w+)>\[(\d+)\]")


def type_named(text: str) -> pa.DataType:
    """Return the Arrow type that a manifest spells.

    >>> type_named("fixed_size_list<element: double>[55]").list_size
    55
    """
    fixed = _FIXED.fullmatch(text)
    if fixed:
        return pa.list_(pa.field("element", type_named(fixed.group(1))), int(fixed.group(2)))
    if text not in _TYPES:
        raise LakeError(f"a manifest names the type {text!r}, which this gaialake does not know; it knows {listing(_TYPES)}")
    return _TYPES[text]


def schema_named(fields: Sequence[tuple[str, str]]) -> pa.Schema:
    """Return the schema of columns given as (name, type as a manifest spells it)."""
    return pa.schema([pa.field(name, type_named(kind), nullable=name != "source_id") for name, kind in fields])


@dataclass(frozen=True)
class Piece:
    """The part of one table that lies in one leaf of the grid: a file and a range of ids. Small enough for a task."""

    key: str | None
    low: int
    high: int


@dataclass(frozen=True)
class Spec:
    """What a task must know of a table beside its piece: where the files lie, and which columns of which types to read.

    Attributes
    ----------
    fields
        Name and type of each column of what is read, source_id first.
    stored
        Their names in the files, if they are others.
    """

    storage: Storage
    fields: tuple[tuple[str, str], ...]
    stored: tuple[str, ...] = ()

    def schema(self) -> pa.Schema:
        """Return the schema of what `read` returns."""
        return schema_named(self.fields)

    def only(self, names: Sequence[str]) -> "Spec":
        """Return the same with fewer columns; source_id stays."""
        kept = [k for k, (name, _) in enumerate(self.fields) if name == "source_id" or name in names]
        return Spec(self.storage, tuple(self.fields[k] for k in kept), tuple(self.stored[k] for k in kept if self.stored))

    def read(self, piece: Piece) -> pa.Table:
        """Read one piece; one without rows gives an empty table of the same types."""
        schema = self.schema()
        if piece.key is None:
            return schema.empty_table()
        stored = list(self.stored or schema.names)
        found = list(read_slice(self.storage, piece.key, piece.low, piece.high, stored))
        if not found:
            return schema.empty_table()
        return pa.concat_tables(found).select(stored).rename_columns(schema.names).combine_chunks().cast(schema)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Turn rows into a frame: index source_id int64, columns Arrow-typed, lists included."""
    index = pd.Index(table["source_id"].to_numpy(), dtype="int64", name="source_id")
    # One chunk and one pass per column: faster than pandas' own conversion of wide tables.
    arrays = {name: pd.arrays.ArrowExtensionArray(table[name]) for name in table.column_names if name != "source_id"}
    return pd.DataFrame(arrays, index=index)


def _leaf_frame(piece: Piece, *, spec: Spec, columns: list[str] | None = None) -> pd.DataFrame:
    """Read one piece as a frame; Dask passes the projected `columns`."""
    if columns is None:
        return to_frame(spec.read(piece))
    return to_frame(spec.only(columns).read(piece))[columns]


@dataclass(frozen=True)
class Table:
    """One build of a table, opened; nothing is read until asked for."""

    storage: Storage
    manifest: Manifest
    grid: Grid

    def __post_init__(self) -> None:
        """Refuse a table of another grid."""
        same_grid(self.manifest, self.grid)

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.manifest.table

    @property
    def rows(self) -> int:
        """Number of rows, from the manifest."""
        return self.manifest.rows

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Stored columns in order, without source_id."""
        return tuple(one["name"] for one in self.manifest.columns if one["name"] != "source_id")

    def spec(self, columns: Sequence[str] | Mapping[str, str] | None = None) -> Spec:
        """Return what a task needs to read these columns (all of them if None).

        Parameters
        ----------
        columns
            Names; or name -> name that the column is to have in what is read.

        Raises
        ------
        LakeError
            If the table lacks one of them; the message lists those it has. If two are to have one name.
        """
        if isinstance(columns, str):
            raise LakeError(f"columns={columns!r}: give a list of names, such as [{columns!r}]")
        names = self.columns if columns is None else list(dict.fromkeys(columns))
        unknown = [name for name in names if name not in self.columns and name != "source_id"]
        if unknown:
            raise LakeError(f"table {self.name} has no column {listing(unknown)}; it has {listing(self.columns, 40)}")
        types = {one["name"]: one["type"] for one in self.manifest.columns}
        ordered = ["source_id", *(name for name in names if name != "source_id")]
        if not isinstance(columns, Mapping):
            return Spec(self.storage, tuple((name, types[name]) for name in ordered))
        if columns.get("source_id", "source_id") != "source_id":
            raise LakeError(f"table {self.name}: source_id keeps its name, but columns= calls it {columns['source_id']!r}")
        called = {**columns, "source_id": "source_id"}
        if len({called[name] for name in ordered}) < len(ordered):
            raise LakeError(
                f"table {self.name}: columns= gives two columns one name, of {listing([called[one] for one in ordered])}"
            )
        return Spec(self.storage, tuple((called[name], types[name]) for name in ordered), tuple(ordered))

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """One piece per leaf of the grid, whatever the table's own files."""
        edges = self.manifest.edges
        owner = np.searchsorted(edges, self.grid.array[:-1], side="right") - 1
        ids = self.grid.divisions
        rows = [count for part in self.manifest.partitions for count in part.leaf_rows]
        keys = [part.key for part in self.manifest.partitions]
        return tuple(Piece(keys[own] if rows[i] else None, ids[i], ids[i + 1]) for i, own in enumerate(owner))

    def read_leaf(self, leaf: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of one leaf of the grid, source_id first."""
        return self.spec(columns).read(self.pieces[leaf])

    def to_dask(self, columns: Sequence[str] | None = None, *, on: str = "grid") -> "dd.DataFrame":
        """Return the table as a lazy frame: index source_id, known divisions, Arrow-typed columns.

        Parameters
        ----------
        on
            ``grid``: one partition per leaf of the lake's grid, so that any two tables join without a shuffle.
            ``files``: one partition per file of the table, fewer for a small table that someone wants alone.
        """
        import dask.dataframe as dd

        if on not in ("grid", "files"):
            raise LakeError(f"on={on!r}: choose 'grid' or 'files'")
        spec = self.spec(columns)
        if on == "grid":
            pieces, divisions = self.pieces, self.grid.divisions
        else:
            divisions = tuple(first_id(int(edge)) for edge in self.manifest.edges)
            pieces = tuple(
                Piece(part.key, low, high)
                for part, low, high in zip(self.manifest.partitions, divisions[:-1], divisions[1:], strict=True)
            )
        meta = to_frame(spec.schema().empty_table())
        return dd.from_map(
            _leaf_frame, pieces, spec=spec, meta=meta, divisions=divisions, label=f"lake-{self.name}", enforce_metadata=False
        )

    def select(
        self, source_ids: Sequence[int] | Ids, columns: Sequence[str] | None = None, *, missing: str = "raise"
    ) -> pd.DataFrame:
        """Read some sources, in the order given, touching only the row groups that may hold them.

        Parameters
        ----------
        missing
            ``raise``, or ``null`` to give a row of nulls for an id that the table lacks.

        Raises
        ------
        LakeError
            If an id is not in the table and `missing` is ``raise``; the message counts them and shows the first.
        """
        if missing not in ("raise", "null"):
            raise LakeError(f"missing={missing!r}: choose 'raise' or 'null'")
        wanted = _int_ids(source_ids)
        unique = np.unique(wanted)
        spec = self.spec(columns)
        found = [self._some(spec, part.key, ids) for part, ids in self._by_file(unique)]
        table = pa.concat_tables(found) if found else spec.schema().empty_table()
        ids: Ids = table["source_id"].to_numpy()
        at = np.searchsorted(ids, wanted)
        there = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == wanted) if len(ids) else np.zeros(len(wanted), bool)
        if not there.all() and missing == "raise":
            lost = wanted[~there]
            raise LakeError(
                f"table {self.name} has no row for {len(lost):,} of {len(wanted):,} ids, the first being {lost[0]}; "
                "pass missing='null' to get nulls for them, or check that the ids are of the same Gaia release"
            )
        taken = table.combine_chunks().take(pa.array(at, mask=~there))
        return to_frame(taken.set_column(0, "source_id", pa.array(wanted)))

    def _by_file(self, ids: Ids) -> list[tuple[Any, Ids]]:
        """Split ascending ids by the files that would hold them; files without rows are left out."""
        edges = [first_id(int(edge)) for edge in self.manifest.edges]
        cuts = np.searchsorted(ids, edges)
        parts = zip(self.manifest.partitions, cuts[:-1], cuts[1:], strict=True)
        return [(part, ids[a:b]) for part, a, b in parts if b > a and part.key is not None]

    @staticmethod
    def _some(spec: Spec, key: str, ids: Ids) -> pa.Table:
        from lake.parquet import read_ids

        return read_ids(spec.storage, key, ids, spec.schema().names).cast(spec.schema())


def _int_ids(source_ids: Sequence[int] | Ids) -> Ids:
    """Return ids as int64, refusing floats: they would name other stars."""
    ids = np.asarray(source_ids)
    if ids.size == 0:
        return np.empty(0, dtype=np.int64)
    if ids.dtype.kind not in "iuf":
        raise LakeError(f"source_ids must be integers, found {ids.dtype}, such as {ids.flat[0]!r}; turn them into int64 first")
    if ids.dtype.kind == "f":
        raise LakeError(
            f"source_ids must be integers, found {ids.dtype}, such as {ids.flat[0]!r}; ids above 2**53 lose digits as floats"
        )
    return ids.astype(np.int64).ravel()
