"""Ingest surveys as the command line asks: all of the work, one element's share of it, or no more than naming the files."""

import argparse
from pathlib import Path

from jobs import terminal
from jobs.cluster import cluster
from jobs.journal import logged
from jobs.lock import writing
from jobs.opened import opened, opened_or_new
from jobs.plan import SurveyPlan, plan_survey
from jobs.show_plan import show_plan, whole_plan
from lake import ledger
from lake.build import build_survey
from lake.errors import LakeError, RawFileError
from lake.ingest import Runner
from lake.manifest import Manifest
from lake.part import part_of
from lake.root import Lake
from lake.survey import Survey
from lake.survey import survey as declared

DONE = 0
_MASKS_SHOWN = 5


def ingest(options: argparse.Namespace) -> int:
    """Build the tables of surveys from raw files, which are remembered for later nights."""
    chosen = [declared(name) for name in options.surveys]
    paths = [Path(path) for path in options.raw]
    _refuse_contradictions(options, chosen, paths)
    if options.dry_run:
        return _ingest_dry(options, chosen, paths)
    if options.part is not None:
        return _ingest_share(options, chosen)
    lake = opened_or_new(options)
    with (
        writing(lake.storage, "ingest") as writer,
        cluster(options.profile) as at,
        logged(lake.storage, "ingest", at) as run,
    ):
        for one in chosen:
            before = ledger.remembered(lake.storage, one)
            if paths:
                ledger.register(lake.storage, one, paths, replace=options.replace)
            planned = None
            try:
                planned = plan_survey(lake, one)
                _ingest_one(lake, planned, None if options.register else run)
            except LakeError as error:
                # Files that do not fit, or have nothing to stand on, are forgotten, or every later night would fail on them.
                if planned is None or isinstance(error, RawFileError):
                    writer.confirm()
                    ledger.restore(lake.storage, one, before)
                raise
    terminal.say(f"next: gaialake --lake {lake.storage.root} {'ingest ... --part i/n' if options.register else 'check'}")
    return DONE


def _refuse_contradictions(options: argparse.Namespace, chosen: list[Survey], paths: list[Path]) -> None:
    if len(chosen) > 1 and any(path.is_file() for path in paths):
        raise LakeError("files belong to one survey: name one survey with --raw FILE..., or give folders")
    if options.replace and not paths:
        raise LakeError("--replace forgets the paths named before, so it needs --raw PATH... to take their place")
    if options.part is not None and (paths or options.register):
        raise LakeError(
            "elements of a job array share files that are known: first `gaialake ingest SURVEY --raw PATH --register`"
        )


def _ingest_share(options: argparse.Namespace, chosen: list[Survey]) -> int:
    """Do one element's share of a job array: its raw files, or, once all are read, its partitions."""
    part = part_of(options.part)
    lake = opened(options)
    with (
        writing(lake.storage, "ingest", shared=True),
        cluster(options.profile) as at,
        logged(lake.storage, f"ingest-{part[0]}-of-{part[1]}", at) as run,
    ):
        for one in chosen:
            if new := ledger.unhashed(lake.storage, one):
                raise LakeError(
                    f"{one.name}: {new:,} raw files are not hashed yet, which every element would do for itself; first, once: "
                    f"`gaialake --lake {lake.storage.root} ingest {one.name} --register`"
                )
            plan = plan_survey(lake, one, save=False)
            outcome = build_survey(lake.storage, lake.grid, one, plan.files, plan.standing, run=run, part=part)
            did = f"{outcome.mapped} files read, {outcome.reduced} partitions made"
            then = (
                f"{outcome.left} files are still with other elements; partitions are made when all are read: run the array again"
            )
            terminal.say(f"{one.name}, part {options.part}: {did}{f'; {then}' if outcome.left else ''}")
    terminal.say(f"when all elements have made their partitions: gaialake --lake {lake.storage.root} nightly")
    return DONE


def _ingest_dry(options: argparse.Namespace, chosen: list[Survey], paths: list[Path]) -> int:
    if not paths:
        lake = opened(options)
        show_plan(whole_plan(lake, only=[one.name for one in chosen]))
    for one in chosen if paths else ():
        files = [file for path in paths for file in ledger.files_under(path, one)]
        held = terminal.size(sum(file.stat().st_size for file in files))
        terminal.say(f"{one.name}: would read {len(files)} files, {held}")
    return DONE


def _ingest_one(lake: Lake, plan: SurveyPlan, run: Runner | None) -> None:
    """Build one survey's tables; without a runner, only say which files are known."""
    if run is None:
        held = terminal.size(sum(file.bytes for file in plan.files))
        terminal.say(f"{plan.survey.name}: {len(plan.files):,} files are known, {held}")
        return
    left = ledger.ignored_files(lake.storage, plan.survey)
    if left:
        terminal.say(f"{plan.survey.name}: {len(left)} files beside its own were left alone, such as {left[0]}")
    outcome = build_survey(lake.storage, lake.grid, plan.survey, plan.files, plan.standing, run=run)
    did = f"{outcome.mapped} files read, {outcome.reduced} partitions made, {outcome.reused} kept"
    terminal.say(f"{plan.survey.name}: {did if outcome.reduced or outcome.reused else 'nothing to do, the build is there'}")
    for manifest in outcome.manifests:
        show_account(manifest)
    if plan.survey.override and plan.survey.override.survey not in plan.standing.beside:
        terminal.say(f"  no files of {plan.survey.override.survey} are in this lake, so none of its labels replaces these")


def show_account(manifest: Manifest) -> None:
    """Say what became of the rows and values of a build's raw files."""
    account = manifest.account
    lost = ", ".join(f"{rows:,} {reason}" for reason, rows in account["dropped"].items()) or "none"
    terminal.say(f"  {manifest.table} {manifest.build}: {account['in']:,} rows in, {account['out']:,} out, dropped: {lost}")
    reasons: dict[str, list[int]] = {}
    for reason, values in manifest.masked.items():
        reasons.setdefault(reason.partition(": ")[2], []).append(values)
    most = sorted(reasons.items(), key=lambda one: -sum(one[1]))
    for reason, columns_masked in most[:_MASKS_SHOWN]:
        terminal.say(f"  {sum(columns_masked):,} values masked in {len(columns_masked)} columns: {reason}")
    if len(most) > _MASKS_SHOWN:
        rest = sum(sum(columns_masked) for _, columns_masked in most[_MASKS_SHOWN:])
        terminal.say(f"  {rest:,} values masked for {len(most) - _MASKS_SHOWN} more reasons: see its manifest")
    for one in (manifest.checks or {}).get("relations", ()):
        what = f"{one['value']} against {one['against']}"
        if one["sound"]:
            terminal.say(f"  matches verified: {what}: {one['share']:.1%} of {one['rows']:,} rows far off")
        else:
            terminal.say(f"  matches not judged: {what}: too few rows ({one['rows']})")
    for name in (manifest.checks or {}).get("unverified", ()):
        terminal.say(f"  matches NOT verified: {name} is not in this lake")
    if manifest.absent:
        terminal.say(f"  absent from all its files, hence null: {', '.join(manifest.absent)}")
