"""Match objects to Gaia sources by position, with the sources moved to the epoch at which the objects were seen.

Every object looks for sources in its own HEALPix cell and the eight cells around it, read from whichever partitions hold
them, so that nothing is lost at the border of a cell, a partition or a file.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from lake.errors import LakeError, listing
from lake.parquet import read_pixels
from lake.partition import BASE_ORDER, BASE_SHIFT, Ids
from lake.table import Table

Floats = NDArray[np.float64]

# A cell of level 8 is 13.7 arcmin wide. Sources have left the pixel of their id by up to 2 arcmin, and the fastest star
# moves 10.4 arcsec a year: within a century both stay inside the ring of neighbours.
_CELLS = HEALPix(nside=1 << BASE_ORDER, order="nested")
_SOURCE_COLUMNS = ("ra", "dec", "pmra", "pmdec")
_MAS = np.radians(1.0 / 3_600_000.0)
_ARCSEC = np.radians(1.0 / 3600.0)
EPOCHS = {"dr3": 2016.0, "edr3": 2016.0, "dr4": 2017.5}
_LARGEST_RADIUS = 60.0


@dataclass(frozen=True)
class Matches:
    """What the match found for each object, in their order.

    Attributes
    ----------
    source_id
        Id of the nearest source, 0 where none is within the radius; shape (n_objects,).
    separation
        Separation from it [arcsec] at the objects' epoch, NaN without one.
    candidates
        Number of sources within the radius.
    """

    source_id: Ids
    separation: Floats
    candidates: NDArray[np.int64]


def directions(ra: Floats, dec: Floats) -> Floats:
    """Return unit vectors of positions [deg], shape (n, 3)."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def moved(ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, years: float) -> Floats:
    """Return unit vectors of sources after some years of straight motion over the sky.

    Parameters
    ----------
    ra, dec
        Positions [deg].
    pmra, pmdec
        Proper motions [mas / yr], pmra with cos(dec); NaN (two-parameter solutions) counts as no motion.
    """
    lon, lat = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=1)
    step = years * _MAS * (np.nan_to_num(pmra)[:, None] * east + np.nan_to_num(pmdec)[:, None] * north)
    there = directions(ra, dec) + step
    return np.asarray(there / np.linalg.norm(there, axis=1, keepdims=True))


def nearest(objects: Floats, sources: Floats, radius: float) -> tuple[Ids, Floats, NDArray[np.int64]]:
    """Find for each object the nearest source.

    Parameters
    ----------
    objects, sources
        Unit vectors, shapes (n, 3) and (m, 3).
    radius
        Largest separation [arcsec].

    Returns
    -------
    tuple
        Index of the source (-1 without one), separation [arcsec] (NaN without), and number of sources within the radius.
        Of two sources equally near, the first in order is taken.
    """
    from scipy.spatial import KDTree

    if not len(sources):
        return np.full(len(objects), -1), np.full(len(objects), np.nan), np.zeros(len(objects), dtype=np.int64)
    tree = KDTree(sources)
    chord = 2.0 * np.sin(0.5 * radius * _ARCSEC)
    distances, places = tree.query(objects, k=2, distance_upper_bound=np.nextafter(chord, np.inf))
    distance, index = distances[:, 0], places[:, 0]
    found = np.isfinite(distance)
    # Which of several equally near the tree gives depends on the tree, hence on what else was read.
    for tied in np.flatnonzero(found & (distances[:, 1] == distance)):
        around = np.sort(tree.query_ball_point(objects[tied], np.nextafter(distance[tied], np.inf)))
        off = np.linalg.norm(sources[around] - objects[tied], axis=1)
        index[tied] = around[np.argmin(off)]
    count = tree.query_ball_point(objects[found], chord, return_length=True)
    candidates = np.zeros(len(objects), dtype=np.int64)
    candidates[found] = np.maximum(np.asarray(count, dtype=np.int64), 1)
    separation = np.where(found, 2.0 * np.arcsin(np.minimum(0.5 * np.where(found, distance, 0.0), 1.0)) / _ARCSEC, np.nan)
    return np.where(found, index, -1), separation, candidates


def cells_around(cells: Ids) -> Ids:
    """Return level-8 cells and all their neighbours, ascending and unique."""
    # Cells at the corners of the base pixels lack a neighbour, of which numpy complains.
    with np.errstate(invalid="ignore"):
        around = _CELLS.neighbours(cells)
    return np.unique(np.concatenate([cells, np.asarray(around, dtype=np.int64)[np.asarray(around) >= 0].ravel()]))


def crossmatch(ra: Floats, dec: Floats, sources: Table, *, epoch: float, radius: float) -> Matches:
    """Match objects to the sources of a lake's table.

    Work goes leaf by leaf of the grid, so memory is bounded by the objects' positions and the sources of one leaf.

    Parameters
    ----------
    ra, dec
        Positions of the objects at `epoch` [deg, ICRS], shape (n_objects,); NaN matches nothing.
    sources
        Table with ra, dec, pmra, pmdec.
    epoch
        Julian year of the objects' positions.
    radius
        Largest separation [arcsec].

    Raises
    ------
    LakeError
        If the radius is beyond 60 arcsec, the reference epoch of the table's release is not known, or sources are to be moved
        whose proper motions the table's files lack.
    """
    if not 0 < radius <= _LARGEST_RADIUS:
        raise LakeError(f"match radius of {radius} arcsec: expected more than 0 and at most {_LARGEST_RADIUS:g}")
    release = sources.manifest.release
    if release not in EPOCHS:
        raise LakeError(f"{sources.name}: reference epoch of release {release!r} is not known; add it to lake.crossmatch.EPOCHS")
    lacking = [name for name in _SOURCE_COLUMNS if name in sources.manifest.absent]
    if lacking and epoch != EPOCHS[release]:
        raise LakeError(
            f"{sources.name}: its raw files lack {listing(lacking)}, without which its sources cannot be carried from "
            f"{EPOCHS[release]:g} to {epoch:g}; fetch them again with these columns"
        )
    found = Matches(
        source_id=np.zeros(len(ra), dtype=np.int64),
        separation=np.full(len(ra), np.nan),
        candidates=np.zeros(len(ra), dtype=np.int64),
    )
    there = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    cells = np.asarray(_CELLS.lonlat_to_healpix(ra[there] * u.deg, dec[there] * u.deg), dtype=np.int64)
    order = np.argsort(cells, kind="stable")
    there, cells = there[order], cells[order]
    cuts = np.searchsorted(cells, sources.grid.array)
    for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
        if end == begin:
            continue
        own = there[begin:end]
        near = read_cells(sources, cells_around(np.unique(cells[begin:end])))
        ids = near["source_id"].to_numpy()
        source_ra, source_dec, pmra, pmdec = (_values(near, name) for name in _SOURCE_COLUMNS)
        at = moved(source_ra, source_dec, pmra, pmdec, epoch - EPOCHS[release])
        index, separation, candidates = nearest(directions(ra[own], dec[own]), at, radius)
        hit = index >= 0
        found.source_id[own[hit]] = ids[index[hit]]
        found.separation[own], found.candidates[own] = separation, candidates
    return found


def read_cells(table: Table, cells: Ids) -> pa.Table:
    """Read id, position and motion of the sources whose ids lie in some level-8 cells (ascending)."""
    spec = table.spec(_SOURCE_COLUMNS)
    pieces = [spec.schema().empty_table()]
    names = spec.schema().names
    for at in np.unique(np.searchsorted(table.manifest.edges, cells, side="right") - 1):
        part = table.manifest.partitions[at]
        low, high = np.searchsorted(cells, [part.first, part.end])
        if part.key is not None:
            pieces.append(read_pixels(table.storage, part.key, cells[low:high], BASE_SHIFT, names).cast(spec.schema()))
    return pa.concat_tables(pieces).combine_chunks()


def _values(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
