"""Do what a night does with products: find out what is due, wait for tables that failed, train, make, publish."""

import time
from collections.abc import Sequence
from typing import Any

from jobs.auditing import audited, published
from jobs.inference import predict, wanted_build
from jobs.lock import Writer
from jobs.night import Night
from jobs.product import Product, current_bundle, current_preset, current_version
from jobs.products import PRODUCTS
from jobs.training import train, training_id
from lake.errors import LakeError, OutageError
from lake.ingest import Runner
from lake.manifest import files_gone
from lake.root import Lake, held_builds, open_lake, read_catalog


def models_to_do(lake: Lake, train_models: Sequence[str]) -> list[str]:
    """Return what would be done with products on the published tables, in words; nothing if all is current."""
    todo = []
    for one in PRODUCTS.values():
        training = one.name in train_models
        try:
            due = _due(lake, one, training=training)
        except OutageError:
            raise
        except LakeError as error:
            # A table that it reads, or its own, is damaged: what is built first may mend that, else it is named again.
            due = f"{'train' if training else 'predict'} {one.name}: {error}"
        todo += [due] if due else []
    return todo


def _due(lake: Lake, one: Product, *, training: bool) -> str:
    lacking = _lacking(lake, one, training=training)
    if lacking:
        return f"train {one.name} once {lacking} is published" if training else ""
    current = current_bundle(lake.storage, one.name)
    if training and training_id(lake, one.name, current_preset(lake.storage, one)) != current:
        return f"train {one.name}: {'the published tables are not those of its current bundle' if current else 'never trained'}"
    if current_version(lake.storage, one) is None:
        return ""
    wanted = wanted_build(lake, one.name)
    if f"/{wanted}.json" not in lake.published.get(one.table, ""):
        changed = f"predict {one.name}: its bundle, rules or the published tables changed since {one.table} was made"
        return "" if _taken_back(lake, one, wanted) else changed
    gone = files_gone(lake.storage, lake.table(one.table).manifest.partitions)
    return f"predict {one.name}: files of {one.table} are gone" if gone else ""


def _lacking(lake: Lake, one: Product, *, training: bool) -> str:
    """Return the first table that is not published and without which a product cannot be trained, or made."""
    needs = one.learning.needs if one.learning and training else (one.anchor,)
    return next((name for name in needs if name not in lake.published), "")


def _taken_back(lake: Lake, one: Product, build: str | None) -> bool:
    """Tell whether a roll-back holds the build back that would be made now."""
    return held_builds(read_catalog(lake.storage)).get(one.table) == build


def run_models(lake: Lake, train_models: Sequence[str], night: Night, run: Runner) -> None:
    """Train the products that are asked for, then publish each with its current bundle or rules, in the order of their making.

    One that cannot be trained, for it lacks a table or common stars, fails, and is made with its current bundle.
    """
    for one in PRODUCTS.values():
        training, what = one.name in train_models, f"train {one.name}"
        if _waits(lake, one, night, training=training):
            continue
        if training:
            with night.excusing(what), night.step(what) as record:
                record["bundle"], record["trained"] = train(lake, one.name, preset=current_preset(lake.storage, one), run=run)
        if current_version(lake.storage, one) is not None and one.anchor in lake.published:
            # What was published of others tonight counts.
            lake = _predict(lake, one, night, run)


def _waits(lake: Lake, one: Product, night: Night, *, training: bool) -> bool:
    """Tell whether a product waits for a table that failed: what it made tonight would be made again when that is mended."""
    failed = {name for failure in night.failures for name in failure["tables"]}
    reads = {*one.inputs, *(one.learning.needs if one.learning and training else ())}
    lacking = ", ".join(sorted(failed & reads))
    if lacking and training:
        night.fail(f"train {one.name}", (), f"{one.name} is not trained before {lacking} can be built; its current bundle stays")
    if lacking and current_version(lake.storage, one) is not None and one.table in lake.published:
        why = (
            f"{one.table} waits for {lacking}, from which it is made; the published one is still served. To make it from what is "
            f"published meanwhile: `gaialake --lake {lake.storage.root} predict {one.name}`"
        )
        night.fail(f"predict {one.name}", [one.table], why)
    return bool(lacking)


def _predict(lake: Lake, one: Product, night: Night, run: Runner) -> Lake:
    """Make a product, unless it is published as it should be; return the lake as it is then."""
    what, begun = f"predict {one.name}", time.monotonic()
    with night.excusing(what, [one.table]):
        if _taken_back(lake, one, wanted_build(lake, one.name)):
            return lake
        with night.step(what) as record:
            changed = publish_product(lake, one.name, None, run, record, night.writer)
        lake = open_lake(lake.storage.root)
        for name in changed:
            night.made(lake.table(name).manifest, time.monotonic() - begun)
    return lake


def publish_product(lake: Lake, name: str, bundle: str | None, run: Runner, record: dict[str, Any], writer: Writer) -> list[str]:
    """Make a product, check and publish it; return the table's name if it changed."""
    outcome = predict(lake, name, bundle=bundle, run=run)
    record |= {"partitions_made": outcome.reduced, "partitions_kept": outcome.reused}
    return published(lake, [audited(lake, manifest, run) for manifest in outcome.manifests], writer)
