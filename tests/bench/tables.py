"""Make the tables that several benchmarks share: an anchor of N rows and three tables that hold 40 % of its sources.

The anchor has ra, dec (float64) and 20 float32, each other table 8 float32. Raw files are
Parquet, one per range of the sky; the tables are built from them by lake's own ingest, check and publish.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import Setting

import lake
from lake.catalog import publish
from lake.columns import gaia_source
from lake.columns.column import F32
from lake.ingest import Runner, ingest
from lake.ledger import raw_files, register
from lake.partition import BASE_SHIFT, N_PIXELS
from lake.root import Lake, grid_of
from lake.survey import Survey, same
from lake.validate import check

FILES = 24
_LEAVES = 24
_NAMES = [
    one.name
    for one in gaia_source.COLUMNS
    if one.type == F32 and (one.low is None or one.low <= 0) and (one.high is None or one.high >= 1)
]


def _survey(name: str, columns: str) -> Survey:
    return Survey(
        name=name,
        title="benchmark",
        release="dr3",
        kind="astrometry",
        citation="none: random numbers",
        licence="none",
        source="tests/bench",
        patterns=(f"{name}_*.parquet",),
        dialects=("parquet",),
        columns=same(f"source_id {columns}"),
    )


ANCHOR = _survey("anchor", " ".join(["ra", "dec", *_NAMES[:20]]))
OTHERS = tuple(_survey(f"other_{k}", " ".join(_NAMES[20 + 8 * k : 28 + 8 * k])) for k in range(3))
TABLES = (ANCHOR.name, *(other.name for other in OTHERS))


def random_ids(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return ascending source_ids, half of them uniform over the sky, half in a tenth of its level-2 pixels."""
    dense = rng.choice(192, 19, replace=False)
    pixels = rng.integers(0, N_PIXELS, rows)
    half = rows // 2
    pixels[:half] = rng.choice(dense, half) * 4**6 + rng.integers(0, 4**6, half)
    ids = np.unique((pixels.astype(np.int64) << BASE_SHIFT) | rng.integers(1, 1 << BASE_SHIFT, rows))
    return ids[ids > 0]


def write_raw(folder: Path, survey: Survey, ids: np.ndarray, rng: np.random.Generator) -> list[Path]:
    """Write a survey's raw files: contiguous ranges of ids, numbers between 0 and 1."""
    folder.mkdir(parents=True)
    paths = []
    for k, own in enumerate(np.array_split(ids, FILES)):
        columns = {name: rng.random(len(own), dtype=np.float32) for name in survey.columns if name != "source_id"}
        columns |= {name: rng.random(len(own)) for name in ("ra", "dec") if name in columns}
        paths.append(folder / f"{survey.name}_{k:03d}.parquet")
        pq.write_table(pa.table({"source_id": own, **columns}), paths[-1], compression="lz4", use_dictionary=False)
    return paths


def make_grid(folder: Path, ids: np.ndarray) -> lake.Lake:
    """Lay out a lake on a grid cut by the number of ids; about 50 leaves."""
    pixel, rows = np.unique(ids >> BASE_SHIFT, return_counts=True)
    counts = folder.with_suffix(".csv")
    counts.write_text("pixel8,rows\n" + "".join(f"{p},{n}\n" for p, n in zip(pixel.tolist(), rows.tolist(), strict=True)))
    return lake.init(folder, grid=grid_of(None, counts, leaf_rows=len(ids) // _LEAVES))


def build(opened: Lake, survey: Survey, raw: Path, run: Runner) -> None:
    """Ingest, check and publish a survey."""
    register(opened.storage, survey, [raw])
    outcome = ingest(opened.storage, opened.grid, survey, raw_files(opened.storage, survey), run=run)
    publish(opened.storage, [check(opened.storage, manifest, run=run) for manifest in outcome.manifests])


def shared_lake(setting: Setting, run: Runner) -> Lake:
    """Return a lake with the four tables published, made at the first call."""
    root = setting.folder / f"tables-{setting.rows}"
    if not (root / "done").exists():
        rng = np.random.default_rng(1)
        ids = random_ids(setting.rows, rng)
        opened = make_grid(root, ids)
        write_raw(setting.folder / "raw" / ANCHOR.name, ANCHOR, ids, rng)
        for other in OTHERS:
            write_raw(setting.folder / "raw" / other.name, other, ids[rng.random(len(ids)) < 0.4], rng)
        for survey in (ANCHOR, *OTHERS):
            build(opened, survey, setting.folder / "raw" / survey.name, run)
        (root / "done").touch()
    return lake.open(root)
