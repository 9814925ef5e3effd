"""Pixels, grids and file edges: known values, the published ranges of DR3, and properties over random skies."""

import csv

import numpy as np
import pytest
from astropy import units

from lake.errors import LakeError
from lake.partition import (
    BASE_SHIFT,
    LEAF_ROWS,
    N_PIXELS,
    Grid,
    count_leaves,
    file_edges,
    file_name,
    first_id,
    pixel,
    release_grid,
    split,
    uniform,
)


def healpix_grids(seed: int) -> Grid:
    """Return a random cut of the sky: lumps of random place, width and density."""
    rng = np.random.default_rng(seed)
    density = rng.random(N_PIXELS) * rng.choice([1e-4, 1e-3])
    for _ in range(rng.integers(1, 8)):
        first, width = rng.integers(0, N_PIXELS), 4 ** int(rng.integers(0, 7))
        density[first : first + width] += rng.exponential(300)
    return split(density, int(rng.integers(60, 600)), name="random")


@pytest.mark.parametrize("order", [0, 3, 6, 8, 12])
def test_the_shifted_id_is_the_healpix_pixel_of_the_position_that_astropy_finds(order):
    astropy_healpix = pytest.importorskip("astropy_healpix")
    rng = np.random.default_rng(order)
    longitude, latitude = rng.uniform(0, 2 * np.pi, 500), np.arcsin(rng.uniform(-1, 1, 500))
    finest = np.asarray(
        astropy_healpix.core.lonlat_to_healpix(longitude * units.rad, latitude * units.rad, 2**12, order="nested")
    )
    ids = (finest.astype(np.int64) << 35) + rng.integers(0, 1 << 35, 500)
    wanted = np.asarray(
        astropy_healpix.core.lonlat_to_healpix(longitude * units.rad, latitude * units.rad, 2**order, order="nested")
    )
    np.testing.assert_array_equal(pixel(ids, order), wanted)


def test_the_first_id_of_a_pixel_is_the_smallest_id_in_it():
    for pixel8 in (0, 1, 665461, N_PIXELS - 1):
        low = first_id(pixel8)
        assert isinstance(low, int)
        assert pixel(np.array([low, low + (1 << BASE_SHIFT) - 1]), 8).tolist() == [pixel8, pixel8]


def test_file_names_sort_as_their_ranges_do():
    names = [file_name(first, first + 9) for first in range(0, N_PIXELS, 9173)]
    assert names == sorted(names)


def test_the_grid_of_dr3_is_the_committed_one():
    grid = release_grid("dr3")
    assert len(grid) == 3324
    assert (grid.edges[0], grid.edges[-1], grid.leaf_rows) == (0, N_PIXELS, LEAF_ROWS)
    assert (grid.orders().min(), grid.orders().max()) == (2, 6)


def test_the_grid_of_dr3_follows_from_the_published_file_ranges(shared_data):
    with (shared_data / "schemas" / "gaia_dr3_file_ranges.csv").open() as file:
        ranges = np.array(list(csv.reader(file))[1:], dtype=int)
    assert len(ranges) == 3386
    width = ranges[:, 1] - ranges[:, 0] + 1
    assert width.sum() == N_PIXELS
    density = np.repeat(1_811_709_771 / len(ranges) / width, width)
    assert split(density, LEAF_ROWS, name="dr3").edges == release_grid("dr3").edges


def test_a_release_without_a_grid_is_refused_with_what_to_do():
    with pytest.raises(LakeError, match=r"dr9.*--grid uniform:ORDER or --counts"):
        release_grid("dr9")


@pytest.mark.parametrize("order", range(9))
def test_uniform_grids_have_one_leaf_per_pixel(order):
    grid = uniform(order)
    assert len(grid) == 12 * 4**order
    assert set(grid.orders().tolist()) == {order}


def test_an_order_beyond_the_finest_is_refused():
    with pytest.raises(LakeError, match="between 0 and 8"):
        uniform(9)


@pytest.mark.parametrize(
    ("edges", "says"),
    [
        ((1, N_PIXELS), "not from 0"),
        ((0, 65536), "to 65536"),
        ((0, N_PIXELS), "not one HEALPix pixel"),
        ((0, 3, *range(65536, N_PIXELS + 1, 65536)), "0 to 3 is not one HEALPix pixel"),
        ((0, 2, 6, 16, *range(65536, N_PIXELS + 1, 65536)), "0 to 2 is not one HEALPix pixel"),
        ((0, 65536, 65536, *range(131072, N_PIXELS + 1, 65536)), "65536 to 65536"),
        ((0, 131072, 65536, *range(131072, N_PIXELS + 1, 65536)), "is not one HEALPix pixel"),
    ],
)
def test_edges_that_are_no_cut_through_the_quadtree_are_refused(edges, says):
    with pytest.raises(LakeError, match=says):
        Grid(name="odd", edges=edges)


@pytest.mark.parametrize("seed", range(12))
def test_leaves_of_a_random_sky_hold_no_more_than_asked_for_and_could_not_be_joined(seed):
    rng = np.random.default_rng(seed)
    density = rng.random(N_PIXELS) * 1e-3
    density[rng.integers(0, N_PIXELS, 50)] = rng.exponential(400, 50)
    grid = split(density, 250, name="random")
    total = np.concatenate([[0], np.cumsum(density)])
    held = np.diff(total[grid.array])
    assert ((held <= 250) | (np.diff(grid.array) == 1)).all()
    # A leaf of order above 0 exists only because its parent would hold too much.
    width = np.diff(grid.array)
    parent = grid.array[:-1] // (4 * width) * (4 * width)
    crowded = total[np.minimum(parent + 4 * width, N_PIXELS)] - total[parent] > 250
    assert (crowded | (grid.orders() == 0)).all()


@pytest.mark.parametrize("seed", range(12))
def test_every_id_lies_in_the_leaf_that_is_found_for_it(seed):
    grid, rng = healpix_grids(seed), np.random.default_rng(seed)
    ids = np.concatenate([rng.integers(0, N_PIXELS << BASE_SHIFT, 300), grid.id_edges[:-1], grid.id_edges[1:] - 1])
    leaf = grid.leaf(ids)
    assert (grid.id_edges[leaf] <= ids).all()
    assert (ids < grid.id_edges[leaf + 1]).all()
    counts = count_leaves(grid, np.sort(ids))
    np.testing.assert_array_equal(counts, np.bincount(leaf, minlength=len(grid)))


@pytest.mark.parametrize("seed", range(20))
def test_files_lie_on_the_grid_and_are_never_joined_beyond_the_coarse_size(seed):
    grid, rng = healpix_grids(seed), np.random.default_rng(seed)
    rows = rng.poisson(rng.choice([0.05, 1, 5, 30]), len(grid)) * rng.integers(0, 2, len(grid))
    edges = file_edges(grid, rows)
    assert set(edges) <= set(grid.edges)
    assert (edges[0], edges[-1]) == (0, N_PIXELS)
    total = np.concatenate([[0], np.cumsum(rows)])
    at = np.searchsorted(grid.array, edges)
    held, leaves = np.diff(total[at]), np.diff(at)
    assert ((held <= grid.coarse_rows) | (leaves == 1)).all()
    # Files are nodes of the quadtree too, or the whole sky.
    if len(edges) > 2:
        Grid(name="files", edges=edges)
    # And no four brothers that would fit in one file were left apart.
    width = np.diff(edges)
    for i in range(len(width) - 3):
        brothers = (width[i : i + 4] == width[i]).all() and edges[i] % (4 * width[i]) == 0 and width[i] < 4**8
        assert not (brothers and held[i : i + 4].sum() <= grid.coarse_rows)


def test_a_table_of_few_rows_is_one_file(grid):
    rows = np.zeros(len(grid), int)
    rows[[3, 20]] = grid.coarse_rows // 2
    assert file_edges(grid, rows) == (0, N_PIXELS)


def test_the_shared_test_grid_has_at_least_forty_leaves_of_mixed_order(grid):
    assert len(grid) >= 40
    assert len(set(grid.orders().tolist())) >= 4


def test_grids_of_other_edges_or_density_have_other_ids(grid):
    assert len({grid.id, uniform(2).id, uniform(3).id, Grid("counts", grid.edges, 7).id}) == 4
    assert Grid("another name", grid.edges, grid.leaf_rows).id == grid.id
