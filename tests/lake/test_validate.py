"""The audit finds every kind of damage, and what fails it is never published."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import lake as lakes
from lake.catalog import publish
from lake.errors import CheckError
from lake.manifest import Manifest, manifest_at, read_manifest
from lake.parquet import write_partition
from lake.storage import manifest_key
from lake.survey import survey
from lake.validate import check

CATWISE = survey("catwise_andrae2023")


@pytest.fixture
def made(synthetic, draw_ids, new_lake, build, tmp_path) -> Manifest:
    """A build that was not yet checked."""
    path = synthetic.write(CATWISE, synthetic.rows(CATWISE, draw_ids(150, 31), 31), tmp_path / "raw.fits", "fits")
    return build.ingest(new_lake, CATWISE.name, path).manifests[0]


def fails(where, manifest: Manifest, *words: object) -> None:
    """Fail unless the check names the table and all the words, records nothing, and publishing refuses the build."""
    with pytest.raises(CheckError) as caught:
        check(where.storage, manifest)
    message = str(caught.value)
    for word in (manifest.table, manifest.build, "not published", *words):
        assert str(word) in message, f"{word!r} is not in: {message}"
    stored = read_manifest(where.storage, manifest.table, manifest.build)
    assert stored.checks is None
    with pytest.raises(CheckError, match="not checked, so not published"):
        publish(where.storage, [stored])
    assert not where.storage.exists("catalog.yaml")


def rewritten(where, manifest: Manifest, change) -> Manifest:
    """Replace the content of the largest file and make the manifest agree with the new bytes, as a faulty step would."""
    largest = max(manifest.partitions, key=lambda part: part.rows)
    path = where.storage.path(largest.key)
    table = change(pq.read_table(path))
    path.unlink()
    written = write_partition(path, table.schema, [table])
    parts = tuple(
        replace(part, bytes=written.bytes, sha256=written.sha256) if part is largest else part for part in manifest.partitions
    )
    changed = replace(manifest, partitions=parts)
    where.storage.write_json(manifest_key(manifest.table, manifest.build), changed.to_json())
    return changed


def test_a_sound_build_passes_and_its_nulls_are_counted(made, new_lake, build):
    passed = check(new_lake.storage, made)
    publish(new_lake.storage, [passed])
    whole = build.whole(lakes.open(new_lake.storage.root).table(CATWISE.name))
    assert passed.checks["files"] == len(made.partitions)
    assert passed.checks["nulls"] == {
        name: whole[name].null_count for name in sorted(whole.column_names) if whole[name].null_count
    }
    assert read_manifest(new_lake.storage, made.table, made.build) == passed


@pytest.mark.parametrize("at", [0.1, 0.5, 0.99])
def test_a_flipped_byte_is_found(at, made, new_lake):
    key = next(part.key for part in made.partitions if part.key)
    path = new_lake.storage.path(key)
    held = bytearray(path.read_bytes())
    held[int(len(held) * at)] ^= 1
    path.unlink()
    path.write_bytes(held)
    fails(new_lake, made, key, "content changed", "delete the file and build the table again")


def test_a_missing_file_is_found(made, new_lake):
    key = next(part.key for part in made.partitions if part.key)
    new_lake.storage.path(key).unlink()
    fails(new_lake, made, key, "the file is gone")


def test_every_problem_is_listed_up_to_twenty(made, new_lake):
    keys = [part.key for part in made.partitions if part.key]
    assert len(keys) > 20
    for key in keys:
        new_lake.storage.path(key).unlink()
    fails(new_lake, made, keys[0], f"and {len(keys) - 20} more")


@pytest.mark.parametrize("bad", [99.0, -5.1, float("inf")])
def test_a_value_outside_its_limits_is_found_with_column_count_value_and_source(bad, made, new_lake):
    stars = []

    def change(table: pa.Table) -> pa.Table:
        stars.append(table["source_id"][2].as_py())
        values = table["catwise_w1_mag"].to_pylist()
        values[2] = values[4] = bad
        return table.set_column(1, table.schema.field(1), pa.array(values, pa.float32()))

    changed = rewritten(new_lake, made, change)
    fails(new_lake, changed, "2 values of catwise_w1_mag", "[-5, 30] mag", stars[0])


def test_rows_out_of_order_are_found(made, new_lake):
    changed = rewritten(new_lake, made, lambda table: table.take(pa.array([1, 0, *range(2, len(table))])))
    fails(new_lake, changed, "does not ascend")


def test_a_source_that_stands_twice_is_found(made, new_lake):
    changed = rewritten(new_lake, made, lambda table: table.take(pa.array([0, 0, *range(2, len(table))])))
    fails(new_lake, changed, "does not ascend")


def test_a_lost_row_is_found(made, new_lake):
    changed = rewritten(new_lake, made, lambda table: table.slice(0, len(table) - 1))
    rows = max(part.rows for part in made.partitions)
    fails(new_lake, changed, f"holds {rows - 1} rows, the manifest says {rows}")


def test_a_row_of_another_partition_is_found(made, new_lake):
    def change(table: pa.Table) -> pa.Table:
        ids = table["source_id"].to_numpy().copy()
        ids[-1] = 12 << 59
        return table.set_column(0, table.schema.field(0), pa.array(ids))

    fails(new_lake, rewritten(new_lake, made, change), "lies beyond the file's pixels")


def test_another_type_than_the_manifests_is_found(made, new_lake):
    changed = rewritten(
        new_lake, made, lambda table: table.set_column(1, "catwise_w1_mag", table["catwise_w1_mag"].cast(pa.float64()))
    )
    fails(new_lake, changed, "columns or types differ")


@pytest.mark.parametrize("what", ["rows_in", "rows", "input"])
def test_an_account_that_does_not_add_up_is_found(what, made, new_lake):
    held = json.loads(json.dumps(made.to_json()))
    if what == "input":
        held["inputs"][0]["rows"] += 5
    else:
        next(part for part in held["partitions"] if part["key"])[what] += 5
    new_lake.storage.write_json(manifest_key(made.table, made.build), held)
    changed = manifest_at(new_lake.storage, manifest_key(made.table, made.build))
    fails(new_lake, changed, "rows")


def test_more_rows_than_the_release_holds_are_refused(made, new_lake):
    with pytest.raises(CheckError, match="150 rows, but the release is published with 149"):
        check(new_lake.storage, made, limit=149)
    assert check(new_lake.storage, made, limit=150).checks is not None


def test_elements_of_arrays_are_held_to_their_limits_too(synthetic, draw_ids, new_lake, build, tmp_path):
    declared = survey("gaia_dr3_xp")
    rows = synthetic.rows(declared, draw_ids(30, 5), integer_nulls=False)
    there = int(np.flatnonzero(np.asarray(pc.is_valid(rows["rp_coefficient_errors"])))[3])
    errors = rows["rp_coefficient_errors"].to_pylist()
    errors[there][40] = -2.0
    at = rows.column_names.index("rp_coefficient_errors")
    bad = rows.set_column(at, rows.schema.field(at), pa.array(errors, rows.schema.field(at).type))
    path = synthetic.write(declared, bad, tmp_path / "XP_CONTINUOUS.hdf5", "hdf5")
    own, _ = build.ingest(new_lake, declared.name, path).manifests
    star = rows["source_id"][there].as_py()
    fails(new_lake, own, "1 values of rp_coefficient_errors", "-2.0", f"source_id {star}")


def test_a_limit_that_a_float_can_only_meet_by_rounding_is_no_offence(new_lake, build, synthetic, draw_ids, tmp_path):
    declared = survey("gaia_dr3_source")
    rows = synthetic.rows(declared, draw_ids(10, 5))
    at = rows.column_names.index("ra_dec_corr")
    edge = rows.set_column(at, rows.schema.field(at), pa.array(np.full(10, 1.001, np.float32)))
    path = synthetic.write(declared, edge, tmp_path / "x-result.csv", "archive_csv")
    build.publish(new_lake, build.ingest(new_lake, declared.name, path))


def test_a_repaired_build_can_be_checked_and_published(made, new_lake, build):
    key = next(part.key for part in made.partitions if part.key)
    new_lake.storage.path(key).unlink()
    fails(new_lake, made, "the file is gone")
    assert build.publish(new_lake, build.ingest(new_lake, CATWISE.name)) == [CATWISE.name]


def test_a_file_that_passed_in_an_earlier_build_is_read_again_only_by_a_deep_check(made, new_lake):
    passed = check(new_lake.storage, made)
    read: list[object] = []

    def counting(label, function, tasks):
        read.extend(tasks)
        return map(function, tasks)

    again = check(new_lake.storage, passed, run=counting)
    assert not [task for task in read if task.part.key]
    assert again.checks == passed.checks
    check(new_lake.storage, passed, run=counting, deep=True)
    assert len(read) >= len([part for part in made.partitions if part.key])
