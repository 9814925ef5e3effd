"""Derive from the catalogue what works without this package: ``catalog-plain.yaml`` and the links of ``current/``."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from typing import Any

import yaml

from lake.errors import LakeError
from lake.root import open_lake
from lake.storage import CATALOG, PLAIN_CATALOG, Storage


def derive_plain(storage: Storage) -> None:
    """Write ``catalog-plain.yaml`` and the links of ``current/`` from the catalogue.

    The plain catalogue is Intake v2 with explicit file lists; it needs no package of ours, and knows divisions from
    the data alone. A table without rows has no files and no entry in it.
    """
    lake = open_lake(storage.root)
    files: dict[str, list[str]] = {}
    for name in lake.names:
        keys = [part.key for part in lake.table(name).manifest.partitions if part.key]
        if keys:
            files[name] = keys
    data, entries = {}, {}
    for name, keys in files.items():
        kwargs: dict[str, Any] = {"url": [f"{{CATALOG_DIR}}/{key}" for key in keys], "storage_options": "{STORAGE_OPTIONS}"}
        data[f"{name}_files"] = {
            "datatype": "intake.readers.datatypes:Parquet",
            "kwargs": kwargs,
            "metadata": {},
            "user_parameters": {},
        }
        entries[name] = {
            "reader": "intake.readers.readers:DaskParquet",
            "kwargs": {"args": [f"{{data({name}_files)}}"], "index": "source_id", "calculate_divisions": True},
            "metadata": {},
            "output_instance": "dask.dataframe:DataFrame",
            "user_parameters": {},
        }
    content = {
        "version": 2,
        "metadata": {"derived_from": CATALOG, "sha256": _catalog_hash(storage)},
        "aliases": {name: name for name in files},
        "user_parameters": {},
        "data": data,
        "entries": entries,
    }
    if storage.is_local:
        for name in lake.names:
            _link(storage, name, files.get(name, []))
        for name in set(storage.names("current")) - set(lake.names):
            shutil.rmtree(storage.path(f"current/{name}"))
    # Last, because its hash tells that all of this was done.
    storage.write_bytes(PLAIN_CATALOG, to_yaml(content))


def _catalog_hash(storage: Storage) -> str:
    return hashlib.sha256(storage.read_bytes(CATALOG)).hexdigest()


def mend_derived(storage: Storage) -> None:
    """Derive again what a run that ended right after replacing the catalogue could not."""
    if not storage.exists(CATALOG):
        return
    if not storage.exists(PLAIN_CATALOG) or _catalog_hash(storage).encode() not in storage.read_bytes(PLAIN_CATALOG):
        derive_plain(storage)


def _link(storage: Storage, table: str, keys: list[str]) -> None:
    """Replace ``current/<table>`` by links to the published files; file systems without hard links go without it."""
    target = storage.path(f"current/{table}")
    fresh = target.with_name(f".{table}.{uuid.uuid4().hex[:8]}")
    fresh.mkdir(parents=True)
    try:
        for key in keys:
            os.link(storage.path(key), fresh / key.rsplit("/", 1)[-1])
    except OSError as error:
        shutil.rmtree(fresh)
        if isinstance(error, FileNotFoundError):
            raise LakeError(
                f"{error.filename} is named in the catalogue but not there; restore it or build {table} again"
            ) from error
        return
    former = target.with_name(f"{fresh.name}.former")
    if target.exists():
        target.rename(former)
    fresh.rename(target)
    shutil.rmtree(former, ignore_errors=True)


def to_yaml(content: Mapping[str, Any]) -> bytes:
    """Return YAML in the order given."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120).encode()
