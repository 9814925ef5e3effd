"""Forecast the partitions of tables that are made of other tables: values computed at sources, and products."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from jobs.inventory import Inventory
from jobs.plan import BUILT, CHECKED, FRESH, HELD, STALE, Step, SurveyPlan
from jobs.product import Product, current_version
from jobs.table_plan import OPEN, PartitionPlan, TablePlan, as_built
from jobs.why import why_predicted
from lake.build import derivation
from lake.derive import build_of, content_of, overlapping
from lake.errors import listing
from lake.manifest import Manifest, Partition, files_there
from lake.parquet import row_bytes
from lake.partition import Ids

_NAMED = 3
_TO_TRAIN = "to be trained"


@dataclass(frozen=True)
class _Recipe:
    """What a derived table is made of.

    Attributes
    ----------
    version
        Of its function; None if that is not known yet.
    tables
        The tables joined, the anchor first, as they will be.
    width
        Bytes of a row, if no earlier build tells.
    every
        Whether the sources of any table are its rows, not those of the anchor alone.
    """

    table: str
    version: str | None
    tables: tuple[TablePlan, ...]
    why: str
    width: float
    every: bool = False


def computed(inventory: Inventory, one: SurveyPlan, step: Step, source: TablePlan | None) -> TablePlan:
    """Return the plan of a survey that is computed at the sources of another table; None for one that is not in the lake."""
    plan = TablePlan(step.table, step.state, step.why, step.build, inventory.published.get(step.table))
    if step.state != STALE or source is None:
        there = step.build in inventory.builds(step.table)
        return replace(plan, partitions=as_built(inventory.manifest(step.table, step.build)) if there else ())
    width = row_bytes(one.survey.schema(step.table))
    recipe = _Recipe(step.table, derivation(one.survey, one.files).version, (source,), step.why, width)
    parts = _partitions(inventory, recipe)
    return replace(plan, partitions=parts, files=one.files, exact=source.exact)


def made(inventory: Inventory, one: Product, upstream: Mapping[str, TablePlan], train: Collection[str]) -> TablePlan | None:
    """Return the plan of a product made of the tables as they will be published; None if there will be none.

    Parameters
    ----------
    train
        Products that will be trained first, so that their bundle is not known yet.
    """
    known = current_version(inventory.storage, one)
    to_train = one.name in train and one.learning is not None
    version = _TO_TRAIN if to_train else known
    tables = tuple(upstream[name] for name in one.inputs if name in upstream)
    if version is None or one.anchor not in upstream:
        return None
    builds = {held.table: held.build for held in tables}
    build = build_of(one.table, version, inventory.grid, builds)
    state, why, manifest = _state(inventory, one.table, build)
    plan = TablePlan(one.table, state, why, build, inventory.published.get(one.table))
    if state != STALE:
        return replace(plan, partitions=as_built(manifest) if manifest else ())
    latest = inventory.latest(one.table)
    if not why:
        why = "; ".join(why_predicted(version, inventory.grid, builds, latest)) if latest else "never made"
    final = None if to_train else version
    parts = _partitions(inventory, _Recipe(one.table, final, tables, why, one.width(inventory.storage, final), one.every))
    return replace(plan, why=why, partitions=parts, exact=all(held.exact for held in tables))


def _state(inventory: Inventory, table: str, build: str) -> tuple[str, str, Manifest | None]:
    """Return state, reason and manifest of a build of a product; no reason if it was never made."""
    manifest = inventory.manifest(table, build) if build in inventory.builds(table) else None
    published = inventory.published.get(table) == build
    if inventory.held.get(table) == build and not published:
        return HELD, "taken back by a roll-back; made and published again when its bundle, rules or tables have changed", manifest
    if manifest is None:
        return STALE, "", None
    gone = inventory.gone(manifest)
    if gone:
        return STALE, f"{len(gone)} of its files are gone ({gone[0]})", manifest
    if manifest.checks is None:
        return BUILT, "made, not checked", manifest
    if published:
        return FRESH, "bundle or rules, and tables, are those of the published build", manifest
    return CHECKED, "made and checked, not published", manifest


def _partitions(inventory: Inventory, recipe: _Recipe) -> tuple[PartitionPlan, ...]:
    """Return one partition per partition of the anchor, as `lake.derive` makes them."""
    manifests = inventory.manifests(recipe.table)
    older = {part.content: part for held in manifests for part in held.partitions}
    there = files_there(inventory.storage, older.values())
    latest = inventory.latest(recipe.table)
    width = latest.bytes / latest.rows if latest is not None and latest.rows else recipe.width
    per_row = _rows_per_row(recipe, latest)
    edges = {one.table: _edges(one) for one in recipe.tables if one.partitions}
    found = []
    for own in recipe.tables[0].partitions:
        over = {
            one.table: one.partitions[overlapping(edges[one.table], own.first, own.end)] if one.partitions else ()
            for one in recipe.tables
        }
        content = _content(inventory, recipe, own, over)
        held = older.get(content) if content else None
        state, why = _judged(recipe, over, content, held, there)
        rows, size = (held.rows, held.bytes) if held else (round(own.rows * per_row), round(own.rows * per_row * width))
        reads = sum(part.bytes for parts in over.values() for part in parts)
        found.append(PartitionPlan(own.number, own.first, own.end, state, why, content, rows, size, reads))
    return tuple(found)


def _rows_per_row(recipe: _Recipe, latest: Manifest | None) -> float:
    """Return the rows that are made of each row of the anchor: as in the latest build, else at least those of any table."""
    if not recipe.every:
        return 1.0
    if latest is not None and latest.inputs and latest.inputs[0].rows:
        return latest.rows / latest.inputs[0].rows
    whole = [sum(part.rows for part in one.partitions) for one in recipe.tables]
    return max(whole) / whole[0] if whole[0] else 1.0


def _edges(one: TablePlan) -> Ids:
    return np.array([*(part.first for part in one.partitions), one.partitions[-1].end], dtype=np.int64)


def _content(
    inventory: Inventory, recipe: _Recipe, own: PartitionPlan, over: Mapping[str, tuple[PartitionPlan, ...]]
) -> str | None:
    """Return the fingerprint of a partition; None if one of those that it is made of is not known yet."""
    touching = [[name, *(part.content for part in parts if part.content)] for name, parts in over.items()]
    known = all(parts and all(part.content for part in parts) for parts in over.values())
    if recipe.version is None or not known:
        return None
    return content_of(recipe.table, recipe.version, inventory.grid, (own.first, own.end), touching)


def _judged(
    recipe: _Recipe,
    over: Mapping[str, tuple[PartitionPlan, ...]],
    content: str | None,
    held: Partition | None,
    there: Collection[str],
) -> tuple[str, str]:
    """Return the state of one partition, and why."""
    if held is not None:
        lost = held.key is not None and held.key not in there
        return (STALE, f"its file is gone ({held.key})") if lost else (FRESH, "")
    causes = [f"{name} {part.name}" for name, parts in over.items() for part in parts if part.state == STALE]
    causes += [one.table for one in recipe.tables if one.state == STALE and not one.partitions]
    if causes:
        return STALE, f"because {listing(causes, _NAMED)} will be built anew"
    if content is None and recipe.version is not None:
        return OPEN, next((part.why for parts in over.values() for part in parts if part.state == OPEN), recipe.why)
    return STALE, recipe.why
