"""Read a list of source_ids from a text, CSV or Parquet file: whole numbers of 64 bits, or an error."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from lake.errors import LakeError, listing
from lake.partition import N_PIXELS, Ids, first_id
from lake.readers.form import open_bytes

_COLUMN = "source_id"
_PARQUET = b"PAR1"


def read_sources(path: Path) -> tuple[Ids, int]:
    """Return the source_ids of a file in ascending order, each once, and how many rows repeated one.

    The file is a Parquet or CSV file with a column ``source_id``, or a text with one id a line; lines that begin with
    ``#`` are left out. No id ever passes through a float: above 2**53 a float names another star.

    Raises
    ------
    LakeError
        If there is no such file or column, a value is no whole number, or no id of Gaia.
    """
    try:
        with open_bytes(path) as stream:
            parquet = stream.read(len(_PARQUET)) == _PARQUET
        column = _from_parquet(path) if parquet else _from_text(path)
    except OSError as error:
        raise LakeError(f"--sources {path}: {error.strerror or error}") from error
    if column.null_count:
        raise LakeError(f"--sources {path}: {column.null_count:,} rows have no {_COLUMN}; remove them")
    ids = np.asarray(column.to_numpy(), dtype=np.int64)
    odd = ids[(ids <= 0) | (ids >= first_id(N_PIXELS))]
    if len(odd):
        raise LakeError(f"--sources {path}: {len(odd):,} values are no source_id of Gaia, such as {int(odd[0])}; remove them")
    if not len(ids):
        raise LakeError(f"--sources {path}: no {_COLUMN} in it; expected one id a line, or a column {_COLUMN}")
    unique = np.unique(ids)
    return unique, len(ids) - len(unique)


def _from_parquet(path: Path) -> pa.ChunkedArray:
    try:
        schema = pq.read_schema(path)
        if _COLUMN not in schema.names:
            raise LakeError(f"--sources {path}: no column {_COLUMN}; found {listing(schema.names)}")
        kind = schema.field(_COLUMN).type
        if not pa.types.is_integer(kind):
            raise LakeError(
                f"--sources {path}: {_COLUMN} is {kind}, expected int64; ids that passed through another type may name other "
                "stars: make the file anew from the ids themselves"
            )
        return pc.cast(pq.read_table(path, columns=[_COLUMN])[_COLUMN], pa.int64())
    except pa.ArrowInvalid as error:
        raise LakeError(f"--sources {path}: {error}") from error


def _from_text(path: Path) -> pa.ChunkedArray:
    with open_bytes(path) as stream:
        lines = [line.strip() for line in stream]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    if not lines:
        return pa.chunked_array([], pa.int64())
    named = _COLUMN.encode() in lines[0].replace(b'"', b"").replace(b" ", b"").split(b",")
    if b"," in lines[0] and not named:
        raise LakeError(f"--sources {path}: no column {_COLUMN} in the first line {lines[0][:80].decode('utf-8', 'replace')!r}")
    try:
        table = pcsv.read_csv(
            io.BytesIO(b"\n".join(lines) + b"\n"),
            read_options=pcsv.ReadOptions(column_names=None if named else [_COLUMN]),
            convert_options=pcsv.ConvertOptions(column_types={_COLUMN: pa.int64()}, include_columns=[_COLUMN]),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise LakeError(f"--sources {path}: {error}; expected whole numbers, one a line or in a column {_COLUMN}") from error
    return table[_COLUMN]
