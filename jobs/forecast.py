"""Forecast what will be made anew, table by table and partition by partition, in the order in which it would be built."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from jobs.forecast_derived import computed, made
from jobs.forecast_files import made_of_files
from jobs.inventory import Inventory
from jobs.plan import FRESH, HELD, WAITING, SurveyPlan
from jobs.products import PRODUCTS
from jobs.table_plan import TablePlan, as_built
from lake.errors import listing


def forecast(inventory: Inventory, plans: Sequence[SurveyPlan], *, train: Collection[str] = ()) -> list[TablePlan]:
    """Return the plan of every table of these surveys, and of every product that has rules or a current bundle.

    Parameters
    ----------
    plans
        From `jobs.plan.plan_with`: sources before what stands on them.
    train
        Products that will be trained before they are made.
    """
    found: dict[str, TablePlan] = {}
    for one in plans:
        for step in one.steps:
            if one.survey.computed and step.state != WAITING:
                found[step.table] = computed(inventory, one, step, _source(inventory, one, found))
            else:
                found[step.table] = made_of_files(inventory, one, step)
    tables = {name: one for name, one in found.items() if one.state not in (WAITING, HELD)}
    for product in PRODUCTS.values():
        for name in product.inputs:
            if name not in tables and name in inventory.published:
                tables[name] = _built(inventory, name, inventory.published[name])
        held = made(inventory, product, tables, train)
        if held is None:
            continue
        lacking = [name for name in product.inputs if name in found and found[name].state == WAITING]
        if lacking:
            held = replace(held, state=WAITING, why=f"waits for {listing(lacking)}, from which it is made", partitions=())
        found[product.table] = held
        if held.state not in (WAITING, HELD):
            tables[product.table] = held
    return list(found.values())


def _source(inventory: Inventory, one: SurveyPlan, found: Mapping[str, TablePlan]) -> TablePlan | None:
    """Return the table at whose sources a survey is computed, planned or built; None if it is neither."""
    reference = one.standing.reference
    if reference is None:
        return None
    planned = found.get(reference.table)
    if planned is not None and planned.build == reference.build:
        return planned
    known = reference.build in inventory.builds(reference.table)
    return _built(inventory, reference.table, reference.build) if known else None


def _built(inventory: Inventory, table: str, build: str) -> TablePlan:
    published = inventory.published.get(table)
    return TablePlan(table, FRESH, "built", build, published, as_built(inventory.manifest(table, build)))
