"""Keep the record of a nightly: what each step did, what became of every table, how it ended, and what is served now."""

import importlib.metadata
import json
import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobs import terminal
from jobs.journal import LakeLog, event, free_name, listening, reason, without_secrets
from jobs.lock import Writer
from jobs.metrics import exposition
from jobs.terminal import say
from lake.errors import BusyError, LakeError, OutageError, listing
from lake.manifest import Manifest
from lake.root import read_catalog
from lake.storage import Storage

DONE, FAILED, NOTHING, BUSY, STOPPED = 0, 1, 3, 75, 130
LAST, METRICS = "reports/last.json", "reports/gaialake.prom"
_OUTCOMES = {DONE: "built", NOTHING: "nothing to do", STOPPED: "stopped"}
_SHOWN = {"ended", "error", "exit_code", "failures", "last_success", "outcome", "seconds"}
_LINE = 300


def exit_code(error: BaseException) -> int:
    """Return the exit code of a run that an error ended."""
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    return BUSY if isinstance(error, BusyError) else FAILED


@dataclass
class Night:
    """What a run did, step by step and table by table.

    Attributes
    ----------
    name
        Key of its record, without an ending.
    writer
        The lock under which it runs.
    before
        What the catalogue said of every published table when the run began.
    busy
        Whether it found something to do; one that did not leaves no file of its own.
    """

    storage: Storage
    name: str
    log: LakeLog
    profile: str
    writer: Writer
    before: Mapping[str, Mapping[str, Any]]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: float = field(default_factory=time.monotonic)
    steps: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    busy: bool = False

    @property
    def code(self) -> int:
        """Exit code of the run, should nothing fail."""
        return DONE if self.busy else NOTHING

    def begin(self) -> None:
        """Note that there is something to do."""
        self.busy = True
        self.log.save()

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Time one step; what it did is added to the record that this yields."""
        record: dict[str, Any] = {"step": name}
        begun = time.monotonic()
        say(name)
        event("step started", step=name)
        try:
            yield record
        except BaseException as error:
            record["error"] = without_secrets(reason(error))
            raise
        finally:
            record["seconds"] = round(time.monotonic() - begun, 2)
            self.steps.append(record)
            event("step ended", **record)
            if self.busy:
                self.log.save()

    @contextmanager
    def excusing(self, what: str, tables: Iterable[str] = ()) -> Iterator[None]:
        """Note an error of one survey or model, and let the rest of the run go on; an outage or another writer ends it."""
        try:
            yield
        except (BusyError, OutageError):
            raise
        except LakeError as error:
            say(f"  {what} failed; the rest goes on")
            self.fail(what, tables, str(error))

    def fail(self, what: str, tables: Iterable[str], why: str) -> None:
        """Note a failure, and the tables that it keeps as they were."""
        names = list(tables)
        self.failures.append({"what": what, "tables": names, "error": without_secrets(why)})
        event("failed", level=logging.ERROR, step=what, tables=names, error=why)
        for name in names:
            self._table(name)["failures"] += 1

    def made(self, manifest: Manifest, seconds: float) -> None:
        """Note a build and the seconds that went into it."""
        files = [part.key for part in manifest.partitions if part.key]
        new = sum(f"/{manifest.build}/" in key for key in files)
        held = self._table(manifest.table)
        held |= {"build": manifest.build, "rows": manifest.rows, "bytes": manifest.bytes, "files": len(files)}
        held |= {"dropped": manifest.account["dropped"], "partitions_made": new, "partitions_kept": len(files) - new}
        held["seconds"] = round(held["seconds"] + seconds, 2)

    def _table(self, name: str) -> dict[str, Any]:
        return self.tables.setdefault(name, {"seconds": 0.0, "failures": 0})

    def record(self, error: BaseException | None, served: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return all of it as it is stored; what it published is what the catalogue says anew, however it was interrupted."""
        code = exit_code(error) if error else self.code
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        before = last(self.storage) or {}
        held = {
            "started": self.started.isoformat(timespec="seconds"),
            "ended": ended,
            "seconds": round(time.monotonic() - self.begun, 2),
            "outcome": _OUTCOMES.get(code, "failed"),
            "exit_code": code,
            "error": reason(error) if error else None,
            "last_success": ended if code in (DONE, NOTHING) else before.get("last_success"),
            "lake": self.storage.root,
            "profile": self.profile,
            "fence": self.writer.fence,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": _version(),
            "record": f"{self.name}.json" if self.busy else None,
            "steps": self.steps,
            "tables": self.tables,
            "published": [name for name, held in served.items() if held.get("build") != self.before.get(name, {}).get("build")],
            "failures": self.failures,
        }
        return dict(json.loads(without_secrets(json.dumps(held, default=str))))

    def end(self, error: BaseException | None) -> None:
        """Write the record and show it; one that cannot be written is told, and hides no other error."""
        self.busy = self.busy or error is not None
        served = _served(self.storage)
        record = self.record(error, served)
        event(
            "run ended",
            outcome=record["outcome"],
            exit_code=record["exit_code"],
            seconds=record["seconds"],
            error=record["error"],
        )
        if self.busy:
            self.log.save()
            self._write(".json", _json(record))
        self._write(LAST, _json(record))
        self._write(METRICS, exposition(record, served))
        if self.busy:
            with terminal.kept() as screen:
                show(record, served)
            said = f"error: {record['error']}\n" if error else ""
            self._write(".txt", (without_secrets("".join(screen)) + said).encode())

    def _write(self, key: str, data: bytes) -> None:
        try:
            self.storage.write_bytes(self.name + key if key.startswith(".") else key, data)
        except (LakeError, OSError) as problem:
            terminal.complain(f"this part of the record of the run is not kept: {problem}")


@contextmanager
def recorded(storage: Storage, profile: str, writer: Writer) -> Iterator[Night]:
    """Keep log and record of a nightly, however it ends."""
    started = datetime.now(UTC)
    name = free_name(storage, "nightly", started)
    night = Night(storage, name, LakeLog(storage, f"{name}.jsonl"), profile, writer, _served(storage), started)
    with listening(night.log):
        event("run started", verb="nightly", profile=profile, host=socket.gethostname(), pid=os.getpid())
        try:
            yield night
            night.end(None)
        except BaseException as error:
            # That of a run which is stopped while it writes its record as well.
            night.end(error)
            raise


def last(storage: Storage) -> dict[str, Any] | None:
    """Return the record of the last nightly; None if there is none, or it is none of ours."""
    with suppress(LakeError, OSError):
        held = storage.read_json(LAST)
        if isinstance(held, dict) and held.keys() >= _SHOWN and isinstance(held["failures"], list):
            sound = all(isinstance(one, dict) and one.keys() >= {"what", "error"} for one in held["failures"])
            return held if sound and _is_time(held["last_success"]) else None
    return None


def _is_time(text: object) -> bool:
    try:
        return text is None or bool(datetime.fromisoformat(str(text)))
    except ValueError:
        return False


def show(record: Mapping[str, Any], served: Mapping[str, Mapping[str, Any]]) -> None:
    """Print in one screen what happened, what is served now, and what to do next."""
    tables = record["tables"]
    rows = []
    for name in record["published"]:
        held = tables.get(name, {})
        dropped = ", ".join(f"{rows:,} {reason}" for reason, rows in held.get("dropped", {}).items()) or "none"
        made, kept = held.get("partitions_made", 0), held.get("partitions_kept", 0)
        rows.append(
            (name, f"{held.get('rows', 0):,}", dropped, made, kept, terminal.size(held.get("bytes", 0)), held.get("build"))
        )
    if rows:
        terminal.table(("published", "rows", "rows dropped", "files made", "kept", "bytes", "build"), rows, right=(1, 3, 4, 5))
        say()
    if record["steps"]:
        terminal.table(("step", "seconds"), [(one["step"], f"{one['seconds']:.1f}") for one in record["steps"]], right=(1,))
    if record["failures"]:
        say()
        terminal.table(("failed", "why"), [(one["what"], _short(one["error"])) for one in record["failures"]])
    say()
    where = next((one["step"] for one in reversed(record["steps"]) if one.get("error")), None)
    at = f" at: {where}" if record["exit_code"] not in (DONE, NOTHING) and where else ""
    say(f"nightly: {record['outcome']}{at}; {record['seconds']:.0f} s, exit code {record['exit_code']}")
    say(f"served now: {_said_served(record, served)}")
    say(f"next: {_next(record)}")
    say(f"record of this run: {record['lake']}/{record['record']}")


def _said_served(record: Mapping[str, Any], served: Mapping[str, Mapping[str, Any]]) -> str:
    if not served:
        return "nothing; no table was ever published, or the catalogue cannot be read"
    new = [name for name in record["published"] if name in served]
    rest = len(served) - len(new)
    old = sorted({table for one in record["failures"] for table in one["tables"] if table in served})
    said = f"{terminal.counted(len(new), 'table')} of this run, {rest} as before"
    said = said if new else f"{terminal.counted(rest, 'table')}, as before this run"
    return said + (f"; older than their files: {listing(old)}" if old else "")


def _next(record: Mapping[str, Any]) -> str:
    command = f"gaialake --lake {record['lake']}"
    if record["outcome"] == "stopped":
        return f"`{command} nightly` continues where this run stopped"
    if record["outcome"] == "failed":
        return f"mend what the error names, then `{command} nightly` again: finished work is kept"
    return f"`{command} status` shows all that is published"


def _short(text: str) -> str:
    return text if len(text) <= _LINE else text[:_LINE] + " ..."


def _served(storage: Storage) -> dict[str, dict[str, Any]]:
    """Return what the catalogue says of every published table; nothing if it cannot be read."""
    with suppress(LakeError, OSError):
        held: dict[str, Any] = read_catalog(storage).get("sources", {})
        return {name: dict(one["metadata"]) for name, one in held.items() if "manifest" in one["metadata"]}
    return {}


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def _version() -> str:
    try:
        return importlib.metadata.version("gaialake")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
