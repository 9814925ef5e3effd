"""Look sources up by id in the table of N rows, against a scan of it with a filter."""

from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
from measure import Line, Setting, alone, call, contest
from tables import ANCHOR, shared_lake

import lake

_IDS = 300


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    from lake.ingest import serial

    opened = shared_lake(setting, serial)
    table = opened.table(ANCHOR.name)
    rng = np.random.default_rng(3)
    ids = np.sort(np.concatenate([table.read_leaf(leaf, [])["source_id"].to_numpy() for leaf in range(len(opened.grid))]))
    anywhere = rng.choice(ids, _IDS, replace=False)
    begin = len(ids) // 3
    together = rng.choice(ids[begin : begin + 20 * _IDS], _IDS, replace=False)
    root = Path(opened.storage.root)
    lines = []
    for said, wanted in ((f"{_IDS} ids anywhere", anywhere), (f"{_IDS} ids of one region", together), ("1 id", anywhere[:1])):
        found = contest(
            {
                "ours": call(_select, root, wanted, None),
                "few": call(_select, root, wanted, ["ra", "dec"]),
                "scan": call(_scan, root, wanted),
                "dask": call(_dask, root, wanted),
            },
            setting.rounds,
            by=alone,
        )
        assert len({usage.result for usage in found.values()}) == 1, {name: usage.result for name, usage in found.items()}
        peer = found["scan"].cpu
        ours = found["ours"].cpu / peer
        lines += [
            Line(
                "select",
                f"Table.select, {said} of {len(ids):,}, {len(table.columns)} columns",
                found["ours"],
                ours,
                goal="<= 1 peer",
                met=ours <= 1,
            ),
            Line("select", "  the same, 2 columns", found["few"], found["few"].cpu / peer),
            Line("select", "  peer: pyarrow dataset, filter isin", found["scan"], 1.0),
            Line("select", "  peer: dask read_parquet, isin", found["dask"], found["dask"].cpu / peer),
        ]
    return lines


def _select(root: Path, wanted: np.ndarray, columns: list[str] | None) -> float:
    return round(float(lake.open(root).table(ANCHOR.name).select(wanted, columns)["ra"].sum()), 6)


def _scan(root: Path, wanted: np.ndarray) -> float:
    found = ds.dataset(root / "current" / ANCHOR.name).to_table(filter=pc.field("source_id").isin(wanted))
    return round(float(found["ra"].to_numpy().sum()), 6)


def _dask(root: Path, wanted: np.ndarray) -> float:
    frame = dd.read_parquet(root / "current" / ANCHOR.name)
    with dask.config.set(scheduler="threads"):
        found = frame[frame["source_id"].isin(list(wanted))].compute()
    return round(float(found["ra"].sum()), 6)
