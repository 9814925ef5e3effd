"""Write an Arrow table as HDF5: one dataset per column, or one dataset of records; see `jobs.dialects`."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.dialects_binary import as_numpy, comment, said_of, whole

_PATH = "data"


def write_hdf5(table: pa.Table, path: Path) -> None:
    """Write one dataset per column at the root, without time stamps."""
    import h5py

    with h5py.File(path, "w") as file:
        if comment(table):
            file.attrs["comment"] = comment(table)
        for name, column in zip(table.column_names, table.columns, strict=True):
            file.create_dataset(name, data=as_numpy(whole(column)), track_times=False)


def write_hdf5_table(table: pa.Table, path: Path) -> None:
    """Write one dataset of records, and beside it the units and descriptions as astropy keeps them."""
    import h5py

    columns = {name: as_numpy(whole(column)) for name, column in zip(table.column_names, table.columns, strict=True)}
    records = np.empty(len(table), dtype=[(name, held.dtype, held.shape[1:]) for name, held in columns.items()])
    for name, held in columns.items():
        records[name] = held
    with h5py.File(path, "w") as file:
        if comment(table):
            file.attrs["comment"] = comment(table)
        file.create_dataset(_PATH, data=records, track_times=False)
        lines = np.array([line.encode() for line in _meta(table, columns)])
        file.create_dataset(f"{_PATH}.__table_column_meta__", data=lines, track_times=False)


def _meta(table: pa.Table, columns: dict[str, np.ndarray]) -> list[str]:
    """Return the lines of YAML from which astropy takes units and descriptions back."""
    lines = ["datatype:"]
    for field in table.schema:
        kind = columns[field.name].dtype
        lines += [f"- name: {quoted(field.name)}", f"  datatype: {'string' if kind.kind == 'S' else kind.name}"]
        lines += [f"  {what}: {quoted(said_of(field, what))}" for what in ("unit", "description") if said_of(field, what)]
    return lines


def quoted(text: str) -> str:
    """Return a text as YAML takes it literally."""
    return "'" + text.replace("'", "''") + "'"
