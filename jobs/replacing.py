"""Submit a job anew when the queue has lost it: cancelled, preempted, out of time, gone with its node, or never taken."""

import asyncio
import getpass
import time
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Adaptive


def _active_jobs(queue: str) -> tuple[str, ...]:
    """Return the command that lists the user's jobs that wait or run."""
    return ("squeue", "--me", "--noheader", "--format=%A") if queue == "slurm" else ("qselect", "-u", getpass.getuser())


class Replacing(Adaptive):  # type: ignore[misc]
    """Adaptive that asks the queue for jobs without workers.

    Dask replaces a job when a worker of the job's own name leaves. A job of several workers, which are numbered, would be
    waited for in vain, and so would a job that ended before its workers arrived.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pause = float(parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")))
        self._asked = time.monotonic()

    async def recommendations(self, target: int) -> dict[str, Any]:
        """Plan another job for each lost one; Dask then submits what is planned and not there."""
        for name in await self._lost():
            # The new one first, or it might get the old one's name.
            self.cluster.worker_spec.update(self.cluster.new_worker_spec())
            del self.cluster.worker_spec[name]
        return dict(await super().recommendations(target))

    async def _lost(self) -> list[str]:
        """Return the planned jobs that have no worker and that the queue does not know; none if it does not answer."""
        cluster, present = self.cluster, self.cluster.observed
        suffixes = cluster.new_spec.get("group", ("",))
        absent = [
            (name, job.job_id)
            for name, job in cluster.workers.items()
            if name in cluster.worker_spec and not any(f"{name}{suffix}" in present for suffix in suffixes)
        ]
        if not absent or time.monotonic() - self._asked < self._pause:
            return []
        self._asked = time.monotonic()
        asked = await asyncio.create_subprocess_exec(
            *_active_jobs(cluster.job_cls.config_name), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        answer, _ = await asked.communicate()
        # PBS adds the name of its server to the number.
        active = {line.partition(".")[0] for line in answer.decode().split()}
        return [name for name, job in absent if job not in active] if asked.returncode == 0 else []
