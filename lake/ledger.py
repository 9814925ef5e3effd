"""Keep account of the raw files of each survey: where they lie, how large they are, what they hold."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.errors import LakeError, listing
from lake.exchange import read_version, write_version
from lake.storage import Storage, json_bytes, ledger_key
from lake.survey import Survey

_THREADS = 4
# Hashes are kept while they are made: those of a whole release take hours.
_SAVE_EVERY = 100


@dataclass(frozen=True)
class RawFile:
    """One raw file and the hash of its content.

    Attributes
    ----------
    name
        Path relative to the lake if it lies inside, absolute otherwise.
    """

    path: Path
    name: str
    bytes: int
    mtime_ns: int
    sha256: str


def unhashed(storage: Storage, survey: Survey) -> int:
    """Return the number of files that are new or were touched since they were hashed; none is read."""
    known = _read(storage, survey)[0]
    own = own_folder(storage, survey)
    roots = [*([own] if own else []), *(Path(root) for root in known["roots"])]
    files = [file for root in roots if root.exists() for file in files_under(root, survey)]
    return sum(not _is_known(known["files"].get(_name(storage, file), {}), file.stat()) for file in files)


def _is_known(entry: dict[str, Any], state: os.stat_result) -> bool:
    return (entry.get("bytes"), entry.get("mtime_ns")) == (state.st_size, state.st_mtime_ns)


def own_folder(storage: Storage, survey: Survey) -> Path | None:
    """Return the lake's own folder of a survey's raw files, if it holds any; a lake on an object store has none."""
    folder = storage.path(f"raw/{survey.name}") if storage.is_local else None
    return folder if folder is not None and folder.is_dir() and any(folder.iterdir()) else None


def register(storage: Storage, survey: Survey, paths: Iterable[Path], *, replace: bool = False) -> list[Path]:
    """Remember files and folders as sources of a survey, beside those known (or instead of them); return all of them.

    Raises
    ------
    LakeError
        If a path does not exist, or a folder holds no file whose name fits the survey.
    """
    added = [Path(path).resolve() for path in paths]
    for path in added:
        if not path.exists():
            raise LakeError(f"{path}: no such file or folder; nothing was registered for {survey.name}")
        files_under(path, survey)
    ledger, tag = _read(storage, survey)
    roots = sorted({*([] if replace else ledger["roots"]), *(str(path) for path in added)})
    files = {} if replace else ledger["files"]
    _write(storage, survey, {"roots": roots, "files": files}, tag)
    return [Path(root) for root in roots]


def remembered(storage: Storage, survey: Survey) -> dict[str, Any]:
    """Return what the ledger holds, for `restore`."""
    return _read(storage, survey)[0]


def restore(storage: Storage, survey: Survey, ledger: dict[str, Any]) -> None:
    """Put back what `remembered` returned; a survey without files has no ledger."""
    if ledger["roots"] or ledger["files"]:
        _write(storage, survey, ledger, _read(storage, survey)[1])
    else:
        storage.remove(ledger_key(survey.name))


def raw_files(
    storage: Storage, survey: Survey, progress: Callable[[int, int], None] | None = None, *, save: bool = True
) -> list[RawFile]:
    """Return the survey's raw files, sorted by name, each content once; hash those that are new or were touched.

    Everything under the lake's own ``raw/<survey>/`` counts as well as what was registered.

    Parameters
    ----------
    save
        Whether to keep new hashes; only who holds the lake's lock may, or what another writer registers is lost.

    Raises
    ------
    LakeError
        If a file that an earlier run knew is gone: rows would silently leave the table. If a later writer has changed what
        is known of the survey since it was read, and this one is to change it as well.
    """
    ledger, tag = _read(storage, survey)
    own = own_folder(storage, survey)
    roots = [*([own] if own else []), *(Path(root) for root in ledger["roots"])]
    gone = [str(root) for root in roots if not root.exists()]
    names = {} if gone else {_name(storage, file): file for root in roots for file in files_under(root, survey)}
    gone = gone or [name for name in ledger["files"] if name not in names]
    if gone:
        left = " ".join(str(root) for root in roots if root.exists()) or "PATH..."
        raise LakeError(
            f"{survey.name}: {listing(gone, 5)} is gone, but tables were built from it, or were to be; bring it back (is the "
            f"disk mounted?), or, if it was taken away on purpose, say so: `gaialake ingest {survey.name} --replace --raw {left}`"
        )
    known: dict[str, dict[str, Any]] = ledger["files"]
    stats = {name: file.stat() for name, file in names.items()}
    stale = [name for name, state in stats.items() if not _is_known(known.get(name, {}), state)]
    if stale:
        with ThreadPoolExecutor(_THREADS) as pool:
            for done, (name, checksum) in enumerate(
                zip(stale, pool.map(lambda name: _sha256(names[name]), stale), strict=True), 1
            ):
                known[name] = {"bytes": stats[name].st_size, "mtime_ns": stats[name].st_mtime_ns, "sha256": checksum}
                if progress:
                    progress(done, len(stale))
                if save and (done % _SAVE_EVERY == 0 or done == len(stale)):
                    tag = _write(storage, survey, {"roots": ledger["roots"], "files": known}, tag)
    found: dict[str, RawFile] = {}
    for name in sorted(names):
        entry = known[name]
        found.setdefault(entry["sha256"], RawFile(names[name], name, entry["bytes"], entry["mtime_ns"], entry["sha256"]))
    return list(found.values())


def ignored_files(storage: Storage, survey: Survey) -> list[str]:
    """Return names of files in registered folders that do not look like the survey's."""
    roots = [Path(root) for root in _read(storage, survey)[0]["roots"]]
    return sorted(
        str(f) for root in roots if root.is_dir() for f in root.rglob("*") if f.is_file() and not survey.accepts(f.name)
    )


def files_under(root: Path, survey: Survey) -> list[Path]:
    """Return a file as it is, or the files of a folder whose names fit the survey."""
    if root.is_file():
        return [root]
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    ours = [path for path in files if survey.accepts(path.name)]
    if not ours:
        raise LakeError(
            f"{root}: no file of {survey.name} by its name (expected {listing(survey.patterns)}); the folder holds "
            f"{listing(path.name for path in files)}. Name the files themselves to ingest them whatever they are called"
        )
    return ours


def _name(storage: Storage, file: Path) -> str:
    return str(file).removeprefix(f"{storage.root}/")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(storage: Storage, survey: Survey) -> tuple[dict[str, Any], str | None]:
    """Return the ledger, and the tag without which an object store lets nobody replace it."""
    key = ledger_key(survey.name)
    data, tag = read_version(storage, key)
    try:
        held = json.loads(data) if data is not None else {}
        roots, files = held.get("roots", []), held.get("files", {})
        if not isinstance(roots, list) or not isinstance(files, dict):
            raise TypeError("roots or files are missing")
    except (AttributeError, TypeError, ValueError) as error:
        raise LakeError(
            f"{storage.root}/{key}: not a ledger of raw files ({error}); restore it, or delete it and name the files again with "
            f"`gaialake ingest {survey.name} --raw PATH...`"
        ) from error
    return {"roots": roots, "files": files}, tag


def _write(storage: Storage, survey: Survey, ledger: dict[str, Any], tag: str | None) -> str | None:
    return write_version(storage, ledger_key(survey.name), json_bytes(ledger), tag)
