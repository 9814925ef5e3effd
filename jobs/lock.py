"""Let one writer at a time into a lake, with a lock that dies with its owner."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.lease import EXPIRY, lease_owner, leased
from lake.errors import BusyError, LakeError
from lake.storage import Storage
from lake.whole import unwritable

_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def _nothing() -> None:
    """Confirm a lock that the kernel holds for as long as the process lives."""


@dataclass(frozen=True)
class Writer:
    """The one writer of a lake.

    Attributes
    ----------
    fence
        Number of its lease on an object store; None on a file system, where the kernel keeps writers apart.
    confirm
        Raises `BusyError` if the lease was lost; to be called before anything is published or deleted.
    """

    fence: int | None = None
    confirm: Callable[[], None] = _nothing


@contextmanager
def writing(storage: Storage, verb: str, *, shared: bool = False, expiry: float = EXPIRY) -> Iterator[Writer]:
    """Be the lake's one writer: by a file lock on a file system, by a lease on an object store.

    The kernel lets go of the lock when the process ends, however it ends; a lease expires.

    Parameters
    ----------
    verb
        What is done, for those who are refused and for ``gaialake status``.
    shared
        Let in others that say so as well: elements of a job array, which write only what is equal whoever writes it.
    expiry
        Seconds without a sign of life after which a lease is lost.

    Raises
    ------
    BusyError
        If another process is the writer; the message names it.
    LakeError
        If the lake is not writable, or its file system has no locks.
    """
    if storage.is_local:
        with _locked(storage, verb, shared=shared):
            yield Writer()
    elif shared:
        if found := lease_owner(storage):
            raise BusyError(f"{storage.root}: a writer is at work ({_named(found)}); wait for it, and run this again")
        yield Writer()
    else:
        with leased(storage, verb, expiry) as lease:
            yield Writer(lease.fence, lease.confirm)


def owner(storage: Storage) -> dict[str, Any] | None:
    """Return who writes to the lake now: verb, host, pid, since (None where not known); None if nobody does."""
    if not storage.is_local:
        return lease_owner(storage)
    path = storage.path(_LOCK)
    if not path.exists():
        return None
    # File systems of networks lock for one alone only what is open for writing.
    handle = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


@contextmanager
def _locked(storage: Storage, verb: str, *, shared: bool) -> Iterator[None]:
    handle = _opened(storage.path(_LOCK))
    try:
        try:
            _lock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except BlockingIOError as error:
            raise BusyError(
                f"{storage.root}: another writer is at work ({_named(_holder(handle))}); wait for it, or stop it, and run this "
                "again"
            ) from error
        except OSError as error:
            hint = " (Lustre: mount it with -o flock)" if error.errno in _NO_LOCKS else ""
            raise LakeError(
                f"{storage.root}: the file system cannot lock {_LOCK} ({error.strerror}), so two writers could not be kept "
                f"apart{hint}; put the lake on one that can, or on s3://"
            ) from error
        if not shared:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            record = {"verb": verb, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(record).encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> None:
    """Take a lock; who only asks for its owner holds it for an instant, so a refusal counts when it lasts."""
    for pause in (0.05, 0.2, None):
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if pause is None:
                raise
            time.sleep(pause)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(path, error) from error


def _holder(handle: int) -> dict[str, Any]:
    """Return what a lock's owner wrote of itself; elements of a job array write nothing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        held = os.pread(handle, 4096, 0)
        try:
            return dict(json.loads(held))
        except (TypeError, ValueError):
            return {"verb": "unknown"}
    return {"verb": "elements of a job array"}


def _named(found: dict[str, Any]) -> str:
    known = [str(found["verb"])] if found.get("verb") else []
    known += [f"{word} {found[name]}" for name, word in (("host", "on"), ("pid", "pid"), ("since", "since")) if found.get(name)]
    return ", ".join(known) or "an unnamed process"
