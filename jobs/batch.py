"""Describe the jobs of a profile: what a queue's section gets beside what the site wrote there."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask

from jobs.profiles import Profile, protocol, spelt
from lake.errors import LakeError

# A worker leaves this long before its job's walltime; short walltimes give a tenth.
_MARGIN = 300.0


def job_options(chosen: Profile) -> dict[str, Any]:
    """Return what the jobs of a profile get beside its section ``jobqueue``: lifetime, resources, and the profile itself."""
    held = dask.config.get(f"jobqueue.{chosen.cluster}")
    extra = [str(one) for one in held["worker-extra-args"]]
    seconds = walltime_seconds(chosen.cluster, held["walltime"])
    if seconds is not None and not any(one.startswith("--lifetime") for one in extra):
        lives, stagger = lifetime(seconds)
        extra += ["--lifetime", f"{lives}s", "--lifetime-stagger", f"{stagger}s"]
    if chosen.resources:
        extra += ["--resources", shlex.quote(spelt(chosen.resources))]
    return {
        "processes": _processes(chosen, held),
        "worker_extra_args": extra,
        # Workers read spill limits, certificates and the like from the profile, as the driver does.
        "job_script_prologue": [f"export DASK_CONFIG={shlex.quote(str(chosen.path))}", *held["job-script-prologue"]],
        "log_directory": logs(chosen.cluster),
        "protocol": protocol(),
    }


def _processes(chosen: Profile, held: Mapping[str, Any]) -> int:
    """Return the workers of a job: one per core, for torch and Parquet decoding are to have one thread each."""
    cores, memory = held["cores"], held["memory"]
    if cores is None or memory is None:
        raise LakeError(
            f"{chosen.path}: jobqueue.{chosen.cluster} needs `cores` and `memory` of one job, such as cores: 8, memory: 32 GB"
        )
    processes = held["processes"] or cores
    if processes != cores:
        more = {"slurm": "job-cpu", "pbs": "resource-spec"}[chosen.cluster]
        raise LakeError(
            f"{chosen.path}: {cores} cores for {processes} processes are {cores / processes:g} threads per worker, not one; "
            f"set jobqueue.{chosen.cluster}.processes to {cores}, or cores to {processes} and ask for more of them by {more}"
        )
    return int(processes)


def logs(kind: str) -> str | None:
    """Return where jobs write their logs; queues expand no ~ and no variables themselves."""
    held = dask.config.get(f"jobqueue.{kind}.log-directory")
    return str(Path(os.path.expandvars(held)).expanduser()) if held else None


def walltime_seconds(kind: str, walltime: Any) -> float | None:
    """Return the seconds of a walltime as Slurm or PBS writes it; None for a job without one.

    >>> walltime_seconds("slurm", "1-12:00"), walltime_seconds("slurm", "90"), walltime_seconds("pbs", "00:30:00")
    (129600.0, 5400.0, 1800.0)

    Raises
    ------
    LakeError
        If it is not one; an hour that YAML took for a number is none.
    """
    if walltime is None or str(walltime).lower() in ("unlimited", "infinite"):
        return None
    if not isinstance(walltime, str) or not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", walltime):
        raise LakeError(
            f"jobqueue.{kind}.walltime: {walltime!r} is no walltime; write it with quotes, "
            'or YAML reads 10:00:00 as the number 36000: "10:00:00"'
        )
    days, _, clock = walltime.rpartition("-")
    parts = [float(part) for part in clock.split(":")]
    if days:
        parts += [0.0] * (3 - len(parts))
    elif kind == "slurm" and len(parts) == 1:
        parts += [0.0]
    total = 0.0
    for part in parts:
        total = total * 60 + part
    return total + 86400 * float(days or 0)


def lifetime(walltime: float) -> tuple[int, int]:
    """Return how long a worker lives, and by how much that varies, so that it leaves in order before its job is killed.

    The last worker leaves one margin before the walltime; its job's own start comes out of that.

    >>> lifetime(12 * 3600), lifetime(600), lifetime(60)
    ((42600, 300), (480, 60), (48, 6))
    """
    margin = min(_MARGIN, walltime / 10)
    return int(walltime - 2 * margin), int(margin)
