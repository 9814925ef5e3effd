"""Replace a file of an object store only if nobody else has since it was read: what leases and catalogues rest on."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from fsspec.asyn import sync

from lake.errors import BusyError, LakeError
from lake.storage import Storage

# Codes of S3 for a condition that does not hold: refused at once, or lost against a request made at the same time.
_REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class OvertakenError(BusyError):
    """Report that somebody else has written a file since it was read."""


@dataclass(frozen=True)
class Tagged:
    """A file's content, the tag that changes with it, and the seconds since it was written.

    The age is the difference of two times of the store's own clock, so that the clocks of its clients do not matter.
    """

    data: bytes
    tag: str
    age: float


def can_exchange(storage: Storage) -> bool:
    """Tell whether the store knows conditional writes: S3 and what speaks its protocol."""
    return storage.root.startswith(("s3://", "s3a://"))


def _refuse_others(storage: Storage) -> None:
    if not can_exchange(storage):
        raise LakeError(
            f"{storage.root}: writers of this store cannot be kept apart, for it has no conditional writes that gaialake knows; "
            "use a file system or s3://, or write the lake there and copy it to this store"
        )


def _at(full: str) -> dict[str, str]:
    bucket, _, path = full.partition("/")
    return {"Bucket": bucket, "Key": path}


def read_tagged(storage: Storage, key: str) -> Tagged | None:
    """Return a file with its tag and age; None if it is not there.

    Raises
    ------
    LakeError
        If the store has no conditional writes, or cannot be reached.
    """
    _refuse_others(storage)

    def get(fs: Any, full: str) -> Tagged:
        # One request, so that content, tag and dates are of one version.
        answer = fs.call_s3("get_object", **_at(full))
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return Tagged(sync(fs.loop, answer["Body"].read), answer["ETag"], (now - answer["LastModified"]).total_seconds())

    try:
        return storage.ask(key, get)
    except FileNotFoundError:
        return None


def exchange(storage: Storage, key: str, data: bytes, tag: str | None) -> str:
    """Write a file if it still has this tag (None: if it is not there); return its new tag.

    Raises
    ------
    OvertakenError
        If it has another tag by now; nothing was written.
    LakeError
        If the store cannot be written, or has no conditional writes.
    """
    _refuse_others(storage)
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}

    def put(fs: Any, full: str) -> str:
        try:
            return str(fs.call_s3("put_object", **_at(full), Body=data, **condition)["ETag"])
        except OSError as error:
            if _refused(error):
                raise OvertakenError(
                    f"{storage.root}/{key} was written by somebody else since it was read, so it stays as it is; run this again"
                ) from error
            raise

    try:
        return storage.ask(key, put)
    except OvertakenError:
        # A request whose answer was lost is sent again by the library, and then refused for what it wrote itself.
        there = read_tagged(storage, key)
        if there is not None and there.data == data:
            return there.tag
        raise


def read_version(storage: Storage, key: str) -> tuple[bytes | None, str | None]:
    """Return a file in order to replace it: its content (None if it is not there), and its tag where the store knows such."""
    if can_exchange(storage):
        held = read_tagged(storage, key)
        return (held.data, held.tag) if held else (None, None)
    try:
        return storage.read_bytes(key), None
    except FileNotFoundError:
        return None, None


def write_version(storage: Storage, key: str, data: bytes, tag: str | None) -> str | None:
    """Replace a file that was read with `read_version`; return its new tag. On disks the lock of the lake keeps others out.

    Raises
    ------
    OvertakenError
        If a later writer was faster; nothing was written.
    LakeError
        If it cannot be written.
    """
    if can_exchange(storage):
        return exchange(storage, key, data, tag)
    storage.write_bytes(key, data)
    return None


def _refused(error: OSError) -> bool:
    answer = getattr(error.__cause__, "response", None) or {}
    # A file with a tag that is gone meanwhile is answered as not found.
    return isinstance(error, FileExistsError | FileNotFoundError) or answer.get("Error", {}).get("Code") in _REFUSED
