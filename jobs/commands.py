"""What each verb of the command line does: open the lake, call the one function for it, say what came of it."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from jobs import terminal
from jobs.auditing import audited, released
from jobs.cluster import cluster, job_script
from jobs.inference import wanted_build
from jobs.ingesting import show_account
from jobs.journal import logged
from jobs.lock import writing
from jobs.nightly import nightly as run_nightly
from jobs.opened import opened, opened_for_night, opened_or_new, where
from jobs.plan import STALE, WAITING
from jobs.plan import plan as make_plan
from jobs.products import PRODUCTS, named
from jobs.show_plan import chosen_tables, plan_json, show_plan, whole_plan
from jobs.status import show_status
from jobs.status import status as make_status
from lake.catalog import publish as publish_builds
from lake.errors import LakeError
from lake.ingest import builds
from lake.manifest import Manifest, read_manifest
from lake.overview import COLUMN_HEADINGS, CREDIT_HEADINGS, HEADINGS, acknowledged, columns, details, overview
from lake.part import part_of
from lake.root import Lake, grid_of, held_builds, init_lake, read_catalog
from lake.storage import Storage, manifest_key
from lake.survey import survey as declared
from lake.survey import table_surveys
from lake.verify import due

DONE = 0


def on_cluster(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Let a verb that runs on a cluster show, on a dry run, the job that its profile would submit as well."""

    def shown(options: argparse.Namespace) -> int:
        code = command(options)
        script = job_script(options.profile) if options.dry_run else None
        if script:
            terminal.say(f"\nwith work to do, profile {options.profile} would submit jobs such as this:\n\n{script}")
        return code

    return shown


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


def _fetching() -> ModuleType:
    """Return the module that fetches; its libraries are an extra."""
    try:
        from jobs import fetching
    except ModuleNotFoundError as error:
        raise LakeError(f"fetching needs {error.name}, which is not installed; `pip install 'gaialake[archive]'`") from error
    return fetching


def fetch(options: argparse.Namespace) -> int:
    """Fetch the raw files of surveys from their archives."""
    fetching = _fetching()
    chosen = [declared(name) for name in options.surveys]
    fetching.refuse(Storage.at(where(options)), chosen)
    return fetching.fetch_all(opened(options) if options.dry_run else opened_or_new(options), chosen, options)


def check(options: argparse.Namespace) -> int:
    """Audit the builds that should be published."""
    lake = opened(options)
    if options.dry_run:
        wanted = _not_held(_wanted(lake, save=False), lake)
        for manifest in wanted:
            audit = options.deep or manifest.checks is None or _why(manifest, wanted, lake)
            terminal.say(
                f"{manifest.table} {manifest.build}: {'would be audited' if audit else 'passed before'}, {manifest.rows:,} rows"
            )
        return DONE
    with writing(lake.storage, "check"), cluster(options.profile) as at, logged(lake.storage, "check", at) as run:
        wanted = _not_held(_wanted(lake), lake)
        for manifest in wanted:
            if manifest.checks is not None and not options.deep and not _why(manifest, wanted, lake):
                terminal.say(f"{manifest.table} {manifest.build}: passed before (--deep reads it again)")
            else:
                show_account(audited(lake, manifest, run, beside=wanted, again=options.deep))
    terminal.say(f"next: gaialake --lake {lake.storage.root} publish")
    return DONE


def _why(manifest: Manifest, wanted: Sequence[Manifest], lake: Lake) -> str:
    """Say why the matches of a table that passed its check are to be verified again."""
    return due(manifest, table_surveys().get(manifest.table), {*lake.published, *(one.table for one in wanted)})


def publish(options: argparse.Namespace) -> int:
    """Name checked builds in the catalogue."""
    lake = opened(options)
    if options.dry_run:
        wanted = _wanted(lake, save=False, held=options.held)
        for manifest in wanted if options.held else _not_held(wanted, lake):
            there = f"/{manifest.build}.json" in lake.published.get(manifest.table, "")
            state = "published" if there else "would be published" if manifest.checks is not None else "not checked"
            terminal.say(f"{manifest.table} {manifest.build}: {state}")
        return DONE
    with writing(lake.storage, "publish") as writer:
        wanted = _wanted(lake, held=options.held)
        published = wanted if options.held else _not_held(wanted, lake)
        kept_back = [one.table for one in wanted if one not in published]
        changed = publish_builds(lake.storage, wanted, fence=writer.fence, release_held=options.held)
        for one in wanted:
            released(lake, one, changed)
    for table in kept_back:
        terminal.say(f"{table}: a roll-back took this build back; `gaialake publish --held` publishes it again")
    terminal.say(f"published: {', '.join(changed) if changed else 'nothing new'}")
    terminal.say(f"catalogue: {lake.storage.root}/catalog.yaml")
    return DONE


def plan(options: argparse.Namespace) -> int:
    """Say what would be made anew, why, and about how much."""
    lake = opened(options)
    part = part_of(options.part) if options.part else None
    plans = [one.share(part) for one in chosen_tables(whole_plan(lake, quiet=options.json), options.tables)]
    partitions = options.partitions or bool(options.tables)
    if options.json:
        terminal.document(plan_json(plans, part=part, partitions=partitions))
    else:
        show_plan(plans, partitions=partitions)
    return DONE


def nightly(options: argparse.Namespace) -> int:
    """Bring the lake up to date."""
    chosen = [declared(name) for name in options.fetch or []]
    if chosen:
        _fetching().refuse(Storage.at(where(options)), chosen)
    return run_nightly(
        opened_for_night(options),
        profile=options.profile,
        fetch=chosen,
        train_models=[name for word in options.train or [] for name in named([word])],
        dry_run=options.dry_run,
    )


def status(options: argparse.Namespace) -> int:
    """Show how the lake is: who writes, how the last nightly went, what is published, held back and unfinished."""
    show_status(make_status(opened(options)), as_json=options.json)
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


def _wanted(lake: Lake, *, save: bool = True, held: bool = False) -> list[Manifest]:
    """Return the manifests of the builds that the current raw files and models ask for, as far as they exist; name the others.

    Builds that a roll-back took back are among them.

    Parameters
    ----------
    held
        Whether what was taken back is to be published as well, so that products are wanted that were made of it.
    """
    steps = [step for one in make_plan(lake, save=save) for step in one.steps]
    for step in steps:
        if step.state == STALE:
            terminal.say(f"{step.table}: stale, to be built by `ingest` or `nightly` first: {step.why}")
        if step.state == WAITING:
            terminal.say(f"{step.table}: waiting: {step.why}")
    found = [read_manifest(lake.storage, step.table, step.build) for step in steps if step.rows is not None]
    for one in PRODUCTS.values():
        # Made of what will be published then, products that come before it included.
        keys = {own.table: manifest_key(own.table, own.build) for own in (found if held else _not_held(found, lake))}
        build = wanted_build(replace(lake, published={**lake.published, **keys}), one.name)
        if build is not None and build in builds(lake.storage, one.table):
            found.append(read_manifest(lake.storage, one.table, build))
    return found


def _not_held(manifests: Sequence[Manifest], lake: Lake) -> list[Manifest]:
    """Return the builds but those that a roll-back took back."""
    taken_back = held_builds(read_catalog(lake.storage))
    return [one for one in manifests if taken_back.get(one.table) != one.build]
