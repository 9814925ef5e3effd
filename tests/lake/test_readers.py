"""Broken files and files that are no table: each is refused with its name, the place, and what to do."""

import gzip
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from jobs.dialects import write
from lake.declaration import Position, Raw
from lake.errors import RawFileError
from lake.readers import read
from lake.readers.form import Form, recognise
from lake.survey import Survey, same, survey

SOURCE, XP, CATWISE = survey("gaia_dr3_source"), survey("gaia_dr3_xp"), survey("catwise_andrae2023")
ID = 5853498713190525696
SAID = dict.fromkeys(("title", "release", "citation", "licence", "source"), "t") | {"kind": "labels"}
FEW = Survey(
    name="few",
    patterns=("*",),
    dialects=("fits",),
    columns=same("source_id teff logg") | {"tmass_id": Raw("ID_2MASS"), "n_visits": Raw("nv"), "bp_rp": Raw("BP-RP")},
    required=("source_id", "teff"),
    **SAID,
)
PLACED = Survey(
    name="placed",
    patterns=("*",),
    dialects=("fits",),
    columns={"object_ra": Raw("ra"), "object_dec": Raw("dec"), "sobject_id": Raw("objid"), "survey_g_mag": Raw("g")},
    required=("object_ra", "object_dec"),
    match=Position(),
    duplicates="best",
    **SAID,
)


# Files that break off.


@pytest.mark.parametrize("dialect", ["bulk_csv", "archive_csv", "fits", "hdf5", "votable", "parquet"])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.02])
def test_a_truncated_file_of_gaia_source_is_refused(refused, dialect, kept, gaia, suffix, tmp_path):
    path = tmp_path / f"cut{suffix[dialect]}"
    write(gaia, path, dialect)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    if dialect == "archive_csv" and kept == 0.999:
        pytest.skip("plain text that ends inside its last value cannot be told from a whole file")
    refused(path, SOURCE)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.02])
@pytest.mark.parametrize("dialect", ["fits", "fits_arrays"])
def test_a_truncated_fits_file_of_spectra_is_refused_packed_or_not(refused, dialect, packed, kept, spectra, tmp_path):
    path = tmp_path / ("cut.fits.gz" if packed else "cut.fits")
    write(spectra, path, dialect)
    # The last block of a FITS file is padded with zeros, which nobody misses.
    whole = path.read_bytes() if packed else path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[: int(len(whole) * kept)])
    refused(path, XP)


@pytest.mark.parametrize("dialect", ["bulk_csv", "fits"])
def test_a_gzip_file_with_a_damaged_byte_is_refused(refused, dialect, gaia, tmp_path):
    path = tmp_path / "hurt.gz"
    write(gaia, path, dialect)
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 0xFF
    path.write_bytes(held)
    refused(path, SOURCE, "damaged")


@pytest.mark.parametrize("dialect", ["bulk_csv", "fits", "fits_arrays"])
@pytest.mark.parametrize("rows", [3, 90, 120])
def test_a_gzip_file_with_a_wrong_checksum_is_refused(refused, rows, dialect, synthetic, draw_ids, tmp_path):
    path = tmp_path / "hurt.gz"
    write(synthetic.raw(XP, synthetic.rows(XP, draw_ids(rows, 1))), path, dialect)
    held = bytearray(path.read_bytes())
    held[-6] ^= 0xFF
    path.write_bytes(held)
    refused(path, XP, "damaged")


def test_a_wrong_checksum_is_found_even_behind_extensions_that_nobody_reads(refused, gaia, synthetic, tmp_path):
    plain, path = tmp_path / "plain.fits", tmp_path / "hurt.fits.gz"
    write(gaia, plain, "fits")
    fits.append(plain, np.zeros((1000, 1000), np.float32))
    held = bytearray(gzip.compress(plain.read_bytes()))
    path.write_bytes(held)
    assert synthetic.read(path, SOURCE).num_rows == 30
    held[-6] ^= 0xFF
    path.write_bytes(held)
    refused(path, SOURCE, "damaged")


@pytest.mark.parametrize("dialect", ["bulk_csv", "fits", "fits_arrays"])
@pytest.mark.parametrize("at", [0.6, 0.9])
def test_damage_far_behind_the_beginning_of_a_gzip_file_is_found(refused, dialect, at, synthetic, draw_ids, tmp_path):
    path = tmp_path / "hurt.gz"
    write(synthetic.raw(XP, synthetic.rows(XP, draw_ids(120, 1))), path, dialect)
    held = bytearray(path.read_bytes())
    assert len(gzip.decompress(held)) > 1 << 20
    held[int(len(held) * at)] ^= 0xFF
    path.write_bytes(held)
    refused(path, XP)


def test_a_truncated_zip_is_refused(refused, spectra, tmp_path):
    path = tmp_path / "cut.zip"
    write(spectra.slice(0, 2), path, "datalink_csv")
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, XP, "zip")


def test_a_zip_with_a_damaged_member_is_refused_with_the_members_name(refused, spectra, tmp_path):
    path = tmp_path / "hurt.zip"
    one = spectra.filter(pc.and_(pc.is_valid(spectra["bp_coefficients"]), pc.is_valid(spectra["rp_coefficients"]))).slice(0, 1)
    write(one, path, "datalink_csv")
    with zipfile.ZipFile(path) as archive:
        member = next(entry for entry in archive.infolist() if entry.filename.startswith("XP_"))
    held = bytearray(path.read_bytes())
    held[member.header_offset + member.compress_size // 2] ^= 0xFF
    path.write_bytes(held)
    refused(path, XP, "damaged")


def test_a_zip_of_other_products_is_refused_with_what_it_holds(synthetic, tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MCMC_MSC-Gaia DR3 1.csv", "a,b\n1,2\n")
    with pytest.raises(RawFileError, match=r"other.zip: no product of gaia_dr3_xp.*XP_CONTINUOUS.*MCMC_MSC"):
        synthetic.read(path, XP)


def test_a_fits_header_that_promises_more_rows_than_the_file_holds_is_refused_with_the_row(refused, gaia, tmp_path):
    path = tmp_path / "short.fits"
    write(gaia, path, "fits")
    path.write_bytes(path.read_bytes().replace(b"NAXIS2  =                   30", b"NAXIS2  =                 9000"))
    refused(path, SOURCE, "announces 9,000 rows", "ends in row")


# Delimited text of other archives.


def test_cells_between_bars_are_read_with_empty_ones_null(synthetic, tmp_path):
    path = tmp_path / "dr8.csv"
    path.write_text(
        f"obsid|source_id|teff|logg|ID_2MASS|nv\n101001|{ID + 1}|5012.25|4.5|J0 1,x|3\n101002|{ID + 3}||-1.5||\n", "utf-8"
    )
    (batch,) = read(path, FEW)
    assert batch.ignored == ("obsid",)
    assert batch.absent == ("bp_rp",)
    found = synthetic.read(path, FEW)
    assert found["source_id"].to_pylist() == [ID + 1, ID + 3]
    assert found["teff"].to_pylist() == [5012.25, None]
    assert found["tmass_id"].to_pylist() == ["J0 1,x", None]
    assert found["n_visits"].to_pylist() == [3, None]


def test_a_bad_cell_between_bars_is_refused_with_column_row_and_value(refused, tmp_path):
    path = tmp_path / "dr8.csv"
    path.write_text(f"source_id|teff\n{ID}|5000\n{ID}|hot\n", "utf-8")
    refused(path, FEW, "column 'teff'", "row 2", "'hot'")


def test_bars_inside_a_table_with_commas_are_letters(synthetic, tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text(f"source_id,teff,ID_2MASS|other,ID_2MASS\n{ID},5000,a|b,c|d\n", "utf-8")
    assert synthetic.read(path, FEW)["tmass_id"].to_pylist() == ["c|d"]


@pytest.mark.parametrize("first", ["#Table1\n", "#Table1\r\n", ""])
def test_the_line_of_skyserver_before_the_names_is_skipped(first, synthetic, tmp_path):
    path = tmp_path / "result.csv"
    path.write_bytes(
        first.encode() + b"objid,ra,dec,g\n1237646792774452674,103.5,-0.25,15.5\n1237646792774386328,104,null,null\n"
    )
    found = synthetic.read(path, PLACED)
    assert found.column_names == list(PLACED.columns)
    assert found["sobject_id"].to_pylist() == [1237646792774452674, 1237646792774386328]
    assert found["survey_g_mag"].to_pylist() == [15.5, None]


def test_a_real_export_of_skyserver_keeps_all_digits_of_its_identifiers(shared_data, synthetic):
    path = shared_data / "sdss" / "sdss_311.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[2:]
    found = synthetic.read(path, PLACED)
    assert found.num_rows == len(lines) == 1026
    assert found["sobject_id"].to_pylist() == [int(line.split(",")[0]) for line in lines]


@pytest.mark.parametrize("spelled", ["{0}", '"{0}"', " {0}"])
def test_identifiers_in_text_never_become_floats(spelled, synthetic, tmp_path):
    path = tmp_path / "tap.csv"
    lines = [f"{spelled.format(ID + k)},{5000 + k}.5,,,3.0" for k in range(5)]
    path.write_text("\n".join(["source_id,teff,logg,ID_2MASS,nv", *lines, ""]), "utf-8")
    assert synthetic.read(path, FEW)["source_id"].to_pylist() == [ID + k for k in range(5)]


@pytest.mark.parametrize("dialect", ["votable", "fits", "hdf5", "hdf5_table", "parquet", "archive_csv"])
def test_identifiers_that_a_file_holds_as_text_keep_their_digits(dialect, synthetic, suffix, tmp_path):
    path = tmp_path / f"raw{suffix.get(dialect, '.x')}"
    write(pa.table({"source_id": [f" {ID + k}" for k in range(4)], "teff": [5000.0, 1e4, None, 7e3]}), path, dialect)
    assert synthetic.read(path, FEW)["source_id"].to_pylist() == [ID + k for k in range(4)]


# Tables inside HDF5.


def masked_table(rows: int = 6) -> Table:
    """Return a table as astropy holds it, one value masked in each of three columns."""
    gone = np.arange(rows) == 2
    return Table(
        {
            "source_id": ID + np.arange(rows),
            "teff": MaskedColumn(np.linspace(4000, 9000, rows).astype(">f4"), mask=gone, unit="K"),
            "nv": MaskedColumn(np.arange(rows, dtype=np.int16), mask=gone),
            "ID_2MASS": MaskedColumn([f"J{k}  ".encode() for k in range(rows)], mask=gone),
            "BP-RP": np.ones(rows),
        }
    )


@pytest.mark.parametrize("where", ["data", "deep/er/table"])
def test_a_table_that_astropy_wrote_into_hdf5_is_read_with_its_masked_values_null(where, synthetic, tmp_path):
    path = tmp_path / "labels.h5"
    masked_table().write(path, path=where, serialize_meta=True)
    with h5py.File(path) as file:
        assert f"{where}.__table_column_meta__" in file
    found = synthetic.read(path, FEW)
    assert found["source_id"].to_pylist() == [ID + k for k in range(6)]
    assert found["teff"].to_pylist() == [4000.0, 5000.0, None, 7000.0, 8000.0, 9000.0]
    assert found["n_visits"].to_pylist() == [0, 1, None, 3, 4, 5]
    assert found["tmass_id"].to_pylist() == ["J0", "J1", None, "J3", "J4", "J5"]
    (batch,) = read(path, FEW)
    assert batch.ignored == ()


def test_records_below_groups_are_found_beside_other_datasets_and_read_in_chunks(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.hdf5.CHUNK_BYTES", 50)
    path = tmp_path / "records.h5"
    records = np.zeros(7, dtype=[("SOURCE_ID", ">i8"), ("Teff", "f8"), ("ID_2MASS", h5py.string_dtype()), ("nv", "?")])
    records["SOURCE_ID"], records["Teff"] = ID + np.arange(7), 5000 + np.arange(7)
    records["ID_2MASS"] = [f"é{k}".encode() for k in range(7)]
    with h5py.File(path, "w") as file:
        file["other/log"] = np.zeros(3, dtype=[("a", "i4")])
        file["other/matrix"] = np.zeros((3, 4))
        file["weights"] = np.zeros(9)
        file["z/table"] = records
    batches = list(read(path, FEW))
    assert len(batches) > 2
    assert [batch.first_row for batch in batches][:3] == [0, len(batches[0].table), 2 * len(batches[0].table)]
    found = pa.concat_tables([batch.table for batch in batches])
    assert found["source_id"].to_pylist() == [ID + k for k in range(7)]
    assert found["tmass_id"].to_pylist() == [f"é{k}" for k in range(7)]


def test_a_table_of_pandas_is_read_if_its_columns_have_names_and_refused_with_the_way_if_not(refused, synthetic, tmp_path):
    path, blocks = tmp_path / "frame.h5", tmp_path / "blocks.h5"
    fields = [("index", "i8"), ("source_id", "i8"), ("teff", "f8"), ("ID_2MASS", "S4")]
    with h5py.File(path, "w") as file:
        file["frame/table"] = np.array([(0, ID, 5000.0, b"J1"), (1, ID + 1, np.nan, b"")], dtype=fields)
        file["frame/_i_table/index/sorted"] = np.arange(2)
    assert synthetic.read(path, FEW)["teff"].to_pylist() == [5000.0, None]
    with h5py.File(blocks, "w") as file:
        file["frame/table"] = np.zeros(2, dtype=[("index", "i8"), ("values_block_0", "f8", (3,))])
    refused(blocks, FEW, "/frame/table", "data_columns=True")


def test_a_file_of_records_without_a_required_column_is_refused_with_what_it_holds(refused, tmp_path):
    path = tmp_path / "records.h5"
    with h5py.File(path, "w") as file:
        file["t"] = np.zeros(2, dtype=[("source_id", "i8"), ("temperature", "f8")])
    refused(path, FEW, "required column teff", "temperature")
    with h5py.File(path, "w") as file:
        file["note"] = "nothing here"
    refused(path, FEW, "required column")


@pytest.mark.parametrize("dialect", ["hdf5", "hdf5_table", "fits", "votable", "parquet", "archive_csv", "pipe_csv"])
def test_files_of_a_survey_without_source_ids_are_read_in_every_form(dialect, synthetic, suffix, tmp_path):
    path = tmp_path / f"raw{suffix.get(dialect, '.x')}"
    write(pa.table({"objid": [5, 6], "ra": [10.5, 11.5], "dec": [-1.5, 2.5]}), path, dialect)
    found = synthetic.read(path, PLACED)
    assert found.column_names == list(PLACED.columns)
    assert found["object_dec"].to_pylist() == [-1.5, 2.5]
    assert found["survey_g_mag"].null_count == 2


def test_datasets_of_different_lengths_are_refused_without_source_ids_too(refused, tmp_path):
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["ra"], file["dec"], file["objid"] = np.zeros(5), np.zeros(5), np.zeros(4, np.int64)
    refused(path, PLACED, "ra has 5 rows", "objid (4)")


# Tables inside FITS.


def bintable(name: str, **columns: fits.Column) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(list(columns.values()), name=name)


def ids(rows: int, first: int = ID) -> fits.Column:
    return fits.Column("source_id", "K", array=first + np.arange(rows))


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("ragged", [False, True])
def test_the_first_table_with_all_required_columns_is_read_whatever_stands_before_it(ragged, packed, synthetic, tmp_path):
    path = tmp_path / f"many.fits{packed}"
    cells = np.empty(5, dtype=object)
    cells[:] = [np.arange(k, dtype=np.float32) for k in range(5)]
    wanted = {"a": ids(5, ID + 10), "b": fits.Column("TEFF", "E", array=4000 + np.arange(5))}
    hdus = [
        fits.PrimaryHDU(np.zeros((50, 60), np.float32)),
        bintable("A", a=ids(3), b=fits.Column("colour", "E", array=np.zeros(3))),
        fits.ImageHDU(np.zeros((7, 7), np.int16)),
        bintable("B", **wanted, **({"c": fits.Column("x", "PE()", array=cells)} if ragged else {})),
        bintable("C", a=ids(4, ID + 20), b=fits.Column("TEFF", "E", array=np.zeros(4))),
    ]
    fits.HDUList(hdus).writeto(path)
    found = synthetic.read(path, FEW)
    assert found["source_id"].to_pylist() == [ID + 10 + k for k in range(5)]
    assert found["teff"].to_pylist() == [4000.0 + k for k in range(5)]


def test_a_file_without_a_table_that_fits_is_refused_by_its_first_table(refused, tmp_path):
    path = tmp_path / "many.fits"
    first, second = (bintable("A", a=ids(3), b=fits.Column(name, "E", array=np.zeros(3))) for name in ("first", "second"))
    fits.HDUList([fits.PrimaryHDU(), first, second]).writeto(path)
    refused(path, FEW, "required column teff", "holds: source_id, first.")


def test_another_release_in_the_first_table_is_refused_even_if_a_later_table_would_do(refused, gaia, tmp_path):
    path = tmp_path / "both.fits"
    write(gaia, tmp_path / "plain.fits", "fits")
    older = bintable("A", a=ids(3), b=fits.Column("priam_flags", "E", array=np.zeros(3)))
    fits.HDUList([fits.PrimaryHDU(), older, fits.open(tmp_path / "plain.fits")[1]]).writeto(path)
    refused(path, SOURCE, "priam_flags", "Gaia DR2")


def test_unsigned_identifiers_keep_all_their_digits(synthetic, tmp_path):
    path = tmp_path / "unsigned.fits"
    columns = [
        fits.Column("source_id", "K", bzero=2**63, array=np.array([ID + 1, ID + 3], np.uint64)),
        fits.Column("teff", "E", array=np.array([5000, 6000])),
        fits.Column("nv", "J", bzero=2**31, array=np.array([7, 9], np.uint32)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    found = synthetic.read(path, FEW)
    assert found["source_id"].to_pylist() == [ID + 1, ID + 3]
    assert found["n_visits"].to_pylist() == [7, 9]


@pytest.mark.parametrize("pad", [b" ", b"\0", b"\0\0 x"])
def test_texts_lose_blanks_and_nul_bytes_that_pad_them(pad, synthetic, tmp_path):
    path = tmp_path / "texts.fits"
    held = np.array([b"J1".ljust(6, b"?"), b" J2 x".ljust(6, b"?"), b"??????"])
    columns = [ids(3), fits.Column("teff", "E", array=np.zeros(3) + 5000), fits.Column("ID_2MASS", "6A", array=held)]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    raw = path.read_bytes()
    for text in (b"J1????", b" J2 x?", b"??????"):
        assert text in raw
        raw = raw.replace(text, text.rstrip(b"?") + (pad * 6)[: 6 - len(text.rstrip(b"?"))])
    path.write_bytes(raw)
    assert synthetic.read(path, FEW)["tmass_id"].to_pylist() == ["J1", "J2 x", None]


def test_bytes_that_are_no_utf_8_are_taken_as_latin_1(synthetic, tmp_path):
    path = tmp_path / "texts.fits"
    columns = [ids(2), fits.Column("teff", "E", array=np.zeros(2) + 5000), fits.Column("ID_2MASS", "4A", array=[b"caf!", b"b"])]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"caf!", b"caf\xe9"))
    assert synthetic.read(path, FEW)["tmass_id"].to_pylist() == ["café", "b"]


@pytest.mark.filterwarnings("ignore:It is strongly recommended:astropy.io.fits.verify.VerifyWarning")
def test_names_with_brackets_and_signs_are_read_without_a_warning(synthetic, tmp_path, recwarn):
    path = tmp_path / "signs.fits"
    declared = Survey(
        name="signs",
        patterns=("*",),
        dialects=("fits",),
        columns=same("source_id") | {"fe_h": Raw("[Fe/H]"), "bp_rp": Raw("BP-RP")},
        **SAID,
    )
    columns = [ids(2), fits.Column("[Fe/H]", "E", array=[0.5, -1.5]), fits.Column("BP-RP", "E", array=[1.5, 2.5])]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    recwarn.clear()
    found = synthetic.read(path, declared)
    assert (found["fe_h"].to_pylist(), found["bp_rp"].to_pylist()) == ([0.5, -1.5], [1.5, 2.5])
    assert [str(one.message) for one in recwarn] == []


def test_elements_of_integer_and_logical_arrays_may_be_null(synthetic, tmp_path):
    path = tmp_path / "vectors.fits"
    columns = [
        ids(2),
        fits.Column("f", "3J", null=-99, array=np.array([[1, -99, 3], [4, 5, -99]])),
        fits.Column("l", "2L", array=np.array([[True, False], [False, True]])),
        fits.Column("X", "27E", array=np.arange(54, dtype=np.float32).reshape(2, 27)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    declared = Survey(
        name="vectors",
        patterns=("*",),
        dialects=("fits",),
        columns=same("source_id")
        | {"galah_flag_sp": Raw("f", element=1), "n_visits": Raw("f", element=2), "in_training_sample": Raw("l", element=1)}
        | {"mg_fe": Raw("x", element=26), "teff": Raw("X", element=0)},
        **SAID,
    )
    found = synthetic.read(path, declared)
    assert found["galah_flag_sp"].to_pylist() == [None, 5]
    assert found["n_visits"].to_pylist() == [3, None]
    assert found["in_training_sample"].to_pylist() == [False, True]
    assert found["mg_fe"].to_pylist() == [26.0, 53.0]
    assert found["teff"].to_pylist() == [0.0, 27.0]


def test_elements_of_real_apogee_rows_are_those_that_astropy_finds(shared_data, synthetic):
    path = shared_data / "apogee" / "Montalban2021_X_APOGEE_DR17.fits"
    declared = Survey(
        name="stars",
        patterns=("*",),
        dialects=("fits",),
        columns={"object_ra": Raw("RA"), "object_dec": Raw("DEC"), "apogee_id": Raw("APOGEE_ID")}
        | {"mg_fe": Raw("X_H", element=7), "si_fe": Raw("X_H", element=9), "galah_flag_sp": Raw("PARAMFLAG", element=8)},
        required=("object_ra", "object_dec"),
        match=Position(),
        duplicates="best",
        **SAID,
    )
    found = synthetic.read(path, declared)
    with fits.open(path) as held:
        data = held[1].data
        assert found["apogee_id"].to_pylist() == [text.strip() for text in data["APOGEE_ID"]]
        assert found["galah_flag_sp"].to_pylist() == data["PARAMFLAG"][:, 8].tolist()
        for name, place in (("mg_fe", 7), ("si_fe", 9)):
            np.testing.assert_array_equal(found[name].to_numpy(zero_copy_only=False), data["X_H"][:, place])


# Files that are no table.


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>",
        b"<html><head><title>Login</title></head></html>",
        b'<?xml version="1.0"?><ExceptionReport><Exception>quota</Exception></ExceptionReport>',
        b"\n\n<HTML>\nsorry\n</HTML>",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_page_instead_of_a_table_is_refused_with_its_first_words(refused, content, packed, tmp_path):
    path = tmp_path / "1662662797548O-result.csv"
    path.write_bytes(gzip.compress(content) if packed else content)
    refused(path, SOURCE, "page, not a table", content.strip()[:6].decode())


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"")])
def test_an_empty_file_is_refused(refused, content, tmp_path):
    path = tmp_path / "empty.csv"
    path.write_bytes(content)
    refused(path, SOURCE, "empty")


def test_a_votable_that_reports_an_error_is_refused(refused, tmp_path):
    path = tmp_path / "error.vot"
    info = '<INFO name="QUERY_STATUS" value="ERROR">no such table</INFO>'
    path.write_text(f'<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE type="results">{info}</RESOURCE></VOTABLE>')
    refused(path, SOURCE, "VOTable")


def test_comment_lines_alone_and_unknown_bytes_are_refused(refused, tmp_path, synthetic):
    comments, strange = tmp_path / "comments.ecsv", tmp_path / "strange.bin"
    comments.write_text("# %ECSV 1.0\n# ---\n# datatype:\n")
    strange.write_bytes(b"\x00\x01\x02\x03" * 100)
    refused(comments, SOURCE, "no line of column names")
    with pytest.raises(RawFileError, match="strange.bin: unknown binary form.*expected one of"):
        synthetic.read(strange, SOURCE)


def test_a_fits_image_without_any_table_is_refused(refused, tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((30, 40), np.float32)).writeto(path)
    refused(path, SOURCE, "binary table")


def test_a_file_that_is_gone_is_refused(synthetic, tmp_path):
    with pytest.raises(RawFileError, match=r"gone.csv: no such file"):
        synthetic.read(tmp_path / "gone.csv", SOURCE)


def test_forms_are_recognised_by_content_whatever_the_name_says(gaia, suffix, tmp_path):
    forms = {
        "bulk_csv": Form.TEXT,
        "ecsv": Form.TEXT,
        "hdf5": Form.HDF5,
        "fits": Form.FITS,
        "votable": Form.VOTABLE,
        "parquet": Form.PARQUET,
    }
    for dialect, form in forms.items():
        made = tmp_path / f"{dialect}{suffix[dialect]}"
        write(gaia, made, dialect)
        assert recognise(made.rename(tmp_path / "anything.csv")) is form
