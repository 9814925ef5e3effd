"""Open a lake, or lay out a new one: its release, its grid, and the tables that its catalogue names."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from lake.errors import LakeError, listing
from lake.finetune import LABELLED, finetune
from lake.join import Columns, Join, join
from lake.manifest import LAYOUT, manifest_at
from lake.partition import LEAF_ROWS, N_PIXELS, Grid, release_grid, split, uniform
from lake.pretrain import SOURCES, pretrain
from lake.storage import CATALOG, LAKE, Storage, checked_key
from lake.table import Table

if TYPE_CHECKING:
    import dask.dataframe as dd

# The safe loader in C where PyYAML has it: the same YAML, ten times faster.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Lake:
    """A lake and the builds that its catalogue named when it was opened; later publications do not touch it.

    Attributes
    ----------
    published
        Table -> key of the manifest of its published build.
    """

    storage: Storage
    release: str
    grid: Grid
    published: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Published tables."""
        return sorted(self.published)

    def table(self, name: str) -> Table:
        """Open a published table; only its manifest is read.

        Raises
        ------
        LakeError
            If no such table is published; the message lists those that are.
        """
        if name not in self.published:
            raise LakeError(
                f"{self.storage.root}: no published table {name!r}; published are {listing(self.names, 40)}. "
                "Tables appear with `gaialake ingest`, `check` and `publish`"
            )
        return self._tables[name]

    @cached_property
    def _tables(self) -> Mapping[str, Table]:
        return _Opened(self)

    def join(
        self,
        tables: Sequence[str],
        *,
        columns: Mapping[str, Columns] | None = None,
        how: str = "left",
    ) -> "dd.DataFrame":
        """Join published tables on source_id as a lazy Dask frame with known divisions; nothing is shuffled.

        Parameters
        ----------
        tables
            Names; the first is the anchor.
        columns
            Table -> columns to take, or column -> the name that it is to have (``{"galah_dr4": {"teff": "teff_galah"}}``); a
            table not named gives all of its columns.
        how
            ``left``: every row of the anchor, nulls where another table lacks the source. ``inner``: sources in all.
            ``outer``: sources in any.

        Raises
        ------
        LakeError
            If a table or column does not exist, or two tables give a column of the same name.
        """
        return self.prepare(tables, columns=columns, how=how).to_dask()

    def prepare(self, tables: Sequence[str], *, columns: Mapping[str, Columns] | None = None, how: str = "left") -> Join:
        """Return the same join unevaluated, for readers that want Arrow tables leaf by leaf."""
        if isinstance(tables, str):
            raise LakeError(f"tables={tables!r}: give a list of names, such as [{tables!r}]")
        return join([self.table(name) for name in tables], columns=columns, how=how)

    def pretrain(self, *, wide: bool = False, sources: Collection[str] = tuple(SOURCES)) -> Join:
        """Return the pretraining table as a lazy join (see `lake.pretrain`); ``.to_dask()`` gives the frame.

        Parameters
        ----------
        sources
            Tables to read it from; the columns of others are null, and what is made of it does not depend on them.
        """
        return pretrain({name: self.table(name) for name in SOURCES if name in self.published and name in sources}, wide=wide)

    def finetune(self, *, wide: bool = False) -> Join:
        """Return the fine-tune table as a lazy join: stars with XP spectra and combined labels (see `lake.finetune`)."""
        names = [name for name in (LABELLED, *SOURCES) if name in self.published]
        return finetune({name: self.table(name) for name in names}, self.storage, wide=wide)


class _Opened(dict[str, Table]):
    """Tables opened so far; a manifest is read when its table is first asked for."""

    def __init__(self, lake: Lake) -> None:
        super().__init__()
        self._lake = lake

    def __missing__(self, name: str) -> Table:
        lake = self._lake
        self[name] = Table(lake.storage, manifest_at(lake.storage, lake.published[name]), lake.grid)
        return self[name]


def open_lake(where: str | os.PathLike[str]) -> Lake:
    """Open a lake at a path or URL.

    Raises
    ------
    LakeError
        If there is no lake, or its layout is one that this version does not read.
    """
    storage = Storage.at(where)
    held = storage.find_json(LAKE)
    if held is None:
        raise LakeError(
            f"{storage.root}: no lake here (no {LAKE}); make one with `gaialake init {storage.root}` or `gaialake demo`"
        )
    layout = held.get("layout") if isinstance(held, dict) else None
    if layout != LAYOUT:
        raise LakeError(
            f"{storage.root}/{LAKE}: layout {layout!r}, this gaialake reads layout {LAYOUT}; upgrade gaialake or restore the file"
        )
    try:
        release = str(held["release"])
        grid = Grid(name=held["grid"]["name"], edges=tuple(held["grid"]["edges"]), leaf_rows=held["grid"]["leaf_rows"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise LakeError(f"{storage.root}/{LAKE}: malformed description of a lake ({error!r}); restore it") from error
    return Lake(storage, release, grid, published(storage))


def read_catalog(storage: Storage) -> dict[str, Any]:
    """Return the parsed catalogue; empty before anything was published.

    Raises
    ------
    LakeError
        If it is not sound YAML of ours.
    """
    try:
        return parse_catalog(storage, CATALOG, storage.read_bytes(CATALOG))
    except FileNotFoundError:
        return {}


def parse_catalog(storage: Storage, key: str, data: bytes) -> dict[str, Any]:
    """Return the content of a catalogue that was read from a key; nothing in it is executed.

    Raises
    ------
    LakeError
        If it is not sound YAML of ours.
    """
    try:
        held = yaml.load(data, Loader=_LOADER)
        if not isinstance(held["sources"], dict):
            raise TypeError("its sources are no mapping")
        for name, one in held["sources"].items():
            if not isinstance(one, dict) or not isinstance(one.get("metadata"), dict) or "/" in checked_key(name):
                raise TypeError(f"its entry {name!r} is none of ours")
        return dict(held)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise LakeError(
            f"{storage.root}/{key}: not a catalogue ({error}); restore it, or move it away and run `gaialake nightly`"
        ) from error


def published(storage: Storage) -> dict[str, str]:
    """Return table -> key of the manifest of its published build."""
    sources = read_catalog(storage).get("sources", {})
    return {name: entry["metadata"]["manifest"] for name, entry in sources.items() if "manifest" in entry.get("metadata", {})}


def held_builds(catalog: Mapping[str, Any]) -> dict[str, str]:
    """Return table -> build that a roll-back took back, from a catalogue's content; such builds are not published again."""
    return dict(catalog.get("metadata", {}).get("held", {}))


def init_lake(where: str | os.PathLike[str], *, release: str = "dr3", grid: Grid | None = None) -> Lake:
    """Lay out a new lake and open it.

    Raises
    ------
    LakeError
        If a lake with another release or grid is there already, or the folder cannot be written.
    """
    storage = Storage.at(where)
    cut = grid or release_grid(release)
    if storage.exists(LAKE):
        there = open_lake(where)
        if (there.release, there.grid.id) != (release, cut.id):
            raise LakeError(
                f"{storage.root}: a lake of {there.release} on grid {there.grid.name} ({there.grid.id}) is there already; "
                f"a lake of {release} on grid {cut.name} ({cut.id}) needs another folder"
            )
        return there
    held = {"name": cut.name, "edges": list(cut.edges), "leaf_rows": cut.leaf_rows, "id": cut.id}
    storage.write_json(LAKE, {"layout": LAYOUT, "release": release, "grid": held})
    return open_lake(where)


def grid_of(text: str | None, counts: str | os.PathLike[str] | None, leaf_rows: int = LEAF_ROWS) -> Grid | None:
    """Return the grid that ``--grid`` or ``--counts`` asks for; None for the release's own.

    Parameters
    ----------
    text
        ``uniform:ORDER``.
    counts
        CSV file with columns pixel8 and rows: gaia_source rows of HEALPix level-8 pixels, pixels without rows left out.

    Raises
    ------
    LakeError
        If the text or the file is not of this form.
    """
    if leaf_rows < 1:
        raise LakeError(f"--leaf-rows {leaf_rows}: a partition holds at least one row")
    if text is not None and counts is not None:
        raise LakeError("--grid and --counts exclude each other; give one of them")
    if text is not None:
        kind, _, order = text.partition(":")
        if kind != "uniform" or not order.isdigit():
            raise LakeError(f"--grid {text}: expected uniform:ORDER with an order from 0 to 8, such as uniform:2")
        return uniform(int(order))
    if counts is None:
        return None
    try:
        held = np.loadtxt(counts, delimiter=",", skiprows=1, dtype=np.int64, ndmin=2)
    except (OSError, ValueError) as error:
        raise LakeError(f"--counts {counts}: expected a CSV file with the header pixel8,rows and integers ({error})") from error
    if held.shape[1] != 2 or (held[:, 0] < 0).any() or (held[:, 0] >= N_PIXELS).any() or (held[:, 1] < 0).any():
        raise LakeError(f"--counts {counts}: expected pixels from 0 to {N_PIXELS - 1} and rows of at least 0 in two columns")
    density = np.zeros(N_PIXELS)
    np.add.at(density, held[:, 0], held[:, 1])
    return split(density, leaf_rows, name="counts")
