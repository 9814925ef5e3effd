"""Read one raw file of a survey, in whatever form the archive or a mirror gave it, as a stream of Arrow tables.

The form is recognised by content, never by extension. Columns come out under canonical names but otherwise as the file
holds them; `lake.conform` gives them their types.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from lake.errors import RawFileError
from lake.readers.batch import RawBatch
from lake.readers.binary import read_parquet, read_votable
from lake.readers.elements import ElementError
from lake.readers.fits import read_fits
from lake.readers.form import DAMAGED, Form, recognise
from lake.readers.hdf5 import read_hdf5
from lake.readers.text import read_text
from lake.readers.zipped import read_zip
from lake.survey import Survey

__all__ = ["RawBatch", "read"]

_READERS: dict[Form, Callable[[Path, Survey], Iterator[RawBatch]]] = {
    Form.TEXT: read_text,
    Form.FITS: read_fits,
    Form.HDF5: read_hdf5,
    Form.VOTABLE: read_votable,
    Form.PARQUET: read_parquet,
}


def read(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of one raw file, in file order, in batches of bounded size.

    A file without rows yields one batch of zero rows, so that its columns are known.

    Raises
    ------
    RawFileError
        If the file is empty, truncated, an error page, of unknown form, lacks a required column, holds columns of
        another release, or a value that does not fit its column's type.
    """
    row, batch = 0, None
    try:
        form = recognise(path)
        for batch in read_zip(path, survey, read) if form is Form.ZIP else _READERS[form](path, survey):
            yield replace(batch, first_row=row)
            row += batch.table.num_rows
    except ElementError as error:
        raise RawFileError(
            f"{path}: column {error.name!r}, row {row + error.row + 1:,}: {error}. Fetch the file again, or ingest it under "
            "the survey and release it belongs to"
        ) from error
    except EOFError as error:
        raise RawFileError(
            f"{path}: the compressed file ends too early, after {row:,} rows; it is truncated: fetch it again"
        ) from error
    except DAMAGED as error:
        raise RawFileError(f"{path}: the compressed file is damaged, after {row:,} rows ({error}); fetch it again") from error
    if batch is None:
        raise RawFileError(f"{path}: no table of {survey.name} in it; expected columns {', '.join(survey.required)}")
