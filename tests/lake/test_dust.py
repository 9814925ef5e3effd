"""Dust maps at Gaia positions: projection, distance, and that neither home folder nor partitioning has a say."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from jobs import sky_dust
from lake.columns import column
from lake.dust import bayestar, galactic, planck, sfd
from lake.errors import LakeError
from lake.survey import Survey, survey

ROOT = Path(__file__).resolve().parents[2]
SFD, PLANCK, BAYESTAR = survey("dust_sfd"), survey("dust_planck"), survey("dust_bayestar2019")


def at(lon: np.ndarray, lat: np.ndarray, **columns: object) -> pa.Table:
    """Return sources in Galactic directions [deg]; without more, a kiloparsec away."""
    sky = SkyCoord(l=lon * u.deg, b=lat * u.deg, frame="galactic").icrs
    held = {"source_id": np.arange(1, len(lon) + 1), "ra": sky.ra.deg, "dec": sky.dec.deg}
    held |= {"parallax": np.ones(len(lon)), "parallax_error": np.full(len(lon), 0.02), "parallax_zero_point": np.zeros(len(lon))}
    return pa.table(held | columns)


def random_sky(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, rows), np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))


def computed(declared: Survey, rows: pa.Table, *files: Path) -> pa.Table:
    return declared.computed.function(rows.select(["source_id", *declared.computed.needs]), files)


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> dict[str, tuple[Path, ...]]:
    """The synthetic maps, by survey."""
    folder = tmp_path_factory.mktemp("maps")
    made = {}
    for name, files in sky_dust.SURVEYS.items():
        held = list(files(None))
        for file in held:
            file.make(folder / file.name)
        made[name] = tuple(folder / file.name for file in held)
    return made


@pytest.fixture(scope="module")
def true_maps(shared_data) -> dict[str, tuple[fits.Header, np.ndarray]]:
    """Header and first ten pixel columns of the published maps, by pole."""
    held = {}
    for pole in ("ngp", "sgp"):
        with gzip.open(shared_data / "dust" / f"SFD_dust_4096_{pole}.fits.gz") as file, fits.open(file) as hdus:
            held[pole] = hdus[0].header.copy(), np.array(hdus[0].data)
    return held


@pytest.fixture(scope="module")
def reference(shared_data) -> np.ndarray:
    """Longitude, latitude [deg] and E(B-V) [mag] of 231 directions, from another reader of the same maps."""
    names = ("sfd_benchmark.shared.dat", "sfd_mwdust12_linux_benchmark.shared.dat")
    return np.concatenate([np.loadtxt(shared_data / "dust" / name, delimiter=",") for name in names])


@pytest.mark.parametrize("declared", [SFD, PLANCK, BAYESTAR], ids=lambda one: one.name)
def test_a_map_gives_its_declared_columns_at_the_same_sources(declared, maps):
    rows = at(*random_sky(500))
    made = computed(declared, rows, *maps[declared.name])
    assert made.column_names == list(declared.columns)
    assert made["source_id"].equals(rows["source_id"])
    for name in declared.columns:
        assert made[name].type == column(name).type, name
    assert made.columns[1].null_count < 250


@pytest.mark.parametrize("declared", [SFD, PLANCK, BAYESTAR], ids=lambda one: one.name)
def test_values_do_not_depend_on_how_sources_share_partitions(declared, maps):
    rows = at(*random_sky(400), parallax_error=np.linspace(0.01, 0.8, 400))
    whole = computed(declared, rows, *maps[declared.name])
    parts = [computed(declared, rows.slice(begin, 57), *maps[declared.name]) for begin in range(0, 400, 57)]
    assert pa.concat_tables(parts).combine_chunks().equals(whole)


@pytest.mark.parametrize("declared", [SFD, PLANCK, BAYESTAR], ids=lambda one: one.name)
def test_a_partition_without_sources_gives_no_rows(declared, maps):
    made = computed(declared, at(np.empty(0), np.empty(0)), *maps[declared.name])
    assert made.num_rows == 0
    assert made.column_names == list(declared.columns)


def test_the_projection_of_the_published_header_finds_the_pixels_that_its_comments_define(true_maps, reference, tmp_path):
    """A map of the true size, empty but for the four pixels around each reference direction."""
    lon, lat, wanted = reference.T
    for pole, sign in (("ngp", 1), ("sgp", -1)):
        header, _ = true_maps[pole]
        here = np.sign(lat) == sign
        # As the header says: X = sqrt(1 - NSGP sin b) cos l SCALE, Y = -NSGP sqrt(1 - NSGP sin b) sin l SCALE.
        radius = header["LAM_SCAL"] * np.sqrt(1.0 - header["LAM_NSGP"] * np.sin(np.radians(lat[here])))
        x = radius * np.cos(np.radians(lon[here])) + header["CRPIX1"] - 1.0
        y = -header["LAM_NSGP"] * radius * np.sin(np.radians(lon[here])) + header["CRPIX2"] - 1.0
        image = np.full((4096, 4096), np.nan, dtype=np.float32)
        for dx in (0, 1):
            for dy in (0, 1):
                image[np.floor(y).astype(int) + dy, np.floor(x).astype(int) + dx] = wanted[here]
        header["NAXIS1"] = 4096
        fits.PrimaryHDU(image, header).writeto(tmp_path / f"SFD_dust_4096_{pole}.fits")
    made = computed(SFD, at(lon, lat), *(tmp_path / f"SFD_dust_4096_{pole}.fits" for pole in ("sgp", "ngp")))
    np.testing.assert_allclose(made["ebv_sfd"].to_numpy(), wanted, rtol=1e-6)


def test_true_pixels_of_the_published_map_come_back_at_their_own_directions(true_maps, tmp_path):
    for pole, (header, image) in true_maps.items():
        fits.PrimaryHDU(image, header).writeto(tmp_path / f"SFD_dust_4096_{pole}.fits")
    y, x = (held.ravel() for held in np.mgrid[2030:2066:3, 4:9:2])
    found = []
    for pole, sign in (("ngp", 1), ("sgp", -1)):
        east, north = (x - 2047.5) / 2048.0, -sign * (y - 2047.5) / 2048.0
        lat = sign * np.degrees(np.arcsin(1.0 - east**2 - north**2))
        assert (np.sign(lat) == sign).all()
        rows = at(np.degrees(np.arctan2(north, east)), lat)
        made = computed(SFD, rows, tmp_path / "SFD_dust_4096_ngp.fits", tmp_path / "SFD_dust_4096_sgp.fits")
        np.testing.assert_allclose(made["ebv_sfd"].to_numpy(), true_maps[pole][1][y, x], rtol=1e-3)
        found.append(made["ebv_sfd"].to_numpy())
    assert not np.allclose(found[0], found[1], rtol=1e-2)


def test_the_synthetic_map_has_the_keywords_of_the_published_one(true_maps, maps):
    for path in maps["dust_sfd"]:
        header, _ = true_maps[path.stem[-3:]]
        made = fits.getheader(path)
        for key in ("OBJECT", "BUNIT", "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "LONPOLE", "LAM_NSGP"):
            assert made[key] == header[key], key
        for key in ("CD1_1", "CD2_2"):
            assert np.sign(made[key]) == np.sign(header[key])


def test_the_whole_column_of_the_synthetic_layer_is_found_in_both_hemispheres(maps):
    lon, lat = random_sky(3000)
    steep = np.abs(lat) > 10
    wanted = sky_dust.layer(lon, lat)[steep]
    for declared in (SFD, PLANCK):
        made = computed(declared, at(lon, lat), *maps[declared.name]).columns[1].to_numpy()[steep]
        assert np.median(np.abs(made / wanted - 1.0)) < 0.03
        assert np.quantile(np.abs(made / wanted - 1.0), 0.95) < 0.3


def test_the_two_reddenings_of_the_planck_model_are_not_confused(maps):
    made = computed(PLANCK, at(*random_sky(50)), *maps["dust_planck"])
    # The synthetic model holds 1.05 times the layer as E(B-V), and 1.1 times it as radiance.
    np.testing.assert_allclose(made["ebv_planck_radiance"].to_numpy() / made["ebv_planck"].to_numpy(), 1.05, rtol=1e-5)


def test_reddening_in_three_dimensions_grows_with_distance_and_ends_at_the_whole_column(maps):
    lon, lat = np.full(7, 130.0), np.full(7, 12.0)
    parallax = np.array([20.0, 5.0, 2.0, 1.0, 0.5, 0.1, -3.0])
    made = computed(BAYESTAR, at(lon, lat, parallax=parallax, parallax_error=np.full(7, 1e-4)), *maps["dust_bayestar2019"])
    value = made["reddening_bayestar2019"].to_numpy()
    assert (np.diff(value) >= -1e-7).all()
    assert value[0] < 0.2 * value[-1]
    # Pixels are some 10 degrees wide, and the layer is thin: the map's value is that of the pixel's centre.
    assert value[-1] == pytest.approx(sky_dust.layer(lon, lat)[-1], rel=0.5)


def test_the_error_of_the_reddening_holds_both_the_map_and_the_parallax(maps):
    lon, lat = np.full(2, 130.0), np.full(2, 12.0)
    rows = at(lon, lat, parallax=np.full(2, 3.0), parallax_error=np.array([1e-5, 1.0]))
    made = computed(BAYESTAR, rows, *maps["dust_bayestar2019"])
    value, error = (made[name].to_numpy() for name in ("reddening_bayestar2019", "reddening_bayestar2019_error"))
    # Five samples from 0.92 to 1.08 times the mean.
    assert error[0] == pytest.approx(value[0] * 0.04 * np.sqrt(2.0), rel=1e-3)
    assert error[1] > 3 * error[0]


def test_the_zero_point_of_the_parallax_is_subtracted_where_it_is_known(maps):
    lon, lat = np.full(3, 130.0), np.full(3, 12.0)
    points = pa.array([None, -0.5, None], pa.float32())
    rows = at(lon, lat, parallax=np.array([2.0, 1.5, 1.5]), parallax_zero_point=points)
    value = computed(BAYESTAR, rows, *maps["dust_bayestar2019"])["reddening_bayestar2019"].to_pylist()
    assert value[0] == value[1] < value[2]


def test_sources_outside_the_map_or_without_a_parallax_are_null_in_every_column(maps):
    sky = SkyCoord(ra=[10.0, 10.0, 10.0] * u.deg, dec=[-60.0, 40.0, 40.0] * u.deg).galactic
    rows = at(sky.l.deg, sky.b.deg, parallax=pa.array([1.0, None, 1.0]))
    made = computed(BAYESTAR, rows, *maps["dust_bayestar2019"])
    for name in made.column_names[1:]:
        assert [value is None for value in made[name].to_pylist()] == [True, True, False], name


def test_the_same_map_is_opened_once_and_a_changed_one_again(maps, tmp_path):
    path = tmp_path / "bayestar2019.h5"
    sky_dust.write_bayestar(path)
    first = bayestar((path,))
    assert bayestar((path,)) is first
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    assert bayestar((path,)) is not first
    assert planck(maps["dust_planck"], "tau") is not planck(maps["dust_planck"], "extragalactic")


def test_half_a_pair_of_maps_is_refused(maps):
    with pytest.raises(
        LakeError, match=r"SFD98 needs SFD_dust_4096_ngp.fits and SFD_dust_4096_sgp.fits in one folder.*found: .*ngp"
    ):
        sfd(maps["dust_sfd"][:1])


def test_two_maps_where_one_is_meant_are_refused(maps):
    with pytest.raises(LakeError, match=r"Bayestar map is one file, but 2 are registered.*--replace --raw PATH"):
        bayestar((*maps["dust_bayestar2019"], *maps["dust_planck"]))


def test_a_file_that_is_no_map_is_refused_by_name(tmp_path):
    path = tmp_path / "bayestar2019.h5"
    path.write_text("an error page")
    with pytest.raises(LakeError, match=r"bayestar2019.h5: no bayestar dust map .*fetch it again"):
        bayestar((path,))


def test_maps_are_read_without_a_word_a_warning_or_a_file_in_the_users_home(maps, tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from lake.dust import bayestar, planck, sfd\n"
        "files = [Path(name) for name in sys.argv[1:]]\n"
        "sfd(tuple(files[:2])); planck((files[2],), 'tau'); bayestar((files[3],))\n"
    )
    files = [str(path) for name in ("dust_sfd", "dust_planck", "dust_bayestar2019") for path in maps[name]]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::UserWarning"}
    for name in ("DUSTMAPS_CONFIG_FNAME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    environment["MPLCONFIGDIR"] = str(tmp_path / "not-ours")
    done = subprocess.run(
        [sys.executable, "-c", script, *files], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert not [path for path in tmp_path.rglob("*") if "dustmaps" in path.name]


def test_directions_are_those_of_the_galactic_frame():
    rows = pa.table({"ra": [192.85948, 266.4051], "dec": [27.12825, -28.936175]})
    where = galactic(rows)
    assert where.b.deg[0] == pytest.approx(90.0, abs=1e-3)
    assert (where.l.wrap_at(180 * u.deg).deg[1], where.b.deg[1]) == pytest.approx((0.0, 0.0), abs=1e-3)
