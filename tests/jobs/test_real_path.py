"""Real Gaia files to published predictions, through the command line. Skipped where the samples are not beside the checkout."""

from pathlib import Path

import intake
import numpy as np
import pytest

import lake
from jobs.cli import main

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not (DATA / "gaia_xp").is_dir(), reason="the folder of real survey samples, ../shared/data, is not there"
)

CLUSTERS, RANDOM, PLEIADES, AGAIN = 21_149, 1_000, 37_271, 361


def run(folder: Path, *arguments: str) -> int:
    return main(["--lake", str(folder), *arguments])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake of the real rows: ingested, checked, published, trained on, and predicted."""
    folder = tmp_path_factory.mktemp("real") / "lake"
    sources = [DATA / "gaia_source" / "gdr3_sm.fits.gz", DATA / "gaia_source" / "pleiades.shared.fits.gz"]
    sources += sorted((DATA / "clusters").glob("*_sel_MS_members_Tarricq.csv.gz"))
    assert run(folder, "ingest", "gaia_dr3_source", "--profile", "serial", "--raw", *map(str, sources)) == 0
    spectra = DATA / "gaia_xp" / "xp_continuous_combined_chunk0.shared.fits"
    assert run(folder, "ingest", "gaia_dr3_xp", "--profile", "serial", "--raw", str(spectra)) == 0
    assert run(folder, "check") == 0
    assert run(folder, "publish") == 0
    assert run(folder, "train", "xp_mae", "--preset", "debug", "--profile", "serial") == 0
    assert run(folder, "predict", "xp_mae", "--profile", "serial") == 0
    return folder


def test_every_real_row_is_accounted_for(real: Path) -> None:
    account = lake.open(real).table("gaia_dr3_source").manifest.account
    rows = CLUSTERS + RANDOM + PLEIADES
    assert account == {"in": rows, "out": rows - AGAIN, "dropped": {"same source again in another file": AGAIN}}
    assert lake.open(real).table("gaia_dr3_xp").manifest.account == {"in": 1338, "out": 1338, "dropped": {}}


def test_predictions_are_read_back_through_intake(real: Path) -> None:
    catalog = intake.open_catalog(str(real / "catalog.yaml"))
    assert {"gaia_dr3_source", "gaia_dr3_xp", "predictions_xp_mae", "pretrain"} <= set(catalog)
    predictions = catalog["predictions_xp_mae"].to_dask()
    assert predictions.known_divisions
    held = predictions.compute()
    assert held.index.dtype == np.int64
    assert len(held) == 1338
    assert held["reconstruction_error"].notna().all()
    assert (held["reconstruction_error"].to_numpy(dtype=float) < 20).all()
    spectra = catalog["gaia_dr3_xp"](columns=["bp_n_relevant_bases"]).to_dask().compute()
    assert (spectra.index == held.index).all()


def test_rows_without_a_magnitude_are_scaled_by_their_first_rp_coefficient(real: Path) -> None:
    pretrain = intake.open_catalog(str(real / "catalog.yaml"))["pretrain"].to_dask().compute()
    assert set(pretrain["flux_state"]) == {"rp_1"}
    first = pretrain["rp_coefficients"].list[0].to_numpy(dtype=float)
    np.testing.assert_allclose(first, 4e5, rtol=1e-12)


def test_another_release_is_refused_and_the_lake_stays_as_it_was(real: Path, capsys) -> None:
    before = (real / "catalog.yaml").read_bytes()
    ledger = (real / "raw" / "gaia_dr3_source.json").read_bytes()
    chunk = DATA / "gaia_source" / "chunk-05483.fits.gz"
    assert run(real, "ingest", "gaia_dr3_source", "--profile", "serial", "--raw", str(chunk)) == 1
    said = capsys.readouterr().err
    assert "exists only in Gaia DR2" in said
    assert chunk.name in said
    assert (real / "catalog.yaml").read_bytes() == before
    assert (real / "raw" / "gaia_dr3_source.json").read_bytes() == ledger, "a refused file is not remembered"
