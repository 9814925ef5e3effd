"""Run tasks on the workers of a cluster, and tell what a run waits for and why it ends."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.batch import logs
from jobs.profiles import QUEUES, Profile, spelt
from jobs.terminal import progress, say
from lake.errors import LakeError, OutageError, listing

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

# No result for so long, and the run looks whether there are workers, and a scheduler, at all.
_QUIET = 10.0
_SAY_AGAIN = 60.0
# A scheduler that does not answer for so long is lost, even if its machine still takes our packets.
_ANSWER = 60.0


@dataclass(frozen=True)
class _Refusal:
    """An error that a task means the user to read."""

    error: LakeError


@dataclass(frozen=True)
class _Guarded:
    """A task that returns such an error instead of raising it, so that workers do not log it as a fault of theirs."""

    function: Callable[[Any], Any]

    def __call__(self, task: Any) -> Any:
        try:
            return self.function(task)
        except LakeError as error:
            return _Refusal(error)


class Workers:
    """Those of a cluster, which starts when they are first needed."""

    def __init__(self, chosen: Profile, connect: "Callable[[Profile, ExitStack], Client]") -> None:
        self._profile, self._connect = chosen, connect
        self._client: Client | None = None
        self._open = ExitStack()
        self._alone_since: float | None = None
        self._said = 0.0

    def client(self) -> "Client":
        """Start the cluster, or return the started one."""
        if self._client is None:
            self._client = self._connect(self._profile, self._open)
        return self._client

    def run(self, label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Run one function over tasks on the workers; yield results as they come.

        A task whose worker died is run again elsewhere. The first error cancels the rest and is raised here.
        """
        client = self.client()
        wanted = self._resources(tasks)
        done: SimpleQueue[Future] = SimpleQueue()
        futures = client.map(_Guarded(function), list(tasks), pure=False, key=label.replace(" ", "-"), resources=wanted or None)
        for future in futures:
            future.add_done_callback(done.put)
        with progress(label, len(futures)) as steps:
            try:
                for _ in futures:
                    future = self._next(done, wanted)
                    result = self._result(future, label, wanted)
                    if isinstance(result, _Refusal):
                        raise result.error
                    yield result
                    steps.advance()
                    future.release()
            except BaseException:
                client.cancel(futures)
                raise

    def close(self) -> None:
        """Stop the cluster if it was started."""
        self._open.close()

    def _resources(self, tasks: Sequence[Any]) -> dict[str, float]:
        """Return what tasks ask for, as far as workers of this profile offer it; without GPUs, anything runs anywhere."""
        asked: Mapping[str, float] = getattr(tasks[0], "resources", {}) if tasks else {}
        return {name: amount for name, amount in asked.items() if name in self._profile.resources}

    def _next(self, done: "SimpleQueue[Future]", wanted: Mapping[str, float]) -> "Future":
        """Wait for the next task that ended, and tell the user what the run waits for."""
        while True:
            try:
                future = done.get(timeout=self._patience)
            except Empty:
                self._watch(wanted)
            else:
                self._alone_since = None
                return future

    def _result(self, future: "Future", label: str, wanted: Mapping[str, float]) -> Any:
        """Fetch a result; should its worker die just now, Dask makes it again."""
        from distributed import KilledWorker
        from distributed.client import CancelledError

        while True:
            try:
                return future.result(timeout=self._patience)
            except KilledWorker as error:
                raise LakeError(
                    f"{label}: {error.task} lost its worker {error.allowed_failures + 1} times, most likely to its memory limit; "
                    f"raise {self._memory_key} in the profile, or see the workers' logs; run this again, finished work is kept"
                ) from error
            except (CancelledError, OSError) as error:
                # A task's own error is as it is; a timeout of ours only means to look around.
                if future.status == "error":
                    raise
                if not isinstance(error, TimeoutError):
                    raise self._lost() from error
                self._watch(wanted)

    @property
    def _patience(self) -> float:
        return min(_QUIET, self._profile.worker_timeout / 2)

    @property
    def _memory_key(self) -> str:
        kind = self._profile.cluster
        return f"jobqueue.{kind}.memory" if kind in QUEUES else "gaialake.memory-limit"

    def _watch(self, wanted: Mapping[str, float]) -> None:
        """Look whether there are workers; wait for some as long as the profile says, and not in silence.

        Raises
        ------
        LakeError
            If the scheduler is lost, or there was no worker for too long.
        """
        client = self.client()
        if client.status != "running":
            raise self._lost()
        try:
            known = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ANSWER)["workers"].values()
        except OSError as error:
            raise self._lost() from error
        if any(all(one["resources"].get(name, 0) >= amount for name, amount in wanted.items()) for one in known):
            self._alone_since = None
            return
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since, self._said = now - self._patience, 0.0
        waited, limit = now - self._alone_since, self._profile.worker_timeout
        kind = f"worker that offers {spelt(wanted)}" if wanted else "worker"
        if waited >= limit:
            raise OutageError(
                f"profile {self._profile.name}: no {kind} for {waited:.0f} s, the limit of gaialake.worker-timeout; "
                f"{self._advice}. Finished work is kept: run the same command again when there are workers"
            )
        if now - self._said >= _SAY_AGAIN:
            self._said = now
            say(f"  waiting for a {kind} since {waited:.0f} s, at most {limit:.0f} s: {self._place}")

    @property
    def _place(self) -> str:
        """Where workers should come from."""
        if self._profile.cluster in QUEUES:
            return submitted(self._profile, self.client())
        return f"scheduler {self.client().scheduler.address}"

    @property
    def _advice(self) -> str:
        if self._profile.cluster in QUEUES:
            look = {"slurm": "squeue --me", "pbs": "qstat"}[self._profile.cluster]
            return (
                f"{self._place}: is the queue full, or is queue, account, interface or prologue wrong? `{look}` and the logs tell"
            )
        return f"{self._place}: start workers there, and see their logs"

    def _lost(self) -> OutageError:
        return OutageError(
            f"profile {self._profile.name}: the Dask scheduler was lost: it died, or the network to it did. Finished work is "
            "kept: run the same command again when the scheduler answers"
        )


def submitted(chosen: Profile, client: "Client") -> str:
    """Say which jobs a cluster has now, and where they write."""
    ids = listing(job.job_id for job in client.cluster.workers.values() if job.job_id)
    return f"{chosen.cluster} jobs {ids} submitted, logs in {logs(chosen.cluster) or 'the working directory'}"
