"""The same source more than once: which row stays, what is counted, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lake.errors import RawFileError
from lake.ingest import builds, ingest
from lake.ledger import RawFile, raw_files, register
from lake.survey import survey
from lake.table import Table
from lake.validate import check

CATWISE, SOURCE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_source"), survey("gaia_dr3_xp")


def by_id(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table["source_id"]))


def table_of(where, outcome, build) -> pa.Table:
    return build.whole(Table(where.storage, outcome.manifests[0], where.grid))


def files_of(where, *paths: Path) -> list[RawFile]:
    register(where.storage, CATWISE, paths)
    return raw_files(where.storage, CATWISE)


# The same source more than once.


def test_of_a_source_in_several_files_the_most_complete_row_stays_then_the_smaller_hash(
    synthetic, draw_ids, new_lake, build, tmp_path
):
    full = synthetic.rows(CATWISE, np.sort(draw_ids(120, 6)), 6)
    rng = np.random.default_rng(0)
    spans = {"a.fits": (0, 70), "b.fits": (40, 110), "c.fits": (60, 120)}
    frames = []
    for name, (begin, end) in spans.items():
        own = full.slice(begin, end - begin)
        for i, field in enumerate(own.schema.names[1:], 1):
            gone = rng.random(len(own)) < 0.3
            own = own.set_column(
                i, full.schema.field(field), pc.if_else(pa.array(gone), pa.scalar(None, own[field].type), own[field])
            )
        path = synthetic.write(CATWISE, own, tmp_path / name, "fits")
        (file,) = [file for file in files_of(new_lake, path) if file.path == path]
        frames.append(own.to_pandas(types_mapper=pd_arrow).assign(sha=file.sha256))
    every = pd.concat(frames)
    every["present"] = every[full.column_names].notna().sum(axis=1)
    wanted = every.sort_values(["source_id", "present", "sha"], ascending=[True, False, True]).drop_duplicates("source_id")
    outcome = build.ingest(new_lake, CATWISE.name)
    found = table_of(new_lake, outcome, build).to_pandas(types_mapper=pd_arrow)
    pd.testing.assert_frame_equal(found, wanted[full.column_names].reset_index(drop=True))
    account = outcome.manifests[0].account
    assert account == {"in": 200, "out": 120, "dropped": {"same source again in another file": 80}}
    check(new_lake.storage, outcome.manifests[0])


def pd_arrow(kind: pa.DataType):
    return pd.ArrowDtype(kind)


def test_rows_that_differ_beyond_the_tolerance_are_refused_with_both_files_column_and_source(
    synthetic, draw_ids, new_lake, build, tmp_path
):
    rows = synthetic.rows(SOURCE, draw_ids(30, 6), 6)
    star = next(k for k in range(30) if rows["parallax"][k].is_valid)
    values = rows["parallax"].to_pylist()
    values[star] += 0.5
    other = rows.set_column(rows.column_names.index("parallax"), rows.schema.field("parallax"), pa.array(values))
    first = synthetic.write(SOURCE, rows, tmp_path / "one-result.csv", "archive_csv")
    second = synthetic.write(SOURCE, other.slice(star, 1), tmp_path / "two-result.csv", "archive_csv")
    with pytest.raises(RawFileError) as caught:
        build.ingest(new_lake, SOURCE.name, first, second)
    message = str(caught.value)
    for word in ("'parallax'", str(rows["source_id"][star]), first.name, second.name, "1 sources differ", "--replace --raw"):
        assert word in message, message
    assert builds(new_lake.storage, SOURCE.name) == []


@pytest.mark.parametrize("column", ["bp_coefficients", "solution_id"])
def test_contradictions_in_arrays_and_integers_are_found_too(column, synthetic, draw_ids, new_lake, build, tmp_path):
    rows = synthetic.rows(XP, draw_ids(10, 6), 6, integer_nulls=False)
    rows = rows.filter(pc.is_valid(rows["bp_coefficients"]))
    values = rows[column].to_pylist()
    if column == "solution_id":
        values[0] = values[0] + 1 if values[0] % 2 == 0 else values[0] - 1
    else:
        # A value that is large among the others: near zero, differences are judged on the scale of the column.
        values[0][int(np.argmax(np.abs(values[0])))] *= 1.001
    changed = rows.set_column(rows.column_names.index(column), rows.schema.field(column), pa.array(values, rows[column].type))
    first = synthetic.write(XP, rows, tmp_path / "XP_CONTINUOUS_1.hdf5", "hdf5")
    second = synthetic.write(XP, changed, tmp_path / "XP_CONTINUOUS_2.hdf5", "hdf5")
    with pytest.raises(RawFileError, match=rf"column '{column}': source_id {rows['source_id'][0]}"):
        build.ingest(new_lake, XP.name, first, second)


def test_rows_that_differ_by_rounding_are_the_same_measurement(synthetic, draw_ids, new_lake, build, tmp_path):
    rows = synthetic.rows(SOURCE, draw_ids(30, 6), 6)
    rounded = pc.multiply(rows["parallax"], 1 + 1e-7)
    other = rows.set_column(rows.column_names.index("parallax"), rows.schema.field("parallax"), rounded)
    paths = [synthetic.write(SOURCE, one, tmp_path / f"{k}-result.csv", "archive_csv") for k, one in enumerate((rows, other))]
    outcome = build.ingest(new_lake, SOURCE.name, *paths)
    assert outcome.manifests[0].account["dropped"] == {"same source again in another file": 30}


def test_a_source_twice_in_one_file_is_refused_with_file_source_and_count(rows, synthetic, new_lake, build, tmp_path):
    double = pa.concat_tables([rows, rows.slice(5, 2)])
    path = synthetic.write(CATWISE, double, tmp_path / "double.fits", "fits")
    with pytest.raises(RawFileError, match=r"double.fits: column 'source_id': \d+ stands in more than one row.*most_complete"):
        build.ingest(new_lake, CATWISE.name, path)


def test_a_source_twice_in_one_file_goes_by_the_declared_rule_if_there_is_one(rows, synthetic, new_lake, build, tmp_path):
    poorer = rows.slice(5, 2).set_column(1, rows.schema.field(1), pa.nulls(2, pa.float32()))
    path = synthetic.write(CATWISE, pa.concat_tables([poorer, rows]), tmp_path / "double.fits", "fits")
    declared = replace(CATWISE, duplicates="most_complete")
    outcome = ingest(new_lake.storage, new_lake.grid, declared, files_of(new_lake, path))
    assert table_of(new_lake, outcome, build).equals(by_id(rows).replace_schema_metadata())
    assert outcome.manifests[0].account["dropped"] == {"same source again in one file": 2}


def test_the_same_content_in_two_files_is_read_once(rows, synthetic, new_lake, build, tmp_path):
    one = synthetic.write(CATWISE, rows, tmp_path / "one.fits", "fits")
    two = tmp_path / "two.fits"
    two.write_bytes(one.read_bytes())
    outcome = build.ingest(new_lake, CATWISE.name, one, two)
    assert outcome.mapped == 1
    assert outcome.manifests[0].account == {"in": 240, "out": 240, "dropped": {}}
