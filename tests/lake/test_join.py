"""Joins are lazy, never shuffled, one task per leaf, and equal a plain pandas join of the raw rows."""

import dask
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import lake.parquet
from lake.errors import LakeError
from lake.join import join, merge_sorted
from lake.partition import uniform
from lake.root import init_lake
from lake.survey import survey

TABLES = ["gaia_dr3_xp", "gaia_dr3_source", "catwise_andrae2023"]
COLUMNS = {
    "gaia_dr3_xp": ["bp_coefficients", "bp_n_relevant_bases"],
    "gaia_dr3_source": ["phot_g_mean_mag", "parallax", "designation", "has_xp_continuous"],
    "catwise_andrae2023": ["catwise_w1_mag", "in_training_sample"],
}


def refuse_to_compute(*args: object, **kwargs: object) -> None:
    raise AssertionError("something was computed")


def plain(stars, names, how: str) -> pd.DataFrame:
    """Join the raw rows with pandas, the first table leading."""
    frames = [pd.DataFrame(stars[name].select(["source_id", *COLUMNS[name]]).to_pydict(), dtype=object) for name in names]
    found = frames[0]
    for other in frames[1:]:
        found = found.merge(other, on="source_id", how=how)
    return found.astype({"source_id": "int64"}).set_index("source_id").sort_index()


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Compare rows, their order, columns, values and nulls."""
    assert found.index.tolist() == wanted.index.tolist()
    assert list(found.columns) == list(wanted.columns)
    for name in wanted.columns:
        assert cells(found[name]) == cells(wanted[name]), name


def cells(values: pd.Series) -> list:
    """Return values as Python has them, None for what is missing."""
    if isinstance(values.dtype, pd.ArrowDtype):
        return values.array.__arrow_array__().to_pylist()
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values]


@pytest.fixture
def frame(small_lake):
    return small_lake.join(TABLES, columns=COLUMNS)


def test_the_grid_of_these_joins_has_at_least_forty_leaves_of_mixed_order(small_lake):
    assert len(small_lake.grid) >= 40
    assert len(set(small_lake.grid.orders().tolist())) >= 4
    assert sum(piece.key is not None for piece in small_lake.table("gaia_dr3_source").pieces) >= 20


@pytest.mark.parametrize("how", ["left", "inner", "outer"])
def test_building_a_join_computes_nothing_and_its_divisions_are_the_grids(how, small_lake):
    with dask.config.set(scheduler=refuse_to_compute):
        made = small_lake.join(TABLES, columns=COLUMNS, how=how)
        assert made.known_divisions
        assert made.divisions == small_lake.grid.divisions
        assert made.index.dtype == np.int64
        chosen = made[["parallax"]]
        chosen[chosen["parallax"] > 0].dtypes  # noqa: B018
        with pytest.raises(AssertionError, match="something was computed"):
            len(made)


def test_building_a_join_opens_no_data_file(small_lake, monkeypatch):
    monkeypatch.setattr("lake.storage.Storage.open_input", refuse_to_compute)
    small_lake.join(TABLES, columns=COLUMNS).optimize()


def test_the_optimised_graph_has_one_task_per_partition_and_no_shuffle(frame, small_lake):
    graph = frame.optimize().__dask_graph__()
    assert len(graph) == len(small_lake.grid)
    assert not any(word in str(key) for key in graph for word in ("shuffle", "split", "getitem", "merge"))
    assert "Shuffle" not in frame.optimize().expr.tree_repr()


@pytest.mark.parametrize("how", ["left", "inner", "outer"])
@pytest.mark.parametrize("names", [TABLES, TABLES[:2], TABLES[::-1], ["gaia_dr3_source", "catwise_andrae2023"], TABLES[:1]])
def test_a_join_equals_the_pandas_join_of_the_raw_rows(names, how, small_lake, stars):
    chosen = {name: COLUMNS[name] for name in names}
    same(small_lake.join(names, columns=chosen, how=how).compute(), plain(stars, names, how))


def test_each_partition_is_the_pandas_join_of_the_rows_in_its_leaf(frame, stars, grid):
    wanted = plain(stars, TABLES, "left")
    leaf = grid.leaf(wanted.index.to_numpy())
    parts = dask.compute(*frame.to_delayed())
    assert sum(len(part) == 0 for part in parts) > 10
    for k, part in enumerate(parts):
        same(part, wanted[leaf == k])
        assert (part.dtypes == frame.dtypes).all()
        assert part.index.dtype == np.int64


def test_missing_sources_are_null_in_every_column_of_the_other_tables(frame, stars):
    found = frame.compute()
    lacking = sorted(
        set(stars["gaia_dr3_xp"]["source_id"].to_pylist()) - set(stars["catwise_andrae2023"]["source_id"].to_pylist())
    )
    assert len(lacking) > 10
    assert found.loc[lacking, COLUMNS["catwise_andrae2023"]].isna().all(axis=None)


def test_an_inner_join_of_tables_that_share_nothing_has_no_rows_but_all_types():
    found = merge_sorted(
        [pa.table({"source_id": [1, 2], "a": [1.0, 2.0]}), pa.table({"source_id": [3], "b": ["x"]})], how="inner"
    )
    assert found.schema == pa.schema([("source_id", pa.int64()), ("a", pa.float64()), ("b", pa.string())])
    assert found.num_rows == 0


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("how", ["left", "inner", "outer"])
def test_sorted_tables_of_any_overlap_are_merged_as_pandas_does(seed, how):
    rng = np.random.default_rng(seed)
    tables, frames = [], []
    for k, name in enumerate("abc"):
        ids = np.sort(rng.choice(40, rng.integers(0, 40), replace=False))
        values = pa.array(rng.random(len(ids)), mask=rng.random(len(ids)) < 0.2)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rng.random(3 * len(ids))), 3)
        cut = len(ids) // 2
        table = pa.table({"source_id": pa.array(ids, pa.int64()), name: values, f"{name}_list": vectors})
        tables.append(pa.concat_tables([table.slice(0, cut), table.slice(cut)]) if k else table)
        frames.append(pd.DataFrame({"source_id": ids, name: values.to_pylist(), f"{name}_list": vectors.to_pylist()}))
    wanted = (
        frames[0].merge(frames[1], on="source_id", how=how).merge(frames[2], on="source_id", how=how).sort_values("source_id")
    )
    found = merge_sorted(tables, how=how)
    assert found["source_id"].to_pylist() == wanted["source_id"].tolist()
    for name in wanted.columns[1:]:
        assert found[name].to_pylist() == cells(wanted[name].astype(object)), name


def test_choosing_columns_of_a_joined_frame_reaches_the_reader(frame, monkeypatch):
    asked = set()
    real = lake.parquet.pq.ParquetFile.read_row_groups

    def spy(self, groups, columns=None, **options):
        asked.update(columns)
        return real(self, groups, columns=columns, **options)

    monkeypatch.setattr(lake.parquet.pq.ParquetFile, "read_row_groups", spy)
    found = frame[["parallax", "catwise_w1_mag"]].compute()
    assert list(found.columns) == ["parallax", "catwise_w1_mag"]
    assert asked == {"source_id", "parallax", "catwise_w1_mag"}


def test_a_left_join_of_which_only_the_anchors_columns_are_wanted_opens_the_anchor_alone(frame, monkeypatch):
    opened = []
    real = lake.storage.Storage.open_input
    monkeypatch.setattr(lake.storage.Storage, "open_input", lambda self, key: (opened.append(key), real(self, key))[1])
    found = frame[["bp_n_relevant_bases"]].compute()
    assert len(found) == 80
    assert {key.split("/")[1] for key in opened} == {"gaia_dr3_xp"}


def test_a_table_of_which_no_column_is_taken_only_chooses_rows_in_an_inner_join(small_lake, stars):
    chosen = {"gaia_dr3_source": ["ra"], "catwise_andrae2023": []}
    found = small_lake.join(["gaia_dr3_source", "catwise_andrae2023"], columns=chosen, how="inner").compute()
    both = set(stars["gaia_dr3_source"]["source_id"].to_pylist()) & set(stars["catwise_andrae2023"]["source_id"].to_pylist())
    assert set(found.index) == both
    assert list(found.columns) == ["ra"]


def test_a_users_own_join_of_two_catalogue_tables_has_no_shuffle_and_known_divisions(small_lake, stars):
    left = small_lake.table("gaia_dr3_source").to_dask(["parallax"])
    right = small_lake.table("catwise_andrae2023").to_dask(["catwise_w1_mag"])
    with dask.config.set(scheduler=refuse_to_compute):
        made = left.join(right)
        assert made.known_divisions
        assert made.divisions == small_lake.grid.divisions
        tree = made.optimize().expr.tree_repr()
    assert "Shuffle" not in tree
    wanted = small_lake.join(
        ["gaia_dr3_source", "catwise_andrae2023"],
        columns={"gaia_dr3_source": ["parallax"], "catwise_andrae2023": ["catwise_w1_mag"]},
    )
    same(made.compute().sort_index(), wanted.compute())


def test_a_leaf_is_read_as_arrow_too(small_lake, stars, grid):
    prepared = small_lake.prepare(TABLES, columns=COLUMNS)
    whole = pa.concat_tables([prepared.read_leaf(k) for k in range(len(grid))])
    assert whole.schema.equals(prepared.schema())
    assert whole["source_id"].to_pylist() == sorted(stars["gaia_dr3_xp"]["source_id"].to_pylist())


def test_a_column_that_two_tables_have_is_refused_with_a_way_out(small_lake):
    with pytest.raises(
        LakeError, match=r"column 'solution_id' is in gaia_dr3_source and in gaia_dr3_xp; choose columns, for example"
    ):
        small_lake.join(["gaia_dr3_source", "gaia_dr3_xp"])


@pytest.mark.parametrize(
    ("tables", "options", "says"),
    [
        (["gaia_dr3_xp", "galah"], {}, "no published table 'galah'; published are catwise_andrae2023, gaia_dr3_source"),
        (["gaia_dr3_xp"], {"how": "right"}, "choose 'left'.*'inner'.*or 'outer'"),
        (["gaia_dr3_xp"], {"columns": {"gaia_dr3_xp": {"source_id": "id"}}}, "source_id keeps its name"),
        (["gaia_dr3_source"], {"columns": {"gaia_dr3_source": {"ra": "x", "dec": "x"}}}, "gives two columns one name, of .*x"),
        (["gaia_dr3_source"], {"columns": {"gaia_dr3_source": {"ra": "source_id"}}}, "gives two columns one name"),
        (["gaia_dr3_xp"], {"columns": {"gaia_dr3_source": ["ra"]}}, "names the table gaia_dr3_source, which is not joined"),
        (["gaia_dr3_xp"], {"columns": {"gaia_dr3_xp": ["nope"]}}, "has no column nope"),
        (["gaia_dr3_xp", "gaia_dr3_xp"], {}, "joined twice"),
        ([], {}, "at least one table"),
    ],
)
def test_a_join_that_cannot_be_made_is_refused_when_it_is_built(tables, options, says, small_lake):
    with pytest.raises(LakeError, match=says):
        small_lake.join(tables, **options)


def test_tables_of_different_lakes_are_not_joined(small_lake, synthetic, build, tmp_path, draw_ids):
    other = init_lake(tmp_path / "other", grid=uniform(1))
    declared = survey("catwise_andrae2023")
    path = synthetic.write(declared, synthetic.rows(declared, draw_ids(10, 1)), tmp_path / "raw.fits", "fits")
    build.publish(other, build.ingest(other, declared.name, path))
    foreign = lake.open(other.storage.root).table(declared.name)
    with pytest.raises(LakeError, match="grid"):
        join([small_lake.table("gaia_dr3_source"), foreign])


def test_columns_of_one_name_are_joined_under_names_of_their_own(small_lake):
    mags = {name: {"phot_g_mean_mag" if name == "gaia_dr3_source" else "catwise_w1_mag": f"{name}.mag"} for name in TABLES[1:]}
    found = small_lake.join(TABLES[1:], columns=mags).compute()
    assert list(found.columns) == ["gaia_dr3_source.mag", "catwise_andrae2023.mag"]
    plainly = small_lake.table("gaia_dr3_source").to_dask(["phot_g_mean_mag"]).compute()
    assert cells(found["gaia_dr3_source.mag"]) == cells(plainly["phot_g_mean_mag"])
    one = small_lake.join(TABLES[1:], columns=mags)["catwise_andrae2023.mag"].compute()
    assert cells(one) == cells(found["catwise_andrae2023.mag"]), "projected alone"
