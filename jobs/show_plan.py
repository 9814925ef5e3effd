"""Show a plan: one screen for people, partition by partition where they ask for it, or JSON for machines."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from jobs.forecast import forecast
from jobs.inventory import Inventory
from jobs.plan import FRESH, HELD, STALE, WAITING, plan_with
from jobs.products import PRODUCTS
from jobs.table_plan import OPEN, TablePlan, total_read
from jobs.terminal import counted, say, size, table
from lake.errors import LakeError, listing
from lake.root import Lake

_NAMED = 3
NO_FILES = "no raw files are registered; name some with `gaialake ingest SURVEY --raw PATH...`"


def whole_plan(
    lake: Lake,
    *,
    only: Sequence[str] | None = None,
    train: Collection[str] = (),
    todo: Collection[str] = (),
    quiet: bool = False,
) -> list[TablePlan]:
    """Return the plan of every table; nothing is written, no cluster is started, no lock taken.

    A survey that cannot be planned waits, as the nightly leaves it out; one that is asked for by name is an error.

    Parameters
    ----------
    only
        Surveys, if not all; products are then left out.
    train
        Products that are to be trained.
    todo
        What would be done with products on the published tables, in words: one that has no need to be trained is not.
    quiet
        Whether to show no progress of hashing raw files that were touched.
    """
    inventory = Inventory(lake, quiet=quiet)
    plans = plan_with(inventory, only, excusing=only is None)
    moved = {step.table for one in plans for step in one.steps if inventory.published.get(step.table) != step.build}
    there = {step.table for one in plans for step in one.steps if step.state not in (WAITING, HELD)}.union(inventory.published)
    trained = [
        name
        for name in dict.fromkeys(train)
        if (held := PRODUCTS[name].learning)
        and there.issuperset(held.needs)
        and (moved.intersection(held.needs + PRODUCTS[name].inputs) or any(line.startswith(f"train {name}:") for line in todo))
    ]
    found = forecast(inventory, plans, train=trained)
    return found if only is None else [one for one in found if any(one.table in held.survey.tables for held in plans)]


def chosen_tables(plans: Sequence[TablePlan], names: Collection[str]) -> list[TablePlan]:
    """Return the plans of these tables; of all if none is named.

    Raises
    ------
    LakeError
        If a table is not among them; the message lists those that are.
    """
    known = [one.table for one in plans]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LakeError(f"no table {unknown[0]!r} is planned here; planned are: {listing(known, 40)}")
    return [one for one in plans if not names or one.table in names]


def show_plan(plans: Sequence[TablePlan], todo: Sequence[str] = (), *, partitions: bool = False) -> None:
    """Print state, partitions to be made, estimates and reason of every table.

    Parameters
    ----------
    todo
        What else would be done, in words.
    partitions
        Whether to list every partition that is to be made, or may be.
    """
    table(("table", "state", "partitions", "rows", "bytes", "why"), [_row(one) for one in plans], right=(2, 3, 4))
    for one in plans if partitions else ():
        _show_partitions(one)
    making = [one for one in plans if one.state == STALE]
    if making:
        say()
        say(f"to be made: {_counted(making)}; {_estimated(making)} written, {size(total_read(making))} read")
    for one in making:
        if one.unread:
            names = listing([held.file.path.name for held in one.unread], _NAMED)
            say(f"{one.table}: {'all' if one.partitions else 'its'} partitions are known when raw files are read: {names}")
    for line in todo:
        # Predictions have a line of their own above.
        if not line.startswith("predict "):
            say(f"then: {line}")
    if not plans:
        say(NO_FILES)


def _row(one: TablePlan) -> tuple[str, ...]:
    if one.state != STALE:
        return one.table, one.state, f"{len(one.partitions):,}" if one.partitions else "", "", "", one.why
    return one.table, one.state, _partitions(one), f"~{one.rows:,}", f"~{size(one.bytes)}", one.why


def _partitions(one: TablePlan) -> str:
    """Return how many partitions are to be made, such as ``12 of 3,324``; with those that are not known yet."""
    if not one.partitions:
        return "not known"
    about = "" if one.exact else "~"
    more = f" to {about}{len(one.stale) + len(one.open):,}" if one.open else ""
    return f"{about}{len(one.stale):,}{more} of {about}{len(one.partitions):,}"


def _counted(plans: Sequence[TablePlan]) -> str:
    known = [one for one in plans if one.partitions]
    stale, every = sum(len(one.stale) for one in known), sum(len(one.partitions) for one in known)
    about = "" if all(one.exact for one in known) else "about "
    words = f"{about}{stale:,} of {every:,} partitions in {counted(len(known), 'table')}"
    unsure, later = sum(len(one.open) for one in known), len(plans) - len(known)
    words += f", and up to {unsure:,} more" if unsure else ""
    if not known:
        return f"partitions of {counted(later, 'table')} that are not known yet"
    return words + (f"; those of {counted(later, 'table')} are not known yet" if later else "")


def _estimated(plans: Sequence[TablePlan]) -> str:
    return f"~{sum(one.rows for one in plans):,} rows, ~{size(sum(one.bytes for one in plans))}"


def _show_partitions(one: TablePlan) -> None:
    """List what is to be made of a table, in the order of the sky."""
    rows = [
        (part.name, part.state, f"~{part.rows:,}", f"~{size(part.bytes)}", part.why)
        for part in one.partitions
        if part.state != FRESH
    ]
    say()
    if rows:
        table((one.table, "state", "rows", "bytes", "why"), rows, right=(2, 3))
    kept = len(one.partitions) - len(rows)
    if kept:
        say(f"{one.table}: {counted(kept, 'partition')} {'as they are' if one.state == FRESH or not rows else 'kept'}")
    elif not rows:
        say(f"{one.table}: no partitions are known ({one.state})")
    for file in one.files:
        say(f"{one.table}: reads {file.name} ({size(file.bytes)})")


def plan_json(plans: Sequence[TablePlan], *, part: tuple[int, int] | None = None, partitions: bool = False) -> str:
    """Return a plan as JSON; what is said of rows and bytes to be written is an estimate.

    Keys::

        part        "i/n", or null for all of it
        tables      one object per table, in the order of building:
            table, state, why       state: fresh, checked, built, stale, waiting, held
            build, published        ids of the build to be published, and of the one that is (or null)
            exact                   false if the partitions to be made are known only when raw files are read
            partitions              all, make, keep, open: how many there are, will be made, are kept, are not known yet
            rows, bytes             to be written
            read_bytes              to be read: of raw files, and of other tables
            files                   names of the raw files to be read
            unread                  names of those that may touch any partition
            parts                   with --partitions: first, end (level-8 pixels), name, number, state, why, rows, bytes
        total       make, open, rows, bytes, read_bytes of all tables
    """
    making = [one for one in plans if one.state == STALE]
    held = {
        "part": f"{part[0]}/{part[1]}" if part else None,
        "tables": [_table_json(one, partitions=partitions) for one in plans],
        "total": {
            "make": sum(len(one.stale) for one in making),
            "open": sum(len(one.open) for one in making),
            "rows": sum(one.rows for one in making),
            "bytes": sum(one.bytes for one in making),
            "read_bytes": total_read(making),
        },
    }
    return json.dumps(held, indent=1)


def _table_json(one: TablePlan, *, partitions: bool) -> dict[str, Any]:
    count = {state: sum(part.state == state for part in one.partitions) for state in (STALE, FRESH, OPEN)}
    held: dict[str, Any] = {
        "table": one.table,
        "state": one.state,
        "why": one.why,
        "build": one.build or None,
        "published": one.published,
        "exact": one.exact,
        "partitions": {"all": len(one.partitions), "make": count[STALE], "keep": count[FRESH], "open": count[OPEN]},
        "rows": one.rows,
        "bytes": one.bytes,
        "read_bytes": one.read_bytes,
        "files": [file.name for file in one.files],
        "unread": [unread.file.name for unread in one.unread],
    }
    if partitions:
        held["parts"] = [
            {
                "first": part.first,
                "end": part.end,
                "name": part.name,
                "number": part.number,
                "state": part.state,
                "why": part.why,
                "rows": part.rows,
                "bytes": part.bytes,
            }
            for part in one.partitions
        ]
    return held
