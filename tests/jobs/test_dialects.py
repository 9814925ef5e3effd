"""Test that every dialect is read back bit for bit by readers that know nothing of ours, and looks like the real files."""

import gzip
import hashlib
import json
import warnings
import zipfile
from pathlib import Path

import astropy.units as u
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
from jobs.dialects_raw import as_raw
from lake.columns import column
from lake.declaration import Position, Raw
from lake.survey import DIALECTS, Survey, same, survey

ROWS = 60
TEXT = {
    "bulk_csv": "t.csv.gz",
    "archive_csv": "t.csv",
    "pipe_csv": "t.pipe.csv",
    "sdss_csv": "t.sdss.csv",
    "ecsv": "t.ecsv",
    "datalink_csv": "t.datalink.csv",
}
PATHS = TEXT | {
    "hdf5": "t.hdf5",
    "hdf5_table": "t.h5",
    "fits": "t.fits",
    "fits_arrays": "t.fits.gz",
    "votable": "t.xml",
    "parquet": "t.parquet",
    "fixed_width": "t.dat",
}
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


def fitted(table: pa.Table, dialect: str) -> pa.Table:
    """Return the table, or for fixed width its scalar columns with 26 bytes each."""
    if dialect != "fixed_width":
        return table
    table = table.select([name for name in table.column_names if name not in LISTS])
    fields = [field.with_metadata({"bytes": f"{27 * i + 1}-{27 * i + 26}"}) for i, field in enumerate(table.schema)]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


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
        write(fitted(table, dialect), path, dialect)
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_without_rows_is_written_in_every_dialect(table, tmp_path, dialect):
    path = tmp_path / PATHS[dialect]
    write(fitted(table.slice(0, 0), dialect), path, dialect)
    # A table of CDS has no header: without rows it has no bytes.
    assert (path.stat().st_size > 0) == (dialect != "fixed_width")


@pytest.mark.parametrize("dialect", sorted(TEXT))
def test_pandas_reads_text_dialects_bit_for_bit(table, tmp_path, dialect):
    path = tmp_path / TEXT[dialect]
    write(table, path, dialect)
    frame = pd.read_csv(path, comment="#", sep="|" if dialect == "pipe_csv" else ",")
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
    assert lines["pipe_csv"][3] == f"{missing}|||{boolean.lower()}||||"
    assert lines["sdss_csv"][3] == f"{missing},null,null,{boolean},null,null,null,null"
    assert (tmp_path / TEXT["sdss_csv"]).read_text().startswith("#Table1\nsource_id,designation,")
    assert lines["pipe_csv"][0].startswith("source_id|designation|")
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


def test_h5py_and_astropy_read_one_dataset_of_records_with_its_units(table, tmp_path):
    field = table.schema.get_field_index("ruwe")
    said = table.schema.set(field, table.schema.field(field).with_metadata({"unit": "mas", "description": "it's one: 'x'"}))
    write(table.cast(said), tmp_path / "t.h5", "hdf5_table")
    there = present(table)
    with h5py.File(tmp_path / "t.h5") as file:
        records = file["data"][:]
        assert file["data"].dtype["bp_coefficients"].shape == (5,)
    read = Table.read(tmp_path / "t.h5", path="data")
    assert str(read["ruwe"].unit) == "mas"
    assert read["ruwe"].description == "it's one: 'x'"
    for found in (records, read):
        assert found["source_id"].tolist() == table["source_id"].to_pylist()
        for name in (*FLOATS, *LISTS):
            assert same_bits(found[name][there], truth(table, name)), name
            assert np.isnan(np.asarray(found[name])[~there]).all()


def test_pandas_reads_fixed_width_bit_for_bit(table, tmp_path):
    write(fitted(table, "fixed_width"), tmp_path / "t.dat", "fixed_width")
    assert {len(line) for line in (tmp_path / "t.dat").read_text().splitlines()} == {27 * 6 - 1}
    names = [name for name in table.column_names if name not in LISTS]
    frame = pd.read_fwf(tmp_path / "t.dat", colspecs=[(27 * i, 27 * i + 26) for i in range(6)], names=names, dtype=str)
    there = present(table)
    assert [int(cell) for cell in frame["source_id"]] == table["source_id"].to_pylist()
    assert [cell == "true" for cell in frame["flag"]] == table["flag"].to_pylist()
    for name in FLOATS:
        assert same_bits(frame[name][there].astype(FLOATS[name]).to_numpy(), truth(table, name)), name
        assert frame[name][~there].isna().all()


@pytest.mark.parametrize("name", ["spectrotranslator_g2a", "spectrotranslator_a2g"])
def test_the_shortest_text_of_every_float32_fits_the_bytes_that_are_published(name, tmp_path):
    declared = survey(name)
    fields = [canonical for canonical in declared.columns if pa.types.is_floating(column(canonical).type)]
    hard = np.array(
        [-1.1754944e-38, 1.1754944e-38, -3.4028235e38, -0.1234567, -1234.5677, 16777216, -1e-5, -9.876543e-10], np.float32
    )
    rng = np.random.default_rng(5)
    odd = rng.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([hard, odd[np.isfinite(odd)]])
    raw = as_raw(declared, pa.table(dict.fromkeys(fields, pa.array(values))))
    write(raw, tmp_path / "t.dat", "fixed_width")
    lines = (tmp_path / "t.dat").read_text().splitlines()
    for canonical in fields:
        first, last = declared.columns[canonical].at
        assert np.array([line[first - 1 : last] for line in lines]).astype(np.float32).tobytes() == values.tobytes()


def test_a_value_longer_than_its_bytes_is_refused(tmp_path):
    wide = pa.field("x", pa.float64(), metadata={"bytes": "3-12"})
    table = pa.table({"x": [1.5, -1.7976931348623157e308]}).cast(pa.schema([wide]))
    with pytest.raises(ValueError, match=r"column 'x': '-1.7976931348623157e\+308' is longer than bytes 3-12"):
        write(table, tmp_path / "t.dat", "fixed_width")


def test_a_column_without_bytes_is_refused_with_what_to_do(table, tmp_path):
    with pytest.raises(ValueError, match=r"'source_id' .* names no bytes.*as_raw.*at="):
        write(table, tmp_path / "t.dat", "fixed_width")


def test_a_flag_that_has_room_for_true_only_says_false_by_a_letter(tmp_path):
    field = pa.field("x", pa.bool_(), metadata={"bytes": "1-4"})
    write(pa.table({"x": [True, False, None]}).cast(pa.schema([field])), tmp_path / "t.dat", "fixed_width")
    assert (tmp_path / "t.dat").read_text() == "T   \nF   \n    \n"


@pytest.mark.parametrize(("dialect", "delimiter"), [("archive_csv", ","), ("pipe_csv", "|"), ("sdss_csv", ",")])
def test_texts_that_hold_the_delimiter_or_quotes_are_quoted(dialect, delimiter, tmp_path):
    said = ["plain", f"a{delimiter}b", 'say "no"', "two\nlines", None]
    write(pa.table({"source_id": [1, 2, 3, 4, 5], "t": said}), tmp_path / "t.csv", dialect)
    frame = pd.read_csv(tmp_path / "t.csv", sep=delimiter, comment="#")
    assert frame["t"][:4].tolist() == said[:4]
    assert frame["t"].isna().tolist() == [False] * 4 + [True]


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


# The raw form of canonical columns.


def few(**columns: Raw) -> Survey:
    """Return a survey of a few columns."""
    return Survey(
        name="few",
        title="t",
        release="r",
        kind="labels",
        citation="c",
        licence="l",
        source="s",
        patterns=("few*",),
        dialects=("fits",),
        columns=same("source_id") | columns,
    )


def test_elements_are_gathered_into_arrays_with_null_where_none_is_declared():
    declared = few(teff=Raw("P", element=0), logg=Raw("P", element=3), fe_h=Raw("P", element=1))
    rows = {"source_id": [1, 2], "teff": [5000.0, None], "logg": [4.5, None], "fe_h": [None, None]}
    kinds = {"teff": pa.float32(), "logg": pa.float32(), "fe_h": pa.float32()}
    raw = as_raw(declared, pa.table({name: pa.array(values, kinds.get(name)) for name, values in rows.items()}))
    assert raw.column_names == ["source_id", "P"]
    assert raw["P"].type.list_size == 4
    assert raw["P"].to_pylist() == [[5000.0, None, None, 4.5], [None] * 4]


def test_letters_are_gathered_into_texts_blank_where_null():
    declared = few(tmass_id=Raw("q", element=2), apogee_id=Raw("q", element=0))
    raw = as_raw(declared, pa.table({"source_id": [1, 2, 3], "apogee_id": ["A", None, None], "tmass_id": ["C", "B", None]}))
    assert raw["q"].to_pylist() == ["A C", "  B", None]
    with pytest.raises(ValueError, match="one letter"):
        as_raw(declared, pa.table({"source_id": [1], "apogee_id": ["AA"]}))


def test_made_and_matched_columns_are_left_out_and_raw_names_carry_units_and_bytes():
    declared = survey("spectrotranslator_g2a")
    rows = pa.table({"source_id": [1], "teff_p50": pa.array([5000.0], pa.float32()), "percentiles_ordered": [True]})
    raw = as_raw(declared, rows.replace_schema_metadata({"comment": "SYNTHETIC"}))
    assert raw.column_names == ["GaiaDR3", "Teff50"]
    assert raw.schema.metadata == {b"comment": b"SYNTHETIC", b"record": b"924"}
    assert raw.schema.field("Teff50").metadata[b"bytes"] == b"79-99"
    assert raw.schema.field("Teff50").metadata[b"unit"] == b"K"
    matched = Survey(
        **{field: getattr(few(), field) for field in ("name", "title", "release", "kind", "citation", "licence", "source")},
        patterns=("few*",),
        dialects=("fits",),
        columns={"object_ra": Raw("RA"), "object_dec": Raw("DEC")},
        required=("object_ra",),
        match=Position(),
        duplicates="best",
    )
    held = pa.table({"source_id": [1], "object_ra": [1.5], "object_dec": [2.5], "match_separation": [0.1]})
    assert as_raw(matched, held).column_names == ["RA", "DEC"]


@pytest.mark.parametrize(("canonical", "unit"), [("teff", "kK"), ("object_ra", "rad"), ("match_separation", "deg")])
def test_units_are_converted_so_that_reading_gives_the_same_bits_of_a_float32(canonical, unit):
    known = column(canonical)
    values = np.random.default_rng(2).uniform(known.low, known.high, 5000).astype(known.type.to_pandas_dtype())
    raw = as_raw(few(**{canonical: Raw("x", unit=unit)}), pa.table({canonical: pa.array(values)}))["x"]
    assert raw.type == pa.float64()
    back = raw.to_numpy() * u.Unit(unit).to(u.Unit(known.unit))
    if known.type == pa.float32():
        assert same_bits(back.astype(np.float32), values)
    else:
        np.testing.assert_allclose(back, values, rtol=3e-16)
