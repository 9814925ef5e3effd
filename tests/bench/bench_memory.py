"""Ingest and check XP tables of N rows on two workers of 2 GiB, and see how much memory a worker ever holds.

One of the grid's 48 leaves holds 20 times the mean, one raw file 15 times the rows of the others, and rows are in no order.
A twentieth of the rows is built again with correlations, ten times as wide. Predicting over as many rows is left out: it
takes hours on two cores.
"""

import itertools
import shutil
from pathlib import Path

import h5py
import numpy as np
import psutil
import spectra
from measure import Line, Setting, Usage, measure

import lake
from jobs.cluster import cluster
from lake.ingest import ingest
from lake.ledger import raw_files
from lake.partition import first_id, uniform
from lake.surveys.gaia_dr3_xp import SURVEY
from lake.validate import check

_FILES = 24
_LARGE_FILE, _LARGER = 8, 15
_LIMIT = 2 << 30
_DENSE_LEAF, _TIMES = 17, 20
_PROFILE = """gaialake: {cluster: local, workers: 2, memory-limit: 2 GiB}
distributed:
  scheduler: {allowed-failures: 3}
  worker:
    memory: {target: 0.7, spill: 0.8, pause: 0.9, terminate: 0.97}
"""


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark."""
    small = setting.rows // 4
    first = _build(setting, small)
    lines = [_line(f"ingest + check {small:,} XP rows, HDF5", first)]
    usage = _build(setting, setting.rows)
    grown = f"{usage.peak / first.peak:.2f} times that of {small:,} rows"
    lines.append(_line(f"ingest + check {setting.rows:,} XP rows, HDF5", usage, grown))
    wide = setting.rows // 20
    lines.append(_line(f"ingest + check {wide:,} XP rows with correlations, HDF5", _build(setting, wide, correlations=True)))
    return lines


def _line(what: str, usage: Usage, said: str = "") -> Line:
    peaks = ", ".join(f"{peak / 2**30:.2f}" for peak in sorted(usage.peaks.values(), reverse=True))
    note = f"{peaks} GiB in {len(usage.peaks)} worker processes; largest partition {usage.result:,} rows"
    met = usage.peak <= _LIMIT and len(usage.peaks) == 2
    return Line("memory", what, usage, goal="<= 2 GiB per worker", met=met, note="; ".join(filter(None, (note, said))))


def _build(setting: Setting, rows: int, *, correlations: bool = False) -> Usage:
    root = setting.folder / f"memory-{rows}"
    opened = lake.init(root, grid=uniform(1))
    _write_raw(root / "raw" / SURVEY.name, rows, correlations=correlations)
    profile = setting.folder / "profile.yaml"
    profile.write_text(_PROFILE)
    workers: set[int] = set()

    def work() -> int:
        with cluster(str(profile)) as run:

            def watched(label: str, function, tasks):  # type: ignore[no-untyped-def]
                for result in run(label, function, tasks):
                    workers.update(_workers())
                    yield result

            outcome = ingest(opened.storage, opened.grid, SURVEY, raw_files(opened.storage, SURVEY), run=watched)
            held = [check(opened.storage, manifest, run=watched) for manifest in outcome.manifests]
        assert held[0].rows == rows, (held[0].rows, rows)
        return max(part.rows for part in held[0].partitions)

    try:
        usage = measure(work)
    finally:
        shutil.rmtree(root)
    return Usage(usage.cpu, usage.wall, {pid: peak for pid, peak in usage.peaks.items() if pid in workers}, usage.result)


def _workers() -> set[int]:
    """Return the process ids of living Dask workers."""
    return {process.pid for process in psutil.Process().children() if any("spawn_main" in part for part in process.cmdline())}


def _write_raw(folder: Path, rows: int, *, correlations: bool) -> None:
    """Write files of the HDF5 dialect: ranges of ids, one of them much larger than the others."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(6)
    ids = _ids(rows, rng)
    weight = np.ones(_FILES)
    weight[_LARGE_FILE] = _LARGER
    cuts = np.concatenate([[0], np.cumsum(weight / weight.sum())]) * len(ids)
    for k, (begin, end) in enumerate(itertools.pairwise(np.rint(cuts).astype(int))):
        own = rng.permutation(ids[begin:end])
        with h5py.File(folder / f"XpContinuousMeanSpectrum_{k:06d}-{k:06d}.hdf5", "w") as file:
            for name, values in spectra.columns(own, rng, correlations=correlations).items():
                file.create_dataset(SURVEY.columns[name].name, data=values)


def _ids(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return ascending ids, one leaf with 20 times the mean of all."""
    grid = uniform(1)
    share = np.full(len(grid), (1 - _TIMES / len(grid)) / (len(grid) - 1))
    share[_DENSE_LEAF] = _TIMES / len(grid)
    counts = np.floor(share * rows).astype(int)
    counts[_DENSE_LEAF] += rows - counts.sum()
    edges = [first_id(edge) for edge in grid.edges]
    return np.concatenate(
        [low + _distinct(n, high - low, rng) for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True)]
    )


def _distinct(n: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return n ascending, distinct offsets from 1 to width - 1."""
    step = (width - 1) // max(n, 1)
    return 1 + step * np.arange(n, dtype=np.int64) + rng.integers(0, step, n)
