"""Replace a file of an object store only if nobody else has since it was read: what leases and catalogues rest on."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import fsspec

from lake.errors import LakeError
from lake.storage import Storage, unwritable

# Codes of S3 for a condition that does not hold: refused at once, or lost against a request made at the same time.
_REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class OvertakenError(LakeError):
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


def _s3(storage: Storage, key: str) -> tuple[Any, dict[str, str]]:
    if not can_exchange(storage):
        raise LakeError(
            f"{storage.root}: writers of this store cannot be kept apart, for it has no conditional writes that gaialake knows; "
            "use a file system or s3://, or write the lake there and copy it to this store"
        )
    fs, root = fsspec.core.url_to_fs(storage.root, use_listings_cache=False)
    bucket, _, path = f"{root}/{key}".partition("/")
    return fs, {"Bucket": bucket, "Key": path}


def read_tagged(storage: Storage, key: str) -> Tagged | None:
    """Return a file with its tag and age; None if it is not there.

    Raises
    ------
    LakeError
        If the store has no conditional writes.
    """
    fs, at = _s3(storage, key)
    try:
        answer = fs.call_s3("head_object", **at)
        # One version is read, even if the file is replaced meanwhile.
        data = fs.cat_file(f"{at['Bucket']}/{at['Key']}")
        again = fs.call_s3("head_object", **at)
    except FileNotFoundError:
        return None
    if again["ETag"] != answer["ETag"]:
        return read_tagged(storage, key)
    now = parsedate_to_datetime(again["ResponseMetadata"]["HTTPHeaders"]["date"])
    return Tagged(data, again["ETag"], (now - again["LastModified"]).total_seconds())


def exchange(storage: Storage, key: str, data: bytes, tag: str | None) -> str:
    """Write a file if it still has this tag (None: if it is not there); return its new tag.

    Raises
    ------
    OvertakenError
        If it has another tag by now; nothing was written.
    LakeError
        If the store cannot be written, or has no conditional writes.
    """
    fs, at = _s3(storage, key)
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    try:
        return str(fs.call_s3("put_object", **at, Body=data, **condition)["ETag"])
    except OSError as error:
        if _refused(error):
            raise OvertakenError(f"{storage.root}/{key} was written by somebody else since it was read") from error
        raise unwritable(f"{storage.root}/{key}", error) from error


def _refused(error: OSError) -> bool:
    answer = getattr(error.__cause__, "response", None) or {}
    # A file with a tag that is gone meanwhile is answered as not found.
    return isinstance(error, FileExistsError | FileNotFoundError) or answer.get("Error", {}).get("Code") in _REFUSED
