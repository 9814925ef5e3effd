"""Start the cluster that a site profile describes, and run tasks on it."""

import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import dask

from jobs.batch import job_options
from jobs.profiles import QUEUES, Profile, flat, profile, protocol
from jobs.quiet import passes
from jobs.terminal import progress, say
from jobs.workers import Workers, submitted
from lake.errors import LakeError, OutageError, listing

if TYPE_CHECKING:
    from distributed import Client

    from lake.ingest import Runner

T = TypeVar("T")
R = TypeVar("R")

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
    started = Workers(chosen, _connect)
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


def _connect(chosen: Profile, opened: ExitStack) -> "Client":
    """Start a profile's cluster, or reach the one that runs; `opened` closes it again."""
    # Before the profile's own values: both bring the defaults of their sections, which would go again with those values.
    importlib.import_module("distributed")
    logging.getLogger("tornado.application").addFilter(passes)
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
    say(f"  cluster: {submitted(chosen, client) if queue else workers}, dashboard {link}")
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


@contextmanager
def _local(chosen: Profile) -> Iterator[Any]:
    """Start one single-threaded worker per core of this machine, as far as memory allows, unless the profile counts them."""
    from dask.system import CPU_COUNT
    from dask.utils import parse_bytes
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    limit = chosen.own.get("memory-limit", "2 GiB")
    workers = chosen.own.get("workers", "auto")
    # Workers come when there is something that can be closed, should they fail, or the run be stopped meanwhile.
    started = LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        memory_limit=limit,
        preload=["jobs.quiet"],
        dashboard_address=chosen.own.get("dashboard", "127.0.0.1:0"),
        resources=chosen.resources,
        security=_security(),
        protocol=protocol(),
    )
    with _closing(started):
        started.scale(max(1, min(CPU_COUNT, MEMORY_LIMIT // parse_bytes(limit))) if workers == "auto" else workers)
        started.sync(_settled, started)
        yield started


@contextmanager
def _closing(started: Any) -> Iterator[None]:
    """Close a cluster at the end; what ended the run is its error, not that Dask cannot close workers that never started."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            started.close()
        # Dask would try again, for ten seconds, when the process ends.
        started.shutdown_on_close = False
        raise
    started.close()


@contextmanager
def _jobs(chosen: Profile, queue: Any) -> Iterator[Any]:
    """Submit a profile's jobs, and have those replaced that end early."""
    from jobs.replacing import Replacing

    number = chosen.own.get("jobs", 1)
    started = queue(**job_options(chosen))
    with _closing(started):
        # Unlike scale(), this waits for the submission and raises what the queue answered.
        for _ in range(number):
            started.worker_spec.update(started.new_worker_spec())
        started.sync(_settled, started)
        # scale(n) never replaces a job that the queue cancelled or whose walltime ended.
        started.adapt(Adaptive=Replacing, minimum_jobs=number, maximum_jobs=number)
        yield started


async def _settled(started: Any) -> None:
    await started


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
