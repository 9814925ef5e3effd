"""Find what no kept catalogue names, manifests, data files and reports, and delete what has been so for long enough."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lake.errors import LakeError
from lake.history import history_key, published_before
from lake.ingest import scratch_left
from lake.manifest import manifest_at
from lake.root import held_builds
from lake.storage import Storage, Stored, manifest_key
from lake.survey import table_surveys

GRACE = timedelta(hours=24)


@dataclass(frozen=True)
class Garbage:
    """What may be deleted, in the order in which it is: catalogues, manifests, then their files, so that no name leads nowhere.

    Attributes
    ----------
    kept
        Serial numbers of the catalogues that are kept.
    young
        Files that no kept catalogue names, but that are younger than the grace period.
    """

    kept: tuple[int, ...]
    catalogues: tuple[str, ...]
    manifests: tuple[Stored, ...]
    files: tuple[Stored, ...]
    young: tuple[Stored, ...]

    @property
    def keys(self) -> list[str]:
        """Keys to delete, in order."""
        return [*self.catalogues, *(one.key for one in self.manifests), *(one.key for one in self.files)]

    @property
    def bytes(self) -> int:
        """Bytes that deleting frees."""
        return sum(one.bytes for one in (*self.manifests, *self.files))


def garbage(storage: Storage, *, keep: int, grace: timedelta = GRACE, now: datetime | None = None) -> Garbage:
    """Find what may be deleted; nothing is.

    Kept are the `keep` last catalogues, every catalogue that was replaced less than `grace` ago (whoever opened it may still
    read), the builds that these name, builds that a roll-back took back, and builds that are newer than the published one of
    their table, which are not published yet, and what an unfinished run made so far. A file is kept if any kept build names it,
    wherever it lies.

    Parameters
    ----------
    keep
        Number of catalogues, the current one included; at least 1.
    now
        The time, for tests.

    Raises
    ------
    LakeError
        If nothing was published, a kept manifest cannot be read, or the clock is behind what was written.
    """
    if keep < 1:
        raise LakeError(f"--keep {keep}: the published catalogue is always kept, so give 1 or more")
    now = now or datetime.now(UTC)
    known = published_before(storage)
    if not known:
        raise LakeError(f"{storage.root}: nothing was published yet, so what can be deleted is not known")
    catalog = known[max(known)]
    kept = _kept(storage, known, keep, now - grace, now)
    held = {one.key: one for one in storage.files("tables")}
    _refuse_late_clock(storage, held.values(), now)
    manifests = {key: one for key, one in held.items() if key.count("/") == 2 and key.endswith(".json")}
    named = {one["metadata"]["manifest"] for serial in kept for one in known[serial]["sources"].values() if _is_build(one)}
    named |= _newer(catalog, manifests) | {manifest_key(*one) for one in held_builds(catalog).items()}.intersection(manifests)
    files = {part.key for key in sorted(named) for part in manifest_at(storage, key).partitions if part.key}
    spared = named | files | _unfinished(storage, held)
    loose = [one for key, one in held.items() if key not in spared]
    builds = {key.rsplit("/", 1)[-1].removesuffix(".json") for key in named}
    loose += [one for one in storage.files("reports") if _is_report_of_none(one.key, builds)]
    old = [one for one in loose if now - one.modified > grace]
    return Garbage(
        kept=kept,
        catalogues=tuple(history_key(serial) for serial in sorted(known) if serial not in kept),
        manifests=tuple(one for one in old if one.key in manifests),
        files=tuple(one for one in old if one.key not in manifests),
        young=tuple(one for one in loose if now - one.modified <= grace),
    )


def delete(storage: Storage, found: Garbage, *, confirm: Callable[[], None], ended: Callable[[], None]) -> None:
    """Delete what `garbage` found.

    Parameters
    ----------
    confirm
        Raises an error if the lake has another writer by now; called before every deletion.
    ended
        Called after every deletion.
    """
    for key in found.keys:
        confirm()
        storage.remove(key)
        ended()
    for folder in ("tables", "reports"):
        storage.remove_empty(folder)


def _is_build(one: Mapping[str, Any]) -> bool:
    return "manifest" in one["metadata"]


def _kept(storage: Storage, known: Mapping[int, Mapping[str, Any]], keep: int, since: datetime, now: datetime) -> tuple[int, ...]:
    """Return the serials of the last catalogues, and of those that were replaced after `since`."""
    serials = sorted(known)
    kept = set(serials[-keep:])
    for serial, successor in zip(serials, serials[1:], strict=False):
        replaced = _published(storage, successor, known[successor])
        if replaced > now + timedelta(minutes=5):
            raise LakeError(
                f"{storage.root}: catalogue {successor} was published at {replaced:%Y-%m-%d %H:%M:%S} UTC, but the clock of this "
                f"machine says {now:%Y-%m-%d %H:%M:%S}: it is behind, so ages are not known and nothing was deleted; set the "
                "clock, or wait until it has passed that time"
            )
        if replaced > since:
            kept.add(serial)
    return tuple(sorted(kept))


def _published(storage: Storage, serial: int, content: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(content["metadata"]["published"])
    except (KeyError, TypeError, ValueError) as error:
        raise LakeError(f"{storage.root}/{history_key(serial)}: says no date of publication ({error!r}); restore it") from error


def _refuse_late_clock(storage: Storage, files: Iterable[Stored], now: datetime) -> None:
    late = [one for one in files if one.modified > now + timedelta(minutes=5)]
    if late:
        raise LakeError(
            f"{storage.root}: {len(late)} files are of a later date than the clock of this machine says "
            f"({late[0].key}: {late[0].modified:%Y-%m-%d %H:%M:%S} UTC, now {now:%Y-%m-%d %H:%M:%S}), so ages are not known and "
            "nothing was deleted; set the clock, or wait until it has passed that time"
        )


def _newer(catalog: Mapping[str, Any], manifests: Mapping[str, Stored]) -> set[str]:
    """Return the manifests that are not older than that of their table's published build, and those of unpublished tables."""
    published = [one["metadata"].get("manifest") for one in catalog["sources"].values()]
    since = {key.split("/")[1]: manifests[key].modified for key in published if key in manifests}
    return {key for key, one in manifests.items() if one.modified >= since.get(key.split("/")[1], one.modified)}


def _unfinished(storage: Storage, held: Iterable[str]) -> set[str]:
    """Return the files without a manifest of tables on which an unfinished run left work: the next one continues from them."""
    left = set(scratch_left(storage))
    own = {name: survey.name for name, survey in table_surveys().items()}
    tables = {name for name in storage.names("tables") if left & {name, own.get(name)}}
    keys = set(held)
    return {
        key
        for key in keys
        if key.count("/") == 3 and key.split("/")[1] in tables and f"{key.rpartition('/')[0]}.json" not in keys
    }


def _is_report_of_none(key: str, builds: set[str]) -> bool:
    """Tell whether an audit's report belongs to a build that is not kept; records of nights belong to none."""
    parts = key.split("/")
    return len(parts) == 3 and parts[2] == "check.json" and parts[1] not in builds
