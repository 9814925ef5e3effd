"""Let one writer at a time into a lake on an object store: a lease with heartbeat, expiry and fencing number."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from lake.errors import BusyError, LakeError
from lake.exchange import OvertakenError, Tagged, exchange, read_tagged
from lake.history import fence_off, last_fence
from lake.storage import Storage

LEASE = "lease.json"
# Seconds after which a writer that gave no sign of life has lost its lease.
EXPIRY = 60.0
_BEATS = 4


class Lease:
    """A lease that is held: renewed by a thread, lost when that fails for as long as it would take to expire."""

    def __init__(self, storage: Storage, record: dict[str, Any], tag: str) -> None:
        self._storage, self._record, self._tag = storage, record, tag
        self._renewed, self._lost = time.monotonic(), False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    @property
    def fence(self) -> int:
        """Number of the lease; every later one has a higher number."""
        return int(self._record["fence"])

    def confirm(self) -> None:
        """Make sure that the lease is still held.

        Raises
        ------
        BusyError
            If it expired or another writer took it over; what is finished is kept, but nothing may be published.
        """
        if self._lost or time.monotonic() - self._renewed > self._record["expiry"]:
            raise BusyError(
                f"{self._storage.root}: the lease number {self.fence} of this run was lost: it gave no sign of life for "
                f"{self._record['expiry']:.0f} s (a stopped process, or no network), so another writer may be at work. Nothing "
                "more is written; run this again, finished work is kept"
            )

    def _beat(self) -> None:
        while not self._stop.wait(self._record["expiry"] / _BEATS):
            record = self._record | {"beats": self._record["beats"] + 1}
            asked = time.monotonic()
            try:
                self._tag = exchange(self._storage, LEASE, _bytes(record), self._tag)
            except OvertakenError:
                self._lost = True
                return
            except LakeError:
                # The store does not answer: the next beat may get through; `confirm` counts the time.
                continue
            self._record, self._renewed = record, asked

    def release(self) -> None:
        """Let go of the lease; one that was lost is the other writer's business."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(LakeError):
            exchange(self._storage, LEASE, _bytes({"owner": None, "fence": self.fence}), self._tag)


def _bytes(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode()


def _parsed(storage: Storage, held: Tagged) -> dict[str, Any]:
    try:
        record = {**dict.fromkeys(("verb", "host", "pid", "since"), "unknown"), **json.loads(held.data)}
        return record | {"fence": int(record["fence"]), "expiry": float(record.get("expiry", EXPIRY))}
    except (KeyError, TypeError, ValueError) as error:
        raise LakeError(f"{storage.root}/{LEASE}: not a lease ({error!r}); delete it when no writer is at work") from error


def lease_owner(storage: Storage) -> dict[str, Any] | None:
    """Return who holds the lease now: verb, host, pid, since, and the seconds since its last sign of life; None if nobody."""
    held = read_tagged(storage, LEASE)
    if held is None:
        return None
    record = _parsed(storage, held)
    if record.get("owner") is None or held.age > record["expiry"]:
        return None
    return {name: record.get(name) for name in ("verb", "host", "pid", "since")} | {"age": held.age}


@contextmanager
def leased(storage: Storage, verb: str, expiry: float = EXPIRY) -> Iterator[Lease]:
    """Hold the lake's lease.

    Raises
    ------
    BusyError
        If another writer holds it; the message names that process and says when the lease would expire.
    """
    held = read_tagged(storage, LEASE)
    # Somebody may have deleted the lease; the catalogue still knows the numbers under which it was written.
    former: dict[str, Any] = _parsed(storage, held) if held else {"owner": None, "fence": last_fence(storage)}
    if held and former.get("owner") is not None and held.age <= former["expiry"]:
        raise BusyError(
            f"{storage.root}: another writer is at work ({former['verb']} on {former['host']}, pid {former['pid']}, since "
            f"{former['since']}, last sign of life {held.age:.0f} s ago); wait for it, or stop it, and run this again. If it is "
            f"dead, its lease expires {former['expiry']:.0f} s after its last sign of life"
        )
    record = {
        "owner": uuid.uuid4().hex,
        "fence": former["fence"] + 1,
        "beats": 0,
        "expiry": expiry,
        "verb": verb,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        tag = exchange(storage, LEASE, _bytes(record), held.tag if held else None)
    except OvertakenError as error:
        raise BusyError(f"{storage.root}: another writer has just begun; wait for it, and run this again") from error
    lease = Lease(storage, record, tag)
    try:
        if former.get("owner") is not None:
            fence_off(storage, lease.fence)
        yield lease
    finally:
        lease.release()
