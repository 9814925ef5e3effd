"""The audit of training tables: a good one passes without a finding in every form, and each known defect is found."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake.hdf5_files import GROUPS, export_hdf5, export_split_hdf5, records
from lake.hub_files import export_hub
from lake.partition import N_PIXELS, first_id
from lake.split import SPLITS
from lake.training_audit import audit_batches, audit_file, audit_scaling
from lake.training_columns import stored_first
from lake.training_contract import candidates
from lake.training_files import export_parquet
from lake.training_report import Finding, Report
from lake.training_rows import BATCH_ROWS
from lake.training_tally import tally
from tests.lake.training_sky import good_table, ids_in, sky_join, widened, with_column

N = 1_600


@pytest.fixture(scope="module")
def good() -> pa.Table:
    return good_table(np.unique(np.random.default_rng(1).integers(1, first_id(N_PIXELS), N)))


@pytest.fixture(scope="module")
def good_wide(good) -> pa.Table:
    return widened(good)


@pytest.fixture(scope="module")
def local(small_lake) -> pa.Table:
    """A good table whose stars lie in the leaves of the small lake, all splits among them."""
    return good_table(ids_in(small_lake.pretrain(), N))


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return np.array(table[name].to_numpy(), dtype=float)


def planted(table: pa.Table, name: str, value: object, rows: slice | np.ndarray = slice(3, 6)) -> pa.Table:
    """The same table with a value in some rows of a column of numbers."""
    values = numbers(table, name)
    values[rows] = value
    kind = table.schema.field(name).type
    return with_column(table, name, pa.array(values, from_pandas=True).cast(kind))


def blocks(table: pa.Table, name: str, change: Callable[[np.ndarray], np.ndarray]) -> pa.Table:
    """The same table with a block of XP values changed, (n, 55) in and out."""
    kind = table.schema.field(name).type
    values = np.stack(table[name].to_numpy())
    flat = pa.array(np.ascontiguousarray(change(values.astype(float))).ravel()).cast(kind.value_type)
    return with_column(table, name, pa.FixedSizeListArray.from_arrays(flat, type=kind))


def found(report: Report, check: str) -> Finding:
    own = [one for one in report.findings if one.check == check]
    assert own, f"no {check!r} in:\n{report.text()}"
    return own[0]


def checks(report: Report) -> set[str]:
    return {one.check for one in report.findings}


def test_a_good_table_has_no_finding_under_canonical_and_wide_names(good, good_wide):
    for table in (good, good_wide):
        report = audit_batches([table])
        assert report.findings == (), report.text()
        assert report.untested == ()
        assert report.rows == table.num_rows
        assert set(report.coverage) == set(SPLITS)
        assert report.coverage["train"]["rows"] > report.coverage["train"]["teff"] > 0
    assert "0 errors, 0 warnings" in report.text()


EXPORTS = {
    "parquet": (export_parquet, False),
    "parquet wide": (export_parquet, True),
    "hdf5": (export_hdf5, True),
    "hdf5-split": (export_split_hdf5, False),
    "huggingface": (export_hub, False),
}


@pytest.mark.parametrize("form", EXPORTS)
def test_what_we_export_passes_in_every_form_and_the_form_is_told(form, small_lake, local, tmp_path):
    export, wide = EXPORTS[form]
    account = export(sky_join(small_lake.pretrain(), local, wide=wide), tmp_path / "out")
    report = audit_file(tmp_path / "out")
    assert report.findings == (), report.text()
    assert report.form == form.split()[0]
    assert report.rows == account.rows > 500
    assert set(report.coverage) == set(SPLITS)


def test_counts_of_parts_in_any_order_are_those_of_the_whole(good):
    whole = tally([good], "whole")
    pieces = [tally([good.slice(k, 300)], f"{k}") for k in range(0, good.num_rows, 300)]
    merged = pieces[-1]
    for one in pieces[:-1]:
        merged = merged.merge(one)
    assert merged.rows == whole.rows
    assert merged.coverage == whole.coverage
    assert merged.moments == whole.moments
    np.testing.assert_array_equal(merged.patches, whole.patches)
    assert {key: (hit.count, hit.of) for key, hit in merged.hits.items()} == {
        key: (hit.count, hit.of) for key, hit in whole.hits.items()
    }
    order = np.argsort(merged.sample[0])
    np.testing.assert_array_equal(merged.sample[0][order], np.sort(whole.sample[0]))


VALUES = {
    "sentinel among labels": ("teff", -9999.0, "sentinel", "error"),
    "sentinel among magnitudes": ("tmass_j_mag", 99.9, "sentinel", "error"),
    "another sentinel": ("parallax", -999.0, "sentinel", "error"),
    "a large sentinel": ("ruwe", 999999.0, "sentinel", "error"),
    "infinite": ("pmra", np.inf, "infinite", "error"),
    "a gravity of no star": ("logg", 12.0, "outside limits", "error"),
    "a magnitude of no star": ("sdss_g_mag", 38.0, "outside limits", "error"),
    "an error of 568 mag": ("sdss_g_mag_error", 568.0, "outside limits", "error"),
    "a saturated magnitude": ("ps1_g_mag", 11.0, "saturated or absurd", "error"),
    "a saturated magnitude of SDSS": ("sdss_r_mag", 11.0, "saturated or absurd", "error"),
    "an error of zero": ("ps1_r_mag_error", 0.0, "error not positive", "error"),
    "a negative error": ("teff_error", -5.0, "error not positive", "error"),
    "a label without error": ("m_h_error", np.nan, "label without error", "error"),
    "G beyond Gaia": ("phot_g_mean_mag", 26.5, "G outside 5 to 25", "warning"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_bad_value_is_counted_with_its_star(case, good):
    name, value, check, level = VALUES[case]
    present = np.flatnonzero(np.isfinite(numbers(good, name)))[4:7]
    report = audit_batches([planted(good, name, value, present)])
    one = found(report, check)
    assert one.level == level
    assert name.removesuffix("_error") in one.column
    assert one.count == 3
    assert one.source_id == good["source_id"][int(present[0])].as_py()
    assert f"source_id {one.source_id}" in report.text()
    # Sentinels and infinities are counted once and then taken as missing.
    if check in ("sentinel", "infinite"):
        assert checks(report) <= {check, "label without error"}


def test_values_near_a_sentinel_are_values(good):
    near = blocks(good, "bp_coefficients", lambda values: np.where(values < values.min() + 1, -9999.9955, values))
    assert audit_batches([near]).findings == ()
    rounded = planted(good, "pmra", -99.0)
    assert audit_batches([rounded]).findings == ()
    assert found(audit_batches([planted(good, "ruwe", float(np.float32(-9999.99)))]), "sentinel").column == "ruwe"


def test_errors_copied_from_values_are_found(good):
    table = with_column(good, "tmass_h_mag_error", good["tmass_h_mag"])
    assert found(audit_batches([table]), "error equals value").column == "tmass_h_mag"
    block = blocks(good, "bp_coefficient_errors", lambda _: np.stack(good["bp_coefficients"].to_numpy()).astype(np.float32))
    block = blocks(block, "bp_coefficients", lambda values: values.astype(np.float32))
    assert found(audit_batches([block]), "error equals value").column == "bp_coefficients"


def test_an_age_error_that_is_the_root_of_the_age_is_found(good):
    table = planted(good, "age_error", np.sqrt(numbers(good, "age")), slice(None))
    one = found(audit_batches([table]), "age error is the root of the age")
    assert one.count == one.of > 1000


def test_formal_errors_are_told(good):
    table = planted(good, "teff_error", 12.0, np.isfinite(numbers(good, "teff_error")))
    one = found(audit_batches([table]), "formal errors only")
    assert (one.level, one.column, one.value) == ("warning", "teff_error", 12.0)


def test_a_target_that_copies_an_input_is_told(good_wide):
    table = good_wide.append_column("parallax_target", pc.log10(good_wide["PARALLAX"]))
    one = found(audit_batches([table]), "target is an input")
    assert (one.level, one.column) == ("warning", "parallax_target")


def factor(table: pa.Table) -> np.ndarray:
    return 10 ** (0.4 * (numbers(table, "phot_g_mean_mag") - 8.5))[:, None]


def test_errors_that_were_not_scaled_with_their_coefficients_are_found(good):
    table = good
    for name in ("bp_coefficient_errors", "rp_coefficient_errors"):
        table = blocks(table, name, lambda values: values / factor(good))
    report = audit_batches([table])
    assert checks(report) == {"XP errors scale"}
    assert found(report, "XP errors scale").value == pytest.approx(0.24, abs=0.06)


@pytest.mark.parametrize(("power", "said"), [(1, "scaled more than once"), (-1, "not scaled")])
def test_spectra_scaled_twice_or_not_at_all_are_found(good, power, said):
    table = good
    for name in ("bp_coefficients", "rp_coefficients", "bp_coefficient_errors", "rp_coefficient_errors"):
        table = blocks(table, name, lambda values: values * factor(good) ** power)
    report = audit_batches([table])
    assert checks(report) == {"XP scale"}
    assert said in found(report, "XP scale").advice


def test_real_spectra_obey_the_slopes_that_the_audit_expects(shared_data):
    from astropy.io import fits

    from lake.training_spectra import RATIO_SLOPES, _logarithm, _slope

    held = fits.getdata(shared_data / "gaia_xp" / "xp_continuous_combined_chunk0.shared.fits")
    first = {band: held[f"{band}_coeff_0"].astype(float) for band in ("bp", "rp")}
    g = 8.5 - 2.5 * _logarithm((first["bp"] + first["rp"]) / 7e5)
    for band, values in first.items():
        ratio = _logarithm(np.abs(values) / held[f"e_{band}_coeff_0"].astype(float))
        assert RATIO_SLOPES[0] + 0.1 < _slope(g, ratio) < RATIO_SLOPES[1] - 0.1
        assert _slope(g, ratio + 0.4 * (g - 8.5)) > RATIO_SLOPES[1] + 0.1


@pytest.mark.parametrize("band", ["tmass_ks_mag", "catwise_w1_mag", "skymapper_r_mag", "ps1_r_mag", "sdss_r_mag"])
def test_magnitudes_of_other_stars_are_found(good, band):
    values = numbers(good, band)
    values = np.random.default_rng(0).permutation(values)
    report = audit_batches([planted(good, band, values, slice(None))])
    one = found(report, "other stars")
    assert band in one.column
    assert one.source_id in good["source_id"].to_pylist()
    assert {each.check for each in report.findings} == {"other stars"}


def test_a_single_magnitude_of_2mass_of_other_stars_is_found_in_j(good):
    report = audit_batches(
        [planted(good, "tmass_j_mag", np.random.default_rng(0).permutation(numbers(good, "tmass_j_mag")), slice(None))]
    )
    assert "tmass_j_mag - tmass_ks_mag" in found(report, "other stars").column


def test_rows_shifted_against_their_ids_are_found_by_position(good):
    ids = np.roll(good["source_id"].to_numpy(), 5)
    order = np.argsort(ids)
    table = good.set_column(0, "source_id", pa.array(ids)).take(pa.array(order))
    one = found(audit_batches([table]), "position of another source")
    assert one.count > 0.9 * N


def test_ids_that_are_none_or_not_in_order_are_found(good):
    ids = good["source_id"].to_numpy().copy()
    for wrong, check in ((-1, "id of no source"), (first_id(N_PIXELS) + 5, "id of no source")):
        bad = ids.copy()
        bad[10] = wrong
        assert found(audit_batches([good.set_column(0, "source_id", pa.array(bad))]), check).value == wrong
    swapped = good.take(pa.array([1, 0, *range(2, good.num_rows)]))
    assert found(audit_batches([swapped]), "ids do not ascend").level == "error"
    twice = pa.concat_tables([good.slice(0, 900), good.slice(899)])
    assert found(audit_batches([twice.slice(0, 900), twice.slice(900)]), "ids do not ascend").level == "error"


@pytest.mark.parametrize("kind", [pa.float64(), pa.string()])
def test_ids_stored_as_something_else_are_found(good, kind):
    table = good.set_column(0, "source_id", good["source_id"].cast(kind, safe=False))
    one = found(audit_batches([table]), "id type")
    assert one.value == str(kind)


def test_ids_that_passed_through_float64_are_found(good):
    rounded = pa.array(good["source_id"].to_numpy().astype(float).astype(np.int64))
    one = found(audit_batches([good.set_column(0, "source_id", rounded)]), "id through float64")
    assert one.count == one.of > 100


def test_null_ids_and_no_ids_are_found(good):
    gone = good.set_column(0, "source_id", pc.if_else(pa.array(np.arange(good.num_rows) == 7), None, good["source_id"]))
    assert found(audit_batches([gone]), "id missing").count == 1
    assert found(audit_batches([good.drop_columns(["source_id"])]), "id type").value == "no such column"


def test_nothing_and_almost_nothing_are_told(good):
    assert "empty" in checks(audit_batches([good.slice(0, 0)]))
    dead = with_column(good, "tmass_j_mag", pa.nulls(good.num_rows, pa.float32()))
    assert found(audit_batches([dead]), "column without values").column == "tmass_j_mag"
    constant = planted(good, "ruwe", 1.0, slice(None))
    assert found(audit_batches([constant]), "constant column").column == "ruwe"
    missing = good
    for name in ("bp_coefficients", "rp_coefficients", "bp_coefficient_errors"):
        missing = with_column(missing, name, pa.nulls(good.num_rows, good.schema.field(name).type))
    report = audit_batches([missing])
    assert found(report, "mostly missing").count > 0.5 * found(report, "mostly missing").of
    assert any("scaling of XP" in one for one in report.untested)


def test_a_few_stars_are_not_judged_and_that_is_said(good):
    report = audit_batches([good.slice(0, 40)])
    assert not {"XP scale", "other stars"} & checks(report)
    assert any("scaling of XP spectra" in one for one in report.untested)
    assert any("belongs to its stars" in one for one in report.untested)


def test_missing_columns_are_told_with_what_may_be_meant(good_wide):
    table = good_wide.rename_columns(["e_J" if name == "E_J" else name for name in good_wide.column_names])
    one = found(audit_batches([table]), "column missing")
    assert (one.level, one.column, one.value) == ("error", "E_J", ["e_J"])
    assert "rename one of e_J" in one.advice
    without = good_wide.drop_columns(["xp_scale"])
    assert found(audit_batches([without]), "column missing").level == "warning"


@pytest.mark.parametrize(
    ("name", "names", "near"),
    [
        ("bpe_", ["bp_1", "bp_err_1", "bp_err_2"], ["bp_err_1"]),
        ("rpe_", ["e_rp_1", "rp_1"], ["e_rp_1"]),
        ("E_G_PS1", ["G_PS1", "e_g_ps1", "G_PS1_err"], ["e_g_ps1", "G_PS1_err"]),
        ("G", ["phot_g_mean_mag", "G_PS1"], ["phot_g_mean_mag"]),
        ("W1", ["W2", "w1"], ["w1"]),
        ("phot_g_mean_mag", ["G", "RP"], ["G"]),
        ("BP", ["bp_1", "e_BP"], []),
    ],
)
def test_candidates_are_other_spellings_and_no_other_quantity(name, names, near):
    assert candidates(name, names) == near


def test_another_order_of_columns_is_told(good_wide):
    names = good_wide.column_names
    at = names.index("G")
    assert names[at : at + 2] == ["G", "BP"]
    names[at : at + 2] = ["BP", "G"]
    one = found(audit_batches([good_wide.select(names)]), "column order")
    assert (one.level, one.column) == ("warning", "BP")


def test_a_split_by_row_leaks(good):
    ids = good["source_id"].to_numpy()
    near = np.unique((ids % (1 << 49)) + ((ids >> 49) % 40 << 49))
    table = good_table(near)
    words = np.random.default_rng(0).choice(SPLITS, len(near), p=(0.8, 0.1, 0.1))
    one = found(audit_batches([with_column(table, "split", pa.array(words))]), "split leaks by patch")
    assert one.level == "error"
    assert one.count > 30


def test_words_that_are_no_split_and_splits_without_labels_are_told(good):
    words = np.array(good["split"].to_pylist(), dtype=object)
    odd = words.copy()
    odd[5] = "valid"
    assert found(audit_batches([with_column(good, "split", pa.array(odd))]), "unknown split").value == "valid"
    train = with_column(good, "split", pa.array(["train"] * good.num_rows))
    assert {one.column for one in audit_batches([train]).findings} == {"validation", "test"}
    bare = planted(planted(good, "age", np.nan, words == "test"), "age_error", np.nan, words == "test")
    assert found(audit_batches([bare]), "label without rows").column == "age in test"
    assert found(audit_batches([good.drop_columns(["split"])]), "no split").level == "warning"


def seed_file(path: Path, table: pa.Table, *, parts: int = 2, changed: dict[str, str] | None = None) -> Path:
    """A file as the original tables are: records under wide names, no attribute."""
    made = records(table.select(stored_first(table.column_names)[:289]))
    kinds = [(name, (changed or {}).get(name, made.dtype[name])) for name in made.dtype.names]
    made = made.astype(kinds)
    with h5py.File(path, "w") as file:
        for k, rows in enumerate(np.array_split(made, parts)):
            file[f"sslset0_part{k}"] = rows
    return path


def only_new_missing(report: Report) -> bool:
    return all(one.check in ("column missing", "no split") and one.level == "warning" for one in report.findings)


def test_files_of_others_pass_with_warnings_of_what_is_new(good_wide, tmp_path):
    report = audit_file(seed_file(tmp_path / "seed.h5", good_wide))
    assert report.rows == good_wide.num_rows
    assert report.parts == 2
    assert only_new_missing(report), report.text()


def test_sentinels_in_place_of_missing_values_are_found_in_files_of_others(good_wide, tmp_path):
    path = seed_file(tmp_path / "seed.h5", good_wide)
    with h5py.File(path, "a") as file:
        for name in file:
            rows = file[name][:]
            rows["J"][np.isnan(rows["J"])] = -9999
            file[name][:] = rows
    one = found(audit_file(path), "sentinel")
    assert (one.column, one.count) == ("J", good_wide["J"].null_count)


def test_byte_strings_in_columns_of_numbers_are_found(good_wide, tmp_path):
    one = found(audit_file(seed_file(tmp_path / "seed.h5", good_wide, changed={"U_SDSS": "S24"})), "text among numbers")
    assert (one.level, one.column, one.count) == ("error", "U_SDSS", good_wide.num_rows)


def test_ids_of_float64_in_hdf5_are_found(good_wide, tmp_path):
    assert found(audit_file(seed_file(tmp_path / "seed.h5", good_wide, changed={"source_id": "f8"})), "id type").value == "double"


def test_a_source_in_two_surveys_with_different_labels_is_found(good_wide, tmp_path):
    again = planted(good_wide.slice(100, 50), "teff", 5000.0, slice(None))
    report = audit_file(seed_file(tmp_path / "seed.h5", pa.concat_tables([good_wide, again]), parts=1))
    assert found(report, "source twice").count == 100
    one = found(report, "source twice, other label")
    assert one.column == "teff"
    assert one.source_id in again["source_id"].to_pylist()
    assert found(report, "ids do not ascend").level == "warning"


def test_a_source_in_two_parts_is_found(good_wide, tmp_path):
    both = pa.concat_tables([good_wide.slice(0, 800), good_wide.slice(799)])
    path = seed_file(tmp_path / "seed.h5", both, parts=1)
    with h5py.File(path, "a") as file:
        rows = file["sslset0_part0"][:]
        del file["sslset0_part0"]
        file["sslset0_part0"], file["sslset1_part0"] = rows[:800], rows[800:]
    report = audit_file(path)
    assert found(report, "source twice").source_id == good_wide["source_id"][799].as_py()
    assert "source twice, other label" not in checks(report)


def split_file(path: Path, table: pa.Table, *, ids: bool = True, overlap: int = 0) -> Path:
    """A file of arrays by split as others write it: raw coefficients, rows in random order."""
    rng = np.random.default_rng(0)
    whole = table.filter(
        pa.array(np.all([np.isfinite(numbers(table, name)) for name in ("teff", "logg", "m_h", "mg_fe")], axis=0))
    )
    scale = factor(whole)
    values = {name: np.stack(whole[name].to_numpy()) / scale for name in whole.column_names if "coefficient" in name}
    words = np.array(whole["split"].to_pylist())
    with h5py.File(path, "w") as file:
        for k, (name, split) in enumerate(GROUPS.items()):
            rows = rng.permutation(np.flatnonzero(words == split))
            rows = np.concatenate([rows, np.flatnonzero(words == SPLITS[k - 1])[:overlap]])
            group = file.create_group(name)
            group["data"] = np.stack([numbers(whole, one)[rows] for one in ("m_h", "logg", "teff", "mg_fe")])
            group["label"] = np.concatenate([values["bp_coefficients"][rows], values["rp_coefficients"][rows]], axis=1).T
            group["e_label"] = np.concatenate(
                [values["bp_coefficient_errors"][rows], values["rp_coefficient_errors"][rows]], axis=1
            ).T
            group["gmag"] = numbers(whole, "phot_g_mean_mag")[rows]
            if ids:
                group["source_id"] = whole["source_id"].to_numpy()[rows]
    return path


def test_arrays_by_split_of_others_pass_though_raw_and_unsorted(good, tmp_path):
    report = audit_file(split_file(tmp_path / "seed.h5", good))
    assert {(one.check, one.level) for one in report.findings} == {("ids do not ascend", "warning")}, report.text()


def test_a_source_in_two_splits_is_found(good, tmp_path):
    report = audit_file(split_file(tmp_path / "seed.h5", good, overlap=4))
    assert found(report, "split leaks by source").count == 12
    assert found(report, "split leaks by patch").level == "error"


def test_arrays_without_ids_cannot_be_tied_to_stars(good, tmp_path):
    assert found(audit_file(split_file(tmp_path / "seed.h5", good, ids=False)), "id type").value == "no such column"


def test_groups_that_lack_arrays_or_disagree_in_length_do_not_open(good, tmp_path):
    path = split_file(tmp_path / "seed.h5", good)
    with h5py.File(path, "a") as file:
        del file["group_2"]["gmag"]
    assert "group_2 lacks gmag" in found(audit_file(path), "opens").advice
    with h5py.File(path, "a") as file:
        file["group_2"]["gmag"] = np.ones(3)
    assert "different numbers of stars" in found(audit_file(path), "opens").advice


def test_files_that_do_not_open_are_a_report_with_one_error(tmp_path):
    damaged, other, parquet = tmp_path / "damaged.h5", tmp_path / "other.h5", tmp_path / "000000-000003.parquet"
    damaged.write_bytes(b"no HDF5")
    parquet.write_bytes(b"PAR1")
    with h5py.File(other, "w") as file:
        file["things"] = np.arange(3)
    for path, said in (
        (damaged, "does not open as HDF5"),
        (other, "it holds things"),
        (parquet, "cannot be read"),
        (tmp_path / "no", "nothing is there"),
    ):
        report = audit_file(path)
        assert said in found(report, "opens").advice
        assert len(report.errors) == 1


def test_a_damaged_file_is_a_report_wherever_the_damage_is(good, tmp_path):
    whole = split_file(tmp_path / "whole.h5", good).read_bytes()
    path = tmp_path / "damaged.h5"
    path.write_bytes(whole[: len(whole) // 2])
    assert "does not open as HDF5" in found(audit_file(path), "opens").advice
    refused = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, 6_000, 40)] = rng.integers(0, 256, 40)
        path.write_bytes(damaged.tobytes())
        refused += any(one.check == "opens" for one in audit_file(path).errors)
    assert refused > 5


def test_links_that_lead_nowhere_and_datasets_of_no_rows_are_no_table(good, tmp_path):
    path = split_file(tmp_path / "seed.h5", good)
    rows = audit_file(path).rows
    with h5py.File(path, "a") as file:
        file["group_1"]["elsewhere"] = h5py.SoftLink("/nowhere")
    assert audit_file(path).rows == rows > 1_000
    with h5py.File(path, "a") as file:
        del file["group_1"]["gmag"]
        file["group_1"]["gmag"] = 3.0
    assert "group_1 lacks gmag" in found(audit_file(path), "opens").advice
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["finetune"] = np.zeros((), dtype=[("source_id", "i8")])
        file["gone"] = h5py.ExternalLink("nowhere.h5", "/finetune")
    assert "it holds finetune, gone" in found(audit_file(tmp_path / "other.h5"), "opens").advice


def test_a_pickle_is_not_unpickled_under_any_name(tmp_path):
    for name in ("table.h5", "table.parquet", "table.pkl", "folder/table.parquet"):
        path, mark = tmp_path / name, tmp_path / "unpickled"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(_Unpickled(mark)))
        assert "does not open" in (said := found(audit_file(path), "opens").advice) or "cannot be read" in said
        assert not mark.exists()


class _Unpickled:
    """Something that leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_spectra_in_lists_of_any_length_are_audited_like_those_of_fixed_length(good, tmp_path):
    path = tmp_path / "table.parquet"
    bad = blocks(
        good, "bp_coefficients", lambda values: np.where(np.arange(values.size).reshape(values.shape) == 7, -9999.0, values)
    )
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float64())):
        lists = bad["bp_coefficients"].combine_chunks().cast(kind)
        pq.write_table(with_column(bad, "bp_coefficients", lists), path)
        hit = found(audit_file(path), "sentinel")
        assert (hit.column, hit.count, hit.of) == ("bp_coefficients", 1, 55 * len(good))
    ragged = pa.array([[1.0] * (1 + k % 2) for k in range(len(good))])
    pq.write_table(with_column(good, "bp_coefficients", ragged), path)
    assert "bp_coefficients have different lengths" in found(audit_file(path), "opens").advice


def test_text_of_any_arrow_type_is_text_and_two_columns_of_a_name_are_refused(good, tmp_path):
    words = pa.array(["a", "b"] * (len(good) // 2))
    path = tmp_path / "table.parquet"
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.large_binary()):
        pq.write_table(good.append_column("remark", words.cast(kind)), path)
        assert audit_file(path).rows == len(good)
        assert not audit_file(path).errors
    pq.write_table(good.append_column("teff", good["teff"]), path)
    assert "more than one column teff" in found(audit_file(path), "opens").advice


def test_a_partition_with_rows_of_another_and_parts_with_other_columns_are_found(good, tmp_path):
    pq.write_table(good.slice(0, 800), tmp_path / "000000-000003.parquet")
    pq.write_table(good.slice(800).drop_columns(["ruwe"]), tmp_path / "000004-786431.parquet")
    report = audit_file(tmp_path)
    assert found(report, "id outside its file").count > 700
    assert found(report, "columns differ between parts").column == "ruwe"


def test_shards_whose_rows_say_another_split_are_found(small_lake, local, tmp_path):
    export_hub(sky_join(small_lake.pretrain(), local), tmp_path / "out")
    train = next((tmp_path / "out" / "data").glob("train-*"))
    train.replace(train.with_name("other-00000-of-00001.parquet"))
    one = found(audit_file(tmp_path / "out"), "unknown split")
    assert one.count > 100


def test_long_files_are_read_in_batches(good_wide, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.training_rows.BATCH_ROWS", 500)
    assert BATCH_ROWS > 500
    report = audit_file(seed_file(tmp_path / "seed.h5", good_wide, parts=1))
    assert report.rows == good_wide.num_rows
    assert only_new_missing(report), report.text()


def test_parts_may_be_read_anywhere_and_in_any_order(good_wide, tmp_path):
    path = seed_file(tmp_path / "seed.h5", planted(good_wide, "teff", -9999.0), parts=5)
    backwards = audit_file(
        path, run=lambda label, function, tasks: [pickle.loads(pickle.dumps(function(one))) for one in tasks[::-1]]
    )
    forwards = audit_file(path)
    assert backwards.text().splitlines()[0] == forwards.text().splitlines()[0]
    assert {(one.check, one.column, one.count) for one in backwards.findings} == {
        (one.check, one.column, one.count) for one in forwards.findings
    }
    assert (backwards.missing, backwards.coverage) == (forwards.missing, forwards.coverage)


def test_the_report_is_plain_json_and_readable(good):
    report = audit_batches([planted(good, "teff", -9999.0)], name="synthetic")
    held = json.loads(json.dumps(report.as_json()))
    assert held["findings"][0]["check"] == "sentinel"
    assert held["missing"]["teff"] > 0
    text = report.text()
    assert text.startswith("synthetic: batches")
    assert "error: sentinel: teff: 3 of" in text
    assert "make it null at ingest" in text


def test_the_scaling_of_a_bundle_has_one_good_scale_per_input():
    names = ["a", "b"]
    good = {"centre": [0.0, 1.0], "scale": [1.0, 2.0], "count": [5, 5]}
    assert audit_scaling(good, names) == []
    assert audit_scaling(good | {"scale": [1.0]}, names)[0].check == "scaling shape"
    assert audit_scaling(good | {"scale": [1.0, 0.0]}, names)[0].column == "b"
    assert audit_scaling(good | {"centre": [np.nan, 0.0]}, names)[0].check == "scaling value"
    assert audit_scaling(good | {"count": [0, 5]}, names)[0].level == "warning"
