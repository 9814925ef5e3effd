"""What a translation has to beat."""

import numpy as np
import pytest

from models.baselines import NOTHING, RIDGE, baselines

TRUE = np.array([0.5, -1.0])


@pytest.fixture
def stars():
    """3,000 synthetic stars whose difference between the bases is quadratic in the first input, and noisy."""
    rng = np.random.default_rng(3)
    x = rng.normal([5_000, 3, 0], [500, 1, 0.3], (3_000, 3))
    u = (x - [5_000, 3, 0]) / [500, 1, 0.3]
    truth = np.stack([TRUE[0] * u[:, 0] ** 2, TRUE[1] * u[:, 1] * u[:, 2] + 2.0], axis=1)
    error = np.where(rng.random((3_000, 2)) < 0.5, 0.05, 2.0)
    return x, truth, truth + error * rng.normal(size=(3_000, 2)), 1 / error**2


def test_the_ridge_finds_a_quadratic_difference_and_nothing_corrects_nothing(stars):
    x, truth, delta, weight = stars
    found = baselines(x[:2_000], delta[:2_000], weight[:2_000], x[2_000:])
    assert not found.correction[NOTHING].any()
    assert np.abs(found.correction[RIDGE] - truth[2_000:]).mean() < 0.02


def test_the_ridge_listens_to_good_stars_more_than_to_bad_ones(stars):
    x, truth, delta, weight = stars
    weighted, equal = (
        np.abs(baselines(x[:200], delta[:200], w[:200], x[2_000:]).correction[RIDGE] - truth[2_000:]).mean()
        for w in (weight, np.ones_like(weight))
    )
    assert weighted < 0.5 * equal


def test_missing_inputs_are_taken_as_the_median_and_counted(stars):
    x, _, delta, weight = stars
    median = np.median(x[:2_000], axis=0)
    test = x[2_000:2_010].copy()
    test[3, 1] = np.nan
    train = x[:2_000].copy()
    train[0, 0] = np.nan
    found = baselines(train, delta[:2_000], weight[:2_000], test)
    assert (found.missing_train, found.missing_test) == (1, 1)
    test[3, 1] = median[1]
    again = baselines(train, delta[:2_000], weight[:2_000], test).correction[RIDGE]
    assert found.correction[RIDGE][3] == pytest.approx(again[3], abs=1e-3)
    assert np.isfinite(found.correction[RIDGE]).all()


def test_stars_without_a_difference_or_a_weight_do_not_teach(stars):
    x, _, delta, weight = stars
    delta[::2, 0], weight[1::4, 0] = np.nan, 0.0
    kept = slice(3, 2_000, 4)
    found = baselines(x[:2_000], delta[:2_000], weight[:2_000], x[2_000:]).correction[RIDGE][:, 0]
    alone = baselines(x[kept], delta[kept], weight[kept], x[2_000:]).correction[RIDGE][:, 0]
    assert np.allclose(found, alone)


def test_the_same_stars_give_the_same_corrections_bit_for_bit(stars):
    x, _, delta, weight = stars
    one, two = (baselines(x[:500], delta[:500], weight[:500], x[500:]).correction[RIDGE] for _ in range(2))
    assert np.array_equal(one, two)


def test_an_input_or_a_label_that_no_star_has_is_refused(stars):
    x, _, delta, weight = stars
    with pytest.raises(ValueError, match="input 1 of 3 is missing in all 3000 training stars"):
        baselines(np.where([False, True, False], np.nan, x), delta, weight, x)
    with pytest.raises(ValueError, match="label 1: none of 3000 training stars"):
        baselines(x, np.where([False, True], np.nan, delta), weight, x)
