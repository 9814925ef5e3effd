"""What the verbs on products do: train models, map them over all partitions, write pages on how well they do."""

import argparse
from collections.abc import Callable, Sequence

from jobs import terminal
from jobs.cluster import cluster
from jobs.inference import derivation
from jobs.inference import predict as predict_partitions
from jobs.journal import logged
from jobs.lock import writing
from jobs.model_steps import publish_product
from jobs.opened import opened
from jobs.product import has_bundle
from jobs.products import PRODUCTS, learning, named
from jobs.training import train as train_product
from jobs.training import training_id
from lake.errors import BusyError, LakeError, OutageError
from lake.part import part_of
from lake.root import Lake, open_lake

DONE = 0


def train(options: argparse.Namespace) -> int:
    """Train models on the published tables."""
    lake, names = opened(options), named(options.models)

    def foretold(name: str) -> None:
        bundle = training_id(lake, name, options.preset)
        there = "is there" if has_bundle(lake.storage, name, bundle) else "would be trained"
        terminal.say(f"{name}, preset {options.preset or learning(name).default}: bundle {bundle} {there}")

    if options.dry_run:
        _each(names, foretold)
        return DONE
    with writing(lake.storage, "train"), cluster(options.profile) as at, logged(lake.storage, "train", at) as run:

        def trained(name: str) -> None:
            bundle, new = train_product(lake, name, preset=options.preset, run=run)
            terminal.say(f"{name}: bundle {bundle} {'trained' if new else 'was there already'}")

        _each(names, trained)
    terminal.say(f"next: gaialake --lake {lake.storage.root} predict {' '.join(options.models)}")
    return DONE


def _each(names: Sequence[str], work: Callable[[str], None]) -> None:
    """Work on each of these; what fails keeps none of the others from it, and is named at the end.

    Raises
    ------
    LakeError
        If any failed. An outage, or another writer, ends it at once.
    """
    failed: dict[str, LakeError] = {}
    for name in names:
        try:
            work(name)
        except (BusyError, OutageError):
            raise
        except LakeError as error:
            failed[name] = error
    if failed and len(names) == 1:
        raise failed[names[0]]
    if failed:
        whys = [f"{name}: {why}" for name, why in failed.items()]
        rest = "; all else is done" if len(failed) < len(names) else ""
        raise LakeError("\n  ".join([f"{len(failed)} of {len(names)} failed{rest}", *whys]))


def predict(options: argparse.Namespace) -> int:
    """Map models, translators or the combination of labels over all partitions, and publish what they make."""
    lake, names = opened(options), named(options.models)
    if options.bundle and len(names) > 1:
        raise LakeError(f"--bundle names one bundle, but {len(names)} tables are to be made: {', '.join(names)}")

    def foretold(name: str) -> None:
        made = derivation(lake, name, options.bundle)
        rows = lake.table(PRODUCTS[name].anchor).rows
        terminal.say(f"would build {made.name} with version {made.version} from {rows:,} rows of {PRODUCTS[name].anchor}")

    if options.dry_run:
        _each(names, foretold)
        return DONE
    if options.part is not None:
        return _predict_share(options, lake, names)
    with (
        writing(lake.storage, "predict") as writer,
        cluster(options.profile) as at,
        logged(lake.storage, "predict", at) as run,
    ):

        def made(name: str) -> None:
            record: dict[str, object] = {}
            changed = publish_product(open_lake(lake.storage.root), name, options.bundle, run, record, writer)
            if record["partitions_made"] or record["partitions_kept"]:
                terminal.say(f"{name}: {record['partitions_made']} partitions made, {record['partitions_kept']} kept")
            else:
                terminal.say(f"{name}: all its partitions are there already")
            terminal.say(f"published: {', '.join(changed) if changed else 'nothing new'}")

        _each(names, made)
    return DONE


def _predict_share(options: argparse.Namespace, lake: Lake, names: Sequence[str]) -> int:
    """Make one element's share of the partitions of a job array."""
    part = part_of(options.part)
    with (
        writing(lake.storage, "predict", shared=True),
        cluster(options.profile) as at,
        logged(lake.storage, f"predict-{part[0]}-of-{part[1]}", at) as run,
    ):

        def made(name: str) -> None:
            outcome = predict_partitions(lake, name, bundle=options.bundle, run=run, part=part)
            terminal.say(f"{name}, part {options.part}: {outcome.reduced} partitions made, {outcome.reused} kept")

        _each(names, made)
    terminal.say(f"when all elements have: gaialake --lake {lake.storage.root} predict {' '.join(options.models)}")
    return DONE


def report(options: argparse.Namespace) -> int:
    """Write the pages of trained translators."""
    from jobs.translator_report import translator_report

    lake = opened(options)
    _each(named(options.models), lambda name: terminal.say(f"{name}: {lake.storage.root}/{translator_report(lake, name)}"))
    return DONE
