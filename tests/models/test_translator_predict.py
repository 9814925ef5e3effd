"""Translating tables."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from lake.columns import schema
from lake.columns.spectrotranslator import COLUMNS, REASONS
from models import translator_noise
from models.translator import corrections
from models.translator_noise import draws, translated, widened
from models.translator_predict import translate
from models.translator_rows import inputs, measured
from tests.models.translators import LABELS, emptied, inference, numbers, put, trained, translation, untrained

PERCENTS = ("p05", "p16", "p50", "p84", "p95")
BIT = {name: 1 << at for at, name in enumerate(REASONS)}


@pytest.fixture(scope="module")
def said():
    return translate(inference(), trained())


def of_label(label):
    return [f"{label}_{part}" for part in (*PERCENTS, "systematic")]


def test_columns_are_those_of_the_vocabulary_but_what_is_only_published(said):
    published = {"translator_comment", "percentiles_ordered"}
    assert set(said.column_names) - {"source_id"} == {column.name for column in COLUMNS} - published
    assert said.schema.equals(schema(said.column_names), check_metadata=True)


def test_one_row_per_row_in_the_same_order(said):
    order = np.random.default_rng(0).permutation(inference().num_rows)
    again = translate(inference().take(order), trained())
    assert said["source_id"].to_pylist() == inference()["source_id"].to_pylist()
    for name in said.column_names:
        if pa.types.is_floating(said[name].type):
            np.testing.assert_allclose(numbers(again, name), numbers(said, name)[order], rtol=1e-5, atol=1e-5)
        else:
            assert again[name].to_pylist() == said[name].take(order).to_pylist()


@pytest.mark.parametrize("cuts", [(1, 299), (128, 172), (37, 100, 163)])
def test_any_partitioning_gives_the_same_table(said, cuts):
    parts, start = [], 0
    for rows in cuts:
        parts.append(translate(inference().slice(start, rows), trained()))
        start += rows
    again = pa.concat_tables(parts)
    for name in said.column_names:
        if pa.types.is_floating(said[name].type):
            np.testing.assert_allclose(numbers(again, name), numbers(said, name), rtol=1e-5, atol=1e-5)
        else:
            assert again[name].equals(said[name]), name


def test_draws_are_equal_bit_for_bit_under_any_slicing():
    source_id = inference()["source_id"].to_numpy()
    columns = (*LABELS, "phot_g_mean_mag")
    all_of_them = draws(source_id, 50, columns)
    assert all_of_them.shape == (300, 50, 6)
    assert draws(source_id[17:29], 50, columns).tobytes() == all_of_them[17:29].tobytes()
    assert draws(source_id[::-1], 50, columns)[::-1].tobytes() == all_of_them.tobytes()
    assert draws(source_id, 20, columns).tobytes() == all_of_them[:, :20].tobytes()
    assert draws(source_id, 50, columns[2:4]).tobytes() == np.ascontiguousarray(all_of_them[:, :, 2:4]).tobytes()
    assert draws(source_id[:0], 50, columns).shape == (0, 50, 6)


def test_draws_are_normal_and_independent_of_each_other():
    found = draws(np.arange(500, dtype=np.int64) << 35, 400, ("a", "b", "c"))
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(0, abs=0.005)
    assert found.std() == pytest.approx(1, abs=0.005)
    assert np.mean(np.abs(found) < 1.959964) == pytest.approx(0.95, abs=0.002)
    correlations = np.corrcoef(found.reshape(-1, 3).T) - np.eye(3)
    assert np.abs(correlations).max() < 0.01
    assert abs(np.corrcoef(found[:-1, :, 0].ravel(), found[1:, :, 0].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(found[:, :-1, 0].ravel(), found[:, 1:, 0].ravel())[0, 1]) < 0.01


def test_colours_that_share_a_magnitude_are_anticorrelated():
    stars = measured(inference(), translation())
    noise = draws(stars.source_id, 200, stars.columns) * np.array([0.0] * 5 + [0.003, 0.003, 0.003])
    colours = inputs(noise, stars.columns, ("bp_g", "g_rp"))
    assert np.corrcoef(colours.reshape(-1, 2).T)[0, 1] == pytest.approx(-0.5, abs=0.02)


def test_an_untrained_translator_changes_nothing(said):
    again = translate(inference(), untrained(trained()))
    for label in translation().labels:
        source = inference()[f"from_{label.source}"].to_numpy()
        np.testing.assert_array_equal(again[f"{label.name}_p50"].to_numpy(), source)
        assert not np.array_equal(said[f"{label.name}_p50"].to_numpy(), source)
        assert set(again[f"{label.name}_systematic"].to_pylist()) == {0.0}


def test_the_percentiles_of_an_untrained_translator_are_those_of_the_errors():
    one = untrained(trained())
    believing = [
        replace(n.calibration, floor=0 * n.calibration.floor, stretch=1 + 0 * n.calibration.stretch) for n in one.networks
    ]
    one = replace(one, networks=tuple(replace(n, calibration=c) for n, c in zip(one.networks, believing, strict=True)))
    again = translate(inference(), one, realisations=400)
    for label in translation().labels:
        error = inference()[f"from_{label.source}_error"].to_numpy()
        for low, high, sigmas in (("p16", "p84", 1.98892), ("p05", "p95", 3.28971)):
            width = numbers(again, f"{label.name}_{high}") - numbers(again, f"{label.name}_{low}")
            assert np.mean(width / error / sigmas) == pytest.approx(1, abs=0.02)


def test_the_value_is_the_mean_of_the_ensemble_for_the_unperturbed_star(said):
    stars = measured(inference(), translation())
    for network in trained().networks:
        x = inputs(stars.values, stars.columns, network.inputs)
        own = [network.inputs.index(name) for name in network.outputs]
        mean = x[:, own] + corrections(network, x).mean(axis=0)
        for at, name in enumerate(network.outputs):
            np.testing.assert_allclose(numbers(said, f"{name}_p50"), mean[:, at], rtol=1e-5, atol=1e-5)


def test_the_systematic_error_is_the_scatter_over_the_ensemble_times_its_factor(said):
    stars = measured(inference(), translation())
    network = trained().networks[0]
    scatter = corrections(network, inputs(stars.values, stars.columns, network.inputs)).std(axis=0, ddof=1)
    expected = scatter[:, 1] * network.calibration.inflation[1]
    np.testing.assert_allclose(numbers(said, "logg_systematic"), expected, rtol=1e-4, atol=1e-6)


def test_percentiles_never_cross(said):
    for label in LABELS:
        values = np.stack([numbers(said, f"{label}_{part}") for part in PERCENTS])
        assert (np.diff(values, axis=0) >= 0).all()
        assert (values[-1] > values[0]).all()


INPUTS_OF = {
    "from_teff": "teff",
    "from_logg": "logg",
    "from_fe_h": "metallicity",
    "from_mg_fe": "mg_fe",
    "from_radial_velocity": "velocity",
}


@pytest.mark.parametrize("column", INPUTS_OF)
def test_one_missing_input_nulls_exactly_one_label(column):
    found = translate(emptied(inference().slice(0, 20), column, rows=slice(0, 10)), trained())
    for label in LABELS:
        for name in of_label(label):
            nulls = 10 if label == INPUTS_OF[column] else 0
            assert found[name].null_count == nulls, name
            assert not found[name].slice(10).null_count


def test_a_missing_input_is_flagged_for_the_networks_that_read_it():
    found = translate(emptied(inference().slice(0, 2), "from_radial_velocity", rows=slice(0, 1)), trained())
    assert found["intrinsic_input_missing"].to_pylist() == [False, False]
    assert found["extrinsic_input_missing"].to_pylist() == [True, False]
    assert found["extrinsic_domain_score"].null_count == 1
    assert found["extrinsic_in_domain"][0].as_py() is False
    assert found["extrinsic_input_covered"][0].as_py() is False
    reasons = found["translator_reasons"].to_pylist()
    assert reasons[0] & BIT["velocity_missing"]
    assert reasons[0] & BIT["extrinsic_domain"]
    assert not reasons[1] & BIT["velocity_missing"]


@pytest.mark.parametrize(
    ("column", "colours"),
    [("phot_bp_mean_mag", ["bp_g"]), ("phot_rp_mean_mag", ["g_rp"]), ("phot_g_mean_mag", ["bp_g", "g_rp"])],
)
def test_a_missing_magnitude_nulls_no_label_and_is_said(column, colours):
    found = translate(emptied(inference().slice(0, 5), column), trained())
    assert sum(found[name].null_count for label in LABELS for name in of_label(label)) == 0
    for name in ("bp_g", "g_rp"):
        bits = [bool(reasons & BIT[f"{name}_missing"]) for reasons in found["translator_reasons"].to_pylist()]
        assert bits == [name in colours] * 5
    assert found["intrinsic_input_missing"].to_pylist() == [True] * 5


def test_a_missing_error_is_the_typical_one_and_sets_its_bit():
    table = inference().slice(0, 40)
    found = translate(emptied(table, "from_teff_error", rows=slice(0, 20)), trained())
    bits = [bool(reasons & BIT["teff_error_missing"]) for reasons in found["translator_reasons"].to_pylist()]
    assert bits == [True] * 20 + [False] * 20
    assert found["teff_p16"].null_count == 0
    typical = trained().typical_errors[0]
    filled = translate(put(table, "from_teff_error", [typical] * 20 + table["from_teff_error"].to_pylist()[20:]), trained())
    np.testing.assert_allclose(numbers(found, "teff_p16"), numbers(filled, "teff_p16"), rtol=1e-6)


def test_a_missing_error_of_a_magnitude_is_said_of_its_colours():
    found = translate(emptied(inference().slice(0, 3), "phot_g_mean_mag_error"), trained())
    for reasons in found["translator_reasons"].to_pylist():
        assert reasons & BIT["bp_g_error_missing"]
        assert reasons & BIT["g_rp_error_missing"]
        assert not reasons & BIT["bp_g_missing"]


def test_a_label_no_star_has_is_null_and_does_not_spoil_the_others():
    table = put(inference().slice(0, 3), "from_teff", [40_000.0, -9999.0, 5000.0])
    found = translate(table, trained())
    assert found["teff_p50"].is_null().to_pylist() == [True, True, False]
    assert found["logg_p50"].null_count == 0
    assert np.abs(numbers(found, "logg_p50") - table["from_logg"].to_numpy()).max() < 1


def test_a_far_star_is_corrected_like_the_outermost_and_told_apart():
    table = put(inference().slice(0, 2), "from_fe_h", [-5.9, -0.1])
    found = translate(table, trained())
    assert np.abs(numbers(found, "metallicity_p50") - table["from_fe_h"].to_numpy()).max() < 1.0
    assert found["intrinsic_in_domain"][0].as_py() is False
    assert found["intrinsic_domain_score"][0].as_py() > 1
    assert found["intrinsic_input_covered"][0].as_py() is False
    assert found["translator_reasons"][0].as_py() & BIT["input_teff_metallicity"]


def test_training_stars_lie_mostly_in_the_domain(said):
    for name in ("intrinsic", "extrinsic"):
        assert np.mean(said[f"{name}_in_domain"].to_numpy(zero_copy_only=False)) > 0.95
        score = numbers(said, f"{name}_domain_score")
        assert np.array_equal(said[f"{name}_in_domain"].to_numpy(zero_copy_only=False), score <= 1)


def test_a_velocity_beyond_all_training_stars_is_said_of_the_output():
    found = translate(put(inference().slice(0, 1), "from_radial_velocity", [900.0]), trained())
    assert found["extrinsic_output_covered"].to_pylist() == [False]
    assert found["translator_reasons"][0].as_py() & BIT["output_velocity"]


def test_no_rows_give_no_rows_with_the_same_schema(said):
    assert translate(inference().slice(0, 0), trained()).schema.equals(said.schema)


def test_too_few_realisations_are_refused():
    with pytest.raises(ValueError, match="found 10 realisations, expected at least 20"):
        translate(inference(), trained(), realisations=10)


def test_a_damaged_network_is_reported_and_not_published():
    one = trained()
    members = deepcopy(one.networks[0].members)
    with torch.no_grad():
        members[1].head.bias.fill_(float("nan"))
    broken = replace(one, networks=(replace(one.networks[0], members=members), one.networks[1]))
    with pytest.raises(FloatingPointError, match="weights are damaged"):
        translate(inference(), broken)


def test_a_floor_widens_what_the_networks_no_longer_move():
    spread = np.array([[-1.6, -1.0, 0.0, 1.0, 1.6], [0.0] * 5])[:, :, np.newaxis]
    wide = widened(spread, np.array([2.0]))[:, :, 0]
    assert (wide[0, 3] - wide[0, 1]) / 2 == pytest.approx(np.hypot(1, 2))
    assert (wide[1, 3] - wide[1, 1]) / 2 == pytest.approx(2.0)
    assert wide[1, 4] / wide[1, 3] == pytest.approx(1.645 / 0.9945, rel=1e-3)
    np.testing.assert_array_equal(widened(spread[:1], np.zeros(1)), spread[:1])


def test_memory_is_bounded_by_a_pass_and_not_by_the_table(monkeypatch):
    sizes = []
    honest = translator_noise.draws

    def watched(source_id, realisations, columns):
        sizes.append(len(source_id))
        return honest(source_id, realisations, columns)

    monkeypatch.setattr(translator_noise, "draws", watched)
    stars = measured(inference(), translation())
    assert [at.stop - at.start for at, _ in translated(stars, trained(), realisations=20)] == [128, 128, 44]
    assert set(sizes) == {128}
