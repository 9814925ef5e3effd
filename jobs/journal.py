"""Log what happens as JSON lines, one event a line: in the lake as it goes, and where ``--log`` says."""

import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from jobs.terminal import complain
from lake.errors import LakeError
from lake.ingest import Runner
from lake.manifest import Partition
from lake.partition import file_name
from lake.storage import Storage

T = TypeVar("T")
R = TypeVar("R")

LOG = logging.getLogger("gaialake")
# Events go to those who ask for them; without a handler of its own, logging would print errors to stderr.
LOG.addHandler(logging.NullHandler())
LOG.propagate = False
_USER = re.compile(r"(?<=://)[^/?#\s\"']+@")


def event(what: str, *, level: int = logging.INFO, **about: Any) -> None:
    """Log one event; fields that are None are left out."""
    LOG.log(level, what, extra={"about": about})


def without_secrets(text: str) -> str:
    """Return a text without the users and passwords of URLs.

    >>> without_secrets("ftp://me:word@example.org/a holds no lake")
    'ftp://example.org/a holds no lake'
    >>> without_secrets("http://me:p@ss@example.org?mail=a@b")
    'http://example.org?mail=a@b'
    """
    return _USER.sub("", text)


def free_name(storage: Storage, verb: str, started: datetime) -> str:
    """Return the key, without its ending, of what a run reports: another than that of a run in the same second."""
    stem = f"reports/{verb}-{started:%Y-%m-%dT%H%M%SZ}"
    number, name = 1, stem
    while any(storage.exists(name + ending) for ending in (".json", ".jsonl")):
        number, name = number + 1, f"{stem}-{number + 1}"
    return name


class JsonLine(logging.Formatter):
    """Write an event as one line of JSON: time, level, event, and the fields that apply."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        held = {"time": at, "level": record.levelname.lower(), "event": record.getMessage()}
        held |= {name: value for name, value in getattr(record, "about", {}).items() if value is not None}
        return without_secrets(json.dumps(held, default=str))


class _Log(logging.Handler):
    """Lines that are written somewhere; what cannot be written is told once, and stops nothing."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.setFormatter(JsonLine())
        self._where, self._broken = where, False

    def _told(self, write: Callable[[], object]) -> None:
        try:
            write()
        except (LakeError, OSError) as error:
            if not self._broken:
                complain(f"the log {self._where} cannot be written, the work goes on: {error}")
            self._broken = True


class LakeLog(_Log):
    """The lines of one run, kept in the lake: from the first `save` on, each at once on disks; at every `save` elsewhere.

    So a run that found nothing to do leaves no file, and one that is killed leaves its lines up to that moment.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        super().__init__(key)
        self.key = key
        self._storage, self._lines = storage, list[str]()
        self._file: IO[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._lines.append(self.format(record) + "\n")
        if self._file is not None:
            self._told(self._append)

    def save(self) -> None:
        """Write what there is so far."""
        self.acquire()
        try:
            self._told(self._append if self._storage.is_local else self._replace)
        finally:
            self.release()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._told(self._file.close)
            self._file = None
        super().close()

    def _append(self) -> None:
        if self._file is None:
            path = self._storage.path(self.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
        self._file.write("".join(self._lines))
        self._lines.clear()
        self._file.flush()

    def _replace(self) -> None:
        self._storage.write_bytes(self.key, "".join(self._lines).encode())


class _StreamLog(_Log):
    """The lines that ``--log`` asks for."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._stream = sys.stderr if where == "-" else Path(where).open("a", encoding="utf-8")  # noqa: SIM115  (until `close`)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        line = self.format(record)
        self._told(lambda: print(line, file=self._stream, flush=True))

    def close(self) -> None:
        """Close a file; stderr stays open."""
        if self._stream is not sys.stderr:
            self._told(self._stream.close)
        super().close()


@contextmanager
def listening(handler: logging.Handler) -> Iterator[None]:
    """Send events to a handler meanwhile, and close it afterwards."""
    before = LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)
        handler.close()


@contextmanager
def logging_to(where: str | None) -> Iterator[None]:
    """Send events to a file, to stderr (``-``), or nowhere (None) meanwhile.

    Raises
    ------
    LakeError
        If the file cannot be written.
    """
    if where is None:
        yield
        return
    try:
        handler = _StreamLog(where)
    except OSError as error:
        raise LakeError(f"--log {where}: cannot be written ({error.strerror}); name another file, or - for stderr") from error
    with listening(handler):
        yield


@contextmanager
def logged(storage: Storage, verb: str, run: Runner) -> Iterator[Runner]:
    """Keep the log of one command in the lake; yield a runner whose tasks are in it."""
    # Elements of a job array start in the same second.
    name = f"{free_name(storage, verb, datetime.now(UTC))}-{socket.gethostname()}-{os.getpid()}"
    log = LakeLog(storage, f"{name}.jsonl")
    begun = time.monotonic()
    with listening(log):
        event("run started", verb=verb, host=socket.gethostname())
        log.save()
        try:
            yield journaled(run)
        except BaseException as error:
            event("run failed", level=logging.ERROR, verb=verb, error=reason(error), seconds=_since(begun))
            raise
        else:
            event("run ended", verb=verb, seconds=_since(begun))
        finally:
            log.save()


def reason(error: BaseException) -> str:
    """Say what ended a run."""
    if isinstance(error, KeyboardInterrupt):
        return f"stopped by {error or 'SIGINT'}; run the same command again to continue where it stopped"
    if isinstance(error, OSError):
        return f"{error}; what was published is untouched: run the same command again when the disk answers"
    return str(error) if isinstance(error, LakeError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class _Done:
    """What a task returned, and what the log says of it."""

    result: Any
    about: dict[str, Any]


@dataclass(frozen=True)
class _Observed:
    """A task's function that says on what it worked, where, and for how long; a class so that workers can be sent it."""

    function: Callable[[Any], Any]

    def __call__(self, task: Any) -> _Done:
        begun = time.monotonic()
        try:
            result = self.function(task)
        except Exception as error:
            # An error knows no task, and only its fields travel back from a worker.
            vars(error)["about"] = _work(task) | {"host": socket.gethostname(), "seconds": _since(begun)}
            raise
        return _Done(result, _work(task) | _yield(result) | {"host": socket.gethostname(), "seconds": _since(begun)})


def journaled(run: Runner) -> Runner:
    """Return a runner that logs every task as it ends; results stay what they are."""

    def observed(label: str, function: Callable[[T], R], tasks: Sequence[T]) -> Iterable[R]:
        event("tasks started", step=label, tasks=len(tasks))
        try:
            for done in run(label, _Observed(function), tasks):
                event("task done", step=label, **done.about)
                yield done.result
        except Exception as error:
            event("task failed", level=logging.ERROR, step=label, error=reason(error), **getattr(error, "about", {}))
            raise

    return observed


def _work(task: Any) -> dict[str, Any]:
    """Name what a task works on, as far as tasks of its kind say."""
    about: dict[str, Any] = {}
    if hasattr(task, "survey"):
        about["survey"] = task.survey.name
    if hasattr(task, "file"):
        about |= {"file": task.file.name, "bytes": task.file.bytes}
    if hasattr(task, "derivation"):
        about["table"] = task.derivation.name
    part = next((getattr(task, name) for name in ("part", "slot") if hasattr(task, name)), task)
    if isinstance(part, Partition) and part.key:
        _, about["table"], about["build"], _ = part.key.split("/")
    about |= {name: getattr(task, name) for name in ("table", "build") if isinstance(getattr(task, name, None), str)}
    if hasattr(part, "first") and hasattr(part, "end"):
        about["partition"] = file_name(part.first, part.end).removesuffix(".parquet")
    return about


def _yield(result: Any) -> dict[str, Any]:
    """Name rows and bytes of what a task made, where it says so."""
    if isinstance(result, Partition):
        return {"rows": result.rows, "bytes": result.bytes}
    return {"rows": result["rows"]} if isinstance(result, dict) and "rows" in result else {}


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)
