"""Fetch, rebuild what is stale, audit it, publish it at once, and map the current models over it: one idempotent command."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from jobs.auditing import audited, mend_released, published
from jobs.cluster import cluster
from jobs.inventory import Inventory
from jobs.journal import event, journaled
from jobs.lock import writing
from jobs.model_steps import models_to_do, run_models
from jobs.night import DONE, Night, recorded
from jobs.plan import HELD, STALE, WAITING, SurveyPlan, plan_with
from jobs.products import learning
from jobs.show_plan import NO_FILES, show_plan, whole_plan
from jobs.terminal import say
from lake.build import build_survey
from lake.errors import LakeError
from lake.ingest import Runner
from lake.manifest import Manifest, read_manifest
from lake.plain import mend_derived
from lake.root import Lake, open_lake
from lake.survey import Survey, table_surveys


def nightly(
    lake: Lake,
    *,
    profile: str = "local",
    fetch: Sequence[Survey] = (),
    train_models: Sequence[str] = (),
    dry_run: bool = False,
) -> int:
    """Bring the lake up to date.

    Parameters
    ----------
    fetch
        Surveys whose raw files are fetched first; what did not come is a failure, and what did is built.
    train_models
        Models to train anew on what is published; without it, current bundles are mapped over new partitions.

    Returns
    -------
    int
        0: something was built and published; 3: there was nothing to do.

    Raises
    ------
    LakeError
        If anything failed. A survey that fails, or lacks what it stands on, keeps its published builds, and so does all that
        stands on it: other surveys, and models that read its tables, which neither train nor predict. All else is published
        first, then the error names them. `BusyError` if another writer is at work.
    """
    for model in train_models:
        learning(model)
    if dry_run:
        _show_fetch(lake, fetch)
        todo = models_to_do(lake, train_models)
        show_plan(whole_plan(lake, train=train_models, todo=todo), todo)
        return DONE
    # The record comes before the cluster's end, which may take longer than who stopped the run is willing to wait.
    with (
        writing(lake.storage, "nightly") as writer,
        ExitStack() as closing,
        recorded(lake.storage, profile, writer) as night,
    ):
        # What others published since the caller opened it counts.
        lake = open_lake(lake.storage.root)
        run = journaled(closing.enter_context(cluster(profile)))
        for survey in fetch:
            _fetch(lake, survey, night)
        with night.step("plan"):
            plans = _plans(lake, night)
            todo = models_to_do(lake, train_models)
        if plans or todo:
            _work(lake, plans, train_models, night, run)
        else:
            mend_derived(lake.storage)
            mend_released(lake)
        _refuse(lake, night)
        if not night.busy:
            say(f"nothing to do: {_idle(lake)}")
        return night.code


def _idle(lake: Lake) -> str:
    """Say why there is nothing to do."""
    known = Inventory(lake, quiet=True).registered
    return "every table is published as its raw files, declarations and models ask for" if known else NO_FILES


def _plans(lake: Lake, night: Night) -> list[SurveyPlan]:
    """Return the plans of surveys with something to do; one that cannot be planned, or waits, is noted as a failure."""
    plans = plan_with(Inventory(lake, save=True), excusing=True)
    for one in plans:
        if one.waiting:
            night.fail(f"plan {one.survey.name}", one.survey.tables, one.waiting)
    return [one for one in plans if not one.waiting and not one.settled]


def _work(lake: Lake, plans: Sequence[SurveyPlan], train_models: Sequence[str], night: Night, run: Runner) -> None:
    """Build, check and publish tables, then train and predict on what is published."""
    night.begin()
    for one in plans:
        for step in one.steps:
            event("planned", table=step.table, state=step.state, why=step.why, build=step.build, bytes=step.bytes)
    build_tables(lake, plans, night, run)
    run_models(open_lake(lake.storage.root), train_models, night, run)


def _refuse(lake: Lake, night: Night) -> None:
    """Fail a run of which a part failed, when all else is done."""
    if not night.failures:
        return
    whys = [one["error"] for one in night.failures]
    if len(whys) > 1:
        whys = [f"{len(whys)} failures", *(f"{one['what']}: {one['error']}" for one in night.failures)]
    failed = {name for one in night.failures for name in one["tables"]}
    rest = set(open_lake(lake.storage.root).published) - failed
    raise LakeError("\n  ".join(whys) + ("\nall else is published" if rest else ""))


def _show_fetch(lake: Lake, surveys: Sequence[Survey]) -> None:
    if surveys:
        from jobs.fetching import Wish, show_plans

        show_plans(lake, surveys, Wish())


def _fetch(lake: Lake, survey: Survey, night: Night) -> None:
    """Fetch what is not there of a survey; what does not come is noted as its failure."""
    from jobs.fetching import Wish, fetch_held

    what = f"fetch {survey.name}"
    with night.excusing(what), night.step(what) as record:
        missing = fetch_held(lake, survey, Wish(), night.begin)
        if missing:
            record["error"] = missing
            night.fail(what, (), f"{survey.name} could not be fetched whole: {missing}; what is there is built all the same")


def build_tables(lake: Lake, plans: Sequence[SurveyPlan], night: Night, run: Runner) -> None:
    """Ingest what is stale, check what is unchecked, and publish at once all that did not fail and stands on nothing that did."""
    built: dict[str, list[Manifest]] = {}
    for one in plans:
        if _held_up(one, night):
            continue
        what = f"ingest {one.survey.name}"
        with night.excusing(what, one.survey.tables):
            built[one.survey.name] = _built(lake, one, night, run) if one.stale else _finished(lake, one)
    if not built:
        return
    with night.step("check"):
        for one in plans:
            if one.survey.name not in built or _held_up(one, night):
                continue
            beside = [manifest for name, own in built.items() if name not in _failed(night) for manifest in own]
            with night.excusing(f"check {one.survey.name}", one.survey.tables):
                own = built[one.survey.name]
                built[one.survey.name] = [_audit(lake, manifest, night, run, beside) for manifest in own]
    # What was built before another survey failed, on which it stands, is found out here.
    for one in plans:
        if one.survey.name in built:
            _held_up(one, night)
    sound = [manifest for name, own in built.items() if name not in _failed(night) for manifest in own]
    if sound:
        _publish(lake, sound, night)


def _built(lake: Lake, one: SurveyPlan, night: Night, run: Runner) -> list[Manifest]:
    """Build a survey's tables; those that a roll-back took back are not among those returned."""
    begun = time.monotonic()
    with night.step(f"ingest {one.survey.name}") as record:
        outcome = build_survey(lake.storage, lake.grid, one.survey, one.files, one.standing, run=run)
        record |= {"files_read": outcome.mapped, "partitions_made": outcome.reduced, "partitions_kept": outcome.reused}
    for manifest in outcome.manifests:
        night.made(manifest, time.monotonic() - begun)
    held = {step.table for step in one.steps if step.state == HELD}
    return [manifest for manifest in outcome.manifests if manifest.table not in held]


def _finished(lake: Lake, one: SurveyPlan) -> list[Manifest]:
    """Return the builds of a survey that an earlier run finished."""
    return [read_manifest(lake.storage, step.table, step.build) for step in one.steps if step.state not in (STALE, HELD, WAITING)]


def _audit(lake: Lake, manifest: Manifest, night: Night, run: Runner, beside: Sequence[Manifest]) -> Manifest:
    begun = time.monotonic()
    sound = audited(lake, manifest, run, beside=beside)
    night.made(sound, time.monotonic() - begun)
    return sound


def _publish(lake: Lake, manifests: Sequence[Manifest], night: Night) -> None:
    # What follows from a catalogue that is published, but fails for a damage to another table, keeps no model from its work.
    with night.excusing("publish"), night.step("publish") as record:
        record["tables"] = published(lake, manifests, night.writer)
        for manifest in manifests:
            if manifest.table in record["tables"]:
                event("published", table=manifest.table, build=manifest.build, rows=manifest.rows, bytes=manifest.bytes)


def _failed(night: Night) -> set[str]:
    """Return the surveys of which a table failed."""
    known = table_surveys()
    return {known[name].name for one in night.failures for name in one["tables"] if name in known}


def _held_up(one: SurveyPlan, night: Night) -> bool:
    """Tell whether a survey failed, or stands on one that did, which is then noted as a failure of its own."""
    failed, survey = _failed(night), one.survey
    if survey.name in failed:
        return True
    below = {*survey.beside, *([table_surveys()[survey.stands_on].name] if survey.stands_on else [])} & failed
    if below:
        why = f"{survey.name} waits for {', '.join(sorted(below))}, on which it stands; its published build is still served"
        night.fail(f"build {survey.name}", survey.tables, why)
    return bool(below)
