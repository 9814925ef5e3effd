"""Matches by position: the pairs that astropy finds, nothing lost at borders, sources moved to the objects' epoch."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import Distance, SkyCoord, match_coordinates_sky
from astropy.time import Time
from astropy_healpix import HEALPix

from jobs.dialects import write
from lake.crossmatch import EPOCHS, cells_around, crossmatch, directions, moved, nearest
from lake.errors import LakeError
from lake.partition import BASE_SHIFT
from lake.readers import read
from lake.root import init_lake
from lake.survey import survey
from lake.table import Table

LEVEL_12 = HEALPix(nside=4096, order="nested")
ARCSEC = 1 / 3600
SOURCE = "gaia_dr3_source"


def source_lake(root: Path, columns: dict[str, np.ndarray], grid, synthetic, build) -> Table:
    """Build a table of Gaia sources with these ids, positions and motions."""
    declared = survey(SOURCE)
    rows = synthetic.rows(declared, columns["source_id"], integer_nulls=False)
    for name, values in columns.items():
        at = rows.column_names.index(name)
        rows = rows.set_column(at, rows.schema.field(name), pa.array(values, rows.schema.field(name).type, from_pandas=True))
    made = init_lake(root / "lake", grid=grid)
    path = synthetic.write(declared, rows, root / "sources.fits", "fits")
    (manifest,) = build.ingest(made, SOURCE, path).manifests
    return Table(made.storage, manifest, grid)


def ids_at(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return ids in the level-12 pixels of positions, each its own."""
    pixel = np.asarray(LEVEL_12.lonlat_to_healpix(ra * u.deg, dec * u.deg), dtype=np.int64)
    return (pixel << 35) + np.arange(1, len(pixel) + 1)


@pytest.fixture(scope="module")
def border():
    """Stars within 3 arcsec of the borders of level-8 cells, where most neighbours lie in another partition."""
    rng = np.random.default_rng(3)
    cells = HEALPix(nside=256, order="nested")
    lon, lat = cells.boundaries_lonlat(rng.integers(0, 12 * 256**2, 400), step=4)
    turn = rng.uniform(0, 2 * np.pi, lon.size)
    dec = np.clip(lat.ravel().to_value(u.deg) + 3 * ARCSEC * np.sin(turn), -89.9, 89.9)
    ra = (lon.ravel().to_value(u.deg) + 3 * ARCSEC * np.cos(turn) / np.cos(np.radians(dec))) % 360
    return ra, dec


def test_nothing_is_lost_at_the_borders_of_cells_and_partitions(tmp_path, border, grid, synthetic, build):
    ra, dec = border
    ids = ids_at(ra, dec)
    still = np.zeros(len(ids))
    table = source_lake(tmp_path, {"source_id": ids, "ra": ra, "dec": dec, "pmra": still, "pmdec": still}, grid, synthetic, build)
    rng = np.random.default_rng(4)
    turn, away = rng.uniform(0, 2 * np.pi, len(ids)), rng.uniform(0, 0.9, len(ids)) * ARCSEC
    seen_dec = dec + away * np.sin(turn)
    seen_ra = (ra + away * np.cos(turn) / np.cos(np.radians(dec))) % 360
    moved_out = HEALPix(nside=256, order="nested").lonlat_to_healpix(seen_ra * u.deg, seen_dec * u.deg) != ids >> BASE_SHIFT
    assert moved_out.sum() > 100
    found = crossmatch(seen_ra, seen_dec, table, epoch=2016.0, radius=1.0)
    want, separation, _ = match_coordinates_sky(SkyCoord(seen_ra, seen_dec, unit="deg"), SkyCoord(ra, dec, unit="deg"))
    assert (found.source_id == ids[want]).all()
    assert found.separation == pytest.approx(separation.arcsec, abs=1e-6)
    assert (found.candidates >= 1).all()


def test_a_source_that_left_the_pixel_of_its_id_is_found_where_it_is(tmp_path, grid, synthetic, build):
    ra, dec = np.array([120.0]), np.array([30.0])
    ids = ids_at(ra, dec)
    gone_dec = dec + 118 * ARCSEC
    table = source_lake(
        tmp_path, {"source_id": ids, "ra": ra, "dec": gone_dec, "pmra": [0.0], "pmdec": [0.0]}, grid, synthetic, build
    )
    assert (ids_at(ra, gone_dec) >> 35 != ids >> 35).all()
    found = crossmatch(ra, gone_dec, table, epoch=2016.0, radius=0.5)
    assert found.source_id.tolist() == ids.tolist()
    assert crossmatch(ra, dec, table, epoch=2016.0, radius=0.5).source_id.tolist() == [0]


def test_sources_are_carried_to_the_epoch_of_the_objects_as_astropy_carries_them():
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 300), np.degrees(np.arcsin(rng.uniform(-0.999, 0.999, 300)))
    pmra, pmdec = rng.normal(0, 100, 300), rng.normal(0, 100, 300)
    pmra[0], pmdec[0] = -801.55, 10362.39
    then = moved(ra, dec, pmra, pmdec, 1999.5 - 2016.0)
    stars = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=Distance(10 * u.pc),
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2016.0, format="jyear"),
    ).apply_space_motion(new_obstime=Time(1999.5, format="jyear"))
    there = directions(stars.ra.deg, stars.dec.deg)
    off = np.degrees(2 * np.arcsin(np.linalg.norm(then - there, axis=1) / 2)) / ARCSEC
    assert off.max() < 1e-4


def test_a_fast_star_is_matched_at_the_epoch_of_the_survey_and_not_at_that_of_gaia(tmp_path, grid, synthetic, build):
    ra, dec, pmdec = np.array([269.4, 269.5]), np.array([4.7, 4.7]), np.array([10362.0, 0.0])
    ids = ids_at(ra, dec)
    columns = {"source_id": ids, "ra": ra, "dec": dec, "pmra": np.zeros(2), "pmdec": pmdec}
    table = source_lake(tmp_path, columns, grid, synthetic, build)
    in_2000 = dec - 16.0 * pmdec / 1000 * ARCSEC
    assert crossmatch(ra, in_2000, table, epoch=2000.0, radius=1.0).source_id.tolist() == ids.tolist()
    assert crossmatch(ra, dec, table, epoch=2000.0, radius=1.0).source_id.tolist() == [0, ids[1]]


def test_a_source_without_proper_motion_stays_where_it_was_seen():
    there = moved(np.array([10.0]), np.array([20.0]), np.array([np.nan]), np.array([np.nan]), -16.0)
    assert there == pytest.approx(directions(np.array([10.0]), np.array([20.0])), abs=1e-15)


def test_the_nearest_of_several_is_taken_and_the_others_are_counted():
    around = directions(np.array([10.0, 10.0, 10.0]), np.array([0.0, 0.4 * ARCSEC, 0.95 * ARCSEC]))
    index, separation, candidates = nearest(directions(np.array([10.0, 50.0]), np.array([0.3 * ARCSEC, 0.0])), around, 0.5)
    assert index.tolist() == [1, -1]
    assert separation[0] == pytest.approx(0.1, abs=1e-6)
    assert np.isnan(separation[1])
    assert candidates.tolist() == [2, 0]


def test_objects_without_a_position_match_nothing(tmp_path, grid, synthetic, build):
    ra, dec = np.array([33.0]), np.array([-40.0])
    columns = {"source_id": ids_at(ra, dec), "ra": ra, "dec": dec, "pmra": [0.0], "pmdec": [0.0]}
    table = source_lake(tmp_path, columns, grid, synthetic, build)
    found = crossmatch(np.array([np.nan, 33.0]), np.array([-40.0, -40.0]), table, epoch=2016.0, radius=1.0)
    assert found.source_id.tolist() == [0, columns["source_id"][0]]
    assert found.candidates.tolist() == [0, 1]


@pytest.mark.parametrize("radius", [0.0, -1.0, 100.0, float("nan")])
def test_a_radius_that_is_none_is_refused(radius, small_lake):
    with pytest.raises(Exception, match="radius"):
        crossmatch(np.array([1.0]), np.array([1.0]), small_lake.table(SOURCE), epoch=2000.0, radius=radius)


def test_every_cell_has_its_neighbours_beside_it():
    around = cells_around(np.array([0, 786431]))
    assert {0, 786431} <= set(around.tolist())
    assert 15 <= len(around) <= 18
    assert (np.diff(around) > 0).all()


def test_the_pairs_in_the_real_pleiades_field_are_those_of_astropy(shared_data, tmp_path, grid, synthetic, build):
    path = shared_data / "gaia_source" / "pleiades.shared.fits.gz"
    declared = survey(SOURCE)
    (batch,) = read(path, declared)
    ra, dec = (batch.table[name].to_numpy().astype(np.float64) for name in ("ra", "dec"))
    pmra, pmdec = (batch.table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in ("pmra", "pmdec"))
    made = init_lake(tmp_path / "lake", grid=grid)
    (manifest,) = build.ingest(made, SOURCE, path).manifests
    table = Table(made.storage, manifest, grid)
    # The injected catalogue: most stars as they were in 1999.5 with 0.1 arcsec of noise, and as many objects that are none.
    rng = np.random.default_rng(6)
    years = 1999.5 - EPOCHS["dr3"]
    then = SkyCoord(
        *np.degrees(_lonlat(moved(ra, dec, pmra, pmdec, years))),
        unit="deg",
    )
    some = rng.random(len(ra)) < 0.8
    noise = rng.normal(0, 0.1 * ARCSEC, (2, some.sum()))
    seen_dec = then.dec.deg[some] + noise[1]
    seen_ra = then.ra.deg[some] + noise[0] / np.cos(np.radians(seen_dec))
    fakes = rng.choice(np.flatnonzero(some), 5000)
    seen_ra = np.concatenate([seen_ra, ra[fakes] + rng.normal(0, 0.02, 5000)])
    seen_dec = np.concatenate([seen_dec, dec[fakes] + rng.normal(0, 0.02, 5000)])
    found = crossmatch(seen_ra, seen_dec, table, epoch=1999.5, radius=1.0)
    index, separation, _ = match_coordinates_sky(SkyCoord(seen_ra, seen_dec, unit="deg"), then)
    ids = batch.table["source_id"].to_numpy()
    near = separation.arcsec <= 1.0
    assert (found.source_id == np.where(near, ids[index], 0)).all()
    assert found.separation[near] == pytest.approx(separation.arcsec[near], abs=1e-5)
    true = np.concatenate([ids[some], np.zeros(5000, dtype=np.int64)])
    assert (found.source_id[: some.sum()] == true[: some.sum()]).mean() > 0.995


def _lonlat(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arctan2(vectors[:, 1], vectors[:, 0]) % (2 * np.pi), np.arcsin(np.clip(vectors[:, 2], -1, 1))


@pytest.mark.parametrize("others", [0, 10, 100, 5000])
def test_of_sources_equally_near_the_first_is_taken_whatever_else_was_read(others):
    rng = np.random.default_rng(7)
    far = directions(rng.uniform(0, 360, others), rng.uniform(-80, 0, others))
    same = directions(np.full(40, 10.0), np.full(40, 5.0))
    index, _, candidates = nearest(directions(np.array([10.0]), np.array([5.00001])), np.concatenate([far, same]), 1.0)
    assert index.tolist() == [others]
    assert candidates.tolist() == [40]


def test_the_poles_and_the_meridian_are_places_like_any_other(tmp_path, grid, synthetic, build):
    ra, dec = np.array([10.0, 2e-5, 200.0]), np.array([89.99999, 0.3, -89.999999])
    still = np.zeros(3)
    ids = ids_at(ra, dec)
    table = source_lake(tmp_path, {"source_id": ids, "ra": ra, "dec": dec, "pmra": still, "pmdec": still}, grid, synthetic, build)
    found = crossmatch(np.array([190.0, 359.99999, 0.0]), np.array([dec[0], 0.3, -90.0]), table, epoch=2016.0, radius=1.0)
    assert found.source_id.tolist() == ids.tolist()
    assert found.separation == pytest.approx([0.072, 0.108, 0.0036], rel=1e-3)


def test_sources_without_motions_in_their_files_are_not_carried_to_another_epoch(tmp_path, grid, synthetic, build):
    declared = survey(SOURCE)
    ra, dec = np.array([33.0]), np.array([-40.0])
    raw = {"source_id": ids_at(ra, dec), "ra": ra, "dec": dec, "parallax": [1.0]}
    path = tmp_path / "sources.fits"
    write(pa.table(raw | {"phot_g_mean_mag": pa.array([15.0], pa.float32())}), path, "fits")
    made = init_lake(tmp_path / "lake", grid=grid)
    (manifest,) = build.ingest(made, declared.name, path).manifests
    table = Table(made.storage, manifest, grid)
    assert crossmatch(ra, dec, table, epoch=2016.0, radius=1.0).source_id.tolist() == raw["source_id"].tolist()
    with pytest.raises(LakeError, match=r"gaia_dr3_source: its raw files lack pmra, pmdec.*from 2016 to 2000; fetch them again"):
        crossmatch(ra, dec, table, epoch=2000.0, radius=1.0)
