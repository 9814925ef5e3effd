"""Figures of a translation: that they are there, equal for equal stars, and survive stars that are few or odd."""

import struct

import numpy as np
import pytest

from jobs.translator_figures import domain_scores, importance_bars, residual_panels, running
from tests.models.judges import judges

BASES = ("galah_dr3", "apogee_dr17")
LABELS = ("teff", "logg", "metallicity", "mg_fe", "velocity")
IMPORTANCE = {
    "intrinsic": {
        "correction": {
            "groups": [["teff", "bp_g", "g_rp"], ["logg"]],
            "labels": {
                "teff": {"rms": 60.0, "rise": [5.0, 1.0], "rise_error": [0.1, 0.1], "share": [0.83, 0.17]},
                "logg": {"rms": None, "rise": [None, None], "rise_error": [None, None], "share": [None, None]},
            },
        }
    }
}


def size(png: bytes) -> tuple[int, int]:
    """Read width and height of a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


@pytest.fixture(scope="module")
def labels():
    return [judges(name, 1_000) for name in LABELS]


def test_residuals_have_a_row_per_label_and_equal_stars_equal_bytes(labels):
    drawn = residual_panels(labels, BASES)
    assert drawn == residual_panels(labels, BASES)
    assert size(drawn)[1] > 2 * size(residual_panels(labels[:2], BASES))[1]
    assert len(drawn) < 400_000


def test_figures_of_no_stars_or_of_equal_ones_are_drawn_all_the_same():
    one = judges("teff", 50)
    for rows in (judges("teff", 0), one):
        assert size(residual_panels([rows], BASES))[0] == 960
    one.source[:] = 5_000.0
    assert size(residual_panels([one], BASES))[0] == 960
    nothing = {"intrinsic": {"test split": np.full(3, np.nan)}}
    assert size(domain_scores(nothing))[0] == 960


def test_importance_without_a_number_leaves_its_bar_empty():
    assert size(importance_bars(IMPORTANCE))[0] == 960


def test_scores_of_both_networks_stand_side_by_side():
    score = judges("teff", 500).score
    drawn = domain_scores({"intrinsic": {"test split": score, "all": score * 3}, "extrinsic": {"test split": score}})
    assert size(drawn)[0] == 960


def test_the_running_median_leaves_out_bins_with_few_stars():
    x = np.concatenate([np.full(20, 0.5), np.full(3, 1.5), np.full(30, 2.5)])
    middles, percentiles = running(x, 10 * x, np.array([0.0, 1.0, 2.0, 3.0]))
    assert middles.tolist() == [0.5, 2.5]
    assert percentiles.tolist() == [[5, 5, 5], [25, 25, 25]]


def test_drawing_leaves_the_global_state_of_the_library_alone(labels):
    import matplotlib

    before = dict(matplotlib.rcParams)
    residual_panels(labels[:1], BASES)
    assert dict(matplotlib.rcParams) == before
