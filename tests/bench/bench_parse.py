"""Turn XP text into Parquet, against `ast.literal_eval` with pandas and against inflating alone."""

import ast
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import spectra
from isal import igzip
from measure import Line, Setting, alone, call, contest

from jobs.dialects import write
from lake.conform import conform
from lake.parquet import write_partition
from lake.readers import read
from lake.surveys.gaia_dr3_xp import SURVEY

_SMALL = ("bp_coefficients", "bp_coefficient_errors", "rp_coefficients", "rp_coefficient_errors")
_LARGE = ("bp_coefficient_correlations", "rp_coefficient_correlations")
_BLOCK = 1 << 20


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    small, large = max(1000, setting.rows // 100), max(200, setting.rows // 1500)
    return [
        *_lines(setting, f"{small:,} rows, 4 x 55 floats", small, _SMALL),
        *_lines(setting, f"{large:,} rows with correlations, 3,190 floats", large, (*_SMALL, *_LARGE)),
    ]


def _lines(setting: Setting, said: str, rows: int, arrays: tuple[str, ...]) -> list[Line]:
    path = setting.folder / f"xp-{len(arrays)}.csv.gz"
    rng = np.random.default_rng(2)
    ids = np.arange(1, rows + 1, dtype=np.int64) << 40
    write(spectra.raw_table(spectra.columns(ids, rng, correlations=len(arrays) > 4)), path, "bulk_csv")
    found = contest(
        {
            "ours": call(_ours, path, setting.folder),
            "parse": call(_parse, path),
            "peer": call(_literal_eval, path, arrays),
            "isal": call(_inflate, path, "isal"),
            "zlib": call(_inflate, path, "zlib"),
        },
        setting.rounds,
        by=alone,
    )
    assert found["ours"].result == found["parse"].result, "ours"
    assert np.allclose(found["peer"].result, found["parse"].result, rtol=1e-6), (found["peer"].result, found["parse"].result)
    peer, floor = found["peer"].cpu, found["isal"].cpu

    def line(name: str, what: str, *, goal: bool = False) -> Line:
        cpu = found[name].cpu
        held = {"goal": "<= 1/20 of peer", "met": cpu * 20 <= peer, "note": f"{peer / cpu:.1f} times less"} if goal else {}
        return Line("parse", what, found[name], cpu / peer, cpu / floor, **held)

    return [
        line("ours", f"csv.gz -> Parquet: {said}", goal=True),
        line("parse", "  the same without writing Parquet", goal=True),
        line("peer", "  peer: pandas.read_csv + ast.literal_eval, no Parquet"),
        line("isal", "  floor: inflate alone, isal"),
        line("zlib", "  inflate alone, zlib"),
    ]


def _digest(total: float, rows: int) -> tuple[float, float]:
    return (total, float(rows))


def _conformed(path: Path) -> pa.Table:
    """Return all rows as `lake.runs.map_file` would hold them: without the columns of an extension that the file lacks."""
    tables = []
    for batch in read(path, SURVEY):
        columns = [name for name in SURVEY.columns if name not in _LARGE or name not in batch.absent]
        tables.append(conform(batch, SURVEY, path, columns=columns).table)
    return pa.concat_tables(tables)


def _sum(table: pa.Table) -> tuple[float, float]:
    return _digest(float(np.sum(table["bp_coefficients"].combine_chunks().values.to_numpy())), len(table))


def _parse(path: Path) -> tuple[float, float]:
    return _sum(_conformed(path))


def _ours(path: Path, folder: Path) -> tuple[float, float]:
    table = _conformed(path)
    for name, columns in SURVEY.tables.items():
        if set(columns) <= set(table.column_names):
            write_partition(folder / f"{name}.parquet", SURVEY.schema(name), [table.select(columns)])
    return _sum(table)


def _literal_eval(path: Path, arrays: tuple[str, ...]) -> tuple[float, float]:
    frame = pd.read_csv(path, comment="#", na_values=["null"])
    held = {name: np.array([ast.literal_eval(text) for text in frame[name]]) for name in arrays}
    return _digest(float(held["bp_coefficients"].sum()), len(frame))


def _inflate(path: Path, how: str) -> int:
    library = igzip if how == "isal" else gzip
    total = 0
    with library.open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            total += len(block)
    return total
