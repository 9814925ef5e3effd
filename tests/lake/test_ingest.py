"""Tables equal a plain sort of the raw rows, and every row is accounted for."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import lake.runs
from jobs.dialects import write
from lake.ingest import ingest
from lake.parquet import group_edges
from lake.partition import file_edges
from lake.root import init_lake
from lake.survey import survey
from lake.table import Table
from lake.validate import check

CATWISE, SOURCE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_source"), survey("gaia_dr3_xp")


def by_id(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table["source_id"]))


# What a table holds.


def test_a_table_is_the_sorted_raw_rows_and_its_account_adds_up(rows, three_files, new_lake, build):
    outcome = build.ingest(new_lake, CATWISE.name, *three_files)
    assert build.table_of(new_lake, outcome).equals(by_id(rows).replace_schema_metadata())
    (manifest,) = outcome.manifests
    assert manifest.account == {"in": 240, "out": 240, "dropped": {}}
    assert sum(sum(part.leaf_rows) for part in manifest.partitions) == 240
    assert [one.rows for one in manifest.inputs] == [80, 80, 80]
    assert len(manifest.partitions) > 5
    assert any(part.key is None for part in manifest.partitions)


def test_the_order_of_raw_rows_and_of_files_does_not_matter(rows, three_files, synthetic, grid, build, tmp_path):
    shuffled = synthetic.write(CATWISE, rows, tmp_path / "shuffled.fits", "fits")
    one, two, three = (init_lake(tmp_path / name, grid=grid) for name in ("one", "two", "three"))
    first = build.ingest(one, CATWISE.name, shuffled)
    second = build.ingest(two, CATWISE.name, *three_files)
    third = build.ingest(three, CATWISE.name, *reversed(three_files))
    assert build.table_of(one, first).equals(build.table_of(two, second))
    assert build.files(two) == build.files(three)
    assert second.manifests[0].stable_json() == third.manifests[0].stable_json()


def test_files_are_cut_on_the_grid_and_hold_units_in_their_schema(three_files, new_lake, build):
    (manifest,) = build.ingest(new_lake, CATWISE.name, *three_files).manifests
    leaf_rows = [rows for part in manifest.partitions for rows in part.leaf_rows]
    assert tuple(manifest.edges.tolist()) == file_edges(new_lake.grid, np.array(leaf_rows))
    for part in manifest.partitions:
        if part.key is None:
            assert (part.rows, part.bytes, part.sha256) == (0, 0, None)
            continue
        path = new_lake.storage.path(part.key)
        assert path.stat().st_mode & 0o222 == 0
        file = pq.ParquetFile(path)
        assert file.schema_arrow.field("catwise_w1_mag").metadata[b"unit"] == b"mag"
        assert file.metadata.row_group(0).column(0).statistics.has_min_max


def test_many_runs_per_file_give_the_same_bytes_as_one(rows, synthetic, grid, build, tmp_path, monkeypatch):
    path = synthetic.write(CATWISE, rows, tmp_path / "raw.fits", "fits")
    whole, pieces = init_lake(tmp_path / "whole", grid=grid), init_lake(tmp_path / "pieces", grid=grid)
    build.ingest(whole, CATWISE.name, path)
    monkeypatch.setattr(lake.runs, "RUN_BYTES", 1)
    monkeypatch.setattr("lake.readers.fits.CHUNK_BYTES", 700)
    written = []
    monkeypatch.setattr(
        lake.runs._RunWriter,
        "_write",
        lambda self, *args, real=lake.runs._RunWriter._write: (written.append(1), real(self, *args)),
    )
    build.ingest(pieces, CATWISE.name, path)
    assert len(written) >= 8
    assert build.files(whole) == build.files(pieces)


def test_merging_reads_a_crowded_partition_a_row_group_at_a_time(synthetic, build, tmp_path, monkeypatch):
    from lake import merge
    from lake.partition import uniform

    ids = np.random.default_rng(5).permutation(np.arange(1, 801) * 1_000)
    paths = [
        synthetic.write(CATWISE, synthetic.rows(CATWISE, ids[half], 3), tmp_path / f"{k}.fits", "fits")
        for k, half in enumerate((slice(0, 400), slice(400, 800)))
    ]
    calm, tight = (init_lake(tmp_path / name, grid=uniform(0)) for name in ("calm", "tight"))
    wanted = build.table_of(calm, build.ingest(calm, CATWISE.name, *paths))
    decoded: list[int] = []
    real = pq.ParquetFile.read_row_groups

    def spy(self, groups, columns=None, **options):
        found = real(self, groups, columns=columns, **options)
        if columns is None:
            decoded.append(found.num_rows)
        return found

    monkeypatch.setattr(merge, "group_rows", lambda schema: 100)
    monkeypatch.setattr(lake.runs, "group_edges", lambda leaves, limit: group_edges(leaves, 50))
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    outcome = build.ingest(tight, CATWISE.name, *paths)
    monkeypatch.undo()
    assert max(decoded) <= 200
    assert sum(decoded) < 3 * 800
    assert build.table_of(tight, outcome).equals(wanted)
    (part,) = [part for part in outcome.manifests[0].partitions if part.key]
    assert pq.ParquetFile(tight.storage.path(part.key)).num_row_groups == 8


def test_an_extension_holds_only_rows_with_one_of_its_columns_and_counts_the_others(
    synthetic, draw_ids, new_lake, build, tmp_path
):
    rows = synthetic.rows(XP, draw_ids(40, 2), integer_nulls=False)
    path = synthetic.write(XP, rows, tmp_path / "XP_CONTINUOUS.hdf5", "hdf5")
    own, extension = build.ingest(new_lake, XP.name, path).manifests
    there = pc.or_(pc.is_valid(rows["bp_coefficient_correlations"]), pc.is_valid(rows["rp_coefficient_correlations"]))
    lost = 40 - pc.sum(there).as_py()
    assert lost > 0
    assert (own.rows, extension.rows) == (40, 40 - lost)
    assert extension.account == {"in": 40, "out": 40 - lost, "dropped": {"none of the table's columns present": lost}}


def test_an_extension_of_more_than_two_columns_keeps_rows_with_any_of_them(rows, new_lake, build, synthetic, tmp_path):
    labels = ("mh_xgboost", "teff_xgboost", "logg_xgboost")
    declared = replace(CATWISE, extensions={"labels": labels})
    path = synthetic.write(CATWISE, rows, tmp_path / "raw.fits", "fits")
    outcome = ingest(new_lake.storage, new_lake.grid, declared, build.files_of(new_lake, CATWISE.name, path))
    wanted = by_id(rows).select(("source_id", *labels))
    there = np.any([np.asarray(pc.is_valid(wanted[name])) for name in labels], axis=0)
    found = build.whole(Table(new_lake.storage, outcome.manifests[1], new_lake.grid))
    assert found.equals(wanted.filter(pa.array(there)).replace_schema_metadata())


def test_raw_files_without_any_row_make_a_sound_table_without_rows(synthetic, new_lake, build, tmp_path):
    path = synthetic.write(SOURCE, synthetic.rows(SOURCE, []), tmp_path / "x-result.csv", "archive_csv")
    outcome = build.ingest(new_lake, SOURCE.name, path)
    assert outcome.manifests[0].account == {"in": 0, "out": 0, "dropped": {}}
    build.publish(new_lake, outcome)
    assert build.table_of(new_lake, outcome).num_rows == 0


def test_rows_whose_id_is_a_declared_sentinel_are_dropped_and_counted(rows, new_lake, build, tmp_path):
    declared = replace(CATWISE, missing={"source_id": (999999,)})
    ids = rows["source_id"].to_pylist()
    ids[3] = ids[77] = 999999
    raw = rows.rename_columns(["source_id", "catwise_w1", "catwise_w2", *rows.column_names[3:]])
    write(raw.set_column(0, "source_id", pa.array(ids)), tmp_path / "raw.fits", "fits")
    outcome = ingest(new_lake.storage, new_lake.grid, declared, build.files_of(new_lake, CATWISE.name, tmp_path / "raw.fits"))
    assert outcome.manifests[0].account == {"in": 240, "out": 238, "dropped": {"no source_id": 2}}
    check(new_lake.storage, outcome.manifests[0])


def test_values_in_other_units_are_converted(rows, new_lake, build, tmp_path):
    from lake.declaration import Raw

    declared = replace(CATWISE, columns={**CATWISE.columns, "catwise_w1_mag": Raw("catwise_w1", unit="mmag")})
    raw = rows.rename_columns(["source_id", "catwise_w1", "catwise_w2", *rows.column_names[3:]])
    milli = pc.multiply(raw["catwise_w1"].cast(pa.float64()), 1000.0)
    write(raw.set_column(1, "catwise_w1", milli), tmp_path / "raw.fits", "fits")
    outcome = ingest(new_lake.storage, new_lake.grid, declared, build.files_of(new_lake, CATWISE.name, tmp_path / "raw.fits"))
    found, wanted = build.table_of(new_lake, outcome)["catwise_w1_mag"], by_id(rows)["catwise_w1_mag"]
    assert found.is_null().equals(wanted.is_null())
    np.testing.assert_allclose(found.drop_null(), wanted.drop_null(), rtol=1e-6)
