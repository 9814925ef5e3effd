"""Real rows of label surveys, through the declarations that fit them; they lie beside the repository, or the tests skip.

What other people cut from a release holds some of its columns under names of their own: such files are read with the
declaration that fits, its ids or names exchanged for theirs.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.table import Table

from lake.columns import column
from lake.conform import Conformed, conform
from lake.declaration import Mask, Raw
from lake.readers import read
from lake.survey import Survey, survey
from lake.verify import Sample, judge

APOGEE, DR3, DR4 = survey("apogee_dr17"), survey("galah_dr3"), survey("galah_dr4")
# What a real file of a release was not at hand for is declared from its published schema.
SCHEMAS = {
    "apogee_dr17": "allStar-dr17-synspec_rev1",
    "apogee_astronn_dr17": "apogee_astroNN-DR17",
    "apogee_latent_ages_dr17": "nn_latent_age_dr17",
    "galah_dr4": "galah_dr4_allstar_240705",
    "gaia_dr3_gspphot": "astrophysical_parameters",
    "gaia_dr3_gspspec": "astrophysical_parameters",
}
SENTINELS = (0, -1, 999999, -9223372036854775808)


def adapted(declared: Survey, columns: dict[str, Raw], *, without: tuple[str, ...] = (), required: tuple[str, ...]) -> Survey:
    """Return a declaration with other raw names, and without columns that a file holds in another form."""
    kept = {name: raw for name, raw in (declared.columns | columns).items() if name not in without}
    masks = [Mask(tuple(name for name in one.columns if name in kept), one.where) for one in declared.masks]
    return replace(
        declared,
        columns=kept,
        required=("source_id", *required),
        missing={name: held for name, held in declared.missing.items() if name in kept} | {"source_id": SENTINELS},
        masks=tuple(one for one in masks if one.columns and one.where.column in (*kept, *declared.made)),
    )


def whole(declared: Survey, path: Path) -> tuple[Conformed, tuple[str, ...]]:
    """Return the rows of a file of one batch, and the declared columns that it lacks."""
    (batch,) = read(path, declared)
    return conform(batch, declared, path), batch.absent


def floats(table: Table, name: str) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(table[name]).astype(np.float32), np.nan)


def same(found: pa.Table, name: str, wanted: np.ndarray) -> None:
    """Fail unless a column holds the file's numbers, null for NaN."""
    np.testing.assert_array_equal(found[name].to_numpy(), wanted, err_msg=name)


def outside(found: pa.Table) -> list[str]:
    """Return the columns with values that the vocabulary calls impossible."""
    numbers = [name for name in found.column_names if pa.types.is_floating(found[name].type)]
    ends = {name: pc.min_max(found[name]).as_py() for name in numbers if found[name].null_count < len(found)}
    low = [name for name, end in ends.items() if column(name).low is not None and end["min"] < column(name).low]
    return low + [name for name, end in ends.items() if column(name).high is not None and end["max"] > column(name).high]


@pytest.fixture(scope="module")
def stars(shared_data) -> Path:
    """95 stars with the columns of allStar itself, beside others."""
    return shared_data / "apogee" / "Montalban2021_X_APOGEE_DR17.fits"


@pytest.fixture(scope="module")
def filtered(shared_data) -> Path:
    """1,082 stars of allStar under names in small letters."""
    return shared_data / "apogee" / "Apogee_data_filtered_1612.shared.fits.gz"


@pytest.fixture(scope="module")
def galah(shared_data) -> Path:
    """707 stars of GALAH DR3 with its own columns, beside others."""
    return shared_data / "galah" / "Galah_data_filtered_1061.shared.fits.gz"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_raw_column_declared_is_one_of_the_published_schema(name, shared_data):
    with (shared_data / "schemas" / f"{SCHEMAS[name]}.csv").open() as file:
        published = {row["column"] for row in csv.DictReader(file)}
    if name == "galah_dr4":  # the schema names the columns of all elements once
        elements = {raw.name.removesuffix("_fe") for raw in DR4.columns.values() if raw.name.endswith("_fe")}
        assert len(elements - {part for part in elements if "_" in part}) == 31
        published |= {f"{what}{element}_fe" for what in ("", "e_", "flag_") for element in elements}
    assert {raw.name for raw in survey(name).columns.values()} <= published


def test_95_rows_of_allstar_are_read_as_astropy_reads_them(stars):
    found, absent = whole(APOGEE, stars)
    assert absent == ("apstar_id", "location_id", "yb_fe", "yb_fe_error", "yb_fe_flag")
    held, rows = Table.read(stars), found.table
    assert (rows.num_rows, dict(found.dropped), dict(found.masked)) == (95, {}, {})
    assert rows["source_id"].to_pylist() == held["GAIAEDR3_SOURCE_ID"].tolist()
    assert rows["apogee_id"][:2].to_pylist() == ["2M19261694+3745527", "2M19051231+3806294"]
    pairs = {"teff": "TEFF", "m_h_error": "M_H_ERR", "radial_velocity": "VHELIO_AVG", "velocity_scatter": "VSCATTER"}
    pairs |= {"survey_g_mag": "GAIAEDR3_PHOT_G_MEAN_MAG", "survey_ks_mag": "K", "ti2_fe": "TIII_FE", "cu_fe": "CU_FE"}
    for ours, theirs in pairs.items():
        same(rows, ours, floats(held, theirs))
    for place, name in ((0, "teff"), (1, "logg"), (3, "m_h"), (6, "alpha_m")):
        same(rows, f"apogee_{name}_flag", np.asarray(held["PARAMFLAG"])[:, place])
    assert outside(rows) == []


@pytest.mark.parametrize("flag", ["STARFLAG", "ASPCAPFLAG"])
def test_the_bits_of_real_flags_have_the_names_that_stand_beside_them(flag, stars):
    held, names = Table.read(stars), APOGEE.flags[f"apogee_{flag.lower()}"]
    for value, said in zip(held[flag].tolist(), held[f"{flag}S"].tolist(), strict=True):
        written = set(filter(None, (said or "").strip().split(",")))
        assert {name for name, bit in names.items() if value >> bit & 1} == written, value


def test_a_star_that_apogee_calls_bad_keeps_its_row_and_has_no_labels(stars):
    rows = whole(APOGEE, stars)[0].table
    bad = rows.filter(pc.greater_equal(rows["apogee_rank"], 2))
    assert (bad.num_rows, bad["apogee_aspcapflag"].to_pylist()) == (1, [2199031644224])
    assert all(bad[name].null_count == 1 for name in ("teff", "logg", "m_h", "fe_h", "mg_fe"))
    assert bad["radial_velocity"].null_count == bad["snr"].null_count == 0
    assert sorted(rows["apogee_rank"].to_pylist()) == [0] * 94 + [2]


def test_what_the_pipeline_grades_as_bad_in_an_abundance_has_no_value_in_real_rows(stars, filtered):
    for path in (stars, filtered):
        held = Table.read(path)
        for name in held.colnames:
            if name.lower().endswith("_fe_flag"):
                graded = np.asarray(held[name]) & 0b1001101 > 0
                assert np.isnan(floats(held, name[:-5])[graded]).all(), name


def test_1082_rows_of_allstar_under_small_letters_are_read_and_elements_never_measured_are_null(filtered):
    named = {"source_id": Raw("dr3_source_id")}
    found, absent = whole(adapted(APOGEE, named, required=("apogee_id", "teff", "logg", "m_h", "fe_h")), filtered)
    # Their columns are integers here, all of them missing.
    assert all(found.table[name].null_count == 1082 for name in ("p_fe", "cu_fe", "yb_fe"))
    assert (found.table.num_rows, dict(found.dropped)) == (1082, {})
    assert {"telescope", "field", "snr", "apogee_starflag", "apogee_aspcapflag", "radial_velocity"} <= set(absent)
    held = Table.read(filtered)
    assert found.table["source_id"].to_pylist() == held["dr3_source_id"].tolist()
    for name in ("teff", "alpha_m", "fe_h", "c_fe", "na_fe"):
        same(found.table, name, floats(held, name))
    same(found.table, "ce_fe_error", floats(held, "ce_fe_err"))
    assert outside(found.table) == []


def test_707_rows_of_galah_dr3_are_read_as_astropy_reads_them(galah):
    found, absent = whole(DR3, galah)
    rows, held = found.table, Table.read(galah)
    assert (rows.num_rows, dict(found.dropped), absent) == (707, {}, ())
    assert rows["source_id"].to_pylist() == held["dr3_source_id"].tolist()
    assert rows["tmass_id"][0].as_py() == "03292572-6933158"
    for ours, theirs in {"teff": "teff", "logg_error": "e_logg", "snr": "snr_c3_iraf", "radial_velocity": "rv_galah"}.items():
        same(rows, ours, floats(held, theirs))
    assert rows["galah_field_id"].null_count == int((np.asarray(held["field_id"]) == -1).sum()) > 0
    assert outside(rows) == []


def test_upper_limits_of_galah_are_no_values(galah):
    found, _ = whole(DR3, galah)
    held = Table.read(galah)
    limit = np.asarray(held["flag_Li_fe"]) & 1 > 0
    assert np.isfinite(floats(held, "Li_fe")[limit]).all()
    assert limit.sum() == 213 == found.masked["li_fe: li_fe_flag has UPPER_LIMIT or NO_MEASUREMENT"]
    same(found.table, "li_fe", np.where(np.asarray(held["flag_Li_fe"]) == 0, floats(held, "Li_fe"), np.nan))
    same(found.table, "mg_fe", floats(held, "Mg_fe"))


def test_ids_that_are_text_are_read_and_those_that_are_none_counted(shared_data):
    path = shared_data / "galah" / "k2_galah_zinn2022.fits.gz"
    named = {"source_id": Raw("EDR3_source_id"), "sobject_id": Raw("GALAH"), "teff": Raw("Teff"), "fe_h": Raw("FeH")}
    named |= {"teff_error": Raw("e_Teff"), "mg_fe": Raw("MgFe"), "mg_fe_error": Raw("e_MgFe"), "fe_h_error": Raw("e_FeH")}
    found, absent = whole(adapted(DR3, named, required=("teff", "fe_h")), path)
    # The table has ages and masses of its own, but no gravity beside its quantiles, no flags and no velocity.
    assert {"logg", "galah_flag_sp", "fe_h_flag", "snr", "radial_velocity", "survey_j_mag"} <= set(absent)
    held = Table.read(path)
    texts = [str(text).strip() for text in np.ma.filled(held["EDR3_source_id"], "")]
    known = np.array([text.isdigit() and int(text) > 0 for text in texts])
    assert (len(held), found.table.num_rows) == (1332, int(known.sum()))
    assert found.dropped == {"no source_id": 1332 - int(known.sum())}
    assert found.table["source_id"].to_pylist() == [int(text) for text, there in zip(texts, known, strict=True) if there]
    same(found.table, "teff", floats(held, "Teff")[known])
    same(found.table, "mg_fe", floats(held, "MgFe")[known])


def test_benchmark_stars_without_a_gaia_source_are_left_out_and_counted(shared_data):
    path = shared_data / "benchmark" / "gbs_v3_tmass_gaiadr3_hip_allwise_all_columns.shared.fits.gz"
    named = {"source_id": Raw("source_id")}
    found, absent = whole(adapted(DR4, named, required=("teff", "logg", "fe_h")), path)
    # Fundamental parameters have no flags, no abundances but iron, and no error of that.
    assert {"galah_flag_sp", "fe_h_error", "mg_fe", "vmic", "snr", "age"} <= set(absent)
    assert (found.table.num_rows, found.dropped) == (81, {"no source_id": 1})
    held = Table.read(path, unit_parse_strict="silent")
    known = ~np.ma.getmaskarray(held["source_id"])
    assert found.table["source_id"].to_pylist() == np.asarray(held["source_id"])[known].tolist()
    for ours, theirs in {"teff": "teff", "teff_error": "e_teff", "survey_ks_mag": "ks_m"}.items():
        same(found.table, ours, floats(held, theirs)[known])
    assert found.table["tmass_id"][0].as_py() == "00063674+2901175"
    assert outside(found.table) == []


def test_eleven_stars_have_labels_of_apogee_and_of_galah_that_agree(filtered, galah):
    named, never = {"source_id": Raw("dr3_source_id")}, ("p_fe", "cu_fe", "yb_fe")
    apogee = whole(adapted(APOGEE, named, without=never, required=("teff",)), filtered)[0].table
    southern = whole(DR3, galah)[0].table
    common = np.intersect1d(apogee["source_id"], southern["source_id"], return_indices=True)
    assert len(common[0]) == 11
    for name, offset, spread in (("teff", 150.0, 200.0), ("logg", 0.2, 0.4), ("fe_h", 0.1, 0.15), ("mg_fe", 0.15, 0.2)):
        first, second = apogee[name].to_numpy()[common[1]], southern[name].to_numpy()[common[2]]
        apart = (first - second)[np.isfinite(first - second)]
        assert len(apart) >= 10
        assert abs(np.median(apart)) < offset, name
        assert np.std(apart) < spread, name


@pytest.mark.parametrize(("name", "ids"), [("apogee_dr17", "GAIAEDR3_SOURCE_ID"), ("galah_dr3", "dr3_source_id")])
def test_relations_hold_for_real_rows_and_break_when_they_are_moved_by_one(name, ids, stars, galah):
    """Colours of EDR3 and velocities of DR2, which the files hold, stand for those of gaia_source."""
    held = Table.read(stars if name == "apogee_dr17" else galah)
    rows = whole(survey(name), stars if name == "apogee_dr17" else galah)[0].table
    old = {"apogee_dr17": "GAIAEDR3_DR2_RADIAL_VELOCITY", "galah_dr3": "rv_gaia_dr2"}[name]
    gaia = {"radial_velocity": floats(held, old)}
    if name == "apogee_dr17":
        colour = floats(held, "GAIAEDR3_PHOT_BP_MEAN_MAG") - floats(held, "GAIAEDR3_PHOT_RP_MEAN_MAG")
        gaia |= {("phot_bp_mean_mag", "phot_rp_mean_mag"): colour, "phot_g_mean_mag": floats(held, "GAIAEDR3_PHOT_G_MEAN_MAG")}
    judged = [one for one in survey(name).relations if all(part in gaia for part in one.against) and one.value != "teff"]
    assert len(judged) == (3 if name == "apogee_dr17" else 1)
    for relation in judged:
        parts = (relation.value,) if isinstance(relation.value, str) else relation.value
        value = np.subtract.reduce([rows[part].to_numpy() for part in parts]).astype(float)
        against = np.stack([gaia[part] for part in relation.against], axis=1).astype(float)
        there = np.isfinite(value) & np.isfinite(against).all(axis=1)
        pairs = Sample(np.asarray(held[ids])[there], value[there], against[there], int(there.sum()))
        assert judge(relation, pairs)["sound"] is True
        assert judge(relation, replace(pairs, value=np.roll(pairs.value, 1)))["sound"] is False
