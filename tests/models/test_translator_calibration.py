"""What the select split teaches about a translation."""

import numpy as np
import pytest

from models.translator_calibration import STARS_PER_CELL, gates, groups, inflations
from models.translator_noise import Translated
from models.translator_widths import widths

QUANTILES = np.array([-1.644854, -0.994458, 0.0, 0.994458, 1.644854])


def stars(rows=4_000, *, noise=0.5, floor=0.0, factor=1.0, tails=0.0, seed=0):
    """SYNTHETIC stars whose truth scatters about 0 by ``factor`` times the Monte Carlo's half width and a floor."""
    rng = np.random.default_rng(seed)
    half = np.exp(0.4 * rng.normal(size=rows))
    width = factor * np.hypot(half, floor) * np.exp(tails * rng.normal(size=rows))
    truth = width * rng.normal(size=rows)
    errors = noise * np.exp(0.25 * rng.normal(size=rows))
    found = Translated(np.zeros((rows, 1)), np.ones((rows, 1)), (half[:, None] * QUANTILES / 0.994458)[:, :, None])
    return found, truth, (truth + errors * rng.normal(size=rows))[:, None], errors[:, None], half


def test_a_correction_that_pays_is_kept_and_a_useless_one_left_out():
    rng = np.random.default_rng(0)
    signal = np.sin(np.arange(2_000.0))
    residual = np.stack([signal, rng.normal(size=2_000), 0.5 * signal], axis=1) + 0.3 * rng.normal(size=(2_000, 3))
    said = np.stack([signal, 0.3 * rng.normal(size=2_000), signal], axis=1)
    level, found = gates(residual, np.zeros_like(said), said, np.ones((2_000, 3)))
    assert found[0] == pytest.approx(1.0, abs=0.051)
    assert found[1] == 0.0
    assert found[2] == pytest.approx(0.5, abs=0.051)
    assert level.tolist() == [0.0, 0.0, 0.0]


def test_of_two_corrections_the_better_one_is_kept_and_the_other_left_out():
    rng = np.random.default_rng(1)
    signal = np.sin(np.arange(4_000.0))
    blurred = [signal + blur * rng.normal(size=4_000) for blur in (0.3, 0.6)]
    residual = np.stack([signal, signal, signal], axis=1) + 0.1 * rng.normal(size=(4_000, 3))
    quadratic = np.stack([signal, rng.normal(size=4_000), blurred[0]], axis=1)
    of_network = np.stack([rng.normal(size=4_000), signal, blurred[1]], axis=1)
    level, gate = gates(residual, quadratic, of_network, np.ones((4_000, 3)))
    assert level == pytest.approx([1.0, 0.0, 0.85], abs=0.051)
    assert gate == pytest.approx([0.0, 1.0, 0.0], abs=0.051)


def test_stars_that_do_not_count_or_have_huge_errors_choose_no_gate():
    signal = np.sin(np.arange(500.0))
    weight = np.zeros((1_000, 1))
    weight[:500] = 1.0
    spoiled = np.concatenate([signal, -50 * signal])[:, np.newaxis]
    said = np.concatenate([signal, signal])[:, np.newaxis]
    assert gates(spoiled, np.zeros_like(said), said, weight) == ([0.0], [1.0])
    weight[500:] = 1e-9
    assert gates(spoiled, np.zeros_like(said), said, weight) == ([0.0], [1.0])


@pytest.mark.parametrize(
    ("noise", "floor", "factor", "tails"),
    [(0.01, 0.0, 2.0, 0.0), (1.2, 0.0, 1.0, 0.0), (0.5, 1.0, 1.0, 0.0), (0.01, 0.5, 0.8, 0.5), (0.8, 0.0, 1.0, 0.5)],
)
def test_calibrated_percentiles_cover_the_truth_whatever_the_noise_of_the_reference(noise, floor, factor, tails):
    found, truth, targets, errors, half = stars(noise=noise, floor=floor, factor=factor, tails=tails)
    floors, factors = widths(found, targets, errors, np.ones_like(targets, dtype=bool))
    wide = np.hypot(half, floors[0])
    # The more noise is taken off, the less 4,000 stars tell.
    near = 0.02 + 0.015 * noise
    assert np.mean(np.abs(truth) <= factors[0, 0] * wide) == pytest.approx(0.68, abs=near)
    assert np.mean(np.abs(truth) <= factors[1, 0] * wide * 1.644854 / 0.994458) == pytest.approx(0.90, abs=near)


def test_a_floor_is_found_where_there_is_one():
    for floor in (0.0, 1.5):
        found, _, targets, errors, _ = stars(noise=0.3, floor=floor)
        floors, factors = widths(found, targets, errors, np.ones_like(targets, dtype=bool))
        assert floors[0] == pytest.approx(floor, abs=0.3)
        assert factors[0, 0] == pytest.approx(1.0, abs=0.1)


def test_without_stars_to_calibrate_on_the_errors_are_believed():
    found, _, targets, errors, _ = stars(rows=100)
    floors, factors = widths(found, targets, errors, np.zeros_like(targets, dtype=bool))
    assert floors.tolist() == [0.0]
    assert factors.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(("wrong", "expected"), [(0.0, 1.0), (0.3, 1.0), (3.0, 3.0)])
def test_systematic_errors_cover_the_mean_residuals_of_groups(wrong, expected):
    rng = np.random.default_rng(0)
    cells = np.repeat(np.arange(300), 40)
    targets = (wrong * rng.normal(size=300)[cells] + 0.5 * rng.normal(size=12_000))[:, np.newaxis]
    found = Translated(np.zeros((12_000, 1)), np.ones((12_000, 1)), np.zeros((12_000, 5, 1)))
    usable = np.ones((12_000, 1), dtype=bool)
    assert inflations(found, targets, usable, cells)[0] == pytest.approx(expected, rel=0.1)


def test_groups_hold_enough_and_similar_stars():
    x = np.random.default_rng(0).normal(size=(1_800, 3))
    found = groups(x)
    sizes = np.unique(found, return_counts=True)[1]
    assert sizes.min() >= STARS_PER_CELL
    assert sizes.max() < 2 * STARS_PER_CELL
    within = np.mean([x[found == cell].std(axis=0) for cell in np.unique(found)])
    assert within < 0.7
    assert groups(x[:0]).shape == (0,)
