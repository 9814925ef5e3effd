"""What pipelines that joined these surveys are known to have got wrong, a sentence each, and would not be noticed in a table.

Others stand where the parts are tested: magnitudes of other stars (test_verify, jobs/test_scrambled), 2MASS joined by another
table's numbers, letters, bits and precedence of cuts (test_photometry), errors scaled apart from values (test_pretrain), ids
through floating numbers and text in columns of numbers (test_conform), rows kept by the order of files (test_merge), sources
lost for want of a value (test_join), sources in both parts of a split, parallaxes (models/test_fit, models/test_features).
"""

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds
import pytest

from lake.columns import COLUMNS, column, extinction, labels, photometry
from lake.conform import conform
from lake.pretrain import SOURCES, WIDE
from lake.readers import read
from lake.survey import OBSERVATIONS, survey, surveys
from lake.table import Table
from models.features import gaia_features

PHOTOMETRY = [name for name, declared in surveys().items() if declared.kind == "photometry"]
OPTICAL = {"panstarrs1_dr1": "grizy", "sdss_dr13": "ugriz", "skymapper_dr4": "uvgriz"}


def magnitudes(name: str) -> list[str]:
    return [one for one in survey(name).every_column if one.endswith("_mag")]


# --- photometry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHOTOMETRY)
def test_flags_that_condemn_are_required_so_that_no_cut_is_left_out_in_silence(name):
    declared = survey(name)
    deciding = {one.where.column for one in declared.masks if one.where.bits or one.where.other_than}
    assert deciding <= set(declared.required)


@pytest.mark.parametrize("name", OPTICAL)
def test_every_optical_band_has_a_bright_and_a_faint_limit_and_a_largest_error(name):
    for band in OPTICAL[name]:
        (mag,) = [one for one in magnitudes(name) if one.endswith(f"_{band}_mag")]
        conditions = [one.where for one in survey(name).masks if {mag, f"{mag}_error"} <= set(one.columns)]
        for decides, bound in ((mag, "below"), (mag, "above"), (f"{mag}_error", "below"), (f"{mag}_error", "above")):
            assert any(one.column == decides and getattr(one, bound) is not None for one in conditions), (decides, bound)


@pytest.mark.parametrize("name", PHOTOMETRY)
def test_a_cut_in_one_band_costs_that_band_alone(name):
    for one in survey(name).masks:
        bands = {column.removesuffix("_error") for column in one.columns if "_mag" in column}
        assert len(bands) <= 1, one


@pytest.mark.parametrize("name", PHOTOMETRY)
def test_every_magnitude_says_its_system_and_has_its_error_beside(name):
    for mag in magnitudes(name):
        assert "(Vega)" in column(mag).description or "AB" in column(mag).description
        assert (f"{mag}_error" in survey(name).every_column) == (name != "catwise_andrae2023")
        assert column(mag).unit == "mag"


def test_no_column_stands_for_its_own_error(small_lake):
    assert all(WIDE[f"{name}_error"] != wide for name, wide in WIDE.items() if f"{name}_error" in WIDE)
    features = gaia_features(pa.schema([column(name).field(55) for names in SOURCES.values() for name in names]))
    assert len(features) > 10
    assert all(one.error_column != one.column for one in features)


# --- ids and values -------------------------------------------------------------------------------------------------


def test_no_identifier_is_a_floating_number():
    named = [one for one in COLUMNS.values() if one.name.endswith(("_id", "_index", "obsid"))]
    assert len(named) > 15
    assert [one.name for one in named if not (kinds.is_integer(one.type) or kinds.is_string(one.type))] == []


def test_no_sentinel_of_a_label_or_a_magnitude_passes_for_a_value():
    numbers = [
        one for one in (*labels.COLUMNS, *photometry.COLUMNS) if one.type == pa.float32() and one.unit not in ("", "arcsec")
    ]
    numbers += [column(name) for name in ("snr", "radial_velocity", "parallax")]
    assert len(numbers) > 150
    for one in numbers:
        assert one.low is not None and one.low > -9999, one.name
        assert one.high is not None and one.high < 999_999, one.name
    # Half of the distant stars have one.
    assert column("parallax").low < 0


@pytest.mark.parametrize("name", ["galah_dr4", "lamost_dr8", "segue_sspp", "rave_dr6"])
def test_one_bad_value_costs_itself_and_no_other_column_of_the_star(name, synthetic, draw_ids, suffix, tmp_path):
    declared = survey(name)
    rows = synthetic.rows(declared, draw_ids(8, 3), integer_nulls=False)
    at = rows.column_names.index("radial_velocity")
    bad = rows.set_column(at, rows.schema.field(at), pa.array([-9999.5] * 8, pa.float32()))
    path = synthetic.write(declared, bad, tmp_path / f"raw{suffix[declared.dialects[0]]}", declared.dialects[0])
    found = synthetic.read(path, declared)
    assert found["radial_velocity"].null_count == found["radial_velocity_error"].null_count == 8
    others = [one for one in rows.column_names if not one.startswith("radial_velocity")]
    assert found.select(others).equals(rows.select(others))


# --- labels ---------------------------------------------------------------------------------------------------------


def test_a_metallicity_is_named_by_what_was_measured():
    raw = {name: {canonical: one.name.lower() for canonical, one in survey(name).columns.items()} for name in surveys()}
    assert (raw["apogee_dr17"]["m_h"], raw["apogee_dr17"]["fe_h"]) == ("m_h", "fe_h")
    assert (raw["galah_dr4"]["fe_h"], raw["rave_dr6"]["m_h"]) == ("fe_h", "m_h_cal_madera")
    assert "m_h" not in raw["galah_dr4"]
    assert raw["apogee_dr17"]["alpha_m"] == "alpha_m"
    assert "alpha_fe" not in raw["apogee_dr17"]
    # A metallicity made of Gaia's own spectra is no label of a model that sees them.
    assert not {"fe_h", "m_h"} & set(survey("pristine").every_column)


def test_no_error_is_invented_where_a_survey_gives_none():
    held = survey("galah_dr4").every_column
    assert {"age", "mass"} <= set(held)
    assert not {"age_error", "mass_error"} & set(held)


def test_a_star_that_was_observed_more_than_once_stays_with_its_best_row(synthetic, draw_ids, new_lake, build, tmp_path):
    declared = survey("apogee_dr17")
    first, second = draw_ids(2, 5)
    rows = synthetic.rows(declared, [first, first, first, second], integer_nulls=False)
    given = {
        "snr": pa.array([50.0, 200.0, 120.0, 30.0], pa.float32()),
        "apogee_aspcapflag": pa.array([0, 1 << 23, 0, 0], pa.int64()),
        "apogee_extratarg": pa.array([16, 0, 0, 0], pa.int32()),
    }
    for name, values in given.items():
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)
    path = synthetic.write(declared, rows, tmp_path / "allStar-dr17.fits", "fits")
    (manifest,) = build.ingest(new_lake, declared.name, path).manifests
    found = build.whole(Table(new_lake.storage, manifest, new_lake.grid))
    assert manifest.account["dropped"] == {"not the best observation of its source": 2}
    assert dict(zip(found["source_id"].to_pylist(), found[OBSERVATIONS].to_pylist(), strict=True)) == {first: 3, second: 1}
    assert dict(zip(found["source_id"].to_pylist(), found["snr"].to_pylist(), strict=True)) == {first: 120.0, second: 30.0}


@pytest.mark.parametrize("name", [name for name, declared in surveys().items() if declared.kind == "labels"])
def test_every_table_of_labels_has_one_row_per_source_by_a_rule_that_does_not_ask_for_the_order_of_rows(name):
    declared = survey(name)
    unique = ("gaia_dr3_gspphot", "gaia_dr3_gspspec", "pristine", "li2022")  # one row per source is what they are
    assert (declared.duplicates == "best") == (name not in unique)


# --- spectra and dust -----------------------------------------------------------------------------------------------


def test_what_tells_noise_from_signal_in_a_spectrum_stands_beside_its_coefficients():
    for band in ("bp", "rp"):
        assert {f"{band}_n_relevant_bases", f"{band}_standard_deviation", f"{band}_coefficient_errors"} <= set(WIDE)
        assert f"{band}_coefficient_correlations" in survey("gaia_dr3_xp").tables["gaia_dr3_xp_correlations"]


def test_every_reddening_says_its_map_its_version_and_its_unit():
    numbers = [one for one in extinction.COLUMNS if one.type == pa.float32()]
    assert {one.name for one in numbers} >= {"ebv_sfd", "ebv_planck", "reddening_bayestar2019", "reddening_bayestar2019_error"}
    for one in numbers:
        assert one.unit == "mag"
        assert any(version in one.description for version in ("SFD98", "R1.20", "ayestar2019")), one
    # Along the line of sight a map to infinity is too large for near stars; the map in three dimensions says how far it reaches.
    assert {"bayestar2019_reliable", "bayestar2019_converged"} <= set(survey("dust_bayestar2019").every_column)
    assert {"l", "b"} <= set(survey("gaia_dr3_source").columns)


def test_upper_limits_are_no_abundances(tmp_path, synthetic, draw_ids):
    declared = survey("galah_dr4")
    rows = synthetic.rows(declared, draw_ids(6, 4), integer_nulls=False)
    zero = pa.array(np.zeros(6, np.int32))
    for name, values in (("galah_flag_sp", zero), ("li_fe_flag", pa.array([0, 1, 2, 4, 32, 64], pa.int32()))):
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)
    at = rows.column_names.index("li_fe")
    rows = rows.set_column(at, rows.schema.field(at), pa.array([1.0] * 6, pa.float32()))
    path = synthetic.write(declared, rows, tmp_path / "galah.fits", "fits")
    (batch,) = read(path, declared)
    found = conform(batch, declared, path)
    assert found.table["li_fe"].to_pylist() == [1.0, None, None, None, None, None]
    assert found.masked["li_fe: li_fe_flag has " + " or ".join(declared.flags["li_fe_flag"])] == 5


# --- files ----------------------------------------------------------------------------------------------------------

FILES = {
    "1662662797548O-result.csv.gz": {"gaia_dr3_source"},
    "GaiaSource_000000-003111.csv.gz": {"gaia_dr3_source"},
    "AstrophysicalParameters_000000-003111.csv.gz": {"gaia_dr3_gspphot", "gaia_dr3_gspspec"},  # one file holds both
    "gspspec-2-result.csv.gz": {"gaia_dr3_gspspec"},
    "tmass_psc_000000-003111.fits": {"tmass_psc"},
    "twomass.fits": {"tmass_psc"},
    "tmasspscxscBestNeighbour0001.csv.gz": set(),  # the match without the magnitudes
    "panstarrs1_dr1_000000-003111.fits": {"panstarrs1_dr1"},
    "panstarrs1BestNeighbour0001.csv.gz": set(),
    "sdss.fits": {"sdss_dr13"},
    "sdss_dr13-result.vot": {"sdss_dr13"},
    "sdss-apogee-dr17.fits": {"apogee_dr17"},
    "allStar-dr17-synspec_rev1.fits": {"apogee_dr17"},
    "apogee_astroNN-DR17.fits": {"apogee_astronn_dr17"},
    "galah_dr4_allstar_240705.fits": {"galah_dr4"},
    "GALAH_DR3_main_allstar_v2.fits": {"galah_dr3"},
    "0000m016.cat.fits": {"unwise_neo6"},
    "0000m016.1.cat.fits": set(),  # one band
    "training_params.h5": {"labels"},
}


@pytest.mark.parametrize("name", FILES)
def test_in_a_folder_that_surveys_share_each_takes_its_own_files(name):
    assert {one for one, declared in surveys().items() if declared.accepts(name)} == FILES[name]
