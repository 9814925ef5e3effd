"""Read a fixed-width table of CDS: our slicer against astropy, pandas.read_fwf, numpy records, and reading the bytes alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.io import ascii as tables
from measure import Line, Setting, alone, call, contest

from jobs.dialects import write
from jobs.dialects_raw import as_raw
from lake.columns import column
from lake.conform import conform
from lake.readers import read
from lake.surveys.spectrotranslator_g2a import SURVEY

_GOAL, _BLOCK, _TICK = 5, 1 << 20, 0.01
_FORMATS = {"int64": ("I", np.int64), "float": ("E", np.float32), "string": ("A", None), "bool": ("A", None)}


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    rows = max(5_000, setting.rows // 10)
    path, readme = setting.folder / "g2a.dat", setting.folder / "ReadMe"
    write(as_raw(SURVEY, _rows(rows)), path, "fixed_width")
    readme.write_text(_readme())
    found = contest(
        {
            "ours": call(_ours, path),
            "read": call(_read, path),
            "numpy": call(_numpy, path),
            "pandas": call(_pandas, path),
            "astropy": call(_astropy, path, readme),
            "bytes": call(_bytes, path),
        },
        setting.rounds,
        by=alone,
    )
    for name in ("read", "numpy", "pandas", "astropy"):
        assert found[name].result == found["ours"].result, (name, found[name].result, found["ours"].result)
    # Below the tick of the clock nothing can be told.
    peer, floor = found["astropy"].cpu, max(found["bytes"].cpu, _TICK)

    def line(name: str, what: str, *, goal: bool = False) -> Line:
        cpu = found[name].cpu
        held = {"goal": f"<= 1/{_GOAL} of peer", "met": cpu * _GOAL <= peer} if goal else {}
        note = f"{peer / cpu:.1f} times less than astropy, {found['pandas'].cpu / cpu:.1f} than read_fwf" if goal else ""
        return Line("cds", what, found[name], cpu / peer, cpu / floor, note=note, **held)

    return [
        line("ours", f"g2a: {rows:,} synthetic records of 924 bytes, 39 columns, read and conformed", goal=True),
        line("read", "  read alone", goal=True),
        line("numpy", "  numpy records of bytes, cast; no nulls, flags as words"),
        line("pandas", "  pandas.read_fwf with all types given"),
        line("astropy", "  peer: astropy.io.ascii, CDS with its ReadMe"),
        line("bytes", "  floor: reading the bytes"),
    ]


def _rows(rows: int) -> pa.Table:
    """Draw rows without nulls, which astropy does not take without a mark in the ReadMe."""
    rng = np.random.default_rng(9)
    columns = {}
    for name in SURVEY.columns:
        known = column(name)
        if pa.types.is_floating(known.type):
            columns[name] = rng.uniform(known.low, known.high, rows).astype(np.float32)
        elif pa.types.is_boolean(known.type):
            columns[name] = (rng.random(rows) < 0.9) | (name == "extrinsic_output_covered")
        elif pa.types.is_string(known.type):
            columns[name] = np.where(rng.random(rows) < 0.1, "|Input teff_GALAH_logg_GALAH outside training range|", "|")
        else:
            columns[name] = rng.integers(10**14, 10**15 if name == "sobject_id" else 6 * 10**18, rows)
    return pa.table({name: pa.array(values, column(name).type) for name, values in columns.items()})


def _fields() -> list[tuple[str, tuple[int, int], pa.DataType]]:
    """Return raw name, bytes and type of every column, in the order of the record."""
    fields = [(raw.name, raw.at, column(name).type) for name, raw in SURVEY.columns.items() if raw.at]
    return sorted(fields, key=lambda field: field[1])


def _readme() -> str:
    """Return what astropy needs of a ReadMe."""
    rule = "-" * 80
    lines = ["Byte-by-byte Description of file: g2a.dat", rule, "   Bytes Format Units  Label     Explanations", rule]
    for name, (first, last), kind in _fields():
        letter, width = _FORMATS[str(kind)][0], last - first + 1
        lines.append(f" {first:3d}-{last:3d} {letter}{width}{'.7' if letter == 'E' else ''} --- {name} of the table")
    return "\n".join([*lines, rule, ""])


def _digest(rows: int, teff: object, last: object) -> tuple[int, float, int]:
    return rows, float(np.sum(np.asarray(teff, np.float32), dtype=np.float64)), int(last)


def _of(table: pa.Table) -> tuple[int, float, int]:
    return _digest(len(table), table["teff_p50"].to_numpy(), table["source_id"][-1].as_py())


def _ours(path: Path) -> tuple[int, float, int]:
    return _of(pa.concat_tables([conform(batch, SURVEY, path).table for batch in read(path, SURVEY)]))


def _read(path: Path) -> tuple[int, float, int]:
    return _of(pa.concat_tables([batch.table for batch in read(path, SURVEY)]))


def _numpy(path: Path) -> tuple[int, float, int]:
    at = {name: (f"S{last - first + 1}", first - 1) for name, (first, last), _ in _fields()}
    names, kinds, offsets = list(at), [kind for kind, _ in at.values()], [offset for _, offset in at.values()]
    held = np.fromfile(path, np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": 925}))
    columns = {
        name: held[name] if (wanted := _FORMATS[str(kind)][1]) is None else held[name].astype(wanted)
        for name, _, kind in _fields()
    }
    return _digest(len(held), columns["Teff50"], columns["GaiaDR3"][-1])


def _pandas(path: Path) -> tuple[int, float, int]:
    kinds = {name: _FORMATS[str(kind)][1] or str for name, _, kind in _fields()}
    frame = pd.read_fwf(
        path, colspecs=[(first - 1, last) for _, (first, last), _ in _fields()], names=list(kinds), dtype=kinds, header=None
    )
    return _digest(len(frame), frame["Teff50"], frame["GaiaDR3"].iloc[-1])


def _astropy(path: Path, readme: Path) -> tuple[int, float, int]:
    table = tables.read(str(path), format="cds", readme=str(readme))
    return _digest(len(table), table["Teff50"], table["GaiaDR3"][-1])


def _bytes(path: Path) -> int:
    total = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            total += len(block)
    return total
