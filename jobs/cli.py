"""The command line: verbs in the order of the data's way; flags say which, where, and whether to write."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs import terminal
from lake.errors import BusyError, LakeError, RawFileError
from lake.partition import LEAF_ROWS
from lake.root import Lake, grid_of, init_lake, open_lake
from lake.storage import LAKE, Storage

DONE, FAILED, NOTHING, BUSY = 0, 1, 3, 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 1: failed, and what was published before is still served; 2: wrong usage; 3: nothing to do (nightly);
    75: another writer holds the lake.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        _refuse_shadows()
        return command(options)
    except BusyError as error:
        terminal.complain(str(error))
        return BUSY
    except LakeError as error:
        terminal.complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        terminal.complain("stopped; run the same command again to continue where it stopped")
        return 130


def _refuse_shadows() -> None:
    """Refuse to run with a folder of the same name before one of our packages on the import path.

    Raises
    ------
    LakeError
        With the folder that is in the way.
    """
    for name in ("lake", "models", "jobs"):
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) is None:
            raise LakeError(f"a folder called {name} hides the package: {list(module.__path__)}; run from another folder")


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
    if not storage.exists(LAKE):
        if storage.is_local and storage.path("").is_dir() and any(storage.path("").iterdir()):
            raise LakeError(
                f"{storage.root} is neither a lake nor empty; make a lake elsewhere, or here with `gaialake init {storage.root}`"
            )
        made = init_lake(storage.root)
        terminal.say(f"made a lake in {storage.root}: release {made.release}, {len(made.grid):,} partitions")
    return open_lake(storage.root)


def _init(options: argparse.Namespace) -> int:
    grid = grid_of(options.grid, options.counts, options.leaf_rows)
    if options.dry_run:
        terminal.say(
            f"would make a lake in {options.dir}: release {options.release}, grid {grid.name if grid else options.release}"
        )
        return DONE
    made = init_lake(options.dir, release=options.release, grid=grid)
    terminal.say(
        f"{made.storage.root}: release {made.release}, grid {made.grid.name} with {len(made.grid):,} partitions ({made.grid.id})"
    )
    return DONE


def _surveys(options: argparse.Namespace) -> int:
    from lake.survey import surveys

    rows = [
        (one.name, one.title, one.release, f"{one.rows:,}" if one.rows else "", ", ".join(one.tables), one.citation, one.licence)
        for one in surveys().values()
    ]
    terminal.table(("survey", "title", "release", "rows published", "tables", "citation", "licence"), rows, right=(3,))
    return DONE


def _ingest(options: argparse.Namespace) -> int:
    from jobs.cluster import cluster
    from jobs.lock import writing
    from jobs.nightly import show_plan
    from jobs.plan import plan_survey
    from lake.ingest import ingest
    from lake.ledger import ignored_files, register, remembered, restore
    from lake.survey import survey

    lake = _lake_or_new(options)
    chosen = [survey(name) for name in options.surveys]
    if options.raw and len(chosen) > 1 and not all(Path(path).is_dir() for path in options.raw):
        raise LakeError("files belong to one survey: name one survey with --raw FILE..., or give folders")
    with writing(lake.storage):
        before = {one.name: remembered(lake.storage, one) for one in chosen}
        for one in chosen:
            if options.raw and not options.dry_run:
                register(lake.storage, one, [Path(path) for path in options.raw], replace=options.replace)
        plans = [plan_survey(lake, one) for one in chosen]
        if options.dry_run:
            show_plan(plans, [])
            return DONE
        with cluster(options.profile) as run:
            for plan in plans:
                passed_over = ignored_files(lake.storage, plan.survey)
                if passed_over:
                    terminal.say(
                        f"{plan.survey.name}: {len(passed_over)} files beside its own were left alone, such as {passed_over[0]}"
                    )
                try:
                    outcome = ingest(lake.storage, lake.grid, plan.survey, plan.files, run=run)
                except RawFileError:
                    # A file that does not fit must not stop every later night.
                    restore(lake.storage, plan.survey, before[plan.survey.name])
                    raise
                done = f"{outcome.mapped} files read, {outcome.reduced} partitions made, {outcome.reused} kept"
                terminal.say(
                    f"{plan.survey.name}: " + (done if outcome.mapped or outcome.reduced else "nothing to do, the build is there")
                )
                for manifest in outcome.manifests:
                    _account(manifest)
    terminal.say(f"next: gaialake --lake {lake.storage.root} check")
    return DONE


def _account(manifest: object) -> None:
    from lake.manifest import Manifest

    assert isinstance(manifest, Manifest)
    account = manifest.account
    lost = ", ".join(f"{rows:,} {reason}" for reason, rows in account["dropped"].items()) or "none"
    terminal.say(f"  {manifest.table} {manifest.build}: {account['in']:,} rows in, {account['out']:,} out, dropped: {lost}")
    if manifest.absent:
        terminal.say(f"  absent from all its files, hence null: {', '.join(manifest.absent)}")


def _wanted(lake: Lake) -> list[object]:
    """Return the manifests of the builds that the current raw files and models ask for, as far as they exist."""
    from jobs.inference import predictions_build, predictions_name
    from jobs.plan import STALE, plan
    from jobs.training import MODELS
    from lake.ingest import builds
    from lake.manifest import read_manifest

    found: list[object] = [
        read_manifest(lake.storage, step.table, step.build) for one in plan(lake) for step in one.steps if step.state != STALE
    ]
    for model in MODELS:
        if "gaia_dr3_xp" in lake.published:
            table, build = predictions_name(model), predictions_build(lake, model)
            if build is not None and build in builds(lake.storage, table):
                found.append(read_manifest(lake.storage, table, build))
    return found


def _check(options: argparse.Namespace) -> int:
    from jobs.cluster import in_process
    from jobs.lock import writing
    from jobs.nightly import audited
    from lake.manifest import Manifest

    lake = _lake(options)
    with writing(lake.storage):
        for manifest in _wanted(lake):
            assert isinstance(manifest, Manifest)
            if manifest.checks is not None and not options.deep:
                terminal.say(f"{manifest.table} {manifest.build}: passed before (--deep reads it again)")
                continue
            if options.dry_run:
                terminal.say(f"{manifest.table} {manifest.build}: would be audited, {manifest.rows:,} rows")
                continue
            audited(lake.storage, manifest, in_process, again=options.deep)
            _account(manifest)
    terminal.say(f"next: gaialake --lake {lake.storage.root} publish")
    return DONE


def _publish(options: argparse.Namespace) -> int:
    from jobs.lock import writing
    from lake.catalog import publish
    from lake.manifest import Manifest

    lake = _lake(options)
    with writing(lake.storage):
        manifests = [manifest for manifest in _wanted(lake) if isinstance(manifest, Manifest)]
        if options.dry_run:
            for manifest in manifests:
                state = (
                    "published" if f"/{manifest.build}.json" in lake.published.get(manifest.table, "") else "would be published"
                )
                terminal.say(f"{manifest.table} {manifest.build}: {state if manifest.checks is not None else 'not checked'}")
            return DONE
        changed = publish(lake.storage, manifests)
    terminal.say(f"published: {', '.join(changed) if changed else 'nothing new'}")
    terminal.say(f"catalogue: {lake.storage.root}/catalog.yaml")
    return DONE


def _plan(options: argparse.Namespace) -> int:
    from jobs.nightly import models_to_do, show_plan
    from jobs.plan import plan

    lake = _lake(options)
    show_plan(plan(lake), models_to_do(lake, []))
    return DONE


def _train(options: argparse.Namespace) -> int:
    from jobs.cluster import cluster
    from jobs.lock import writing
    from jobs.training import bundle_folder, require_model, train, training_id

    lake = _lake(options)
    require_model(options.model)
    if options.dry_run:
        bundle = training_id(lake.pretrain(), options.model, options.preset)
        there = bundle_folder(lake.storage, options.model, bundle).exists()
        terminal.say(f"{options.model}, preset {options.preset}: bundle {bundle} {'is there' if there else 'would be trained'}")
        return DONE
    with writing(lake.storage), cluster(options.profile) as run:
        bundle, trained = train(lake, options.model, preset=options.preset, run=run)
    terminal.say(f"{options.model}: bundle {bundle} {'trained' if trained else 'was there already'}")
    terminal.say(f"next: gaialake --lake {lake.storage.root} predict {options.model}")
    return DONE


def _predict(options: argparse.Namespace) -> int:
    from jobs.cluster import cluster
    from jobs.inference import derivation
    from jobs.lock import writing
    from jobs.nightly import publish_predictions

    lake = _lake(options)
    if options.dry_run:
        made = derivation(lake, options.model, options.bundle)
        terminal.say(f"would build {made.name} with bundle {made.version} for {lake.table('gaia_dr3_xp').rows:,} sources")
        return DONE
    with writing(lake.storage), cluster(options.profile) as run:
        record: dict[str, object] = {}
        changed = publish_predictions(lake, options.model, options.bundle, run, record)
    terminal.say(f"{record['partitions_made']} partitions made, {record['partitions_kept']} kept")
    terminal.say(f"published: {', '.join(changed) if changed else 'nothing new'}")
    return DONE


def _nightly(options: argparse.Namespace) -> int:
    from jobs.nightly import nightly

    return nightly(_lake_or_new(options), profile=options.profile, train_models=options.train or [], dry_run=options.dry_run)


def _status(options: argparse.Namespace) -> int:
    from jobs.plan import summary
    from lake.ingest import scratch_left

    lake = _lake(options)
    terminal.say(f"{lake.storage.root}: release {lake.release}, grid {lake.grid.name} with {len(lake.grid):,} partitions")
    rows = [
        (one["table"], f"{one['rows']:,}", terminal.size(one["bytes"]), one["build"], one["created"]) for one in summary(lake)
    ]
    terminal.table(("published table", "rows", "bytes", "build", "created"), rows, right=(1, 2))
    for left in scratch_left(lake.storage):
        terminal.say(f"unfinished: {left} (run `gaialake ingest {left.split('/')[0]}` to continue)")
    return DONE


def _demo(options: argparse.Namespace) -> int:
    from jobs.demo import demo

    folder = Path(options.dir).resolve()
    if options.dry_run:
        terminal.say(f"would make a synthetic sky of {options.stars:,} stars and the lake of it in {folder}")
        return DONE
    code = demo(folder, stars=options.stars, profile=options.profile)
    return DONE if code == NOTHING else code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gaialake", description="A data lake and batch service for stellar surveys.")
    parser.add_argument("--lake", metavar="DIR", help="root of the lake (or set GAIALAKE)")
    verbs = parser.add_subparsers(title="verbs, in the data's order", required=True, metavar="VERB")

    def verb(
        name: str, command: Callable[[argparse.Namespace], int], said: str, *, writes: bool = True, runs: bool = False
    ) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=said, description=said)
        one.set_defaults(command=command)
        if writes:
            one.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
        if runs:
            one.add_argument("--profile", default="local", help="where to run: a name in deploy/profiles, or a YAML file")
        return one

    init = verb("init", _init, "lay out a new lake")
    init.add_argument("dir", metavar="DIR")
    init.add_argument("--release", default="dr3")
    init.add_argument("--grid", metavar="uniform:ORDER", help="all HEALPix pixels of one order instead of the release's grid")
    init.add_argument("--counts", metavar="FILE", help="CSV with columns pixel8,rows to cut the sky by")
    init.add_argument(
        "--leaf-rows", type=int, default=LEAF_ROWS, help="with --counts: gaia_source rows that a partition may hold"
    )
    verb("surveys", _surveys, "list the declared surveys", writes=False)
    one = verb("ingest", _ingest, "build a survey's tables from raw files", runs=True)
    one.add_argument("surveys", metavar="SURVEY", nargs="+")
    one.add_argument("--raw", metavar="PATH", nargs="+", default=[], help="files or folders, remembered for later runs")
    one.add_argument("--replace", action="store_true", help="forget the paths that were named before")
    verb("check", _check, "audit builds").add_argument(
        "--deep", action="store_true", help="audit those that passed before as well"
    )
    verb("publish", _publish, "name checked builds in the catalogue")
    verb("plan", _plan, "say what is stale and why", writes=False)
    one = verb("train", _train, "train a model on the published tables", runs=True)
    one.add_argument("model", metavar="MODEL")
    one.add_argument("--preset", default="small")
    one = verb("predict", _predict, "map a model over all partitions and publish its predictions", runs=True)
    one.add_argument("model", metavar="MODEL")
    one.add_argument("--bundle", metavar="B", help="bundle id (default: the one trained last)")
    verb("nightly", _nightly, "rebuild, check and publish what is stale", runs=True).add_argument(
        "--train", metavar="MODEL", action="append", help="train this model anew on what is published"
    )
    verb("status", _status, "show what is published", writes=False)
    one = verb("demo", _demo, "show the whole path on a synthetic sky", runs=True)
    one.add_argument("--dir", default="gaialake-demo")
    one.add_argument("--stars", type=int, default=50_000)
    return parser


if __name__ == "__main__":
    sys.exit(main())
