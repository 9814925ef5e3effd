"""Audit builds, beside those that are to be published with them, and publish them unless the lock was lost."""

from collections.abc import Collection, Sequence
from functools import partial

from jobs.lock import Writer
from jobs.products import PRODUCTS, by_table
from lake.catalog import publish
from lake.errors import CheckError
from lake.ingest import Runner
from lake.manifest import Manifest
from lake.root import Lake
from lake.survey import table_surveys
from lake.table import Table
from lake.validate import check
from lake.verify import due, verify


def audited(lake: Lake, manifest: Manifest, run: Runner, *, beside: Sequence[Manifest] = (), again: bool = False) -> Manifest:
    """Check a build unless it passed before, and verify its matches with the tables at hand.

    What a check found stays true of a build, whose rows never change: it is not verified again when a table that it was
    verified with is built anew, unless it stands on that table and is built anew with it. Hence two lakes that took the same
    files in another order may tell other numbers of the same rows. An outage of the lake's disk, the store or the cluster
    makes no such difference, for it ends a run before anything is checked.

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
    product = by_table(manifest.table)
    if product is not None and product.verify is not None:
        verdict = partial(product.verify, lake, new[manifest.table])
        return check(lake.storage, manifest, run=run, deep=again, verify=verdict)
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


def published(lake: Lake, manifests: Sequence[Manifest], writer: Writer) -> list[str]:
    """Name builds in the catalogue, unless this writer lost its lock; return the tables that changed."""
    writer.confirm()
    changed = publish(lake.storage, manifests, fence=writer.fence)
    for one in manifests:
        released(lake, one, changed)
    return changed


def released(lake: Lake, manifest: Manifest, changed: Collection[str]) -> None:
    """Do what a product asks for when a build of it is published, now or before: a run may have been killed in between."""
    product = by_table(manifest.table)
    if product is None or product.released is None:
        return
    if manifest.table in changed or f"/{manifest.build}.json" in lake.published.get(manifest.table, ""):
        product.released(lake, Table(lake.storage, manifest, lake.grid))


def mend_released(lake: Lake) -> None:
    """Make up for what products ask for when they are published, after a run that was killed before it did that."""
    for one in PRODUCTS.values():
        if one.released is not None and one.table in lake.published:
            one.released(lake, lake.table(one.table))


def _refuse_empty(lake: Lake, manifest: Manifest) -> None:
    """Refuse to put a table without rows in the place of one with rows."""
    held = lake.table(manifest.table).rows if manifest.table in lake.published and not manifest.rows else 0
    if held:
        raise CheckError(
            f"table {manifest.table}, build {manifest.build} has no rows, but {held:,} are published; nothing is replaced. Its "
            f"raw files are empty, or all rows were dropped ({manifest.account['dropped'] or 'none read'}): name the right files "
            f"with `gaialake ingest {manifest.table} --replace --raw PATH...`"
        )
