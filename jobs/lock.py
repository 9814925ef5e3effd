"""Let one writer at a time into a lake, with a lock that dies with its owner."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from lake.errors import BusyError
from lake.storage import Storage, unwritable


@contextmanager
def writing(storage: Storage) -> Iterator[None]:
    """Hold the lake's lock; the kernel lets go of it when the process ends, however it ends.

    Raises
    ------
    BusyError
        If another process holds it; the message names that process.
    LakeError
        If the lake is not writable.
    """
    path = storage.path(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 4096, 0).decode(errors="replace").strip() or "an unnamed process"
            raise BusyError(
                f"{storage.root}: another writer is at work ({owner}); wait for it, or stop it, and run this again"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        os.close(handle)
