"""Repeat the choice of the Parquet layout for XP rows as stored: float64 coefficients, float32 errors."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import spectra
from measure import Line, Setting, alone, call, contest

_GROUP = 65_536
_BLOCKS = ("bp_coefficients", "bp_coefficient_errors", "rp_coefficients", "rp_coefficient_errors")


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    rows = max(2000, setting.rows // 10)
    source = setting.folder / "layout.arrow"
    table = _table(rows)
    with pa.OSFile(str(source), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    raw = table.nbytes
    del table
    works: dict[str, Callable[[], object]] = {}
    for form in ("lists", "scalars"):
        for coding in ("split", "plain"):
            for level in (1, 3):
                name = f"{form}, {coding}, zstd {level}"
                path = setting.folder / f"{name}.parquet".replace(", ", "-").replace(" ", "")
                works[f"write {name}"] = call(_write, source, path, form, coding, level)
                works[f"read {name}"] = call(_read, path)
    found = contest(works, setting.rounds, by=alone)
    origin, _ = spectra.blocks()
    ours = found["write lists, split, zstd 3"].cpu
    lines = []
    for name, usage in found.items():
        verb, said = name.split(" ", 1)
        note = f"{usage.result / raw:.3f} of raw size" if verb == "write" else ""
        peer = ours if verb == "write" else found["read lists, split, zstd 3"].cpu
        lines.append(Line("layout", f"{verb} {rows:,} XP rows ({origin}): {said}", usage, usage.cpu / peer, note=note))
    return lines


def _table(rows: int) -> pa.Table:
    made = spectra.columns(np.arange(1, rows + 1, dtype=np.int64) << 38, np.random.default_rng(4))
    arrays: dict[str, pa.Array] = {"source_id": pa.array(made["source_id"])}
    for name in _BLOCKS:
        arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(made[name].ravel()), spectra.N_COEFFICIENTS)
    return pa.table(arrays)


def _loaded(source: Path) -> pa.Table:
    with pa.memory_map(str(source)) as file:
        return pa.ipc.open_file(file).read_all()


def _scalars(table: pa.Table) -> pa.Table:
    columns = {"source_id": table["source_id"]}
    for name in _BLOCKS:
        block = table[name].combine_chunks().values.to_numpy().reshape(-1, spectra.N_COEFFICIENTS)
        columns |= {f"{name}_{k}": pa.array(np.ascontiguousarray(block[:, k])) for k in range(spectra.N_COEFFICIENTS)}
    return pa.table(columns)


def _floats(schema: pa.Schema) -> Sequence[str]:
    listed = [f"{field.name}.list.element" for field in schema if pa.types.is_fixed_size_list(field.type)]
    return [*listed, *(field.name for field in schema if pa.types.is_floating(field.type))]


def _write(source: Path, path: Path, form: str, coding: str, level: int) -> int:
    """Write the rows; the transposition into scalar columns is part of what that layout costs."""
    table = _loaded(source)
    if form == "scalars":
        table = _scalars(table)
    pq.write_table(
        table,
        path,
        row_group_size=_GROUP,
        compression="zstd",
        compression_level=level,
        use_dictionary=False,
        use_byte_stream_split=_floats(table.schema) if coding == "split" else False,
        write_statistics=["source_id"],
        data_page_size=1 << 20,
    )
    return path.stat().st_size


def _read(path: Path) -> tuple[int, ...]:
    """Read the rows, row group by row group, into one matrix (n_source, 220) of float32 as a network takes it."""
    with pq.ParquetFile(path) as file:
        out = np.empty((file.metadata.num_rows, 4 * spectra.N_COEFFICIENTS), dtype=np.float32)
        row = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            at = 0
            for column in table.columns[1:]:
                values = column.combine_chunks()
                width = values.type.list_size if pa.types.is_fixed_size_list(values.type) else 1
                flat = values.flatten() if width > 1 else values
                out[row : row + len(table), at : at + width] = flat.to_numpy().reshape(-1, width)
                at += width
            row += len(table)
    return out.shape
