"""The log: one JSON line an event, of every task, wherever it ran, up to the moment in which a run was killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import lake
from jobs.cli import main
from jobs.cluster import cluster, in_process
from jobs.journal import LakeLog, event, free_name, journaled, listening, logging_to
from lake.errors import LakeError
from lake.storage import Storage

from .nights import CHILD

ROOT = Path(__file__).resolve().parents[2]


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def nightly(folder: Path, *flags: str) -> int:
    return main(["--lake", str(folder), *flags, "nightly", "--profile", "serial"])


@dataclass(frozen=True)
class Order:
    """A task like those of the lake."""

    table: str
    build: str
    first: int
    end: int


def worked(task: Order) -> dict[str, Any]:
    if task.first == 7:
        raise LakeError(f"{task.table}: the seventh is bad")
    return {"rows": task.first * 10, "pid": os.getpid()}


def test_a_night_logs_every_step_and_every_task_with_what_it_worked_on(new_lake) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert nightly(folder) == 0
    (log,) = (folder / "reports").glob("nightly-*.jsonl")
    held = lines(log)
    assert held[0]["event"] == "run started"
    assert held[-1] | {"outcome": "built", "exit_code": 0} == held[-1]
    for one in held:
        assert datetime.fromisoformat(one["time"]).utcoffset().total_seconds() == 0
        assert one["level"] in ("info", "error")
    manifest = lake.open(folder).table("gaia_dr3_source").manifest
    done = [one for one in held if one["event"] == "task done"]
    made = {one["partition"]: one for one in done if one["step"] == "write gaia_dr3_source"}
    for part in manifest.partitions:
        name = f"{part.first:06d}-{part.end - 1:06d}"
        told = made[name]
        assert (told["table"], told["build"], told["rows"], told["bytes"]) == (
            manifest.table,
            manifest.build,
            part.rows,
            part.bytes,
        )
        assert told["host"] == socket.gethostname()
        assert told["seconds"] >= 0
    read = [one for one in done if one["step"] == "read gaia_dr3_source"]
    assert {Path(one["file"]).name for one in read} == {path.name for path in (folder / "raw" / "gaia_dr3_source").iterdir()}
    assert all(one["survey"] == "gaia_dr3_source" and one["bytes"] > 0 for one in read)
    (published,) = [one for one in held if one["event"] == "published"]
    assert (published["table"], published["rows"]) == ("gaia_dr3_source", manifest.rows)


def test_tasks_on_other_processes_are_logged_and_their_results_stay_what_they_are(tmp_path: Path) -> None:
    tasks = [Order("stars", "0a1b", first, first + 1) for first in range(4)]
    with logging_to(str(tmp_path / "log")), cluster("local") as run:
        results = list(journaled(run)("write stars", worked, tasks))
    assert sorted(one["rows"] for one in results) == [0, 10, 20, 30]
    assert os.getpid() not in {one["pid"] for one in results}
    done = [one for one in lines(tmp_path / "log") if one["event"] == "task done"]
    assert sorted((one["partition"], one["rows"]) for one in done) == [(f"{k:06d}-{k:06d}", k * 10) for k in range(4)]
    assert {(one["step"], one["table"], one["build"]) for one in done} == {("write stars", "stars", "0a1b")}


@pytest.mark.parametrize("profile", ["serial", "local"])
def test_a_task_that_fails_is_named_in_the_log(tmp_path: Path, profile: str) -> None:
    with logging_to(str(tmp_path / "log")), cluster(profile) as run, pytest.raises(LakeError, match="the seventh is bad"):
        list(journaled(run)("write stars", worked, [Order("stars", "0a1b", 7, 9)]))
    failed = lines(tmp_path / "log")[-1]
    assert (failed["event"], failed["level"], failed["partition"]) == ("task failed", "error", "000007-000008")
    assert failed["error"] == "stars: the seventh is bad"


def test_a_night_that_is_killed_leaves_its_log_up_to_that_moment(new_lake) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    died = subprocess.run([sys.executable, "-c", CHILD, str(folder), "12"], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    (log,) = (folder / "reports").glob("nightly-*.jsonl")
    held = lines(log)
    assert len([one for one in held if one["event"] == "task done"]) == 12
    assert held[-1]["event"] == "task done"
    assert nightly(folder) == 0
    assert len(list((folder / "reports").glob("nightly-*.jsonl"))) == 2


@pytest.mark.parametrize("verb", [("ingest", "catwise_andrae2023"), ("check",)])
def test_other_verbs_that_write_keep_a_log_as_well(new_lake, verb: tuple[str, ...]) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert main(["--lake", str(folder), "ingest", "catwise_andrae2023", "--profile", "serial"]) == 0
    if verb[0] == "check":
        assert main(["--lake", str(folder), *verb, "--profile", "serial"]) == 0
    (log,) = (folder / "reports").glob(f"{verb[0]}-*.jsonl")
    held = lines(log)
    assert (held[0]["verb"], held[-1]["event"]) == (verb[0], "run ended")
    assert {one.get("table") for one in held if one["event"] == "task done"} >= {"catwise_andrae2023"}


def test_events_go_to_a_file_or_to_stderr_where_asked_for(new_lake, tmp_path: Path, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder, "--log", str(tmp_path / "a.jsonl")) == 0
    (log,) = (folder / "reports").glob("nightly-*.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == log.read_text()
    capsys.readouterr()
    assert nightly(folder, "--log", "-") == 3
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert said[-1]["outcome"] == "nothing to do"
    assert nightly(folder, "--log", str(tmp_path)) == 1
    assert "name another file, or - for stderr" in capsys.readouterr().err


def test_nobody_who_did_not_ask_is_told(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    file = next((folder / "raw" / "catwise_andrae2023").iterdir())
    file.write_bytes(file.read_bytes()[:3000])
    assert nightly(folder) == 1
    assert "task failed" not in capsys.readouterr().err


def test_on_an_object_store_the_log_is_written_at_every_save() -> None:
    storage = Storage.at("memory://lake-with-a-log")
    log = LakeLog(storage, "reports/a.jsonl")
    with listening(log):
        event("first")
        assert not storage.exists("reports/a.jsonl")
        log.save()
        event("second", table="stars", rows=None)
        log.save()
    held = [json.loads(line) for line in storage.read_bytes("reports/a.jsonl").decode().splitlines()]
    assert [one["event"] for one in held] == ["first", "second"]
    assert "rows" not in held[1]


def test_runs_in_the_same_second_have_names_of_their_own(tmp_path: Path) -> None:
    storage, at = Storage.at(tmp_path), datetime(2026, 11, 21, 2, 0, 0)
    (tmp_path / "reports").mkdir()
    names = []
    for ending in (".json", ".jsonl", ".json"):
        names.append(free_name(storage, "nightly", at))
        (tmp_path / (names[-1] + ending)).write_text("")
    assert names == [f"reports/nightly-2026-11-21T020000Z{more}" for more in ("", "-2", "-3")]


def test_a_log_holds_no_password_of_a_url(tmp_path: Path) -> None:
    with logging_to(str(tmp_path / "log")), pytest.raises(LakeError):
        list(journaled(in_process)("fetch", _refused, ["https://me:secret@example.org/a?b=1"]))
    assert "secret" not in (tmp_path / "log").read_text()
    assert "https://example.org/a" in (tmp_path / "log").read_text()


def _refused(url: str) -> None:
    raise LakeError(f"{url} does not answer")


def test_a_log_on_a_full_disk_is_told_once_and_stops_nothing(new_lake, tmp_path: Path, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder, "--log", "/dev/full") == 0
    said = capsys.readouterr().err
    assert said.count("the log /dev/full cannot be written, the work goes on: [Errno 28] No space left on device") == 1
    assert "Logging error" not in said
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.jsonl").symlink_to("/dev/full")
    log = LakeLog(Storage.at(tmp_path), "reports/a.jsonl")
    with listening(log):
        log.save()
        event("first")
        event("second")
    assert capsys.readouterr().err.count("cannot be written") == 1
