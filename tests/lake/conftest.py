"""Share the raw rows that several tests of the lake start from; all of them are synthetic."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lake.survey import survey

CATWISE, SOURCE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_source"), survey("gaia_dr3_xp")


@pytest.fixture
def gaia(synthetic, draw_ids) -> pa.Table:
    """Thirty raw rows of gaia_source, all columns."""
    return synthetic.raw(SOURCE, synthetic.rows(SOURCE, draw_ids(30, 1)))


@pytest.fixture
def spectra(synthetic, draw_ids) -> pa.Table:
    """Twelve raw rows of XP coefficients without correlations."""
    raw = synthetic.raw(XP, synthetic.rows(XP, draw_ids(12, 2), integer_nulls=False))
    return raw.drop_columns(["bp_coefficient_correlations", "rp_coefficient_correlations"])


@pytest.fixture
def rows(synthetic, draw_ids) -> pa.Table:
    """Rows of the CatWISE table, in random order."""
    return synthetic.rows(CATWISE, draw_ids(240, 11), 11)


@pytest.fixture
def three_files(rows, synthetic, tmp_path) -> list[Path]:
    """The rows as three FITS files that follow one another on the sky."""
    ordered = rows.take(pc.sort_indices(rows["source_id"]))
    return [synthetic.write(CATWISE, ordered.slice(80 * k, 80), tmp_path / f"part{k}.fits", "fits") for k in range(3)]
