"""Read FITS binary tables as a stream, gzip included, so that memory does not grow with the file."""

import re
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from astropy.io import fits

from lake.errors import RawFileError
from lake.readers.batch import LackingError, RawBatch, Selection, batch_of, select
from lake.readers.binary import CHUNK_BYTES, to_arrow
from lake.readers.form import open_bytes
from lake.survey import Survey

_BLOCK, _DRAIN = 2880, 1 << 20
_VARIABLE, _LOGICAL, _TEXT = re.compile(r"[01]?[PQ]"), re.compile(r"\d*L"), re.compile(r"\d*A")


def read_fits(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of the first binary table of a FITS file that has every required column.

    Fixed-width tables are streamed; tables with variable-length cells (DataLink products, which are small) are opened
    whole, because their heap lies behind the rows.
    """
    with open_bytes(path) as stream:
        number, header, selection = _chosen(stream, survey, path)
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
        hdu = hdus[number]
        step = max(1, CHUNK_BYTES // (header["NAXIS1"] + header["PCOUNT"] // max(header["NAXIS2"], 1)))
        for start in range(0, max(header["NAXIS2"], 1), step):
            yield batch_of(_columns(hdu, selection, slice(start, start + step)), selection, survey, path)


def _drained(stream: IO[bytes], most: int | None = None) -> int:
    """Read a stream to its end, or `most` bytes of it, and return the number of bytes that were there."""
    held = 0
    while block := stream.read(_DRAIN if most is None else min(_DRAIN, most - held)):
        held += len(block)
    return held


def _chosen(stream: IO[bytes], survey: Survey, path: Path) -> tuple[int, fits.Header, Selection]:
    """Read up to and including the header of the table to be read; return the number of its HDU, and its columns."""
    complaint: LackingError | None = None
    for number in count():
        header = _header(stream, path, complaint)
        if header.get("XTENSION", "").strip() == "BINTABLE":
            names = [header[f"TTYPE{i}"] for i in range(1, header["TFIELDS"] + 1)]
            try:
                return number, header, select(names, survey, path)
            except LackingError as error:
                complaint = complaint or error
        shape = [header[f"NAXIS{i}"] for i in range(1, header["NAXIS"] + 1)]
        size = abs(header["BITPIX"]) // 8 * (int(np.prod(shape)) + header.get("PCOUNT", 0)) if shape else 0
        _drained(stream, -(-size // _BLOCK) * _BLOCK)
    raise AssertionError("a file has an end")


def _header(stream: IO[bytes], path: Path, complaint: LackingError | None) -> fits.Header:
    """Read one header, block by block to its END card (astropy's own reader insists on named, plain files).

    Where the file ends instead, the complaint about an earlier table is raised.
    """
    text = ""
    while not any(text[card : card + 80].rstrip() == "END" for card in range(max(0, len(text) - _BLOCK), len(text), 80)):
        block = stream.read(_BLOCK)
        if len(block) < _BLOCK:
            raise complaint or RawFileError(
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
        # Without `uint`, astropy makes floats of unsigned integers, which cost 64-bit identifiers their last digits.
        hdu = fits.BinTableHDU.fromstring(small.tostring().encode("ascii") + padded, uint=True)
        yield _columns(hdu, selection, slice(None))


def _columns(hdu: fits.BinTableHDU, selection: Selection, rows: slice) -> pa.Table:
    """Turn the selected columns into Arrow; TNULL integers and empty cells become null."""
    columns = {}
    with warnings.catch_warnings():
        # Names with brackets are not forbidden.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        held = hdu.data[rows]
        for name in selection.names:
            columns[name] = _column(hdu.columns[name], held)
    return pa.table(columns)


def _column(column: fits.Column, held: fits.FITS_rec) -> pa.Array:
    null, kind = column.null, str(column.format)
    if _LOGICAL.match(kind):
        # From its bytes: astropy makes False of 0, which stands for undefined.
        said = held.view(np.ndarray)[column.name].view(np.uint8)
        return to_arrow(np.ma.array(said == ord("T"), mask=said == 0))
    if _TEXT.match(kind):
        return to_arrow(held.view(np.ndarray)[column.name])
    values = held[column.name]
    if _VARIABLE.match(kind):
        ragged = np.empty(len(values), dtype=object)
        ragged[:] = [_masked(np.asarray(cell), null) for cell in values] if len(values) else []
        return to_arrow(ragged)
    # TNULL is the stored integer; unsigned columns are stored shifted by TZERO.
    shift = int(column.bzero or 0) if isinstance(null, int) else 0
    return to_arrow(np.asarray(values), null + shift if isinstance(null, int) else None)


def _masked(cell: np.ndarray, null: object) -> np.ndarray:
    """Mask the integers of a cell that stand for null."""
    return np.ma.array(cell, mask=cell == null) if isinstance(null, int) and cell.dtype.kind in "iu" else cell
