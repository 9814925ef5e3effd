"""Who trains, who chooses and who judges a translation."""

import numpy as np
import pytest

from models.translation_split import SELECT, TEST, TRAIN, folds, left_out, split


@pytest.fixture
def stars():
    rng = np.random.default_rng(0)
    source_id = rng.choice(2**62, 5_000, replace=False).astype(np.int64)
    metallicity = np.where(rng.random(5_000) < 0.02, rng.uniform(-2.5, -1.5, 5_000), rng.normal(-0.1, 0.2, 5_000))
    gravity = np.where(rng.random(5_000) < 0.5, 2.4, 4.4)
    metallicity[:50] = np.nan
    return source_id, metallicity, gravity


def test_each_split_has_its_share_of_all_stars_and_of_the_rare_ones(stars):
    part = split(*stars, seed=1)
    rare = stars[1] < -1.5
    assert 60 < rare.sum() < 150
    for chosen in (np.ones(5_000, dtype=bool), rare, np.isnan(stars[1]), stars[2] < 3):
        counts = np.bincount(part[chosen], minlength=3)
        expected = np.array([0.7, 0.15, 0.15]) * chosen.sum()
        assert np.abs(counts - expected).max() < 5, counts


def test_shares_can_be_chosen(stars):
    counts = np.bincount(split(*stars, seed=1, select=0.1, test=0.3), minlength=3)
    assert counts[[TRAIN, SELECT, TEST]].tolist() == pytest.approx([3_000, 500, 1_500], abs=3)


def test_the_order_of_the_rows_has_no_influence(stars):
    order = np.random.default_rng(1).permutation(5_000)
    assert np.array_equal(split(*stars, seed=1)[order], split(*(one[order] for one in stars), seed=1))


def test_another_seed_is_another_split(stars):
    first, second = split(*stars, seed=1), split(*stars, seed=2)
    assert 0.15 < np.mean(first != second) < 0.6


def test_a_star_in_two_rows_is_refused(stars):
    with pytest.raises(ValueError, match="found 1 source ids that occur more than once"):
        split(*(np.append(one, one[0]) for one in stars), seed=1)


def test_no_stars_have_no_split():
    assert len(split(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), seed=1)) == 0


def test_folds_are_even_and_belong_to_the_star(stars):
    found = folds(stars[0], seed=1, count=5)
    assert np.bincount(found).tolist() == pytest.approx([1_000] * 5, abs=100)
    assert np.array_equal(folds(stars[0][::7], seed=1, count=5), found[::7])


@pytest.mark.parametrize("ensemble", [2, 3, 4, 10, 12])
def test_every_fold_is_left_out_by_some_member(ensemble):
    chosen = [left_out(member, ensemble) for member in range(ensemble)]
    counts = {count for _, count in chosen}
    assert len(counts) == 1
    assert {fold for fold, _ in chosen} == set(range(counts.pop()))
