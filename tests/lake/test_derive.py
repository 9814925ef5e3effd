"""Tables computed from tables: same sources, same files, nothing computed twice."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import lake as lakes
from lake import parquet
from lake.build import derivation as derivation_of
from lake.derive import SAME_SOURCE, Derivation, derive, derived_build
from lake.errors import LakeError
from lake.ingest import builds, serial
from lake.ledger import RawFile
from lake.survey import survey
from lake.table import Table
from lake.validate import check

CATWISE, SOURCE = survey("catwise_andrae2023"), survey("gaia_dr3_source")


@dataclass(frozen=True)
class Embed:
    """Make an embedding of two numbers; count the calls of this process."""

    calls: list[int]
    lose: bool = False

    def __call__(self, table: pa.Table) -> pa.Table:
        self.calls.append(table.num_rows)
        w1 = pc.fill_null(table["catwise_w1_mag"], 0.0).to_numpy()
        values = np.stack([w1, 2 * w1], axis=1).astype(np.float32)
        made = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 2)
        count = pa.array(np.full(table.num_rows, 2, np.int16))
        found = pa.table({"n_features_present": count, "embedding": made, "source_id": table["source_id"]})
        return found.slice(1) if self.lose else found


def derivation(function: Embed, version: str = "1") -> Derivation:
    return Derivation(
        name="toy_predictions",
        title="Toy predictions",
        release="dr3",
        kind="labels",
        citation="-",
        licence="-",
        function=function,
        columns=("embedding", "n_features_present"),
        lengths={"embedding": 2},
        version=version,
        made_of={"bundle": "toy"},
    )


@pytest.fixture
def prepared(small_lake, synthetic, build, tmp_path, grid, stars):
    """A lake of its own with two tables, and the join of them."""
    where = lakes.init(tmp_path / "lake", grid=grid)
    for declared, dialect, name in ((CATWISE, "fits", "raw.fits"), (SOURCE, "archive_csv", "x-result.csv")):
        path = synthetic.write(
            declared, stars[declared.name].slice(0, 60 if declared is CATWISE else 25), tmp_path / name, dialect
        )
        build.publish(where, build.ingest(where, declared.name, path))
    where = lakes.open(where.storage.root)
    return where, join_of(where)


def join_of(where):
    return where.prepare([CATWISE.name, SOURCE.name], columns={CATWISE.name: ["catwise_w1_mag"], SOURCE.name: ["parallax"]})


def test_a_derived_table_has_one_row_per_row_of_the_anchor_and_is_published_like_any(prepared, build, stars):
    where, join = prepared
    outcome = derive(where.storage, join, derivation(Embed([])))
    build.publish(where, outcome)
    table = lakes.open(where.storage.root).table("toy_predictions")
    held = build.whole(table)
    rows = stars[CATWISE.name].sort_by("source_id")
    assert held["source_id"].equals(rows["source_id"])
    w1 = pc.fill_null(rows["catwise_w1_mag"], 0.0).to_pylist()
    assert held["embedding"].to_pylist() == [[value, 2 * value] for value in w1]
    manifest = outcome.manifests[0]
    assert manifest.account == {"in": 60, "out": 60, "dropped": {}}
    assert manifest.made_of == {"bundle": "toy", **{one.name: one.manifest.build for one in join.tables}}
    assert manifest.edges.tolist() == join.tables[0].manifest.edges.tolist()


def test_a_leaf_that_is_too_large_is_written_in_several_row_groups(prepared, build, monkeypatch):
    where, join = prepared
    whole = derive(where.storage, join, derivation(Embed([])))
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 4)
    cut = derive(where.storage, join, derivation(Embed([]), version="2"))
    tables = [Table(where.storage, outcome.manifests[0], where.grid) for outcome in (whole, cut)]
    assert build.whole(tables[0]).equals(build.whole(tables[1]))
    files = [where.storage.path(part.key) for part in cut.manifests[0].partitions if part.key]
    groups = [
        pq.read_metadata(file).row_group(k).num_rows for file in files for k in range(pq.read_metadata(file).num_row_groups)
    ]
    assert max(groups) <= 4
    assert sum(groups) == 60


def test_a_survey_is_computed_at_a_bounded_number_of_sources_at_a_time(monkeypatch):
    called = []

    def function(rows, files):
        called.append((rows.num_rows, files))
        return rows

    monkeypatch.setattr("lake.build._ROWS_AT_ONCE", 4)
    mapped = survey("dust_sfd")
    mapped = replace(mapped, computed=replace(mapped.computed, function=function))
    order = derivation_of(mapped, [RawFile(Path("map.fits"), "map.fits", 1, 1, "0")])
    rows = pa.table({"source_id": np.arange(1, 11), "ra": np.arange(10.0)})
    assert order.function(rows).equals(rows)
    assert order.function(rows.slice(0, 0)).num_rows == 0
    assert called == [(rows, (Path("map.fits"),)) for rows in (4, 4, 2, 0)]


def test_deriving_again_does_nothing(prepared):
    where, join = prepared
    first = derive(where.storage, join, derivation(Embed([])))
    function = Embed([])
    again = derive(where.storage, join, derivation(function))
    assert function.calls == []
    assert (again.reduced, again.manifests) == (0, first.manifests)


def test_another_version_computes_all_of_it_again(prepared):
    where, join = prepared
    first = derive(where.storage, join, derivation(Embed([])))
    second = derive(where.storage, join, derivation(Embed([]), version="2"))
    assert (second.reused, second.reduced) == (0, len(first.manifests[0].partitions))


def test_a_changed_input_computes_only_the_partitions_that_it_touches(prepared, synthetic, build, stars, tmp_path):
    where, join = prepared
    derive(where.storage, join, derivation(Embed([])))
    rows = stars[CATWISE.name].sort_by("source_id")
    values = rows["catwise_w1_mag"].to_pylist()
    values[0] = 3.25
    changed = rows.set_column(1, rows.schema.field(1), pa.array(values, pa.float32()))
    only, rest = synthetic.write(CATWISE, changed.slice(0, 8), tmp_path / "a.fits", "fits"), tmp_path / "b.fits"
    synthetic.write(CATWISE, changed.slice(8), rest, "fits")
    build.publish(where, build.ingest(where, CATWISE.name, only, rest, replace=True))
    now = lakes.open(where.storage.root)
    derive(now.storage, join_of(now), derivation(Embed([])))
    values[0] = 4.5
    synthetic.write(
        CATWISE, changed.slice(0, 8).set_column(1, rows.schema.field(1), pa.array(values[:8], pa.float32())), only, "fits"
    )
    build.publish(where, build.ingest(where, CATWISE.name))
    now = lakes.open(where.storage.root)
    outcome = derive(now.storage, join_of(now), derivation(Embed([])))
    assert 0 < outcome.reduced < 9 < outcome.reused
    assert build.whole(Table(where.storage, outcome.manifests[0], where.grid))["embedding"][0].as_py() == [4.5, 9.0]


def test_a_stopped_run_continues_where_it_was(prepared, build):
    where, join = prepared
    calm = derive(where.storage, join, derivation(Embed([]), version="calm"))
    total = Embed([])
    derive(where.storage, join, derivation(total, version="total"))

    def stops(label, function, tasks):
        yield from serial(label, function, tasks[: len(tasks) // 2])
        raise KeyboardInterrupt

    first, second = Embed([]), Embed([])
    with pytest.raises(KeyboardInterrupt):
        derive(where.storage, join, derivation(first, version="3"), run=stops)
    outcome = derive(where.storage, join, derivation(second, version="3"))
    assert first.calls + second.calls == total.calls
    assert first.calls
    assert second.calls
    files = [sorted(part.sha256 for part in one.manifests[0].partitions if part.sha256) for one in (calm, outcome)]
    assert files[0] == files[1]


def test_a_lost_partition_is_computed_again(prepared, build):
    where, join = prepared
    first = derive(where.storage, join, derivation(Embed([])))
    where.storage.path(next(part.key for part in first.manifests[0].partitions if part.key)).unlink()
    again = derive(where.storage, join, derivation(Embed([])))
    assert again.reduced == 1
    check(where.storage, again.manifests[0])


def test_a_function_that_loses_a_source_is_refused_and_nothing_is_published(prepared):
    where, join = prepared
    with pytest.raises(LakeError, match=r"toy_predictions: \d+ rows in, but other source_ids out; nothing was written"):
        derive(where.storage, join, derivation(Embed([], lose=True)))
    assert builds(where.storage, "toy_predictions") == []


def test_rows_reach_the_function_in_groups_of_bounded_size(prepared, monkeypatch):
    where, join = prepared
    monkeypatch.setattr("lake.derive.POOL_ROWS", 3)
    function = Embed([])
    derive(where.storage, join, derivation(function, version="small"))
    densest = max(rows for part in join.tables[0].manifest.partitions for rows in part.leaf_rows)
    assert max(function.calls) <= max(3, densest)
    assert sum(function.calls) == 60


def test_the_name_of_a_build_depends_on_tables_version_and_name_alone(prepared):
    _, join = prepared
    names = {derived_build(join, name, version) for name in ("a", "b") for version in ("1", "2")}
    assert len(names) == 4
    assert derived_build(replace(join, how="left"), "a", "1") in names


def test_a_table_of_all_sources_of_two_tables_accounts_for_those_that_both_have(small_lake, tmp_path):
    shutil.copytree(small_lake.storage.root, tmp_path / "lake")
    where = lakes.open(tmp_path / "lake")
    columns = {CATWISE.name: ["catwise_w1_mag"], SOURCE.name: ["parallax"]}
    join = where.prepare([CATWISE.name, SOURCE.name], columns=columns, how="outer")
    (manifest,) = derive(where.storage, join, derivation(Embed([]))).manifests
    ids = [set(where.table(name).to_dask([]).compute().index) for name in (CATWISE.name, SOURCE.name)]
    assert ids[0] - ids[1] and ids[1] - ids[0] and ids[0] & ids[1]
    held = Table(where.storage, manifest, where.grid)
    assert set(held.to_dask([]).compute().index) == ids[0] | ids[1]
    both = len(ids[0] & ids[1])
    assert manifest.account == {"in": len(ids[0]) + len(ids[1]), "out": len(ids[0] | ids[1]), "dropped": {SAME_SOURCE: both}}
    assert check(where.storage, manifest).checks is not None
