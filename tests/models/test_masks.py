"""Draws by hashing."""

from dataclasses import replace

import numpy as np
import pytest

from models.config import debug
from models.features import gaia_features, value_names, xp_values
from models.masks import held_out, splitmix64, text_key, training_mask, uniform, validation_mask, xp_half

IDS = np.random.default_rng(1).choice(2**62, 4000, replace=False)


@pytest.fixture(scope="module")
def features(table):
    return gaia_features(table.schema)


def test_splitmix64_gives_the_published_sequence():
    # The first outputs of the reference implementation for seed 1234567 (prng.di.unimi.it/splitmix64.c).
    states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(states).tolist() == expected


def test_names_hash_to_the_same_key_in_every_process():
    assert text_key("phot_g_mean_mag") == 5735524456279224624


def test_draws_are_uniform_and_streams_are_independent():
    first, second = uniform(3, IDS), uniform(4, IDS)
    assert np.histogram(first, bins=10, range=(0, 1))[0] == pytest.approx(400, abs=80)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_masks_do_not_depend_on_partitioning_or_order(features):
    whole = training_mask(IDS, features, debug(), seed=5, epoch=2)
    shuffle = np.random.default_rng(0).permutation(len(IDS))
    np.testing.assert_array_equal(training_mask(IDS[shuffle], features, debug(), seed=5, epoch=2), whole[shuffle])
    parts = [training_mask(part, features, debug(), seed=5, epoch=2) for part in np.array_split(IDS, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_masks_of_a_feature_do_not_depend_on_the_other_features(features):
    whole = training_mask(IDS, features, debug(), seed=5, epoch=2)
    fewer = training_mask(IDS, features[::-1][:9], debug(), seed=5, epoch=2)
    by_name = dict(zip(value_names(features), whole.T, strict=True))
    for name, drawn in zip(value_names(features[::-1][:9]), fewer.T, strict=True):
        np.testing.assert_array_equal(drawn, by_name[name])


@pytest.mark.parametrize("other", [{"seed": 6, "epoch": 2}, {"seed": 5, "epoch": 3}])
def test_masks_change_with_seed_and_with_epoch(features, other):
    mask = training_mask(IDS, features, debug(), seed=5, epoch=2)
    assert (mask != training_mask(IDS, features, debug(), **other)).mean() > 0.1


def test_validation_masks_are_fixed_and_differ_from_training_masks(features):
    fixed = validation_mask(IDS, features, debug(), seed=5)
    np.testing.assert_array_equal(fixed, validation_mask(IDS, features, debug(), seed=5))
    assert all((fixed != training_mask(IDS, features, debug(), seed=5, epoch=epoch)).mean() > 0.1 for epoch in range(3))


@pytest.mark.parametrize("mode", ["hide_xp", "hide_bp", "hide_rp", "hide_spans", "hide_scattered", "none"])
def test_each_mode_hides_what_its_name_says(features, mode):
    nothing = dict.fromkeys(("hide_xp", "hide_bp", "hide_rp", "hide_spans", "hide_scattered"), 0.0)
    config = replace(debug(), hide_scalar=0.0, **(nothing if mode == "none" else nothing | {mode: 1.0}))
    mask = training_mask(IDS, features, config, seed=0, epoch=0)
    bp, rp = mask[:, :6], mask[:, 6:11]
    assert not mask[:, 11:].any()
    if mode in ("hide_xp", "hide_bp", "hide_rp", "none"):
        assert (bp == (mode in ("hide_xp", "hide_bp"))).all()
        assert (rp == (mode in ("hide_xp", "hide_rp"))).all()
    elif mode == "hide_spans":
        for band in (bp, rp):
            edges = np.diff(np.pad(band.astype(int), ((0, 0), (1, 1))), axis=1)
            assert ((edges == 1).sum(axis=1) == 1).all()
            assert band.sum(axis=1).min() >= 1
            assert band.sum(axis=1).max() <= 1 + band.shape[1] // 2
    else:
        assert mask[:, :11].mean(axis=0) == pytest.approx(0.5, abs=0.05)


def test_shares_of_hidden_values_follow_the_config(features):
    config = replace(debug(), hide_xp=0.2, hide_bp=0.3, hide_rp=0.1, hide_spans=0, hide_scattered=0)
    mask = training_mask(IDS, features, config, seed=0, epoch=0)
    assert mask[:, 0].mean() == pytest.approx(0.5, abs=0.03)
    assert mask[:, 6].mean() == pytest.approx(0.3, abs=0.03)
    assert mask[:, 11:].mean(axis=0) == pytest.approx(config.hide_scalar, abs=0.03)


def test_one_source_in_ten_is_held_out_whatever_the_seed_and_a_smaller_share_is_nested():
    ten, one = held_out(IDS, 0.1), held_out(IDS, 0.01)
    assert ten.mean() == pytest.approx(0.1, abs=0.02)
    assert ten[one].all()
    assert one.any()


def test_xp_halves_split_xp_only(features):
    half = xp_half(IDS, features, seed=1)
    xp = xp_values(features)
    assert not half[:, ~xp].any()
    assert half[:, xp].mean(axis=0) == pytest.approx(0.5, abs=0.05)
