"""Match objects by position: ours, leaf by leaf from Parquet, against astropy's matcher on tables held in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy_healpix import HEALPix
from measure import Line, Setting, alone, call, contest
from tables import build, make_grid

import lake
from lake.crossmatch import EPOCHS, crossmatch, moved
from lake.ingest import serial
from lake.survey import Survey, same

SOURCES = Survey(
    name="sources",
    title="benchmark",
    release="dr3",
    kind="astrometry",
    citation="none: random numbers",
    licence="none",
    source="tests/bench",
    patterns=("sources_*.parquet",),
    dialects=("parquet",),
    columns=same("source_id ra dec pmra pmdec"),
)
_COLUMNS = ("source_id", "ra", "dec", "pmra", "pmdec")
_EPOCH, _RADIUS, _ARCSEC, _GOAL = 2000.0, 1.0, 1 / 3600, 2.0


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    rows, some = setting.rows, setting.rows // 5
    root, objects = setting.folder / "crossmatch", setting.folder / "objects.parquet"
    _make(root, objects, rows, some)
    found = contest(
        {"ours": call(_ours, root, objects), "astropy": call(_astropy, root, objects), "read": call(_read, root)},
        setting.rounds,
        by=alone,
    )
    assert found["ours"].result == found["astropy"].result, (found["ours"].result, found["astropy"].result)
    peer, floor = found["astropy"].cpu, found["read"].cpu

    def line(name: str, what: str, *, goal: bool = False) -> Line:
        cpu = found[name].cpu
        held = {"goal": f"<= {_GOAL:g} of peer", "met": cpu <= _GOAL * peer} if goal else {}
        return Line("match", what, found[name], cpu / peer, cpu / floor, **held)

    return [
        line("ours", f"{some:,} objects to {rows:,} synthetic sources, whole sky, from Parquet", goal=True),
        line("astropy", "  peer: astropy.coordinates, all in memory, same motion"),
        line("read", "  floor: reading the sources' five columns"),
    ]


def _make(root: Path, objects: Path, rows: int, some: int) -> None:
    """Write sources over the whole sky, half of them crowded, and objects near some of them in the year 2000."""
    rng = np.random.default_rng(12)
    ra, dec = rng.uniform(0, 360, rows), np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))
    dec[: rows // 2] = rng.normal(0, 5, rows // 2)
    pmra, pmdec = rng.normal(0, 10, rows), rng.normal(0, 10, rows)
    pixel = np.asarray(HEALPix(nside=4096, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg), dtype=np.int64)
    ids = (pixel << 35) + rng.integers(1, 1 << 35, rows)
    order = np.argsort(ids)
    held = pa.table(dict(zip(_COLUMNS, (values[order] for values in (ids, ra, dec, pmra, pmdec)), strict=True)))
    raw = objects.with_name("raw")
    raw.mkdir()
    pq.write_table(held, raw / "sources_0.parquet", compression="lz4")
    build(make_grid(root, ids[order]), SOURCES, raw, serial)
    chosen = rng.choice(rows, some, replace=False)
    there = moved(ra[chosen], dec[chosen], pmra[chosen], pmdec[chosen], _EPOCH - EPOCHS["dr3"])
    lon, lat = np.degrees(np.arctan2(there[:, 1], there[:, 0])) % 360, np.degrees(np.arcsin(there[:, 2]))
    lat = np.clip(lat + rng.normal(0, 0.1 * _ARCSEC, some), -90, 90)
    pq.write_table(pa.table({"ra": lon, "dec": lat}), objects)


def _digest(ids: np.ndarray, separation: np.ndarray) -> tuple[int, int, float]:
    near = separation <= _RADIUS
    return int(near.sum()), int(np.bitwise_xor.reduce(ids[near])), round(float(separation[near].sum()), 2)


def _positions(objects: Path) -> tuple[np.ndarray, np.ndarray]:
    table = pq.read_table(objects)
    return table["ra"].to_numpy(), table["dec"].to_numpy()


def _ours(root: Path, objects: Path) -> tuple[int, int, float]:
    found = crossmatch(*_positions(objects), lake.open(root).table("sources"), epoch=_EPOCH, radius=_RADIUS)
    return _digest(found.source_id, np.where(found.source_id > 0, found.separation, np.inf))


def _astropy(root: Path, objects: Path) -> tuple[int, int, float]:
    from astropy.coordinates import SkyCoord, match_coordinates_sky

    held = _sources(root)
    there = moved(*(held[name].to_numpy() for name in _COLUMNS[1:]), _EPOCH - EPOCHS["dr3"])
    sources = SkyCoord(x=there[:, 0], y=there[:, 1], z=there[:, 2], representation_type="cartesian")
    ra, dec = _positions(objects)
    index, separation, _ = match_coordinates_sky(SkyCoord(ra * u.deg, dec * u.deg), sources)
    return _digest(held["source_id"].to_numpy()[index], separation.arcsec)


def _sources(root: Path) -> pa.Table:
    table = lake.open(root).table("sources")
    return pa.concat_tables([table.read_leaf(leaf) for leaf in range(len(table.grid))])


def _read(root: Path) -> int:
    return _sources(root).num_rows
