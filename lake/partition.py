"""Own the arithmetic between `source_id`, HEALPix pixels and partitions, and the grid on which every table is cut.

A Gaia source_id carries its HEALPix level-12 nested pixel in its top bits, so level k is ``source_id >> (59 - 2k)`` and
sorting by id is sorting by sky position. The pixel of an id is never recomputed from ra and dec: 0.4 % of the stars
have moved out of it since the id was made.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from lake.errors import LakeError

BASE_ORDER = 8
N_PIXELS = 12 * 4**BASE_ORDER
BASE_SHIFT = 59 - 2 * BASE_ORDER
LEAF_ROWS = 1_200_000
_COARSE_SHARE = 20

Ids = NDArray[np.int64]


def pixel(source_id: Ids, order: int) -> Ids:
    """Return the HEALPix nested pixel at `order` (0 to 12) of each source_id.

    >>> int(pixel(np.array([5853498713190525696]), 8)[0])
    665465
    """
    return np.right_shift(np.asarray(source_id, dtype=np.int64), 59 - 2 * order)


def first_id(pixel8: int) -> int:
    """Return the smallest source_id of a level-8 pixel (a Python int, so that no filter ever sees a float)."""
    return int(pixel8) << BASE_SHIFT


_RANGE = re.compile(r"(?<!\d)(\d{6})-(\d{6})(?!\d)")


def pixel_range(name: str) -> tuple[int, int] | None:
    """Return the level-8 pixels, both inclusive, that a file is named by as Gaia's bulk files are; None if it is not.

    >>> pixel_range("GaiaSource_000000-003111.csv.gz"), pixel_range("allStar.fits")
    ((0, 3111), None)
    """
    found = _RANGE.search(name)
    return (int(found[1]), int(found[2])) if found else None


def file_name(first: int, end: int) -> str:
    """Return the file of level-8 pixels `first` to `end` - 1, named as Gaia names its bulk files: inclusive ranges.

    >>> file_name(0, 3112)
    '000000-003111.parquet'
    """
    return f"{first:06d}-{end - 1:06d}.parquet"


@dataclass(frozen=True)
class Grid:
    """The cut of the sky that all tables of a lake share: leaves of a HEALPix quadtree of order 8 at most.

    Attributes
    ----------
    name
        Where the grid comes from: ``dr3``, ``uniform:3``, ``counts``.
    edges
        Level-8 pixels at which leaves begin, ascending, ended by 786432: n + 1 numbers for n leaves.
    leaf_rows
        Number of gaia_source rows that a leaf may be expected to hold; coarser files of small tables scale with it.
    """

    name: str
    edges: tuple[int, ...]
    leaf_rows: int = LEAF_ROWS

    def __post_init__(self) -> None:
        """Refuse edges that are not a cut through the quadtree."""
        edges = np.asarray(self.edges)
        if edges[0] != 0 or edges[-1] != N_PIXELS:
            raise LakeError(f"grid {self.name}: edges run from {edges[0]} to {edges[-1]}, not from 0 to {N_PIXELS}")
        width = np.diff(edges)
        node = (width > 0) & np.isin(width, 4 ** np.arange(BASE_ORDER + 1)) & (edges[:-1] % np.maximum(width, 1) == 0)
        if not node.all():
            at = int(np.argmin(node))
            raise LakeError(
                f"grid {self.name}: {edges[at]} to {edges[at + 1]} is not one HEALPix pixel of order 0 to {BASE_ORDER}; "
                "make the grid with `gaialake init`"
            )

    def __len__(self) -> int:
        """Return the number of leaves."""
        return len(self.edges) - 1

    @cached_property
    def array(self) -> Ids:
        """The edges as level-8 pixels."""
        return np.asarray(self.edges, dtype=np.int64)

    @cached_property
    def id_edges(self) -> Ids:
        """The edges as source_ids, n + 1 of them; the last one is above every id."""
        return np.left_shift(self.array, BASE_SHIFT)

    @property
    def divisions(self) -> tuple[int, ...]:
        """The edges as Dask divisions (n + 1 ids)."""
        return tuple(int(edge) for edge in self.id_edges)

    @cached_property
    def id(self) -> str:
        """Fingerprint of the edges: two lakes with the same id can be joined partition by partition."""
        return hashlib.sha256(self.array.astype("<i8").tobytes() + str(self.leaf_rows).encode()).hexdigest()[:16]

    @property
    def coarse_rows(self) -> int:
        """Number of rows up to which the leaves of a small table share one file."""
        return max(1, self.leaf_rows // _COARSE_SHARE)

    def leaf(self, source_id: Ids) -> Ids:
        """Return the index of the leaf that holds each source_id."""
        return np.searchsorted(self.id_edges, np.asarray(source_id, dtype=np.int64), side="right") - 1

    def orders(self) -> Ids:
        """Return the HEALPix order of every leaf."""
        return BASE_ORDER - np.round(np.log2(np.diff(self.array)) / 2).astype(np.int64)


def count_leaves(grid: Grid, sorted_ids: Ids) -> Ids:
    """Return the number of ids in each leaf, from ids in ascending order."""
    return np.diff(np.searchsorted(sorted_ids, grid.id_edges))


def file_edges(grid: Grid, rows: Ids) -> tuple[int, ...]:
    """Return the edges of a table's files: a subset of the grid's edges, coarser where the table is thin.

    Leaves are joined up the quadtree, the whole sky at the top, as long as the joined node holds at most
    ``grid.coarse_rows`` rows; so neither thousands of tiny files nor a huge one appear.

    Parameters
    ----------
    rows
        Rows of the table in each leaf of the grid.
    """
    total = np.concatenate([[0], np.cumsum(rows)])
    if total[-1] <= grid.coarse_rows:
        return (0, N_PIXELS)
    edges = grid.array
    kept = np.ones(len(edges), dtype=bool)
    for order in range(BASE_ORDER):
        low = np.arange(0, N_PIXELS, 4 ** (BASE_ORDER - order))
        first = np.searchsorted(edges, low)
        last = np.searchsorted(edges, low + 4 ** (BASE_ORDER - order))
        thin = (edges[first] == low) & (last - first > 1) & (total[last] - total[first] <= grid.coarse_rows)
        for begin, end in zip(first[thin], last[thin], strict=True):
            kept[begin + 1 : end] = False
    return tuple(int(edge) for edge in edges[kept])


def split(density: NDArray[np.float64], leaf_rows: int, *, name: str) -> Grid:
    """Return the grid whose leaves hold at most `leaf_rows` of the expected rows (or are single level-8 pixels).

    Parameters
    ----------
    density
        Expected gaia_source rows of each of the 786,432 level-8 pixels.
    """
    total = np.concatenate([[0.0], np.cumsum(density)])
    edges: list[int] = []
    waiting = [(base << (2 * BASE_ORDER), 4**BASE_ORDER) for base in reversed(range(12))]
    while waiting:
        low, width = waiting.pop()
        if width == 1 or total[low + width] - total[low] <= leaf_rows:
            edges.append(low)
        else:
            quarter = width // 4
            waiting.extend((low + k * quarter, quarter) for k in reversed(range(4)))
    return Grid(name=name, edges=(*edges, N_PIXELS), leaf_rows=leaf_rows)


def uniform(order: int) -> Grid:
    """Return the grid of all pixels of one order, 0 to 8."""
    if not 0 <= order <= BASE_ORDER:
        raise LakeError(f"--grid uniform:{order}: the order must lie between 0 and {BASE_ORDER}")
    return Grid(name=f"uniform:{order}", edges=tuple(range(0, N_PIXELS + 1, 4 ** (BASE_ORDER - order))))


def release_grid(release: str) -> Grid:
    """Return the grid of a Gaia release, a constant that ships with the package.

    The DR3 grid follows from the 3,386 published file ranges, each about 535,000 gaia_source rows: every node that is
    expected to hold more than 1.2 million of them was split, which gives 3,324 leaves of order 2 to 6.
    """
    found = resources.files("lake.grids") / f"{release}.json"
    if not found.is_file():
        raise LakeError(
            f"no grid for release {release!r} ships with gaialake (dr3 does); give one with --grid uniform:ORDER or --counts FILE"
        )
    held = json.loads(found.read_text())
    return Grid(name=release, edges=tuple(held["edges"]), leaf_rows=held["leaf_rows"])
