"""Work on a real Slurm: the same lake as in one process, whatever Slurm does to the jobs."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dask
import pytest
import yaml
from distributed import get_worker

from jobs.cli import main
from jobs.cluster import cluster
from jobs.profiles import PROFILES
from jobs.sky import Sky
from lake.manifest import read_manifest
from lake.root import open_lake
from lake.storage import Storage
from tests.jobs.slurm import Slurm, until

ROOT = Path(__file__).resolve().parents[2]
NIGHTLY = ROOT / "deploy" / "slurm" / "nightly.sbatch"
SURVEYS = ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023")
LEAF_ROWS = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, sky: Sky) -> Path:
    """Return a lake of which nothing is built yet."""
    folder = tmp_path_factory.mktemp("raw") / "lake"
    for survey in SURVEYS:
        shutil.copytree(sky.folder / survey, folder / "raw" / survey)
    assert main(["init", str(folder), "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
    return folder


@pytest.fixture(scope="module")
def made_by_one(raw: Path) -> Path:
    """Return the same lake, built by one process."""
    folder = raw.with_name("one")
    shutil.copytree(raw, folder)
    assert main(["--lake", str(folder), "nightly", "--profile", "serial"]) == 0
    return folder


@pytest.fixture
def fresh(raw: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raw, tmp_path / "lake"))


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., str]:
    """Return what makes this machine's profile out of one in deploy: copied, with the facts of the site changed."""

    def make(name: str = "slurm-cpu", jobs: int = 2, **queue: object) -> str:
        facts = {
            "gaialake": {"jobs": jobs, "worker-timeout": "90 s"},
            "jobqueue": {
                "slurm": {
                    "interface": "lo",
                    "cores": 1,
                    "processes": 1,
                    "job-cpu": 1,
                    "memory": "1500 MB",
                    "walltime": "00:05:00",
                    "log-directory": str(tmp_path / "logs"),
                    "local-directory": str(tmp_path),
                    "job-script-prologue": [f"export PYTHONPATH={ROOT}"],
                    "scheduler-options": {"dashboard_address": "127.0.0.1:0"},
                    **queue,
                }
            },
            "distributed": {"deploy": {"lost-worker-timeout": "1s"}},
        }
        deployed = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(dask.config.merge(deployed, facts)))
        return str(file)

    return make


def contents(lake: Path) -> dict[str, object]:
    """Return what a lake holds: the manifest of every published build without its circumstances, and the bytes of its files."""
    storage = Storage.at(str(lake))
    held: dict[str, object] = {}
    for table, key in open_lake(str(lake)).published.items():
        manifest = read_manifest(storage, table, Path(key).stem)
        held[key] = manifest.stable_json()
        held |= {part.key: (lake / part.key).read_bytes() for part in manifest.partitions if part.key}
    return held


def finished(lake: Path) -> dict[Path, int]:
    """Return the files of partitions that are done; one that is made again is another file."""
    return {path: path.stat().st_ino for path in lake.glob("tables/*/*/*.parquet") if not path.name.startswith(".")}


def made_again(before: dict[Path, int], lake: Path) -> int:
    """Return how many of them; a worker that is killed may have written a file and not its record."""
    return len(before.items() - finished(lake).items())


def test_the_nightly_on_slurm_makes_the_lake_of_one_process_and_a_cancelled_job_costs_only_its_own_task(
    slurm: Slurm, fresh, made_by_one, site
) -> None:
    done: dict[Path, int] = {}

    def cancel() -> None:
        until(lambda: len(finished(fresh)) > 2, 60)
        done.update(finished(fresh))
        slurm("scancel", slurm.jobs("R")[0])

    with meanwhile(cancel):
        assert main(["--lake", str(fresh), "nightly", "--profile", site()]) == 0
    assert contents(fresh) == contents(made_by_one)
    assert len(done) > 2
    assert made_again(done, fresh) <= 1
    until(lambda: not slurm.jobs())


class meanwhile:  # noqa: N801
    """Do something in another thread while the block runs; what it raised is raised at the end."""

    def __init__(self, deed: Callable[[], None]) -> None:
        self._deed, self._error = deed, None
        self._thread = threading.Thread(target=self._do)

    def _do(self) -> None:
        try:
            self._deed()
        except BaseException as error:  # noqa: BLE001
            self._error = error

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._thread.join()
        if self._error:
            raise self._error


@dataclass(frozen=True)
class Until:
    """A task that lasts until a file is there, a second at most, and counts its executions."""

    number: int
    flag: Path

    def __call__(self) -> str:
        with (self.flag.parent / f"executed-{self.number}").open("a") as file:
            file.write("x")
        end = time.monotonic() + 1
        while not self.flag.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return os.environ["SLURM_JOB_ID"]


def test_jobs_whose_walltime_ends_are_replaced_and_their_finished_tasks_stay_done(slurm: Slurm, tmp_path: Path, site) -> None:
    struck: list[str] = []

    def strike() -> None:
        until(lambda: len(list(tmp_path.glob("executed-*"))) > 4, 60)
        struck.extend(slurm.jobs("R"))
        slurm("scontrol", "update", f"JobId={struck[0]}", "TimeLimit=0")
        until(lambda: slurm.state(struck[0]) == "TIMEOUT", 60)
        until(lambda: slurm.jobs("R") not in ([], struck), 30)
        (tmp_path / "flag").touch()

    tasks = [Until(number, tmp_path / "flag") for number in range(200)]
    with meanwhile(strike), cluster(site(jobs=1, cores=2, processes=2)) as run:
        ran = list(run("wait", Until.__call__, tasks))
    assert len(ran) == len(tasks)
    assert len(set(ran)) == 2, "one job, and the one in its place"
    again = [len(path.read_text()) for path in tmp_path.glob("executed-*")].count(2)
    assert again <= 2, "only what the two workers had in hand"


def test_workers_leave_when_their_lifetime_ends_and_others_come(slurm: Slurm, tmp_path: Path, site) -> None:
    tasks = [Until(number, tmp_path / "flag") for number in range(200)]
    with cluster(site(jobs=1, **{"worker-extra-args": ["--lifetime", "8s"]})) as run:
        ran = []
        for job in run("wait", Until.__call__, tasks):
            ran.append(job)
            if len(set(ran)) == 2:
                (tmp_path / "flag").touch()
    assert len(ran) == len(tasks)


@dataclass(frozen=True)
class Wanting:
    """A task that asks for a GPU."""

    number: int
    resources = {"GPU": 1}  # noqa: RUF012


def device(task: object) -> tuple[str, str]:
    """Return the GPU that a task may see, and the address of the scheduler."""
    time.sleep(0.2)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "none"), get_worker().scheduler.address


def test_gpu_jobs_have_a_gpu_each_and_tasks_that_want_one_run_nowhere_else(slurm: Slurm, tmp_path: Path, site) -> None:
    with cluster(site("slurm-gpu")) as run:
        until(lambda: len(slurm.jobs("R")) == 2 or list(run("start", device, [0])))
        ran = set(run("look", device, [Wanting(number) for number in range(60)]))
        assert {gpu for gpu, _ in ran} == {"0", "1"}
        ((_, scheduler), *_) = ran
        command = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            scheduler,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
        ]
        plain = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path)
        try:
            until(lambda: "none" in {gpu for gpu, _ in run("look", device, range(6))})
            assert {gpu for gpu, _ in run("look", device, [Wanting(number) for number in range(12)])} <= {"0", "1"}
        finally:
            plain.terminate()
            plain.wait()


def test_a_nightly_in_a_job_stops_in_order_before_its_walltime_and_the_next_one_ends_it(
    slurm: Slurm, fresh, made_by_one, site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "gaialake"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m jobs.cli "$@"\n')
    command.chmod(0o755)
    for name, value in {"GAIALAKE": fresh, "GAIALAKE_HOME": ROOT, "VENV": tmp_path, "PROFILE": site()}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)

    first = slurm("sbatch", "--parsable", str(NIGHTLY))
    until(lambda: len(finished(fresh)) > 2, 60)
    # What `#SBATCH --signal=B:TERM@120` sends.
    slurm("scancel", "--batch", f"--signal={signal.SIGTERM.name}", first)
    until(lambda: slurm.state(first) == "FAILED")
    assert slurm.exit_code(first) == 130
    said = (tmp_path / f"gaialake-nightly-{first}.log").read_text()
    assert "run the same command again" in said
    done = finished(fresh)
    (tomorrow,) = slurm.jobs("PD")
    until(lambda: slurm.jobs() == [tomorrow])
    slurm("scancel", tomorrow)

    second = slurm("sbatch", "--parsable", str(NIGHTLY))
    until(lambda: slurm.state(second) == "COMPLETED", 60)
    slurm("scancel", *slurm.jobs("PD"))
    assert contents(fresh) == contents(made_by_one)
    assert made_again(done, fresh) <= 2
