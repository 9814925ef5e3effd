"""Runs that are killed, or meet a full disk, or may not write: nothing is lost, nothing is done twice, and the old lake stays."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lake as lakes
from lake.errors import LakeError
from lake.ingest import ingest, scratch_left
from lake.ledger import raw_files, register
from lake.root import init_lake
from lake.survey import survey
from lake.table import Table

CATWISE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_xp")
ROOT = Path(__file__).resolve().parents[2]
# A child that ingests and kills itself: before its k-th task, or inside its k-th write, when the data lie beside their place.
CHILD = """
import os, signal, sys
from lake.ingest import ingest
from lake.ledger import raw_files
from lake.root import open_lake
from lake.survey import survey

where, name, moment, left = open_lake(sys.argv[1]), survey(sys.argv[2]), sys.argv[3], int(sys.argv[4])
files = raw_files(where.storage, name)

def count():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def run(label, function, tasks):
    for task in tasks:
        if moment == "task":
            count()
        yield function(task)

if moment == "write":
    real = os.fsync
    os.fsync = lambda file: (count(), real(file))
ingest(where.storage, where.grid, name, files, run=run)
"""


class StopError(Exception):
    """Stand for whatever ends a run between two tasks."""


def stopping(label: str, after: int):
    """Return a runner that stops before a task of this label."""

    def run(said, function, tasks):
        for k, task in enumerate(tasks):
            if said.startswith(label) and k == after:
                raise StopError
            yield function(task)

    return run


@pytest.fixture
def files(synthetic, draw_ids, tmp_path) -> list[Path]:
    """Three files of CatWISE that follow one another on the sky, the second sharing ten sources with the third."""
    rows = synthetic.rows(CATWISE, draw_ids(180, 21), 21)
    rows = rows.take(pc.sort_indices(rows["source_id"]))
    cuts = ((0, 60), (60, 70), (120, 60))
    return [synthetic.write(CATWISE, rows.slice(*cut), tmp_path / f"part{k}.fits", "fits") for k, cut in enumerate(cuts)]


def child(*arguments: object, script: str = CHILD) -> int:
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert not run.stderr or run.returncode == 7, run.stderr
    return run.returncode


def data_files(where) -> dict[Path, tuple[int, int]]:
    """Return inode and time of every finished data file."""
    found = [path for path in where.storage.path("tables").glob("*/*/*.parquet") if not path.name.startswith(".")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize(("moment", "after"), [("task", 0), ("task", 2), ("task", 9), ("write", 1), ("write", 8), ("write", 15)])
def test_a_killed_run_continues_and_ends_in_the_same_bytes(moment, after, files, grid, build, tmp_path, monkeypatch):
    calm, killed = init_lake(tmp_path / "calm", grid=grid), init_lake(tmp_path / "killed", grid=grid)
    wanted = build.ingest(calm, CATWISE.name, *files)
    register(killed.storage, CATWISE, files)
    raw_files(killed.storage, CATWISE)
    assert child(killed.storage.root, CATWISE.name, moment, after) == -9
    assert lakes.open(killed.storage.root).names == []
    (scratch,) = killed.storage.path(f"scratch/{scratch_left(killed.storage)[0]}").iterdir()
    mapped, made, kept = len(list(scratch.glob("map/*.json"))), len(list(scratch.glob("reduce/*.json"))), data_files(killed)
    read, merged = [], []
    monkeypatch.setattr("lake.runs.read", lambda *args, real=lakes.runs.read: (read.append(args), real(*args))[1])
    monkeypatch.setattr("lake.merge._Merge", lambda task, real=lakes.merge._Merge: (merged.append(task), real(task))[1])
    outcome = build.ingest(killed, CATWISE.name)
    assert len(read) == 3 - mapped
    assert len(merged) == len(wanted.manifests[0].partitions) - made
    again = [path for path, state in kept.items() if data_files(killed)[path] != state]
    # A file whose record was not yet written is made again; that is the one in hand when the run was killed.
    assert len(again) <= 1
    assert build.files(killed) == build.files(calm)
    assert outcome.manifests[0].stable_json() == wanted.manifests[0].stable_json()
    assert outcome.manifests[0].attempts == 2
    assert scratch_left(killed.storage) == []


def test_a_run_killed_twice_and_in_different_places_still_ends_in_the_same_bytes(files, grid, build, tmp_path):
    calm, killed = init_lake(tmp_path / "calm", grid=grid), init_lake(tmp_path / "killed", grid=grid)
    wanted = build.ingest(calm, CATWISE.name, *files)
    register(killed.storage, CATWISE, files)
    for k in (1, 4):
        assert child(killed.storage.root, CATWISE.name, "task", k) == -9
    assert build.ingest(killed, CATWISE.name).manifests[0].stable_json() == wanted.manifests[0].stable_json()
    assert build.files(killed) == build.files(calm)


def test_an_update_that_is_stopped_continues_without_reading_unchanged_files_for_finished_partitions(
    files, synthetic, new_lake, build
):
    build.ingest(new_lake, CATWISE.name, *files)
    change(files[1], synthetic)
    sources = raw_files(new_lake.storage, CATWISE)
    with pytest.raises(StopError):
        ingest(new_lake.storage, new_lake.grid, CATWISE, sources, run=stopping("write", 3))
    made = data_files(new_lake)
    outcome = ingest(new_lake.storage, new_lake.grid, CATWISE, sources)
    assert {path: state for path, state in data_files(new_lake).items() if path in made} == made
    assert outcome.manifests[0].account == {"in": 190, "out": 180, "dropped": {"same source again in another file": 10}}


def test_a_partition_lost_between_two_attempts_is_made_again_from_all_of_its_files(
    files, synthetic, new_lake, grid, build, tmp_path
):
    build.ingest(new_lake, CATWISE.name, *files)
    before = set(data_files(new_lake))
    change(files[1], synthetic)
    sources = raw_files(new_lake.storage, CATWISE)
    with pytest.raises(StopError):
        ingest(new_lake.storage, new_lake.grid, CATWISE, sources, run=stopping("write", 4))
    for path in set(data_files(new_lake)) - before:
        path.unlink()
    outcome = ingest(new_lake.storage, new_lake.grid, CATWISE, sources)
    fresh = init_lake(tmp_path / "fresh", grid=grid)
    calm = build.ingest(fresh, CATWISE.name, *files)
    tables = [build.whole(Table(where.storage, made.manifests[0], grid)) for where, made in ((new_lake, outcome), (fresh, calm))]
    assert tables[0].equals(tables[1])


def change(path: Path, synthetic) -> None:
    """Add 0.5 mag to the first value of a file of CatWISE."""
    rows = synthetic.read(path, CATWISE)
    values = rows["catwise_w1_mag"].to_pylist()
    values[0] = 10.5
    synthetic.write(CATWISE, rows.set_column(1, rows.schema.field(1), pa.array(values, pa.float32())), path, "fits")


# Disks that are full or not ours.


@pytest.fixture
def tiny_disk():
    """A disk of 1.5 MB and the function that makes it larger, or a skip."""
    folder = Path(tempfile.mkdtemp(prefix="gaialake-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_is_said_clearly_harms_nothing_and_the_same_command_finishes_when_there_is_space(
    tiny_disk, files, synthetic, draw_ids, grid, build, tmp_path
):
    folder, enlarge = tiny_disk
    where = init_lake(folder / "lake", grid=grid)
    build.publish(where, build.ingest(where, CATWISE.name, *files))
    before = build.whole(lakes.open(where.storage.root).table(CATWISE.name))
    rows = synthetic.rows(XP, draw_ids(150, 3), integer_nulls=False)
    path = synthetic.write(XP, rows, tmp_path / "XP_CONTINUOUS.hdf5", "hdf5")
    for _ in range(2):
        with pytest.raises(
            LakeError, match=r"cannot be written: .*No space left on device.*free some space and run the same command again"
        ):
            build.ingest(where, XP.name, path)
    again = lakes.open(where.storage.root)
    assert again.names == [CATWISE.name]
    assert build.whole(again.table(CATWISE.name)).equals(before)
    enlarge()
    outcome = build.ingest(where, XP.name, path)
    build.publish(where, outcome)
    assert lakes.open(where.storage.root).table(XP.name).rows == 150
    assert not [path for path in (folder / "lake" / "tables").rglob(".*")]


@pytest.mark.parametrize("writes", [0, 1, 4, 9])
def test_any_write_that_fails_in_an_ingest_is_a_message_and_not_a_traceback(writes, files, new_lake, build, monkeypatch):
    real = os.fsync
    left = [writes]

    def fail(file):
        left[0] -= 1
        if left[0] == -1:
            raise OSError(28, "No space left on device")
        return real(file)

    register(new_lake.storage, CATWISE, files)
    sources = raw_files(new_lake.storage, CATWISE)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LakeError, match="No space left on device.*free some space"):
        ingest(new_lake.storage, new_lake.grid, CATWISE, sources)
    monkeypatch.undo()
    assert build.ingest(new_lake, CATWISE.name).manifests[0].rows == 180


UNWRITABLE = """
import os, sys
from pathlib import Path
from lake.errors import LakeError
from lake.ingest import ingest
from lake.ledger import RawFile
from lake.root import open_lake
from lake.survey import survey

where, file = open_lake(sys.argv[1]), Path(sys.argv[2])
state, declared = file.stat(), survey("catwise_andrae2023")
os.setuid(65534)
try:
    raw = RawFile(file, file.name, state.st_size, state.st_mtime_ns, "0" * 64)
    ingest(where.storage, where.grid, declared, [raw])
except LakeError as error:
    sys.stderr.write(str(error))
    sys.exit(7)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who may not write")
def test_a_lake_that_may_not_be_written_is_said_clearly(files, grid, build):
    with tempfile.TemporaryDirectory(prefix="gaialake-") as folder:
        Path(folder).chmod(0o755)
        where = init_lake(Path(folder) / "lake", grid=grid)
        run = subprocess.run(
            [sys.executable, "-c", UNWRITABLE, where.storage.root, str(files[0])],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert run.returncode == 7, run.stderr
    assert "cannot be written: Permission denied" in run.stderr
    assert "check its owner and mode, or give another --lake" in run.stderr
