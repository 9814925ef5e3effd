"""Give rows without source_id theirs, from what their survey stands on: Gaia positions, or another survey's raw rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from lake.crossmatch import crossmatch
from lake.declaration import Keys, Position
from lake.errors import LakeError
from lake.keys import Beside, looked_up, overridden
from lake.manifest import digest, read_manifest
from lake.partition import Grid
from lake.storage import Storage
from lake.survey import Survey, survey
from lake.table import Table

# To be raised by hand when the same rows are matched otherwise.
_STEP = 1


@dataclass(frozen=True)
class Reference:
    """One build of a table, by name only, so that every task can carry it."""

    storage: Storage
    grid: Grid
    table: str
    build: str

    def open(self) -> Table:
        """Open the table; a worker reads its manifest once."""
        return _opened(self)


@lru_cache(maxsize=4)
def _opened(reference: Reference) -> Table:
    return Table(reference.storage, read_manifest(reference.storage, reference.table, reference.build), reference.grid)


@dataclass(frozen=True)
class Standing:
    """What a survey's rows are matched with; small enough for every task to carry.

    Attributes
    ----------
    beside
        Raw files of other surveys, by survey.
    reference
        Table of Gaia sources, for a match by position or values computed at its sources.
    """

    beside: Mapping[str, Beside] = field(default_factory=dict)
    reference: Reference | None = None

    @cached_property
    def id(self) -> str:
        """Fingerprint: contents of the files and declarations beside, build of the table; empty if there is neither."""
        files = [[name, survey(name).fingerprint, one.contents] for name, one in sorted(self.beside.items())]
        table = [self.reference.table, self.reference.build] if self.reference else []
        return digest([_STEP, files, table])[:16] if files or table else ""

    def matched(self, table: pa.Table, declared: Survey, path: object) -> tuple[pa.Table, dict[str, int]]:
        """Return the rows that have a source_id or are given one, in the order of the survey's columns, and rows left out.

        Raises
        ------
        LakeError
            If what the survey is matched with is not at hand.
        """
        dropped: dict[str, int] = {}
        if declared.override and declared.override.survey in self.beside:
            table = overridden(table, declared.override, self._files(declared.override.survey), declared.name)
        elif declared.override:
            table = table.append_column(declared.override.origin, pa.repeat(declared.name, table.num_rows))
        if isinstance(declared.match, Keys):
            table, dropped = looked_up(table, declared.match, self._files(declared.match.survey), path)
        elif isinstance(declared.match, Position):
            table, dropped = self._by_position(table, declared.match)
        return table, dropped

    def _files(self, name: str) -> Beside:
        if name not in self.beside:
            raise LakeError(f"the raw files of {name} are needed beside; `gaialake fetch {name}`, or name them with --raw")
        return self.beside[name]

    def _by_position(self, table: pa.Table, match: Position) -> tuple[pa.Table, dict[str, int]]:
        if self.reference is None:
            raise LakeError(f"rows are matched by position to {match.table}, which is not in this lake; ingest it first")
        ra, dec = (table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in (match.ra, match.dec))
        nowhere = ~(np.isfinite(ra) & np.isfinite(dec))
        # Sentinels that no one declared: astropy would wrap them around the sky, on to other stars.
        impossible = ~nowhere & ((np.abs(dec) > 90.0) | (np.abs(ra) > 360.0))
        found = crossmatch(np.where(impossible, np.nan, ra), dec, self.reference.open(), epoch=match.epoch, radius=match.radius)
        hit = found.source_id > 0
        dropped = {
            "without a position": int(nowhere.sum()),
            f"{match.ra} or {match.dec} is no angle on the sky": int(impossible.sum()),
            f"no Gaia source within {match.radius:g} arcsec": int((~hit & ~nowhere & ~impossible).sum()),
        }
        kept = table.filter(pa.array(hit))
        kept = kept.add_column(0, pa.field("source_id", pa.int64(), nullable=False), pa.array(found.source_id[hit]))
        kept = kept.append_column("match_separation", pa.array(found.separation[hit].astype(np.float32)))
        kept = kept.append_column("match_candidates", pa.array(np.minimum(found.candidates[hit], 32767).astype(np.int16)))
        return kept, {reason: rows for reason, rows in dropped.items() if rows}


ON_FILES = Standing()
