"""Labels of several surveys become one value per star: weights, outliers, advice, families; all rows are synthetic."""

import numpy as np
import pyarrow as pa
import pytest

from jobs.dialects import write
from lake.columns import COLUMNS, column
from lake.columns.homogenised import SOURCES
from lake.conform import conform
from lake.errors import LakeError
from lake.homogenise import COLUMNS_OF, HUBER, LABELS, combine, refusals, robust_mean, schema_columns
from lake.label_sources import CATALOGUES
from lake.readers import read
from lake.survey import survey

STAR = 5853498713190525696
ON = {"galah_dr4": "galah_dr4_on_apogee_dr17", "galah_dr3": "galah_dr3_on_apogee_dr17", "lamost_dr8": "lamost_dr8_on_apogee_dr17"}
FLOOR = {source.name: source.floors for source in CATALOGUES}
VALUES = {"teff": 5000.0, "logg": 3.0, "metallicity": -0.5, "mg_fe": 0.1, "velocity": 20.0}
GOOD_GALAH = {"galah_flag_sp": 0, "snr": 80.0}
GOOD_LAMOST = {"lamost_snr_g": 90.0, "label_origin": "lamost_dr8"}
ORIGINALS = {"teff": 5050.0, "logg": 3.2, "fe_h": -0.4, "mg_fe": 0.2, "radial_velocity": 21.0}


def joined(rows: int = 1, **tables: dict[str, object]) -> pa.Table:
    """Return the joined rows of a lake that has all tables; what is not named is null."""
    columns: dict[str, pa.Array] = {"source_id": pa.array(STAR + np.arange(rows), pa.int64())}
    for table, names in COLUMNS_OF.items():
        given = tables.get(table, {})
        assert set(given) <= set(names), set(given) - set(names)
        for name in names:
            value = given.get(name)
            values = value if isinstance(value, list | np.ndarray) else [value] * rows
            columns[f"{table}.{name}"] = pa.array(values, column(name).type, from_pandas=True)
    return pa.table(columns)


def apogee(**changes: object) -> dict[str, object]:
    good = {"teff": 5000.0, "teff_error": 12.0, "logg": 3.0, "logg_error": 0.03, "m_h": -0.5, "m_h_error": 0.008}
    good |= {"mg_fe": 0.1, "mg_fe_error": 0.01, "radial_velocity": 20.0, "radial_velocity_error": 0.05}
    return good | {"velocity_scatter": 0.0, "apogee_starflag": 0} | changes


def translated(spread: float = 1.0, **changes: object) -> dict[str, object]:
    """Return a good translation: half its 16-84 interval is `spread` times 30 K, 0.05 dex, 0.5 km/s; systematic, 0.4 of it."""
    rows: dict[str, object] = {"intrinsic_in_domain": True, "extrinsic_in_domain": True}
    for name, value in VALUES.items():
        sigma = spread * {"teff": 30.0, "velocity": 0.5}.get(name, 0.05)
        rows |= {f"{name}_p16": value - sigma, f"{name}_p50": value, f"{name}_p84": value + sigma}
        rows[f"{name}_systematic"] = 0.4 * sigma
    return rows | changes


def authors(**changes: object) -> dict[str, object]:
    good = {name: value for name, value in translated().items() if "domain" not in name}
    good |= {"intrinsic_input_covered": True, "intrinsic_output_covered": True, "extrinsic_input_covered": True}
    return good | {"intrinsic_input_missing": False, "extrinsic_input_missing": False, "percentiles_ordered": True} | changes


def galah(release: str = "galah_dr4", spread: float = 1.0, **changes: object) -> dict[str, dict[str, object]]:
    return {ON[release]: translated(spread, **changes), release: GOOD_GALAH | ORIGINALS}


def lamost(**changes: object) -> dict[str, dict[str, object]]:
    original = {name: value for name, value in ORIGINALS.items() if name != "mg_fe"} | {"alpha_m": 0.2}
    return {ON["lamost_dr8"]: translated(**changes), "lamost_dr8": GOOD_LAMOST | original}


def first(table: pa.Table) -> dict[str, object]:
    return combine(table).to_pylist()[0]


def bits(*names: str) -> int:
    return sum(1 << list(SOURCES).index(name) for name in names)


# The mean.


def test_equal_errors_give_the_plain_mean_and_the_error_over_the_root_of_their_number():
    values, errors = np.array([[1.0, 5.0], [1.2, 5.0], [0.8, np.nan]]), np.array([[0.3, 2.0], [0.3, 2.0], [0.3, 2.0]])
    mean, error, chi2 = robust_mean(values, errors)
    np.testing.assert_allclose(mean, [1.0, 5.0])
    np.testing.assert_allclose(error, [0.3 / np.sqrt(3), 2.0 / np.sqrt(2)])
    np.testing.assert_allclose(chi2, [2 * (0.2 / 0.3) ** 2, 0.0], atol=1e-12)


def test_two_values_are_weighted_by_inverse_variance():
    mean, error, _ = robust_mean(np.array([[0.0], [3.0]]), np.array([[1.0], [2.0]]))
    np.testing.assert_allclose([mean[0], error[0]], [3.0 / 5.0, np.sqrt(0.8) * np.sqrt(max(1.0, 9.0 / 5.0))])


def test_of_three_values_an_outlier_moves_the_mean_by_less_than_its_share():
    values = np.array([[0.0, 0.0], [0.1, 0.1], [10.0, 1.0]])
    mean, error, chi2 = robust_mean(values, np.ones((3, 2)))
    share = HUBER / 9.9
    np.testing.assert_allclose(mean[0], (0.1 + 10.0 * share) / (2 + share))
    assert mean[0] - 0.05 < 0.3 * (values[:, 0].mean() - 0.05)
    assert error[0] > 3.0 > 1.0 > error[1]
    assert chi2[0] > 50.0
    np.testing.assert_allclose(mean[1], values[:, 1].mean())


def test_the_mean_of_mirrored_values_is_the_mirrored_mean_also_where_weights_split_in_halves():
    values = np.array([[0.0, 3.0], [1.0, -2.0], [10.0, np.nan], [15.0, 40.0]])
    mean, error, chi2 = robust_mean(values, np.ones((4, 2)))
    mirrored = robust_mean(-values, np.ones((4, 2)))
    np.testing.assert_allclose(mirrored, (-mean, error, chi2))
    assert 1.0 < mean[0] < 10.0


def test_two_that_contradict_keep_their_mean_and_inflate_its_error():
    mean, error, chi2 = robust_mean(np.array([[0.0], [8.0]]), np.ones((2, 1)))
    np.testing.assert_allclose([mean[0], error[0], chi2[0]], [4.0, np.sqrt(0.5) * np.sqrt(32.0), 32.0])


def test_one_value_is_itself_and_none_is_nothing():
    mean, error, chi2 = robust_mean(np.array([[4.0, np.nan], [np.nan, 3.0]]), np.array([[0.5, 1.0], [1.0, np.nan]]))
    np.testing.assert_array_equal(mean, [4.0, np.nan])
    np.testing.assert_array_equal(error, [0.5, np.nan])
    assert np.isnan(chi2).all()


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_means_are_honest_when_those_of_the_values_are(seed):
    """Drawn with a fixed seed: means scatter by their errors, and not by much less, also where one in three is an outlier."""
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.5, 2.0, (3, 20_000))
    mean, error, _ = robust_mean(rng.normal(0.0, errors), errors)
    assert 0.8 < np.std(mean / error) <= 1.02
    values = rng.normal(0.0, errors)
    values[rng.integers(0, 3, 20_000), np.arange(20_000)] += 30.0
    mean, error, _ = robust_mean(values, errors)
    plain = np.sum(values / errors**2, axis=0) / np.sum(errors**-2.0, axis=0)
    assert np.median(np.abs(mean)) < 0.3 * np.median(np.abs(plain))
    assert np.mean(np.abs(mean) < 2.0 * error) > 0.9


# Candidates.


def test_three_surveys_that_agree_are_combined_and_each_of_them_stands_beside():
    row = first(joined(apogee_dr17=apogee(), **galah(), **lamost()))
    for label, name in zip(LABELS, VALUES, strict=True):
        assert row[label] == pytest.approx(VALUES[name])
        assert (row[f"{label}_n_sources"], row[f"{label}_sources"]) == (3, bits("apogee_dr17", "galah_dr4", "lamost_dr8"))
        errors = [row[f"{label}_{source}_error"] for source in ("apogee_dr17", "galah_dr4", "lamost_dr8")]
        assert row[f"{label}_error"] == pytest.approx(np.sum(np.square(errors) ** -1.0) ** -0.5, rel=1e-6)
        assert row[f"{label}_chi2"] == pytest.approx(0.0, abs=1e-6)
        assert row[f"{label}_galah_dr3"] is None
    assert row["teff_apogee_dr17_correction"] == 0.0
    assert row["teff_galah_dr4_correction"] == pytest.approx(-50.0)
    assert row["m_h_lamost_dr8_correction"] == pytest.approx(-0.1, abs=1e-6)
    assert row["mg_fe_lamost_dr8_correction"] == pytest.approx(-0.1, abs=1e-6)


def test_an_error_has_the_interval_the_systematic_part_and_the_floor_in_it():
    row = first(joined(apogee_dr17=apogee(), **galah()))
    assert row["teff_apogee_dr17_error"] == pytest.approx(np.hypot(12.0, FLOOR["apogee_dr17"]["teff"]))
    assert row["teff_galah_dr4_error"] == pytest.approx(np.sqrt(30.0**2 + 12.0**2 + FLOOR["galah_dr4"]["teff"] ** 2))


def test_no_error_is_ever_below_the_floor_of_its_source():
    tiny = {f"{label}_error": 1e-6 for label in LABELS}
    row = first(joined(apogee_dr17=apogee(**tiny), **galah(spread=1e-6), **lamost()))
    for label in LABELS:
        assert row[f"{label}_apogee_dr17_error"] == pytest.approx(FLOOR["apogee_dr17"][label], rel=1e-4)
        assert row[f"{label}_galah_dr4_error"] >= FLOOR["galah_dr4"][label] * (1 - 1e-6)
    assert all(set(floors) == set(LABELS) and min(floors.values()) > 0 for floors in FLOOR.values())


def test_the_scatter_of_a_binary_goes_into_the_error_of_its_velocity_and_of_nothing_else():
    calm, binary, single = (first(joined(apogee_dr17=apogee(velocity_scatter=one))) for one in (0.0, 12.0, None))
    assert binary["radial_velocity_error"] == pytest.approx(
        np.sqrt(12.0**2 + 0.05**2 + FLOOR["apogee_dr17"]["radial_velocity"] ** 2)
    )
    assert binary["teff_error"] == calm["teff_error"]
    assert single["radial_velocity_error"] == calm["radial_velocity_error"]


@pytest.mark.parametrize("error", [None, 0.0, -1.0, np.inf])
def test_a_published_value_without_a_valid_error_is_kept_but_in_no_mean(error):
    table = joined(apogee_dr17=apogee(teff_error=error), **galah())
    row = first(table)
    assert (row["teff_apogee_dr17"], row["teff_apogee_dr17_error"], row["teff_sources"]) == (5000.0, None, bits("galah_dr4"))
    assert row["logg_n_sources"] == 2
    assert refusals(table) == {"teff apogee_dr17: no valid error": 1}


@pytest.mark.parametrize(
    "broken",
    [
        {"teff_p16": None},
        {"teff_systematic": None},
        {"teff_p16": 5005.0, "teff_p84": 4995.0},
        {"teff_p16": 5000.0, "teff_p84": 5000.0, "teff_systematic": 0.0},
        {"teff_systematic": -4.0},
    ],
)
def test_a_translation_without_a_valid_error_is_kept_but_in_no_mean(broken):
    table = joined(apogee_dr17=apogee(), **galah(**broken))
    row = first(table)
    assert (row["teff_galah_dr4"], row["teff_galah_dr4_error"], row["teff_n_sources"]) == (5000.0, None, 1)
    assert refusals(table) == {"teff galah_dr4: no valid error": 1}


@pytest.mark.parametrize("sentinel", [-9999.0, -99999.0, 999999.0, np.inf])
def test_a_sentinel_that_slipped_through_is_no_value(sentinel):
    wrong = dict.fromkeys(LABELS, sentinel)
    row = first(joined(apogee_dr17=apogee(**wrong), **galah()))
    for label, name in zip(LABELS, VALUES, strict=True):
        assert row[label] == pytest.approx(VALUES[name])
        assert row[f"{label}_apogee_dr17"] is row[f"{label}_apogee_dr17_error"] is row[f"{label}_apogee_dr17_correction"] is None


# Advice.


@pytest.mark.parametrize("inside", [False, None])
def test_outside_the_domain_of_its_translation_a_value_is_kept_but_in_no_mean(inside):
    table = joined(apogee_dr17=apogee(), **galah(intrinsic_in_domain=inside))
    row = first(table)
    for label in LABELS[:4]:
        assert (row[f"{label}_n_sources"], row[f"{label}_sources"]) == (1, bits("apogee_dr17"))
        assert row[f"{label}_galah_dr4"] is not None
        assert row[f"{label}_chi2"] is None
    assert row["radial_velocity_n_sources"] == 2
    assert sum(refusals(table).values()) == 4


@pytest.mark.parametrize("bad", [{"galah_flag_sp": 4}, {"galah_flag_sp": None}, {"snr": 12.0}, {"snr": None}])
def test_a_star_that_galah_advises_against_takes_no_part(bad):
    tables = galah()
    tables["galah_dr4"] |= bad
    row = first(joined(apogee_dr17=apogee(), **tables))
    assert all(row[f"{label}_sources"] == bits("apogee_dr17") for label in LABELS)
    assert row["teff_galah_dr4"] == 5000.0
    assert row["teff_galah_dr4_correction"] == pytest.approx(-50.0)


@pytest.mark.parametrize(
    ("bad", "left"), [({"lamost_snr_g": 11.0}, 0), ({"label_origin": "lamost_hotpayne"}, 1), ({"label_origin": None}, 1)]
)
def test_spectra_of_lamost_that_are_poor_or_labelled_by_others_take_no_part(bad, left):
    tables = lamost()
    tables["lamost_dr8"] |= bad
    row = first(joined(**tables))
    assert [row[f"{label}_n_sources"] for label in LABELS] == [0, 0, 0, 0, left]
    assert row["teff"] is None
    assert row["teff_lamost_dr8"] == 5000.0


@pytest.mark.parametrize(
    ("flag", "all_labels"), [(1 << 0, True), (1 << 3, True), (None, True), (1 << 22, False), (1 << 18, False), (1 << 9, None)]
)
def test_spoiled_spectra_of_apogee_take_no_part_and_failed_velocities_no_part_in_the_velocity(flag, all_labels):
    row = first(joined(apogee_dr17=apogee(apogee_starflag=flag)))
    wanted = {True: [0, 0, 0, 0, 0], False: [1, 1, 1, 1, 0], None: [1, 1, 1, 1, 1]}[all_labels]
    assert [row[f"{label}_n_sources"] for label in LABELS] == wanted


# Families.


def test_two_releases_of_galah_count_once_and_the_later_one_counts():
    row = first(
        joined(**galah("galah_dr4"), **galah("galah_dr3", teff_p50=5030.0), spectrotranslator_g2a=authors(teff_p50=4900.0))
    )
    alone = first(joined(**galah("galah_dr4")))
    assert all(row[f"{label}_sources"] == bits("galah_dr4") for label in LABELS)
    assert (row["teff"], row["teff_error"], row["teff_chi2"]) == (alone["teff"], alone["teff_error"], None)
    assert (row["teff_galah_dr3"], row["teff_galah_dr3_g2a"]) == (5030.0, 4900.0)


def test_a_label_that_the_later_release_lacks_comes_from_the_earlier_one():
    row = first(joined(**galah("galah_dr4", mg_fe_p50=None), **galah("galah_dr3")))
    assert (row["mg_fe_sources"], row["teff_sources"]) == (bits("galah_dr3"), bits("galah_dr4"))
    assert row["mg_fe_n_sources"] == 1


def test_where_the_later_release_is_advised_against_the_earlier_is_not_asked_instead():
    tables = galah("galah_dr4") | galah("galah_dr3")
    tables["galah_dr4"] |= {"galah_flag_sp": 8}
    table = joined(**tables)
    assert first(table)["teff_n_sources"] == 0
    assert refusals(table)["teff galah_dr3: an earlier catalogue of the same spectra has one"] == 1
    assert refusals(table)["teff galah_dr4: galah_dr4.galah_flag_sp not 0, absent"] == 1


def test_the_authors_translation_counts_where_ours_gives_nothing():
    row = first(joined(galah_dr3=GOOD_GALAH | ORIGINALS, spectrotranslator_g2a=authors()))
    assert all(row[f"{label}_sources"] == bits("galah_dr3_g2a") for label in LABELS)
    assert row["teff_galah_dr3_g2a_correction"] == pytest.approx(-50.0)


@pytest.mark.parametrize(
    ("bad", "left"),
    [
        ({"intrinsic_input_missing": True}, [0, 0, 0, 0, 1]),
        ({"extrinsic_input_missing": True}, [1, 1, 1, 1, 0]),
        ({"intrinsic_output_covered": False}, [0, 0, 0, 0, 1]),
        ({"intrinsic_input_covered": None}, [0, 0, 0, 0, 1]),
        ({"extrinsic_input_covered": False}, [1, 1, 1, 1, 0]),
        ({"percentiles_ordered": False}, [0, 0, 0, 0, 0]),
    ],
)
def test_means_of_the_training_stars_in_the_authors_table_are_no_labels(bad, left):
    row = first(joined(galah_dr3=GOOD_GALAH | ORIGINALS, spectrotranslator_g2a=authors(**bad)))
    assert [row[f"{label}_n_sources"] for label in LABELS] == left


# Tables.


def crowd(rows: int) -> pa.Table:
    """Return rows in which every table lacks some values and some stars are flagged."""
    rng = np.random.default_rng(7)

    def noisy(values: dict[str, object]) -> dict[str, object]:
        made = {}
        for name, value in values.items():
            if isinstance(value, float):
                gone = rng.random(rows) < 0.2
                made[name] = np.where(gone, np.nan, value * (1 + 0.02 * rng.normal(size=rows)))
            elif isinstance(value, bool):
                made[name] = [bool(one) for one in rng.random(rows) < 0.8]
            else:
                made[name] = value
        return made

    tables = {"apogee_dr17": apogee(), **galah(), **galah("galah_dr3"), **lamost(), "spectrotranslator_g2a": authors()}
    return joined(rows, **{name: noisy(values) for name, values in tables.items()})


def test_neither_order_nor_partitioning_changes_a_bit():
    table = crowd(200)
    whole = combine(table)
    assert len(set(whole["teff_sources"].to_pylist())) > 5
    shuffled = np.random.default_rng(1).permutation(200)
    assert combine(table.take(pa.array(shuffled))).equals(whole.take(pa.array(shuffled)))
    cuts = [0, 1, 2, 5, 70, 199, 200]
    parts = [combine(table.slice(a, b - a)) for a, b in zip(cuts, cuts[1:], strict=False)]
    assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())


def test_the_counts_are_those_of_the_bits_and_values_that_are_in_no_mean_are_counted():
    table = crowd(300)
    made = combine(table)
    for label in LABELS:
        held = made[f"{label}_sources"].to_numpy()
        assert [bin(one).count("1") for one in held] == made[f"{label}_n_sources"].to_pylist()
        there = sum(300 - made[f"{label}_{name}"].null_count for name in SOURCES)
        lost = sum(rows for reason, rows in refusals(table).items() if reason.startswith(f"{label} "))
        assert there - lost == made[f"{label}_n_sources"].to_numpy().sum() > 0
        assert made[label].null_count == int((held == 0).sum()) == made[f"{label}_error"].null_count


def test_no_rows_and_rows_without_labels_have_all_columns_and_no_values():
    empty, null = combine(joined(0)), combine(joined(3))
    assert empty.schema == null.schema
    assert (empty.num_rows, null.num_rows) == (0, 3)
    assert empty.column_names == ["source_id", *schema_columns()]
    for name in schema_columns():
        if name.endswith(("_n_sources", "_sources", "age_source")):
            assert null[name].to_pylist() == [0, 0, 0]
        else:
            assert null[name].null_count == 3, name


def test_columns_are_in_the_vocabulary_and_the_combined_label_comes_first():
    assert set(schema_columns()) <= set(COLUMNS)
    made = combine(joined(1))
    assert schema_columns()[:6] == ("teff", "teff_error", "teff_n_sources", "teff_sources", "teff_chi2", "teff_apogee_dr17")
    assert made.schema.field("teff_sources").type == pa.int32()
    assert made.schema.field("teff_n_sources").type == pa.int16()
    assert all(
        made.schema.field(name).type == pa.float32() for name in ("teff", "teff_chi2", "age", "mg_fe_lamost_dr8_correction")
    )
    assert [source.name for source in CATALOGUES] == list(SOURCES)
    for bit, name in enumerate(SOURCES):
        assert f"{bit} {name}" in column("m_h_sources").description


def test_a_lake_that_lacks_tables_is_combined_from_those_it_has():
    whole = joined(apogee_dr17=apogee())
    alone = whole.select([name for name in whole.column_names if name.startswith(("source_id", "apogee_dr17."))])
    assert combine(alone).equals(combine(whole))


@pytest.mark.parametrize("release", ["galah_dr4", "galah_dr3"])
def test_without_the_table_that_holds_its_flags_a_translation_takes_no_part(release):
    whole = joined(apogee_dr17=apogee(), **galah(release))
    made = first(whole.select([name for name in whole.column_names if not name.startswith(f"{release}.")]))
    assert made["teff_sources"] == bits("apogee_dr17")
    assert (made[f"teff_{release}"], made[f"teff_{release}_correction"]) == (5000.0, None)


def test_a_join_that_lost_columns_on_the_way_is_refused():
    whole = joined(apogee_dr17=apogee())
    with pytest.raises(LakeError, match="lacks apogee_starflag of apogee_dr17; read all that COLUMNS_OF"):
        combine(whole.drop_columns(["apogee_dr17.apogee_starflag"]))
    with pytest.raises(LakeError, match="combined by source_id"):
        combine(whole.drop_columns(["source_id"]))
    with pytest.raises(LakeError, match="no table of labels to combine; ingest or translate one of apogee_dr17"):
        combine(whole.select(["source_id"]))


def test_every_column_that_is_read_is_one_of_its_table():
    for source in CATALOGUES:
        assert set(COLUMNS_OF[source.original]) <= {*survey(source.original).every_column}
    assert next(iter(COLUMNS_OF)) == "apogee_dr17"
    for table in ("apogee_latent_ages_dr17", "apogee_astronn_dr17", "spectrotranslator_g2a"):
        assert set(COLUMNS_OF[table]) <= {*survey(table).every_column}


# What was done before: the plain mean of all columns of a kind (ColumnAVG of seed 001).

STARS = 100


def raw_surveys() -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray, np.ndarray]:
    """Return raw rows of three SYNTHETIC surveys of the same stars, sentinels as in their files, and the true Teff and [M/H].

    In some stars [M/H] of APOGEE failed, in others all of its labels; LAMOST lacks the temperature of every ninth.
    """
    rng = np.random.default_rng(5)
    teff, m_h = rng.uniform(4300.0, 6200.0, STARS), rng.uniform(-1.5, 0.3, STARS)
    ids = STAR + (np.arange(STARS, dtype=np.int64) << 20)
    kinds = {"apogee_dr17": (25.0, 0.03), "galah_dr4": (60.0, 0.06), "lamost_dr8": (80.0, 0.08)}
    drawn = {name: (teff + s * rng.normal(size=STARS), m_h + z * rng.normal(size=STARS)) for name, (s, z) in kinds.items()}
    whole, zero = np.full(STARS, 3.0), np.zeros(STARS, np.int64)
    text = np.array([f"2M{k:08d}+0000000" for k in range(STARS)])
    t, z = drawn["apogee_dr17"]
    failed, none = np.arange(STARS) % 12 == 3, np.arange(STARS) % 12 == 7
    t, z = np.where(none, -9999.0, t), np.where(failed | none, -9999.0, z)
    apogee_raw = {
        "GAIAEDR3_SOURCE_ID": ids,
        "APOGEE_ID": text,
        "TELESCOPE": text,
        "FIELD": text,
        "TEFF": t,
        "TEFF_ERR": np.where(none, -9999.0, 12.0),
    }
    apogee_raw |= {
        "LOGG": np.where(none, -9999.0, 3.0),
        "LOGG_ERR": np.where(none, -9999.0, 0.03),
        "M_H": z,
        "M_H_ERR": np.where(failed | none, -9999.0, 0.01),
    }
    apogee_raw |= {"ASPCAPFLAG": np.where(none, 1 << 23, zero), "STARFLAG": zero, "EXTRATARG": zero, "SNR": whole * 50}
    t, z = drawn["galah_dr4"]
    galah_raw = {"gaiadr3_source_id": ids, "sobject_id": np.arange(STARS) + 1, "flag_sp": zero, "snr_px_ccd3": whole * 30}
    galah_raw |= {"teff": t, "e_teff": whole * 20, "logg": whole, "e_logg": whole * 0.03, "fe_h": z, "e_fe_h": whole * 0.02}
    t, z = drawn["lamost_dr8"]
    t = np.where(np.arange(STARS) % 9 == 1, -9999.0, t)
    lamost_raw = {
        "obsid": np.arange(STARS) + 1,
        "obsdate": np.full(STARS, "2014-10-24"),
        "planid": np.full(STARS, "F1"),
        "spid": zero + 1,
    }
    lamost_raw |= {
        "fiberid": zero + 1,
        "ra": whole,
        "dec": whole,
        "snrg": whole * 20,
        "teff": t,
        "teff_err": np.where(t > 0, 70.0, -9999.0),
    }
    lamost_raw |= {"logg": whole, "logg_err": whole * 0.03, "feh": z, "feh_err": whole * 0.02}
    return {"apogee_dr17": apogee_raw, "galah_dr4": galah_raw, "lamost_dr8": lamost_raw}, teff, m_h


def plain_means(
    raw: dict[str, dict[str, np.ndarray]], teff: np.ndarray, m_h: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the unweighted mean over 15 temperatures and 17 metallicities says, and the stars that its later cuts delete.

    Beside the surveys: three temperatures of one APOGEE spectrum, six copies of Gaia's RVS values, [M/H] with [Fe/H], and a
    photometric metallicity. The copies are off as published comparisons have them: by 150 K and 0.15 dex.
    """
    stars, nothing = raw["apogee_dr17"], np.full(STARS, np.nan)
    no_spectrum = stars["TEFF"] == -9999.0
    spectroscopic = np.where(no_spectrum, -9999.0, stars["TEFF"] - 80.0)
    first_guess = np.where(no_spectrum, -99999.0, stars["TEFF"] + 120.0)
    temperatures = [stars["TEFF"], spectroscopic, first_guess, raw["galah_dr4"]["teff"], raw["lamost_dr8"]["teff"]]
    temperatures += [teff + 150.0] * 6 + [nothing] * 4
    iron = np.where(stars["M_H"] == -9999.0, -9999.0, stars["M_H"] + 0.02)
    metals = [stars["M_H"], iron, raw["galah_dr4"]["fe_h"], raw["lamost_dr8"]["feh"], *([m_h - 0.15] * 6), *([m_h - 0.1] * 6)]
    metals.append(0.6 * m_h - 0.2)
    assert (len(temperatures), len(metals)) == (15, 17)
    spoiled = np.zeros(STARS, bool)
    for low, high, columns in ((2000.0, 29999.0, temperatures), (-6.0, 5.0, metals)):
        for values in columns:
            spoiled |= ~(np.isnan(values) | ((values > low) & (values < high)))
    return np.nanmean(temperatures, axis=0), np.nanmean(metals, axis=0), spoiled


def through_the_lake(raw: dict[str, dict[str, np.ndarray]], folder) -> pa.Table:
    """Return the joined rows as the lake has them: raw files read by their declarations, translations that change nothing."""
    held = {}
    for name, columns in raw.items():
        path = folder / f"{name}.fits"
        write(pa.table(columns), path, "fits")
        (batch,) = read(path, survey(name))
        held[name] = conform(batch, survey(name), path).table
    tables: dict[str, dict[str, object]] = {}
    for name, rows in held.items():
        there = set(rows.column_names) & set(COLUMNS_OF[name])
        tables[name] = {one: rows[one].to_pylist() for one in there}
        if name in ON:
            made: dict[str, object] = {"intrinsic_in_domain": True, "extrinsic_in_domain": True}
            for label, theirs in (("teff", "teff"), ("logg", "logg"), ("metallicity", "fe_h")):
                value, sigma = rows[theirs].to_numpy().astype(float), rows[f"{theirs}_error"].to_numpy().astype(float)
                made |= {f"{label}_p50": value, f"{label}_p16": value - sigma, f"{label}_p84": value + sigma}
                made[f"{label}_systematic"] = np.where(np.isfinite(value), 0.3 * sigma, np.nan)
            tables[ON[name]] = made
    tables["lamost_dr8"]["label_origin"] = "lamost_dr8"
    return joined(STARS, **tables)


def test_the_plain_mean_of_all_columns_is_far_off_on_the_rows_on_which_ours_is_not(tmp_path):
    raw, teff, m_h = raw_surveys()
    plain_teff, plain_m_h, spoiled = plain_means(raw, teff, m_h)
    # Sentinels in the mean, as the first run had them: a mean [Fe/H] far below any star, temperatures thousands off.
    assert plain_m_h.mean() < -47.0
    assert np.max(np.abs(plain_teff - teff)) > 5000.0
    assert plain_teff.min() < 0.0
    # One bad value in any column deletes the star, as in the second run, though GALAH measured all of them.
    assert spoiled.sum() >= 25
    # Where nothing is bad, three columns of one spectrum and six copies of another outvote the rest, and metallicities drift.
    clean = ~spoiled
    assert np.median(plain_teff[clean] - teff[clean]) > 70.0
    assert np.median(plain_m_h[clean] - m_h[clean]) < -0.08

    made = combine(through_the_lake(raw, tmp_path))
    ours, sigma = made["teff"].to_numpy(), made["teff_error"].to_numpy()
    metals, scatter = made["m_h"].to_numpy(), made["m_h_error"].to_numpy()
    assert made["teff"].null_count == made["m_h"].null_count == 0
    assert np.max(np.abs(ours - teff)) < 250.0
    assert np.max(np.abs(metals - m_h)) < 0.3
    assert np.max(np.abs(ours - teff) / sigma) < 4.5
    assert np.max(np.abs(metals - m_h) / scatter) < 4.5
    assert abs(np.median(ours - teff)) < 10.0
    assert abs(np.median(metals - m_h)) < 0.015
    # No star is counted more often than surveys observed it, and each sentinel took its survey out of that star only.
    assert made["teff_n_sources"].to_pylist() == [3 - (k % 12 == 7) - (k % 9 == 1) for k in range(STARS)]
    assert made["m_h_n_sources"].to_pylist() == [3 - (k % 12 in (3, 7)) for k in range(STARS)]
