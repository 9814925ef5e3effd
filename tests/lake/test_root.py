"""Laying out and opening lakes: release and grid are fixed once, and what is no lake is said clearly."""

import json

import numpy as np
import pytest

import lake as lakes
from lake.errors import LakeError
from lake.partition import N_PIXELS, uniform
from lake.root import grid_of, init_lake, open_lake


def test_a_new_lake_has_the_grid_of_its_release_and_nothing_published(tmp_path):
    made = lakes.init(tmp_path / "lake")
    assert (made.release, len(made.grid), made.names) == ("dr3", 3324, [])
    assert lakes.open(tmp_path / "lake") == made


def test_laying_out_the_same_lake_again_opens_it_and_another_is_refused(tmp_path, grid):
    made = init_lake(tmp_path, grid=grid)
    assert init_lake(tmp_path, grid=grid) == made
    with pytest.raises(LakeError, match=r"is there already; a lake of dr3 on grid uniform:2.*needs another folder"):
        init_lake(tmp_path, grid=uniform(2))
    with pytest.raises(LakeError, match=r"a lake of dr4"):
        init_lake(tmp_path, release="dr4", grid=grid)


def test_a_folder_that_is_no_lake_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(LakeError, match=r"no lake here.*gaialake init"):
        open_lake(tmp_path)


@pytest.mark.parametrize(
    "alter",
    [
        lambda held: held.update(layout=2),
        lambda held: held.pop("grid"),
        lambda held: held.pop("release"),
        lambda held: held.update(grid=[1, 2]),
        lambda held: held["grid"].update(edges="x"),
        lambda held: held["grid"].update(edges=[]),
        lambda held: held["grid"].update(edges=[0, 5, N_PIXELS]),
    ],
)
def test_a_description_that_was_altered_is_refused(alter, new_lake):
    held = new_lake.storage.read_json("lake.json")
    alter(held)
    new_lake.storage.write_json("lake.json", held)
    with pytest.raises(LakeError):
        open_lake(new_lake.storage.root)


@pytest.mark.parametrize("content", ["", "{", "[]", "3"])
def test_a_description_that_is_no_json_object_is_refused(content, new_lake):
    new_lake.storage.path("lake.json").write_text(content)
    with pytest.raises(LakeError, match="lake.json"):
        open_lake(new_lake.storage.root)


def test_a_table_that_is_not_published_is_refused_with_those_that_are(small_lake):
    with pytest.raises(
        LakeError, match="no published table 'galah'; published are catwise_andrae2023, gaia_dr3_source, gaia_dr3_xp"
    ):
        small_lake.table("galah")


def test_grids_can_be_asked_for_by_order_and_by_counts(tmp_path):
    assert grid_of(None, None) is None
    assert grid_of("uniform:2", None) == uniform(2)
    rng = np.random.default_rng(0)
    pixels, rows = rng.choice(N_PIXELS, 50, replace=False), rng.integers(1, 1000, 50)
    path = tmp_path / "counts.csv"
    path.write_text("pixel8,rows\n" + "".join(f"{p},{n}\n" for p, n in zip(pixels, rows, strict=True)))
    grid = grid_of(None, path, leaf_rows=500)
    leaf = np.searchsorted(grid.array, pixels, side="right") - 1
    held = np.bincount(leaf, weights=rows, minlength=len(grid))
    assert ((held <= 500) | (np.diff(grid.array) == 1)).all()


@pytest.mark.parametrize("text", ["uniform", "uniform:x", "hex:3", "uniform:9", "uniform:-1", ""])
def test_a_grid_that_cannot_be_is_refused(text):
    with pytest.raises(LakeError, match="--grid"):
        grid_of(text, None)


@pytest.mark.parametrize(
    "content",
    ["pixel8,rows\n1\n", "pixel8,rows\n-1,5\n", f"pixel8,rows\n{N_PIXELS},5\n", "pixel8,rows\n1,-5\n", "pixel8,rows\na,b\n"],
)
def test_counts_that_cannot_be_are_refused(content, tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text(content)
    with pytest.raises(LakeError, match=r"--counts .*counts.csv: expected"):
        grid_of(None, path)
    with pytest.raises(LakeError, match="exclude each other"):
        grid_of("uniform:1", path)


def test_a_lake_of_another_layout_says_which_one_it_reads(new_lake):
    held = json.loads(new_lake.storage.path("lake.json").read_text())
    new_lake.storage.write_json("lake.json", held | {"layout": 9})
    with pytest.raises(LakeError, match=r"layout 9, this gaialake reads layout 1; upgrade"):
        open_lake(new_lake.storage.root)
