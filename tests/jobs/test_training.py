"""Training and predictions over the partitions of a lake."""

import json
from pathlib import Path

import numpy as np
import pytest

import lake
from jobs.autoencoding import Predict
from jobs.cluster import in_process
from jobs.inference import predict
from jobs.product import bundle_key, current_bundle
from jobs.training import train


def test_training_again_on_the_same_builds_finds_the_bundle(published: Path) -> None:
    opened = lake.open(published)
    bundle, trained = train(opened, "xp_mae", preset="debug", run=in_process)
    assert not trained
    assert bundle == current_bundle(opened.storage, "xp_mae")


def test_the_bundle_remembers_builds_columns_and_losses(published: Path) -> None:
    opened = lake.open(published)
    folder = opened.storage.path(bundle_key("xp_mae", current_bundle(opened.storage, "xp_mae") or ""))
    held = json.loads((folder / "bundle.json").read_text())
    assert held["training_builds"]["gaia_dr3_xp"] == opened.table("gaia_dr3_xp").manifest.build
    assert {"bp_coefficients", "phot_g_mean_mag", "parallax"} <= set(held["input_columns"])
    losses = [record["validation_loss"] for record in held["history"]]
    assert losses[-1] < losses[0]


def test_predictions_do_not_depend_on_the_partitioning(published: Path) -> None:
    opened = lake.open(published)
    join = opened.pretrain()
    key = bundle_key("xp_mae", current_bundle(opened.storage, "xp_mae") or "")
    whole = __import__("pyarrow").concat_tables([join.read_leaf(leaf) for leaf in range(len(opened.grid))])
    at_once = Predict(opened.storage, key)(whole)
    stored = opened.table("predictions_xp_mae").select(at_once["source_id"].to_numpy())
    np.testing.assert_allclose(
        stored["reconstruction_error"].to_numpy(dtype=np.float64, na_value=np.nan),
        at_once["reconstruction_error"].to_numpy(),
        atol=1e-5,
        rtol=1e-5,
    )
    first, second = (
        np.stack([np.asarray(row) for row in side.to_pylist()])
        for side in (stored["embedding"].array._pa_array, at_once["embedding"])
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_predicting_again_does_nothing(published: Path) -> None:
    outcome = predict(lake.open(published), "xp_mae", run=lambda *_: pytest.fail("a partition was made again"))
    assert outcome.reduced == 0


def test_a_function_that_returns_other_sources_is_refused(published: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from jobs.inference import derivation
    from lake.derive import derive

    opened = lake.open(published)
    wrong = replace(derivation(opened, "xp_mae"), name="predictions_wrong", function=lambda table: table.slice(1))
    with pytest.raises(lake.LakeError, match="other source_ids out"):
        derive(opened.storage, opened.pretrain(), wrong)
