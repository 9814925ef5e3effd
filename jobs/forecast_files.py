"""Forecast the partitions of a table that is made of raw files, with the rule by which it is built (`lake.layout`).

It is known exactly which of them will be made if earlier builds have read all raw files. Of a file that none has read are taken,
in this order: the rows that it gave under another declaration, those of its former version, the level-8 range in its name; if
there is none of these, it may touch every partition, and only reading it will tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from jobs.inventory import Inventory
from jobs.plan import FRESH, STALE, Step, SurveyPlan
from jobs.table_plan import OPEN, PartitionPlan, TablePlan, Unread, as_built
from jobs.why import changed_files, why_stale
from lake.errors import listing
from lake.layout import STEPS, Slot, layout
from lake.ledger import RawFile
from lake.manifest import Input, Manifest, Partition, files_there
from lake.parquet import row_bytes
from lake.partition import N_PIXELS, Grid, pixel_range
from lake.survey import Survey

_NAMED = 3


@dataclass(frozen=True)
class _Place:
    """Where the rows of a raw file lie.

    Attributes
    ----------
    input
        Leaves and rows in them as far as known, or expected; None if nothing is known.
    sure
        Leaves that it, or its former version, does touch.
    may
        Leaves that it may touch.
    exact
        Whether an earlier build has read it.
    """

    file: RawFile
    input: Input | None
    sure: tuple[int, ...] = ()
    may: tuple[int, ...] = ()
    exact: bool = False


@dataclass(frozen=True)
class _Rates:
    """What earlier builds came to, or what the declaration makes expect.

    Attributes
    ----------
    kept
        Rows written of each that reaches a partition.
    width
        Bytes of a row.
    per_byte
        Rows that reach partitions of each byte of a raw file.
    """

    kept: float
    width: float
    per_byte: float


@dataclass(frozen=True)
class _Known:
    """What earlier builds tell.

    Attributes
    ----------
    there, lost
        Partitions by their content: with their file at hand, and without.
    changes
        Leaf of the grid -> what happened to raw files with rows in it, in words.
    may
        Leaf of the grid -> names of raw files that may touch it.
    unread
        Names of raw files that may touch any leaf.
    wide
        What changed for every partition, in words.
    """

    there: Mapping[str, Partition] = field(default_factory=dict)
    lost: Mapping[str, Partition] = field(default_factory=dict)
    changes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    may: Mapping[int, Sequence[str]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    wide: str = ""


def made_of_files(inventory: Inventory, one: SurveyPlan, step: Step) -> TablePlan:
    """Return the plan of one table of a survey that is made of raw files."""
    plan = TablePlan(step.table, step.state, step.why, step.build, inventory.published.get(step.table))
    if step.state != STALE:
        there = step.build in inventory.builds(step.table)
        return replace(plan, partitions=as_built(inventory.manifest(step.table, step.build)) if there else ())
    same = [held for held in inventory.manifests(step.table) if held.grid == inventory.grid.id]
    usable = [held for held in same if _reusable(held, one)]
    latest = inventory.latest(step.table)
    rates = _rates(one, step.table, latest)
    places = _places(one, inventory.grid, _read_before(same, latest), _read_before(usable), rates)
    inputs = [place.input for place in places if place.input is not None]
    unread = [place.file for place in places if place.input is None]
    known = _known(inventory, one, latest, usable, places)
    slots = layout(one.survey, step.table, inventory.grid, inputs, one.standing.id) if inputs else []
    guessed = {place.file.sha256 for place in places if not place.exact}
    parts = tuple(
        _planned(number, slot, _leaves(inventory.grid, slot), known, rates, guessed) for number, slot in enumerate(slots)
    )
    needed = guessed.union(*(slot.touching for slot, part in zip(slots, parts, strict=True) if part.state == STALE))
    return replace(
        plan,
        partitions=parts,
        files=tuple(file for file in one.files if file.sha256 in needed),
        unread=tuple(Unread(file, *_expected(file.bytes * rates.per_byte, rates)) for file in unread),
        exact=not guessed,
    )


def _reusable(held: Manifest, one: SurveyPlan) -> bool:
    """Tell whether partitions of a build may be named again: its declaration, steps, and what its rows are matched with."""
    alike = held.declaration == one.survey.fingerprint and dict(held.steps) == STEPS
    return alike and all(given.against == one.standing.id for given in held.inputs)


def _rates(one: SurveyPlan, table: str, latest: Manifest | None) -> _Rates:
    """Return the rates of the latest build; without one, rows are taken to be as wide in raw files as in memory."""
    if latest is not None and latest.rows:
        reached = sum(part.rows_in for part in latest.partitions)
        return _Rates(
            latest.rows / max(1, reached), latest.bytes / latest.rows, reached / max(1, sum(held.bytes for held in latest.inputs))
        )
    raw = sum(file.bytes for file in one.files)
    per_byte = 1 / sum(row_bytes(one.survey.schema(name)) for name in one.survey.tables)
    if one.survey.rows:
        per_byte = min(per_byte, one.survey.rows / max(1, raw))
    return _Rates(1.0, row_bytes(one.survey.schema(table)), per_byte)


def _expected(reaching: float, rates: _Rates) -> tuple[int, int]:
    """Return the rows and bytes that will be written of rows that reach a partition."""
    return round(reaching * rates.kept), round(reaching * rates.kept * rates.width)


def _read_before(manifests: Iterable[Manifest], latest: Manifest | None = None) -> dict[str, Input]:
    """Return what builds know of raw files, by content and by name; what the latest one knows goes before."""
    found: dict[str, Input] = {}
    chosen = [*sorted(manifests, key=lambda one: one.created)]
    chosen += [one for one in chosen if latest is not None and one.build == latest.build]
    for given in (given for one in chosen for given in one.inputs):
        found[given.sha256] = found[given.name] = given
    return found


def _places(one: SurveyPlan, grid: Grid, before: Mapping[str, Input], exact: Mapping[str, Input], rates: _Rates) -> list[_Place]:
    """Return where the rows of every raw file lie, or are expected."""
    places = []
    for file in one.files:
        held = exact.get(file.sha256) or before.get(file.sha256)
        former = before.get(file.name)
        span = _span(one.survey, file.name, grid)
        if held is not None:
            places.append(_Place(file, held, held.leaves, exact=file.sha256 in exact))
        elif former is not None:
            beyond = tuple(sorted(set(span) - set(former.leaves)))
            places.append(_Place(file, replace(former, sha256=file.sha256), former.leaves, beyond))
        elif span:
            places.append(_Place(file, _spread(file, span, rates), may=tuple(span)))
        else:
            places.append(_Place(file, None))
    return places


def _span(survey: Survey, name: str, grid: Grid) -> range:
    """Return the leaves within the range that a raw file is named by; none if it carries no range."""
    first, last = (pixel_range(Path(name).name) if survey.has_ids else None) or (0, -1)
    if not first <= last < N_PIXELS:
        return range(0)
    low, high = np.searchsorted(grid.array, [first, last], side="right") - 1
    return range(int(low), int(high) + 1)


def _spread(file: RawFile, span: range, rates: _Rates) -> Input:
    """Return what is expected of a file that was never read: rows spread evenly over leaves, which hold about as many each."""
    rows = round(file.bytes * rates.per_byte)
    counts = tuple(rows * (k + 1) // len(span) - rows * k // len(span) for k in range(len(span)))
    return Input(file.name, file.bytes, file.sha256, rows, {}, tuple(span), counts)


def _known(
    inventory: Inventory, one: SurveyPlan, latest: Manifest | None, usable: Sequence[Manifest], places: Sequence[_Place]
) -> _Known:
    older = [part for held in usable for part in held.partitions]
    there = files_there(inventory.storage, older)
    at_hand = {part.content: part for part in older if part.key is None or part.key in there}
    may: dict[int, list[str]] = {}
    for place in places:
        for leaf in place.may:
            may.setdefault(leaf, []).append(Path(place.file.name).name)
    wide = []
    if latest is not None:
        files = changed_files(one.files, latest.inputs)
        wide = [word for word in why_stale(one.survey, inventory.grid, one.files, one.standing, latest) if word not in files]
    comparable = latest if latest is not None and latest.grid == inventory.grid.id else None
    return _Known(
        there=at_hand,
        lost={part.content: part for part in older if part.content not in at_hand},
        changes=_changes(places, comparable.inputs if comparable else ()),
        may=may,
        unread=tuple(Path(place.file.name).name for place in places if place.input is None),
        wide="; ".join(wide) if latest is not None else "never built",
    )


def _changes(places: Sequence[_Place], inputs: Sequence[Input]) -> dict[int, list[str]]:
    """Return leaf -> what happened to raw files with rows in it since a build."""
    names, contents = {given.name: given for given in inputs}, {given.sha256 for given in inputs}
    now, held = {place.file.name for place in places}, {place.file.sha256 for place in places}
    found: dict[int, list[str]] = {}

    def note(name: str, what: str, leaves: Iterable[int]) -> None:
        for leaf in leaves:
            found.setdefault(leaf, []).append(f"{Path(name).name} {what}")

    for place in places:
        if place.file.sha256 not in contents:
            former = names.get(place.file.name)
            leaves = {*place.sure, *(former.leaves if former else ())}
            note(place.file.name, "changed" if former else "added", leaves)
    for given in inputs:
        if given.name not in now and given.sha256 not in held:
            note(given.name, "removed", given.leaves)
    return found


def _leaves(grid: Grid, slot: Slot) -> range:
    low, high = np.searchsorted(grid.array, [slot.first, slot.end])
    return range(int(low), int(high))


def _planned(  # noqa: PLR0913
    number: int, slot: Slot, leaves: range, known: _Known, rates: _Rates, guessed: set[str]
) -> PartitionPlan:
    """Say of one partition whether its file is at hand, and if not, why."""
    held = known.there.get(slot.content) or known.lost.get(slot.content)
    rows, size = (held.rows, held.bytes) if held else _expected(slot.rows, rates)
    changes = _words(known.changes, leaves)
    may = [*_words(known.may, leaves), *known.unread]
    content = None if may or not guessed.isdisjoint(slot.touching) else slot.content
    if not known.there and not known.lost:
        state, why = STALE, known.wide or listing(changes, _NAMED)
    elif slot.content in known.there and not may:
        state, why = FRESH, ""
    elif slot.content in known.lost:
        state, why = STALE, f"its file is gone ({known.lost[slot.content].key})"
    elif changes and slot.content not in known.there:
        state, why = STALE, listing(changes, _NAMED)
    elif may:
        state, why = OPEN, f"known when {listing(may, _NAMED)} is read"
    else:
        state, why = STALE, known.wide or "its edges moved with the number of rows"
    return PartitionPlan(number, slot.first, slot.end, state, why, content, rows, size)


def _words(by_leaf: Mapping[int, Sequence[str]], leaves: range) -> list[str]:
    return list(dict.fromkeys(word for leaf in leaves for word in by_leaf.get(leaf, ())))
