"""What `gaialake status` says: of a lake at rest, while a nightly runs, and of a damaged one."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lake
from jobs.cli import main
from jobs.lock import writing
from lake.storage import Storage

ROOT = Path(__file__).resolve().parents[2]


def nightly(folder: Path) -> int:
    return main(["--lake", str(folder), "nightly", "--profile", "serial"])


def status(folder: Path, capsys) -> dict[str, Any]:
    """Return what `status --json` says."""
    capsys.readouterr()
    assert main(["--lake", str(folder), "status", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.fixture
def small(new_lake, capsys) -> Path:
    """A published lake of one table."""
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == 0
    return folder


def test_status_says_what_is_published_and_how_the_last_night_went(small: Path, capsys) -> None:
    held = status(small, capsys)
    table = lake.open(small).table("catwise_andrae2023")
    (told,) = held["tables"]
    assert (told["table"], told["rows"], told["bytes"]) == ("catwise_andrae2023", table.rows, table.manifest.bytes)
    assert (told["build"], told["created"], told["damage"]) == (table.manifest.build, table.manifest.created, None)
    assert (held["writer"], held["held"], held["unfinished"]) == (None, {}, [])
    assert held["nightly"] == json.loads((small / "reports" / "last.json").read_text())
    assert held["history"]["catalogues"] == len(list((small / "history").iterdir()))
    assert main(["--lake", str(small), "status"]) == 0
    said = capsys.readouterr().out
    for words in ("writing now: nobody", "last nightly: built (exit code 0)", f"{table.rows:,}", table.manifest.build):
        assert words in said


def test_status_names_what_failed_and_the_last_success(small: Path, capsys) -> None:
    good = json.loads((small / "reports" / "last.json").read_text())["ended"]
    file = next((small / "raw" / "catwise_andrae2023").iterdir())
    file.write_bytes(file.read_bytes()[:3000])
    time.sleep(1.1)
    assert nightly(small) == 1
    capsys.readouterr()
    assert main(["--lake", str(small), "status"]) == 0
    said = capsys.readouterr().out
    assert "last nightly: failed (exit code 1)" in said
    assert f"last success: {good}" in said
    assert "ingest catwise_andrae2023 failed" in said
    assert file.name in said
    assert "unfinished work on catwise_andrae2023" in said


def test_status_names_the_writer_and_does_not_disturb_it(small: Path, capsys) -> None:
    with writing(Storage.at(small), "train"):
        writer = status(small, capsys)["writer"]
        assert (writer["verb"], writer["pid"]) == ("train", os.getpid())
        assert main(["--lake", str(small), "status"]) == 0
        assert f"writing now: train, pid {os.getpid()} on" in capsys.readouterr().out
    assert status(small, capsys)["writer"] is None


SLOW = """
import sys, time
import lake.ingest
made = lake.ingest.reduce_partition
def slowly(task):
    time.sleep(0.2)
    return made(task)
lake.ingest.reduce_partition = slowly
from jobs.cli import main
sys.exit(main(["--lake", sys.argv[1], "nightly", "--profile", "serial"]))
"""


@contextmanager
def at_work(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a slow nightly in another process, and go on when it has made a partition; at the end it is killed."""
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        end = time.monotonic() + 60
        while not list(folder.glob("tables/*/*/*.parquet")):
            assert time.monotonic() < end
            time.sleep(0.02)
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_nightly_that_was_killed_is_named_until_another_has_ended(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    with at_work(folder):
        assert status(folder, capsys)["killed"] is None
    killed = status(folder, capsys)["killed"]
    assert (folder / killed).exists()
    assert main(["--lake", str(folder), "status"]) == 0
    said = capsys.readouterr().out
    assert f"a nightly since was killed and left no record; {killed}" in said
    assert "no table is published yet" in said
    assert nightly(folder) == 0
    assert status(folder, capsys)["killed"] is None


def test_a_nightly_with_nothing_to_do_comes_after_a_killed_one_as_well(small: Path, capsys) -> None:
    (small / "reports" / "nightly-2020-01-01T020000Z.jsonl").write_text("")
    assert status(small, capsys)["killed"] is None
    (record,) = (small / "reports").glob("nightly-*T*Z.json")
    record.unlink()
    assert status(small, capsys)["killed"] is None


def test_status_beside_a_nightly_reads_and_changes_nothing(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    with at_work(folder) as child:
        held = status(folder, capsys)
        assert (held["writer"]["verb"], held["writer"]["pid"]) == ("nightly", child.pid)
        assert held["unfinished"] == ["catwise_andrae2023"]
        assert (held["nightly"], held["tables"]) == (None, [])
        assert child.wait(timeout=60) == 0


@pytest.mark.parametrize("damage", ["", "{", "[1]", '"text"', "\0\0"])
def test_a_broken_record_of_the_last_night_stops_neither_status_nor_the_next_night(small: Path, capsys, damage: str) -> None:
    (small / "reports" / "last.json").write_text(damage)
    assert status(small, capsys)["nightly"] is None
    assert main(["--lake", str(small), "status"]) == 0
    assert "last nightly: no record of one" in capsys.readouterr().out
    assert nightly(small) == 3
    assert status(small, capsys)["nightly"]["outcome"] == "nothing to do"


@pytest.mark.parametrize("held", [{}, {"outcome": 7, "failures": [{"what": "x"}]}, {"failures": "many"}])
def test_a_record_of_another_shape_is_shown_as_far_as_it_goes(small: Path, capsys, held: dict[str, Any]) -> None:
    (small / "reports" / "last.json").write_text(json.dumps(held))
    assert main(["--lake", str(small), "status"]) == 0
    assert "catwise_andrae2023" in capsys.readouterr().out


def test_a_damaged_table_is_named_beside_the_sound_ones(published: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "lake"
    shutil.copytree(published, folder)
    (folder / lake.open(folder).published["gaia_dr3_xp"]).write_text("{}")
    held = {one["table"]: one for one in status(folder, capsys)["tables"]}
    assert "layout" in held["gaia_dr3_xp"]["damage"]
    assert held["catwise_andrae2023"]["damage"] is None
    assert len(held) > 10


def test_status_of_a_whole_sky_of_tables_takes_about_a_second(published: Path, capsys) -> None:
    begun = time.monotonic()
    status(published, capsys)
    assert time.monotonic() - begun < 2.0
