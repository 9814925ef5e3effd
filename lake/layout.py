"""Lay out the partitions of a build: which files of the sky it has, which raw contents each is made of, and its fingerprint."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lake.manifest import Input, digest
from lake.partition import Grid, file_edges
from lake.survey import Survey

# One integer per step of a build, raised by hand when a step's output changes.
STEPS = {"read": 1, "conform": 1, "merge": 1}


@dataclass(frozen=True)
class Slot:
    """One partition that a build should have, whether it exists or not.

    Attributes
    ----------
    leaves
        Edges of the grid's leaves inside it, as level-8 pixels: first, ..., end.
    touching
        sha256 of the raw files that have rows in it, ascending.
    content
        Fingerprint of all that decides its rows (see `lake.manifest.Partition`).
    rows
        Rows that reach it, before repeated sources are merged.
    """

    leaves: tuple[int, ...]
    touching: tuple[str, ...]
    content: str
    rows: int

    @property
    def first(self) -> int:
        """First level-8 pixel."""
        return self.leaves[0]

    @property
    def end(self) -> int:
        """Level-8 pixel behind the last one."""
        return self.leaves[-1]


def layout(survey: Survey, table: str, grid: Grid, inputs: Sequence[Input], against: str = "") -> list[Slot]:
    """Return the partitions of a table made of these inputs, in the order of the sky.

    Parameters
    ----------
    inputs
        What is known of every raw file: the leaves that its rows touch.
    against
        Fingerprint of what the rows are matched with (see `lake.standing.Standing`).
    """
    rows = np.zeros(len(grid), dtype=np.int64)
    for one in inputs:
        rows[np.asarray(one.leaves, dtype=np.int64)] += np.asarray(one.counts, dtype=np.int64)
    edges = file_edges(grid, rows)
    cuts = np.searchsorted(grid.array, edges)
    total = np.concatenate([[0], np.cumsum(rows)])
    touching: list[list[str]] = [[] for _ in edges[1:]]
    for one in sorted(inputs, key=lambda one: one.sha256):
        for i in np.unique(np.searchsorted(cuts, np.asarray(one.leaves, dtype=np.int64), side="right") - 1):
            touching[i].append(one.sha256)
    matched = [against] if against else []
    common = [survey.fingerprint, STEPS, grid.id, table]
    return [
        Slot(
            leaves=grid.edges[cuts[i] : cuts[i + 1] + 1],
            touching=tuple(touching[i]),
            content=digest([*common, first, end, touching[i], *matched]),
            rows=int(total[cuts[i + 1]] - total[cuts[i]]),
        )
        for i, (first, end) in enumerate(zip(edges[:-1], edges[1:], strict=True))
    ]
