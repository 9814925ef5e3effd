"""Write a file of a disk whole or not at all, and say what to do where that fails."""

import errno
import os
import uuid
from pathlib import Path

from lake.errors import OutageError


def write_whole(target: Path, data: bytes) -> None:
    """Write beside the target, then rename over it; a failure leaves the target as it was and no remains.

    Raises
    ------
    OutageError
        If the disk is full or the folder not writable.
    """
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        if beside.parent.exists():
            beside.unlink(missing_ok=True)


def _advice(error: OSError) -> str:
    """Say what to do about a failed write."""
    if error.errno == errno.ENOSPC:
        return "The disk is full: free some space and run the same command again; finished partitions are kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "The lake is not writable for this user: check its owner and mode, or give another --lake"
    return "Run the same command again when the disk answers"


def unwritable(target: object, error: OSError) -> OutageError:
    """Return the error for a file that could not be written."""
    return OutageError(
        f"{target} cannot be written: {error.strerror or error}; what was there before is untouched. {_advice(error)}"
    )
