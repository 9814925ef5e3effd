"""Predictions for a partition."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.bundle import load, save
from models.config import PRESETS
from models.predict import PREDICTION_COLUMNS, predict_partition, prediction_schema

MAGNITUDES = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "catwise_w1_mag", "catwise_w2_mag")
ERRORS = ("reconstruction_error", "reconstruction_error_masked")


def inputs(table):
    return [name for name in table.schema.names if name not in ("source_id", "flux_state")]


def numbers(predictions):
    """Embedding and both errors side by side, NaN where null."""
    embedding = np.array([row or [np.nan] * 16 for row in predictions["embedding"].to_pylist()])
    return np.column_stack([embedding, *(predictions[name].to_numpy() for name in ERRORS)])


def test_the_table_has_exactly_the_declared_columns_and_rows(table, bundle):
    found = predict_partition(table, bundle)
    assert found.schema == prediction_schema(bundle.config)
    assert found.schema.names == [name for name, *_ in PREDICTION_COLUMNS]
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), 16)
    assert found["source_id"].equals(table["source_id"])
    assert found["embedding"].null_count == 0
    found.validate(full=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_prediction_schema_with_descriptions(preset):
    schema = prediction_schema(PRESETS[preset]())
    assert schema.field("source_id").type == pa.int64()
    assert all(description for *_, description in PREDICTION_COLUMNS)


def test_row_order_is_kept_when_rows_are_not_sorted(table, bundle):
    order = np.random.default_rng(0).permutation(200)
    straight, shuffled = predict_partition(table, bundle), predict_partition(table.take(order), bundle)
    assert shuffled["source_id"].to_pylist() == straight["source_id"].take(order).to_pylist()
    np.testing.assert_allclose(numbers(shuffled), numbers(straight)[order], atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_predictions_do_not_depend_on_partitioning(table, bundle, rows, monkeypatch):
    # Small passes, so that a pass boundary also falls inside the table.
    monkeypatch.setattr("models.predict.ROWS_PER_PASS", 64)
    whole = predict_partition(table, bundle)
    parts = [predict_partition(table.slice(start, rows), bundle) for start in range(0, 200, rows)]
    joined = pa.concat_tables(parts)
    assert joined["source_id"].equals(whole["source_id"])
    assert joined["n_features_present"].equals(whole["n_features_present"])
    np.testing.assert_allclose(numbers(joined), numbers(whole), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 200])
def test_every_pass_through_the_network_has_the_same_number_of_rows(table, bundle, rows, monkeypatch):
    monkeypatch.setattr("models.predict.ROWS_PER_PASS", 64)
    sizes = set()
    handle = bundle.network.encoder.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    predict_partition(table.slice(0, rows), bundle)
    handle.remove()
    assert sizes == {64}


def test_the_same_partition_is_predicted_bit_for_bit_again(table, bundle):
    assert predict_partition(table, bundle).equals(predict_partition(table, bundle))


def test_a_loaded_bundle_predicts_what_the_trained_one_does(table, bundle, tmp_path):
    save(tmp_path / "b", bundle)
    assert predict_partition(table, load(tmp_path / "b")).equals(predict_partition(table, bundle))


def test_no_rows_give_no_rows_with_the_same_schema(table, bundle):
    found = predict_partition(table.slice(0, 0), bundle)
    assert found.num_rows == 0
    assert found.schema == predict_partition(table, bundle).schema


def test_a_row_with_nothing_present_has_nulls_and_its_neighbours_do_not(table, bundle, nulled):
    empty = nulled(table.slice(1, 1), *inputs(table))
    mixed = pa.concat_tables([table.slice(0, 1), empty, table.slice(2, 8)])
    found, whole = predict_partition(mixed, bundle), predict_partition(table.slice(0, 10), bundle)
    for name in ("embedding", *ERRORS):
        assert found[name].is_null().to_pylist() == [False, True] + [False] * 8
    assert found["n_features_present"].to_pylist()[1] == 0
    others = np.arange(10) != 1
    np.testing.assert_allclose(numbers(found)[others], numbers(whole)[others], atol=1e-5)


def test_nothing_is_ever_nan(table, bundle, nulled):
    for columns in (MAGNITUDES, ("bp_coefficients",), ("bp_coefficients", "rp_coefficients"), inputs(table)):
        found = predict_partition(nulled(table, *columns), bundle)
        for name in ERRORS:
            assert not np.isnan(found[name].drop_null().to_numpy()).any()


@pytest.mark.parametrize("how", ["null", "absent"])
def test_all_photometry_missing_still_gives_embeddings(table, bundle, nulled, how):
    poorer = nulled(table, *MAGNITUDES) if how == "null" else table.drop_columns(list(MAGNITUDES))
    found = predict_partition(poorer, bundle)
    assert found["embedding"].null_count == 0
    assert max(found["n_features_present"].to_pylist()) == 17


def test_a_row_without_xp_has_no_masked_error_but_an_error(table, bundle, nulled):
    found = predict_partition(nulled(table, "bp_coefficients", "rp_coefficients"), bundle)
    assert found["reconstruction_error_masked"].null_count == 200
    assert found["reconstruction_error"].null_count == 0


def test_only_inputs_that_are_not_reconstructed_give_an_embedding_without_errors(table, bundle):
    found = predict_partition(table.select(["source_id", "pmra", "ra"]), bundle)
    assert found["embedding"].null_count == 0
    assert found["reconstruction_error"].null_count == found["reconstruction_error_masked"].null_count == 200
    assert set(found["n_features_present"].to_pylist()) == {3}


def test_an_input_never_seen_in_training_changes_nothing_in_predictions(table, train, nulled):
    blind = train(nulled(table, *MAGNITUDES), epochs=1)
    with_magnitudes = predict_partition(table, blind)
    assert with_magnitudes.equals(predict_partition(nulled(table, *MAGNITUDES), blind))


def test_the_masked_error_of_a_coefficient_does_not_use_that_coefficient(table, bundle):
    """Shift one coefficient: its own residual moves by the whole shift, as its prediction stands still."""
    one = table.select(["source_id", "bp_coefficients", "bp_coefficient_errors"]).filter(table["bp_coefficients"].is_valid())
    values = np.array(one["bp_coefficients"].to_pylist())
    alone = np.full_like(values, np.nan)
    alone[:, 0] = values[:, 0]
    moved = np.where(np.isfinite(alone), alone + 1e7, alone)

    def masked_error(coefficients):
        lists = pa.FixedSizeListArray.from_arrays(pa.array(coefficients.ravel()), 6)
        found = predict_partition(one.set_column(1, "bp_coefficients", lists), bundle)
        return found["reconstruction_error_masked"].to_numpy()

    # Nothing else is present, so the hidden pass sees an empty star: its prediction is one constant.
    z = (values[:, 0] + 1e7 - bundle.scaling.centre[0]) / bundle.scaling.scale[0]
    network = bundle.network
    nothing = torch.zeros(1, len(bundle.scaling.centre))
    with torch.inference_mode():
        constant = network(nothing, nothing.bool())[1][0, 0].item()
    sigma_z = 1e3 / bundle.scaling.scale[0] / np.sqrt(1 + z**2)
    expected = np.abs(constant - np.arcsinh(z)) / np.hypot(sigma_z, bundle.config.error_floor)
    np.testing.assert_allclose(masked_error(moved), expected, rtol=1e-4)


def test_a_network_with_damaged_weights_is_refused(table, bundle, train):
    damaged = train(table, epochs=1)
    with torch.no_grad():
        next(damaged.network.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        predict_partition(table, damaged)


def test_the_error_is_a_reduced_chi(table, bundle):
    """With a larger floor in the denominator the errors of a well measured star shrink in proportion."""
    wide = replace(bundle, config=replace(bundle.config, error_floor=100.0))
    wider = replace(bundle, config=replace(bundle.config, error_floor=200.0))
    first, second = (predict_partition(table, b)["reconstruction_error"].to_numpy() for b in (wide, wider))
    np.testing.assert_allclose(first / second, 2, rtol=1e-4)
