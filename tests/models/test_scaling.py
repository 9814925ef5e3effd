"""Statistics of a whole table, and scaling with them."""

import json
import pickle
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

from models.features import Feature, gaia_features, matrices, value_names
from models.scaling import finish, merge, scaled, scaling_from_json, scaling_to_json, statistics

FEATURES = (Feature("m", "m", None, "photometry", reconstructed=True),)


def magnitudes(values):
    return pa.table({"source_id": np.arange(len(values)), "m": pa.array(values, from_pandas=True)})


def sky_ordered():
    """16 partitions of float32 at 1e4 +- 3, each with another mean, as sky patches have."""
    rng = np.random.default_rng(0)
    patches = [rng.normal(1e4 + 3 * rng.normal(), 1, size=500 + 30 * i).astype(np.float32) for i in range(16)]
    patches[3][::7] = np.nan
    return patches


def test_merged_statistics_are_those_of_the_whole_even_when_sky_ordered():
    patches = sky_ordered()
    merged = reduce(merge, (statistics(magnitudes(patch), FEATURES) for patch in patches))
    whole = np.concatenate(patches).astype(np.float64)
    whole = whole[np.isfinite(whole)]
    assert merged.count[0] == len(whole)
    assert merged.rows == sum(map(len, patches))
    assert merged.mean[0] == pytest.approx(whole.mean(), rel=1e-12)
    assert merged.m2[0] / len(whole) == pytest.approx(whole.var(), rel=1e-9)
    assert (merged.minimum[0], merged.maximum[0]) == (whole.min(), whole.max())


def test_quantiles_of_sky_ordered_partitions_are_those_of_the_whole():
    patches = sky_ordered()
    scaling = finish(reduce(merge, (statistics(magnitudes(patch), FEATURES) for patch in patches)))
    low, median, high = np.nanpercentile(np.concatenate(patches).astype(np.float64), [25, 50, 75])
    assert scaling.centre[0] == pytest.approx(median, abs=0.01 * (high - low))
    assert scaling.scale[0] == pytest.approx((high - low) / 1.349, rel=0.02)


def test_merging_is_associative_and_leaves_its_arguments_alone(table):
    features = gaia_features(table.schema)
    a, b, c = (statistics(table.slice(start, 70), features) for start in (0, 70, 140))
    before = pickle.dumps(a)
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    for name in ("count", "mean", "m2", "minimum", "maximum"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=1e-9)
    np.testing.assert_allclose(finish(left).centre, finish(right).centre, rtol=1e-2, atol=1e-2)
    assert pickle.dumps(a) == before


def test_an_empty_partition_changes_nothing(table):
    features = gaia_features(table.schema)
    full, empty = statistics(table, features), statistics(table.slice(0, 0), features)
    for merged in (merge(full, empty), merge(empty, full)):
        for name in ("count", "mean", "m2", "minimum", "maximum", "rows"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(full, name))


def test_statistics_pickle_to_a_small_thing(synthetic_table):
    table = synthetic_table(200, n_bp=55, n_rp=55)
    found = statistics(table, gaia_features(table.schema))
    content = pickle.dumps(found)
    assert len(content) < 400_000
    np.testing.assert_array_equal(finish(pickle.loads(content)).centre, finish(found).centre)


def test_a_partition_is_measured_in_bounded_slices(table, monkeypatch):
    features = gaia_features(table.schema)
    whole = statistics(table, features)
    monkeypatch.setattr("models.scaling.ROWS_PER_SLICE", 37)
    sliced = statistics(table, features)
    assert sliced.rows == whole.rows
    np.testing.assert_allclose(sliced.m2, whole.m2, rtol=1e-9)


def test_statistics_of_different_features_are_not_merged(table):
    with pytest.raises(ValueError, match="cannot merge"):
        merge(statistics(table, gaia_features(table.schema)), statistics(magnitudes([1.0]), FEATURES))


@pytest.mark.parametrize(
    ("values", "centre", "scale"),
    [
        ([5.0] * 9, 5.0, 1.0),
        ([5.0] * 8 + [14.0], 5.0, np.std([5.0] * 8 + [14.0])),
        ([None] * 9, 0.0, 1.0),
        ([], 0.0, 1.0),
        ([5.0], 5.0, 1.0),
    ],
)
def test_scale_falls_back_to_standard_deviation_then_to_one(values, centre, scale):
    scaling = finish(statistics(magnitudes(np.array(values, dtype=float)), FEATURES))
    assert scaling.centre[0] == pytest.approx(centre)
    assert scaling.scale[0] == pytest.approx(scale)


def test_errors_follow_values_through_the_jacobian(table):
    features = gaia_features(table.schema)
    scaling = finish(statistics(table, features))
    _, values, ivar = matrices(table, features)
    x, variance, present = scaled(values, ivar, scaling)
    z = (values - scaling.centre) / scaling.scale
    np.testing.assert_allclose(x[present], np.arcsinh(z)[present], rtol=1e-5, atol=1e-6)
    # The Jacobian by a finite difference of the transform itself.
    moved = np.arcsinh((values + 1e-3 * scaling.scale - scaling.centre) / scaling.scale)
    slope = (moved - np.arcsinh(z)) / (1e-3 * scaling.scale)
    expected = slope**2 / np.where(present, ivar, 1)
    np.testing.assert_allclose(variance[present], expected[present], rtol=5e-3)


def test_missing_values_scale_to_zero_and_never_to_nan(table):
    features = gaia_features(table.schema)
    _, values, ivar = matrices(table, features)
    x, variance, present = scaled(values, ivar, finish(statistics(table, features)))
    assert (~present).any()
    assert not x[~present].any()
    assert not variance[~present].any()
    assert np.isfinite(x).all()
    assert np.isfinite(variance).all()


def test_a_value_never_seen_stays_missing_and_is_named(table, nulled):
    features = gaia_features(table.schema)
    scaling = finish(statistics(nulled(table, "phot_g_mean_mag"), features))
    _, values, ivar = matrices(table, features)
    index = value_names(features).index("phot_g_mean_mag")
    assert not scaled(values, ivar, scaling)[2][:, index].any()
    assert scaling.never_seen == ("phot_g_mean_mag",)
    assert scaling_to_json(scaling)["never_seen"] == ["phot_g_mean_mag"]


def test_a_scaling_survives_json_exactly(table, nulled):
    scaling = finish(statistics(nulled(table, "pmra"), gaia_features(table.schema)))
    text = json.dumps(scaling_to_json(scaling), allow_nan=False)
    found = scaling_from_json(json.loads(text))
    assert found.features == scaling.features
    for name in ("count", "mean", "std", "minimum", "maximum", "centre", "scale"):
        np.testing.assert_array_equal(getattr(found, name), getattr(scaling, name))
