"""The quadratic correction of a translation."""

from dataclasses import replace

import numpy as np
import pytest

from models.baselines import baselines
from models.translation_split import TRAIN, folds, left_out
from models.translator_calibration import calibrated
from models.translator_config import debug
from models.translator_fit import common_stars, train
from models.translator_predict import translate
from models.translator_quadratic import fit_quadratic, terms, terms_of
from models.translator_rows import inputs, scaled
from tests.models.translators import common, inference, numbers, translation


def stars(rows=300, *, noise=0.0, seed=0):
    """SYNTHETIC scaled inputs, and two labels that differ by a quadratic function of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    exact = np.stack([0.5 + x[:, 0] * x[:, 1], 2 * x[:, 2] - x[:, 0] ** 2], axis=1).astype(float)
    return x, exact, exact + noise * rng.normal(size=exact.shape)


def test_terms_are_one_the_inputs_and_their_products():
    assert terms(np.array([[2.0, 3.0]], dtype=np.float32)).tolist() == [[1, 2, 3, 4, 6, 9]]
    assert [terms(np.zeros((1, inputs), dtype=np.float32)).shape[1] for inputs in (1, 6, 7)] == [3, 28, 36]
    assert [terms_of(inputs) for inputs in (1, 6, 7)] == [3, 28, 36]


def test_a_quadratic_difference_is_found_from_a_hundred_stars():
    x, _, found = stars(100, noise=0.1)
    coefficients = fit_quadratic(x, found, np.ones_like(found), np.ones(found.shape, dtype=bool))
    fresh, exact, _ = stars(seed=1)
    assert (terms(fresh) @ coefficients - exact).std() < 0.08


def test_it_is_the_ridge_that_judges_translations():
    x, _, found = stars(150, noise=0.5)
    weight = np.random.default_rng(2).uniform(0.5, 2, found.shape)
    ours = terms(x) @ fit_quadratic(x, found, weight, np.ones(found.shape, dtype=bool))
    # Its penalty acts on inputs that are scaled by their standard deviations, ours on robustly scaled ones.
    np.testing.assert_allclose(ours, baselines(x.astype(float), found, weight, x.astype(float)).correction["ridge"], atol=0.03)


def test_a_star_that_does_not_count_or_has_a_huge_error_does_not_teach():
    x, _, found = stars(200, noise=0.1)
    usable, weight = np.ones(found.shape, dtype=bool), np.ones_like(found)
    usable[:50, 0] = False
    weight[50:60, 1] = 1e-12
    spoiled = found.copy()
    spoiled[:50, 0], spoiled[50:60, 1] = 1e6, 1e3
    np.testing.assert_allclose(
        fit_quadratic(x, spoiled, weight, usable), fit_quadratic(x, found, weight, usable), rtol=0, atol=1e-6
    )


def test_a_label_without_stars_is_left_alone():
    x, _, found = stars()
    assert not fit_quadratic(x, found, np.ones_like(found), np.zeros(found.shape, dtype=bool)).any()


def test_where_networks_learn_nothing_the_quadratic_level_translates():
    # One step of next to no size: the networks stay what they are, identity.
    config = replace(debug(), epochs=1, learning_rate=1e-9)
    one = train(common(), translation(), config, seed=5)
    assert one.networks[0].calibration.level[[0, 2, 3]] == pytest.approx(1.0, abs=0.3)
    said = translate(inference(), one, realisations=20)
    moved = numbers(said, "teff_p50") - numbers(inference(), "from_teff")
    assert moved.std() > 20


def test_a_level_that_knows_its_own_stars_by_heart_does_not_seem_to_pay():
    # Fewer stars than terms: each member's level gives the stars that taught it back exactly, and others at random.
    config = replace(debug(), epochs=1, ensemble=5, smallest_sample=20)
    table = common().slice(0, 45)
    draft = train(table, translation(), config, seed=5)
    stars_ = common_stars(table, translation(), config, seed=5)
    by_heart = []
    for network in draft.networks:
        own = [stars_.measured.columns.index(name) for name in network.outputs]
        x = terms(scaled(inputs(stars_.measured.values, stars_.measured.columns, network.inputs), network.scaling)[0])
        differences = stars_.targets[:, own] - stars_.measured.values[:, own]
        quadratic = np.zeros_like(network.quadratic)
        for member, (fold, count) in enumerate(left_out(at, len(network.members)) for at in range(len(network.members))):
            taught = (stars_.part == TRAIN) & (folds(stars_.measured.source_id, seed=5, count=count) != fold)
            for k in range(len(own)):
                good = taught & stars_.usable[:, own[k]]
                assert 5 < good.sum() < x.shape[1]
                left = differences[good, k] - network.offsets[member, k]
                quadratic[member][:, k] = np.linalg.lstsq(x[good], left, rcond=None)[0]
        by_heart.append(replace(network, quadratic=quadratic))
    found = calibrated(replace(draft, networks=tuple(by_heart)), stars_)
    assert not any(network.calibration.level.any() for network in found.networks)
