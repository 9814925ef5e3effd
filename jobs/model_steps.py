"""Do what a night does with models: find out what is due, wait for tables that failed, train, predict, publish."""

import time
from collections.abc import Sequence
from typing import Any

from jobs.auditing import audited, published
from jobs.inference import predict, predictions_build, predictions_name
from jobs.lock import Writer
from jobs.night import Night
from jobs.training import DEFAULT_PRESET, INPUTS, MODELS, current_bundle, current_key, model_inputs, train, training_id
from lake.errors import LakeError, OutageError
from lake.ingest import Runner
from lake.manifest import files_gone
from lake.pretrain import ANCHOR
from lake.root import Lake, held_builds, open_lake, read_catalog


def models_to_do(lake: Lake, train_models: Sequence[str]) -> list[str]:
    """Return what models would do on the published tables, in words; nothing if all is current."""
    todo = []
    for model in MODELS:
        training = model in train_models
        try:
            due = _due(lake, model, training=training)
        except OutageError:
            raise
        except LakeError as error:
            # A table that it reads, or its own, is damaged: what is built first may mend that, else the model names it again.
            due = f"{'train' if training else 'predict'} {model}: {error}"
        todo += [due] if due else []
    return todo


def _due(lake: Lake, model: str, *, training: bool) -> str:
    current = current_bundle(lake.storage, model)
    if ANCHOR not in lake.published:
        return f"train {model} once {ANCHOR} is published" if training else ""
    if training and training_id(model_inputs(lake), model, _preset(lake, model)) != current:
        return f"train {model}: the published tables are not those of its current bundle"
    if current is None:
        return ""
    table = predictions_name(model)
    if f"/{predictions_build(lake, model)}.json" not in lake.published.get(table, ""):
        changed = f"predict {model}: bundle or published tables changed since its last predictions"
        return "" if _taken_back(lake, model) else changed
    gone = files_gone(lake.storage, lake.table(table).manifest.partitions)
    return f"predict {model}: files of its predictions are gone" if gone else ""


def _taken_back(lake: Lake, model: str) -> bool:
    """Tell whether a roll-back holds the predictions back that would be made now."""
    return held_builds(read_catalog(lake.storage)).get(predictions_name(model)) == predictions_build(lake, model)


def _preset(lake: Lake, model: str) -> str:
    held = lake.storage.find_json(current_key(model)) or {}
    return str(held.get("preset", DEFAULT_PRESET))


def run_models(lake: Lake, train_models: Sequence[str], night: Night, run: Runner) -> None:
    """Train the models that are asked for, then publish the predictions of every current bundle."""
    for model in MODELS if ANCHOR in lake.published else ():
        training, what = model in train_models, f"train {model}"
        if _waits(lake, model, night, training=training):
            continue
        if training:
            with night.excusing(what), night.step(what) as record:
                record["bundle"], record["trained"] = train(lake, model, preset=_preset(lake, model), run=run)
        if current_bundle(lake.storage, model) is not None:
            _predict(lake, model, night, run)


def _waits(lake: Lake, model: str, night: Night, *, training: bool) -> bool:
    """Tell whether a model waits for a table that failed: what it made tonight would be made again when that is mended."""
    lacking = ", ".join(sorted({name for one in night.failures for name in one["tables"]}.intersection(INPUTS)))
    if lacking and training:
        night.fail(f"train {model}", (), f"{model} is not trained before {lacking} can be built; its current bundle stays")
    if lacking and current_bundle(lake.storage, model) is not None:
        table = predictions_name(model)
        why = (
            f"{table} waits for {lacking}, from which it is made; the published one is still served. To predict from what is "
            f"published meanwhile: `gaialake --lake {lake.storage.root} predict {model}`"
        )
        night.fail(f"predict {model}", [table], why)
    return bool(lacking)


def _predict(lake: Lake, model: str, night: Night, run: Runner) -> None:
    what, begun = f"predict {model}", time.monotonic()
    with night.excusing(what, [predictions_name(model)]):
        if _taken_back(lake, model):
            return
        with night.step(what) as record:
            changed = publish_predictions(lake, model, None, run, record, night.writer)
        opened = open_lake(lake.storage.root)
        for name in changed:
            night.made(opened.table(name).manifest, time.monotonic() - begun)


def publish_predictions(
    lake: Lake, model: str, bundle: str | None, run: Runner, record: dict[str, Any], writer: Writer
) -> list[str]:
    """Predict, check and publish; return the table's name if it changed."""
    outcome = predict(lake, model, bundle=bundle, run=run)
    record |= {"partitions_made": outcome.reduced, "partitions_kept": outcome.reused}
    return published(lake, [audited(lake, manifest, run) for manifest in outcome.manifests], writer)
