"""Own the names of everything in a lake, and every write: whole or not at all, never outside the root.

Layout, below the root (a path, or an fsspec URL)::

    catalog.yaml, catalog-plain.yaml, lake.json
    raw/<survey>/                   fetched files; raw/<survey>.json is the ledger
    tables/<table>/<build>.json     manifest of a build
    tables/<table>/<build>/         LLLLLL-HHHHHH.parquet
    current/<table>/                hard links to the published files (local disks)
    models/<model>/<bundle>/        weights.safetensors, bundle.json
    scratch/<table>/<build>/        sorted runs and done-records of an unfinished build
    history/<serial>.yaml           every published catalogue
    reports/                        audits of builds, records of nights
"""

import json
import os
import re
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import fsspec
import pyarrow as pa

from lake.errors import LakeError, OutageError
from lake.whole import unwritable, write_whole

R = TypeVar("R")

CATALOG, PLAIN_CATALOG, LAKE = "catalog.yaml", "catalog-plain.yaml", "lake.json"
_KEY = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")


def manifest_key(table: str, build: str) -> str:
    """Return the key of a build's manifest.

    >>> manifest_key("gaia_dr3_xp", "0a1b")
    'tables/gaia_dr3_xp/0a1b.json'
    """
    return f"tables/{table}/{build}.json"


def partition_key(table: str, build: str, file: str) -> str:
    """Return the key of one partition's file."""
    return f"tables/{table}/{build}/{file}"


def ledger_key(survey: str) -> str:
    """Return the key of the ledger of a survey's raw files."""
    return f"raw/{survey}.json"


def checked_key(key: str) -> str:
    """Return a key read from a manifest or a catalogue, if it stays inside the lake.

    Raises
    ------
    LakeError
        If it is absolute, climbs out with ``..``, or holds anything but letters, digits, ``_``, ``-`` and ``.``.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
        raise LakeError(
            f"the key {key!r} does not lie inside the lake; the file that names it was altered: restore it, or rebuild the table"
        )
    return key


@dataclass(frozen=True)
class Stored:
    """One file of a lake: its key, size, and when it was written last (UTC, by the clock of the disk or store)."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class Storage:
    """The root of a lake on a disk or an object store.

    Attributes
    ----------
    root
        Absolute path or fsspec URL.
    """

    root: str

    @staticmethod
    def at(where: str | os.PathLike[str]) -> "Storage":
        """Return the storage at a path, made absolute, or at a URL.

        Raises
        ------
        LakeError
            If the URL holds a user or password: roots of lakes stand in messages and records.
        """
        text = os.fspath(where).removeprefix("file://")
        if "://" not in text:
            return Storage(str(Path(text).resolve()))
        if "@" in text or "?" in text:
            raise LakeError(
                f"the URL of the lake ({text.partition('://')[0]}://..., not shown) holds an @ or a ?, as if it named a user, a "
                "password or a signature; give it without them, and credentials to the environment (AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
            )
        return Storage(text.rstrip("/"))

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        # A kept listing would hide what other processes write.
        fs, path = fsspec.core.url_to_fs(self.root, **({} if self.is_local else {"use_listings_cache": False}))
        return fs, path

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine's file system."""
        return "://" not in self.root

    def path(self, key: str) -> Path:
        """Return the local path of a key.

        Raises
        ------
        LakeError
            If the lake is not on a local file system.
        """
        if not self.is_local:
            raise LakeError(f"{self.root} is no local folder; this step needs a lake on a file system")
        return Path(self.root) / key

    def ask(self, key: str, question: Callable[[Any, str], R]) -> R:
        """Return the answer of the file system to a question about a key, such as ``lambda fs, full: fs.exists(full)``.

        Raises
        ------
        OutageError
            If it is an object store that refuses, or cannot be reached; a file that is not there stays a `FileNotFoundError`.
        """
        fs, root = self._opened
        try:
            return question(fs, f"{root}/{key}")
        except FileNotFoundError:
            raise
        except _failures() as error:
            if self.is_local:
                raise
            raise OutageError(
                f"{self.root}/{key}: the object store refuses, or cannot be reached ({error}); what was published is untouched. "
                "Check credentials and network, and run the same command again: finished work is kept"
            ) from error

    def _info(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(self.ask(key, lambda fs, full: fs.info(full)))
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Tell whether a file is there."""
        return self.path(key).exists() if self.is_local else self._info(key) is not None

    def size(self, key: str) -> int | None:
        """Return the bytes of a file; None if it is not there."""
        if self.is_local:
            try:
                # Ten thousands of them are asked for in a plan, which is slow with paths as objects.
                return os.stat(f"{self.root}/{key}").st_size  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                return None
        found = self._info(key)
        return int(found["size"]) if found else None

    def stamp(self, key: str) -> str | None:
        """Return what changes when a file is written again; None if it is not there."""
        if self.is_local:
            try:
                found = os.stat(f"{self.root}/{key}")  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                return None
            return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
        held = self._info(key)
        return str(held) if held else None

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        try:
            found = self.ask(folder, lambda fs, full: fs.ls(full, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []
        # A store may hold an empty object in the place of a folder, as its web pages make them.
        return sorted({str(name).rsplit("/", 1)[-1] for name in found} - {""})

    def read_bytes(self, key: str) -> bytes:
        """Return a whole file."""
        # The library for S3 would ask for the size first.
        how = {"max_concurrency": 1} if self.root.startswith(("s3://", "s3a://")) else {}
        return cast("bytes", self.ask(key, lambda fs, full: fs.cat_file(full, **how)))

    def read_json(self, key: str) -> Any:
        """Return a JSON file.

        Raises
        ------
        LakeError
            If it is not JSON.
        """
        try:
            return json.loads(self.read_bytes(key))
        except ValueError as error:
            raise LakeError(
                f"{self.root}/{key} is not sound JSON ({error}); restore it, or delete it and rebuild the table"
            ) from error

    def find_json(self, key: str) -> Any:
        """Return the same; None if it is not there."""
        try:
            return self.read_json(key)
        except FileNotFoundError:
            return None

    def open_input(self, key: str) -> pa.NativeFile | IO[bytes]:
        """Open a file for random reading.

        Raises
        ------
        LakeError
            If it is gone.
        """
        try:
            if self.is_local:
                return pa.OSFile(f"{self.root}/{key}", "rb")
            return cast("IO[bytes]", self.ask(key, lambda fs, full: fs.open(full, "rb", cache_type="none")))
        except FileNotFoundError as error:
            raise LakeError(
                f"{self.root}/{key}: the file is named in a manifest, but not there; restore it, or build the table again"
            ) from error

    def files(self, folder: str) -> Iterator[Stored]:
        """Yield every file below a folder, sorted by key; none if there is no such folder."""
        found = self.ask(folder, lambda fs, full: fs.find(full, detail=True))
        for path in sorted(found):
            one = found[path]
            if not path.endswith("/"):
                when = one["LastModified"] if "LastModified" in one else datetime.fromtimestamp(one.get("mtime", 0.0), UTC)
                yield Stored(path.removeprefix(f"{self._opened[1]}/"), int(one["size"]), when)

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write a file whole: readers see the old one or the new one, never a part.

        Raises
        ------
        OutageError
            If the disk is full or not writable, or the lake is no longer there.
        """
        if self.is_local:
            self._refuse_lost(key)
            write_whole(self.path(key), data)
            return
        try:
            self.ask(key, lambda fs, full: fs.pipe_file(full, data))
        except OSError as error:
            raise unwritable(f"{self.root}/{key}", error) from error

    def write_json(self, key: str, content: object) -> None:
        """Write a JSON file whole (see `json_bytes`)."""
        self.write_bytes(key, json_bytes(content))

    @contextmanager
    def staged(self, key: str) -> Iterator[Path]:
        """Yield the local path at which to write a file (or a folder of files); what was written there has the key afterwards.

        On disks that is the file's own place, so the block writes beside it and renames, or names what it wrote last. On
        object stores it is a temporary file, uploaded whole when the block ends without an error.

        Raises
        ------
        OutageError
            If the lake is no longer there, or refuses the file.
        """
        if self.is_local:
            self._refuse_lost(key)
            yield self.path(key)
            return
        with tempfile.TemporaryDirectory(prefix="gaialake-") as folder:
            path = Path(folder) / key.rsplit("/", 1)[-1]
            yield path
            if path.exists():
                try:
                    # A bundle is a folder; who sees its document may rely on its weights, so that goes last.
                    files = sorted(path.iterdir(), reverse=True) if path.is_dir() else [path]
                    for file in files:
                        own = key + str(file).removeprefix(str(path))
                        self.ask(own, partial(_put, str(file)))
                except OSError as error:
                    raise unwritable(f"{self.root}/{key}", error) from error

    def local_copy(self, folder: str) -> Path:
        """Return a local folder with the files of one of the lake's: itself on disks, else a copy that lives as this process."""
        if self.is_local:
            return self.path(folder)
        return _copied(self, folder)

    def remove(self, key: str) -> None:
        """Delete a file, if it is there.

        Raises
        ------
        OutageError
            If it cannot be deleted.
        """
        try:
            self.ask(key, lambda fs, full: fs.rm_file(full))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _undeletable(f"{self.root}/{key}", error) from error

    def remove_tree(self, folder: str) -> None:
        """Delete a folder and all that is in it, if it is there.

        Raises
        ------
        OutageError
            If something in it cannot be deleted.
        """
        try:
            if self.is_local:
                # Elements of a job array may do so at once.
                while self.path(folder).exists():
                    with suppress(FileNotFoundError):
                        shutil.rmtree(self.path(folder))
                return
            # Local copies are none of what comes in its place.
            _copied.cache_clear()
            self.ask(folder, lambda fs, full: fs.rm(full, recursive=True))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _undeletable(f"{self.root}/{folder}", error) from error
        # The library for S3 says nothing of files that the store refused to delete.
        for left in self.files(folder):
            raise _undeletable(f"{self.root}/{left.key}", PermissionError("refused by the object store"))

    def remove_empty(self, folder: str) -> None:
        """Delete the folders below (and with) this one that hold nothing; object stores have no folders."""
        if self.is_local and self.path(folder).is_dir():
            for path, _, _ in os.walk(self.path(folder), topdown=False):
                if not any(Path(path).iterdir()):
                    Path(path).rmdir()

    def _refuse_lost(self, key: str) -> None:
        """Refuse to write below a root that is no lake any more: on an empty mount point, folders would be made anew."""
        if "/" in key and not self.path(LAKE).exists():
            raise OutageError(
                f"{self.root}: the lake is no longer there ({LAKE} is gone, seen from {socket.gethostname()}), so {key} was not "
                "written; is its disk mounted? Bring it back and run the same command again: finished work is kept"
            )


def _failures() -> tuple[type[Exception], ...]:
    """Return the errors of operating system and network, and what libraries of object stores raise beside them."""
    known = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    return (OSError, *(getattr(sys.modules[module], name) for module, name in known if module in sys.modules))


def _put(file: str, fs: Any, full: str) -> None:
    fs.put_file(file, full)


@lru_cache(maxsize=32)
def _copied(storage: Storage, folder: str) -> Path:
    path = Path(_copies().name) / uuid.uuid4().hex
    for one in storage.files(folder):
        target = path / one.key.removeprefix(f"{folder}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(storage.read_bytes(one.key))
    return path


@lru_cache(maxsize=1)
def _copies() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="gaialake-")


def json_bytes(content: object) -> bytes:
    """Return JSON with sorted keys, so that equal content gives equal bytes."""
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _undeletable(target: object, error: OSError) -> OutageError:
    return OutageError(
        f"{target} cannot be deleted: {error.strerror or error}; nothing that is published needs it. Check its owner and mode, "
        "or the rights on the object store, and run the same command again"
    )
