"""Derive from the catalogue what works without this package: ``catalog-plain.yaml`` and the links of ``current/``."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from typing import Any

import yaml

from lake.manifest import digest
from lake.root import Lake, open_lake
from lake.storage import CATALOG, PLAIN_CATALOG, Storage


def derive_plain(storage: Storage) -> None:
    """Write ``catalog-plain.yaml`` and the links of ``current/`` from the catalogue.

    The plain catalogue is Intake v2 with explicit file lists; it needs no package of ours, and knows divisions from
    the data alone. A table without rows has no files and no entry in it.
    """
    lake = open_lake(storage.root)
    files = _files(lake)
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
        "metadata": {"derived_from": CATALOG, "sha256": _state(lake)},
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


def _files(lake: Lake) -> dict[str, list[str]]:
    """Return table -> keys of its files, for tables that have rows."""
    keys = {name: [part.key for part in lake.table(name).manifest.partitions if part.key] for name in lake.names}
    return {name: held for name, held in keys.items() if held}


def _state(lake: Lake) -> str:
    """Hash the catalogue and every file it leads to: a remade file has a new key or content under the same build."""
    parts = {name: [[part.key, part.sha256] for part in lake.table(name).manifest.partitions] for name in lake.names}
    return digest([hashlib.sha256(lake.storage.read_bytes(CATALOG)).hexdigest(), parts])


def mend_derived(storage: Storage) -> None:
    """Derive again what is not of the catalogue: after a run that was killed in between, or a file that was remade."""
    if not storage.exists(CATALOG):
        return
    lake = open_lake(storage.root)
    sound = storage.exists(PLAIN_CATALOG) and _state(lake).encode() in storage.read_bytes(PLAIN_CATALOG)
    if not sound or not _links_hold(lake):
        derive_plain(storage)


def _links_hold(lake: Lake) -> bool:
    """Tell whether the links of every table that has any are those of its files."""
    if not lake.storage.is_local:
        return True
    for table, keys in _files(lake).items():
        folder = lake.storage.path(f"current/{table}")
        for key in keys if folder.exists() else ():
            link, file = folder / key.rsplit("/", 1)[-1], lake.storage.path(key)
            if not link.exists() or (file.exists() and not link.samefile(file)):
                return False
    return True


def _link(storage: Storage, table: str, keys: list[str]) -> None:
    """Replace ``current/<table>`` by links to the published files, as far as that can be done."""
    target = storage.path(f"current/{table}")
    fresh = target.with_name(f".{table}.{uuid.uuid4().hex[:8]}")
    fresh.mkdir(parents=True)
    try:
        for key in keys:
            os.link(storage.path(key), fresh / key.rsplit("/", 1)[-1])
    except OSError:
        # No hard links on this file system, or a file is gone; the night that makes it again links it.
        shutil.rmtree(fresh)
        return
    former = target.with_name(f"{fresh.name}.former")
    if target.exists():
        target.rename(former)
    fresh.rename(target)
    shutil.rmtree(former, ignore_errors=True)


def to_yaml(content: Mapping[str, Any]) -> bytes:
    """Return YAML in the order given."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120).encode()
