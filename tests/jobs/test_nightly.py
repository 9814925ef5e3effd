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

import pytest
import yaml

import lake
from jobs import commands, fetching
from lake.declaration import Http
from lake.download import Patience
from lake.survey import survey, surveys
from tests.lake.servers import Files, file_server

from .nights import (
    BUILT,
    BUSY,
    CHILD,
    FAILED,
    NOTHING,
    change_one_value,
    kept,
    manifest,
    nightly,
    record,
    sources,
)


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
    monkeypatch.setattr("jobs.workers.Workers.client", lambda self: pytest.fail("a cluster was started"))
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


def test_an_unknown_model_is_not_nothing_to_do(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder, "--train", "xp_mea") == FAILED
    assert "no model 'xp_mea'" in capsys.readouterr().err


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


def test_a_nightly_on_a_lake_without_raw_files_says_how_to_name_some(new_lake, capsys) -> None:
    assert nightly(new_lake(surveys=())) == NOTHING
    assert "nothing to do: no raw files are registered; name some with `gaialake ingest SURVEY --raw PATH...`" in (
        capsys.readouterr().out
    )
