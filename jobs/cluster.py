"""Start the cluster that a site profile describes, and run tasks on it."""

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import dask

from jobs.batch import job_options, logs
from jobs.profiles import QUEUES, Profile, flat, profile, protocol, spelt
from jobs.terminal import progress, say
from lake.errors import LakeError, OutageError, listing

if TYPE_CHECKING:
    from distributed import Client, Future

    from lake.ingest import Runner

T = TypeVar("T")
R = TypeVar("R")

# No result for so long, and the run looks whether there are workers, and a scheduler, at all.
_QUIET = 10.0
_SAY_AGAIN = 60.0
# A scheduler that does not answer for so long is lost, even if its machine still takes our packets.
_ANSWER = 60.0
_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}


@contextmanager
def cluster(name: str) -> "Iterator[Runner]":
    """Start what a profile describes, and yield the function that runs tasks there; stop it at the end.

    The cluster starts with the first task, so a run with nothing to do starts none.
    """
    chosen = profile(name)
    if chosen.cluster == "none":
        yield in_process
        return
    started = _Cluster(chosen)
    try:
        yield started.run
    finally:
        started.close()


def job_script(name: str) -> str | None:
    """Return the script of the jobs that a profile submits; None for a profile that submits none. Nothing is started.

    Raises
    ------
    LakeError
        If the profile is not sound, or dask-jobqueue is not installed.
    """
    chosen = profile(name)
    if chosen.cluster not in QUEUES:
        return None
    job = _queue_class(chosen).job_cls
    with dask.config.set(flat(chosen.dask)), TemporaryDirectory() as elsewhere:
        options = job_options(chosen)
        # A job makes its log directory as soon as it is described.
        written, options["log_directory"] = options["log_directory"], elsewhere if options["log_directory"] else None
        scheduler = f"{options['protocol'] or 'tcp://'}SCHEDULER:PORT"
        return str(job(scheduler, name="WORKER", **options).job_script()).replace(elsewhere, str(written))


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


class _Cluster:
    """A Dask cluster that starts when it is first needed."""

    def __init__(self, chosen: Profile) -> None:
        self._profile = chosen
        self._client: Client | None = None
        self._open = ExitStack()
        self._alone_since: float | None = None
        self._said = 0.0

    def client(self) -> "Client":
        """Start the cluster, or return the started one."""
        if self._client is None:
            self._client = _connect(self._profile, self._open)
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
            return _submitted(self._profile, self.client())
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


def _connect(chosen: Profile, opened: ExitStack) -> "Client":
    """Start a profile's cluster, or reach the one that runs; `opened` closes it again."""
    # Before the profile's own values: both bring the defaults of their sections, which would go again with those values.
    importlib.import_module("distributed")
    queue = _queue_class(chosen) if chosen.cluster in QUEUES else None
    opened.enter_context(dask.config.set(flat(chosen.dask)))
    try:
        if chosen.cluster == "scheduler":
            where = chosen.own["scheduler"]
        else:
            where = opened.enter_context(_jobs(chosen, queue) if queue else _local(chosen))
        client = opened.enter_context(_client(where))
        workers = f"{client.scheduler_info()['n_workers']} workers"
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise OutageError(f"profile {chosen.name}: {_could_not(chosen)}: {error}") from error
    link = client.dashboard_link
    if chosen.cluster != "scheduler" and importlib.util.find_spec("bokeh") is None:
        link = "needs bokeh: pip install 'gaialake[dashboard]'"
    say(f"  cluster: {_submitted(chosen, client) if queue else workers}, dashboard {link}")
    return client


def _client(where: Any) -> "Client":
    """Connect; a client that could not is closed, for when it is collected later it may block the start of another."""
    from distributed import Client

    try:
        return Client(where, security=_security())
    except BaseException:
        with suppress(ValueError):
            Client.current().close()
        raise


def _could_not(chosen: Profile) -> str:
    if chosen.cluster == "scheduler":
        return f"no Dask scheduler answers at {chosen.own['scheduler']}; start it, or correct its address or TLS settings"
    return "its cluster could not be started; correct the profile, or run again when the machine can"


def _security() -> Any:
    """Return the certificates and keys that Dask's own configuration names, if any."""
    from distributed.security import Security

    return Security()


def _local(chosen: Profile) -> Any:
    """Start one single-threaded worker per core of this machine, as far as memory allows, unless the profile counts them."""
    from dask.system import CPU_COUNT
    from dask.utils import parse_bytes
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    limit = chosen.own.get("memory-limit", "2 GiB")
    workers = chosen.own.get("workers", "auto")
    return LocalCluster(
        n_workers=max(1, min(CPU_COUNT, MEMORY_LIMIT // parse_bytes(limit))) if workers == "auto" else workers,
        threads_per_worker=1,
        memory_limit=limit,
        preload=["jobs.quiet"],
        dashboard_address=chosen.own.get("dashboard", "127.0.0.1:0"),
        resources=chosen.resources,
        security=_security(),
        protocol=protocol(),
    )


@contextmanager
def _jobs(chosen: Profile, queue: Any) -> Iterator[Any]:
    """Submit a profile's jobs, and have those replaced that end early."""
    from jobs.replacing import Replacing

    number = chosen.own.get("jobs", 1)
    with queue(**job_options(chosen)) as started:
        # Unlike scale(), this waits for the submission and raises what the queue answered.
        for _ in range(number):
            started.worker_spec.update(started.new_worker_spec())
        started.sync(_settled, started)
        # scale(n) never replaces a job that the queue cancelled or whose walltime ended.
        started.adapt(Adaptive=Replacing, minimum_jobs=number, maximum_jobs=number)
        yield started


async def _settled(started: Any) -> None:
    await started


def _submitted(chosen: Profile, client: "Client") -> str:
    """Say which jobs a cluster has now, and where they write."""
    ids = listing(job.job_id for job in client.cluster.workers.values() if job.job_id)
    return f"{chosen.cluster} jobs {ids} submitted, logs in {logs(chosen.cluster) or 'the working directory'}"


def _queue_class(chosen: Profile) -> Any:
    """Return the class that submits jobs to a profile's queue, after a look at the keys of its section."""
    try:
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise LakeError(
            f"profile {chosen.name} submits {chosen.cluster} jobs, which needs {error.name}: pip install 'gaialake[slurm]'"
        ) from error
    known = {key.replace("_", "-") for key in dask.config.get(f"jobqueue.{chosen.cluster}")}
    given = chosen.dask.get("jobqueue", {}).get(chosen.cluster) or {}
    unknown = [key for key in given if key.replace("_", "-") not in known]
    if unknown:
        raise LakeError(
            f"{chosen.path}: jobqueue.{chosen.cluster}.{unknown[0]} is unknown; there are {listing(sorted(known), 99)}"
        )
    return getattr(dask_jobqueue, _CLASSES[chosen.cluster])


def in_process(label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """Run tasks one after the other in this process."""
    with progress(label, len(tasks)) as steps:
        for task in tasks:
            yield function(task)
            steps.advance()
