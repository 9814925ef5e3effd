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
from jobs.dialects_raw import as_raw
from lake.columns import column
from lake.declaration import Raw
from lake.errors import RawFileError
from lake.readers import read
from lake.readers.arrays import parse_arrays
from lake.survey import Survey, same, survey

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


# Elements of arrays, letters of texts.


def declare(**columns: Raw) -> Survey:
    """Return a survey of a few columns beside source_id."""
    said = dict.fromkeys(("title", "release", "citation", "licence", "source"), "t")
    return Survey(name="few", kind="labels", patterns=("*",), dialects=("fits",), columns=same("source_id") | columns, **said)


ELEMENTS = declare(
    teff=Raw("PARAM", element=0),
    logg=Raw("param", element=2),
    fe_h=Raw("PARAM", element=1),
    galah_flag_sp=Raw("FLAGS", element=3),
    galah_flag_red=Raw("FLAGS", element=0),
    sspp_star_flag=Raw("LETTERS", element=1),
    segue_spec_id=Raw("LETTERS", element=0),
)


def rows_of(declared: Survey, rows: int = 40) -> pa.Table:
    """Draw random rows under canonical names; every fifth value is missing, and row 7 altogether."""
    rng = np.random.default_rng(4)
    columns = {}
    for k, name in enumerate(declared.columns):
        kind, gone = column(name).type, (np.arange(rows) % 5 == k % 5) | (np.arange(rows) == 7)
        if pa.types.is_string(kind):
            values = pa.array([chr(65 + letter) for letter in rng.integers(0, 20, rows)])
        elif pa.types.is_floating(kind):
            values = pa.array(rng.uniform(1000, 9000, rows).astype(np.float32))
        else:
            values = pa.array(rng.integers(0, 2**30, rows)).cast(kind) if name != "source_id" else pa.array(ID + np.arange(rows))
        columns[name] = pc.if_else(pa.array(gone & (name != "source_id")), pa.scalar(None, kind), values)
    return pa.table(columns)


@pytest.mark.parametrize(
    "dialect", ["fits", "fits_arrays", "votable", "parquet", "hdf5", "hdf5_table", "archive_csv", "pipe_csv", "sdss_csv", "ecsv"]
)
def test_elements_and_letters_are_taken_apart_bit_for_bit_in_every_form(dialect, synthetic, suffix, tmp_path):
    wanted, path = rows_of(ELEMENTS), tmp_path / f"raw{suffix.get(dialect, '.x')}"
    if "hdf5" in dialect:  # no missing integers
        for name in ("galah_flag_sp", "galah_flag_red"):
            wanted = wanted.set_column(wanted.column_names.index(name), name, pc.fill_null(wanted[name], 0))
    write(as_raw(ELEMENTS, wanted), path, dialect)
    found = synthetic.read(path, ELEMENTS)
    for name in ELEMENTS.columns:
        assert found[name].combine_chunks().equals(wanted[name].combine_chunks()), name


def with_letters(values: list[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"source_id": ID + np.arange(len(values)), "q": pa.array(values, kind)})


def test_a_letter_behind_the_end_of_a_text_is_null_and_a_blank_one_too(synthetic, tmp_path):
    declared = declare(tmass_id=Raw("q", element=0), apogee_id=Raw("q", element=1), segue_spec_id=Raw("q", element=2))
    path = tmp_path / "raw.parquet"
    write(with_letters(["AAB", "U", " X ", "", None, "A"]), path, "parquet")
    found = synthetic.read(path, declared)
    assert found["tmass_id"].to_pylist() == ["A", "U", None, None, None, "A"]
    assert found["apogee_id"].to_pylist() == ["A", None, "X", None, None, None]
    assert found["segue_spec_id"].to_pylist() == ["B", None, None, None, None, None]


@pytest.mark.parametrize("dialect", ["archive_csv", "fits", "parquet"])
def test_digits_of_a_text_become_integers(dialect, synthetic, suffix, tmp_path):
    declared = declare(segue_plate=Raw("q", element=0), segue_fiber=Raw("q", element=2))
    path = tmp_path / f"raw{suffix[dialect]}"
    write(with_letters(["002", "210", None, "9 7"]), path, dialect)
    if dialect == "archive_csv":
        path.write_text(path.read_text().replace("002", '"002"'))
    found = synthetic.read(path, declared)
    assert found["segue_plate"].to_pylist() == [0, 2, None, 9]
    assert found["segue_fiber"].to_pylist() == [2, 0, None, 7]


def test_a_null_or_empty_array_gives_null_elements(synthetic, tmp_path):
    declared = declare(teff=Raw("q", element=1))
    path = tmp_path / "raw.parquet"
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64())):
        write(with_letters([[1.0, 2.0], None, [], [3.0, None], [5.0, 6.0, 7.0]], kind), path, "parquet")
        assert synthetic.read(path, declared)["teff"].to_pylist() == [2.0, None, None, None, 6.0]
    write(with_letters([None, []], pa.list_(pa.float32())), path, "parquet")
    assert synthetic.read(path, declared)["teff"].to_pylist() == [None, None]


@pytest.mark.parametrize("dialect", ["fits", "votable", "parquet", "archive_csv", "hdf5_table"])
def test_an_element_beyond_the_arrays_is_refused_with_the_column(dialect, refused, suffix, tmp_path):
    path = tmp_path / f"raw{suffix.get(dialect, '.h5')}"
    write(with_letters([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)), path, dialect)
    refused(path, declare(teff=Raw("q", element=2)), "column 'q'", "array of more than 2 values, found 2")


def test_an_array_that_ends_too_early_is_refused_with_its_row_of_the_file(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fits.CHUNK_BYTES", 50)
    path = tmp_path / "raw.fits"
    values = [[1.0, 2.0]] * 6 + [[3.0]] + [[1.0, 2.0]] * 3
    write(with_letters(values, pa.list_(pa.float32())), path, "fits_arrays")
    refused(path, declare(teff=Raw("q", element=1)), "column 'q', row 7", "more than 1 values, found 1")


@pytest.mark.parametrize("values", [[1.5, 2.5], [1, 2]])
def test_a_column_that_is_neither_array_nor_text_is_refused(values, refused, tmp_path):
    path = tmp_path / "raw.fits"
    write(with_letters(values), path, "fits")
    refused(path, declare(teff=Raw("q", element=1)), "column 'q'", "expected arrays or texts", "element 1")


def test_array_text_that_is_broken_is_refused_with_its_row_where_an_element_is_taken(refused, tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text(f'source_id,q\n{ID},"[1.0, 2.0]"\n{ID + 1},"[1.0, abc]"\n')
    refused(path, declare(teff=Raw("q", element=1)), "column 'q', row 2", "expected a number", "abc")


def test_a_required_element_is_required(tmp_path):
    declared = declare(teff=Raw("q", element=0))
    path = tmp_path / "raw.csv"
    path.write_text(f"source_id,r\n{ID},1.5\n")
    (batch,) = read(path, declared)
    assert batch.absent == ("teff",)
    wanted = Survey(**{**{f: getattr(declared, f) for f in declared.__dataclass_fields__}, "required": ("source_id", "teff")})
    with pytest.raises(RawFileError, match="required column q"):
        list(read(path, wanted))


def test_the_whole_of_a_column_and_its_elements_may_both_be_wanted(synthetic, tmp_path):
    declared = declare(tmass_id=Raw("q"), apogee_id=Raw("q", element=1))
    path = tmp_path / "raw.fits"
    write(with_letters(["ABC", "DE"]), path, "fits")
    found = synthetic.read(path, declared)
    assert (found["tmass_id"].to_pylist(), found["apogee_id"].to_pylist()) == (["ABC", "DE"], ["B", "E"])
