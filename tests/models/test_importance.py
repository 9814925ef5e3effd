"""Which inputs a translation lives on."""

import json

import numpy as np
import pytest

from models.importance import Sample, correlated_groups, importance

NAMES = ("teff", "logg", "colour", "noise")


def sample(rows=4_000):
    """Make synthetic inputs: a temperature, a gravity, a colour that repeats the temperature, and noise."""
    rng = np.random.default_rng(1)
    teff, logg, noise = rng.normal(size=(3, rows))
    return np.stack([teff, logg, -teff + 0.1 * rng.normal(size=rows), noise], axis=1), rng.choice(2**60, rows, replace=False)


def predict(inputs):
    """Give one label that is the gravity, and one made of the temperature, its colour and a little of the gravity."""
    return np.stack([3 * inputs[:, 1], inputs[:, 0] - inputs[:, 2] + 0.2 * inputs[:, 1]], axis=1)


def sample_of(source_id, inputs, reference, weight):
    return Sample(source_id, NAMES, inputs, ("one", "two"), reference, weight)


@pytest.fixture(scope="module")
def found():
    inputs, source_id = sample()
    rng = np.random.default_rng(2)
    reference = predict(inputs) + 0.1 * rng.normal(size=(len(inputs), 2))
    return importance(predict, sample_of(source_id, inputs, reference, np.full_like(reference, 100.0)), repeats=3)


def test_correlated_twins_are_one_group(found):
    assert found["groups"] == [["teff", "colour"], ["logg"], ["noise"]]


def test_an_input_that_does_all_takes_all_and_one_that_does_nothing_has_none(found):
    assert found["labels"]["one"]["share"] == [0, 1, 0]
    assert found["labels"]["one"]["rise"][1] == pytest.approx(3 * 2**0.5 - 0.1, rel=0.05)
    assert found["labels"]["one"]["rise"][2] == 0
    assert found["labels"]["two"]["share"][0] > 0.9
    assert sum(found["labels"]["two"]["share"]) == pytest.approx(1)


def test_the_rms_as_it_is_stands_beside(found):
    assert found["labels"]["one"]["rms"] == pytest.approx(0.1, rel=0.05)


def test_the_order_of_stars_has_no_influence():
    inputs, source_id = sample(500)
    reference, weight = predict(inputs), np.ones((500, 2))
    order = np.random.default_rng(9).permutation(500)
    one, two = (
        importance(predict, sample_of(source_id[at], inputs[at], reference[at], weight[at]), seed=4, repeats=2)
        for at in (np.arange(500), order)
    )
    assert one["groups"] == two["groups"]
    for label in ("one", "two"):
        assert one["labels"][label]["rise"] == pytest.approx(two["labels"][label]["rise"], rel=1e-12)


def test_another_seed_permutes_otherwise_and_the_same_seed_alike():
    inputs, source_id = sample(300)
    stars = sample_of(source_id, inputs, predict(inputs), np.ones((300, 2)))
    rises = [importance(predict, stars, seed=seed)["labels"]["one"]["rise"] for seed in (0, 0, 1)]
    assert rises[0] == rises[1]
    assert rises[0] != rises[2]


def test_heavy_stars_count_more():
    inputs, source_id = sample(1_000)
    reference = predict(inputs)
    reference[:500] += 5.0
    weight = np.ones((1_000, 2))
    weight[:500] = 0.0
    found = importance(predict, sample_of(source_id, inputs, reference, weight), repeats=1)
    assert found["labels"]["one"]["rms"] == 0


def test_missing_values_do_not_become_numbers():
    inputs, source_id = sample(300)
    inputs[::7, 1] = np.nan
    reference = predict(inputs)
    reference[:, 1] = np.nan
    found = importance(predict, sample_of(source_id, inputs, reference, np.ones((300, 2))), repeats=2)
    assert found["labels"]["one"]["rms"] == 0
    assert found["labels"]["two"] == {"rms": None, "rise": [None] * 3, "rise_error": [None] * 3, "share": [None] * 3}
    json.dumps(found, allow_nan=False)


def test_inputs_that_do_not_vary_and_too_few_stars_make_groups_of_one():
    inputs, _ = sample(50)
    inputs[:, 3] = 2.0
    assert correlated_groups(inputs) == [[0, 2], [1], [3]]
    assert correlated_groups(inputs[:2]) == [[0], [1], [2], [3]]
    assert correlated_groups(inputs[:, :1]) == [[0]]
