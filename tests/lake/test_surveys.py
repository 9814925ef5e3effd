"""Round trips of every declared survey in every dialect it declares; a new survey is covered the moment its file exists."""

import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.dialects import write
from lake.columns import COLUMNS
from lake.declaration import Position
from lake.survey import OBSERVATIONS, surveys, table_surveys
from lake.table import Table

CASES = [(name, dialect) for name, declared in surveys().items() for dialect in declared.dialects]
ZIPPED = [name for name, dialect in CASES if dialect == "datalink_csv"]
FLAT = [
    (name, k) for name, one in surveys().items() for k in range(max((len(raw.flat) for raw in one.columns.values()), default=0))
]
SEPARATION = "match_separation"
LONG = [name for name, declared in surveys().items() if declared.long]


def same_bits(found: pa.Table, wanted: pa.Table) -> None:
    """Fail unless names, types, nulls and every bit of every value are equal."""
    assert found.schema.equals(wanted.schema)
    for name in wanted.column_names:
        left, right = (_bits(table[name].combine_chunks()) for table in (found, wanted))
        assert left.equals(right), (
            f"{name}: {left.filter(pc.not_equal(left, right))[:3] if left.type == right.type else left.type}"
        )


def _bits(values: pa.Array) -> pa.Array:
    """Turn floats into the integers of their bits, so that -0.0 is not 0.0; lists into rows of them."""
    if pa.types.is_fixed_size_list(values.type):
        present = pc.is_valid(values)
        return pa.array(
            [None if not there else row for there, row in zip(present.to_pylist(), _rows(values), strict=True)], pa.binary()
        )
    if pa.types.is_floating(values.type):
        kind = np.dtype(f"i{values.type.bit_width // 8}")
        held = np.asarray(pc.fill_null(values, 0.0)).view(kind)
        return pa.array(held, mask=~np.asarray(pc.is_valid(values)))
    return values


def _rows(values: pa.FixedSizeListArray) -> list[bytes]:
    filled = values.flatten().to_numpy(zero_copy_only=False)
    size = values.type.list_size
    at = np.cumsum(np.asarray(pc.is_valid(values))) - 1
    return [filled[k * size : (k + 1) * size].tobytes() for k in at]


@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_a_raw_file_in_each_declared_dialect_is_read_back_bit_for_bit(name, dialect, synthetic, draw_ids, suffix, tmp_path):
    declared = surveys()[name]
    rows = synthetic.rows(declared, draw_ids(60, 3), integer_nulls=synthetic.dialect_has_integer_nulls(dialect))
    path = synthetic.write(declared, rows, tmp_path / f"raw{suffix[dialect]}", dialect)
    same_bits(synthetic.read(path, declared), rows)


@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_a_raw_file_in_each_declared_dialect_becomes_tables_bit_for_bit(
    name, dialect, synthetic, draw_ids, suffix, tmp_path, new_lake, build
):
    declared = surveys()[name]
    rows = synthetic.rows(declared, draw_ids(60, 4), integer_nulls=synthetic.dialect_has_integer_nulls(dialect))
    path = synthetic.write(declared, rows, tmp_path / f"raw{suffix[dialect]}", dialect)
    standing = synthetic.standing(declared, rows, draw_ids(60, 4), new_lake, build)
    outcome = build.ingest(new_lake, name, path, standing=standing)
    ordered = _complete(declared, rows, draw_ids(60, 4))
    assert [manifest.table for manifest in outcome.manifests] == list(declared.tables)
    for manifest in outcome.manifests:
        wanted = ordered.select(declared.tables[manifest.table])
        if manifest.table != name:
            there = np.any([np.asarray(pc.is_valid(column)) for column in wanted.columns[1:]], axis=0)
            wanted = wanted.filter(pa.array(there))
        found = build.whole(Table(new_lake.storage, manifest, new_lake.grid))
        if SEPARATION in found.column_names and isinstance(declared.match, Position):
            assert max(found[SEPARATION].to_pylist()) < 1e-3
            found, wanted = found.drop_columns([SEPARATION]), wanted.drop_columns([SEPARATION])
        same_bits(found, wanted.replace_schema_metadata())
        assert manifest.account["in"] == 60 == manifest.rows + sum(manifest.account["dropped"].values())


def _complete(declared, rows: pa.Table, ids: np.ndarray) -> pa.Table:
    """Return the rows of the table: what the match and the merge add is known, for every row was made for its id."""
    if not declared.has_ids:
        rows = rows.add_column(0, pa.field("source_id", pa.int64(), nullable=False), pa.array(ids))
    added = {"match_separation": 0.0, "match_candidates": 1, OBSERVATIONS: 1}
    if declared.override:
        added[declared.override.origin] = declared.name
    for name in declared.every_column:
        if name not in rows.column_names:
            field = COLUMNS[name].field()
            rows = rows.append_column(field, pa.repeat(pa.scalar(added[name], field.type), len(rows)))
    return rows.take(pc.sort_indices(rows["source_id"])).select(declared.every_column)


@pytest.mark.parametrize(("name", "dialect"), [case for case in CASES if case[1] != "fixed_width"])
def test_a_file_without_rows_is_read_as_no_rows_of_the_declared_types(name, dialect, synthetic, suffix, tmp_path):
    declared = surveys()[name]
    rows = synthetic.rows(declared, [])
    path = synthetic.write(declared, rows, tmp_path / f"raw{suffix[dialect]}", dialect)
    same_bits(synthetic.read(path, declared), rows)


@pytest.mark.parametrize(("name", "dialect"), [case for case in CASES if case[1] != "fixed_width"])
def test_a_file_with_only_the_required_columns_gives_nulls_for_the_others(name, dialect, synthetic, draw_ids, suffix, tmp_path):
    declared = surveys()[name]
    rows = synthetic.rows(declared, draw_ids(20, 5), integer_nulls=False)
    kept = list(dict.fromkeys(declared.columns[column].name for column in declared.required))
    path = tmp_path / f"raw{suffix[dialect]}"
    write(synthetic.raw(declared, rows).select(kept), path, dialect)
    found = synthetic.read(path, declared)
    masked = {column for one in declared.masks for column in one.columns}
    plain = [column for column in declared.required if column not in masked]
    same_bits(found.select(plain), rows.select(plain))
    others = [column for column, raw in declared.columns.items() if raw.name not in kept]
    assert all(found[column].null_count == 20 for column in others)


@pytest.mark.parametrize("name", ZIPPED)
def test_a_datalink_zip_is_read_back_bit_for_bit_and_its_other_products_are_left_alone(name, synthetic, draw_ids, tmp_path):
    declared = surveys()[name]
    rows = _without_null_lists(synthetic.rows(declared, np.sort(draw_ids(40, 6))))
    path = synthetic.write(declared, rows, tmp_path / "products.zip", "datalink_csv")
    assert any("MCMC" in member for member in zipfile.ZipFile(path).namelist())
    found = synthetic.read(path, declared)
    same_bits(found.take(pc.sort_indices(found["source_id"])), rows)


@pytest.mark.parametrize("dialect", ["archive_csv", "fits"])
@pytest.mark.parametrize(("name", "spelling"), FLAT)
def test_flattened_lists_are_stacked_again_bit_for_bit(name, spelling, dialect, synthetic, draw_ids, suffix, tmp_path):
    declared = surveys()[name]
    rows = synthetic.rows(declared, draw_ids(30, 8))
    raw = synthetic.raw(declared, rows)
    columns = {}
    for canonical, one in declared.columns.items():
        values = raw[one.name].combine_chunks()
        if not pa.types.is_fixed_size_list(values.type):
            columns[one.name] = values
        elif one.flat:
            for k in range(declared.lengths[canonical]):
                columns[one.flat[spelling].format(one.flat_from + k)] = pc.list_element(values, k)
    path = tmp_path / f"flat{suffix[dialect]}"
    write(pa.table(columns), path, dialect)
    kept = [canonical for canonical, one in declared.columns.items() if canonical not in declared.lengths or one.flat]
    same_bits(synthetic.read(path, declared).select(kept), rows.select(kept))


@pytest.mark.parametrize("name", LONG)
def test_the_long_form_is_folded_into_lists_bit_for_bit(name, synthetic, draw_ids, tmp_path):
    declared = surveys()[name]
    rows = _without_null_lists(synthetic.rows(declared, draw_ids(12, 9)))
    path = tmp_path / "long.csv"
    write(_long(declared, synthetic.raw(declared, rows)), path, "datalink_csv")
    same_bits(synthetic.read(path, declared), rows)


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("damage", ["a sample is lost", "samples out of order", "sources interleaved"])
def test_a_long_form_that_is_not_whole_is_refused(name, damage, synthetic, draw_ids, tmp_path):
    declared = surveys()[name]
    long = _long(declared, synthetic.raw(declared, _without_null_lists(synthetic.rows(declared, draw_ids(8, 9)))))
    order = list(range(len(long)))
    if damage == "a sample is lost":
        del order[5]
    elif damage == "samples out of order":
        order[3], order[4] = order[4], order[3]
    else:
        size = declared.long.grid[2]
        order[2], order[2 + size] = order[2 + size], order[2]
    path = tmp_path / "long.csv"
    write(long.take(pa.array(order)), path, "datalink_csv")
    with pytest.raises(Exception, match=f"long.csv.*do not fold.*{declared.long.by}.*Fetch"):
        synthetic.read(path, declared)


def _without_null_lists(rows: pa.Table) -> pa.Table:
    lists = [name for name in rows.column_names if pa.types.is_fixed_size_list(rows[name].type)]
    return rows.filter(pa.array(np.all([np.asarray(pc.is_valid(rows[name])) for name in lists], axis=0)))


def _long(declared, raw: pa.Table) -> pa.Table:
    start, step, size = declared.long.grid
    each = pa.array(np.repeat(np.arange(len(raw)), size))
    columns = {declared.long.by: pa.array(np.tile(start + step * np.arange(size), len(raw)))}
    for name in raw.column_names:
        values = raw[name].combine_chunks()
        columns[name] = values.flatten() if pa.types.is_fixed_size_list(values.type) else values.take(each)
    return pa.table(columns)


def test_every_table_is_fed_by_one_survey_only():
    tables = [table for declared in surveys().values() for table in declared.tables]
    assert len(tables) == len(set(tables)) == len(table_surveys())


@pytest.mark.parametrize("name", list(surveys()))
def test_units_and_meanings_of_every_column_travel_in_the_schema(name):
    declared = surveys()[name]
    for table in declared.tables:
        for field in declared.schema(table):
            said = {key.decode(): value.decode() for key, value in field.metadata.items()}
            assert said["description"] == COLUMNS[field.name].description
            assert said["unit"] == COLUMNS[field.name].unit
            assert field.nullable == ("null" in said) == (field.name != "source_id")
