"""Find out what is stale and why, in the order in which it would be built."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.inventory import Inventory
from jobs.why import why_computed, why_stale
from lake.build import wanted_builds
from lake.declaration import Keys
from lake.errors import BusyError, LakeError, OutageError, StandingError
from lake.keys import Beside
from lake.ledger import RawFile
from lake.root import Lake
from lake.standing import ON_FILES, Reference, Standing
from lake.survey import Survey, table_surveys
from lake.survey import survey as declared
from lake.verify import due

FRESH, STALE, BUILT, CHECKED, WAITING, HELD = "fresh", "stale", "built", "checked", "waiting", "held"


@dataclass(frozen=True)
class Step:
    """One table and what it needs.

    Attributes
    ----------
    state
        ``fresh``: published as it should be. ``checked``: to be published. ``built``: to be checked. ``stale``: to be built.
        ``waiting``: not to be built before something else is in the lake. ``held``: taken back by a roll-back, and published
        again only when its inputs have changed.
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

    @property
    def settled(self) -> bool:
        """Whether there is nothing to do: every table is published as it should be, or held back."""
        return all(step.state in (FRESH, HELD) for step in self.steps)


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
    return plan_with(Inventory(lake, save=save), only)


def plan_with(inventory: Inventory, only: Sequence[str] | None = None, *, excusing: bool = False) -> list[SurveyPlan]:
    """Return the same (see `plan`) with what was read of the lake before, and kept for what follows.

    Parameters
    ----------
    excusing
        Whether a survey that cannot be planned, such as one whose raw files are gone, waits like one that lacks what it stands
        on, and holds up no other.
    """
    known = inventory.registered
    chosen = known if only is None else [survey for survey in known if survey.name in only]
    missing = set(only or ()) - {survey.name for survey in chosen}
    if missing:
        name = sorted(missing)[0]
        raise LakeError(
            f"{name}: no raw files are registered; `gaialake --lake {inventory.storage.root} ingest {name} --raw PATH...`"
        )
    # What others stand on, or are verified with, comes first; it is built and checked first as well.
    ordered = sorted(chosen, key=lambda one: (_height(one), one.name))
    return [_planned(inventory, survey, LakeError if excusing else StandingError) for survey in ordered]


def _planned(inventory: Inventory, survey: Survey, excused: type[LakeError]) -> SurveyPlan:
    """Return a survey's plan; one that lacks what it stands on waits, and holds up no other."""
    try:
        return _plan_survey(inventory, survey)
    except (BusyError, OutageError):
        raise
    except excused as error:
        return SurveyPlan(survey, (), (Step(survey.name, WAITING, str(error), ""),))


def _height(survey: Survey) -> int:
    """Return how many surveys stand on, or are verified with, each other below this one."""
    tables = {survey.stands_on} if survey.stands_on else set()
    tables |= {one.table for one in survey.relations}
    below = {table_surveys()[name].name for name in tables}.union(survey.beside) - {survey.name}
    return max((1 + _height(declared(name)) for name in below), default=0)


def plan_survey(lake: Lake, survey: Survey, *, save: bool = True) -> SurveyPlan:
    """Return the state of one survey's tables (see `plan`).

    Raises
    ------
    StandingError
        If what the survey stands on has no files in this lake.
    """
    return _plan_survey(Inventory(lake, save=save), survey)


def _plan_survey(inventory: Inventory, survey: Survey) -> SurveyPlan:
    files = inventory.files(survey)
    standing = _standing(inventory, survey)
    one = SurveyPlan(survey, files, (), standing)
    wanted = wanted_builds(survey, inventory.grid, files, standing)
    return SurveyPlan(survey, files, tuple(_step(inventory, one, table, build) for table, build in wanted.items()), standing)


def _step(inventory: Inventory, one: SurveyPlan, table: str, build: str) -> Step:
    """Return the state of one table, whose build should be this."""
    there = build in inventory.builds(table)
    if inventory.held.get(table) == build and inventory.published.get(table) != build:
        manifest = inventory.manifest(table, build) if there else None
        why = "taken back by a roll-back; it is built and published again when its inputs have changed"
        return Step(table, HELD, why, build, manifest.rows if manifest else None, manifest.bytes if manifest else 0)
    if not there:
        return Step(table, STALE, _reason(inventory, one, table), build, bytes=sum(file.bytes for file in one.files))
    manifest = inventory.manifest(table, build)
    gone = inventory.gone(manifest)
    if gone:
        return Step(table, STALE, f"{len(gone)} of its files are gone ({gone[0]})", build, bytes=manifest.bytes)
    # A table that a roll-back took back comes to no night, so nothing is to be verified with it.
    known = {name for survey in inventory.registered for name in survey.tables if name not in inventory.held}
    known |= set(inventory.published)
    unverified = due(manifest, one.survey, known)
    if unverified:
        state, why = BUILT, unverified
    elif manifest.checks is not None and inventory.published.get(table) == build:
        state, why = FRESH, "inputs, declaration and step versions are those of the published build"
    elif manifest.checks is not None:
        state, why = CHECKED, "built and checked, not published"
    else:
        state, why = BUILT, "built, not checked"
    return Step(table, state, why, build, manifest.rows, manifest.bytes)


def _reason(inventory: Inventory, one: SurveyPlan, table: str) -> str:
    """Say why a table is stale, compared with the build that is published, or with the last one."""
    latest = inventory.latest(table)
    if latest is None:
        return f"never built; {len(one.files)} raw file{'s' * (len(one.files) != 1)}"
    reasons = why_computed if one.survey.computed else why_stale
    return "; ".join(reasons(one.survey, inventory.grid, one.files, one.standing, latest))


def _standing(inventory: Inventory, survey: Survey) -> Standing:
    """Return what a survey's rows are matched with: raw files of others, and the build of a table that they ask for."""
    if not survey.beside and survey.stands_on is None:
        return ON_FILES
    beside = {}
    for name in survey.beside:
        files = inventory.files(declared(name))
        if files:
            beside[name] = Beside(name, tuple((file.path, file.sha256) for file in files))
        elif isinstance(survey.match, Keys) and survey.match.survey == name:
            raise StandingError(
                f"{survey.name} gets its source_ids from the files of {name}, of which this lake has none; "
                f"`gaialake fetch {name}`, or `gaialake ingest {name} --raw PATH...` first"
            )
    reference = None
    if survey.stands_on is not None:
        build = _reference_build(inventory, survey)
        reference = Reference(inventory.storage, inventory.grid, survey.stands_on, build)
    return Standing(beside, reference)


def _reference_build(inventory: Inventory, survey: Survey) -> str:
    """Return the build that the table under a survey has, or will have when its raw files are ingested.

    While a roll-back holds that build back, it is the published one: nothing is made of what was taken back.
    """
    table = str(survey.stands_on)
    source = table_surveys()[table]
    files = inventory.files(source)
    wanted = wanted_builds(source, inventory.grid, files, _standing(inventory, source))[table] if files else None
    published = inventory.published.get(table)
    if wanted is not None and (published is None or inventory.held.get(table) != wanted):
        return wanted
    if published is not None:
        return published
    raise StandingError(
        f"{survey.name} is matched to the sources of {table}, which is not in this lake; `gaialake fetch {source.name}`, or "
        f"`gaialake ingest {source.name} --raw PATH...` first"
    )
