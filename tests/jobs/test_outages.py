"""Disks that fill up, go away, turn read-only or rot, clocks that are set back: clear messages, and nothing published is lost."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lake
from jobs.cli import main
from jobs.sky import Sky

from .conftest import LEAF_ROWS, nightly

SURVEYS = ("gaia_dr3_source", "catwise_andrae2023")
COMMAND = (sys.executable, "-m", "jobs.cli")


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here (it takes root): {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return the mount point of a disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def lake_on(sky: Sky) -> Callable[..., Path]:
    """Return a function that makes a lake in a folder, its raw files registered elsewhere."""

    def make(folder: Path, surveys: tuple[str, ...] = SURVEYS) -> Path:
        assert main(["init", str(folder), "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
        for survey in surveys:
            assert main(["--lake", str(folder), "ingest", survey, "--raw", str(sky.folder / survey), "--register"]) == 0
        return folder

    return make


def contents(folder: Path) -> dict[str, list[str | None]]:
    """Return table -> checksums of its published files."""
    opened = lake.open(folder)
    return {name: [part.sha256 for part in opened.table(name).manifest.partitions] for name in opened.names}


def test_a_nightly_on_a_full_disk_keeps_what_is_published_and_is_finished_when_there_is_space(
    disk: Path, lake_on: Callable[..., Path], tmp_path: Path, sky: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lake_on(disk / "lake", SURVEYS[1:])
    assert nightly(folder) == 0
    before = contents(folder)
    assert main(["--lake", str(folder), "ingest", SURVEYS[0], "--raw", str(sky.folder / SURVEYS[0]), "--register"]) == 0
    for profile in ("serial", "local"):
        assert nightly(folder, profile=profile) == 1
        said = capsys.readouterr().err
        assert "No space left on device" in said
        assert "free some space and run the same command again" in said
        assert contents(folder) == before
    assert main(["--lake", str(folder), "status"]) == 0
    mount("-o", "remount,size=64m", str(disk))
    assert nightly(folder) == 0
    elsewhere = lake_on(tmp_path / "elsewhere")
    assert nightly(elsewhere) == 0
    assert contents(folder) == contents(elsewhere)


def test_a_lake_that_turned_read_only_is_read_and_planned_and_refuses_a_nightly(
    disk: Path, lake_on: Callable[..., Path], sky: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    mount("-o", "remount,size=64m", str(disk))
    folder = lake_on(disk / "lake")
    assert nightly(folder) == 0
    rows = lake.open(folder).table(SURVEYS[0]).rows
    mount("-o", "remount,ro", str(disk))
    capsys.readouterr()
    assert nightly(folder) == 1
    said = capsys.readouterr().err
    assert "cannot be written: Read-only file system" in said
    assert "is not writable for this user" in said
    for verb in ("status", "plan"):
        assert main(["--lake", str(folder), verb]) == 0
    assert len(lake.open(folder).table(SURVEYS[0]).to_dask(["ra"]).compute()) == rows


def test_a_catalogue_that_cannot_be_replaced_stays_and_the_next_night_publishes_what_is_built(
    lake_on: Callable[..., Path], tmp_path: Path, sky: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lake_on(tmp_path / "lake", SURVEYS[1:])
    assert nightly(folder) == 0
    before = (folder / "catalog.yaml").read_bytes()
    assert main(["--lake", str(folder), "ingest", SURVEYS[0], "--raw", str(sky.folder / SURVEYS[0]), "--register"]) == 0
    # Nothing can be renamed over a file that is mounted.
    mount("--bind", str(folder / "catalog.yaml"), str(folder / "catalog.yaml"))
    try:
        assert nightly(folder) == 1
        assert "catalog.yaml cannot be written" in capsys.readouterr().err
        assert (folder / "catalog.yaml").read_bytes() == before
    finally:
        subprocess.run(["umount", str(folder / "catalog.yaml")], check=True)
    made = {path: path.stat().st_ino for path in folder.glob("tables/*/*/*.parquet")}
    assert nightly(folder) == 0
    assert {path: path.stat().st_ino for path in folder.glob("tables/*/*/*.parquet")} == made
    assert set(lake.open(folder).names) == set(SURVEYS)


def test_a_mount_that_is_lost_in_mid_work_ends_the_night_and_its_empty_mount_point_stays_empty(
    lake_on: Callable[..., Path], tmp_path: Path
) -> None:
    real, seen = lake_on(tmp_path / "real"), tmp_path / "seen"
    seen.mkdir()
    mount("--bind", str(real), str(seen))
    process = subprocess.Popen(
        [*COMMAND, "--lake", str(seen), "nightly", "--profile", "serial"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not list(real.glob("scratch/*/*/reduce/*")):
            assert process.poll() is None, "the nightly ended before its disk was taken away"
            time.sleep(0.005)
    finally:
        subprocess.run(["umount", "-l", str(seen)], check=True)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is its disk mounted?" in said
    assert "Traceback" not in said
    assert not list(seen.iterdir())
    assert nightly(seen) == 1, "the next night makes no new lake on the mount point either"
    assert not list(seen.iterdir())
    assert nightly(real) == 0
    assert set(lake.open(real).names) == set(SURVEYS)


def test_a_partition_that_rotted_on_disk_is_found_deleted_and_made_again_as_it_was(
    lake_on: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lake_on(tmp_path / "lake")
    assert nightly(folder) == 0
    before = contents(folder)
    parts = lake.open(folder).table(SURVEYS[0]).manifest.partitions
    file = folder / str(max(parts, key=lambda part: part.bytes).key)
    file.chmod(0o644)
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 4
    times = file.stat()
    file.write_bytes(held)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert nightly(folder) == 3, "size and date are those of the sound file"
    assert main(["--lake", str(folder), "check", "--deep", "--profile", "serial"]) == 1
    said = capsys.readouterr().err
    assert f"{file.relative_to(folder)}: its content changed since it was written" in said
    assert "delete the file and build the table again" in said
    file.unlink()
    assert nightly(folder) == 0
    assert contents(folder) == before
    assert main(["--lake", str(folder), "check", "--deep", "--profile", "serial"]) == 0


def test_a_clock_that_was_set_back_confuses_neither_the_nightly_nor_the_order_of_catalogues(
    lake_on: Callable[..., Path], tmp_path: Path, sky: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lake_on(tmp_path / "lake", SURVEYS[1:])
    assert nightly(folder) == 0
    # All that was written so far was written next year, as the clock had it then.
    ahead = time.time() + 400 * 86_400
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (ahead, ahead), follow_symlinks=False)
    catalog = folder / "catalog.yaml"
    year = time.gmtime().tm_year
    catalog.write_text(catalog.read_text().replace(f"published: '{year}-", f"published: '{year + 1}-"))
    assert nightly(folder) == 3
    assert main(["--lake", str(folder), "ingest", SURVEYS[0], "--raw", str(sky.folder / SURVEYS[0]), "--register"]) == 0
    assert nightly(folder) == 0
    assert main(["--lake", str(folder), "gc", "--keep", "1", "--grace", "0"]) == 1
    said = capsys.readouterr().err
    assert "the clock of this machine says" in said
    assert "nothing was deleted" in said
    assert main(["--lake", str(folder), "rollback"]) == 0
    assert lake.open(folder).names == [SURVEYS[1]]
    assert main(["--lake", str(folder), "status"]) == 0


def test_raw_files_on_a_mount_that_is_lost_make_no_smaller_table(
    lake_on: Callable[..., Path], tmp_path: Path, sky: Sky, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "archive"
    shutil.copytree(sky.folder / SURVEYS[1], away / SURVEYS[1])
    folder = lake_on(tmp_path / "lake", ())
    assert main(["--lake", str(folder), "ingest", SURVEYS[1], "--raw", str(away / SURVEYS[1]), "--register"]) == 0
    assert nightly(folder) == 0
    before = contents(folder)
    away.rename(tmp_path / "unmounted")
    assert nightly(folder) == 1
    said = capsys.readouterr().err
    assert "is gone" in said
    assert "is the disk mounted?" in said
    assert contents(folder) == before
    (tmp_path / "unmounted").rename(away)
    assert nightly(folder) == 3
