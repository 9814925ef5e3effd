"""Publish tables in an Intake catalogue, and be the driver through which Intake opens them (the only user of intake).

``catalog.yaml`` is the one truth and the only file that publishing replaces, atomically. ``catalog-plain.yaml`` is derived
from it for environments without this package, and ``current/`` holds hard links for tools that want a plain folder.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from intake.source.base import DataSource, Schema

from lake.columns import column
from lake.errors import CheckError, listing
from lake.finetune import FINETUNE_COLUMNS, LABELLED
from lake.history import hold, replace_catalog
from lake.join import Join
from lake.manifest import Manifest, files_gone, manifest_at
from lake.plain import mend_derived, to_yaml
from lake.pretrain import ANCHOR, COLUMNS, SOURCES
from lake.root import Lake, held_builds, open_lake
from lake.storage import Storage, manifest_key
from lake.survey import Survey, surveys

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_DRIVER, _PRETRAIN, _FINETUNE = (f"lake.catalog.{name}" for name in ("LakeTable", "PretrainTable", "FinetuneTable"))


class _LakeSource(DataSource):  # type: ignore[misc]
    """Common part of the drivers: what Intake calls, in terms of one lazy frame."""

    container, version, partition_access = "dataframe", "1", True

    def _frame(self) -> "dd.DataFrame":
        raise NotImplementedError

    def to_dask(self) -> "dd.DataFrame":
        """Return the table as a lazy frame: index source_id, known divisions on the lake's grid, Arrow-typed columns."""
        return self._frame()

    def read(self) -> "pd.DataFrame":
        """Read the whole table into memory."""
        return self._frame().compute()

    def read_partition(self, i: int) -> "pd.DataFrame":
        """Read one partition."""
        return self._frame().get_partition(i).compute()

    def _get_schema(self) -> Schema:
        frame = self._frame()
        self._schema = Schema(
            datashape=None,
            dtype={name: str(kind) for name, kind in frame.dtypes.items()},
            shape=(None, len(frame.columns)),
            npartitions=frame.npartitions,
            extra_metadata={},
        )
        self.npartitions = frame.npartitions
        return self._schema

    def _close(self) -> None:
        self._schema = None


class LakeTable(_LakeSource):
    """Open one published build: ``catalog["gaia_dr3_xp"].to_dask()``, or ``catalog["gaia_dr3_xp"](columns=[...]).to_dask()``.

    Parameters
    ----------
    lake
        Root of the lake.
    manifest
        Key of the build's manifest.
    columns
        Columns to read; all of them if None.
    on
        ``grid`` (default) or ``files`` (see `lake.table.Table.to_dask`).
    """

    name = "lake_table"

    def __init__(
        self,
        lake: str,
        manifest: str,
        columns: list[str] | None = None,
        on: str = "grid",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._lake, self._manifest, self._columns, self._on = lake, manifest, columns, on
        super().__init__(metadata=dict(metadata or {}))

    def _frame(self) -> "dd.DataFrame":
        from lake.table import Table

        opened = open_lake(self._lake)
        return Table(opened.storage, manifest_at(opened.storage, self._manifest), opened.grid).to_dask(self._columns, on=self._on)


class PretrainTable(_LakeSource):
    """Open the pretraining table of the builds that the catalogue named when it was written.

    Parameters
    ----------
    tables
        Table -> key of the manifest of its build.
    wide
        Spell list columns out (see `lake.pretrain.pretrain`).
    """

    name = "lake_pretrain"

    def __init__(
        self, lake: str, tables: Mapping[str, str], wide: bool = False, metadata: Mapping[str, Any] | None = None
    ) -> None:  # noqa: FBT001, FBT002
        self._lake, self._tables, self._wide = lake, dict(tables), wide
        super().__init__(metadata=dict(metadata or {}))

    def _frame(self) -> "dd.DataFrame":
        opened = open_lake(self._lake)
        return self._joined(Lake(opened.storage, opened.release, opened.grid, self._tables)).to_dask()

    def _joined(self, lake: Lake) -> Join:
        return lake.pretrain(wide=self._wide)


class FinetuneTable(PretrainTable):
    """Open the fine-tune table of the builds that the catalogue named when it was written (see `lake.finetune`)."""

    name = "lake_finetune"

    def _joined(self, lake: Lake) -> Join:
        return lake.finetune(wide=self._wide)


def publish(
    storage: Storage,
    manifests: Iterable[Manifest],
    *,
    withdraw: Iterable[str] = (),
    fence: int | None = None,
    release_held: bool = False,
) -> list[str]:
    """Name these builds in the catalogue, beside the published builds of all other tables; return the names that changed.

    Readers that opened the old catalogue keep its builds. Nothing is copied. A build that a roll-back took back is left out.

    Parameters
    ----------
    withdraw
        Tables to take out.
    fence
        Number of the writer's lease on an object store.
    release_held
        Whether to publish builds that a roll-back took back as well.

    Raises
    ------
    CheckError
        If a build has not passed its check, or files of it are gone since.
    BusyError
        If another writer got in between; the catalogue stays as it is.
    LakeError
        If the catalogue cannot be written; the old one then stays.
    """
    held = hold(storage)
    taken_back = {} if release_held else held_builds(held.content)
    new = {one.table: one for one in manifests if taken_back.get(one.table) != one.build}
    unchecked = sorted(name for name, manifest in new.items() if manifest.checks is None)
    if unchecked:
        raise CheckError(
            f"{', '.join(unchecked)}: not checked, so not published; run `gaialake --lake {storage.root} check` first"
        )
    sources = held.sources
    changed = [name for name, manifest in new.items() if _build_of(sources.get(name)) != manifest.build]
    gone = [name for name in withdraw if name in sources]
    for name in changed:
        if lost := files_gone(storage, new[name].partitions):
            raise CheckError(
                f"table {name}, build {new[name].build}: {listing(lost, 3)} is gone since it was checked, so it is not "
                "published and the catalogue stays as it is; restore what is gone, or build the table again"
            )
    if not changed and not gone:
        mend_derived(storage)
        return []
    sources |= {name: entry(new[name]) for name in changed}
    sources = {name: one for name, one in sources.items() if name not in gone}
    for name in ("pretrain", "finetune"):
        sources.pop(name, None)
    sources |= _training_entries({name: one["metadata"]["manifest"] for name, one in sources.items()})
    said: dict[str, Any] = {"former": int(held.metadata.get("serial", 0))} if held.sources else {}
    still = {name: build for name, build in held_builds(held.content).items() if name not in changed}
    if still:
        said["held"] = still
    replace_catalog(storage, held, sources, said, fence)
    return changed + gone


def _build_of(held: Mapping[str, Any] | None) -> str | None:
    return held["metadata"].get("build") if held else None


def entry(manifest: Manifest) -> dict[str, Any]:
    """Return the catalogue entry of a build."""
    key = manifest_key(manifest.table, manifest.build)
    return {
        "driver": _DRIVER,
        "description": f"{manifest.title} ({manifest.rows:,} rows)",
        "args": {"lake": "{{ CATALOG_DIR }}", "manifest": key},
        "metadata": {
            "build": manifest.build,
            "manifest": key,
            "kind": manifest.kind,
            "release": manifest.release,
            "rows": manifest.rows,
            "bytes": manifest.bytes,
            "created": manifest.created,
            "citation": manifest.citation,
            "licence": manifest.licence,
            "absent": list(manifest.absent),
            "made_of": dict(manifest.made_of),
            "columns": {one["name"]: _said(one) for one in manifest.columns},
        },
    }


def _said(one: Mapping[str, str]) -> str:
    unit = f" [{one['unit']}]" if one.get("unit") else ""
    return f"{one['type']}{unit}: {one.get('description', '')}"


def _training_entries(manifests: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of the training tables that can be joined of these tables (name -> key of the manifest)."""
    if ANCHOR not in manifests:
        return {}
    read = {name: manifests[name] for name in SOURCES if name in manifests}
    said = "Pretraining table: lazy left join from the XP spectra, scaled to one brightness"
    entries = {"pretrain": _training_entry(_PRETRAIN, said, read, COLUMNS)}
    if LABELLED in manifests:
        said = "Fine-tune table: stars with XP spectra and combined labels, value and error of each, and what each star is for"
        read = {LABELLED: manifests[LABELLED], **read}
        entries["finetune"] = _training_entry(_FINETUNE, said, read, FINETUNE_COLUMNS)
    return entries


def _training_entry(driver: str, said: str, tables: Mapping[str, str], columns: Iterable[str]) -> dict[str, Any]:
    return {
        "driver": driver,
        "description": said,
        "args": {"lake": "{{ CATALOG_DIR }}", "tables": dict(tables)},
        "metadata": {
            "columns": {name: f"{column(name).type} {column(name).unit}: {column(name).description}" for name in columns}
        },
    }


def declared_catalog() -> str:
    """Return the catalogue of all declared tables without builds, as kept in git (``catalogs/gaialake.yaml``)."""
    sources = {}
    for survey in surveys().values():
        for table in survey.tables:
            sources[table] = _declared_entry(survey, table)
    sources |= _training_entries({name: manifest_key(name, "BUILD") for name in (*SOURCES, LABELLED)})
    content = {"metadata": {"version": 1, "title": "gaialake: declared tables, without builds"}, "sources": sources}
    return to_yaml({**content, "sources": {name: sources[name] for name in sorted(sources)}}).decode()


def _declared_entry(survey: Survey, table: str) -> dict[str, Any]:
    from lake.manifest import describe_columns

    return {
        "driver": _DRIVER,
        "description": survey.title + ("" if table == survey.name else " (extension)"),
        "args": {"lake": "{{ CATALOG_DIR }}", "manifest": manifest_key(table, "BUILD")},
        "metadata": {
            "kind": survey.kind,
            "release": survey.release,
            "citation": survey.citation,
            "licence": survey.licence,
            "source": survey.source,
            "columns": {one["name"]: _said(one) for one in describe_columns(survey.schema(table))},
        },
    }


if __name__ == "__main__":
    import sys

    sys.stdout.write(declared_catalog())
