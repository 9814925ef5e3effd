"""Change one of the raw files and build again, against building all of it."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import Line, Setting, Usage, alone, call, contest
from tables import ANCHOR, FILES, make_grid, random_ids, write_raw

import lake
from lake.ingest import build_id, ingest
from lake.ledger import raw_files, register
from lake.manifest import read_manifest
from lake.validate import check

_SHARE = 0.25


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    rng = np.random.default_rng(5)
    ids = random_ids(setting.rows, rng)
    root, raw = setting.folder / "touch", setting.folder / "touch-raw"
    opened = make_grid(root, ids)
    paths = write_raw(raw, ANCHOR, ids, rng)
    register(opened.storage, ANCHOR, [raw])

    def by(work) -> Usage:  # type: ignore[no-untyped-def]
        if work is whole:
            for name in ("tables", "scratch", "reports"):
                shutil.rmtree(root / name, ignore_errors=True)
        if work is part:
            _change(paths[FILES // 2])
        return alone(work)

    whole, part, audit, none = call(_build, root), call(_build, root), call(_audit, root), call(_build, root)
    first = call(_audit, root)
    order = {"whole": whole, "first": first, "part": part, "audit": audit, "none": none}
    found = contest(order, setting.rounds, by=by)
    mapped, reduced, kept = found["part"].result
    peer = found["whole"].cpu
    share = found["part"].cpu / peer
    note = f"{mapped} files read, {reduced} partitions made, {kept} kept"
    return [
        Line("touch", f"hash + ingest {len(ids):,} rows, {FILES} files", found["whole"], 1.0),
        Line("touch", "one file changed", found["part"], share, goal=f"<= {_SHARE} of all", met=share <= _SHARE, note=note),
        Line("touch", "check of all", found["first"], found["first"].cpu / peer),
        Line("touch", "  check of the change: kept files passed before", found["audit"], found["audit"].cpu / peer),
        Line("touch", "nothing changed", found["none"], found["none"].cpu / peer),
    ]


def _change(path: Path) -> None:
    """Give one number of a raw file another value."""
    table = pq.read_table(path)
    ra = table["ra"].to_numpy().copy()
    ra[0] = np.random.default_rng().random()
    pq.write_table(table.set_column(1, "ra", pa.array(ra)), path, compression="lz4", use_dictionary=False)


def _build(root: Path) -> tuple[int, int, int]:
    opened = lake.open(root)
    outcome = ingest(opened.storage, opened.grid, ANCHOR, raw_files(opened.storage, ANCHOR))
    return outcome.mapped, outcome.reduced, outcome.reused


def _audit(root: Path) -> int:
    opened = lake.open(root)
    files = raw_files(opened.storage, ANCHOR)
    build = build_id(ANCHOR.name, ANCHOR, opened.grid, [file.sha256 for file in files])
    return check(opened.storage, read_manifest(opened.storage, ANCHOR.name, build)).rows
