"""Audit a build before it is published, beside the builds that are to be published with it."""

from collections.abc import Sequence
from functools import partial

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
