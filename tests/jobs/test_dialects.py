"""Test that every dialect is read back bit for bit by readers that know nothing of ours, and looks like the real files."""

import gzip
import hashlib
import json
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table

from jobs.dialects import write, write_dirty
from lake.survey import DIALECTS

ROWS = 60
TEXT = {"bulk_csv": "t.csv.gz", "archive_csv": "t.csv", "ecsv": "t.ecsv", "datalink_csv": "t.csv"}
PATHS = TEXT | {"hdf5": "t.hdf5", "fits": "t.fits", "fits_arrays": "t.fits.gz", "votable": "t.xml", "parquet": "t.parquet"}
FLOATS = {"parallax": np.float64, "ruwe": np.float32}
LISTS = {"bp_coefficients": (np.float64, 5), "bp_coefficient_errors": (np.float32, 3)}


@pytest.fixture
def table() -> pa.Table:
    """Hold one column of every kind, hard numbers among them, and row 2 with everything missing that can be."""
    rng = np.random.default_rng(1)
    absent = np.arange(ROWS) % 7 == 2
    hard = np.array([0.1, 1e-300, -0.0, 5e22, 123456789.0, 1e15, 2.0, -1.7976931348623157e308])

    def numbers(kind: type, size: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            values = (rng.normal(size=size) * 10.0 ** rng.uniform(-30, 30, size)).astype(kind)
            values[: len(hard)] = np.where(np.isfinite(hard.astype(kind)), hard.astype(kind), 1)[:size]
        return values

    columns = {
        "source_id": pa.array((1 << 62) + np.arange(ROWS)),
        "designation": pa.array([f"Gaia DR3 {i}" if not gone else None for i, gone in enumerate(absent)]),
        "n_obs": pa.array(rng.integers(0, 30000, ROWS).astype(np.int16), mask=absent),
        "flag": pa.array(rng.random(ROWS) < 0.5),
        **{name: pa.array(numbers(kind, ROWS), mask=absent) for name, kind in FLOATS.items()},
    }
    for name, (kind, length) in LISTS.items():
        flat = pa.array(numbers(kind, ROWS * length))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, length, mask=pa.array(absent))
    return pa.table(columns).replace_schema_metadata({"comment": "SYNTHETIC 'test'"})


def present(table: pa.Table) -> np.ndarray:
    return np.asarray(table["n_obs"].combine_chunks().is_valid())


def truth(table: pa.Table, name: str) -> np.ndarray:
    """Return the values of the rows that are present."""
    return np.array(table[name].drop_null().to_pylist(), dtype=FLOATS.get(name) or LISTS[name][0])


def same_bits(found: object, wanted: np.ndarray) -> bool:
    made = np.asarray(found, dtype=wanted.dtype)
    return made.shape == wanted.shape and np.ascontiguousarray(made).tobytes() == np.ascontiguousarray(wanted).tobytes()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_equal_tables_give_equal_bytes(table, tmp_path, dialect):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [tmp_path / folder / PATHS[dialect] for folder in "ab"]
    for path in paths:
        write(table, path, dialect)
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_without_rows_is_written_in_every_dialect(table, tmp_path, dialect):
    path = tmp_path / PATHS[dialect]
    write(table.slice(0, 0), path, dialect)
    assert path.stat().st_size > 0


@pytest.mark.parametrize("dialect", sorted(TEXT))
def test_pandas_reads_text_dialects_bit_for_bit(table, tmp_path, dialect):
    path = tmp_path / TEXT[dialect]
    write(table, path, dialect)
    frame = pd.read_csv(path, comment="#")
    there = present(table)
    assert frame["source_id"].tolist() == table["source_id"].to_pylist()
    assert frame["n_obs"].isna().tolist() == (~there).tolist()
    assert frame["n_obs"][there].astype(int).tolist() == table["n_obs"].drop_null().to_pylist()
    assert frame["flag"].tolist() == table["flag"].to_pylist()
    assert frame["designation"][there].tolist() == table["designation"].drop_null().to_pylist()
    for name in FLOATS:
        assert same_bits(frame[name][there].to_numpy(), truth(table, name)), name
        assert frame[name][~there].isna().all()
    for name in LISTS:
        texts = frame[name][there].str.replace("(", "[").str.replace(")", "]")
        assert same_bits([json.loads(text) for text in texts], truth(table, name)), name
        assert frame[name][~there].isna().all()


def test_each_text_dialect_spells_missing_values_booleans_and_arrays_as_the_archive_does(table, tmp_path):
    lines = {}
    for dialect, name in TEXT.items():
        write(table, tmp_path / name, dialect)
        raw = (tmp_path / name).read_bytes()
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()
        lines[dialect] = [line for line in text.splitlines() if not line.startswith("#")]
    boolean = str(table["flag"][2].as_py())
    missing = (1 << 62) + 2
    assert lines["bulk_csv"][3] == f"{missing},null,null,{boolean},null,null,null,null"
    assert lines["archive_csv"][3] == lines["datalink_csv"][3] == f"{missing},,,{boolean.lower()},,,,"
    assert lines["ecsv"][3] == f"{missing},,,{boolean},nan,nan,,"
    assert lines["bulk_csv"][1].startswith(f'{1 << 62},"Gaia DR3 0",')
    assert ',"[0.1, 1E-300, -0.0, ' in lines["bulk_csv"][1]
    assert ',"(0.1, 1E-300, -0.0, ' in lines["datalink_csv"][1]
    assert ',"[0.1,1E-300,-0.0,' in lines["ecsv"][1]


@pytest.mark.parametrize("dialect", ["bulk_csv", "ecsv"])
def test_the_header_is_sound_ecsv_with_the_subtypes_of_the_real_sample(table, tmp_path, dialect):
    path = tmp_path / TEXT[dialect]
    write(table, path, dialect)
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    assert text.startswith("# %ECSV 1.0\n# ---\n# delimiter: ','\n")
    assert "# -\n#   name: bp_coefficients\n#   datatype: string\n#   subtype: 'float64[null]'\n" in text
    if dialect == "bulk_csv":  # its literal null is no ECSV; readers of the mirrors replace it
        text = text.replace(",null", ",")
    (tmp_path / "plain.ecsv").write_text(text)
    read = Table.read(tmp_path / "plain.ecsv", format="ascii.ecsv")
    assert "SYNTHETIC" in read.meta["comment"]
    assert read["ruwe"].dtype == np.float32
    assert same_bits(np.asarray(read["parallax"])[present(table)], truth(table, "parallax"))
    assert same_bits([np.asarray(cell) for cell in read["bp_coefficients"][present(table)]], truth(table, "bp_coefficients"))


def test_h5py_reads_one_dataset_per_column_with_nan_for_missing_floats_and_arrays(table, tmp_path):
    write(table, tmp_path / "t.hdf5", "hdf5")
    there = present(table)
    with h5py.File(tmp_path / "t.hdf5") as file:
        assert list(file) == sorted(table.column_names)
        assert file["flag"].dtype == bool
        assert file["designation"].dtype.kind == "S"
        assert (file["n_obs"][:][~there] == 0).all()
        assert file["bp_coefficients"].shape == (ROWS, 5)
        for name in (*FLOATS, *LISTS):
            assert same_bits(file[name][:][there], truth(table, name)), name
            assert np.isnan(file[name][:][~there]).all()


@pytest.mark.parametrize("dialect", ["fits", "fits_arrays"])
def test_astropy_reads_fits_bit_for_bit(table, tmp_path, dialect):
    path = tmp_path / PATHS[dialect]
    write(table, path, dialect)
    there = present(table)
    with fits.open(path) as file:
        file.verify("exception")
        header, data = file[1].header, file[1].data
        assert "SYNTHETIC" in str(file[0].header["COMMENT"])
        assert header["TNULL3"] == -32768 and (data["n_obs"][~there] == -32768).all()
        assert data["source_id"].tolist() == table["source_id"].to_pylist()
        assert data["flag"].tolist() == table["flag"].to_pylist()
        assert np.char.rstrip(data["designation"][there]).tolist() == table["designation"].drop_null().to_pylist()
        assert header["TFORM7"] == ("5D" if dialect == "fits" else "PD(5)")
        for name in FLOATS:
            assert same_bits(data[name][there], truth(table, name)), name
            assert np.isnan(data[name][~there]).all()
        for name in LISTS:
            assert same_bits(np.array(list(data[name][there])), truth(table, name)), name
            gone = data[name][2]
            assert len(gone) == 0 if dialect == "fits_arrays" else np.isnan(gone).all()
    if dialect == "fits":
        raw = path.read_bytes()
        assert b"Gaia DR3 0 " in raw  # padded with blanks, as the archive does, not with zeros


def test_astropy_reads_votable_bit_for_bit(table, tmp_path):
    write(table, tmp_path / "t.xml", "votable")
    assert b"<BINARY2>" in (tmp_path / "t.xml").read_bytes()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="astropy.io.votable")
        read = parse_single_table(tmp_path / "t.xml").array
    there = present(table)
    assert read["source_id"].tolist() == table["source_id"].to_pylist()
    assert np.ma.getmaskarray(read["n_obs"]).tolist() == (~there).tolist()
    assert read["flag"].tolist() == table["flag"].to_pylist()
    for name in FLOATS:
        assert same_bits(read[name].data[there], truth(table, name)), name
    for name in LISTS:
        assert same_bits([np.asarray(cell) for cell in read[name].data[there]], truth(table, name)), name
        assert len(read[name].data[2]) == 0


def test_parquet_is_the_table_itself(table, tmp_path):
    write(table, tmp_path / "t.parquet", "parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(table)


def test_a_datalink_zip_holds_one_member_per_source_beside_another_product(table, tmp_path):
    write(table.slice(0, 3), tmp_path / "t.zip", "datalink_csv")
    with zipfile.ZipFile(tmp_path / "t.zip") as archive:
        names = archive.namelist()
        member = archive.read(f"XP_CONTINUOUS-Gaia DR3 {1 << 62}.csv").decode()
    assert sum(name.startswith("XP_CONTINUOUS-Gaia DR3 ") for name in names) == 3
    assert sum(name.startswith("MCMC_MSC-Gaia DR3 ") for name in names) == 3
    assert '"(0.1, ' in member


def test_a_datalink_zip_of_a_sampled_spectrum_has_one_row_per_wavelength(tmp_path):
    flux = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 4)
    write(pa.table({"source_id": [5, 6], "flux": flux, "flux_error": flux}), tmp_path / "t.zip", "datalink_csv")
    with zipfile.ZipFile(tmp_path / "t.zip") as archive, archive.open("XP_SAMPLED-Gaia DR3 6.csv") as member:
        read = pd.read_csv(member)
    assert read["wavelength"].tolist() == [336.0, 338.0, 340.0, 342.0]
    assert read["flux"].tolist() == [4.0, 5.0, 6.0, 7.0]


def test_the_dirty_file_turns_small_integers_into_float_text_half_way(table, tmp_path):
    write_dirty(table, tmp_path / "t.csv.gz")
    lines = gzip.decompress((tmp_path / "t.csv.gz").read_bytes()).decode().splitlines()
    rows = [line for line in lines if not line.startswith("#")][1:]
    assert rows[0].split(",")[2] == str(table["n_obs"][0].as_py())
    assert rows[-1].split(",")[2] == f"{table['n_obs'][ROWS - 1].as_py()}.0"
    assert len(rows) == ROWS
    assert rows[-1].split(",")[0] == str((1 << 62) + ROWS - 1)  # ids stay integers


def test_slices_and_lists_of_variable_length_are_written_as_they_are(tmp_path):
    ragged = pa.table({"source_id": [1, 2, 3, 4], "x": pa.array([[9.5], [1.0, 2.5], None, [3.25]], pa.list_(pa.float64()))})
    write(ragged.slice(1), tmp_path / "t.csv", "archive_csv")
    assert (tmp_path / "t.csv").read_text() == 'source_id,x\n2,"[1.0, 2.5]"\n3,\n4,"[3.25]"\n'


def test_an_unknown_dialect_is_refused_with_the_names_of_those_known(table, tmp_path):
    with pytest.raises(ValueError, match="bulk_csv.*parquet"):
        write(table, tmp_path / "t", "xlsx")


def test_the_zip_of_a_table_that_datalink_does_not_serve_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="XP spectra only"):
        write(pa.table({"source_id": [1]}), tmp_path / "t.zip", "datalink_csv")
