"""Find out what is stale and why, in the order in which it would be built."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.terminal import Steps, progress
from lake.build import wanted_builds
from lake.declaration import Keys
from lake.errors import LakeError, StandingError, listing
from lake.ingest import builds
from lake.keys import Beside
from lake.layout import STEPS
from lake.ledger import RawFile, raw_files
from lake.manifest import Manifest, is_there, read_manifest
from lake.root import Lake, open_lake, read_catalog
from lake.standing import ON_FILES, Reference, Standing
from lake.storage import Storage, ledger_key
from lake.survey import Survey, surveys, table_surveys
from lake.survey import survey as declared
from lake.verify import due

FRESH, STALE, BUILT, CHECKED, WAITING = "fresh", "stale", "built", "checked", "waiting"


@dataclass(frozen=True)
class Step:
    """One table and what it needs.

    Attributes
    ----------
    state
        ``fresh``: published as it should be. ``checked``: to be published. ``built``: to be checked. ``stale``: to be built.
        ``waiting``: not to be built before something else is in the lake.
    why
        Reason in words.
    build
        Id of the build that should be published.
    rows, bytes
        Of that build if it exists; otherwise the bytes of its raw files.
    """

    table: str
    state: str
    why: str
    build: str
    rows: int | None = None
    bytes: int = 0


@dataclass(frozen=True)
class SurveyPlan:
    """One survey, its raw files, and the state of its tables."""

    survey: Survey
    files: tuple[RawFile, ...]
    steps: tuple[Step, ...]
    standing: Standing = ON_FILES

    @property
    def waiting(self) -> str:
        """What the survey lacks, in words; empty if nothing."""
        return next((step.why for step in self.steps if step.state == WAITING), "")

    @property
    def stale(self) -> bool:
        """Whether a table must be built."""
        return any(step.state == STALE for step in self.steps)


def registered(storage: Storage) -> list[Survey]:
    """Return the surveys that have raw files in this lake, registered or in its own ``raw/`` folder."""
    found = []
    for survey in surveys().values():
        own = storage.path(f"raw/{survey.name}")
        if storage.exists(ledger_key(survey.name)) or (own.is_dir() and any(own.iterdir())):
            found.append(survey)
    return found


def plan(lake: Lake, only: Sequence[str] | None = None, *, save: bool = True) -> list[SurveyPlan]:
    """Return the state of every registered survey (or of some); raw files that were touched are hashed.

    Parameters
    ----------
    save
        Whether to keep the hashes; only who holds the lake's lock may.

    Raises
    ------
    LakeError
        If a survey that is asked for has no raw files, or registered files are gone.
    """
    known = registered(lake.storage)
    chosen = known if only is None else [survey for survey in known if survey.name in only]
    missing = set(only or ()) - {survey.name for survey in chosen}
    if missing:
        name = sorted(missing)[0]
        raise LakeError(f"{name}: no raw files are registered; `gaialake --lake {lake.storage.root} ingest {name} --raw PATH...`")
    # What others stand on comes first; it is built first as well.
    ordered = sorted(chosen, key=lambda one: (_height(one), bool(one.relations), one.name))
    return [_planned(lake, survey, save=save) for survey in ordered]


def _planned(lake: Lake, survey: Survey, *, save: bool) -> SurveyPlan:
    """Return a survey's plan; one that lacks what it stands on waits, and holds up no other."""
    try:
        return plan_survey(lake, survey, save=save)
    except StandingError as error:
        return SurveyPlan(survey, (), (Step(survey.name, WAITING, str(error), ""),))


def _height(survey: Survey) -> int:
    """Return how many tables stand on each other below a survey's own."""
    return 1 + _height(table_surveys()[survey.stands_on]) if survey.stands_on else 0


def plan_survey(lake: Lake, survey: Survey, *, save: bool = True) -> SurveyPlan:
    """Return the state of one survey's tables (see `plan`).

    Raises
    ------
    StandingError
        If what the survey stands on has no files in this lake.
    """
    files = _files(lake, survey, save=save)
    standing = _standing(lake, survey, save=save)
    current = {name: held["metadata"].get("build") for name, held in read_catalog(lake.storage).get("sources", {}).items()}
    coming = {table for one in registered(lake.storage) for table in one.tables}
    steps = []
    for table, build in wanted_builds(survey, lake.grid, files, standing).items():
        if build not in builds(lake.storage, table):
            why = _reason(lake, survey, table, files, standing)
            steps.append(Step(table, STALE, why, build, bytes=sum(file.bytes for file in files)))
            continue
        manifest = read_manifest(lake.storage, table, build)
        gone = [part.key for part in manifest.partitions if not is_there(lake.storage, part)]
        if gone:
            steps.append(Step(table, STALE, f"{len(gone)} of its files are gone ({gone[0]})", build, bytes=manifest.bytes))
            continue
        steps.append(_built_step(manifest, current, due(manifest, survey, {*current, *coming})))
    return SurveyPlan(survey, files, tuple(steps), standing)


def _files(lake: Lake, survey: Survey, *, save: bool) -> tuple[RawFile, ...]:
    with ExitStack() as shown:
        return tuple(raw_files(lake.storage, survey, _hashing(survey.name, shown), save=save))


def _standing(lake: Lake, survey: Survey, *, save: bool) -> Standing:
    """Return what a survey's rows are matched with: raw files of others, and the build of a table that they ask for."""
    if not survey.beside and survey.stands_on is None:
        return ON_FILES
    beside = {}
    for name in survey.beside:
        files = _files(lake, declared(name), save=save)
        if files:
            beside[name] = Beside(name, tuple((file.path, file.sha256) for file in files))
        elif isinstance(survey.match, Keys) and survey.match.survey == name:
            raise StandingError(
                f"{survey.name} gets its source_ids from the files of {name}, of which this lake has none; "
                f"`gaialake fetch {name}`, or `gaialake ingest {name} --raw PATH...` first"
            )
    reference = None
    if survey.stands_on is not None:
        reference = Reference(lake.storage, lake.grid, survey.stands_on, _reference_build(lake, survey, save=save))
    return Standing(beside, reference)


def _reference_build(lake: Lake, survey: Survey, *, save: bool) -> str:
    """Return the build that the table under a survey has, or will have when its raw files are ingested."""
    table = str(survey.stands_on)
    source = table_surveys()[table]
    files = _files(lake, source, save=save)
    if files:
        return wanted_builds(source, lake.grid, files, _standing(lake, source, save=save))[table]
    if table in lake.published:
        return lake.table(table).manifest.build
    raise StandingError(
        f"{survey.name} is matched to the sources of {table}, which is not in this lake; `gaialake fetch {source.name}`, or "
        f"`gaialake ingest {source.name} --raw PATH...` first"
    )


def _hashing(name: str, shown: ExitStack) -> Callable[[int, int], None]:
    """Return what shows the progress of hashing; nothing is shown where no file was touched."""
    steps: list[Steps] = []

    def tick(_done: int, total: int) -> None:
        if not steps:
            steps.append(shown.enter_context(progress(f"hash files of {name}", total)))
        steps[0].advance()

    return tick


def _built_step(manifest: Manifest, current: Mapping[str, Any], unverified: str) -> Step:
    published = current.get(manifest.table)
    if unverified:
        state, why = BUILT, unverified
    elif manifest.checks is not None and published == manifest.build:
        state, why = FRESH, "inputs, declaration and step versions are those of the published build"
    elif manifest.checks is not None:
        state, why = CHECKED, "built and checked, not published"
    else:
        state, why = BUILT, "built, not checked"
    return Step(manifest.table, state, why, manifest.build, manifest.rows, manifest.bytes)


def _reason(lake: Lake, survey: Survey, table: str, files: Sequence[RawFile], standing: Standing) -> str:
    """Say why a table is stale, compared with the latest build that was published, or with any build."""
    held = builds(lake.storage, table)
    if not held:
        return f"never built; {len(files)} raw files"
    current = lake.published.get(table, "").rsplit("/", 1)[-1].removesuffix(".json")
    latest = read_manifest(lake.storage, table, current if current in held else held[-1])
    if not survey.computed and latest.declaration != survey.fingerprint:
        return "the survey's declaration changed"
    if survey.computed:
        return f"its files, or {survey.computed.table} at whose sources it is computed, changed"
    if any(one.against != standing.id for one in latest.inputs):
        stands = [*survey.beside, *([survey.stands_on] if survey.stands_on else [])]
        return f"what it is matched with changed: {listing(stands)}"
    if dict(latest.steps) != STEPS:
        return f"a step's version changed: {dict(latest.steps)} -> {STEPS}"
    if latest.grid != lake.grid.id:
        return "the grid changed"
    before = {one.name: one.sha256 for one in latest.inputs}
    now = {file.name: file.sha256 for file in files}
    changed = sorted(name for name in now if name in before and now[name] != before[name])
    added = sorted(set(now) - set(before))
    removed = sorted(set(before) - set(now))
    words = [
        f"{len(names)} raw file{'s' * (len(names) > 1)} {what} ({Path(names[0]).name}{', ...' if len(names) > 1 else ''})"
        for what, names in (("changed", changed), ("added", added), ("removed", removed))
        if names
    ]
    return ", ".join(words) or "raw files are held under other names"


def summary(lake: Lake) -> list[dict[str, Any]]:
    """Return one record per published table: build, rows, bytes, date."""
    fresh = open_lake(lake.storage.root)
    records = []
    for name in fresh.names:
        try:
            manifest = fresh.table(name).manifest
        except LakeError as error:
            records.append({"table": name, "build": f"damaged: {error}", "rows": 0, "bytes": 0, "created": ""})
            continue
        records.append(
            {
                "table": name,
                "build": manifest.build,
                "rows": manifest.rows,
                "bytes": manifest.bytes,
                "created": manifest.created[:19],
            }
        )
    return records
