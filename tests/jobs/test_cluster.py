"""Profiles, the jobs they submit, and what reaches the person who reads when a worker or a scheduler fails."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dask
import pytest
import yaml

from jobs.batch import lifetime, walltime_seconds
from jobs.cli import main
from jobs.cluster import cluster, job_script
from jobs.profiles import PROFILES, profile
from lake.errors import LakeError


def site(folder: Path, text: str) -> str:
    """Write a profile and return what --profile takes."""
    (folder / "site.yaml").write_text(text)
    return str(folder / "site.yaml")


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_in_deploy_is_sound(path: Path) -> None:
    chosen = profile(path.stem)
    assert chosen.cluster
    script = job_script(path.stem)
    assert (script is not None) == (chosen.cluster in ("slurm", "pbs"))


def test_an_unknown_profile_is_answered_with_those_that_exist() -> None:
    with pytest.raises(LakeError, match="no profile 'mars'; there are kubernetes, local, pbs, serial, slurm-cpu, slurm-gpu"):
        profile("mars")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distributed: {}\n", "no section `gaialake`"),
        ("gaialake: [1\n", "not a YAML file"),
        ("gaialake: {cluster: quantum}\n", "cluster 'quantum' is unknown; there are local, none, slurm, pbs, or `scheduler:"),
        (
            "gaialake: {cluster: local, worker: 4}\n",
            "gaialake.worker is unknown; cluster 'local' takes cluster, workers, memory-limit",
        ),
        ("gaialake: {cluster: slurm, queue: cpu}\n", "gaialake.queue is unknown; .* `distributed` and `jobqueue`"),
        ("gaialake: {cluster: local, scheduler: 'tcp://a:1'}\n", "give one of them"),
        ("gaialake: {scheduler: head-node}\n", "gaialake.scheduler: 'head-node' is not an address, such as tcp://HOST:PORT"),
        ("gaialake: {cluster: slurm, jobs: 0}\n", "gaialake.jobs: 0 is not a number of jobs"),
        ("gaialake: {cluster: local, workers: many}\n", "gaialake.workers: 'many' is not `auto` or a number"),
        ("gaialake: {cluster: slurm, resources: GPU}\n", "gaialake.resources: 'GPU' is not a mapping"),
        ("gaialake: {cluster: local, worker-timeout: soon}\n", "gaialake.worker-timeout: 'soon' is not a time"),
    ],
)
def test_a_profile_that_says_what_does_not_exist_is_refused_with_what_does(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LakeError, match=said):
        profile(site(tmp_path, text))


def test_the_environment_comes_before_a_profile_as_always_with_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_GAIALAKE__SCHEDULER", "tls://elsewhere:9999")
    monkeypatch.setenv("DASK_GAIALAKE__WORKER_TIMEOUT", "5 s")
    chosen = profile("kubernetes")
    assert chosen.own["scheduler"] == "tls://elsewhere:9999"
    assert chosen.worker_timeout == 5


SLURM_CPU = """\
#!/usr/bin/env bash

#SBATCH -J gaialake-worker
#SBATCH -e gaialake-logs/gaialake-worker-%J.err
#SBATCH -o gaialake-logs/gaialake-worker-%J.out
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=30G
#SBATCH -t 08:00:00
export DASK_CONFIG={profiles}/slurm-cpu.yaml
{python} -m distributed.cli.dask_worker tcp://SCHEDULER:PORT --name WORKER --nthreads 1 --memory-limit 3.73GiB --nworkers 8 \
--nanny --death-timeout 60 --lifetime 28200s --lifetime-stagger 300s
"""
SLURM_GPU = """\
#!/usr/bin/env bash

#SBATCH -J gaialake-worker
#SBATCH -e gaialake-logs/gaialake-worker-%J.err
#SBATCH -o gaialake-logs/gaialake-worker-%J.out
#SBATCH -p gpu
#SBATCH -n 1
#SBATCH --cpus-per-task=4
#SBATCH --mem=30G
#SBATCH -t 08:00:00
#SBATCH --gres=gpu:1
export DASK_CONFIG={profiles}/slurm-gpu.yaml
{python} -m distributed.cli.dask_worker tcp://SCHEDULER:PORT --name WORKER --nthreads 1 --memory-limit 29.80GiB --nanny \
--death-timeout 60 --lifetime 28200s --lifetime-stagger 300s --resources GPU=1
"""
PBS = """\
#!/usr/bin/env bash

#PBS -N gaialake-worker
#PBS -l select=1:ncpus=8:mem=30GB
#PBS -l walltime=08:00:00
#PBS -e gaialake-logs/
#PBS -o gaialake-logs/
export DASK_CONFIG={profiles}/pbs.yaml
{python} -m distributed.cli.dask_worker tcp://SCHEDULER:PORT --name WORKER --nthreads 1 --memory-limit 3.73GiB --nworkers 8 \
--nanny --death-timeout 60 --lifetime 28200s --lifetime-stagger 300s
"""


@pytest.mark.parametrize(("name", "script"), [("slurm-cpu", SLURM_CPU), ("slurm-gpu", SLURM_GPU), ("pbs", PBS)])
def test_the_job_of_a_profile_is_the_one_that_is_written_here(
    name: str, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert job_script(name) == script.format(profiles=PROFILES, python=sys.executable)
    assert not list(tmp_path.iterdir()), "describing a job leaves nothing behind"


def test_a_site_that_sets_lifetime_and_certificates_itself_gets_them(tmp_path: Path) -> None:
    script = job_script(
        site(
            tmp_path,
            """
gaialake: {cluster: slurm}
jobqueue: {slurm: {cores: 1, memory: 1 GB, walltime: "00:10:00", worker-extra-args: [--lifetime, 5m], log-directory: $HOME/logs}}
distributed: {comm: {require-encryption: true}}
""",
        )
    )
    assert script is not None
    assert "tls://SCHEDULER:PORT" in script
    assert "--lifetime 5m" in script
    assert "stagger" not in script
    assert f"#SBATCH -e {os.environ['HOME']}/logs/" in script


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{cores: 8, processes: 2, memory: 1 GB}", "8 cores for 2 processes are 4 threads per worker"),
        ("{memory: 1 GB}", "jobqueue.slurm needs `cores` and `memory`"),
        ("{cores: 1, memory: 1 GB, partition: cpu}", "jobqueue.slurm.partition is unknown; there are account, "),
        ("{cores: 1, memory: 1 GB, walltime: 10:00:00}", "36000 is no walltime; write it with quotes"),
    ],
)
def test_a_queue_section_that_would_go_wrong_on_the_cluster_is_refused_here(tmp_path: Path, section: str, said: str) -> None:
    with pytest.raises(LakeError, match=said):
        job_script(site(tmp_path, f"gaialake: {{cluster: slurm}}\njobqueue: {{slurm: {section}}}\n"))


@pytest.mark.parametrize("walltime", ["00:01:00", "00:10:00", "08:00:00", "7-00:00:00"])
def test_the_last_worker_leaves_before_the_walltime_and_the_first_not_much_earlier(walltime: str) -> None:
    seconds = walltime_seconds("slurm", walltime)
    assert seconds is not None
    lives, stagger = lifetime(seconds)
    assert seconds * 0.69 <= lives - stagger < lives + stagger <= seconds - 0.9 * min(300, seconds / 10)


def test_a_queue_without_its_library_is_answered_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(LakeError, match=r"pip install 'gaialake\[slurm\]'"):
        job_script("slurm-cpu")


def test_a_dry_run_shows_the_job_after_the_plan(new_lake, capsys: pytest.CaptureFixture) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    for verb in ("nightly", "check"):
        assert main(["--lake", str(folder), verb, "--dry-run", "--profile", "slurm-cpu"]) == 0
        said = capsys.readouterr().out
        assert said.index("gaia_dr3_source") < said.index("#SBATCH -t 08:00:00")
    assert main(["--lake", str(folder), "nightly", "--dry-run", "--profile", "local"]) == 0
    assert "SBATCH" not in capsys.readouterr().out


def test_an_error_meant_for_the_user_leaves_a_worker_without_a_traceback(capfd) -> None:
    def refuse(task: int) -> int:
        raise LakeError(f"file {task} is truncated")

    with pytest.raises(LakeError, match="file 1 is truncated"), cluster("local") as run:
        list(run("read", refuse, [1]))
    assert "Traceback" not in capfd.readouterr().err


def test_a_fault_of_ours_is_raised_as_it_is() -> None:
    def broken(task: int) -> float:
        return task / 0

    with pytest.raises(ZeroDivisionError), cluster("serial") as run:
        list(run("divide", broken, [1]))


def test_an_error_of_the_disk_on_a_worker_is_not_taken_for_a_lost_scheduler(tmp_path: Path) -> None:
    def full(task: int) -> int:
        raise TimeoutError("the file server does not answer")

    name = site(tmp_path, "gaialake: {cluster: local, workers: 1}\n")
    with pytest.raises(TimeoutError, match="the file server"), cluster(name) as run:
        list(run("write", full, [1]))


def test_dask_is_configured_by_the_profile_while_the_cluster_lives_and_no_longer(tmp_path: Path) -> None:
    def spill(task: int) -> float:
        return float(dask.config.get("distributed.worker.memory.spill"))

    before = dask.config.get("distributed.worker.memory.spill")
    name = site(tmp_path, "gaialake: {cluster: local, workers: 1}\ndistributed: {worker: {memory: {spill: 0.61}}}\n")
    with cluster(name) as run:
        assert list(run("look", spill, [1])) == [0.61]
    assert dask.config.get("distributed.worker.memory.spill") == before


@dataclass(frozen=True)
class Wanting:
    """A task that asks for a GPU."""

    number: int
    resources = {"GPU": 1}  # noqa: RUF012


def test_a_task_that_asks_for_a_gpu_runs_anywhere_where_no_worker_offers_one(tmp_path: Path) -> None:
    with cluster(site(tmp_path, "gaialake: {cluster: local, workers: 1}\n")) as run:
        assert list(run("predict", type, [Wanting(1)])) == [Wanting]


@contextlib.contextmanager
def dask_process(*command: str) -> Iterator[subprocess.Popen]:
    started = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen, subprocess.Popen]]:
    """Return the profile of a cluster that runs already, its scheduler and its worker."""
    file = tmp_path / "scheduler.json"
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    worker = (
        "distributed.cli.dask_worker",
        "--scheduler-file",
        str(file),
        "--nthreads",
        "1",
        "--no-nanny",
        "--death-timeout",
        "5",
    )
    with dask_process(*scheduler, "--dashboard-address", "127.0.0.1:0") as first:
        while not file.exists():
            time.sleep(0.05)
        with dask_process(*worker, "--no-dashboard") as second:
            address = yaml.safe_load(file.read_text())["address"]
            yield site(tmp_path, f"gaialake: {{scheduler: '{address}', worker-timeout: 2s}}\n"), first, second


def test_a_scheduler_killed_at_work_ends_the_run_at_once_and_says_what_to_do(running) -> None:
    name, scheduler, _ = running
    came = []
    with (
        pytest.raises(LakeError, match="scheduler was lost.* Finished work is kept: run the same command again"),
        cluster(name) as run,
    ):
        for one in run("sleep", time.sleep, [0.1] * 200):
            came.append(one)
            if len(came) == 3:
                scheduler.send_signal(signal.SIGKILL)
                killed = time.monotonic()
    assert time.monotonic() - killed < 20
    assert 3 <= len(came) < 200


def test_a_scheduler_killed_between_two_steps_ends_the_next_one(running) -> None:
    name, scheduler, _ = running
    with pytest.raises(LakeError, match="scheduler was lost"), cluster(name) as run:
        assert list(run("first", abs, [-1])) == [1]
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        list(run("second", abs, [-1]))


def test_a_cluster_whose_workers_are_gone_is_waited_for_with_words_and_not_for_ever(running, capsys) -> None:
    name, _, worker = running
    with (
        pytest.raises(LakeError, match="no worker for 2 s, the limit of gaialake.worker-timeout; .* start workers there"),
        cluster(name) as run,
    ):
        for _ in run("sleep", time.sleep, [0.1] * 200):
            worker.send_signal(signal.SIGKILL)
    assert "waiting for a worker since" in capsys.readouterr().out


def test_a_scheduler_that_is_not_there_is_named_with_its_address(tmp_path: Path) -> None:
    name = site(tmp_path, "gaialake: {scheduler: 'tcp://127.0.0.1:1'}\ndistributed: {comm: {timeouts: {connect: 500ms}}}\n")
    with pytest.raises(LakeError, match="no Dask scheduler answers at tcp://127.0.0.1:1"), cluster(name) as run:
        list(run("read", abs, [1]))


def test_a_run_leaves_the_configuration_of_dask_as_it_found_it() -> None:
    code = """
import dask
from jobs.cluster import cluster
with cluster("local") as run:
    assert list(run("double", abs, [-1])) == [1]
import dask.dataframe, pandas
print(dask.config.get("distributed.comm.timeouts.connect"), dask.config.get("distributed.scheduler.allowed-failures"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "30s 3"


def test_a_queue_that_refuses_jobs_is_quoted_and_nobody_waits(new_lake, tmp_path: Path) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid account' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    command = [sys.executable, "-m", "jobs.cli", "--lake", str(folder), "nightly", "--profile", "slurm-cpu"]
    path = {**os.environ, "PATH": f"{sbatch.parent}:{os.environ['PATH']}"}
    # Dask's own last try to close such a cluster would take ten seconds.
    ran = subprocess.run(command, env=path, cwd=sbatch.parent, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "invalid account" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "invalid account" in json.loads((folder / "reports" / "last.json").read_text())["error"]
