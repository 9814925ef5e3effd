"""Recognise the form of a raw file from its first bytes."""

import enum
import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from isal import igzip
from isal.igzip_lib import IsalError

from lake.errors import RawFileError

_HEAD = 4096
# What reading a damaged compressed stream raises; a truncated one raises EOFError.
DAMAGED: tuple[type[Exception], ...] = (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, cast("type[Exception]", IsalError))


class Form(enum.Enum):
    """A form of raw file that has a reader."""

    TEXT = "text table (CSV, ECSV)"
    FITS = "FITS"
    HDF5 = "HDF5"
    VOTABLE = "VOTable"
    PARQUET = "Parquet"
    ZIP = "zip of products"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed if it is gzip; `EOFError` while reading means that it was truncated."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if compressed:
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", igzip.open(path, "rb")), 1 << 20))
    return path.open("rb", buffering=1 << 20)


def recognise(path: Path) -> Form:
    """Return the form of a file.

    Raises
    ------
    RawFileError
        If there is no such file, it is empty, or it is a page of HTML or XML that an archive sent instead of a table.
    """
    if not path.is_file():
        raise RawFileError(f"{path}: no such file; it was there when the run was planned, or the path is wrong")
    try:
        with open_bytes(path) as stream:
            head = stream.read(_HEAD)
    except EOFError as error:
        raise RawFileError(f"{path}: the compressed file ends within its first bytes; it is truncated: fetch it again") from error
    except DAMAGED as error:
        raise RawFileError(f"{path}: the compressed file is damaged ({error}); fetch it again") from error
    if not head.strip():
        raise RawFileError(f"{path}: the file is empty; fetch it again")
    for magic, form in (
        (b"SIMPLE  =", Form.FITS),
        (b"\x89HDF\r\n\x1a\n", Form.HDF5),
        (b"PAR1", Form.PARQUET),
        (b"PK\x03\x04", Form.ZIP),
    ):
        if head.startswith(magic):
            return form
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = text[:_HEAD].lower()
    if b"<votable" in lower:
        return Form.VOTABLE
    if lower.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        start = text[:120].decode("utf-8", "replace").replace("\n", " ")
        raise RawFileError(
            f"{path}: holds a page, not a table; it begins with {start!r}. The archive probably answered with an error: "
            "fetch it again"
        )
    if b"\x00" in head:
        raise RawFileError(
            f"{path}: unknown binary form (first bytes {head[:8]!r}); expected one of {', '.join(f.value for f in Form)}"
        )
    return Form.TEXT
