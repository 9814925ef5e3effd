"""Read FITS binary tables as a stream, gzip included, so that memory does not grow with the file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from astropy.io import fits

from lake.errors import RawFileError
from lake.readers.batch import RawBatch, Selection, batch_of, select
from lake.readers.binary import CHUNK_BYTES, to_arrow
from lake.readers.form import open_bytes
from lake.survey import Survey

_BLOCK, _DRAIN = 2880, 1 << 20
_VARIABLE = re.compile(r"[01]?[PQ]")


def read_fits(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of the first binary table of a FITS file.

    Fixed-width tables are streamed; tables with variable-length cells (DataLink products, which are small) are opened
    whole, because their heap lies behind the rows.
    """
    with open_bytes(path) as stream:
        header = _table_header(stream, path)
        selection = select([header[f"TTYPE{i}"] for i in range(1, header["TFIELDS"] + 1)], survey, path)
        if header.get("PCOUNT", 0) == 0:
            for table in _streamed(stream, header, selection, path):
                yield batch_of(table, selection, survey, path)
            # Only at its end does a compressed stream show that its checksum is wrong.
            _drained(stream)
            return
        wanted, held = header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"], _drained(stream)
        if held < wanted:
            raise RawFileError(
                f"{path}: the header announces {header['NAXIS2']:,} rows in {wanted:,} bytes, but the file holds {held:,}; "
                "it is truncated: fetch it again"
            )
    with fits.open(path) as hdus:
        hdu = next(hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU))
        step = max(1, CHUNK_BYTES // (header["NAXIS1"] + header["PCOUNT"] // max(header["NAXIS2"], 1)))
        for start in range(0, max(header["NAXIS2"], 1), step):
            yield batch_of(_columns(hdu, selection, slice(start, start + step)), selection, survey, path)


def _drained(stream: IO[bytes]) -> int:
    """Read a stream to its end and return the number of bytes that were left."""
    return sum(len(block) for block in iter(lambda: stream.read(_DRAIN), b""))


def _table_header(stream: IO[bytes], path: Path) -> fits.Header:
    """Read up to and including the header of the first binary table."""
    while True:
        header = _header(stream, path)
        if header.get("XTENSION", "").strip() == "BINTABLE":
            return header
        shape = [header[f"NAXIS{i}"] for i in range(1, header["NAXIS"] + 1)]
        size = abs(header["BITPIX"]) // 8 * (int(np.prod(shape)) + header.get("PCOUNT", 0)) if shape else 0
        stream.read(-(-size // _BLOCK) * _BLOCK)


def _header(stream: IO[bytes], path: Path) -> fits.Header:
    """Read one header, block by block to its END card (astropy's own reader insists on named, plain files)."""
    text = ""
    while not any(text[card : card + 80].rstrip() == "END" for card in range(max(0, len(text) - _BLOCK), len(text), 80)):
        block = stream.read(_BLOCK)
        if len(block) < _BLOCK:
            raise RawFileError(
                f"{path}: the FITS file ends before a complete header of a binary table; it is truncated: fetch it again"
            )
        text += block.decode("ascii", "replace")
    return fits.Header.fromstring(text)


def _streamed(stream: IO[bytes], header: fits.Header, selection: Selection, path: Path) -> Iterator[pa.Table]:
    """Yield chunks of a fixed-width table; astropy decodes each as a small table of its own."""
    width, rows = header["NAXIS1"], header["NAXIS2"]
    step = max(1, CHUNK_BYTES // width)
    for start in range(0, max(rows, 1), step):
        n = min(step, rows - start)
        data = stream.read(n * width)
        if len(data) < n * width:
            raise RawFileError(
                f"{path}: the header announces {rows:,} rows, but the file ends in row {start + len(data) // width + 1:,}; "
                "it is truncated: fetch it again"
            )
        small = header.copy()
        small["NAXIS2"] = n
        small.remove("CHECKSUM", ignore_missing=True)
        small.remove("DATASUM", ignore_missing=True)
        padded = data + b"\0" * (-len(data) % _BLOCK)
        yield _columns(fits.BinTableHDU.fromstring(small.tostring().encode("ascii") + padded), selection, slice(None))


def _columns(hdu: fits.BinTableHDU, selection: Selection, rows: slice) -> pa.Table:
    """Turn the selected columns into Arrow; TNULL integers and empty cells become null."""
    held = hdu.data[rows]
    columns = {}
    for name in selection.names:
        null, kind = hdu.columns[name].null, hdu.columns[name].format
        if kind in ("L", "1L"):
            columns[name] = _logical(held, name)
            continue
        values = held[name]
        if _VARIABLE.match(kind):
            ragged = np.empty(len(values), dtype=object)
            ragged[:] = [np.asarray(cell) for cell in values] if len(values) else []
            values = ragged
        # TNULL is the stored integer; unsigned columns are stored shifted by TZERO.
        shift = int(hdu.columns[name].bzero or 0) if isinstance(null, int) else 0
        columns[name] = to_arrow(np.asarray(values), null + shift if isinstance(null, int) else None)
    return pa.table(columns)


def _logical(held: fits.FITS_rec, name: str) -> pa.Array:
    """Turn a logical column into Arrow from its bytes: astropy makes False of 0, which stands for undefined."""
    said = held.view(np.ndarray)[name].view(np.uint8)
    return pa.array(said == ord("T"), mask=said == 0)
