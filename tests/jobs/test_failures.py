"""What a night does when something fails: what it holds back, what it lets through, what it keeps of itself."""

import copy
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import lake
from jobs.cli import main
from lake.errors import OutageError
from lake.manifest import read_manifest

from .nights import (
    BUILT,
    CHILD,
    FAILED,
    NOTHING,
    STOPPED,
    change_one_value,
    events,
    manifest,
    nightly,
    record,
    sources,
    spoil,
)


def test_a_failing_check_leaves_the_old_catalogue_and_says_which_value(new_lake, capsys, monkeypatch) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert nightly(folder) == BUILT
    served = (folder / "catalog.yaml").read_bytes()
    file = sources(folder)
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    names = next(line for line in lines if not line.startswith("#")).split(",")
    cells = lines[-1].split(",")
    cells[names.index("dec")] = "1234.5"
    file.write_bytes(gzip.compress("\n".join([*lines[:-1], ",".join(cells)]).encode() + b"\n", mtime=0))
    assert nightly(folder) == FAILED
    said = capsys.readouterr().err
    assert "1234.5" in said
    assert "dec" in said
    assert cells[names.index("source_id")] in said
    assert (folder / "catalog.yaml").read_bytes() == served
    assert lake.open(folder).table("gaia_dr3_source").rows > 0


def test_a_table_whose_manifest_was_lost_is_named_in_the_error(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == BUILT
    build = manifest(folder, "catwise_andrae2023").build
    (folder / "tables" / "catwise_andrae2023" / f"{build}.json").unlink()
    with pytest.raises(lake.LakeError, match="restore it, or build the table again"):
        lake.open(folder).table("catwise_andrae2023")
    assert main(["--lake", str(folder), "status"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert nightly(folder) == BUILT
    assert read_manifest(lake.open(folder).storage, "catwise_andrae2023", build).rows > 0


def test_one_bad_file_costs_only_itself_once_it_is_replaced(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    file = sources(folder)
    good = file.read_bytes()
    file.write_bytes(good[:-500])
    assert nightly(folder) == FAILED
    done = {path.name for path in folder.glob("scratch/gaia_dr3_source/*/map/*.json")}
    assert done, "files read before the bad one are kept"
    file.write_bytes(good)
    read: list[str] = []
    import lake.runs

    real = lake.runs.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lake.runs.read", lambda path, survey: (read.append(path.name), real(path, survey))[1])
        assert nightly(folder) == BUILT
    assert len(read) == len(list((folder / "raw" / "gaia_dr3_source").iterdir())) - len(done)


def test_a_value_out_of_limits_is_traced_to_its_raw_file_with_the_way_out(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    file = sources(folder)
    text = gzip.decompress(file.read_bytes()).decode().splitlines()
    names = next(line for line in text if not line.startswith("#")).split(",")
    cells = text[-1].split(",")
    cells[names.index("dec")] = "400"
    file.write_bytes(gzip.compress("\n".join([*text[:-1], ",".join(cells)]).encode() + b"\n"))
    assert nightly(folder) == FAILED
    said = capsys.readouterr().err
    assert file.name in said
    assert "--replace --raw" in said


def test_the_record_says_what_became_of_every_table_and_the_text_is_what_the_user_saw(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    assert nightly(folder) == BUILT
    said = capsys.readouterr().out
    held = record(folder)
    assert (held["outcome"], held["exit_code"], held["error"], held["profile"]) == ("built", 0, None, "serial")
    assert sorted(held["published"]) == ["catwise_andrae2023", "gaia_dr3_source"]
    for name in held["published"]:
        built, told = manifest(folder, name), held["tables"][name]
        assert (told["rows"], told["bytes"], told["build"]) == (built.rows, built.bytes, built.build)
        assert told["partitions_made"] == len([part for part in built.partitions if part.key]) > 10
        assert (told["partitions_kept"], told["failures"]) == (0, 0)
        assert told["seconds"] > 0
    assert folder / held["record"] == next((folder / "reports").glob("nightly-*.json"))
    assert (folder / held["record"]).read_bytes() == (folder / "reports" / "last.json").read_bytes()
    screen = (folder / held["record"]).with_suffix(".txt").read_text()
    assert said.endswith(screen)
    assert "nightly: built" in screen
    change_one_value(sources(folder))
    assert nightly(folder) == BUILT
    told = record(folder)["tables"]["gaia_dr3_source"]
    assert told["partitions_kept"] > told["partitions_made"] > 0


def test_a_survey_that_fails_keeps_its_published_build_and_holds_up_no_other(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    shutil.move(folder / "raw" / "catwise_andrae2023", folder / "elsewhere")
    assert nightly(folder) == BUILT
    before = lake.open(folder).published
    shutil.move(folder / "elsewhere", folder / "raw" / "catwise_andrae2023")
    good = sources(folder).read_bytes()
    sources(folder).write_bytes(good[:-500])
    for _ in range(2):
        capsys.readouterr()
        assert nightly(folder) == FAILED
        said = capsys.readouterr()
        assert sources(folder).name in said.err
        assert "all else is published" in said.err
        after = lake.open(folder).published
        assert after["gaia_dr3_source"] == before["gaia_dr3_source"]
        assert "catwise_andrae2023" in after
        assert "failed at: ingest gaia_dr3_source" in said.out
        assert "older than their files: gaia_dr3_source" in said.out
    held = record(folder)
    assert (held["outcome"], held["exit_code"], held["tables"]["gaia_dr3_source"]["failures"]) == ("failed", 1, 1)
    (failed,) = [one for one in events(folder) if one["event"] == "task failed"]
    assert (failed["survey"], Path(failed["file"]).name) == ("gaia_dr3_source", sources(folder).name)
    sources(folder).write_bytes(good)
    assert nightly(folder) in (BUILT, NOTHING)
    assert record(folder)["error"] is None


def test_a_survey_whose_raw_files_are_gone_holds_up_no_other(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    shutil.move(folder / "raw" / "catwise_andrae2023", folder / "elsewhere")
    assert nightly(folder) == BUILT
    shutil.move(folder / "elsewhere", folder / "raw" / "catwise_andrae2023")
    gone = sources(folder)
    gone.unlink()
    assert nightly(folder) == FAILED
    assert f"{gone.name} is gone" in capsys.readouterr().err
    assert "catwise_andrae2023" in lake.open(folder).published
    assert lake.open(folder).table("gaia_dr3_source").rows == 400


def test_a_disk_that_cannot_be_written_ends_the_night_before_every_survey_fails_for_it(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    (folder / "scratch").write_text("a file where a folder should be")
    assert nightly(folder) == FAILED
    assert "cannot be written" in capsys.readouterr().err
    held = record(folder)
    assert [step["step"] for step in held["steps"]] == ["plan", "ingest gaia_dr3_source"]
    assert "scratch" in held["error"]


def test_what_stands_on_a_survey_that_fails_its_check_waits_and_is_published_with_it(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "unwise_neo6", "dust_sfd", "catwise_andrae2023"))
    assert nightly(folder) == BUILT
    before = lake.open(folder).published
    good = sources(folder).read_bytes()
    spoil(sources(folder), "parallax", "1e9")
    assert nightly(folder) == FAILED
    said = capsys.readouterr().err
    assert "parallax" in said
    for name in ("unwise_neo6", "dust_sfd"):
        assert f"{name} waits for gaia_dr3_source, on which it stands" in said
    assert lake.open(folder).published == before
    held = record(folder)
    assert [held["tables"][name]["failures"] for name in ("gaia_dr3_source", "unwise_neo6", "dust_sfd")] == [1, 1, 1]
    sources(folder).write_bytes(good)
    change_one_value(sources(folder))
    assert nightly(folder) == BUILT
    after = lake.open(folder).published
    assert {name for name in after if after[name] != before[name]} == {"gaia_dr3_source", "unwise_neo6", "dust_sfd"}


def test_a_model_is_not_trained_while_a_table_that_it_reads_fails(new_lake, capsys) -> None:
    folder = new_lake()
    good = sources(folder).read_bytes()
    sources(folder).write_bytes(good[:-500])
    assert nightly(folder, "--train", "xp_mae") == FAILED
    assert "xp_mae is not trained before gaia_dr3_source can be built" in capsys.readouterr().err
    assert "gaia_dr3_xp" in lake.open(folder).published
    assert not (folder / "models").exists()


STOPPED_CHILD = CHILD.replace("os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), getattr(signal, sys.argv[3]))")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_night_that_is_stopped_keeps_its_record_and_what_it_finished(new_lake, name: str) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    # Under nohup the child would inherit that SIGHUP is ignored, and rightly go on.
    before = signal.signal(getattr(signal, name), signal.SIG_DFL if name == "SIGHUP" else signal.getsignal(getattr(signal, name)))
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED_CHILD.replace("if left < 0", "if left == -1"), str(folder), "12", name],
        capture_output=True,
        text=True,
        check=False,
    )
    signal.signal(getattr(signal, name), before)
    assert stopped.returncode == STOPPED, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "run the same command again to continue" in stopped.stderr
    held = record(folder)
    assert (held["outcome"], held["exit_code"], held["last_success"]) == ("stopped", STOPPED, None)
    assert held["steps"][-1]["step"] == "ingest gaia_dr3_source"
    assert "stopped at: ingest gaia_dr3_source" in stopped.stdout
    if name != "SIGINT":
        assert f"stopped by {name}" in held["error"]
    assert not (folder / "catalog.yaml").exists()
    done = [one for one in events(folder) if one["event"] == "task done"]
    assert len(done) == 12
    finished = {path: path.stat().st_ino for path in folder.glob("tables/*/*/*.parquet")}
    assert finished
    assert nightly(folder) == BUILT
    assert all(path.stat().st_ino == inode for path, inode in finished.items())


SLOW = """
import sys, time
import lake.ingest
def slowly(function):
    def call(task):
        time.sleep(0.3)
        return function(task)
    return call
lake.ingest.reduce_partition = slowly(lake.ingest.reduce_partition)
from jobs.cli import main
from lake.errors import OutageError
if __name__ == "__main__":
    sys.exit(main(["--lake", sys.argv[1], "nightly"]))
"""


def test_a_night_on_workers_that_systemd_stops_ends_in_order(new_lake, tmp_path) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    (tmp_path / "slow.py").write_text(SLOW)
    child = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not list(folder.glob("tables/*/*/*.parquet")):
        assert time.monotonic() < end, "no partition was made"
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.terminate()
    out, err = child.communicate(timeout=60)
    assert child.returncode == STOPPED, err
    assert "stopped by SIGTERM" in err
    assert record(folder)["outcome"] == "stopped"
    # Dask may stumble over a wait that the signal ended; of our own code no traceback is shown.
    assert not re.search(r'File ".*/(jobs|lake|models)/', err), err
    assert nightly(folder) == BUILT


@pytest.mark.parametrize("there", [True, False])
def test_a_nightly_lays_out_no_lake_where_a_disk_may_not_be_mounted(tmp_path: Path, capsys, there: bool) -> None:
    folder = tmp_path / "disk"
    if there:
        folder.mkdir()
    for flags in ((), ("--dry-run",), ("--fetch", "catwise_andrae2023")):
        assert nightly(folder, *flags) == FAILED
        said = capsys.readouterr().err
        assert "is its disk mounted?" in said
        assert "gaialake init" in said
    assert list(tmp_path.rglob("*")) == ([folder] if there else [])


def test_a_record_that_cannot_be_written_hides_neither_the_error_nor_the_success(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    good = sources(folder).read_bytes()
    sources(folder).write_bytes(good[:-500])
    (folder / "reports").write_text("a file where a folder should be")
    assert nightly(folder) == FAILED
    said = capsys.readouterr().err
    assert "is not kept" in said
    assert sources(folder).name in said.splitlines()[-1]
    assert "Traceback" not in said


def test_predictions_wait_for_a_table_that_failed_and_are_made_once_when_it_is_mended(published, tmp_path, capsys) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "copy"))
    before = lake.open(folder).published
    good = sources(folder).read_bytes()
    sources(folder).write_bytes(good[:-500])
    shutil.copy(next((folder / "raw" / "catwise_andrae2023").iterdir()), tmp_path / "held")
    (catwise,) = (folder / "raw" / "catwise_andrae2023").iterdir()
    catwise.write_bytes(gzip.compress(gzip.decompress(catwise.read_bytes()), 1, mtime=1))
    assert nightly(folder) == FAILED
    said = capsys.readouterr().err
    assert "predictions_xp_mae waits for gaia_dr3_source, from which it is made" in said
    assert f"`gaialake --lake {folder} predict xp_mae`" in said
    after = lake.open(folder).published
    assert after["catwise_andrae2023"] != before["catwise_andrae2023"]
    assert after["predictions_xp_mae"] == before["predictions_xp_mae"]
    assert record(folder)["tables"]["predictions_xp_mae"]["failures"] == 1
    sources(folder).write_bytes(good)
    assert nightly(folder) == BUILT
    assert "predictions_xp_mae" in record(folder)["published"]
    assert nightly(folder) == NOTHING


@pytest.mark.parametrize("table", ["gaia_dr3_xp", "predictions_xp_mae"])
def test_a_lost_manifest_of_what_a_model_reads_or_made_is_mended_by_the_next_nights(published, tmp_path, table: str) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "copy"))
    (folder / lake.open(folder).published[table]).unlink()
    assert nightly(folder) == BUILT
    assert lake.open(folder).table(table).rows > 0
    assert nightly(folder) == NOTHING


def test_a_damaged_table_that_nothing_can_mend_keeps_models_and_record_of_the_others_true(published, tmp_path, capsys) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "copy"))
    before = lake.open(folder).published
    (folder / before["pristine"]).unlink()
    shutil.rmtree(folder / "raw" / "pristine")
    (folder / "raw" / "pristine.json").unlink()
    change_one_value(sources(folder))
    assert nightly(folder) == FAILED
    assert "the manifest of this build is not there; restore it" in capsys.readouterr().err
    after = lake.open(folder).published
    changed = {name for name in after if after[name] != before[name]}
    assert {"gaia_dr3_source", "predictions_xp_mae"} <= changed
    assert set(record(folder)["published"]) == changed


def test_what_others_are_verified_with_is_checked_before_them(new_lake, monkeypatch) -> None:
    from jobs.inventory import Inventory
    from jobs.plan import plan_with
    from lake.survey import surveys, table_surveys

    inventory = Inventory(lake.open(new_lake(surveys=())))
    inventory.registered = tuple(surveys().values())
    order = [one.survey.name for one in plan_with(inventory, excusing=True)]
    for one in surveys().values():
        below = {*one.beside, *(table_surveys()[name].name for name in {relation.table for relation in one.relations})}
        below |= {table_surveys()[one.stands_on].name} if one.stands_on else set()
        assert all(order.index(name) < order.index(one.name) for name in below - {one.name}), one.name


def test_an_outage_ends_the_night_before_anything_is_verified_with_older_tables(new_lake, sky, monkeypatch, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert nightly(folder) == BUILT
    before = lake.open(folder).published
    shutil.copytree(sky.folder / "tmass_psc", folder / "raw" / "tmass_psc")
    change_one_value(sources(folder))

    def refused(_task: object) -> None:
        raise OutageError("the store does not answer")

    monkeypatch.setattr("lake.ingest.map_file", refused)
    assert nightly(folder) == FAILED
    assert lake.open(folder).published == before
    assert not list((folder / "tables").glob("tmass_psc/*.json"))


def test_an_outage_while_surveys_are_planned_ends_the_night_as_well(new_lake, monkeypatch, capsys) -> None:
    def refused(*_of: object, **_how: object) -> None:
        raise OutageError("the store does not answer")

    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    monkeypatch.setattr("jobs.inventory.raw_files", refused)
    assert nightly(folder) == FAILED
    assert record(folder)["failures"] == []
    assert record(folder)["error"] == "the store does not answer"


def test_a_raw_file_that_cannot_be_read_costs_only_its_own_survey(new_lake, capsys) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    # Whoever reads this file gets an input/output error.
    (folder / "raw" / "gaia_dr3_source" / "GaiaSource_000000-000001.csv.gz").symlink_to("/proc/self/mem")
    assert nightly(folder) == FAILED
    said = capsys.readouterr().err
    assert "gaia_dr3_source: its raw files cannot be read" in said
    assert "Input/output error" in said
    assert set(lake.open(folder).published) == {"catwise_andrae2023"}


def test_a_notebook_that_opened_the_lake_before_others_published_runs_the_same_night(published, tmp_path) -> None:
    from jobs.nightly import nightly as run

    folder = Path(shutil.copytree(published, tmp_path / "copy"))
    catalog = (folder / "catalog.yaml").read_bytes()
    (folder / "catalog.yaml").unlink()
    opened = lake.open(folder)
    (folder / "catalog.yaml").write_bytes(catalog)
    part = next(part for part in lake.open(folder).table("predictions_xp_mae").manifest.partitions if part.key)
    (folder / str(part.key)).unlink()
    assert run(opened, profile="serial") == BUILT
    assert (folder / str(part.key)).exists()


def test_a_run_leaves_no_configuration_handler_or_level_behind(new_lake) -> None:
    import logging
    import signal

    import dask

    folder = new_lake(surveys=("catwise_andrae2023",))
    log = logging.getLogger("gaialake")
    # Imported first, for they bring defaults that stay.
    assert nightly(folder, profile="local") == BUILT
    change = next((folder / "raw" / "catwise_andrae2023").iterdir())

    def state() -> tuple[object, ...]:
        handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return copy.deepcopy(dask.config.config), list(log.handlers), log.level, handlers, threading.active_count()

    before = state()
    change.write_bytes(change.read_bytes()[:3000])
    assert nightly(folder, profile="local") == FAILED
    assert state()[:4] == before[:4]


@pytest.mark.parametrize("said", ["yesterday", 7, "2026-13-01"])
def test_a_time_in_the_last_record_that_is_none_hides_no_error(new_lake, capsys, said: object) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == BUILT
    held = record(folder) | {"last_success": said}
    (folder / "reports" / "last.json").write_text(json.dumps(held))
    file = next((folder / "raw" / "catwise_andrae2023").iterdir())
    file.write_bytes(file.read_bytes()[:3000])
    assert nightly(folder) == FAILED
    assert file.name in capsys.readouterr().err
    assert record(folder)["last_success"] is None


INTERRUPTED = """
import os, signal, sys
import jobs.night
plain = jobs.night.exposition
def interrupted(*of):
    jobs.night.exposition = plain
    for name in sys.argv[2:]:
        os.kill(os.getpid(), getattr(signal, name))
    return plain(*of)
jobs.night.exposition = interrupted
from jobs.cli import main
from lake.errors import OutageError
sys.exit(main(["--lake", sys.argv[1], "nightly", "--profile", "serial"]))
"""


def test_a_signal_while_the_record_is_written_leaves_a_whole_record_that_says_so(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    stopped = subprocess.run([sys.executable, "-c", INTERRUPTED, str(folder), "SIGTERM"], capture_output=True, check=False)
    assert stopped.returncode == STOPPED, stopped.stderr
    held = record(folder)
    assert (held["outcome"], held["published"]) == ("stopped", ["catwise_andrae2023"])
    assert (folder / held["record"]).read_bytes() == (folder / "reports" / "last.json").read_bytes()
    assert b"gaialake_nightly_exit_code{" in (folder / "reports" / "gaialake.prom").read_bytes()
    assert nightly(folder) == NOTHING


CLOSED = """
import os, signal, sys
import lake.ingest, jobs.night
def stopped(task):
    os.kill(os.getpid(), signal.SIGINT)
lake.ingest.map_file = stopped
plain = jobs.night.exposition
def closing(*of):
    os.kill(os.getpid(), signal.SIGHUP)
    return plain(*of)
jobs.night.exposition = closing
from jobs.cli import main
from lake.errors import OutageError
sys.exit(main(["--lake", sys.argv[1], "nightly", "--profile", "serial"]))
"""


def test_a_terminal_that_is_closed_after_ctrl_c_leaves_the_record(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    stopped = subprocess.run([sys.executable, "-c", CLOSED, str(folder)], capture_output=True, text=True, check=False)
    assert stopped.returncode == STOPPED, stopped.stderr
    assert "Traceback" not in stopped.stderr
    held = record(folder)
    assert (held["outcome"], (folder / held["record"]).with_suffix(".txt").exists()) == ("stopped", True)


def test_predictions_that_a_roll_back_took_back_are_made_by_no_night(published, tmp_path) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "copy"))
    assert main(["--lake", str(folder), "rollback"]) == 0
    assert "predictions_xp_mae" not in lake.open(folder).published
    assert nightly(folder) == NOTHING
    assert main(["--lake", str(folder), "gc", "--keep", "1", "--grace", "0"]) == 0
    (catwise,) = (folder / "raw" / "catwise_andrae2023").iterdir()
    catwise.write_bytes(gzip.compress(gzip.decompress(catwise.read_bytes()), 1, mtime=1))
    assert nightly(folder) == BUILT
    assert "predictions_xp_mae" in record(folder)["published"], "its inputs changed"


@pytest.mark.parametrize("verb", [("nightly", "--profile", "serial"), ("plan", "--json", "--partitions")])
def test_a_reader_who_leaves_ends_no_work(new_lake, verb: tuple[str, ...]) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    left, writing = os.pipe()
    os.close(left)
    command = [sys.executable, "-m", "jobs.cli", "--lake", str(folder), *verb]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
    if verb[0] == "nightly":
        assert "nightly: built" in (folder / record(folder)["record"]).with_suffix(".txt").read_text()
