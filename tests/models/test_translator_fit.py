"""Training a translation."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from models import translator_member
from models.translation_split import SELECT, TEST, TRAIN
from models.translator import corrections
from models.translator_config import debug
from models.translator_fit import common_stars, train
from models.translator_member import Scaled, fit_member, weighted_huber
from models.translator_rows import inputs
from tests.models.translators import LABELS, common, emptied, put, trained, translation

QUICK = replace(debug(), epochs=1)


def weights(translator):
    return {
        f"{network.name}.{name}": tensor
        for network in translator.networks
        for name, tensor in network.members.state_dict().items()
    }


def assert_equal(one, two):
    assert weights(one).keys() == weights(two).keys()
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(two)[name]), name
    for a, b in zip(one.networks, two.networks, strict=True):
        for name in ("level", "gate", "floor", "stretch", "inflation"):
            np.testing.assert_array_equal(getattr(a.calibration, name), getattr(b.calibration, name))
        np.testing.assert_array_equal(a.offsets, b.offsets)
        np.testing.assert_array_equal(a.quadratic, b.quadratic)


def test_the_translator_holds_two_ensembles_with_their_inputs_and_outputs_in_order():
    one = trained()
    assert [network.name for network in one.networks] == ["intrinsic", "extrinsic"]
    assert one.networks[0].outputs == LABELS[:4]
    assert one.networks[1].inputs[-1] == "velocity"
    assert one.networks[1].outputs == ("velocity",)
    assert [len(network.members) for network in one.networks] == [2, 2]
    assert not any(module.training for network in one.networks for module in network.members.modules())


def test_training_is_repeatable_and_blind_to_the_order_of_rows_and_to_the_callers_random_state():
    order = np.random.default_rng(0).permutation(common().num_rows)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = train(common(), translation(), QUICK, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert_equal(one, train(common().take(order), translation(), QUICK, seed=5))


def test_stars_that_judge_have_no_influence():
    stars = common_stars(common(), translation(), QUICK, seed=5)
    judges = np.isin(common()["source_id"].to_numpy(), stars.measured.source_id[stars.part == TEST])
    assert 80 < judges.sum() < 130
    spoiled = common()
    for column in ("to_teff", "from_radial_velocity", "from_teff_error", "phot_g_mean_mag"):
        values = spoiled[column].to_numpy(zero_copy_only=False)
        spoiled = put(spoiled, column, pa.array(np.where(judges, values + 50, values), from_pandas=True))
    assert_equal(train(common(), translation(), QUICK, seed=5), train(spoiled, translation(), QUICK, seed=5))


def test_another_seed_gives_other_splits_and_other_networks():
    one, two = (train(common(), translation(), QUICK, seed=seed) for seed in (5, 6))
    name = "intrinsic.0.entry.weight"
    assert not torch.equal(weights(one)[name], weights(two)[name])
    first = weights(one)[name]
    assert not torch.equal(first, weights(one)["intrinsic.1.entry.weight"])


def test_stars_left_out_are_counted_by_cut():
    counts = trained().counts
    assert counts["stars"] == 800
    assert counts["usable"] < 800
    snr = common()["from_snr"].to_numpy(zero_copy_only=False)
    assert counts["fail from_snr >= 30"] == 800 - int((snr >= 30).sum())
    assert counts["fail to_velocity_scatter <= 1 (for velocity)"] > 0
    assert counts["usable for velocity"] < counts["usable for teff"]
    assert sum(counts[f"in {name} split"] for name in ("train", "select", "test")) == counts["usable"]


def test_a_cut_of_one_label_leaves_the_others():
    stars = common_stars(common(), translation(), QUICK, seed=5)
    scatter = dict(
        zip(common()["source_id"].to_pylist(), common()["to_velocity_scatter"].to_numpy(zero_copy_only=False), strict=True)
    )
    binary = np.array([not scatter[one] <= 1 for one in stars.measured.source_id.tolist()])
    assert binary.sum() > 10
    assert not stars.usable[binary, 4].any()
    assert stars.usable[binary, 0].mean() > 0.9


def test_too_few_stars_are_refused_with_what_failed_where():
    flagged = put(common(), "from_galah_flag_sp", [0] * 90 + [4] * 710)
    with pytest.raises(
        ValueError, match=r"too few of 800 common stars.*at least 100.*fail from_galah_flag_sp >= 0 .*: 710 of 800"
    ):
        train(flagged, translation(), QUICK, seed=5)


def test_a_label_that_too_few_stars_have_is_refused():
    with pytest.raises(ValueError, match="usable for mg_fe: 0 of 800"):
        train(emptied(common(), "to_mg_fe"), translation(), QUICK, seed=5)


@pytest.mark.parametrize("column", ["to_teff", "to_teff_error", "from_snr", "to_velocity_scatter", "phot_g_mean_mag_error"])
def test_a_column_that_is_not_there_is_named(column):
    with pytest.raises(ValueError, match=f"lacks column '{column}'"):
        train(common().drop_columns([column]), translation(), QUICK, seed=5)


def test_a_star_in_two_rows_is_refused():
    with pytest.raises(ValueError, match="occur more than once"):
        train(pa.concat_tables([common(), common().slice(0, 400)]), translation(), QUICK, seed=5)


def test_no_nan_ever_reaches_a_network(monkeypatch):
    seen = []
    build = translator_member.new_network

    def watched(*sizes):
        member = build(*sizes)
        member.register_forward_pre_hook(lambda _, given: seen.append(bool(given[0].isfinite().all())))
        return member

    monkeypatch.setattr(translator_member, "new_network", watched)
    spoiled = put(common(), "from_teff", [float("nan"), float("inf"), -9999.0] + common()["from_teff"].to_pylist()[3:])
    spoiled = emptied(spoiled, "phot_bp_mean_mag", "from_mg_fe", rows=slice(100, 200))
    spoiled = emptied(spoiled, "to_logg_error", "from_logg_error", rows=slice(0, 50))
    one = train(spoiled, translation(), QUICK, seed=5)
    assert len(seen) > 20
    assert all(seen)
    assert all(tensor.isfinite().all() for tensor in weights(one).values())


def test_every_network_leaves_a_record():
    seen = []
    one = train(common(), translation(), QUICK, seed=5, progress=seen.append)
    assert tuple(seen) == one.history
    assert [(record["network"], record["member"]) for record in seen] == [
        (name, member) for name in ("intrinsic", "extrinsic") for member in (0, 1)
    ]
    assert all(len(record["losses"]) == 1 for record in seen)


def test_a_network_learns_what_depends_on_its_inputs():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(600, 2)).astype(np.float32))
    wanted = torch.stack([torch.sin(2 * x[:, 0]), x[:, 0] * x[:, 1]], dim=1)
    stars = Scaled(np.arange(600), x, torch.ones(600, 2, dtype=torch.bool), wanted, torch.ones(600, 2), torch.ones(600))
    member, record = fit_member(stars, stars, replace(debug(), epochs=40, hide_input=0.0), (2, 2), key=1)
    assert record["select_loss"] < 0.1 * record["select_loss_of_none"]
    assert record["best_epoch"] > 20
    with torch.no_grad():
        assert (member(x, stars.present) - wanted).std() < 0.3


def test_if_training_only_harms_the_untrained_network_is_kept():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(200, 2)).astype(np.float32))
    ones, there = torch.ones(200, 1), torch.ones(200, 2, dtype=torch.bool)
    training = Scaled(np.arange(200), x, there, 5 * ones, ones, ones[:, 0])
    select = Scaled(np.arange(200), x, there, 0 * ones, ones, ones[:, 0])
    member, record = fit_member(training, select, debug(), (2, 1), key=1)
    assert record["best_epoch"] == -1
    assert torch.equal(member(x, there), torch.zeros(200, 1))


def test_a_star_with_a_huge_error_or_a_label_that_does_not_count_changes_nothing():
    answer = torch.zeros(3, 1, requires_grad=True)
    wanted = torch.tensor([[500.0], [500.0], [1.0]])
    weight = torch.tensor([[1e-12], [0.0], [1.0]])
    weighted_huber(answer, wanted, weight, huber=2.0).sum().backward()
    assert answer.grad[0].abs() < 1e-9
    assert answer.grad[1] == 0
    assert answer.grad[2] == -1


def test_an_outlier_pulls_no_more_than_one_at_the_huber_limit():
    answer = torch.zeros(2, 1, requires_grad=True)
    weighted_huber(answer, torch.tensor([[2.0], [1e6]]), torch.ones(2, 1), huber=2.0).sum().backward()
    assert answer.grad.tolist() == [[-2.0], [-2.0]]


def test_a_huge_error_in_the_table_makes_a_star_harmless():
    stars = common_stars(common(), translation(), QUICK, seed=5)
    victim = stars.measured.source_id[(stars.part == TRAIN) & stars.usable.all(axis=1)][7]
    at = common()["source_id"].to_pylist().index(victim)
    found = []
    for teff in (4_000.0, 6_900.0):
        table = common()
        for column, value in (("to_teff", teff), ("to_teff_error", 40_000.0)):
            values = table[column].to_pylist()
            values[at] = value
            table = put(table, column, values)
        one = train(table, translation(), QUICK, seed=5)
        x = inputs(stars.measured.values, stars.measured.columns, one.networks[0].inputs)
        found.append(corrections(one.networks[0], x).mean(axis=0)[:, 0])
    # Of 90 K that the two bases differ by; its value still moves the median by which differences are scaled.
    assert np.abs(found[0] - found[1]).max() < 0.3


def test_splits_are_as_large_as_declared():
    stars = common_stars(common(), translation(), QUICK, seed=5)
    shares = np.bincount(stars.part)[[TRAIN, SELECT, TEST]] / len(stars.part)
    assert shares.tolist() == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
    assert (np.diff(stars.measured.source_id) > 0).all()
