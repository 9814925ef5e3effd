"""Replace the catalogue, keep every one that was published, and go back to an earlier one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lake.errors import BusyError, LakeError, listing
from lake.exchange import OvertakenError, exchange, read_version, write_version
from lake.manifest import files_gone, manifest_at
from lake.plain import derive_plain, to_yaml
from lake.root import held_builds, parse_catalog, read_catalog
from lake.storage import CATALOG, LAKE, Storage

_HISTORY = "history"


@dataclass(frozen=True)
class Held:
    """The catalogue as it was read, and the tag by which an object store knows that it is still the same."""

    content: Mapping[str, Any]
    tag: str | None

    @property
    def sources(self) -> dict[str, Any]:
        """Entries by table."""
        return dict(self.content.get("sources", {}))

    @property
    def metadata(self) -> dict[str, Any]:
        """Serial number, date, and what else it says of itself; empty before anything was published."""
        return dict(self.content.get("metadata", {}))


def history_key(serial: int) -> str:
    """Return the key of a catalogue that was published.

    >>> history_key(12)
    'history/000012.yaml'
    """
    return f"{_HISTORY}/{serial:06d}.yaml"


def hold(storage: Storage) -> Held:
    """Read the catalogue in order to replace it."""
    data, tag = read_version(storage, CATALOG)
    return Held({} if data is None else parse_catalog(storage, CATALOG, data), tag)


def replace_catalog(storage: Storage, held: Held, sources: Mapping[str, Any], said: Mapping[str, Any], fence: int | None) -> int:
    """Put a new catalogue in the place of the one that was read, and derive what follows from it; return its serial number.

    Parameters
    ----------
    sources
        Its entries.
    said
        What it says of itself beside release, grid, date and numbers; ``former`` is the catalogue that a roll-back returns to.
    fence
        Number of the writer's lease; None where there is none.

    Raises
    ------
    BusyError
        If a later writer is at work, or another one has replaced the catalogue meanwhile; it stays as it is.
    LakeError
        If the catalogue cannot be written; the old one then stays.
    """
    lake = storage.read_json(LAKE)
    _refuse_late(storage, held, fence)
    serial = int(held.metadata.get("serial", 0))
    if "published" in held.metadata and not storage.exists(history_key(serial)):
        # Who published it was killed before it was kept, or was of a version that kept none.
        storage.write_bytes(history_key(serial), to_yaml(held.content))
    metadata = {
        "version": 1,
        "title": f"gaialake, release {lake['release']}",
        "release": lake["release"],
        "grid": lake["grid"]["id"],
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
        "serial": serial + 1,
        **said,
    }
    if fence is not None:
        metadata["fence"] = fence
    data = to_yaml({"metadata": metadata, "sources": {name: sources[name] for name in sorted(sources)}})
    _write(storage, held, data)
    # Not before: a late writer's catalogue, which is refused, would stand in the place of the one that was published.
    storage.write_bytes(history_key(serial + 1), data)
    derive_plain(storage)
    return serial + 1


def _refuse_late(storage: Storage, held: Held, fence: int | None) -> None:
    known = int(held.metadata.get("fence", 0))
    if fence is not None and known > fence:
        raise BusyError(
            f"{storage.root}: the catalogue was written under lease number {known}, this run holds number {fence}, which has "
            "expired; nothing was replaced. Run this again: finished work is kept"
        )


def _write(storage: Storage, held: Held, data: bytes) -> None:
    try:
        write_version(storage, CATALOG, data, held.tag)
    except OvertakenError as error:
        raise BusyError(
            f"{storage.root}: another writer replaced the catalogue meanwhile, so this one was not written; run this again: "
            "finished work is kept"
        ) from error


def last_fence(storage: Storage) -> int:
    """Return the highest number of a lease that the catalogue knows; 0 before there was any."""
    return int(read_catalog(storage).get("metadata", {}).get("fence", 0))


def fence_off(storage: Storage, fence: int) -> None:
    """Write the number of a new lease into the catalogue, so that the writer whose lease expired cannot replace it any more.

    Raises
    ------
    BusyError
        If a still later writer was faster.
    """
    held = hold(storage)
    _refuse_late(storage, held, fence)
    content = {"metadata": {**held.metadata, "fence": fence}, "sources": held.sources}
    try:
        exchange(storage, CATALOG, to_yaml(content), held.tag)
    except OvertakenError:
        # The late writer got through before; what it published is whole, and what comes next is refused.
        fence_off(storage, fence)


def published_before(storage: Storage) -> dict[int, Mapping[str, Any]]:
    """Return the metadata and sources of every catalogue that was published, by serial number, the current one included."""
    current = read_catalog(storage)
    last = int(current.get("metadata", {}).get("serial", 0))
    found: dict[int, Mapping[str, Any]] = {}
    for name in storage.names(_HISTORY):
        number = name.removesuffix(".yaml")
        if number.isdigit() and int(number) < last:
            found[int(number)] = parse_catalog(storage, f"{_HISTORY}/{name}", storage.read_bytes(f"{_HISTORY}/{name}"))
    if current:
        found[last] = current
    return found


def roll_back(storage: Storage, *, to: int | None = None, fence: int | None = None) -> tuple[int, dict[str, tuple[str, str]]]:
    """Publish an earlier catalogue again; what it takes back stays unpublished until its inputs change.

    Parameters
    ----------
    to
        Serial number of the catalogue; the one before the current one (or before what was rolled back to last) if None.

    Returns
    -------
    serial
        The number of the catalogue that was restored.
    changed
        Table -> (build that was published, build that is published now); empty for none.

    Raises
    ------
    LakeError
        If there is no such catalogue, or files that it needs are gone.
    """
    held = hold(storage)
    if not held.content:
        raise LakeError(f"{storage.root}: nothing was published yet, so there is nothing to go back to")
    known = published_before(storage)
    wanted = to if to is not None else held.metadata.get("former")
    earlier = sorted(serial for serial in known if serial < int(held.metadata.get("serial", 0)))
    if wanted is None or wanted not in earlier:
        which = f"catalogue {wanted} is not kept" if wanted is not None else "there is no catalogue before the current one"
        raise LakeError(f"{storage.root}: {which}; there are {listing(earlier)}: `gaialake rollback --list`")
    target = known[wanted]
    _refuse_incomplete(storage, wanted, target)
    before, after = _builds(held.sources), _builds(target["sources"])
    changed = {
        name: (before.get(name, ""), after.get(name, ""))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
    taken_back = {name: build for name, (build, _) in changed.items() if build}
    said = {"held": {**held_builds(held.content), **taken_back}, "restored": wanted}
    former = target["metadata"].get("former")
    if former is not None:
        said["former"] = former
    replace_catalog(storage, held, target["sources"], said, fence)
    return wanted, changed


def _builds(sources: Mapping[str, Any]) -> dict[str, str]:
    return {name: one["metadata"]["build"] for name, one in sources.items() if "build" in one["metadata"]}


def _refuse_incomplete(storage: Storage, serial: int, target: Mapping[str, Any]) -> None:
    for one in target["sources"].values():
        if "manifest" in one["metadata"]:
            manifest = manifest_at(storage, one["metadata"]["manifest"])
            if gone := files_gone(storage, manifest.partitions):
                raise LakeError(
                    f"{storage.root}: catalogue {serial} names files of {manifest.table} that are gone ({listing(gone, 3)}); "
                    "nothing was replaced. Bring them back, or choose another one of `gaialake rollback --list`"
                )
