"""Measure CPU seconds and memory of a process tree, and hold what one line of the table says."""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

_EVERY = 0.05
_PAGE = 4096


@dataclass(frozen=True)
class Setting:
    """What a benchmark is told: where its data may lie, how large they are, how often to repeat.

    Attributes
    ----------
    rows
        Rows of the large tables (joins, look-ups, memory); text and layout benchmarks use fractions of it.
    """

    folder: Path
    rows: int = 2_000_000
    rounds: int = 3


@dataclass(frozen=True)
class Usage:
    """What a piece of work cost.

    Attributes
    ----------
    cpu, wall
        Seconds; `cpu` is user + system of the process and all its descendants.
    peaks
        Process id -> largest resident memory seen while it ran [byte], sampled every 50 ms.
    result
        What the work returned.
    """

    cpu: float
    wall: float
    peaks: Mapping[int, int] = field(default_factory=dict)
    result: Any = None

    @property
    def peak(self) -> int:
        """Largest resident memory of any one process [byte]."""
        return max(self.peaks.values(), default=0)


@dataclass(frozen=True)
class Line:
    """One line of the table. Ratios are of CPU seconds within one run; `met` is None where there is no goal."""

    bench: str
    what: str
    usage: Usage
    to_peer: float | None = None
    to_floor: float | None = None
    goal: str = ""
    met: bool | None = None
    note: str = ""


def tree() -> list[psutil.Process]:
    """Return this process and its living descendants."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def tree_cpu() -> float:
    """Return the CPU seconds that this process, its living descendants and those that ended have used."""
    total = 0.0
    for process in tree():
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


class _Sampler(threading.Thread):
    """Note the resident memory of every process of the tree until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[int, int] = {}
        self._done = threading.Event()

    def run(self) -> None:
        beats = 0
        pids: list[int] = []
        while not self._done.wait(_EVERY if beats else 0):
            if beats % 10 == 0:
                pids = [process.pid for process in tree()]
            beats += 1
            for pid in pids:
                try:
                    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
                except (OSError, IndexError):
                    continue
                self.peaks[pid] = max(self.peaks.get(pid, 0), resident)

    def stop(self) -> dict[int, int]:
        self._done.set()
        self.join()
        return self.peaks


def measure(work: Callable[[], object]) -> Usage:
    """Run `work` here and return what it cost, workers and other child processes included."""
    sampler = _Sampler()
    sampler.start()
    cpu, wall = tree_cpu(), time.perf_counter()
    result = work()
    cpu, wall = tree_cpu() - cpu, time.perf_counter() - wall
    return Usage(cpu, wall, sampler.stop(), result)


def alone(work: Callable[[], object]) -> Usage:
    """Run `work` in a fresh process and return what it cost there; starting and importing are not counted.

    `work` must be picklable; modules that it needs are imported before the clock starts.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_warm).result()
        return pool.submit(measure, work).result()


def _warm() -> None:
    """Import what every contestant would import, so that imports count for none."""
    import dask.dataframe
    import pandas as pd
    import pyarrow.csv
    import pyarrow.dataset
    import pyarrow.parquet

    import lake

    assert lake and dask.dataframe and pd and pyarrow.csv and pyarrow.dataset and pyarrow.parquet


def contest(works: Mapping[str, Callable[[], object]], rounds: int, *, by: Callable[..., Usage] = measure) -> dict[str, Usage]:
    """Run all works in turn, round after round, and return the median of each one's CPU and wall seconds."""
    found: dict[str, list[Usage]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(by(work))
    return {name: _median(usages) for name, usages in found.items()}


def _median(usages: list[Usage]) -> Usage:
    cpu = statistics.median(usage.cpu for usage in usages)
    wall = statistics.median(usage.wall for usage in usages)
    largest = max(usages, key=lambda usage: usage.peak)
    return replace(largest, cpu=cpu, wall=wall)


def call(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """Return a picklable call without arguments."""
    return partial(function, *arguments)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def python(*arguments: str) -> int:
    """Run an interpreter of its own on this checkout, silently; return its exit code."""
    here = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(here), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode
