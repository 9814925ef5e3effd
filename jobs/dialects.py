"""Write an Arrow table as the archives and mirrors write their files: one function per dialect of `lake.survey.DIALECTS`.

Tables come with raw column names; null means missing. Every float is written so that it is read back bit for bit, and
equal tables give equal bytes (no dates, no times). A text under ``comment`` in the schema's metadata goes into the header
where the dialect has room for one; so do ``unit`` and ``description`` of the fields.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.dialects_binary import comment, is_list, is_text, lengths_of, output, said_of, whole, write_fits, write_votable
from jobs.dialects_fixed import write_fixed_width
from jobs.dialects_hdf5 import quoted, write_hdf5, write_hdf5_table

_CHUNK_VALUES = 2_000_000
_ECSV = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class _Style:
    """Spelling of a text dialect: missing values, booleans, arrays, quoting of text, first line or ECSV header."""

    null: str = ""
    nan: str = ""
    true: str = "true"
    false: str = "false"
    brackets: str = "[]"
    separator: str = ", "
    quoted: bool = False
    header: bool = False
    delimiter: str = ","
    first: str = ""


_STYLES = {
    "bulk_csv": _Style(null="null", nan="null", true="True", false="False", quoted=True, header=True),
    "archive_csv": _Style(),
    "ecsv": _Style(nan="nan", true="True", false="False", separator=",", quoted=True, header=True),
    "datalink_csv": _Style(brackets="()"),
    "pipe_csv": _Style(delimiter="|"),
    "sdss_csv": _Style(null="null", nan="null", true="True", false="False", first="#Table1\n"),
}


def write(table: pa.Table, path: Path, dialect: str) -> None:
    """Write `table` to `path` in one of `lake.survey.DIALECTS`; a path that ends in ``.gz`` is compressed.

    Parameters
    ----------
    table
        Raw column names; list columns of either kind; null is missing. ``fixed_width`` wants the bytes of every column in
        the metadata that `jobs.dialects_raw.as_raw` sets.
    path
        ``datalink_csv`` to a path ending in ``.zip`` writes one member per source, beside another product, as the
        archive does.

    Raises
    ------
    ValueError
        If there is no such dialect.
    """
    writers: dict[str, Callable[[pa.Table, Path], None]] = {
        **{name: partial(_text, style=style) for name, style in _STYLES.items()},
        "hdf5": write_hdf5,
        "hdf5_table": write_hdf5_table,
        "fits": lambda data, where: write_fits(data, where, variable=False),
        "fits_arrays": lambda data, where: write_fits(data, where, variable=True),
        "votable": write_votable,
        "parquet": lambda data, where: pq.write_table(data, where),
        "fixed_width": write_fixed_width,
    }
    if dialect not in writers:
        raise ValueError(f"no dialect {dialect!r}; there are: {', '.join(writers)}")
    table = table.combine_chunks()
    if dialect == "datalink_csv" and path.suffix == ".zip":
        _zip(table, path)
    else:
        writers[dialect](table, path)


def write_dirty(table: pa.Table, path: Path) -> None:
    """Write a bulk CSV whose small integers turn to float text (``55.0``) half way down.

    One published file is like this: XpContinuousMeanSpectrum_614517-614573, from data row 31,212 (found by MyGaiaDB).
    """
    half = len(table) // 2
    small = [pa.types.is_integer(field.type) and field.type != pa.int64() for field in table.schema]
    kinds = [field.with_type(pa.float64()) if dirty else field for field, dirty in zip(table.schema, small, strict=True)]
    style = _STYLES["bulk_csv"]
    with output(path) as out:
        out.write(_ecsv_header(table).encode())
        _rows(table.slice(0, half), out, style)
        _rows(table.slice(half).cast(pa.schema(kinds)), out, style, names=False)


def _text(table: pa.Table, path: Path, *, style: _Style) -> None:
    with output(path) as out:
        if style.header:
            out.write(_ecsv_header(table).encode())
        out.write(style.first.encode())
        _rows(table, out, style)


def _rows(table: pa.Table, out: IO[bytes], style: _Style, *, names: bool = True) -> None:
    """Write the line of names (unless it stands already) and the rows, in chunks that bound the memory whatever the arrays."""
    if names:
        out.write(style.delimiter.join(table.column_names).encode() + b"\n")
    width = sum(int(lengths_of(whole(column)[:64]).max(initial=1)) if is_list(column.type) else 1 for column in table.columns)
    step = max(1, _CHUNK_VALUES // width)
    for start in range(0, len(table), step):
        cells = [_cells(whole(column), style) for column in table.slice(start, step).columns]
        lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*cells, style.delimiter), "", "\n")
        offsets, data = lines.buffers()[1:]
        first, last = np.frombuffer(offsets, np.int32)[[lines.offset, lines.offset + len(lines)]]
        out.write(memoryview(data)[first:last])


def _ecsv_header(table: pa.Table) -> str:
    lines = ["%ECSV 1.0", "---", "delimiter: ','"]
    if comment(table):
        lines += ["meta: !!omap", f"- comment: {quoted(comment(table))}"]
    lines.append("datatype:")
    for field in table.schema:
        kind = field.type.value_type if is_list(field.type) else field.type
        name = _ECSV.get(str(kind), str(kind))
        lines += ["-", f"  name: {field.name}"]
        lines += ["  datatype: string", f"  subtype: '{name}[null]'"] if is_list(field.type) else [f"  datatype: {name}"]
        lines += [f"  {what}: {quoted(said_of(field, what))}" for what in ("unit", "description") if said_of(field, what)]
    return "".join(f"# {line}\n" for line in lines)


def _cells(column: pa.Array, style: _Style) -> pa.Array:
    """Return a column as text, one string per row, missing values spelled out."""
    kind = column.type
    if is_list(kind):
        left, right = (f'"{style.brackets[0]}', f'{style.brackets[1]}"')
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths_of(column))]), pa.int32())
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, _numbers(column.flatten(), "NaN")), style.separator)
        cells = pc.if_else(pc.is_valid(column), pc.binary_join_element_wise(left, joined, right, ""), None)
    elif pa.types.is_boolean(kind):
        cells = pc.if_else(column, style.true, style.false)
    elif pa.types.is_floating(kind):
        return _numbers(column, style.nan)
    elif is_text(kind):
        cells = _texts(column.cast(pa.string()), style)
    else:
        cells = column.cast(pa.string())
    return pc.fill_null(cells, style.null)


def _texts(text: pa.Array, style: _Style) -> pa.Array:
    """Quote all texts, or those that would break a line of cells."""
    enclosed = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    if style.quoted:
        return enclosed
    return pc.if_else(pc.match_substring_regex(text, f'["\n{style.delimiter}]'), enclosed, text)


def _numbers(values: pa.Array, missing: str) -> pa.Array:
    """Return numbers in their shortest exact text: whole floats as ``5.0``, small and large ones as ``1E-7``."""
    text = values.cast(pa.string())
    if not pa.types.is_floating(values.type):
        return pc.fill_null(text, missing)
    held = values.to_numpy(zero_copy_only=False)
    integral = held == np.rint(held)
    if integral.any():
        bare = pc.and_(pa.array(integral), pc.invert(pc.match_substring(text, "e")))
        text = pc.if_else(bare, pc.binary_join_element_wise(text, "", ".0"), text)
    text = _capital_exponents(text)
    absent = np.isnan(held)
    return pc.if_else(pa.array(absent), missing, text) if absent.any() else text


def _capital_exponents(text: pa.Array) -> pa.Array:
    """Write ``1E-7`` for ``1e-7``, as the archive's Java does, in one pass over the bytes of all strings."""
    valid, offsets, data = text.buffers()
    letters = np.frombuffer(data or b"", np.uint8).copy()
    letters[letters == ord("e")] = ord("E")
    return pa.StringArray.from_buffers(len(text), offsets, pa.py_buffer(letters), valid, text.null_count, text.offset)


def _zip(table: pa.Table, path: Path) -> None:
    """Write a DataLink zip: per source one member of our product and one of another, which readers must leave alone."""
    product = next(
        (name for key, name in (("bp_coefficients", "XP_CONTINUOUS"), ("flux", "XP_SAMPLED")) if key in table.column_names), None
    )
    if product is None:
        raise ValueError(f"{path}: DataLink zips are known for XP spectra only, not for a table with {table.column_names}")
    with zipfile.ZipFile(path, "w") as archive:
        for row in range(len(table)):
            one = table.slice(row, 1)
            name = f"Gaia DR3 {one['source_id'][0]}.csv"
            member = io.BytesIO()
            # Products of one source come with one row per wavelength; products of many (RAW) with two arrays.
            _rows(_long(one) if product == "XP_SAMPLED" else one, member, _STYLES["datalink_csv"])
            other = f"source_id,solution_id,nsamples\n{one['source_id'][0]},375316653866487564,0\n".encode()
            for title, content in (("MCMC_MSC", other), (product, member.getvalue())):
                stamp = zipfile.ZipInfo(f"{title}-{name}", date_time=(1980, 1, 1, 0, 0, 0))
                archive.writestr(stamp, content, zipfile.ZIP_DEFLATED)


def _long(one: pa.Table) -> pa.Table:
    """Return one sampled spectrum as one row per wavelength [nm]."""
    samples = int(lengths_of(whole(one["flux"]))[0])
    columns: dict[str, pa.Array] = {}
    for name in one.column_names:
        if name == "flux":
            columns["wavelength"] = pa.array(336.0 + 2.0 * np.arange(samples))
        column = whole(one[name])
        columns[name] = column.flatten() if is_list(column.type) else column.take(pa.array(np.zeros(samples, np.int64)))
    return pa.table(columns)
