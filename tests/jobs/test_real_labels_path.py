"""Real APOGEE and GALAH rows to combined labels, through the command line. Skipped where the samples are not beside the checkout.

Eleven stars have labels of both surveys: too few to train a translation, which must be refused with the reasons, so the lake
combines what needs none. Nothing is claimed of its quality.
"""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import lake
from jobs.cli import main
from tests.jobs.conftest import nightly

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not (DATA / "galah").is_dir(), reason="the folder of real survey samples, ../shared/data, is not there"
)
APOGEE, GALAH, BOTH = 1082, 707, 11
# Columns of allStar that the sample was cut without; a star that the sample kept had passed its flags.
_PUT = {"TELESCOPE": "apo25m", "FIELD": "unknown", "ASPCAPFLAG": np.int64(0), "STARFLAG": np.int64(0)}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake of the real rows, with what a nightly makes of them."""
    folder = tmp_path_factory.mktemp("real") / "lake"
    held = Table.read(DATA / "apogee" / "Apogee_data_filtered_1612.shared.fits.gz")
    held.rename_columns(held.colnames, [name.upper() for name in held.colnames])
    held.rename_column("DR3_SOURCE_ID", "GAIAEDR3_SOURCE_ID")
    for name, value in _PUT.items():
        held[name] = value
    apogee = folder.parent / "allStar-dr17-synspec_rev1.fits"
    held.write(apogee)
    raw = {
        "gaia_dr3_source": DATA / "gaia_source" / "gdr3_sm.fits.gz",
        "apogee_dr17": apogee,
        "galah_dr3": DATA / "galah" / "Galah_data_filtered_1061.shared.fits.gz",
    }
    for name, path in raw.items():
        assert main(["--lake", str(folder), "ingest", name, "--profile", "serial", "--raw", str(path)]) == 0
    assert nightly(folder) == 0
    return folder


def test_real_rows_of_two_surveys_become_one_table_of_labels(real: Path) -> None:
    opened = lake.open(real)
    table = opened.table("homogenised_labels")
    assert table.manifest.account["in"] == APOGEE + GALAH
    assert table.rows == APOGEE + GALAH - BOTH
    frame = table.to_dask().compute()
    native = opened.table("apogee_dr17").to_dask(["teff", "m_h"]).compute()
    known = native.index[native["m_h"].notna()]
    assert np.allclose(frame.loc[known, "m_h"].astype(float), native.loc[known, "m_h"].astype(float), atol=1e-6)
    assert (frame.loc[known, "m_h_n_sources"] == 1).all()
    assert (frame.loc[known, "m_h_error"] >= 0.03).all()


def test_values_of_galah_are_on_no_base_before_they_are_translated(real: Path) -> None:
    opened = lake.open(real)
    frame = opened.table("homogenised_labels").to_dask(["m_h", "m_h_n_sources", "m_h_galah_dr3"]).compute()
    only = set(opened.table("galah_dr3").to_dask([]).compute().index) - set(
        opened.table("apogee_dr17").to_dask([]).compute().index
    )
    assert len(only) == GALAH - BOTH
    assert frame.loc[sorted(only), "m_h"].isna().all()
    assert (frame.loc[sorted(only), "m_h_n_sources"] == 0).all()
    assert frame["m_h_galah_dr3"].isna().all()


def test_eleven_common_stars_teach_nothing_and_the_refusal_says_why(real: Path, capsys) -> None:
    assert main(["--lake", str(real), "train", "translator", "galah_dr3_on_apogee_dr17", "--profile", "serial"]) == 1
    said = capsys.readouterr()
    assert "11 stars in common" in said.out
    assert "too few of 11 common stars teach, expected at least 100" in said.err
    assert not (real / "models" / "galah_dr3_on_apogee_dr17").exists()
