"""Say in words why a table is to be built anew: what of its inputs is not what its latest build was made of."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lake.declaration import Keys
from lake.derive import STEPS as DERIVE_STEPS
from lake.errors import listing
from lake.layout import STEPS
from lake.ledger import RawFile
from lake.manifest import Input, Manifest, digest
from lake.partition import Grid
from lake.standing import Standing
from lake.survey import Survey

_NAMED = 3
# What a product remembers that it is made of, and that is no table.
_BESIDE_TABLES = ("bundle", "rules", "base")


def why_stale(survey: Survey, grid: Grid, files: Sequence[RawFile], standing: Standing, latest: Manifest) -> list[str]:
    """Return every reason for which a table that is made of raw files is not its latest build."""
    return [
        *(["the survey's declaration changed"] if latest.declaration != survey.fingerprint else []),
        *_steps(latest.steps, STEPS),
        *_grid(latest, grid),
        *_matched(survey, standing, latest),
        *changed_files(files, latest.inputs),
    ] or ["raw files are held under other names"]


def why_computed(survey: Survey, grid: Grid, files: Sequence[RawFile], standing: Standing, latest: Manifest) -> list[str]:
    """Return every reason for which a table that is computed at the sources of another one is not its latest build."""
    now = {Path(file.name).name: file.sha256[:16] for file in files}
    before = {name: held for name, held in latest.made_of.items() if standing.reference and name != standing.reference.table}
    words = _differences(now, before)
    reference = standing.reference
    if reference and latest.made_of.get(reference.table) != reference.build:
        change = _change(latest.made_of.get(reference.table), reference.build)
        words.append(f"{reference.table}, at whose sources it is computed, changed: {change}")
    return [*_steps(latest.steps, DERIVE_STEPS), *_grid(latest, grid), *words] or ["the survey's declaration changed"]


def why_predicted(version: str, grid: Grid, tables: Mapping[str, str], latest: Manifest) -> list[str]:
    """Return every reason for which a product is not its latest build.

    Parameters
    ----------
    version
        The bundle's id, or that of the rules.
    tables
        Table -> build that they are to be made of.
    """
    old = {name: build for name, build in latest.made_of.items() if name not in _BESIDE_TABLES}
    what = "its rules" if "rules" in latest.made_of else "the model bundle"
    words = [f"{what} changed: {_change(latest.declaration, version)}"] if latest.declaration != version else []
    words += _steps(latest.steps, DERIVE_STEPS) + _grid(latest, grid)
    for name in sorted({*old, *tables}):
        if name not in tables:
            words.append(f"{name} is no longer there to make it from")
        elif name not in old:
            words.append(f"it can now be made from {name} as well")
        elif old[name] != tables[name]:
            words.append(f"{name} changed: {_change(old[name], tables[name])}")
    return words


def changed_files(files: Iterable[RawFile], inputs: Iterable[Input]) -> list[str]:
    """Say which raw files changed, came or went since a build; one that only bears another name did nothing of this."""
    now, before = {file.name: file.sha256 for file in files}, {one.name: one.sha256 for one in inputs}
    return _differences(now, before)


def _differences(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    held, known = set(now.values()), set(before.values())
    found = {
        "changed": [name for name in now if name in before and now[name] != before[name]],
        "added": [name for name in now if name not in before and now[name] not in known],
        "removed": [name for name in before if name not in now and before[name] not in held],
    }
    return [
        f"{len(names)} raw file{'s' * (len(names) > 1)} {what} ({listing([Path(name).name for name in sorted(names)], _NAMED)})"
        for what, names in found.items()
        if names
    ]


def _matched(survey: Survey, standing: Standing, latest: Manifest) -> list[str]:
    """Name what a survey's rows are matched with, if it is not what it was."""
    if all(one.against == standing.id for one in latest.inputs):
        return []
    words = []
    for name, beside in standing.beside.items():
        if latest.made_of.get(f"files of {name}") != digest(beside.contents)[:16]:
            words.append(f"raw files of {name}")
    gone = [name.removeprefix("files of ") for name in latest.made_of if name.startswith("files of ")]
    words += [f"raw files of {name}, which are gone" for name in gone if name not in standing.beside]
    reference = standing.reference
    if reference and latest.made_of.get(reference.table) != reference.build:
        words.append(f"{reference.table}, {_change(latest.made_of.get(reference.table), reference.build)}")
    if not words:
        keys = survey.match.survey if isinstance(survey.match, Keys) else None
        words.append(f"the declaration of {keys or listing(survey.beside)}" if survey.beside else "the way of matching")
    return [f"what it is matched with changed: {listing(words)}"]


def _steps(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """Name the steps of another version; one that is new counts from version 0."""
    names = sorted({*before, *now})
    changed = [name for name in names if before.get(name, 0) != now.get(name, 0)]
    return [f"the version of step {name} changed: {before.get(name, 0)} -> {now.get(name, 0)}" for name in changed]


def _grid(latest: Manifest, grid: Grid) -> list[str]:
    return [f"the grid changed: {_change(latest.grid, grid.id)}"] if latest.grid != grid.id else []


def _change(before: str | None, now: str) -> str:
    return f"{before or 'none'} -> {now}"
