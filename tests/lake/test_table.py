"""One table on the grid: slices of coarse files, types that never change, and look-ups that touch only what they need."""

import hashlib
import pickle
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lake.parquet
from lake.errors import LakeError
from lake.parquet import group_edges, read_slice, write_partition
from lake.storage import Storage
from lake.table import Table, schema_named, type_named

NAMES = ["gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023"]


@pytest.fixture(params=NAMES)
def table(request, small_lake) -> Table:
    return small_lake.table(request.param)


@pytest.fixture
def rows(table, stars) -> pa.Table:
    """The rows that the table should hold."""
    return stars[table.name].select(["source_id", *table.columns]).sort_by("source_id").replace_schema_metadata()


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Collect the keys of the files that are opened."""
    keys: list[str] = []
    real = Storage.open_input

    def spy(self, key):
        keys.append(key)
        return real(self, key)

    monkeypatch.setattr(Storage, "open_input", spy)
    return keys


def test_every_leaf_holds_its_own_rows_and_all_of_them_together_the_table(table, rows, grid):
    leaf = grid.leaf(rows["source_id"].to_numpy())
    for k in range(len(grid)):
        assert table.read_leaf(k).equals(rows.filter(pa.array(leaf == k))), k


def test_leaves_are_slices_of_coarser_files(table, grid):
    files = [part for part in table.manifest.partitions if part.key]
    assert len(files) < len(grid)
    shared = [part for part in files if sum(rows > 0 for rows in part.leaf_rows) > 1]
    assert shared
    assert sum(piece.key == shared[0].key for piece in table.pieces) == sum(rows > 0 for rows in shared[0].leaf_rows)


def test_a_leaf_without_rows_opens_no_file_and_has_the_same_types(table, opened):
    empty = [k for k, piece in enumerate(table.pieces) if piece.key is None]
    full = next(k for k, piece in enumerate(table.pieces) if piece.key)
    assert len(empty) > 10
    held = [table.read_leaf(k) for k in empty]
    assert opened == []
    assert {one.schema for one in held} == {table.read_leaf(full).schema}


def test_a_frame_is_the_table_partition_by_partition(table, rows, grid):
    frame = table.to_dask()
    whole = frame.compute()
    assert whole.index.dtype == np.int64
    assert whole.index.tolist() == rows["source_id"].to_pylist()
    assert all(isinstance(kind, pd.ArrowDtype) for kind in whole.dtypes)
    for name in table.columns:
        assert pa.chunked_array(whole[name].array.__arrow_array__()).combine_chunks().equals(rows[name].combine_chunks())
    parts = dask.compute(*frame.to_delayed())
    assert len(parts) == len(grid)
    assert all((part.dtypes == frame.dtypes).all() and part.index.dtype == np.int64 for part in parts)
    for part, low, high in zip(parts, frame.divisions[:-1], frame.divisions[1:], strict=True):
        assert ((part.index >= low) & (part.index < high)).all()


def test_a_frame_of_files_has_known_divisions_and_the_same_rows(table):
    frame = table.to_dask(on="files")
    assert frame.npartitions == len(table.manifest.partitions)
    assert frame.known_divisions
    pd.testing.assert_frame_equal(frame.compute(), table.to_dask().compute())
    with pytest.raises(LakeError, match="choose 'grid' or 'files'"):
        table.to_dask(on="rows")


def test_choosing_columns_of_a_frame_reaches_the_reader(small_lake, monkeypatch):
    asked = []
    real = lake.parquet.pq.ParquetFile.read_row_groups

    def spy(self, groups, columns=None, **options):
        asked.append(tuple(columns))
        return real(self, groups, columns=columns, **options)

    monkeypatch.setattr(lake.parquet.pq.ParquetFile, "read_row_groups", spy)
    small_lake.table("gaia_dr3_source").to_dask()[["ruwe"]].compute()
    assert set(asked) == {("source_id", "ruwe")}


def test_an_unknown_column_is_refused_with_those_there_are(small_lake):
    with pytest.raises(LakeError, match="table catwise_andrae2023 has no column W1; it has catwise_w1_mag"):
        small_lake.table("catwise_andrae2023").to_dask(["W1"])


@pytest.mark.parametrize("seed", range(3))
def test_sources_are_selected_in_the_order_asked_for_repeats_included(table, rows, seed):
    rng = np.random.default_rng(seed)
    at = rng.integers(0, len(rows), 25)
    ids = rows["source_id"].to_numpy()[at]
    found = table.select(ids, table.columns[:2])
    assert found.index.tolist() == ids.tolist()
    for name in table.columns[:2]:
        assert found[name].array.__arrow_array__().to_pylist() == rows[name].take(pa.array(at)).to_pylist()


def test_a_missing_source_is_refused_or_gives_nulls_as_asked(small_lake, stars):
    table = small_lake.table("catwise_andrae2023")
    ids = stars["catwise_andrae2023"]["source_id"].to_pylist()[:3]
    wanted = [ids[0], 12345, ids[1], 67890, 12345]
    with pytest.raises(LakeError, match="has no row for 3 of 5 ids, the first being 12345; pass missing='null'"):
        table.select(wanted)
    found = table.select(wanted, missing="null")
    assert found.index.tolist() == wanted
    assert found["in_training_sample"].isna().tolist()[1::2] == [True, True]
    assert found.iloc[[1, 3, 4]].isna().all(axis=None)
    assert (found.dtypes == table.to_dask().dtypes).all()
    with pytest.raises(LakeError, match="choose 'raise' or 'null'"):
        table.select(wanted, missing="skip")


@pytest.mark.parametrize("ids", [[1.0, 2.0], np.array([5e18]), ["123"], [None, 5]])
def test_ids_that_are_no_integers_are_refused(ids, small_lake):
    with pytest.raises(LakeError, match="source_ids must be integers"):
        small_lake.table("catwise_andrae2023").select(ids)


@pytest.mark.parametrize("missing", ["raise", "null"])
def test_selecting_nothing_gives_nothing_of_the_right_types(missing, table):
    found = table.select([], missing=missing)
    assert len(found) == 0
    assert (found.dtypes == table.to_dask().dtypes).all()


def test_selecting_no_columns_gives_the_index_alone(small_lake, stars):
    ids = stars["catwise_andrae2023"]["source_id"].to_pylist()[:4]
    for columns in ([], ["source_id"]):
        found = small_lake.table("catwise_andrae2023").select(ids, columns)
        assert (found.index.tolist(), list(found.columns)) == (ids, [])


def test_selecting_opens_only_the_files_that_may_hold_the_sources(table, rows, opened):
    assert sum(part.key is not None for part in table.manifest.partitions) > 5
    table.select(rows["source_id"].to_pylist()[:1])
    assert len(opened) == 1
    opened.clear()
    table.select(rows["source_id"].to_pylist())
    assert sorted(opened) == sorted(part.key for part in table.manifest.partitions if part.key)
    opened.clear()
    empty = next(part for part in table.manifest.partitions if part.key is None)
    table.select([empty.first << 43], missing="null")
    assert opened == []


def test_a_table_can_be_sent_to_a_worker_in_few_bytes(small_lake):
    table = small_lake.table("gaia_dr3_source")
    assert len(pickle.dumps(table.spec(["ra"]))) < 1_000
    assert len(pickle.dumps(table.pieces[0])) < 500


# Files.


@pytest.fixture
def crowded(tmp_path) -> tuple[Storage, pa.Table]:
    """One file of 300 rows in 12 row groups."""
    ids = pa.array(np.arange(300) * 10)
    table = pa.table({"source_id": ids, "x": pa.array(np.arange(300.0)), "y": pa.array(np.arange(300.0))})
    write_partition(tmp_path / "f.parquet", table.schema, [table.slice(k, 25) for k in range(0, 300, 25)])
    return Storage.at(tmp_path), table


@pytest.mark.parametrize("at_once", [None, 1, 3])
@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 3000), (5, 6), (250, 260), (249, 251), (240, 245), (490, 500), (1000, 1777), (2999, 9999), (-50, 0), (3000, 4000)],
)
def test_a_slice_holds_the_ids_of_its_range_whatever_the_row_groups(low, high, at_once, crowded):
    storage, table = crowded
    found = list(read_slice(storage, "f.parquet", low, high, ["x"], at_once))
    ids = [star for piece in found for star in piece["source_id"].to_pylist()]
    assert ids == [star for star in table["source_id"].to_pylist() if low <= star < high]
    assert all(piece.column_names == ["source_id", "x"] and piece.num_rows for piece in found)


def test_a_slice_decodes_only_row_groups_that_may_hold_it(crowded, monkeypatch):
    storage, _ = crowded
    groups = []
    real = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        lake.parquet.pq.ParquetFile, "read_row_groups", lambda self, at, **rest: (groups.extend(at), real(self, at, **rest))[1]
    )
    list(read_slice(storage, "f.parquet", 1000, 1200, None))
    assert groups == [4]


@pytest.mark.parametrize("seed", range(10))
def test_row_groups_end_at_leaf_edges_unless_a_leaf_is_larger_than_a_group(seed):
    rng = np.random.default_rng(seed)
    leaves = (rng.exponential(rng.choice([500, 5_000, 40_000]), 30)).astype(int).tolist()
    limit = int(rng.choice([8_192, 16_384, 65_536]))
    edges = group_edges(leaves, limit)
    assert edges[-1] == sum(leaves)
    assert edges == sorted(set(edges))
    sizes = np.diff([0, *edges])
    assert sizes.max() <= limit
    at_leaf = set(np.cumsum(leaves).tolist())
    inside = [edge for edge in edges if edge not in at_leaf]
    assert all(
        any(end - rows < edge < end and rows > limit // 2 for rows, end in zip(leaves, np.cumsum(leaves), strict=True))
        for edge in inside
    )


def test_no_rows_make_no_file_and_no_groups(tmp_path):
    schema = pa.schema([("source_id", pa.int64())])
    assert write_partition(tmp_path / "f.parquet", schema, []) is None
    assert write_partition(tmp_path / "f.parquet", schema, [schema.empty_table()]) is None
    assert list(tmp_path.iterdir()) == []
    assert group_edges([], 100) == group_edges([0, 0], 100) == []


def test_a_written_file_is_whole_read_only_and_described_by_its_checksum(tmp_path):
    table = pa.table({"source_id": [1, 2, 3], "x": pa.array([1.0, None, 3.0], pa.float32())})
    written = write_partition(tmp_path / "a" / "f.parquet", table.schema, [table])
    path = tmp_path / "a" / "f.parquet"
    assert (written.rows, written.bytes) == (3, path.stat().st_size)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o222 == 0
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert column.compression == "ZSTD"
    assert not column.is_stats_set


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_remains(tmp_path: Path):
    table = pa.table({"source_id": [1, 2, 3]})
    write_partition(tmp_path / "f.parquet", table.schema, [table])
    before = (tmp_path / "f.parquet").read_bytes()

    def groups():
        yield table
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_partition(tmp_path / "f.parquet", table.schema, groups())
    assert (tmp_path / "f.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["f.parquet"]


def test_types_are_read_back_from_their_names_and_others_refused(small_lake):
    for name in ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023"):
        manifest = small_lake.table(name).manifest
        fields = [(one["name"], one["type"]) for one in manifest.columns]
        part = next(part for part in manifest.partitions if part.key)
        stored = pq.ParquetFile(small_lake.storage.path(part.key)).schema_arrow
        assert schema_named(fields).equals(stored)
    with pytest.raises(LakeError, match="does not know"):
        type_named("decimal128(3, 2)")
