"""Test that the synthetic sky is written in the true dialects, behaves like the real one, and never changes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy_healpix import HEALPix

from jobs.sky import make_sky
from jobs.sky_population import normals, population, uniforms
from jobs.sky_spectra import SAMPLED, WAVELENGTHS, load_bases, model_flux
from lake.columns import COLUMNS
from lake.errors import LakeError
from lake.readers.form import open_bytes
from lake.survey import survey

STARS = 3000
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:gaiaxpy", "ignore:.*:FutureWarning:gaiaxpy")


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return make_sky(tmp_path_factory.mktemp("sky"), stars=STARS)


@pytest.fixture(scope="module")
def stars():
    return population(STARS, 0)


def read(path, columns):
    """Read columns of one bulk file with pandas or h5py; arrays stay matrices."""
    if path.suffix == ".hdf5":
        with h5py.File(path) as file:
            return {name: file[name][:] for name in columns}
    frame = pd.read_csv(path, comment="#", usecols=columns)
    return {name: _matrix(frame[name]) if frame[name].dtype.kind not in "biuf" else frame[name].to_numpy() for name in columns}


def _matrix(texts):
    if not texts.astype(str).str.startswith("[").any():
        return texts.to_numpy()
    return np.array([json.loads(text) if isinstance(text, str) else [np.nan] * 55 for text in texts])


def gather(sky, name, columns):
    parts = [read(path, columns) for path in sky.files[name]]
    return {column: np.concatenate([part[column] for part in parts if len(part["source_id"])]) for column in columns}


@pytest.fixture(scope="module")
def source(sky):
    names = "source_id parallax phot_g_mean_mag phot_bp_mean_mag phot_rp_mean_mag has_xp_continuous radial_velocity teff_gspphot"
    return gather(sky, "gaia_dr3_source", names.split())


@pytest.fixture(scope="module")
def xp(sky):
    names = [f"{band}_{what}" for band in ("bp", "rp") for what in ("coefficients", "coefficient_errors", "n_relevant_bases")]
    return gather(sky, "gaia_dr3_xp", ["source_id", *names])


def test_the_same_call_gives_the_same_bytes(sky, tmp_path):
    make_sky(tmp_path, stars=STARS)
    files = sorted(path.relative_to(sky.folder) for path in sky.folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in files:
        digests = {hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (sky.folder, tmp_path)}
        assert len(digests) == 1, name


def test_the_stars_do_not_depend_on_the_number_of_blas_threads():
    code = "import hashlib, jobs.sky_population as p; print(hashlib.sha256(p.population(500, 0).coefficients).hexdigest())"
    made = set()
    for threads in ("1", "4"):
        settings = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        made.add(subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, check=True, text=True).stdout)
    assert len(made) == 1


def test_another_seed_gives_another_sky(stars):
    assert not np.array_equal(stars.source_id, population(STARS, 1).source_id)


def test_a_stars_draws_do_not_depend_on_which_other_stars_are_drawn():
    whole = normals(3, "x", 0, (100, 7))
    assert np.array_equal(whole[40:60], normals(3, "x", 40, (20, 7)))
    assert np.array_equal(uniforms(3, "x", 0, (9, 4))[8:], uniforms(3, "x", 8, (1, 4)))
    assert abs(normals(3, "y", 0, (5000, 8)).std() - 1) < 0.02


def test_ids_ascend_over_the_files_and_lie_in_the_range_of_their_files_names(sky):
    last = 0
    for path in sky.files["gaia_dr3_source"]:
        low, high = (int(text) for text in path.name.split(".")[0].split("_")[1].split("-"))
        ids = read(path, ["source_id"])["source_id"]
        assert (np.diff(ids) > 0).all() and ids[0] > last
        assert ((ids >> 43) >= low).all() and ((ids >> 43) <= high).all()
        last = ids[-1]


def test_files_cover_the_whole_sky_once_and_alike_for_every_bulk_table(sky):
    stems = {
        name: [path.name.split(".")[0].split("_")[1] for path in sky.files[name]] for name in ("gaia_dr3_source", "gaia_dr3_xp")
    }
    assert stems["gaia_dr3_source"] == stems["gaia_dr3_xp"]
    ranges = [tuple(map(int, stem.split("-"))) for stem in stems["gaia_dr3_xp"]]
    assert ranges[0][0] == 0 and ranges[-1][1] == 786431
    assert all(after[0] == before[1] + 1 for before, after in zip(ranges, ranges[1:], strict=False))
    assert {path.suffix for path in sky.files["gaia_dr3_xp"]} == {".gz", ".hdf5"}


def test_about_four_in_a_thousand_stars_stand_just_outside_their_pixel(stars):
    healpix = HEALPix(nside=4096, order="nested")
    many = population(20_000, 0)
    pixel = many.source_id >> 35
    found = healpix.lonlat_to_healpix(many.ra * u.deg, many.dec * u.deg)
    assert 0.002 < np.mean(found != pixel) < 0.007
    lon, lat = healpix.healpix_to_lonlat(pixel)
    distance = np.hypot((many.ra - lon.to_value("deg") + 180) % 360 - 180, 0) * np.cos(np.radians(many.dec))
    away = np.hypot(distance, many.dec - lat.to_value("deg")) * 3600
    assert away.max() < 100


def test_the_sky_is_uneven_and_clusters_crowd_single_pixels(sky):
    counts = pd.read_csv(sky.counts)
    assert list(counts.columns) == ["pixel8", "rows"]
    assert counts["rows"].sum() == STARS == sky.rows["gaia_dr3_source"]
    assert counts["rows"].min() == 1 and counts["rows"].max() > 20


def test_members_of_a_cluster_share_metallicity_and_distance(sky):
    truth = pq.read_table(sky.truth).to_pandas()
    members = truth.dropna(subset="cluster").groupby("cluster")
    assert len(members) == 5
    assert (members["fe_h"].std() == 0).all()
    assert (members["distance"].std() / members["distance"].mean() < 0.05).all()
    assert truth["cluster"].isna().mean() > 0.9


def test_extinction_is_larger_towards_the_plane(sky, stars):
    from astropy.coordinates import SkyCoord

    lat = np.abs(SkyCoord(stars.ra * u.deg, stars.dec * u.deg).galactic.b.deg)
    assert np.median(stars.extinction[lat < 5]) > 2 * np.median(stars.extinction[lat > 30])


def test_gaia_source_has_all_columns_within_their_limits_and_nulls_where_the_real_table_has_them(sky, source):
    path = next(path for path in sky.files["gaia_dr3_source"] if path.suffix == ".hdf5")
    with h5py.File(path) as file:
        assert sorted(file) == sorted(raw.name for raw in survey("gaia_dr3_source").columns.values())
        for name in file:
            low, high, values = COLUMNS[name].low, COLUMNS[name].high, file[name][:]
            if values.dtype.kind in "fi":
                known = values[np.isfinite(values)]
                assert low is None or (known >= low).all(), name
                assert high is None or (known <= high).all(), name
    share = {name: np.isfinite(source[name].astype(float)).mean() for name in ("radial_velocity", "teff_gspphot", "parallax")}
    assert 0.36 < share["radial_velocity"] < 0.46
    assert 0.84 < share["teff_gspphot"] < 0.93
    assert 0.98 < share["parallax"] < 1.0


def test_xp_exists_for_sources_brighter_than_the_limit_only(source, xp):
    have = source["has_xp_continuous"]
    assert np.array_equal(np.sort(xp["source_id"]), source["source_id"][have])
    assert 0.83 < have.mean() < 0.89
    assert source["phot_g_mean_mag"][have].max() < 17.7


def test_significance_falls_with_order_as_in_real_spectra(xp):
    measured = {"bp": (360, 43, 9, 2.6, 0.7), "rp": (620, 73, 6.1, 2.15, 0.89)}
    for band, wanted in measured.items():
        ratio = np.abs(xp[f"{band}_coefficients"]) / xp[f"{band}_coefficient_errors"]
        found = np.nanmedian(ratio[:, [0, 1, 2, 5, 10]], axis=0)
        # Smooth model continua leave coefficient 5 of RP at the level of coefficient 2; in real spectra it is a third of that.
        assert (np.diff(found[[0, 1, 2, 4]]) < 0).all()
        assert (np.abs(np.log(found / wanted)) < np.log(3.5)).all(), found
        assert 3 <= np.nanmedian(xp[f"{band}_n_relevant_bases"]) <= 9


def test_some_sources_have_no_bp_and_then_all_of_it_is_missing(sky):
    gone = 0
    for path in sky.files["gaia_dr3_xp"]:
        if path.suffix == ".gz":
            frame = pd.read_csv(path, comment="#")
            bp = frame[[name for name in frame if name.startswith("bp_") and "correlations" not in name]].isna()
            assert (bp.all(axis=1) == bp.any(axis=1)).all()
            gone += int(bp.all(axis=1).sum())
        else:
            with h5py.File(path) as file:
                gone += int(np.isnan(file["bp_coefficients"][:]).all(axis=1).sum())
    assert 1 <= gone <= 30


def test_one_file_of_xp_has_no_rows_and_its_stars_are_in_gaia_source(sky):
    empty = [i for i, path in enumerate(sky.files["gaia_dr3_xp"]) if not len(read(path, ["source_id"])["source_id"])]
    assert len(empty) == 1
    assert len(read(sky.files["gaia_dr3_source"][empty[0]], ["source_id"])["source_id"]) >= 1


def test_correlations_are_in_two_files_and_make_a_positive_definite_matrix(sky):
    holding = []
    for path in sky.files["gaia_dr3_xp"]:
        if path.suffix == ".gz":
            column = pd.read_csv(path, comment="#", usecols=["rp_coefficient_correlations"], nrows=5).iloc[:, 0]
            if column.notna().any():
                holding.append(np.array(json.loads(column[0])))
        else:
            with h5py.File(path) as file:
                if "rp_coefficient_correlations" in file:
                    holding.append(file["rp_coefficient_correlations"][0])
    assert len(holding) == 2
    for triangle in holding:
        assert triangle.shape == (1485,)
        matrix = np.zeros((55, 55))
        matrix[np.tril_indices(55, -1)] = triangle  # the upper triangle column by column is the lower one row by row
        assert 0.005 < np.linalg.eigvalsh(matrix + matrix.T + np.eye(55)).min() < 0.9


def test_one_file_turns_its_integers_to_float_text_half_way(sky):
    dirty = 0
    for path in (path for path in sky.files["gaia_dr3_xp"] if path.suffix == ".gz"):
        frame = pd.read_csv(path, comment="#", dtype=str, usecols=["rp_n_parameters"])["rp_n_parameters"]
        if set(frame) == {"55", "55.0"}:
            assert frame[: len(frame) // 2].eq("55").all() and frame[len(frame) // 2 :].eq("55.0").all()
            dirty += 1
    assert dirty == 1


def test_gaiaxpy_calibrates_our_coefficients_back_to_the_model_flux(stars):
    from gaiaxpy import calibrate

    bases, some = load_bases(), stars.take(stars.has_xp)
    picked = some.take(np.arange(len(some)) % 300 == 7)
    frame = pd.DataFrame({"source_id": picked.source_id})
    for band, first in (("bp", 0), ("rp", 55)):
        frame[f"{band}_coefficients"] = list(picked.coefficients[:, first : first + 55])
        frame[f"{band}_coefficient_errors"] = [np.ones(55, dtype=np.float32)] * len(frame)
        frame[f"{band}_coefficient_correlations"] = [np.zeros(1485, dtype=np.float32)] * len(frame)
        frame[f"{band}_n_parameters"], frame[f"{band}_n_relevant_bases"] = 55, 55
        frame[f"{band}_standard_deviation"] = 1.0
    calibrated, sampling = calibrate(frame, save_file=False)
    assert np.array_equal(sampling, WAVELENGTHS)
    found = np.array(calibrated["flux"].tolist())
    assert np.allclose(found, picked.coefficients @ bases.design, rtol=1e-4, atol=1e-3 * found.mean())
    model = model_flux(picked.teff, picked.logg, picked.fe_h, picked.extinction)[:, SAMPLED] * picked.scale[:, None]
    residual = np.abs(found - model) / model
    red = WAVELENGTHS > 400
    assert np.median(residual[:, red]) < 0.01
    assert np.median(np.sqrt(np.mean((found - model) ** 2, axis=1)) / model.mean(axis=1)) < 0.03


def test_magnitudes_are_those_of_the_spectra_through_gaias_passbands(source, xp):
    bases = load_bases()
    bright = np.isfinite(xp["bp_coefficients"][:, 0]) & (xp["rp_coefficients"][:, 0] > 1000)
    at = np.searchsorted(source["source_id"], xp["source_id"][bright])
    both = np.concatenate([xp["bp_coefficients"], xp["rp_coefficients"]], axis=1)[bright]
    synthetic = bases.zero_points - 2.5 * np.log10(both @ bases.passbands)
    for i, band in enumerate(("g", "bp", "rp")):
        assert np.median(np.abs(synthetic[:, i] - source[f"phot_{band}_mean_mag"][at])) < 0.02, band


def test_catwise_is_unsorted_and_misses_some_sources(sky, xp):
    with fits.open(sky.files["catwise_andrae2023"][0]) as file:
        data = file[1].data
        assert sorted(data["source_id"]) == sorted(xp["source_id"])
        assert (np.diff(data["source_id"]) < 0).any()
        assert 0.11 < np.isnan(data["catwise_w1"]).mean() < 0.19
        assert np.array_equal(np.isnan(data["catwise_w1"]), np.isnan(data["catwise_w2"]))


def test_sampled_spectra_are_flagged_in_gaia_source(sky):
    flags = gather(sky, "gaia_dr3_source", ["source_id", "has_xp_sampled"])
    ids = np.concatenate([read(path, ["source_id"])["source_id"] for path in sky.files["gaia_dr3_xp_sampled"]])
    assert np.array_equal(ids, flags["source_id"][flags["has_xp_sampled"]])
    assert 0.01 < len(ids) / STARS < 0.03


def test_every_file_that_can_says_that_it_is_synthetic(sky):
    assert "SYNTHETIC" in (sky.folder / "SYNTHETIC.txt").read_text()
    for path in (path for paths in sky.files.values() for path in paths):
        with open_bytes(path) as stream:
            head = stream.read(40_000)
        if head.startswith(b"\x89HDF"):
            with h5py.File(path) as file:
                assert "SYNTHETIC" in str(dict(file.attrs)), path
        # Plain CSV and fixed width have no place for a comment.
        elif head.startswith((b"SIMPLE", b"# %ECSV")):
            assert b"SYNTHETIC" in head, path


def test_a_survey_unknown_to_the_sky_is_refused_when_it_is_asked_for(tmp_path, monkeypatch):
    import jobs.sky

    monkeypatch.delitem(jobs.sky._SURVEYS, "gaia_dr3_xp_sampled")
    with pytest.raises(LakeError, match=r"cannot make gaia_dr3_xp_sampled.*jobs/sky\.py"):
        make_sky(tmp_path, stars=100, names=["gaia_dr3_xp_sampled"])


def test_progress_is_told_file_by_file(tmp_path):
    told = []
    made = make_sky(tmp_path, stars=200, names=["gaia_dr3_source"], progress=lambda *said: told.append(said))
    assert [done for _, done, _ in told] == list(range(1, len(made.files["gaia_dr3_source"]) + 1))


def test_the_missing_extra_is_named(monkeypatch):
    load_bases.cache_clear()
    monkeypatch.setitem(sys.modules, "gaiaxpy.core.config", None)
    with pytest.raises(LakeError, match=r"gaialake\[demo\]"):
        load_bases()
