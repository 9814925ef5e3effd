"""The network and its configuration."""

from dataclasses import replace

import pytest
import torch

from models.config import PRESETS, debug
from models.features import ASTROMETRY, gaia_features, width
from models.fit import fit
from models.masked_autoencoder import MaskedAutoencoder
from models.predict import predict_partition
from models.scaling import finish, statistics


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_and_maps_shapes_as_declared(synthetic_table, preset):
    features = gaia_features(synthetic_table(1, n_bp=55, n_rp=55).schema)
    config = PRESETS[preset]()
    network = MaskedAutoencoder(config, features)
    x = torch.randn(3, width(features))
    embedding, reconstruction = network(x, torch.ones_like(x, dtype=torch.bool))
    assert config.preset == preset
    assert embedding.shape == (3, config.embedding)
    assert reconstruction.shape == (3, 115)


def test_what_is_not_visible_has_no_influence_not_even_nan(table):
    features = gaia_features(table.schema)
    network = MaskedAutoencoder(debug(), features)
    x = torch.randn(4, width(features))
    visible = torch.arange(width(features)).expand(4, -1) % 2 == 0
    expected = network(x, visible)
    for filling in (torch.nan, -9999.0, torch.inf):
        for found, wanted in zip(network(torch.where(visible, x, filling), visible), expected, strict=True):
            assert torch.equal(found, wanted)


def test_hidden_and_zero_are_told_apart(table):
    features = gaia_features(table.schema)
    network = MaskedAutoencoder(debug(), features)
    x = torch.zeros(1, width(features))
    shown, hidden = (network.encode(x, torch.full_like(x, state, dtype=torch.bool)) for state in (True, False))
    assert not torch.allclose(shown, hidden)


def test_no_nan_and_no_sentinel_enters_the_network(table, bundle, monkeypatch):
    entered = []

    def watch(module, arguments):
        entered.append(arguments[0].detach())

    original = MaskedAutoencoder.__init__

    def watched(self, *arguments):
        original(self, *arguments)
        self.encoder.register_forward_pre_hook(watch)

    monkeypatch.setattr(MaskedAutoencoder, "__init__", watched)
    scaling = finish(statistics(table, gaia_features(table.schema)))
    network, _ = fit(lambda epoch: iter([table]), replace(debug(), epochs=1), scaling, 0)
    predict_partition(table, replace(bundle, network=network, scaling=scaling))
    assert len(entered) > 5
    for batch in entered:
        values, visible = batch.chunk(2, dim=1)
        assert batch.isfinite().all()
        assert set(visible.unique().tolist()) <= {0.0, 1.0}
        assert (values[visible == 0] == 0).all()
        assert values.abs().max() < 10


def test_each_norm_is_used_once(table):
    network = MaskedAutoencoder(debug(), gaia_features(table.schema))
    calls = []
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_hook(lambda module, *_: calls.append(id(module)))
    x = torch.zeros(2, width(gaia_features(table.schema)))
    network(x, torch.zeros_like(x, dtype=torch.bool))
    assert len(calls) == len(set(calls)) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding", 0),
        ("batch_size", 0),
        ("error_floor", 0.0),
        ("learning_rate", float("nan")),
        ("hide_scalar", 1.0),
        ("hide_spans", -0.1),
        ("hide_xp", 0.5),
        ("validation_fraction", 1.0),
    ],
)
def test_a_config_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"config 'debug': .*{name}.*expected"):
        replace(debug(), **{name: value})


def test_a_network_with_nothing_to_reconstruct_is_refused():
    with pytest.raises(ValueError, match="expected at least one"):
        MaskedAutoencoder(debug(), ASTROMETRY)
