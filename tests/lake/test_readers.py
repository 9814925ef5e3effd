"""Broken files and files that are no table: each is refused with its name, the place, and what to do."""

import gzip
import zipfile

import numpy as np
import pyarrow.compute as pc
import pytest
from astropy.io import fits

from jobs.dialects import write
from lake.errors import RawFileError
from lake.readers.form import Form, recognise
from lake.survey import survey

SOURCE, XP, CATWISE = survey("gaia_dr3_source"), survey("gaia_dr3_xp"), survey("catwise_andrae2023")
ID = 5853498713190525696


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
