"""What each verb of the command line does: open the lake, call the one function for it, say what came of it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from jobs import nightly as night
from jobs import terminal
from jobs.cluster import cluster
from jobs.inference import derivation, predictions_build, predictions_name
from jobs.lock import writing
from jobs.plan import STALE, WAITING, SurveyPlan, plan_survey, summary
from jobs.plan import plan as make_plan
from jobs.training import MODELS, has_bundle, model_inputs, require_model, training_id
from jobs.training import train as train_model
from lake import ledger
from lake.build import build_survey
from lake.catalog import publish as publish_builds
from lake.errors import LakeError, RawFileError
from lake.ingest import Runner, builds, scratch_left
from lake.manifest import Manifest, read_manifest
from lake.overview import COLUMN_HEADINGS, CREDIT_HEADINGS, HEADINGS, acknowledged, columns, details, overview
from lake.pretrain import ANCHOR
from lake.root import Lake, grid_of, init_lake, open_lake
from lake.storage import LAKE, Storage
from lake.survey import Survey, table_surveys
from lake.survey import survey as declared
from lake.verify import due

DONE = 0
_MASKS_SHOWN = 5


def init(options: argparse.Namespace) -> int:
    """Lay out a lake."""
    grid = grid_of(options.grid, options.counts, options.leaf_rows)
    if options.dry_run:
        cut = grid.name if grid else options.release
        terminal.say(f"would make a lake in {options.dir}: release {options.release}, grid {cut}")
        return DONE
    made = init_lake(options.dir, release=options.release, grid=grid)
    terminal.say(f"{made.storage.root}: release {made.release}, grid {made.grid.name} with {len(made.grid):,} partitions")
    return DONE


def surveys(options: argparse.Namespace) -> int:
    """List the declared surveys, or show all of some."""
    for one in [declared(name) for name in options.surveys]:
        terminal.say(f"{one.name}: {one.title}")
        terminal.table(("", ""), details(one))
        terminal.say()
        terminal.table(COLUMN_HEADINGS, columns(one))
        terminal.say()
    if not options.surveys:
        terminal.table(HEADINGS, overview(), right=(3,))
        terminal.say()
        terminal.table(CREDIT_HEADINGS, acknowledged())
        terminal.say("\nall of one, with its columns, units, bits and masks: gaialake surveys SURVEY")
    return DONE


def fetch(options: argparse.Namespace) -> int:
    """Fetch the raw files of surveys from their archives."""
    try:
        from jobs import fetching
    except ModuleNotFoundError as error:
        raise LakeError(f"fetching needs {error.name}, which is not installed; `pip install 'gaialake[archive]'`") from error
    chosen = [declared(name) for name in options.surveys]
    fetching.refuse(Storage.at(_where(options)), chosen)
    return fetching.fetch_all(_lake(options) if options.dry_run else _lake_or_new(options), chosen, options)


def ingest(options: argparse.Namespace) -> int:
    """Build the tables of surveys from raw files, which are remembered for later nights."""
    chosen = [declared(name) for name in options.surveys]
    paths = [Path(path) for path in options.raw]
    if len(chosen) > 1 and any(path.is_file() for path in paths):
        raise LakeError("files belong to one survey: name one survey with --raw FILE..., or give folders")
    if options.replace and not paths:
        raise LakeError("--replace forgets the paths named before, so it needs --raw PATH... to take their place")
    if options.dry_run:
        return _ingest_dry(options, chosen, paths)
    lake = _lake_or_new(options)
    with writing(lake.storage), cluster(options.profile) as run:
        for one in chosen:
            before = ledger.remembered(lake.storage, one)
            if paths:
                ledger.register(lake.storage, one, paths, replace=options.replace)
            planned = None
            try:
                planned = plan_survey(lake, one)
                _ingest_one(lake, planned, run)
            except LakeError as error:
                # Files that do not fit, or have nothing to stand on, are forgotten, or every later night would fail on them.
                if planned is None or isinstance(error, RawFileError):
                    ledger.restore(lake.storage, one, before)
                raise
    terminal.say(f"next: gaialake --lake {lake.storage.root} check")
    return DONE


def _ingest_dry(options: argparse.Namespace, chosen: list[Survey], paths: list[Path]) -> int:
    if not paths:
        lake = _lake(options)
        night.show_plan([plan_survey(lake, one, save=False) for one in chosen], [])
    for one in chosen if paths else ():
        files = [file for path in paths for file in ledger.files_under(path, one)]
        held = terminal.size(sum(file.stat().st_size for file in files))
        terminal.say(f"{one.name}: would read {len(files)} files, {held}")
    return DONE


def _ingest_one(lake: Lake, plan: SurveyPlan, run: Runner) -> None:
    left = ledger.ignored_files(lake.storage, plan.survey)
    if left:
        terminal.say(f"{plan.survey.name}: {len(left)} files beside its own were left alone, such as {left[0]}")
    outcome = build_survey(lake.storage, lake.grid, plan.survey, plan.files, plan.standing, run=run)
    did = f"{outcome.mapped} files read, {outcome.reduced} partitions made, {outcome.reused} kept"
    terminal.say(f"{plan.survey.name}: {did if outcome.reduced or outcome.reused else 'nothing to do, the build is there'}")
    for manifest in outcome.manifests:
        _show_account(manifest)
    if plan.survey.override and plan.survey.override.survey not in plan.standing.beside:
        terminal.say(f"  no files of {plan.survey.override.survey} are in this lake, so none of its labels replaces these")


def _show_account(manifest: Manifest) -> None:
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


def check(options: argparse.Namespace) -> int:
    """Audit the builds that should be published."""
    lake = _lake(options)
    if options.dry_run:
        wanted = _wanted(lake, save=False)
        for manifest in wanted:
            audit = options.deep or manifest.checks is None or _why(manifest, wanted, lake)
            terminal.say(
                f"{manifest.table} {manifest.build}: {'would be audited' if audit else 'passed before'}, {manifest.rows:,} rows"
            )
        return DONE
    with writing(lake.storage), cluster(options.profile) as run:
        wanted = _wanted(lake)
        for manifest in wanted:
            if manifest.checks is not None and not options.deep and not _why(manifest, wanted, lake):
                terminal.say(f"{manifest.table} {manifest.build}: passed before (--deep reads it again)")
            else:
                _show_account(night.audited(lake, manifest, run, beside=wanted, again=options.deep))
    terminal.say(f"next: gaialake --lake {lake.storage.root} publish")
    return DONE


def _why(manifest: Manifest, wanted: Sequence[Manifest], lake: Lake) -> str:
    """Say why the matches of a table that passed its check are to be verified again."""
    return due(manifest, table_surveys().get(manifest.table), {*lake.published, *(one.table for one in wanted)})


def publish(options: argparse.Namespace) -> int:
    """Name checked builds in the catalogue."""
    lake = _lake(options)
    if options.dry_run:
        for manifest in _wanted(lake, save=False):
            there = f"/{manifest.build}.json" in lake.published.get(manifest.table, "")
            state = "published" if there else "would be published" if manifest.checks is not None else "not checked"
            terminal.say(f"{manifest.table} {manifest.build}: {state}")
        return DONE
    with writing(lake.storage):
        changed = publish_builds(lake.storage, _wanted(lake))
    terminal.say(f"published: {', '.join(changed) if changed else 'nothing new'}")
    terminal.say(f"catalogue: {lake.storage.root}/catalog.yaml")
    return DONE


def plan(options: argparse.Namespace) -> int:
    """Say what is stale and why."""
    lake = _lake(options)
    night.show_plan(make_plan(lake, save=False), night.models_to_do(lake, []))
    return DONE


def train(options: argparse.Namespace) -> int:
    """Train a model on the published tables."""
    lake = _lake(options)
    require_model(options.model)
    if options.dry_run:
        bundle = training_id(model_inputs(lake), options.model, options.preset)
        there = has_bundle(lake.storage, options.model, bundle)
        terminal.say(f"{options.model}, preset {options.preset}: bundle {bundle} {'is there' if there else 'would be trained'}")
        return DONE
    with writing(lake.storage), cluster(options.profile) as run:
        bundle, trained = train_model(lake, options.model, preset=options.preset, run=run)
    terminal.say(f"{options.model}: bundle {bundle} {'trained' if trained else 'was there already'}")
    terminal.say(f"next: gaialake --lake {lake.storage.root} predict {options.model}")
    return DONE


def predict(options: argparse.Namespace) -> int:
    """Map a model over all partitions and publish its predictions."""
    lake = _lake(options)
    if options.dry_run:
        made = derivation(lake, options.model, options.bundle)
        terminal.say(f"would build {made.name} with bundle {made.version} for {lake.table(ANCHOR).rows:,} sources")
        return DONE
    record: dict[str, object] = {}
    with writing(lake.storage), cluster(options.profile) as run:
        changed = night.publish_predictions(lake, options.model, options.bundle, run, record)
    terminal.say(f"{record['partitions_made']} partitions made, {record['partitions_kept']} kept")
    terminal.say(f"published: {', '.join(changed) if changed else 'nothing new'}")
    return DONE


def nightly(options: argparse.Namespace) -> int:
    """Bring the lake up to date."""
    lake = _lake(options) if options.dry_run else _lake_or_new(options)
    return night.nightly(lake, profile=options.profile, train_models=options.train or [], dry_run=options.dry_run)


def status(options: argparse.Namespace) -> int:
    """Show what is published, and what a killed run left unfinished."""
    lake = _lake(options)
    terminal.say(f"{lake.storage.root}: release {lake.release}, grid {lake.grid.name} with {len(lake.grid):,} partitions")
    rows = [
        (one["table"], f"{one['rows']:,}", terminal.size(one["bytes"]), one["build"], one["created"]) for one in summary(lake)
    ]
    terminal.table(("published table", "rows", "bytes", "build", "created"), rows, right=(1, 2))
    for left in scratch_left(lake.storage):
        terminal.say(f"unfinished work on {left}: the next run that needs it continues there")
    return DONE


def demo(options: argparse.Namespace) -> int:
    """Show the whole path on a synthetic sky."""
    from jobs.demo import demo as show

    folder = Path(options.dir).resolve()
    if options.dry_run:
        terminal.say(f"would make a synthetic sky of {options.stars:,} stars and the lake of it in {folder}")
        return DONE
    show(folder, stars=options.stars, profile=options.profile)
    return DONE


def _lake(options: argparse.Namespace) -> Lake:
    return open_lake(_where(options))


def _where(options: argparse.Namespace) -> str:
    where = options.lake or os.environ.get("GAIALAKE")
    if not where:
        raise LakeError("which lake? give `gaialake --lake DIR ...`, or set GAIALAKE=DIR")
    return str(where)


def _lake_or_new(options: argparse.Namespace) -> Lake:
    """Open the lake; lay out one with the release's own grid where there is an empty folder or none."""
    storage = Storage.at(_where(options))
    if storage.exists(LAKE):
        return open_lake(storage.root)
    if storage.is_local and storage.path("").is_dir() and any(storage.path("").iterdir()):
        raise LakeError(f"{storage.root} is neither a lake nor empty; make a lake elsewhere, or `gaialake init {storage.root}`")
    made = init_lake(storage.root)
    terminal.say(f"made a lake in {storage.root}: release {made.release}, {len(made.grid):,} partitions")
    return made


def _wanted(lake: Lake, *, save: bool = True) -> list[Manifest]:
    """Return the manifests of the builds that the current raw files and models ask for, as far as they exist; name the others."""
    steps = [step for one in make_plan(lake, save=save) for step in one.steps]
    for step in steps:
        if step.state == STALE:
            terminal.say(f"{step.table}: stale, to be built by `ingest` or `nightly` first: {step.why}")
        if step.state == WAITING:
            terminal.say(f"{step.table}: waiting: {step.why}")
    found = [read_manifest(lake.storage, step.table, step.build) for step in steps if step.state not in (STALE, WAITING)]
    for model in MODELS if ANCHOR in lake.published else ():
        table, build = predictions_name(model), predictions_build(lake, model)
        if build is not None and build in builds(lake.storage, table):
            found.append(read_manifest(lake.storage, table, build))
    return found
