"""Audit a build before it is published: every file against the manifest, every value against the vocabulary.

A file that an earlier build was audited with, under the same limits, is not read again: files never change once written.
``deep`` reads all of them, to find what a disk did to them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.columns import COLUMNS
from lake.errors import CheckError, listing
from lake.ingest import Runner, builds, serial
from lake.manifest import Manifest, Partition, add_up, digest, files_there, write_manifest
from lake.parquet import parquet_file
from lake.partition import Ids, file_name, first_id
from lake.storage import Storage
from lake.table import schema_named
from lake.verify import Verdict

_OUTSIDE = "lie outside"


@dataclass(frozen=True)
class CheckTask:
    """Order to audit one file of a build."""

    storage: Storage
    part: Partition
    fields: tuple[tuple[str, str], ...]


def check_partition(task: CheckTask) -> dict[str, Any]:
    """Audit one file, row group by row group.

    Returns
    -------
    dict
        ``file``; ``key`` and ``sha256`` of the file; ``problems``: list of sentences, empty for a sound file; ``nulls``:
        column -> number of nulls.
    """
    part = task.part
    name = file_name(part.first, part.end)
    problems: list[str] = []
    nulls: dict[str, int] = {}
    lost = sum(part.dropped.values())
    if part.rows + lost != part.rows_in:
        problems.append(f"{name}: {part.rows_in} rows in, but {part.rows} kept and {lost} dropped by reason")
    if part.key is not None:
        damage = _damage(task.storage, part)
        problems.extend([damage] if damage else _content_problems(task, nulls))
    return {"file": name, "key": part.key, "sha256": part.sha256, "problems": problems, "nulls": nulls}


def _damage(storage: Storage, part: Partition) -> str | None:
    """Say what happened to a file that is not the one that was written; None for a sound one."""
    assert part.key is not None
    if not storage.exists(part.key):
        return f"{part.key}: the file is gone; build the table again"
    checksum = hashlib.sha256()
    with storage.open_input(part.key) as file:
        while block := file.read(1 << 22):
            checksum.update(block)
    if checksum.hexdigest() == part.sha256:
        return None
    was = f"sha256 {checksum.hexdigest()[:12]}, manifest {str(part.sha256)[:12]}"
    return f"{part.key}: its content changed since it was written ({was}); delete the file and build the table again"


def _content_problems(task: CheckTask, nulls: dict[str, int]) -> list[str]:
    """Read a file row group by row group; count nulls, and return what is wrong with ids, rows, types and values."""
    part = task.part
    assert part.key is not None
    problems: list[str] = []
    outside: dict[str, tuple[int, object, int]] = {}
    last, rows = first_id(part.first) - 1, 0
    with parquet_file(task.storage, part.key) as held:
        if not held.schema_arrow.equals(schema_named(task.fields)):
            return [f"{part.key}: columns or types differ from the manifest's; build the table again"]
        for group in range(held.num_row_groups):
            table = held.read_row_group(group, use_threads=False)
            ids: Ids = table["source_id"].to_numpy()
            steps = np.diff(np.concatenate([[last], ids]))
            if (steps <= 0).any():
                at = int(np.argmax(steps <= 0))
                problems.append(f"{part.key}: source_id {ids[at]} does not ascend; ids must be sorted and unique")
            last, rows = int(ids[-1]), rows + len(ids)
            for column in table.column_names:
                nulls[column] = nulls.get(column, 0) + table[column].null_count
                _note_outside(table, column, outside)
    if last >= first_id(part.end):
        problems.append(f"{part.key}: source_id {last} lies beyond the file's pixels, {part.first} to {part.end - 1}")
    if rows != part.rows:
        problems.append(f"{part.key}: holds {rows} rows, the manifest says {part.rows}")
    for column, (count, value, star) in outside.items():
        known = COLUMNS[column]
        problems.append(
            f"{part.key}: {count:,} values of {column} {_OUTSIDE} [{known.low}, {known.high}] {known.unit}, "
            f"the first being {value!r} of source_id {star}"
        )
    return problems


def _note_outside(table: pa.Table, name: str, outside: dict[str, tuple[int, object, int]]) -> None:
    """Count values beyond a column's limits (and non-finite ones); remember the first and its source."""
    known = COLUMNS.get(name)
    values = table[name].combine_chunks()
    size = 1
    if pa.types.is_fixed_size_list(values.type):
        size = values.type.list_size
        there = np.flatnonzero(np.asarray(pc.is_valid(values)))
        values = values.flatten()
    else:
        there = np.arange(len(values))
    if known is None or not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)) or not len(values):
        return
    # Limits take the column's own type: ids do not survive a trip through float, and 1.001 is above itself as float32.
    whole = pa.types.is_integer(values.type)
    low, high = (
        None if bound is None else pa.scalar(int(bound) if whole else bound, values.type) for bound in (known.low, known.high)
    )
    bad = pc.invert(pc.is_finite(values))
    if low is not None:
        bad = pc.or_(bad, pc.less(values, low))
    if high is not None:
        bad = pc.or_(bad, pc.greater(values, high))
    count = pc.sum(pc.fill_null(bad, False)).as_py() or 0
    if count:
        at = pc.index(pc.fill_null(bad, False), True).as_py()
        before = outside.get(name)
        star = table["source_id"][int(there[at // size])].as_py()
        outside[name] = (count + before[0], before[1], before[2]) if before else (count, values[at].as_py(), star)


def _failure(manifest: Manifest, problems: list[str]) -> CheckError:
    """Return the error for a build with problems; where values are to blame, name raw files and the way out."""
    shown = "\n  ".join(f"{problem}{_raw_files(manifest, problem)}" for problem in problems[:20])
    more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
    way_out = (
        f"\nMend the raw file, or leave it out: `gaialake ingest {manifest.table} --replace --raw PATH...` with all the others"
        if any(_OUTSIDE in problem for problem in problems)
        else ""
    )
    what = f"table {manifest.table}, build {manifest.build} failed its check and is not published by this run"
    return CheckError(f"{what}; the catalogue is unchanged:\n  {shown}{more}{way_out}")


def _raw_files(manifest: Manifest, problem: str) -> str:
    """Name the raw files that reach the partition whose values a problem is about."""
    if _OUTSIDE not in problem:
        return ""
    leaf = 0
    for part in manifest.partitions:
        leaves = range(leaf, leaf + len(part.leaf_rows))
        leaf = leaves.stop
        if part.key is not None and problem.startswith(part.key):
            names = [one.name for one in manifest.inputs if any(at in leaves for at in one.leaves)]
            return f" (made from {listing(names, 3)})" if names else ""
    return ""


def _limits(manifest: Manifest) -> str:
    """Hash what the values of a table are compared with."""
    names = [one["name"] for one in manifest.columns]
    return digest([[name, COLUMNS[name].low, COLUMNS[name].high] for name in names if name in COLUMNS])[:16]


def _report_key(build: str) -> str:
    return f"reports/{build}/check.json"


def _audited_before(storage: Storage, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return the records of files that passed under the same limits and schema, by key."""
    found: dict[str, dict[str, Any]] = {}
    for build in builds(storage, manifest.table):
        if storage.exists(_report_key(build)):
            held = storage.read_json(_report_key(build))
            if (held["limits"], held["schema"]) == (_limits(manifest), manifest.schema_hash):
                found |= {record["key"]: record for record in held["files"] if record["key"]}
    return found


def check(  # noqa: PLR0913
    storage: Storage,
    manifest: Manifest,
    *,
    run: Runner = serial,
    limit: int | None = None,
    deep: bool = False,
    verify: Callable[[], Verdict] = Verdict,
) -> Manifest:
    """Audit a build; if it is sound, record so in its manifest and return that.

    Parameters
    ----------
    limit
        Number of rows that the published release holds; a build with more is refused.
    deep
        Whether to read files again that were audited as part of an earlier build.
    verify
        What tests the matches of the table, once its files are known to be sound.

    Raises
    ------
    CheckError
        If anything is wrong; the build stays unpublished. The message lists the problems.
    """
    fields = tuple((one["name"], one["type"]) for one in manifest.columns)
    before = {} if deep else _audited_before(storage, manifest)
    there = files_there(storage, manifest.partitions) if before else set()
    known = {
        part.first: before[part.key]
        for part in manifest.partitions
        if part.key in there and part.key in before and before[part.key]["sha256"] == part.sha256
    }
    tasks = [CheckTask(storage, part, fields) for part in manifest.partitions if part.first not in known]
    records = [*known.values(), *(run(f"check {manifest.table}", check_partition, tasks) if tasks else ())]
    records.sort(key=lambda one: str(one["file"]))
    problems = [problem for record in records for problem in record["problems"]]
    account = manifest.account
    if account["in"] != account["out"] + sum(account["dropped"].values()):
        problems.append(
            f"rows in ({account['in']:,}) are not rows out ({account['out']:,}) plus rows dropped ({account['dropped']})"
        )
    reached = sum(one.rows - sum(one.dropped.values()) for one in manifest.inputs)
    arrived = sum(part.rows_in for part in manifest.partitions)
    if reached != arrived:
        problems.append(f"{reached:,} rows left the raw files, but {arrived:,} arrived in partitions")
    if limit is not None and manifest.rows > limit:
        problems.append(f"{manifest.rows:,} rows, but the release is published with {limit:,}")
    verdict = verify() if not problems else Verdict()
    problems.extend(verdict.problems)
    if problems:
        raise _failure(manifest, problems)
    nulls = add_up(record["nulls"] for record in records)
    passed: dict[str, Any] = {"files": len(records), "nulls": nulls}
    if verdict != Verdict():
        passed |= {
            "relations": list(verdict.records),
            "matches": dict(verdict.statistics),
            "unverified": list(verdict.unverified),
            "asked": verdict.asked,
        }
    report = {"table": manifest.table, "limits": _limits(manifest), "schema": manifest.schema_hash, "files": records}
    storage.write_json(_report_key(manifest.build), report)
    done = replace(manifest, checks=passed)
    write_manifest(storage, done)
    return done
