"""Which stars a translation is trained to translate."""

from itertools import combinations

import numpy as np
import pytest
import safetensors.numpy
from scipy.spatial import cKDTree

from models.domain import NEIGHBOURS, domain_from, fit_domain


def sample(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make synthetic inputs of giants and dwarfs, thin and thick disc, and the outputs of four of them."""
    rng = np.random.default_rng(seed)
    thin, giant, clump = rng.random((3, rows)) < [[0.8], [0.45], [0.4]]
    metallicity = np.where(thin, rng.normal(-0.1, 0.22, rows), rng.normal(-0.75, 0.4, rows))
    mg_fe = np.where(thin, 0.05 - 0.1 * metallicity, 0.27) + rng.normal(0, 0.04, rows)
    branch = np.where(clump, rng.normal(2.45, 0.08, rows), rng.uniform(0.8, 3.6, rows))
    logg = np.where(giant, branch, rng.normal(4.3, 0.2, rows))
    cool = 4_000 + 380 * logg - 250 * metallicity + rng.normal(0, 70, rows)
    teff = np.where(giant, cool, rng.normal(5_850, 420, rows).clip(4_000))
    bp_g = 0.33 * (5_040 / teff) ** 2.2 + rng.normal(0, 0.02, rows)
    g_rp = 0.55 * (5_040 / teff) ** 1.6 + rng.normal(0, 0.015, rows)
    inputs = np.stack([teff, logg, metallicity, mg_fe, bp_g, g_rp], axis=1)
    return inputs, inputs[:, :4] + rng.normal(0, [60, 0.08, 0.05, 0.03], (rows, 4))


@pytest.fixture(scope="module")
def train():
    return sample(13_650, 0)


@pytest.fixture(scope="module")
def domain(train):
    return fit_domain(*train)


def inside(domain, inputs):
    """Return the shares that either guard accepts: score, pairs."""
    return (domain.score(inputs) <= 1).mean(), (~domain.input_pairs_outside(inputs).any(axis=1)).mean()


def test_every_training_star_is_covered_by_both_guards(domain, train):
    inputs, outputs = train
    assert inside(domain, inputs) == (1, 1)
    assert not domain.outputs_outside(outputs).any()
    single = fit_domain(inputs, outputs[:, :1])
    assert not single.outputs_outside(outputs[:, :1]).any()


def test_a_lonely_training_star_is_covered_and_what_lies_near_it_is_not(train):
    inputs, outputs = (one.copy() for one in train)
    inputs[7] = [9_000, -0.5, -5, 1.5, 3.0, 3.0]
    domain = fit_domain(inputs, outputs)
    assert domain.score(inputs[7:8]) == 0
    assert domain.score(inputs[7:8] * 1.05) > 1


def test_the_holder_of_a_maximum_is_inside_and_one_beyond_it_is_not(domain, train):
    inputs, _ = train
    for column in range(inputs.shape[1]):
        highest = inputs[[inputs[:, column].argmax()]].copy()
        assert not domain.input_pairs_outside(highest).any()
        highest[0, column] = np.nextafter(highest[0, column], np.inf)
        touched = [column in pair for pair in combinations(range(inputs.shape[1]), 2)]
        assert domain.input_pairs_outside(highest)[0].tolist() == touched


def test_the_score_is_stricter_than_pairs_with_shuffled_columns_and_milder_with_new_stars(domain, train):
    fresh = sample(13_650, 1)[0]
    rng = np.random.default_rng(5)
    shuffled = np.stack([rng.permutation(column) for column in train[0].T], axis=1)
    (fresh_score, fresh_pairs), (_, shuffled_pairs) = inside(domain, fresh), inside(domain, shuffled)
    assert fresh_score > 0.99 > 0.97 > fresh_pairs
    # A shuffled row may well look like a star. At the price in new stars that pairs take, the score lets half as many through.
    limit = np.quantile(domain.score(fresh), fresh_pairs)
    assert (domain.score(shuffled) <= limit).mean() < 0.6 * shuffled_pairs


def test_shuffled_rows_that_resemble_no_training_star_pass_the_pairs_far_more_often(domain, train):
    rng = np.random.default_rng(6)
    shuffled = np.stack([rng.permutation(column) for column in train[0].T], axis=1)
    nearest = domain.stars
    standard = (shuffled - domain.centre) @ domain.axes
    tree = cKDTree(nearest)
    far = tree.query(standard)[0] > np.quantile(tree.query(nearest, k=[2])[0], 0.99)
    by_score, by_pairs = inside(domain, shuffled[far])
    assert far.mean() > 0.5
    assert by_score < 0.5 * by_pairs


def test_the_score_grows_away_from_the_training_stars(domain, train):
    away = np.repeat(train[0][:1], 5, axis=0)
    away[:, 2] = [-3, -4, -5, -6, -7]
    assert (np.diff(domain.score(away)) > 0).all()
    assert domain.score(away)[0] > 1


def test_a_missing_input_has_no_score_and_lies_outside_its_own_pairs_only(domain, train):
    inputs = train[0][:4].copy()
    inputs[1, 3], inputs[2, 0] = np.nan, np.inf
    assert np.isnan(domain.score(inputs)).tolist() == [False, True, True, False]
    pairs = list(combinations(range(6), 2))
    assert domain.input_pairs_outside(inputs)[1].tolist() == [3 in pair for pair in pairs]
    assert np.isnan(domain.score(np.full((2, 6), np.nan))).all()
    assert domain.score(np.zeros((0, 6))).shape == (0,)


def test_the_guard_of_a_single_output_can_say_no(train):
    inputs, outputs = train
    velocity = np.linspace(-300, 300, len(inputs))[:, np.newaxis]
    domain = fit_domain(inputs, velocity)
    found = domain.outputs_outside(np.array([[0.0], [-300.0], [300.0], [301.0], [np.nan]]))
    assert found.tolist() == [[False], [False], [False], [True], [True]]


def test_a_pair_of_outputs_between_populations_is_outside_though_either_is_common(domain):
    # A giant's gravity at a hot dwarf's temperature.
    found = domain.outputs_outside(np.array([[6_500.0, 1.0, -0.1, 0.05]]))
    assert found[0, 0]
    assert found.shape == (1, 6)


def test_stars_with_a_missing_input_teach_the_pairs_of_their_others(train):
    inputs, outputs = (one.copy() for one in train)
    inputs[0] = [20_000, 9.0, np.nan, 0, 1, 1]
    domain = fit_domain(inputs, outputs)
    outside = dict(zip(combinations(range(6), 2), domain.input_pairs_outside(inputs[:1])[0], strict=True))
    assert not outside[0, 1]
    assert outside[0, 2]
    assert len(domain.stars) == len(inputs) - 1


def test_a_domain_survives_its_arrays_bit_for_bit_and_batches_do_not_matter(domain, train, tmp_path):
    path = tmp_path / "domain.safetensors"
    safetensors.numpy.save_file(domain.arrays(), path)
    back = domain_from(safetensors.numpy.load_file(path))
    fresh, outputs = sample(500, 2)
    assert np.array_equal(back.score(fresh), domain.score(fresh))
    assert np.array_equal(back.input_pairs_outside(fresh), domain.input_pairs_outside(fresh))
    assert np.array_equal(back.outputs_outside(outputs), domain.outputs_outside(outputs))
    parts = np.concatenate([domain.score(part) for part in np.array_split(fresh, 7)])
    assert np.array_equal(parts, domain.score(fresh))
    single = fit_domain(train[0], train[1][:, :1])
    assert domain_from(single.arrays()).outputs_outside(outputs[:, :1]).shape == (500, 1)


def test_inputs_that_do_not_vary_or_depend_on_each_other_do_not_break_the_score(train):
    inputs = np.column_stack([train[0], np.full(len(train[0]), 3.0), train[0][:, 0] / 2])
    domain = fit_domain(inputs, train[1])
    assert (domain.score(inputs[:500]) <= 1).all()
    moved = inputs[:1].copy()
    moved[0, 6] = 4.0
    assert domain.score(moved) > 1


def test_what_cannot_be_fitted_or_scored_is_refused(domain, train):
    inputs, outputs = train
    with pytest.raises(ValueError, match=f"found {NEIGHBOURS} training stars with all 6 inputs"):
        fit_domain(inputs[:NEIGHBOURS], outputs[:NEIGHBOURS])
    with pytest.raises(ValueError, match="output 3 of 4 is missing in all"):
        fit_domain(inputs, np.where([False, False, False, True], np.nan, outputs))
    with pytest.raises(ValueError, match=r"found inputs of shape \(3, 5\), expected \(B, 6\)"):
        domain.score(inputs[:3, :5])
    with pytest.raises(ValueError, match="lacks the arrays spacing"):
        domain_from({name: array for name, array in domain.arrays().items() if name != "spacing"})
