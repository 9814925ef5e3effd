"""Run nightlies on a small lake, read what they say of themselves, and change or spoil raw files between them."""

import gzip
import json
from pathlib import Path
from typing import Any

import lake
from jobs.cli import main
from lake.manifest import Manifest

BUILT, FAILED, NOTHING, BUSY, STOPPED = 0, 1, 3, 75, 130


def nightly(folder: Path, *flags: str, profile: str = "serial") -> int:
    return main(["--lake", str(folder), "nightly", "--profile", profile, *flags])


def manifest(folder: Path, table: str) -> Manifest:
    return lake.open(folder).table(table).manifest


def kept(folder: Path) -> dict[Path, int]:
    """Return when every file was written, but the lock and what each run says of itself."""
    own = (".lock", "last.json", "gaialake.prom")
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name not in own}


def record(folder: Path) -> dict[str, Any]:
    """Return the record of the last night."""
    return dict(json.loads((folder / "reports" / "last.json").read_text()))


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the log of the last night that had something to do."""
    log = max((folder / "reports").glob("nightly-*.jsonl"))
    return [json.loads(line) for line in log.read_text().splitlines()]


def spoil(file: Path, column: str, value: str) -> None:
    """Give the last star of a bulk file an impossible value."""
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    names = next(line for line in lines if not line.startswith("#")).split(",")
    cells = lines[-1].split(",")
    cells[names.index(column)] = value
    file.write_bytes(gzip.compress("\n".join([*lines[:-1], ",".join(cells)]).encode() + b"\n", mtime=0))


def sources(folder: Path) -> Path:
    """Return a bulk CSV file of gaia_source with more than a few rows."""
    return max((folder / "raw" / "gaia_dr3_source").glob("*.csv.gz"), key=lambda file: file.stat().st_size)


def change_one_value(file: Path) -> int:
    """Give the last star of a bulk file another random_index; return its source_id."""
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    names = next(line for line in lines if not line.startswith("#")).split(",")
    cells = lines[-1].split(",")
    cells[names.index("random_index")] = "7"
    file.write_bytes(gzip.compress("\n".join([*lines[:-1], ",".join(cells)]).encode() + b"\n", mtime=0))
    return int(cells[names.index("source_id")])


CHILD = """
import os, signal, sys
import lake.ingest, lake.merge, lake.runs
left = int(sys.argv[2])
def dying(function):
    def call(task):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(task)
    return call
lake.ingest.map_file = dying(lake.ingest.map_file)
lake.ingest.reduce_partition = dying(lake.ingest.reduce_partition)
from jobs.cli import main
sys.exit(main(["--lake", sys.argv[1], "nightly", "--profile", "serial"]))
"""
