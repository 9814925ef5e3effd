"""Kill workers, the scheduler and the driver of a nightly at random moments, run it again, and compare the lake byte by byte.

``python tests/chaos.py --seeds 20`` prints one line per seed; a test runs three of them. The sky is synthetic.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import intake
import psutil
import yaml

import lake
from jobs.cli import main
from jobs.sky import make_sky
from lake.manifest import files_gone, read_manifest

STARS, LEAF_ROWS, WORKERS, MODEL = 3_000, 200, 2, "xp_mae"
SURVEYS = ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023", "galah_dr3", "unwise_neo6")
# Most of these are spent before a run gets through, for a run takes some ten seconds.
DISTURBANCES, PATIENCE = 4, 240.0


@dataclass
class Report:
    """What one seed did, and what is wrong with the lake it left."""

    seed: int
    kills: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    looks: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return one line."""
        found = "; ".join(self.problems) or "equal to the undisturbed lake"
        return (
            f"seed {self.seed:3d}: {self.seconds:5.0f} s, killed {', '.join(self.kills) or 'nothing'}; exits {self.exits}; "
            f"the catalogue was opened {self.looks} times; {found}"
        )


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make the lake that every seed starts from, half of its raw files built and a model trained, and the undisturbed one.

    Returns
    -------
    base, reference
        The base has the other half of the raw files at hand, not yet built.
    """
    sky = make_sky(folder / "sky", stars=STARS)
    base, reference = folder / "base", folder / "reference"
    later: list[tuple[Path, Path]] = []
    for survey in SURVEYS:
        target = base / "raw" / survey
        target.mkdir(parents=True)
        files = sorted((sky.folder / survey).iterdir())
        for number, file in enumerate(files):
            if number % 2 == 0 or len(files) == 1:
                shutil.copy2(file, target)
            else:
                later.append((file, target))
    _run("init", str(base), "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS))
    _run("--lake", str(base), "nightly", "--profile", "serial")
    _run("--lake", str(base), "train", MODEL, "--preset", "debug", "--profile", "serial")
    _run("--lake", str(base), "nightly", "--profile", "serial")
    for file, target in later:
        shutil.copy2(file, target)
    _copy(base, reference)
    _run("--lake", str(reference), "nightly", "--profile", "local")
    return base, reference


def _run(*arguments: str) -> None:
    code = main(list(arguments))
    if code:
        raise SystemExit(f"gaialake {' '.join(arguments)} ended with {code}")


def _copy(base: Path, target: Path) -> None:
    """Copy a lake with the times of its files, so that their hashes stay known."""
    shutil.copytree(base, target, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("current"))


def disturb(seed: int, base: Path, reference: Path, folder: Path) -> Report:
    """Run nightlies on a copy of the base, kill something at random moments, and compare what comes of it."""
    rng, report, begun = random.Random(seed), Report(seed), time.monotonic()
    where = folder / f"seed-{seed}"
    _copy(base, where)
    with _cluster(rng.random() < 0.5, folder / f"cluster-{seed}") as cluster, _watched(where, report):
        left = DISTURBANCES
        while time.monotonic() - begun < PATIENCE:
            cluster.mend()
            driver = _start(where, cluster.profile)
            left = _disturb_one(driver, cluster, rng, report, left)
            report.exits.append(driver.wait(PATIENCE))
            if report.exits[-1] in (0, 3):
                break
        else:
            report.problems.append(f"not done after {PATIENCE:.0f} s")
    report.problems += differences(where, reference)
    report.problems += [f"a process is left behind: {one}" for one in _left_behind(where)]
    report.seconds = time.monotonic() - begun
    if not report.problems:
        shutil.rmtree(where)
    return report


def _start(where: Path, profile: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "jobs.cli", "--lake", str(where), "nightly", "--profile", profile]
    with (where.parent / f"{where.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _disturb_one(driver: "subprocess.Popen[bytes]", cluster: "_Cluster", rng: random.Random, report: Report, left: int) -> int:
    """Kill what chance says for as long as this run goes on and disturbances are left; return how many are."""
    while left and driver.poll() is None:
        try:
            driver.wait(rng.uniform(1.0, 9.0))
            break
        except subprocess.TimeoutExpired:
            left -= 1
        victim = rng.choice(["worker", "worker", "driver", "scheduler" if cluster.scheduler else "driver", "terminated driver"])
        if victim == "worker":
            workers = cluster.worker_processes() if cluster.scheduler else _children(driver.pid)
            if workers:
                _kill(rng.choice(workers))
                report.kills.append("worker")
        elif victim == "scheduler" and cluster.scheduler:
            _kill(psutil.Process(cluster.scheduler.pid))
            report.kills.append("scheduler")
            driver.wait(PATIENCE)
        else:
            how = signal.SIGTERM if victim == "terminated driver" else signal.SIGKILL
            driver.send_signal(how)
            report.kills.append(f"driver ({how.name})")
            driver.wait(PATIENCE)
    return left


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _children(pid: int) -> list[psutil.Process]:
    try:
        return [one for one in psutil.Process(pid).children(recursive=True) if "resource_tracker" not in " ".join(one.cmdline())]
    except psutil.NoSuchProcess:
        return []


class _Cluster:
    """Where a seed's runs go: the profile local, or a scheduler and workers of their own that are started again when killed."""

    def __init__(self, folder: Path, *, own: bool) -> None:
        self._folder = folder
        self.scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._own, self._port = own, _free_port()
        self.profile = "local"
        if own:
            folder.mkdir()
            self.profile = str(folder / "existing.yaml")
            Path(self.profile).write_text(yaml.safe_dump({"gaialake": {"scheduler": f"tcp://127.0.0.1:{self._port}"}}))

    def mend(self) -> None:
        """Start what is not running, as a service manager would."""
        if not self._own:
            return
        if self.scheduler is None or self.scheduler.poll() is not None:
            for worker in self._workers:
                worker.kill()
                worker.wait()
            self._workers = []
            self.scheduler = self._dask("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")
            _wait_for_port(self._port)
        self._workers = [one for one in self._workers if one.poll() is None]
        while len(self._workers) < WORKERS:
            flags = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self._folder))
            self._workers.append(self._dask("worker", f"tcp://127.0.0.1:{self._port}", *flags))

    def worker_processes(self) -> list[psutil.Process]:
        """Return the worker processes, nannies and what they started."""
        alive = [psutil.Process(one.pid) for one in self._workers if one.poll() is None]
        return [*alive, *(child for one in alive for child in _children(one.pid))]

    def _dask(self, *command: str) -> "subprocess.Popen[bytes]":
        arguments = [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]]
        with (self._folder / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)

    def close(self) -> None:
        """Stop what is running."""
        running = [*self._workers, *([self.scheduler] if self.scheduler else [])]
        for one in running:
            for child in _children(one.pid):
                _kill(child)
            one.kill()
            one.wait()


@contextmanager
def _cluster(own: bool, folder: Path) -> Iterator[_Cluster]:  # noqa: FBT001
    cluster = _Cluster(folder, own=own)
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def _watched(where: Path, report: Report) -> Iterator[None]:
    """Open the published catalogue all the time, as readers do, and note whatever is not whole."""
    done = threading.Event()
    rng = random.Random(report.seed)

    def look() -> None:
        while not done.wait(0.1):
            try:
                _read_something(where, rng)
            except Exception as error:  # noqa: BLE001
                report.problems.append(f"the catalogue did not open whole: {error!r}")
                return
            report.looks += 1

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _read_something(where: Path, rng: random.Random) -> None:
    """Open all tables, make sure that all of their files are there, and read a part of one through Intake."""
    opened = lake.open(where)
    for name in opened.names:
        manifest = opened.table(name).manifest
        gone = files_gone(opened.storage, manifest.partitions)
        assert not gone, f"{name}: {gone}"
    catalog = intake.open_catalog(str(where / "catalog.yaml"))
    name = rng.choice(opened.names)
    frame = catalog[name].to_dask()
    frame.get_partition(rng.randrange(frame.npartitions)).compute(scheduler="sync")


def differences(one: Path, other: Path) -> list[str]:
    """Return in what two lakes differ: published tables, manifests, the bytes of files, and what killed runs left."""
    ours, theirs = lake.open(one), lake.open(other)
    found = []
    if ours.names != theirs.names:
        return [f"published are {ours.names}, not {theirs.names}"]
    for name in ours.names:
        mine, wanted = ours.table(name).manifest, theirs.table(name).manifest
        if mine.stable_json() != wanted.stable_json():
            keys = [key for key, value in mine.stable_json().items() if value != wanted.stable_json()[key]]
            found.append(f"the manifests of {name} differ in {keys}")
        again = read_manifest(ours.storage, name, mine.build)
        for part in again.partitions:
            if part.key and _sha256(one / part.key) != _sha256(other / part.key):
                found.append(f"{part.key} differs")
    files, wanted_files = _data_files(one), _data_files(other)
    found += [f"{key} is there once only" for key in sorted(files ^ wanted_files)]
    found += [f"remains of a killed run: {path}" for path in sorted(one.glob("tables/**/.*"))]
    found += [f"scratch is left: {path}" for path in sorted(one.glob("scratch/*/*"))]
    return found


def _data_files(where: Path) -> set[str]:
    return {str(path.relative_to(where)) for path in where.glob("tables/*/*/*.parquet")}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _left_behind(where: Path) -> list[str]:
    """Return what still runs for this lake some seconds later."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        running = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
        found = [" ".join(one) for one in running if str(where) in one]
        if not found:
            return []
        time.sleep(0.5)
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing answers at port {port}")


def run() -> int:
    """Run the seeds that the command line asks for; return 1 if any lake differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", metavar="DIR", help="keep lakes that differ and the logs of all runs in this new folder")
    options = parser.parse_args()
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix="gaialake-chaos-") as name:
        folder = Path(name).resolve()
        base, reference = prepare(folder)
        reports = []
        for seed in range(options.first, options.first + options.seeds):
            reports.append(disturb(seed, base, reference, folder))
            print(reports[-1], flush=True)
    kills = [kill for report in reports for kill in report.kills]
    said = ", ".join(f"{kills.count(kind)} times the {kind}" for kind in sorted(set(kills)))
    bad = [report for report in reports if report.problems]
    looks = sum(report.looks for report in reports)
    print(f"{len(reports)} seeds: killed {said}; catalogue opened {looks} times; {len(bad)} lakes differ")
    return 1 if bad else 0


if __name__ == "__main__":
    os.environ["PYTHONHASHSEED"] = "0"
    sys.exit(run())
