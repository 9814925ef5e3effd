"""Right matches pass; scrambled ones, shifted by a row or in part another star's, are found by physics."""

import numpy as np
import pytest

from lake.declaration import Relation
from lake.verify import LEAST_ROWS, Sample, judge

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
