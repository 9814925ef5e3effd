"""Start the cluster that a site profile describes, and run tasks on it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dask
import yaml

from jobs.terminal import progress, say
from lake.errors import LakeError, listing

if TYPE_CHECKING:
    from distributed import Client

    from lake.ingest import Runner

T = TypeVar("T")
R = TypeVar("R")

PROFILES = Path(__file__).resolve().parent.parent / "deploy" / "profiles"
_LOCAL = {"gaialake": {"cluster": "local", "workers": "auto", "memory-limit": "2 GiB"}}


def profile(name: str) -> dict[str, Any]:
    """Return a site profile: the name of a file in ``deploy/profiles``, or a path to one.

    Raises
    ------
    LakeError
        If there is no such profile, or it names a cluster that this version cannot start.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.exists():
        if name == "local":
            return _LOCAL
        raise LakeError(
            f"no profile {name!r}; there are {listing(p.stem for p in sorted(PROFILES.glob('*.yaml')))}, or give a YAML file"
        )
    held = yaml.safe_load(path.read_text())
    if not isinstance(held, dict) or "gaialake" not in held:
        raise LakeError(f"{path}: no section `gaialake` in this profile; expected for example {yaml.safe_dump(_LOCAL).strip()!r}")
    kind = held["gaialake"].get("cluster", "local")
    if kind not in ("local", "none") and "scheduler" not in held["gaialake"]:
        raise LakeError(
            f"{path}: cluster {kind!r} is unknown; use `local`, `none`, or `scheduler: tcp://HOST:PORT` for a running one"
        )
    return held


@contextmanager
def cluster(name: str) -> "Iterator[Runner]":
    """Start what a profile describes, and yield the function that runs tasks there; stop it at the end.

    The cluster starts with the first task, so a run with nothing to do starts none.
    """
    settings = profile(name)
    if settings["gaialake"].get("cluster") == "none":
        yield in_process
        return
    started = _Cluster(settings)
    try:
        yield started.run
    finally:
        started.close()


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

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._client: Client | None = None

    def client(self) -> "Client":
        """Start the cluster, or return the started one."""
        if self._client is None:
            from distributed import Client, LocalCluster

            own = self._settings["gaialake"]
            dask.config.update(dask.config.config, {key: value for key, value in self._settings.items() if key != "gaialake"})
            if "scheduler" in own:
                self._client = Client(own["scheduler"])
            else:
                workers = own.get("workers", "auto")
                local = LocalCluster(
                    n_workers=dask.system.CPU_COUNT if workers == "auto" else int(workers),
                    threads_per_worker=1,
                    memory_limit=own.get("memory-limit", "2 GiB"),
                    preload=["jobs.quiet"],
                    dashboard_address=own.get("dashboard", "127.0.0.1:0"),
                )
                self._client = Client(local)
            say(f"  cluster: {len(self._client.scheduler_info()['workers'])} workers, dashboard {self._client.dashboard_link}")
        return self._client

    def run(self, label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Run one function over tasks on the workers; yield results as they come.

        A task whose worker died is run again elsewhere. The first error cancels the rest and is raised here.
        """
        from distributed import KilledWorker, as_completed

        client = self.client()
        futures = client.map(_Guarded(function), list(tasks), pure=False, key=label.replace(" ", "-"))
        with progress(label, len(futures)) as steps:
            try:
                for future in as_completed(futures):
                    result = future.result()
                    if isinstance(result, _Refusal):
                        raise result.error
                    yield result
                    steps.advance()
                    future.release()
            except KilledWorker as error:
                client.cancel(futures)
                raise LakeError(
                    f"{label}: {error.task} lost its worker {error.allowed_failures + 1} times, most likely to its memory limit; "
                    "raise gaialake.memory-limit in the profile, or see the workers' logs; run this again, finished work is kept"
                ) from error
            except BaseException:
                client.cancel(futures)
                raise

    def close(self) -> None:
        """Stop the cluster if it was started."""
        if self._client is not None:
            owned = self._client.cluster
            self._client.close()
            if owned is not None:
                owned.close()


def in_process(label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """Run tasks one after the other in this process."""
    with progress(label, len(tasks)) as steps:
        for task in tasks:
            yield function(task)
            steps.advance()
