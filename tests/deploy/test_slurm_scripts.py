import re
import subprocess
from pathlib import Path

import pytest

from lake.partition import Grid
from lake.root import Lake, init_lake, open_lake
from lake.survey import survey
from tests.conftest import random_ids
from tests.jobs.slurm import until

SCRIPTS = {"nightly": (), "parts": ("--array=1-4",), "predict": (), "static": ("--ntasks=4",), "train": ("--mem=1G",)}


@pytest.fixture
def empty(tmp_path: Path, grid: Grid) -> Lake:
    return init_lake(tmp_path / "lake", grid=grid)


@pytest.fixture
def submit(slurm, deploy, empty, tmp_path, monkeypatch):
    """Return the function that submits one of the scripts from an empty folder and returns the id of its job."""
    logs = tmp_path / "logs"
    logs.mkdir()
    monkeypatch.chdir(logs)
    monkeypatch.setenv("GAIALAKE", str(empty.storage.root))
    monkeypatch.setenv("GAIALAKE_HOME", str(deploy.parent))
    monkeypatch.setenv("PROFILE", "serial")

    def submitted(name: str, venv: Path, *arguments: str, options: tuple[str, ...] = ()) -> str:
        monkeypatch.setenv("VENV", str(venv))
        return slurm("sbatch", "--parsable", *options, str(deploy / f"slurm/{name}.sbatch"), *arguments)

    yield submitted
    subprocess.run(["scancel", "--user=root"], check=True)
    until(lambda: not slurm.jobs())


def _ended(slurm, job: str) -> None:
    until(lambda: slurm.state(job) in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"), 60)


def _waiting(slurm) -> list[str]:
    """Return name and begin of the jobs that wait."""
    return slurm("squeue", "--noheader", "--states=PENDING", "--format=%j %S").splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
def test_slurm_takes_every_script(slurm, deploy, script):
    slurm("sbatch", "--test-only", *SCRIPTS[script], str(deploy / f"slurm/{script}.sbatch"))


def test_a_night_with_nothing_to_do_is_no_failure_and_the_next_one_waits(slurm, submit, venv):
    job = submit("nightly", venv)
    _ended(slurm, job)
    assert "nothing to do" in Path(f"gaialake-nightly-{job}.log").read_text()
    assert (slurm.state(job), slurm.exit_code(job)) == ("COMPLETED", 0)
    (waits,) = _waiting(slurm)
    assert re.fullmatch(r"gaialake-nightly \d{4}-\d\d-\d\dT02:00:00", waits)


def test_a_night_that_fails_keeps_its_exit_code_and_has_a_successor(slurm, submit, stand_in):
    job = submit("nightly", stand_in("exit 1"))
    _ended(slurm, job)
    assert (slurm.state(job), slurm.exit_code(job), len(_waiting(slurm))) == ("FAILED", 1, 1)


def test_a_night_that_runs_again_on_another_node_has_one_successor(slurm, submit, stand_in):
    job = submit("nightly", stand_in('[ "$SLURM_RESTART_COUNT" ] || exec sleep 60'))
    until(lambda: slurm.state(job) == "RUNNING" and _waiting(slurm))
    slurm("scontrol", "requeue", job)
    until(lambda: slurm.state(job) == "PENDING")
    # Slurm waits two minutes before it starts a job again.
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    _ended(slurm, job)
    assert (slurm.state(job), len(_waiting(slurm))) == ("COMPLETED", 1)


def test_the_next_night_runs_with_the_settings_of_the_first(slurm, submit, stand_in):
    job = submit("nightly", stand_in('echo "$GAIALAKE $*" >>nights'), "--train", "xp mae")
    _ended(slurm, job)
    (following,) = slurm.jobs("PD")
    slurm("scontrol", "update", f"JobId={following}", "StartTime=now")
    _ended(slurm, following)
    first, second = Path("nights").read_text().splitlines()
    assert first == second
    assert first.endswith("lake nightly --profile serial --train xp mae")
    assert len(_waiting(slurm)) == 1


def test_a_night_that_is_out_of_time_is_stopped_in_order(slurm, submit, stand_in):
    job = submit("nightly", stand_in("trap 'sleep 1; echo in order >stopped; exit 130' TERM; while :; do sleep 0.1; done"))
    until(lambda: slurm.state(job) == "RUNNING" and _waiting(slurm))
    # What Slurm itself does two minutes before the end, by --signal=B:TERM@120.
    slurm("scancel", "--batch", "--signal=TERM", job)
    _ended(slurm, job)
    assert slurm.exit_code(job) == 130
    assert Path("stopped").read_text() == "in order\n"


def test_elements_of_an_array_take_the_shares_from_one_to_n(slurm, submit, stand_in):
    says = stand_in("echo $*")
    submit("parts", says, "ingest", "gaia_dr3_source", options=("--array=1-2",))
    until(lambda: not slurm.jobs())
    said = sorted(path.read_text() for path in Path().glob("gaialake-parts-*.log"))
    assert said == [f"ingest gaia_dr3_source --part {i}/2 --profile serial\n" for i in (1, 2)]


def test_elements_that_run_again_keep_the_shares_of_the_whole(slurm, submit, stand_in, monkeypatch):
    monkeypatch.setenv("PARTS", "50")
    submit("parts", stand_in("echo $*"), "predict", "xp_mae", options=("--array=7",))
    until(lambda: not slurm.jobs())
    (log,) = Path().glob("gaialake-parts-*.log")
    assert log.read_text() == "predict xp_mae --part 7/50 --profile serial\n"


def test_an_array_that_begins_with_nought_is_refused(slurm, submit, venv):
    job = submit("parts", venv, "ingest", "gaia_dr3_source", options=("--array=0",))
    _ended(slurm, job)
    assert slurm.state(job) == "FAILED"
    (log,) = Path().glob("gaialake-parts-*.log")
    assert "0/1" in log.read_text()


def test_a_model_trains_on_the_gpu_that_was_asked_for(slurm, submit, stand_in):
    job = submit("train", stand_in('echo "$CUDA_VISIBLE_DEVICES: $*"'), "xp_mae", options=("--mem=1G",))
    _ended(slurm, job)
    assert Path(f"gaialake-train-{job}.log").read_text() == "0: train xp_mae --profile serial\n"


@pytest.mark.slow
def test_one_allocation_builds_a_lake_with_encrypted_workers(slurm, submit, venv, empty, synthetic, tmp_path):
    declared = survey("gaia_dr3_source")
    rows = synthetic.rows(declared, random_ids(200, 3))
    raw = empty.storage.path("raw/gaia_dr3_source")
    raw.mkdir(parents=True)
    synthetic.write(declared, rows, raw / "GaiaSource_000000-786431.csv.gz", "bulk_csv")
    job = submit("static", venv, "nightly", options=("--ntasks=3", "--mem-per-cpu=2G"))
    _ended(slurm, job)
    log = Path(f"gaialake-static-{job}.log").read_text()
    assert slurm.exit_code(job) == 0, log
    assert open_lake(empty.storage.root).table("gaia_dr3_source").rows == 200
    dask = Path(f"gaialake-static-{job}-dask.log").read_text()
    assert "Register worker addr: tls://" in dask
    assert "tcp://" not in dask
    assert not list(Path().glob(".gaialake-*")), "the key is still there"
