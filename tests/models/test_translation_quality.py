"""How good a translation is, and whether ours beats doing nothing and a quadratic ridge on synthetic stars."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.importance import importances
from models.translation import TRANSLATIONS
from models.translation_judges import METHODS, OURS, judged
from models.translation_quality import coverage, quality, statistics
from models.translation_split import TEST, split
from models.translator_config import debug, small
from models.translator_fit import train
from models.translator_predict import translate
from models.translator_stars import common_stars
from tests.models.judges import judges
from tests.models.pairs import pairs

NAME = "galah_dr3_on_apogee_dr17"
# Stars of the training split, at least.
TRAINED = 6_000
LABELS = ("teff", "logg", "metallicity", "mg_fe", "velocity")


def test_figures_of_residuals_are_those_of_their_distribution():
    rng = np.random.default_rng(0)
    residual = 0.2 + 0.5 * rng.normal(size=20_000)
    residual[:20] = 1e3
    weight = np.where(np.arange(20_000) < 20, 1e-12, 1.0)
    found = statistics(residual, weight)
    assert found["n"] == 20_000
    assert found["bias"] == pytest.approx(0.2, abs=0.02)
    assert found["bias_error"] == pytest.approx(0.5 / 20_000**0.5, rel=0.02)
    assert found["median"] == pytest.approx(0.2, abs=0.02)
    assert found["scatter"] == pytest.approx(0.5, rel=0.03)
    assert found["rms"] == pytest.approx(np.hypot(0.5, 0.2), rel=0.03)
    assert found["sigma"] > 20


def test_the_error_of_the_bias_is_that_of_repeated_samples():
    rng = np.random.default_rng(1)
    error = np.where(rng.random((400, 200)) < 0.5, 0.1, 1.0)
    residual = error * rng.normal(size=error.shape)
    found = [statistics(one, 1 / e**2) for one, e in zip(residual, error, strict=True)]
    assert np.mean([one["bias_error"] for one in found]) == pytest.approx(np.std([one["bias"] for one in found]), rel=0.1)


def test_too_few_stars_give_no_figure_instead_of_nan():
    for rows in (0, 1):
        found = statistics(np.zeros(rows), np.ones(rows))
        assert found.pop("n") == rows
        assert set(found.values()) == {None}
    json.dumps(quality([judges(rows=0)]), allow_nan=False)
    json.dumps(quality([judges(rows=5)]), allow_nan=False)


def test_right_percentiles_cover_what_they_promise_and_wrong_ones_do_not():
    one = judges(rows=20_000)
    found = coverage(one)
    assert found["p16_p84"] == pytest.approx(0.68, abs=0.012)
    assert found["truth_p16_p84"] == pytest.approx(0.68, abs=0.012)
    assert found["p05_p95"] == pytest.approx(0.90, abs=0.012)
    assert found["truth_p05_p95"] == pytest.approx(0.90, abs=0.012)
    middle = one.percentiles[:, [2]]
    narrow = replace(one, percentiles=middle + 0.5 * (one.percentiles - middle))
    assert coverage(narrow)["truth_p16_p84"] < 0.4
    # The noise of the base hides a part of it, but not all.
    assert coverage(narrow)["p16_p84"] < 0.55


def test_stars_of_which_the_base_knows_no_error_do_not_enter_the_coverage():
    one = judges()
    far = one.reference.copy()
    far[::2] = 99.0
    unknown = one.reference_error.copy()
    unknown[::2] = np.nan
    assert coverage(replace(one, reference=far, reference_error=unknown))["p16_p84"] == pytest.approx(0.68, abs=0.03)
    none = coverage(replace(one, reference_error=np.full(len(one), np.nan), truth=None))
    assert set(none.values()) == {None}


def test_bins_and_slopes_tell_the_methods_apart():
    found = quality([judges()])["metallicity"]
    assert found["untranslated"] == 7
    nothing, ridge, ours = (found["methods"][method] for method in METHODS)
    assert nothing["bins"]["all"]["bias"] == pytest.approx(0.3, abs=0.02)
    assert abs(ridge["bins"]["all"]["bias"]) < 0.02
    assert nothing["slope"] == pytest.approx(0.5, abs=0.03)
    assert abs(ours["slope"]) < 0.03
    bins = ours["bins"]
    cut = ("metallicity > -0.5", "-1 < metallicity <= -0.5", "metallicity <= -1")
    assert sum(bins[name]["n"] for name in cut) == bins["all"]["n"] == 4_000
    assert bins["giants (log g < 3.5)"]["n"] + bins["dwarfs (log g >= 3.5)"]["n"] == 4_000
    assert [len(one["deciles"]) for one in (nothing, ours)] == [10, 10]


@pytest.fixture(scope="module")
def quick():
    """A translator trained for a moment, and its stars."""
    made = pairs(1_500, 3, NAME)
    return made, train(made.table, TRANSLATIONS[NAME], debug(), seed=5)


def test_only_stars_of_the_test_split_judge_and_all_methods_judge_the_same_ones(quick):
    made, translator = quick
    stars = common_stars(made.table, translator.translation, translator.config, seed=5)
    test = set(stars.measured.source_id[stars.part == TEST].tolist())
    found = judged(made.table, translator, realisations=20, truth=made.truth)
    assert tuple(one.name for one in found) == LABELS
    for one in found:
        assert 100 < len(one) <= len(test)
        assert set(one.source_id.tolist()) <= test
        assert all(len(values) == len(one) and np.isfinite(values).all() for values in one.estimates.values())
    of_all = dict(zip(made.table["source_id"].to_numpy().tolist(), made.truth["teff"], strict=True))
    assert found[0].truth.tolist() == [of_all[star] for star in found[0].source_id.tolist()]


def test_the_order_of_the_table_has_no_influence_on_the_figures(quick):
    made, translator = quick
    order = np.random.default_rng(0).permutation(made.table.num_rows)
    one, two = (quality(judged(table, translator, realisations=20)) for table in (made.table, made.table.take(order)))
    for label in LABELS:
        for method in METHODS:
            first, second = (found[label]["methods"][method]["bins"]["all"] for found in (one, two))
            assert first == pytest.approx(second, rel=1e-6)


def test_importance_is_measured_on_each_network(quick):
    made, translator = quick
    labels = judged(made.table, translator, realisations=20)
    found = importances(labels, made.table, translator, repeats=2)
    json.dumps(found, allow_nan=False)
    whole = found["intrinsic"]["labels"]
    assert ["teff", "bp_g", "g_rp"] in whole["groups"]
    for label in ("logg", "metallicity"):
        own = whole["groups"].index([label])
        assert whole["labels"][label]["share"][own] > 0.5
    velocity = found["extrinsic"]["labels"]
    assert velocity["labels"]["velocity"]["share"][velocity["groups"].index(["velocity"])] > 0.9
    # Without its own value to lose, a label depends on the correction alone.
    assert found["extrinsic"]["correction"]["labels"]["velocity"]["rms"] == velocity["labels"]["velocity"]["rms"]
    assert max(found["extrinsic"]["correction"]["labels"]["velocity"]["rise"]) < max(velocity["labels"]["velocity"]["rise"])


@pytest.fixture(scope="module")
def trained():
    """A translator with four of the ten networks of the default preset, trained on 12,000 synthetic pairs."""
    made = pairs(12_000, 1, NAME)
    return made, train(made.table, TRANSLATIONS[NAME], replace(small(), ensemble=4), seed=0)


@pytest.fixture(scope="module")
def stars_that_judge(trained):
    made, translator = trained
    return {one.name: one for one in judged(made.table, translator, truth=made.truth)}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("label", LABELS)
def test_translated_labels_scatter_less_than_untranslated_and_ridged_ones_without_bias(stars_that_judge, label):
    one = stars_that_judge[label]
    found = {method: held["bins"]["all"] for method, held in quality([one])[label]["methods"].items()}
    ours = found[OURS]
    assert ours["n"] > 1_000
    for baseline in ("nothing", "ridge"):
        assert ours["scatter"] <= found[baseline]["scatter"], baseline
        # All five differences bend between the synthetic surveys. Star by star, the gain is no chance: four standard errors.
        theirs, mine = (np.abs(one.estimates[method] - one.reference) for method in (baseline, OURS))
        gain = np.clip(theirs - mine, -3 * found[baseline]["scatter"], 3 * found[baseline]["scatter"])
        assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain)), baseline
    # Three, because there are five labels; the mean that the training stars taught has an error of its own.
    assert abs(ours["bias"]) <= 3 * ours["bias_error"] * np.sqrt(1 + ours["n"] / TRAINED)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("label", LABELS)
def test_percentiles_of_stars_never_seen_cover_the_truth_as_they_promise_around_an_unbiased_median(trained, unseen, label):
    truth, said, usable = unseen
    at = usable[label]
    low, middle, high = (said[f"{label}_p{percent}"].to_numpy(zero_copy_only=False)[at] for percent in (16, 50, 84))
    inside = (truth[label][at] >= low) & (truth[label][at] <= high)
    assert at.sum() > 4_000
    assert inside.mean() == pytest.approx(0.68, abs=0.02)
    error = middle - truth[label][at]
    assert abs(error.mean()) <= 3 * error.std() * np.sqrt(1 / at.sum() + 1 / TRAINED)


@pytest.fixture(scope="module")
def unseen(trained):
    """Other synthetic stars, so many that chance moves the coverage by less than 0.01: truth, translation, who may judge."""
    made = pairs(6_000, 101, NAME)
    translator = trained[1]
    stars = common_stars(made.table, translator.translation, translator.config, seed=0)
    ids = made.table["source_id"].to_numpy()
    usable = {name: np.isin(ids, stars.measured.source_id[stars.usable[:, at]]) for at, name in enumerate(LABELS)}
    return made.truth, translate(made.table, translator), usable


def test_splits_are_those_of_the_training(quick):
    made, translator = quick
    stars = common_stars(made.table, translator.translation, translator.config, seed=translator.seed)
    own = {name: stars.measured.values[:, stars.measured.columns.index(name)] for name in ("metallicity", "logg")}
    again = split(stars.measured.source_id, own["metallicity"], own["logg"], seed=translator.seed)
    assert np.array_equal(again, stars.part)
