"""Plan a lake of twenty tables on the grid of DR3, its manifests written directly, against reading the same manifests."""

import gzip
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from measure import Line, Setting, Usage, contest, python

import lake
from jobs import homogenising
from jobs.autoencoding import PRODUCT
from jobs.plan import SurveyPlan, plan_survey
from jobs.product import current_key
from lake.build import derivation
from lake.catalog import publish
from lake.derive import STEPS as DERIVE_STEPS
from lake.derive import build_of, content_of, overlapping
from lake.layout import STEPS, layout
from lake.ledger import raw_files, register
from lake.manifest import Input, Manifest, Partition, byte_versions, describe_columns, schema_hash, write_manifest
from lake.partition import N_PIXELS, file_name
from lake.root import Lake, open_lake
from lake.storage import partition_key
from lake.survey import Survey, survey, surveys
from lake.verify import asked

_TABLES = 20
_SECONDS = 10.0
_FILES = 3386
_ROWS = 66_000  # of a leaf: too many for leaves to share a file
_BUNDLE = "0123456789abcdef"
# What stands on what, in the order of building; others are added until there are enough tables.
_FIRST = ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023", "dust_sfd", "unwise_neo6", "apogee_dr17")


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark; each command runs in a process of its own."""
    root = setting.folder / "plan"
    tables, partitions = _lake(root)
    source = sorted((root / "raw" / "gaia_dr3_source").iterdir())[_FILES // 2]
    held = source.read_bytes()

    def touched() -> int:
        source.write_bytes(gzip.compress(gzip.decompress(held) + b"#\n"))
        code = python("-m", "jobs.cli", "--lake", str(root), "plan", "--json", "--partitions")
        source.write_bytes(held)
        return code

    works = {
        "floor": lambda: python("-c", _FLOOR, str(root)),
        "start": lambda: python("-m", "jobs.cli", "--help"),
        "fresh": lambda: python("-m", "jobs.cli", "--lake", str(root), "plan"),
        "touched": touched,
        "nightly": lambda: python("-m", "jobs.cli", "--lake", str(root), "nightly", "--profile", "serial"),
    }
    found = {name: _others(usage) for name, usage in contest(works, setting.rounds).items()}
    codes = [usage.result for usage in found.values()]
    assert codes == [0, 0, 0, 0, 3], codes
    floor = found["floor"]
    size = sum(path.stat().st_size for path in root.glob("tables/*/*.json"))
    said = f"{tables} tables, {partitions:,} partitions, {size / 1e6:.0f} MB of manifests"

    def line(what: str, name: str, note: str = "", *, goal: bool = False) -> Line:
        usage = found[name]
        goals = {"goal": f"<= {_SECONDS:g} s", "met": usage.wall <= _SECONDS} if goal else {}
        return Line("plan", what, usage, to_floor=usage.cpu / floor.cpu, note=note, **goals)

    return [
        line("floor: the manifests read as JSON", "floor", said),
        line("start: the command line's help", "start"),
        line("plan, everything fresh", "fresh", goal=True),
        line(f"plan --json --partitions, one of {_FILES:,} raw files changed", "touched", goal=True),
        line("nightly with nothing to do (exit 3)", "nightly", goal=True),
    ]


_FLOOR = """
import json, pathlib, sys
held = [json.loads(path.read_bytes()) for path in pathlib.Path(sys.argv[1]).glob("tables/*/*.json")]
assert held
"""


def _others(usage: Usage) -> Usage:
    """Return what a command cost without this process, which made the lake."""
    return replace(usage, peaks={pid: peak for pid, peak in usage.peaks.items() if pid != os.getpid()})


def _lake(root: Path) -> tuple[int, int]:
    """Make a published lake of tables without rows on disk; return its tables and partitions."""
    lake.init(root)
    made: dict[str, Manifest] = {}
    opened = open_lake(root)
    for one in _chosen():
        _raw(opened, one)
        plan = plan_survey(opened, one)
        for step in plan.steps:
            made[step.table] = _computed(opened, plan, made) if one.computed else _ingested(opened, plan, step.table, step.build)
    publish(opened.storage, list(made.values()))
    opened = open_lake(root)
    opened.storage.write_json(current_key(PRODUCT.name), {"bundle": _BUNDLE, "preset": "debug"})
    for product in (PRODUCT, homogenising.PRODUCT):
        version = product.rules or _BUNDLE
        tables = [table.manifest for table in product.join(opened).tables]
        made[product.table] = _derived(opened, product.table, version, tables, {"bundle": version})
    publish(opened.storage, list(made.values()))
    return len(open_lake(root).names), sum(len(one.partitions) for one in made.values())


def _chosen() -> Iterator[Survey]:
    """Yield surveys until they, and two tables made of them, are as many tables as wanted."""
    count = 2
    rest = [one for one in surveys().values() if one.name not in _FIRST and not one.computed and not one.beside]
    for one in [*(survey(name) for name in _FIRST), *rest]:
        if count + len(one.tables) > _TABLES:
            return
        count += len(one.tables)
        yield one


def _raw(opened: Lake, one: Survey) -> None:
    """Write the survey's raw files: of one line each, named as Gaia's or by its first pattern."""
    folder = opened.storage.path(f"raw/{one.name}")
    folder.mkdir(parents=True)
    pattern = next((pattern for pattern in one.patterns if pattern.endswith("_*.csv.gz")), None)
    if pattern is None or not one.name.startswith("gaia_dr3"):
        names = [re.sub(r"\[(.).*?\]", r"\1", pattern.replace("*", "0").replace("?", "0")) for pattern in one.patterns]
    else:
        edges = np.linspace(0, N_PIXELS, _FILES + 1).astype(int).tolist()
        names = [pattern.replace("*", f"{low:06d}-{high - 1:06d}") for low, high in pairwise(edges)]
    for name in names:
        (folder / name).write_bytes(gzip.compress(f"{one.name} {name}\n".encode(), mtime=0))
    register(opened.storage, one, [folder])
    raw_files(opened.storage, one)


def _ingested(opened: Lake, plan: SurveyPlan, table: str, build: str) -> Manifest:
    """Write the manifest, and files of one byte, of a table that was made of raw files."""
    grid, inputs = opened.grid, []
    for file in plan.files:
        span = re.search(r"(\d{6})-(\d{6})\.", file.name)
        low, high = (int(span[1]), int(span[2]) + 1) if span else (0, N_PIXELS)
        low, high = np.searchsorted(grid.array, [low, high - 1], side="right") - [1, 0]
        leaves = tuple(range(int(low), int(high)))
        rows = len(leaves) * _ROWS
        inputs.append(
            Input(file.name, file.bytes, file.sha256, rows, {}, leaves, (_ROWS,) * len(leaves), against=plan.standing.id)
        )
    parts = [
        (slot.first, slot.end, slot.content, (slot.rows // (len(slot.leaves) - 1),) * (len(slot.leaves) - 1))
        for slot in layout(plan.survey, table, grid, inputs, plan.standing.id)
    ]
    reference = plan.standing.reference
    return _written(
        opened,
        Manifest(
            **_about(plan.survey, table, build),
            grid=grid.id,
            declaration=plan.survey.fingerprint,
            steps=STEPS,
            partitions=_files(opened, table, build, parts),
            inputs=tuple(inputs),
            made_of={reference.table: reference.build} if reference else {},
        ),
    )


def _computed(opened: Lake, plan: SurveyPlan, made: Mapping[str, Manifest]) -> Manifest:
    assert plan.survey.computed is not None
    order = derivation(plan.survey, plan.files)
    return _derived(opened, plan.survey.name, order.version, [made[plan.survey.computed.table]], order.made_of)


def _derived(opened: Lake, name: str, version: str, tables: Sequence[Manifest], made_of: Mapping[str, str]) -> Manifest:
    """Write the manifest, and files of one byte, of a table that is made of other tables."""
    builds = {one.table: one.build for one in tables}
    build = build_of(name, version, opened.grid, builds)
    parts = []
    for own in tables[0].partitions:
        over = [[one.table, *(p.content for p in one.partitions[overlapping(one.edges, own.first, own.end)])] for one in tables]
        content = content_of(name, version, opened.grid, (own.first, own.end), over)
        parts.append((own.first, own.end, content, own.leaf_rows))
    declared = surveys().get(name, surveys()["gaia_dr3_source"])
    return _written(
        opened,
        Manifest(
            **_about(declared, name, build),
            grid=opened.grid.id,
            declaration=version,
            steps=DERIVE_STEPS,
            partitions=_files(opened, name, build, parts),
            inputs=(Input(f"tables/{tables[0].table}/{tables[0].build}", 1, tables[0].build, 1, {}),),
            made_of={**made_of, **builds},
        ),
    )


def _about(one: Survey, table: str, build: str) -> dict[str, object]:
    schema = one.schema(table if table in one.tables else one.name)
    return {
        "table": table,
        "build": build,
        "kind": one.kind,
        "title": one.title,
        "release": one.release,
        "citation": one.citation,
        "licence": one.licence,
        "columns": describe_columns(schema),
        "schema_hash": schema_hash(schema),
        "versions": byte_versions(),
        "checks": {"asked": asked(one), "unverified": []},
        "created": "2026-01-01T00:00:00+00:00",
    }


def _files(opened: Lake, table: str, build: str, parts: Sequence[tuple[int, int, str, tuple[int, ...]]]) -> tuple[Partition, ...]:
    folder = opened.storage.path(f"tables/{table}/{build}")
    folder.mkdir(parents=True)
    found = []
    for first, end, content, leaf_rows in parts:
        name = file_name(first, end)
        (folder / name).write_bytes(b"0")
        rows = sum(leaf_rows)
        key = partition_key(table, build, name)
        found.append(Partition(first, end, key, rows, rows, {}, 1, content, content, leaf_rows))
    return tuple(found)


def _written(opened: Lake, manifest: Manifest) -> Manifest:
    write_manifest(opened.storage, manifest)
    return manifest
