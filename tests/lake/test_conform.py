"""Odd columns and values: each is read right, or refused with file, column, row, value and count."""

import gzip
from dataclasses import replace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.dialects import write, write_dirty
from lake.conform import conform
from lake.errors import SurveyError
from lake.readers import read
from lake.survey import survey

SOURCE, XP, CATWISE = survey("gaia_dr3_source"), survey("gaia_dr3_xp"), survey("catwise_andrae2023")
ID = 5853498713190525696


# Columns.


@pytest.mark.parametrize("dialect", ["bulk_csv", "fits", "hdf5", "votable", "parquet"])
def test_a_file_without_a_required_column_is_refused_with_those_it_holds(small, refused, dialect, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(small().drop_columns(["parallax"]), path, dialect)
    refused(path, SOURCE, "required column parallax (double)", "the file holds: ", "phot_g_mean_mag")


def test_text_in_a_column_of_numbers_is_refused_with_row_value_and_count(small, refused, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(parallax=["1.0", "n/a", "?"]), path, "archive_csv")
    refused(path, SOURCE, "column 'parallax'", "row 2", "'n/a'", "2 such values")


@pytest.mark.parametrize("dialect", ["fits", "hdf5", "votable", "parquet"])
def test_a_text_column_where_numbers_are_declared_is_refused(small, refused, dialect, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(small(parallax=["1.0", "2.0", "3.0"]), path, dialect)
    refused(path, SOURCE, "column 'parallax'", "expected numbers", "declares double")


@pytest.mark.parametrize("bad", ["abc", "123.0", "1e18", "5.853498713190526e+18"])
def test_an_id_that_is_no_integer_is_refused_in_text(small, refused, bad, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(source_id=[str(ID), bad, str(ID + 2)]), path, "archive_csv")
    refused(path, SOURCE, "column 'source_id'", "row 2", bad)


@pytest.mark.parametrize("dialect", ["fits", "hdf5", "votable", "parquet"])
def test_ids_stored_as_floats_are_refused(small, refused, dialect, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(small(source_id=np.array([ID, ID + 1024, ID + 2048], float)), path, dialect)
    refused(path, SOURCE, "source_id", "lose digits")


@pytest.mark.parametrize("bad", [0, -1, -ID, 7_000_000_000_000_000_000])
@pytest.mark.parametrize("dialect", ["archive_csv", "fits", "hdf5"])
def test_ids_that_are_no_gaia_ids_are_refused_with_row_value_and_count(small, refused, bad, dialect, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(small(source_id=[ID, bad, bad]), path, dialect)
    refused(path, SOURCE, "column 'source_id'", "row 2", bad, "2 such rows")


def test_a_missing_id_is_refused(small, refused, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(source_id=[ID, None, ID + 2]), path, "archive_csv")
    refused(path, SOURCE, "column 'source_id'", "row 2", "None")


@pytest.mark.parametrize(
    ("dialect", "bad"), [("archive_csv", "inf"), ("archive_csv", "-inf"), ("fits", np.inf), ("hdf5", -np.inf)]
)
def test_infinite_values_are_refused_with_their_row_and_source(small, refused, dialect, bad, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    values = pa.array([1.0, float(bad), 3.0]) if dialect != "archive_csv" else ["1.0", bad, "3.0"]
    write(small(parallax=values), path, dialect)
    refused(path, SOURCE, "column 'parallax'", "row 2", f"source_id {ID + 1}", "1 infinite value")


def test_an_infinite_value_in_a_column_of_small_integers_is_refused(small, refused, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(phot_g_n_obs=["1", "inf", "3"]), path, "archive_csv")
    refused(path, SOURCE, "column 'phot_g_n_obs'", "row 2", "inf")


@pytest.mark.parametrize("bad", [2.5, 40_000.0])
def test_a_small_integer_that_does_not_fit_is_refused_with_its_row(small, refused, bad, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(phot_g_n_obs=[1.0, 2.0, bad]), path, "archive_csv")
    refused(path, SOURCE, "column 'phot_g_n_obs'", "row 3", f"source_id {ID + 2}", bad)


def test_small_integers_that_turn_to_floats_in_the_middle_of_a_file_are_read_exactly(gaia, synthetic, tmp_path):
    path = tmp_path / "GaiaSource_614517-614573.csv.gz"
    write_dirty(gaia, path)
    assert b",24.0," in gzip.decompress(path.read_bytes()) or b".0," in gzip.decompress(path.read_bytes())
    found = synthetic.read(path, SOURCE)
    for field in SOURCE.schema():
        if field.type == pa.int16():
            assert found[field.name].to_pylist() == gaia[field.name].to_pylist(), field.name


@pytest.mark.parametrize("yes", ["True", "true", "TRUE", "T", "t", "1"])
@pytest.mark.parametrize("no", ["False", "false", "FALSE", "F", "f", "0"])
def test_booleans_are_read_in_every_spelling(small, yes, no, synthetic, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(duplicated_source=[yes, no, None]), path, "archive_csv")
    assert synthetic.read(path, SOURCE)["duplicated_source"].to_pylist() == [True, False, None]


@pytest.mark.parametrize("values", [pa.array([1, 0, 1], pa.int16()), pa.array(["T", "F", "t"]), pa.array([True, False, True])])
@pytest.mark.parametrize("dialect", ["fits", "hdf5", "parquet"])
def test_booleans_stored_as_integers_or_text_are_read(small, values, dialect, synthetic, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(small(duplicated_source=values), path, dialect)
    assert synthetic.read(path, SOURCE)["duplicated_source"].to_pylist() == [True, False, True]


@pytest.mark.parametrize("bad", ["maybe", "2"])
def test_a_boolean_that_is_neither_is_refused(small, refused, bad, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(duplicated_source=["true", bad, "false"]), path, "archive_csv")
    refused(path, SOURCE, "column 'duplicated_source'", "row 2", repr(bad))


def test_an_integer_that_stands_for_no_boolean_is_refused_with_its_row_even_beside_nulls(small, refused, tmp_path):
    path = tmp_path / "raw.parquet"
    write(small(duplicated_source=pa.array([None, 1, 7], pa.int16())), path, "parquet")
    refused(path, SOURCE, "column 'duplicated_source'", "row 3", "found 7")


def test_fill_values_of_a_band_without_spectrum_are_null(spectra, synthetic, tmp_path):
    path = tmp_path / "raw.hdf5"
    write(spectra, path, "hdf5")
    found = synthetic.read(path, XP)
    without = pc.is_null(found["bp_coefficients"])
    assert 0 < pc.sum(without).as_py() < 12
    with h5py.File(path) as file:
        assert (file["bp_n_relevant_bases"][:][without.to_numpy()] == 0).all()
    for name in XP.columns:
        if name.startswith("bp_") and "correlations" not in name:
            assert pc.sum(pc.and_(without, pc.is_valid(found[name]))).as_py() == 0, name


def test_names_are_matched_without_regard_to_case_and_others_are_reported_as_ignored(small, tmp_path):
    path = tmp_path / "raw.csv"
    upper = small().rename_columns([name.upper() for name in small().column_names])
    write(upper.append_column("My_Note", pa.array(["a", "b", "c"])), path, "archive_csv")
    (batch,) = read(path, SOURCE)
    assert batch.table.column_names == small().column_names
    assert batch.ignored == ("My_Note",)
    assert "designation" in batch.absent


def test_a_name_that_stands_twice_in_a_file_is_refused(refused, tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text(f"source_id,ra,dec,parallax,phot_g_mean_mag,ra\n{ID},1.0,2.0,3.0,15.0,9.0\n")
    refused(path, SOURCE, "'ra'", "more than once")


def test_text_stored_wide_or_as_a_dictionary_is_read_as_text(small, synthetic, tmp_path):
    path = tmp_path / "raw.parquet"
    names = pa.array([f"Gaia DR3 {ID + k}" for k in range(3)])
    flags = pa.array(["CONSTANT", "VARIABLE", "CONSTANT"])
    write(small(designation=names.cast(pa.large_string()), phot_variable_flag=flags.dictionary_encode()), path, "parquet")
    found = synthetic.read(path, SOURCE)
    assert found["designation"].to_pylist() == names.to_pylist()
    assert found["phot_variable_flag"].to_pylist() == flags.to_pylist()


# Other releases.


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("designation", [f"Gaia DR2 {ID}"] * 3, "Gaia DR2"),
        ("solution_id", [1635721458409799680] * 3, "1635721458409799680"),
        ("ref_epoch", [2015.5, 2015.5, 2015.5], "2015.5"),
    ],
)
@pytest.mark.parametrize("dialect", ["archive_csv", "fits"])
def test_a_file_of_another_release_is_told_by_its_values(small, refused, column, values, says, dialect, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(small(**{column: values}), path, dialect)
    refused(path, SOURCE, f"column '{column}'", f"source_id {ID}", says, "3 such rows", "pass files of dr3")


@pytest.mark.parametrize("name", sorted(SOURCE.foreign))
def test_a_file_of_another_release_is_told_by_the_columns_of_that_release(small, refused, name, tmp_path):
    path = tmp_path / "raw.csv"
    write(small(**{name: [0.1, 0.2, 0.3]}), path, "archive_csv")
    refused(path, SOURCE, f"column {name!r} exists only in {SOURCE.foreign[name]}", "pass files of dr3")


def test_spectra_of_another_release_are_told_by_solution_id(refused, spectra, tmp_path):
    path = tmp_path / "raw.csv"
    wrong = pa.array([1635721458409799680] * len(spectra))
    write(spectra.set_column(1, "solution_id", wrong), path, "archive_csv")
    refused(path, XP, "column 'solution_id'", "12 such rows", "dr3")


def test_an_id_in_text_that_no_64_bits_hold_is_refused_with_its_row(refused, tmp_path):
    labels = survey("lamost_gaia")
    path = tmp_path / "raw.fits"
    columns = {"source_id": [str(ID), "9999999999999999999"], "TEFF_PASTEL": [5e3, 5e3], "LOGG_PASTEL": [4.0, 4.0]}
    write(pa.table({**columns, "FEH_PASTEL": [0.0, 0.0]}), path, "fits")
    refused(path, labels, "column 'source_id'", "row 2", "expected a 64-bit integer, found the text '9999999999999999999'")


def test_the_row_of_a_bad_id_is_that_of_the_file_even_behind_rows_without_id(refused, tmp_path):
    labels = survey("lamost_gaia")
    path = tmp_path / "raw.fits"
    columns = {"source_id": [0, -9999, -7], "TEFF_PASTEL": [5e3] * 3, "LOGG_PASTEL": [4.0] * 3, "FEH_PASTEL": [0.0] * 3}
    write(pa.table(columns), path, "fits")
    refused(path, labels, "row 3", "-7 is no Gaia source identifier")


def test_a_clean_that_loses_rows_is_refused_for_nobody_would_count_them(small, tmp_path):
    losing = replace(SOURCE, clean=lambda table: table.slice(1).append_column("parallax_zero_point", table["ra"].slice(1)))
    path = tmp_path / "raw.fits"
    write(small(), path, "fits")
    (batch,) = read(path, losing)
    with pytest.raises(SurveyError, match=r"`clean` was given 3 rows of .*raw.fits and returned 2.*`drops`, which are counted"):
        conform(batch, losing, path)
