"""Say how a lake is: who writes to it, how the last nightly went, what is published, held back and unfinished."""

import json
from collections.abc import Mapping
from typing import Any

from jobs.lock import owner
from jobs.night import last
from jobs.product import bundle_key, current_key
from jobs.terminal import counted, document, say, size, table
from lake.errors import LakeError, OutageError, listing
from lake.history import history_key
from lake.ingest import scratch_left
from lake.manifest import manifest_at
from lake.root import Lake, held_builds, read_catalog
from lake.storage import Storage

_LINE = 200
_NIGHT, _SECOND = "nightly-", len("2000-01-01T020000")


def status(lake: Lake) -> dict[str, Any]:
    """Return all that `gaialake status` shows; nothing is written, and a writer is not disturbed.

    Returns
    -------
    dict
        ``lake``, ``release``, ``grid``; ``writer``: who writes now, or None; ``nightly``: the record of the last one, or None;
        ``killed``: the log of a nightly since that one that ended without a record, or None;
        ``tables`` (see `summary`); ``bundles`` (see `current_bundles`); ``held``: table -> build that a roll-back took back;
        ``unfinished``: surveys and tables;
        ``history``: how many catalogues were kept, and their bytes.
    """
    storage = lake.storage
    kept = list(storage.files(history_key(0).rpartition("/")[0]))
    begun = _last_log(storage)
    writer, nightly = owner(storage), last(storage)
    return {
        "lake": storage.root,
        "release": lake.release,
        "grid": {"name": lake.grid.name, "id": lake.grid.id, "partitions": len(lake.grid)},
        "writer": writer,
        "nightly": nightly,
        "killed": None if (writer or {}).get("verb") == "nightly" else _without_record(storage, begun, nightly or {}),
        "tables": summary(lake),
        "bundles": current_bundles(lake),
        "held": held_builds(read_catalog(storage)),
        "unfinished": scratch_left(storage),
        "history": {"catalogues": len(kept), "bytes": sum(one.bytes for one in kept)},
    }


def _last_log(storage: Storage) -> str | None:
    """Return the name, without its ending, of the log of the last nightly that found something to do."""
    return max((one.removesuffix(".jsonl") for one in storage.names("reports") if _is_log(one)), default=None)


def _is_log(name: str) -> bool:
    return name.startswith(_NIGHT) and name.endswith(".jsonl")


def _without_record(storage: Storage, begun: str | None, record: Mapping[str, Any]) -> str | None:
    """Return the log of a nightly that a kill, or the machine's end, kept from its record; None if one has ended since."""
    if begun is None or storage.exists(f"reports/{begun}.json"):
        return None
    at = begun.removeprefix(_NIGHT)[:_SECOND]
    return f"reports/{begun}.jsonl" if str(record.get("ended", "")).replace(":", "")[:_SECOND] < at else None


def summary(lake: Lake) -> list[dict[str, Any]]:
    """Return one record per table that is published now: build, rows, bytes, date, and what damaged it, if anything did."""
    records = []
    for name, held in read_catalog(lake.storage).get("sources", {}).items():
        metadata = held["metadata"]
        if "manifest" not in metadata:
            continue
        record = {"table": name} | {key: metadata.get(key) for key in ("build", "rows", "bytes", "created")} | {"damage": None}
        try:
            manifest_at(lake.storage, metadata["manifest"])
        except LakeError as error:
            record["damage"] = str(error)
        records.append(record)
    return records


def current_bundles(lake: Lake) -> list[dict[str, Any]]:
    """Return one record per model that was trained: its current bundle, and the tables that were replaced since its training.

    Such a bundle is mapped over new rows all the same: nobody trains anew but who asks for it.
    """
    records = []
    for name in lake.storage.names("models"):
        record: dict[str, Any] = {"model": name, "bundle": None, "preset": None, "replaced": [], "damage": None}
        try:
            current = lake.storage.find_json(current_key(name))
            if current is None:
                continue
            record |= {"bundle": current["bundle"], "preset": current["preset"]}
            held = lake.storage.read_json(f"{bundle_key(name, current['bundle'])}/bundle.json")
            builds = {table: f"/{build}.json" for table, build in held["training_builds"].items()}
            record["replaced"] = [table for table, key in builds.items() if key not in lake.published.get(table, "")]
        except OutageError:
            raise
        except (LakeError, FileNotFoundError, KeyError, TypeError) as error:
            record["damage"] = f"its document cannot be read: {error}"
        records.append(record)
    return records


def show_status(held: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print it for people, or as JSON."""
    if as_json:
        document(json.dumps(held, indent=1, sort_keys=True))
        return
    grid = held["grid"]
    say(f"{held['lake']}: release {held['release']}, grid {grid['name']} with {grid['partitions']:,} partitions")
    say(f"writing now: {_writer(held['writer'])}")
    say(f"last nightly: {_nightly(held['nightly'])}")
    for one in held["nightly"]["failures"] if held["nightly"] else ():
        say(f"  {one['what']} failed: {_short(one['error'])}")
    if held["killed"]:
        say(f"a nightly since was killed and left no record; {held['killed']} tells how far it came, the next one continues")
    say()
    rows = [
        (one["table"], f"{one['rows']:,}", size(one["bytes"]), _build(one), str(one["created"])[:19]) for one in held["tables"]
    ]
    if rows:
        table(("published table", "rows", "bytes", "build", "created"), rows, right=(1, 2))
    else:
        say("no table is published yet")
    for one in held["bundles"]:
        say(_bundle(one))
    for name, build in held["held"].items():
        say(f"held back since a roll-back: {name} {build}; published again when its inputs have changed, or by `publish --held`")
    for left in held["unfinished"]:
        say(f"unfinished work on {left}: the next run that needs it continues there")
    history = held["history"]
    say(f"history: {counted(history['catalogues'], 'catalogue')}, {size(history['bytes'])}")


def _writer(writer: Mapping[str, Any] | None) -> str:
    if writer is None:
        return "nobody"
    where = f"{writer.get('verb')}, pid {writer.get('pid')} on {writer.get('host')} since {writer.get('since')}"
    return where + (f", dashboard {writer['dashboard']}" if writer.get("dashboard") else "")


def _nightly(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "no record of one"
    took = f"{record['outcome']} (exit code {record['exit_code']}), ended {record['ended']} after {record['seconds']} s"
    good = "" if record["last_success"] == record["ended"] else f"; last success: {record['last_success'] or 'none known'}"
    error = f"; {_short(record['error'])}" if record["error"] and not record["failures"] else ""
    return took + good + error


def _build(one: Mapping[str, Any]) -> str:
    return f"{one['build']} damaged: {one['damage']}" if one["damage"] else str(one["build"])


def _bundle(one: Mapping[str, Any]) -> str:
    said = f"trained: {one['model']}, bundle {one['bundle']}, preset {one['preset']}"
    if one["damage"]:
        return f"{said}; damaged: {_short(one['damage'])}"
    if not one["replaced"]:
        return said
    return f"{said}; it learnt on former builds of {listing(one['replaced'])}: `gaialake train {one['model']}` learns anew"


def _short(text: object) -> str:
    line = str(text).partition("\n")[0]
    return line if len(line) <= _LINE else line[:_LINE] + " ..."
