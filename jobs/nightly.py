"""Rebuild what is stale, audit it, publish it at once, and map the current models over it: one idempotent command."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from jobs.cluster import cluster
from jobs.inference import predict, predictions_build, predictions_name
from jobs.lock import writing
from jobs.plan import FRESH, SurveyPlan, plan
from jobs.terminal import say, size, table
from jobs.training import DEFAULT_PRESET, MODELS, current_bundle, model_inputs, require_model, train, training_id
from lake.build import build_survey
from lake.catalog import publish
from lake.errors import CheckError, LakeError
from lake.ingest import Runner
from lake.manifest import Manifest, is_there, read_manifest
from lake.plain import mend_derived
from lake.pretrain import ANCHOR
from lake.root import Lake, open_lake
from lake.storage import Storage
from lake.survey import table_surveys
from lake.table import Table
from lake.validate import check
from lake.verify import due, verify

DONE, NOTHING = 0, 3


@dataclass
class Night:
    """What a run did, step by step."""

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    steps: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Time one step; what it did is added to the record that this yields."""
        record: dict[str, Any] = {"step": name}
        begun = time.monotonic()
        say(name)
        yield record
        record["seconds"] = round(time.monotonic() - begun, 2)
        self.steps.append(record)

    def write(self, storage: Storage) -> str:
        """Keep the record of the run in the lake; return its key."""
        key = f"reports/nightly-{self.started.replace(':', '').replace('+0000', 'Z')}.json"
        storage.write_json(key, {"started": self.started, "steps": self.steps})
        return key


def nightly(lake: Lake, *, profile: str = "local", train_models: Sequence[str] = (), dry_run: bool = False) -> int:
    """Bring the lake up to date.

    Parameters
    ----------
    train_models
        Models to train anew on what is published; without it, current bundles are mapped over new partitions.

    Returns
    -------
    int
        0: something was built and published; 3: there was nothing to do.

    Raises
    ------
    LakeError
        If anything failed; the catalogue then still names the old builds. Only surveys that lack what they stand on are left
        out: all else is published first, then the error names them. `BusyError` if another writer is at work.
    """
    for model in train_models:
        require_model(model)
    if dry_run:
        show_plan(plan(lake, save=False), models_to_do(lake, train_models))
        return DONE
    with writing(lake.storage), cluster(profile) as run:
        night = Night()
        with night.step("plan"):
            plans = plan(lake)
            todo = models_to_do(lake, train_models)
        waiting = [one.waiting for one in plans if one.waiting]
        plans = [one for one in plans if not one.waiting]
        if all(step.state == FRESH for one in plans for step in one.steps) and not todo:
            mend_derived(lake.storage)
            _refuse_waiting(waiting)
            say("nothing to do: every table is published as its raw files, declarations and models ask for")
            return NOTHING
        changed = build_tables(lake, plans, night, run)
        lake = open_lake(lake.storage.root)
        changed += run_models(lake, train_models, night, run)
        key = night.write(lake.storage)
        show_night(open_lake(lake.storage.root), night, changed)
        say(f"record of this run: {lake.storage.root}/{key}")
        _refuse_waiting(waiting)
        return DONE


def _refuse_waiting(waiting: Sequence[str]) -> None:
    """Fail a run that left surveys out, when all others are done."""
    if waiting:
        raise LakeError(f"all else is published, but {len(waiting)} survey(s) could not be built: {'; '.join(waiting)}")


def build_tables(lake: Lake, plans: Sequence[SurveyPlan], night: Night, run: Runner) -> list[str]:
    """Ingest what is stale, check what is unchecked, and publish all of it at once; return the tables that changed."""
    manifests: list[Manifest] = []
    for one in plans:
        if all(step.state == FRESH for step in one.steps):
            continue
        if one.stale:
            with night.step(f"ingest {one.survey.name}") as record:
                outcome = build_survey(lake.storage, lake.grid, one.survey, one.files, one.standing, run=run)
                record |= {"files_read": outcome.mapped, "partitions_made": outcome.reduced, "partitions_kept": outcome.reused}
                manifests.extend(outcome.manifests)
        else:
            manifests.extend(read_manifest(lake.storage, step.table, step.build) for step in one.steps)
    if not manifests:
        return []
    with night.step("check"):
        manifests = [audited(lake, manifest, run, beside=manifests) for manifest in manifests]
    with night.step("publish") as record:
        record["tables"] = publish(lake.storage, manifests)
    return list(record["tables"])


def audited(lake: Lake, manifest: Manifest, run: Runner, *, beside: Sequence[Manifest] = (), again: bool = False) -> Manifest:
    """Check a build unless it passed before, and verify its matches with the tables at hand.

    Parameters
    ----------
    beside
        Builds of other tables that are to be published with this one; published tables serve where there is none.
    """
    source = table_surveys().get(manifest.table)
    new = {one.table: Table(lake.storage, one, lake.grid) for one in (*beside, manifest)}
    if manifest.checks is not None and not again and not due(manifest, source, {*new, *lake.published}):
        return manifest
    if source is not None and manifest.table == source.name:
        _refuse_empty(lake, manifest)
    if source is None or manifest.table != source.name or not (source.relations or source.match):
        return check(lake.storage, manifest, run=run, limit=source.rows if source else None, deep=again)
    known = {one.table for one in source.relations}
    references = {name: new.get(name) or lake.table(name) for name in sorted(known) if name in new or name in lake.published}
    return check(
        lake.storage,
        manifest,
        run=run,
        limit=source.rows,
        deep=again,
        verify=partial(verify, new[manifest.table], source, references, run=run),
    )


def _refuse_empty(lake: Lake, manifest: Manifest) -> None:
    """Refuse to put a table without rows in the place of one with rows."""
    held = lake.table(manifest.table).rows if manifest.table in lake.published and not manifest.rows else 0
    if held:
        raise CheckError(
            f"table {manifest.table}, build {manifest.build} has no rows, but {held:,} are published; nothing is replaced. Its "
            f"raw files are empty, or all rows were dropped ({manifest.account['dropped'] or 'none read'}): name the right files "
            f"with `gaialake ingest {manifest.table} --replace --raw PATH...`"
        )


def models_to_do(lake: Lake, train_models: Sequence[str]) -> list[str]:
    """Return what models would do on the published tables, in words; nothing if all is current."""
    todo = []
    for model in MODELS:
        if ANCHOR not in lake.published:
            if model in train_models:
                todo.append(f"train {model} once {ANCHOR} is published")
            continue
        if model in train_models and training_id(model_inputs(lake), model, _preset(lake, model)) != current_bundle(
            lake.storage, model
        ):
            todo.append(f"train {model}: the published tables are not those of its current bundle")
        elif current_bundle(lake.storage, model) is not None:
            table = predictions_name(model)
            if f"/{predictions_build(lake, model)}.json" not in lake.published.get(table, ""):
                todo.append(f"predict {model}: bundle or published tables changed since its last predictions")
            elif not all(is_there(lake.storage, part) for part in lake.table(table).manifest.partitions):
                todo.append(f"predict {model}: files of its predictions are gone")
    return todo


def _preset(lake: Lake, model: str) -> str:
    key = f"models/{model}/current.json"
    return str(lake.storage.read_json(key).get("preset", DEFAULT_PRESET)) if lake.storage.exists(key) else DEFAULT_PRESET


def run_models(lake: Lake, train_models: Sequence[str], night: Night, run: Runner) -> list[str]:
    """Train the models that are asked for, then publish the predictions of every current bundle."""
    changed: list[str] = []
    for model in MODELS:
        if ANCHOR not in lake.published:
            continue
        if model in train_models:
            with night.step(f"train {model}") as record:
                record["bundle"], record["trained"] = train(lake, model, preset=_preset(lake, model), run=run)
        if current_bundle(lake.storage, model) is None:
            continue
        with night.step(f"predict {model}") as record:
            changed += publish_predictions(lake, model, None, run, record)
    return changed


def publish_predictions(lake: Lake, model: str, bundle: str | None, run: Runner, record: dict[str, Any]) -> list[str]:
    """Predict, check and publish; return the table's name if it changed."""
    outcome = predict(lake, model, bundle=bundle, run=run)
    record |= {"partitions_made": outcome.reduced, "partitions_kept": outcome.reused}
    return publish(lake.storage, [audited(lake, manifest, run) for manifest in outcome.manifests])


def show_plan(plans: Sequence[SurveyPlan], todo: Sequence[str]) -> None:
    """Print what would be done and why."""
    rows = []
    for one in plans:
        for step in one.steps:
            held = f"{step.rows:,}" if step.rows is not None else ""
            rows.append((step.table, step.state, held, size(step.bytes), step.why))
    table(("table", "state", "rows", "bytes", "why"), rows, right=(2, 3))
    for line in todo:
        say(f"then: {line}")
    if not rows:
        say("no raw files are registered; name some with `gaialake ingest SURVEY --raw PATH...`")


def show_night(lake: Lake, night: Night, changed: Sequence[str]) -> None:
    """Print in one screen what happened."""
    rows = []
    for name in changed:
        manifest = lake.table(name).manifest
        lost = ", ".join(f"{rows:,} {reason}" for reason, rows in manifest.account["dropped"].items()) or "none"
        rows.append(
            (
                name,
                f"{manifest.rows:,}",
                lost,
                len([p for p in manifest.partitions if p.key]),
                size(manifest.bytes),
                manifest.build,
            )
        )
    table(("published", "rows", "rows dropped", "files", "bytes", "build"), rows, right=(1, 3, 4))
    say()
    table(("step", "seconds"), [(step["step"], f"{step['seconds']:.1f}") for step in night.steps], right=(1,))
