"""From an Arrow table to the matrices of a translation."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from models.translation import TRANSLATIONS, Cut
from models.translator_rows import (
    density_weights,
    input_scaling,
    inputs,
    measured,
    networks_of,
    passes,
    require_known,
    said,
    scaled,
    targets,
)
from tests.models.translators import LABELS, common, emptied, inference, put, translation


def test_labels_and_magnitudes_come_in_order_with_their_errors():
    found = measured(inference(), translation())
    assert found.columns == (*LABELS, "phot_bp_mean_mag", "phot_g_mean_mag", "phot_rp_mean_mag")
    assert found.source_id.tolist() == inference()["source_id"].to_pylist()
    assert found.values[:, 2].tolist() == inference()["from_fe_h"].to_pylist()
    assert found.errors[:, 4].tolist() == inference()["from_radial_velocity_error"].to_pylist()


@pytest.mark.parametrize("column", ["source_id", "from_logg", "from_logg_error", "phot_g_mean_mag", "phot_rp_mean_mag_error"])
def test_a_column_that_is_not_there_is_named(column):
    with pytest.raises(ValueError, match=f"lacks column '{column}'"):
        measured(inference().drop_columns([column]), translation())


def test_a_target_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="lacks column 'to_m_h'"):
        targets(common().drop_columns(["to_m_h"]), translation())


def test_a_column_of_words_is_refused():
    words = inference().drop_columns(["from_logg"]).append_column("from_logg", pa.array(["4.4"] * inference().num_rows))
    with pytest.raises(ValueError, match="'from_logg' is string, expected numbers"):
        measured(words, translation())


def test_ids_that_went_through_float_are_refused():
    ids = pa.array(inference()["source_id"].to_numpy().astype(float))
    with pytest.raises(ValueError, match="source_id is double"):
        measured(inference().set_column(0, "source_id", ids), translation())


def test_nulls_sentinels_and_labels_no_star_has_are_missing():
    table = put(inference(), "from_teff", [None, float("nan"), -9999.0, 12_000.0, 5000.0] + [5000.0] * 295)
    found = measured(table, translation())
    assert np.isnan(found.values[:, 0]).tolist() == [True] * 4 + [False] * 296
    # The error of nothing is none.
    assert np.isnan(found.errors[:4, 0]).all()


def test_a_negative_error_is_missing():
    errors = [-1.0, 0.0] + [0.1] * 298
    found = measured(put(inference(), "from_logg_error", errors), translation())
    assert np.isnan(found.errors[0, 1])
    assert found.errors[1, 1] == 0.0


def test_inputs_hold_colours_in_place_of_magnitudes_for_any_leading_shape():
    found = measured(inference(), translation())
    names = networks_of(translation())["extrinsic"][0]
    x = inputs(found.values, found.columns, names)
    assert names == ("teff", "logg", "metallicity", "mg_fe", "bp_g", "g_rp", "velocity")
    np.testing.assert_array_equal(x[:, 4], found.values[:, 5] - found.values[:, 6])
    np.testing.assert_array_equal(x[:, 5], found.values[:, 6] - found.values[:, 7])
    stacked = np.stack([found.values, found.values + 1])
    np.testing.assert_array_equal(inputs(stacked, found.columns, names)[0], x)


def test_a_missing_magnitude_takes_only_its_colours():
    found = measured(emptied(inference(), "phot_bp_mean_mag"), translation())
    x = inputs(found.values, found.columns, networks_of(translation())["intrinsic"][0])
    assert np.isnan(x).any(axis=0).tolist() == [False, False, False, False, True, False]


def test_a_translation_without_velocity_has_one_network():
    some = replace(translation(), labels=translation().labels[:3])
    assert networks_of(some) == {
        "intrinsic": (("teff", "logg", "metallicity", "bp_g", "g_rp"), ("teff", "logg", "metallicity")),
    }
    require_known(some)


@pytest.mark.parametrize("order", [(1, 0), (4,), (), (4, 0)])
def test_labels_in_another_order_are_refused(order):
    labels = tuple(translation().labels[at] for at in order)
    with pytest.raises(ValueError, match="its labels are .*expected some of"):
        require_known(replace(translation(), labels=labels))


def test_scaled_inputs_are_of_order_one_hold_no_nan_and_stay_within_the_training():
    values = np.random.default_rng(0).normal(5000, 300, (400, 2))
    values[0, 1] = np.nan
    scaling = input_scaling(values)
    x, present = scaled(values, scaling)
    assert np.isfinite(x).all()
    assert x[0, 1] == 0.0
    assert present.sum() == 799
    assert np.abs(np.median(x, axis=0)).max() < 0.01
    assert np.std(x, axis=0) == pytest.approx([1, 1], abs=0.15)
    far, _ = scaled(np.array([[1e9, -1e9]]), scaling)
    assert far[0, 0] == pytest.approx(x[:, 0].max())
    assert far[0, 1] == pytest.approx(x[:, 1].min())


def test_an_input_that_no_star_has_is_refused():
    with pytest.raises(ValueError, match="input 1 of 2 is missing in all 9 training stars"):
        input_scaling(np.stack([np.arange(9.0), np.full(9, np.nan)], axis=1))


def test_lonely_stars_weigh_more_up_to_a_cap():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (500, 3)), rng.normal(30, 5, (12, 3))]).astype(np.float32)
    weights = density_weights(x, neighbours=10, power=0.5, cap=10.0)
    assert weights.min() == 1.0
    assert weights[500:].min() == weights.max() == 10.0
    assert np.median(weights[:500]) < 2
    assert set(density_weights(x, neighbours=10, power=0.0, cap=10.0).tolist()) == {1.0}


def test_a_null_passes_no_cut():
    table = pa.table({"from_snr": [10.0, 30.0, None], "to_flag": pa.array([0, 4, None], pa.int64())})
    assert passes(table, Cut("from", "snr", low=30.0)).tolist() == [False, True, False]
    assert passes(table, Cut("from", "snr", high=20.0)).tolist() == [True, False, False]
    assert passes(table, Cut("to", "flag", bits=4)).tolist() == [True, False, False]
    assert passes(table, Cut("to", "flag", bits=3)).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="lacks column 'to_snr'"):
        passes(table, Cut("to", "snr", low=1.0))


def test_a_cut_can_ask_for_a_word():
    table = pa.table({"from_label_origin": ["lamost_dr8", "lamost_hotpayne", None], "from_snr": [1.0, 2.0, 3.0]})
    assert passes(table, Cut("from", "label_origin", only="lamost_dr8")).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="column 'from_snr' is double, expected words"):
        passes(table, Cut("from", "snr", only="lamost_dr8"))


def test_labels_that_replace_lamosts_own_teach_no_translation_of_them():
    asked = {cut.column: cut for cut in TRANSLATIONS["lamost_dr8_on_apogee_dr17"].cuts}
    assert (asked["label_origin"].side, asked["label_origin"].only) == ("from", "lamost_dr8")
    assert asked["label_origin"].labels == ("teff", "logg", "metallicity", "mg_fe")


def test_a_high_bit_survives():
    table = pa.table({"to_flag": pa.array([2**62 + 1, 2**62], pa.int64())})
    assert passes(table, Cut("to", "flag", bits=1)).tolist() == [False, True]


def test_a_cut_can_be_spelled():
    assert said(Cut("from", "snr", low=30.0)) == "from_snr >= 30"
    assert said(Cut("to", "velocity_scatter", high=1.0, labels=("velocity",))) == "to_velocity_scatter <= 1 (for velocity)"
    assert said(Cut("from", "label_origin", only="lamost_dr8")) == "from_label_origin lamost_dr8"
    assert said(Cut("to", "flag", bits=12)) == "to_flag without bits 12"
