"""The networks of a translation, untrained."""

import pytest
import torch
from torch import nn

from models.spectro_translator import PublishedTranslator, network
from models.translator_config import PRESETS, debug, published, small


def random(rows: int = 7, inputs: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.randn(rows, inputs, generator=drawn), torch.rand(rows, inputs, generator=drawn) < 0.8


def awake(one: nn.Module) -> nn.Module:
    """Give the last layer weights, so that the network says something."""
    nn.init.normal_(one.head.weight)
    return one.eval()


@pytest.mark.parametrize(("inputs", "outputs", "parameters"), [(6, 4, 1_220_100), (7, 1, 1_219_969)])
def test_the_published_size_is_the_published_one(inputs, outputs, parameters):
    one = network(published(), inputs, outputs)
    assert sum(p.numel() for p in one.parameters() if p.requires_grad) == parameters


def test_the_published_blocks_drop_values_where_they_are_256_wide_or_more():
    one = network(published(), 6, 4)
    assert sum(isinstance(module, nn.Dropout) for module in one.modules()) == 6
    assert {module.p for module in one.modules() if isinstance(module, nn.Dropout)} == {0.5}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("training", [True, False])
def test_an_untrained_network_changes_nothing_exactly(preset, training):
    one = network(PRESETS[preset](), 6, 4).train(training)
    x, present = random()
    assert torch.equal(one(100 * x, present), torch.zeros(7, 4))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_first_step_of_training_reaches_the_last_layer(preset):
    one = network(PRESETS[preset](), 6, 4)
    (one(*random()) - 1).square().sum().backward()
    assert one.head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("preset", PRESETS)
def test_what_lies_in_a_missing_input_has_no_influence_not_even_nan(preset):
    one = awake(network(PRESETS[preset](), 6, 4))
    x, present = random()
    said = one(torch.where(present, x, 0.0), present)
    assert not present.all()
    assert said.abs().max() > 0
    assert torch.equal(one(torch.where(present, x, torch.nan), present), said)


@pytest.mark.parametrize("config", [debug(), small()])
def test_a_residual_network_tells_a_missing_input_from_a_median_one(config):
    one = awake(network(config, 6, 4))
    x = torch.zeros(1, 6)
    known = torch.ones(1, 6, dtype=torch.bool)
    unknown = known.clone()
    unknown[0, 2] = False
    assert not torch.equal(one(x, known), one(x, unknown))


def test_stars_of_a_batch_do_not_see_each_other():
    x, present = random(64)
    for preset in PRESETS:
        one = awake(network(PRESETS[preset](), 6, 4))
        torch.testing.assert_close(one(x, present)[:5], one(x[:5], present[:5]), rtol=1e-4, atol=1e-4)


def test_the_skeleton_is_the_one_of_the_preset():
    assert isinstance(network(published(), 6, 4), PublishedTranslator)
    assert not isinstance(network(small(), 6, 4), PublishedTranslator)
