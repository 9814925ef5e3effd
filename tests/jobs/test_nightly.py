"""The nightly: builds what is stale, nothing else, whole or not at all."""

import dataclasses
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import lake
from jobs import commands, fetching
from jobs.cli import main
from lake.declaration import Http
from lake.download import Patience
from lake.manifest import Manifest, read_manifest
from lake.survey import survey, surveys
from tests.lake.servers import Files, file_server

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


def test_the_first_night_builds_every_table_and_the_second_finds_nothing_to_do(new_lake, capsys) -> None:
    folder = new_lake()
    assert nightly(folder) == BUILT
    opened = lake.open(folder)
    assert opened.names == ["catwise_andrae2023", "gaia_dr3_source", "gaia_dr3_xp", "gaia_dr3_xp_correlations"]
    for name in opened.names:
        account = opened.table(name).manifest.account
        assert account["in"] == account["out"] + sum(account["dropped"].values())
    before = kept(folder)
    capsys.readouterr()
    assert nightly(folder) == NOTHING
    assert "nothing to do" in capsys.readouterr().out
    assert kept(folder) == before
    assert record(folder)["outcome"] == "nothing to do"


def test_a_night_with_nothing_to_do_starts_no_cluster(new_lake, monkeypatch) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == BUILT
    monkeypatch.setattr("jobs.cluster._Cluster.client", lambda self: pytest.fail("a cluster was started"))
    assert nightly(folder, profile="local") == NOTHING


def test_one_changed_raw_file_rebuilds_only_the_partitions_it_touches(new_lake) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert nightly(folder) == BUILT
    before = manifest(folder, "gaia_dr3_source")
    changed = sources(folder)
    star = change_one_value(changed)
    assert nightly(folder) == BUILT
    after = manifest(folder, "gaia_dr3_source")
    touched = {leaf for one in before.inputs if one.name.endswith(changed.name) for leaf in one.leaves}
    kept = {part.key for part in before.partitions} & {part.key for part in after.partitions}
    assert kept, "partitions that the file does not touch are named again"
    remade = [part for part in after.partitions if part.key and after.build in part.key]
    grid = lake.open(folder).grid
    for part in remade:
        leaves = {leaf for leaf in range(len(grid)) if part.first <= grid.edges[leaf] < part.end}
        assert leaves & touched, "a partition was remade that the file does not touch"
    assert len(remade) + len(kept) >= len([part for part in after.partitions if part.key])
    assert lake.open(folder).table("gaia_dr3_source").select([star], ["random_index"])["random_index"].iloc[0] == 7


def test_an_incremental_night_gives_the_bytes_of_a_full_one(new_lake) -> None:
    folder, other = new_lake("incremental"), None
    assert nightly(folder) == BUILT
    change_one_value(sources(folder))
    assert nightly(folder) == BUILT
    other = folder.with_name("full")
    shutil.copytree(folder / "raw", other / "raw", ignore=shutil.ignore_patterns("*.json"))
    (other / "lake.json").write_bytes((folder / "lake.json").read_bytes())
    assert nightly(other) == BUILT
    for table in lake.open(folder).names:
        first, second = manifest(folder, table), manifest(other, table)
        assert [(p.first, p.end, p.rows, p.sha256) for p in first.partitions] == [
            (p.first, p.end, p.rows, p.sha256) for p in second.partitions
        ]


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


def test_a_second_writer_is_told_to_wait(new_lake, capsys) -> None:
    from jobs.lock import writing
    from lake.storage import Storage

    folder = new_lake(surveys=("catwise_andrae2023",))
    with writing(Storage.at(folder), "ingest"):
        assert nightly(folder) == BUSY
    said = capsys.readouterr().err
    assert str(os.getpid()) in said
    assert "another writer" in said
    assert nightly(folder) == BUILT


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


@pytest.mark.parametrize("tasks", [1, 10, 30])
def test_a_killed_night_continues_and_ends_with_the_bytes_of_an_undisturbed_one(new_lake, tasks: int) -> None:
    whole = new_lake("whole", ("gaia_dr3_source", "gaia_dr3_xp"))
    assert nightly(whole) == BUILT
    broken = new_lake("broken", ("gaia_dr3_source", "gaia_dr3_xp"))
    died = subprocess.run([sys.executable, "-c", CHILD, str(broken), str(tasks)], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (broken / "catalog.yaml").exists()
    finished = {p: p.stat().st_ino for p in [*broken.glob("scratch/*/*/map/*.json"), *broken.glob("tables/*/*/*.parquet")]}
    assert nightly(broken) == BUILT
    for path, inode in finished.items():
        if path.suffix == ".parquet":
            assert path.stat().st_ino == inode, "a finished partition was made again"
    for table in lake.open(whole).names:
        first, second = manifest(whole, table), manifest(broken, table)
        assert first.stable_json() == second.stable_json()
        for part in first.partitions:
            if part.key:
                assert (whole / part.key).read_bytes() == (broken / part.key).read_bytes()


def test_a_task_whose_worker_is_killed_is_done_again(new_lake, tmp_path: Path) -> None:
    from jobs.cluster import cluster

    marker = tmp_path / "killed"

    def die_once(task: int) -> int:
        if task == 1 and not marker.exists():
            marker.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return task * 2

    with cluster("local") as run:
        assert sorted(run("double", die_once, [0, 1, 2, 3])) == [0, 2, 4, 6]
    assert marker.exists()


def test_the_catalogue_can_be_read_while_nights_republish_it(new_lake) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert nightly(folder) == BUILT
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, lake\n"
            "end = time.monotonic() + 60\n"
            "n = 0\n"
            f"while not __import__('os').path.exists({str(folder / 'stop')!r}) and time.monotonic() < end:\n"
            f"    assert lake.open({str(folder)!r}).table('gaia_dr3_source').rows == 400\n"
            "    n += 1\n"
            "print(n)\n",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.0)
    for _ in range(2):
        change_one_value(sources(folder))
        file = sources(folder)
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + b"", mtime=int(time.time() * 1000) % 10_000))
        assert nightly(folder) == BUILT
    (folder / "stop").write_text("")
    out, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    assert int(out) > 3


def test_every_night_keeps_a_record_of_its_steps(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == BUILT
    (kept_one,) = (folder / "reports").glob("nightly-*.json")
    held = json.loads(kept_one.read_text())
    assert [step["step"] for step in held["steps"]] == ["plan", "ingest catwise_andrae2023", "check", "publish"]
    assert held["steps"][-1]["tables"] == ["catwise_andrae2023"]


def test_a_dry_run_says_what_would_be_built_and_changes_nothing(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder, "--dry-run") == BUILT
    assert "never built" in capsys.readouterr().out
    assert not (folder / "tables").exists()


def test_predictions_follow_the_tables_and_the_bundle(published: Path, capsys) -> None:
    opened = lake.open(published)
    held = opened.table("predictions_xp_mae")
    assert held.rows == opened.table("gaia_dr3_xp").rows
    assert held.manifest.made_of["gaia_dr3_xp"] == opened.table("gaia_dr3_xp").manifest.build
    assert (published / "models" / "xp_mae" / held.manifest.made_of["bundle"] / "weights.safetensors").exists()
    entry = yaml.safe_load((published / "catalog.yaml").read_text())["sources"]["predictions_xp_mae"]
    assert entry["metadata"]["rows"] == held.rows
    assert nightly(published) == NOTHING


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


def test_a_night_remakes_a_partition_whose_file_is_gone(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == BUILT
    keys = [part.key for part in manifest(folder, "catwise_andrae2023").partitions if part.key]
    held = (folder / keys[3]).read_bytes()
    (folder / keys[3]).unlink()
    others = {key: (folder / key).stat().st_ino for key in keys if key != keys[3]}
    assert nightly(folder) == BUILT
    assert (folder / keys[3]).read_bytes() == held
    assert others == {key: (folder / key).stat().st_ino for key in others}


def test_a_plan_beside_a_writer_forgets_nothing_that_the_writer_registers(new_lake, sky, tmp_path, monkeypatch) -> None:
    from jobs.plan import plan
    from lake import ledger
    from lake.survey import survey

    folder = new_lake(surveys=("catwise_andrae2023",))
    (file,) = (folder / "raw" / "catwise_andrae2023").iterdir()
    outside = tmp_path / file.name
    file.rename(outside)
    declared = survey("catwise_andrae2023")
    opened = lake.open(folder)
    ledger.register(opened.storage, declared, [outside])
    other = tmp_path / "other.fits.gz"
    other.write_bytes(outside.read_bytes())
    hashing = ledger._sha256

    def meanwhile(path: Path) -> str:
        ledger.register(opened.storage, declared, [other])
        return hashing(path)

    monkeypatch.setattr(ledger, "_sha256", meanwhile)
    plan(opened, save=False)
    assert str(other) in ledger.remembered(opened.storage, declared)["roots"]


def test_current_follows_a_file_that_was_remade_and_the_plain_catalogue_comes_back(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == BUILT
    key = next(part.key for part in manifest(folder, "catwise_andrae2023").partitions if part.key)
    (folder / key).unlink()
    (folder / "catalog-plain.yaml").unlink()
    assert nightly(folder) == BUILT
    assert (folder / "current" / "catwise_andrae2023" / Path(key).name).samefile(folder / key)
    (folder / "catalog-plain.yaml").unlink()
    assert nightly(folder) == NOTHING
    assert (folder / "catalog-plain.yaml").exists()


def test_lost_predictions_are_made_again(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published, folder)
    key = next(part.key for part in manifest(folder, "predictions_xp_mae").partitions if part.key)
    (folder / key).unlink()
    assert nightly(folder) == BUILT
    assert (folder / key).exists()
    assert nightly(folder) == NOTHING


def test_a_lake_that_is_moved_with_unfinished_work_continues_there(new_lake) -> None:
    folder = new_lake("here", ("gaia_dr3_source",))
    died = subprocess.run([sys.executable, "-c", CHILD, str(folder), "9"], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    moved = folder.rename(folder.with_name("there"))
    assert nightly(moved) == BUILT
    assert not list((moved / "scratch").glob("*/*"))


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


def test_an_unknown_model_is_not_nothing_to_do(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder, "--train", "xp_mea") == FAILED
    assert "no model 'xp_mea'" in capsys.readouterr().err


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
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED_CHILD.replace("if left < 0", "if left == -1"), str(folder), "12", name],
        capture_output=True,
        text=True,
        check=False,
    )
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
    assert "Traceback" not in err
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


@pytest.fixture
def archive(monkeypatch) -> Iterator[Callable[..., Files]]:
    """Return a function that lets a server of ours be the archive of a survey, with some of its files."""
    with file_server() as (url, files):

        def serve(name: str, raw: Sequence[Path], lost: Sequence[str] = ()) -> Files:
            for path in raw:
                if path.name not in lost:
                    files.add(path.name, path.read_bytes())
            request = Http(urls=tuple(f"{url}/{path.name}" for path in raw))
            known = commands.declared
            fetched = dataclasses.replace(survey(name), fetch=request)
            monkeypatch.setattr(commands, "declared", lambda other: fetched if other == name else known(other))
            monkeypatch.setattr(fetching, "PATIENCE", Patience(tries=2, pause=0.01, longest_pause=0.02, come_back=1.0))
            return files

        yield serve


def test_a_nightly_fetches_first_and_builds_what_came(new_lake, sky, archive) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    files = archive("catwise_andrae2023", sky.files["catwise_andrae2023"])
    assert nightly(folder, "--fetch", "catwise_andrae2023", "--dry-run") == BUILT
    assert files.sent.total() == 0
    assert nightly(folder, "--fetch", "catwise_andrae2023") == BUILT
    assert "catwise_andrae2023" in lake.open(folder).published
    assert [step["step"] for step in record(folder)["steps"]][:2] == ["fetch catwise_andrae2023", "plan"]
    before = kept(folder)
    assert nightly(folder, "--fetch", "catwise_andrae2023") == NOTHING
    assert {path for path in kept(folder)} == set(before)


def test_a_fetch_that_misses_a_file_fails_the_night_after_the_rest_is_built(new_lake, sky, archive, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    raw = sky.files["gaia_dr3_source"]
    files = archive("gaia_dr3_source", raw, lost=[raw[0].name])
    assert nightly(folder, "--fetch", "gaia_dr3_source") == FAILED
    assert "gaia_dr3_source could not be fetched whole: 1 absent" in capsys.readouterr().err
    assert {"catwise_andrae2023", "gaia_dr3_source"} <= set(lake.open(folder).published)
    rows = lake.open(folder).table("gaia_dr3_source").rows
    assert record(folder)["failures"][0]["what"] == "fetch gaia_dr3_source"
    files.add(raw[0].name, raw[0].read_bytes())
    assert nightly(folder, "--fetch", "gaia_dr3_source") == BUILT
    assert lake.open(folder).table("gaia_dr3_source").rows > rows


def test_a_survey_that_no_program_can_fetch_is_refused_before_anything_is_done(new_lake, capsys) -> None:
    by_hand = next(one.name for one in surveys().values() if one.fetch is None)
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder, "--fetch", by_hand) == FAILED
    assert "cannot be fetched by a program" in capsys.readouterr().err
    assert not (folder / "tables").exists()
