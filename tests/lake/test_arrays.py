"""Arrays in every spelling; those of another length, or of no numbers, are refused with row and source."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.dialects import write
from lake.readers import read
from lake.readers.arrays import parse_arrays
from lake.survey import survey

SOURCE, XP, CATWISE = survey("gaia_dr3_source"), survey("gaia_dr3_xp"), survey("catwise_andrae2023")
ID = 5853498713190525696


# Arrays.


def shortened(spectra: pa.Table) -> pa.Table:
    """Return the spectra with 54 BP coefficients in every row that has any."""
    short = [None if row is None else row[:54] for row in spectra["bp_coefficients"].to_pylist()]
    at = spectra.column_names.index("bp_coefficients")
    return spectra.set_column(at, "bp_coefficients", pa.array(short, pa.list_(pa.float64(), 54)))


@pytest.mark.parametrize("dialect", ["bulk_csv", "datalink_csv", "fits", "fits_arrays", "hdf5", "votable", "parquet"])
def test_arrays_of_54_coefficients_are_refused_with_row_source_and_count(refused, dialect, spectra, suffix, tmp_path):
    path = tmp_path / f"raw{suffix[dialect]}"
    write(shortened(spectra), path, dialect)
    there = np.flatnonzero(np.asarray(pc.is_valid(spectra["bp_coefficients"])))
    row = 0 if dialect in ("hdf5", "fits") else int(there[0])
    star = spectra["source_id"][row].as_py()
    refused(
        path,
        XP,
        "column 'bp_coefficients'",
        f"row {row + 1}",
        f"source_id {star}",
        "array of 55 values, found 54",
        "such rows",
    )


def arrays_file(path: Path, cells: list[str]) -> Path:
    """Write a CSV of spectra whose BP coefficients are spelled as given; the other arrays are good."""
    good = json.dumps([1.5] * 55)
    names = ["bp_coefficients", "bp_coefficient_errors", "rp_coefficients", "rp_coefficient_errors"]
    lines = [",".join(["source_id", *names])]
    lines += [f'{ID + k},"{cell}","{good}","{good}","{good}"' for k, cell in enumerate(cells)]
    path.write_text("\n".join(lines) + "\n")
    return path


GOOD = "[" + ", ".join(["2.5"] * 55) + "]"


@pytest.mark.parametrize("bad", [GOOD[1:-1], "5", "x", GOOD[:-1], "2.5 3.5", "[" + GOOD + "]"])
def test_array_text_without_brackets_is_refused_with_row_and_source(refused, bad, tmp_path):
    path = arrays_file(tmp_path / "raw.csv", [GOOD, bad, GOOD])
    refused(path, XP, "column 'bp_coefficients'", "row 2", f"source_id {ID + 1}")


@pytest.mark.parametrize("bad", ["abc", "1_000", "1..5", "0x1F"])
def test_an_element_that_is_no_number_is_refused_with_row_and_value(refused, bad, tmp_path):
    path = arrays_file(tmp_path / "raw.csv", [GOOD, GOOD, "[" + ", ".join([bad] + ["1.0"] * 54) + "]"])
    refused(path, XP, "column 'bp_coefficients'", "row 3", f"source_id {ID + 2}", "number", bad)


@pytest.mark.parametrize("bad", ["inf", "-inf", "1e999"])
def test_an_infinite_element_is_refused_with_its_row(refused, bad, tmp_path):
    path = arrays_file(tmp_path / "raw.csv", ["", GOOD, "[" + ", ".join(["1.0"] * 40 + [bad] + ["1.0"] * 14) + "]"])
    refused(path, XP, "column 'bp_coefficients'", "row 3", f"source_id {ID + 2}", "infinite")


@pytest.mark.parametrize("word", ["null", "nan", "NaN", "None", "--"])
@pytest.mark.parametrize("separator", [", ", ",", " , "])
def test_an_element_that_is_missing_stays_a_missing_element(word, separator, synthetic, tmp_path):
    path = arrays_file(tmp_path / "raw.csv", ["(" + separator.join(["1.5", word] + ["2.5"] * 53) + ")"])
    assert synthetic.read(path, XP)["bp_coefficients"][0].as_py() == [1.5, None, *[2.5] * 53]


@pytest.mark.parametrize("spelled", ["", "[]", "()", "null", "nan"])
def test_an_array_that_is_missing_becomes_null(spelled, synthetic, tmp_path):
    path = arrays_file(tmp_path / "raw.csv", [GOOD, spelled])
    assert synthetic.read(path, XP)["bp_coefficients"].to_pylist() == [[2.5] * 55, None]


def test_arrays_of_any_length_brackets_and_nulls_are_parsed_as_they_stand():
    found = parse_arrays(pa.array(["[1.5, null, 3]", None, "(2.5)", "[]", "(nan, 4.5)"]), pa.float64())
    assert found.to_pylist() == [[1.5, None, 3.0], None, [2.5], None, [None, 4.5]]


def test_hdf5_datasets_of_different_lengths_are_refused(refused, gaia, tmp_path):
    path = tmp_path / "raw.hdf5"
    write(gaia, path, "hdf5")
    with h5py.File(path, "a") as file:
        held = file["parallax"][:-3]
        del file["parallax"]
        file["parallax"] = held
    refused(path, SOURCE, "source_id has 30 rows", "parallax (27)")


def test_a_flattened_table_that_lacks_one_coefficient_is_refused(refused, tmp_path):
    path = tmp_path / "flat.csv"
    names = [f"{error}{band}_coeff_{k}" for band in ("bp", "rp") for error in ("", "e_") for k in range(55)]
    names.remove("bp_coeff_7")
    frame = pd.DataFrame(1.5, index=range(2), columns=names)
    frame.insert(0, "source_id", [ID, ID + 1])
    frame.to_csv(path, index=False)
    refused(path, XP, "bp_coefficients is flattened", "bp_coeff_7")


def test_the_row_that_an_error_names_counts_from_the_files_first_row_of_data(small, refused, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fits.CHUNK_BYTES", 1)
    path = tmp_path / "raw.fits"
    write(small(source_id=[ID, ID + 1, 0]), path, "fits")
    assert [batch.first_row for batch in read(path, SOURCE)] == [0, 1, 2]
    refused(path, SOURCE, "row 3")
