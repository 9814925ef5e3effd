"""Right matches pass; scrambled ones, shifted by a row or in part another star's, are found by physics."""

import numpy as np
import pytest

from lake.declaration import Relation
from lake.relation import LEAST_ROWS, Sample, few, judge

KS = Relation("ks", against=("g", ("bp", "rp")), tolerance=0.5, outliers=0.05)
TEFF = Relation("teff", against=(("bp", "rp"),), tolerance=500.0, outliers=0.15)


def stars(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return SYNTHETIC ids, G, BP - RP and Ks of reddened stars, of which 2 % are odd."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.integers(1, 1 << 60, rows))
    colour = rng.gamma(4.0, 0.3, rows) + 0.3
    bright = 17.0 + np.log(rng.random(rows)) / 0.45
    ks = bright - (-0.0981 + 2.089 * colour - 0.1579 * colour**2) + rng.normal(0, 0.09, rows)
    ks[rng.random(rows) < 0.02] += 1.5
    return ids, bright, colour, ks


def sample(relation: Relation, value: np.ndarray, *against: np.ndarray) -> Sample:
    ids = np.arange(1, len(value) + 1) << 40
    return Sample(ids, value, np.stack(against, axis=1), len(value))


@pytest.mark.parametrize("rows", [80, 400, 20_000])
def test_right_pairs_are_sound(rows):
    _, bright, colour, ks = stars(rows)
    verdict = judge(KS, sample(KS, ks, bright, colour))
    assert verdict["sound"]
    assert verdict["rows"] == rows
    assert verdict["share"] <= 0.05
    assert verdict["scatter"] < 0.5


@pytest.mark.parametrize(
    ("damage", "rows"),
    [(what, n) for what in ("scrambled", "shifted by a row") for n in (80, 400, 20_000)]
    + [("in part", 400), ("in part", 20_000)],
)
def test_wrong_pairs_are_found(rows, damage):
    _, bright, colour, ks = stars(rows)
    rng = np.random.default_rng(2)
    if damage == "scrambled":
        ks = rng.permutation(ks)
    elif damage == "shifted by a row":
        ks = np.roll(ks, 1)
    else:
        some = rng.random(rows) < 0.25
        ks[some] = rng.permutation(ks[some])
    assert judge(KS, sample(KS, ks, bright, colour))["sound"] is False


def test_stars_all_of_one_brightness_do_not_hide_that_they_are_scrambled():
    _, _, colour, _ = stars(3000)
    rng = np.random.default_rng(3)
    teff = 5040 / (0.5 + 0.45 * colour) + rng.normal(0, 80, len(colour))
    assert judge(TEFF, sample(TEFF, teff, colour))["sound"]
    assert judge(TEFF, sample(TEFF, rng.permutation(teff), colour))["sound"] is False


def test_a_handful_of_rows_is_not_judged_and_the_record_says_so():
    _, bright, colour, ks = stars(LEAST_ROWS - 1)
    verdict = judge(KS, sample(KS, ks, bright, colour))
    assert verdict["sound"] is None
    assert verdict["rows"] == LEAST_ROWS - 1


def test_the_worst_rows_are_named():
    _, bright, colour, ks = stars(500)
    ks[123] += 9.0
    verdict = judge(KS, sample(KS, ks, bright, colour))
    assert verdict["worst"][0].startswith(f"source_id {124 << 40}: ")


def test_one_file_of_scrambled_rows_among_many_is_found():
    _, bright, colour, ks = stars(20_000)
    ks[400:600] = np.random.default_rng(5).permutation(ks[400:600])
    whole = sample(KS, ks, bright, colour)
    files = [
        Sample(*(part[at : at + 200] for part in (whole.ids, whole.value, whole.against)), 200) for at in range(0, 20_000, 200)
    ]
    assert judge(KS, whole)["sound"]
    verdict = judge(KS, whole, files)
    assert verdict["sound"] is False
    assert verdict["odd_files"] == [401 << 40]


@pytest.mark.parametrize("seed", range(40))
def test_few_right_rows_of_a_weak_relation_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    colour = rng.gamma(4.0, 0.3, 60)
    teff = 5000 - 300 * colour + rng.normal(0, 300, 60)
    assert (
        judge(Relation("teff", against=("bp",), tolerance=900.0, scatter=0.9), sample(TEFF, teff, colour))["sound"] is not False
    )


def test_rows_that_no_relation_of_this_strength_could_tell_are_not_called_sound():
    rng = np.random.default_rng(1)
    colour = rng.gamma(4.0, 0.3, 60)
    weak = Relation("teff", against=("bp",), tolerance=900.0, scatter=0.98)
    assert judge(weak, sample(weak, rng.normal(5000, 300, 60), colour))["sound"] is None


def test_a_column_of_one_value_says_nothing_of_its_stars_and_does_not_pass():
    _, bright, colour, _ = stars(3000)
    verdict = judge(KS, sample(KS, np.full(3000, 12.0), bright, colour))
    assert (verdict["sound"], verdict["scatter"]) == (False, 1.0)


def test_values_rounded_to_a_few_steps_are_no_likelier_to_pass_when_scrambled():
    _, bright, colour, ks = stars(3000)
    coarse = np.round(2 * ks) / 2
    assert judge(KS, sample(KS, coarse, bright, colour))["sound"]
    assert judge(KS, sample(KS, np.random.default_rng(1).permutation(coarse), bright, colour))["sound"] is False


@pytest.mark.parametrize("most", [20_000, 5_000, 500])
def test_rows_chosen_from_many_are_judged_like_all_of_them(most):
    ids, bright, colour, ks = stars(50_000)
    some = few(Sample(ids, ks, np.stack([bright, colour], axis=1), len(ids)), most)
    assert (len(some.ids), some.rows) == (most, 50_000)
    assert judge(KS, some)["sound"]
    wrong = np.random.default_rng(1).permutation(ks)
    assert judge(KS, few(Sample(ids, wrong, np.stack([bright, colour], axis=1), len(ids)), most))["sound"] is False


@pytest.mark.parametrize("rows", [90, 150, 300])
def test_a_weak_relation_tells_right_from_scrambled_as_soon_as_it_judges(rows):
    weak = Relation("age", against=("alpha",), tolerance=2.0, scatter=0.9)
    right, wrong = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        alpha = rng.normal(0, 1, rows)
        age = 0.8 * alpha + rng.normal(0, 0.6, rows)
        right.append(judge(weak, sample(weak, age, alpha))["sound"])
        wrong.append(judge(weak, sample(weak, rng.permutation(age), alpha))["sound"])
    assert right == [True] * 60
    assert wrong.count(False) >= 55
