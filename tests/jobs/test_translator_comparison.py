"""Our translated table beside the authors' one."""

import json

import numpy as np
import pyarrow as pa
import pytest

from jobs.translator_comparison import comparison
from models.translation import TRANSLATIONS

LABELS = TRANSLATIONS["galah_dr3_on_apogee_dr17"].labels
ROWS = 1_000
IDS = np.arange(1, ROWS + 1) * 10


def ours() -> dict[str, pa.Array]:
    """Make synthetic translated labels, all flags good."""
    rng = np.random.default_rng(0)
    columns = {"source_id": pa.array(IDS, pa.int64())}
    for label in LABELS:
        columns[f"{label.name}_p50"] = pa.array(rng.normal(4_000.0 if label.name == "teff" else 0.5, 0.1, ROWS))
    for network in ("intrinsic", "extrinsic"):
        columns |= {
            f"{network}_input_missing": pa.array(np.zeros(ROWS, bool)),
            f"{network}_input_covered": pa.array(np.ones(ROWS, bool)),
            f"{network}_output_covered": pa.array(np.ones(ROWS, bool)),
        }
    return columns


def authors() -> dict[str, pa.Array]:
    """Make the same with an offset, less good flags, other rows, and a temperature that no star has."""
    rng = np.random.default_rng(1)
    columns = ours()
    for label in LABELS:
        name = f"{label.name}_p50"
        columns[name] = pa.array(columns[name].to_numpy() - 0.2 + 0.01 * rng.normal(size=ROWS))
    teff = columns["teff_p50"].to_numpy().copy()
    teff[5], mask = 4e6, np.arange(ROWS) == 6
    columns["teff_p50"] = pa.array(teff, mask=mask)
    columns["intrinsic_input_covered"] = pa.array(np.arange(ROWS) >= 100)
    columns["percentiles_ordered"] = pa.array(np.arange(ROWS) >= 3)
    return columns


@pytest.fixture
def tables():
    shifted = np.random.default_rng(2).permutation(ROWS - 50) + 50
    return pa.table(ours()), pa.table(authors()).take(shifted)


def test_differences_are_of_sources_that_both_tables_have(tables):
    found = comparison(*tables, None, LABELS)
    json.dumps(found, allow_nan=False)
    assert found["rows"] == {"ours": ROWS, "authors": ROWS - 50, "common": ROWS - 50}
    for label in LABELS:
        one = found["labels"][label.name]["difference"]
        assert one["n"] == ROWS - 50
        assert one["median"] == pytest.approx(0.2, abs=0.002)
        assert one["scatter"] == pytest.approx(0.01, rel=0.1)
        assert found["labels"][label.name]["base"] is None


def test_values_that_no_star_has_are_counted_and_left_out():
    found = comparison(pa.table(ours()), pa.table(authors()), None, LABELS)
    assert (found["labels"]["teff"]["authors_null"], found["labels"]["teff"]["ours_null"]) == (2, 0)
    assert found["labels"]["teff"]["difference"]["n"] == ROWS - 2
    assert abs(found["labels"]["teff"]["difference"]["bias"]) < 1
    assert found["authors_unordered"] == 3


def test_flags_are_counted_by_who_sets_them(tables):
    flags = comparison(*tables, None, LABELS)["flags"]
    assert flags["intrinsic_input_covered"] == {"both": ROWS - 100, "only_ours": 50, "only_authors": 0, "neither": 0}
    assert flags["intrinsic_input_missing"] == {"both": 0, "only_ours": 0, "only_authors": 0, "neither": ROWS - 50}


def test_both_stand_against_the_base_on_the_same_stars(tables):
    target = {label.name: f"to_{label.target}" for label in LABELS}
    some = np.arange(0, ROWS, 2)
    truth = {name: pa.array(ours()[f"{label}_p50"].to_numpy()[some] + 0.05) for label, name in target.items()}
    base = pa.table({"source_id": pa.array(IDS[some], pa.int64()), **truth})
    found = comparison(*tables, base, LABELS)["labels"]["mg_fe"]["base"]
    assert found["ours"]["n"] == found["authors"]["n"] == (ROWS - 50) // 2
    assert found["ours"]["median"] == pytest.approx(-0.05)
    assert found["authors"]["median"] == pytest.approx(-0.25, abs=0.002)


def test_tables_without_a_common_source_have_no_differences():
    other = ours() | {"source_id": pa.array(IDS + 1, pa.int64())}
    found = comparison(pa.table(ours()), pa.table(other), None, LABELS)
    assert found["rows"]["common"] == 0
    assert found["labels"]["teff"]["difference"]["bias"] is None
    json.dumps(found, allow_nan=False)


def test_a_table_that_lacks_a_flag_or_a_label_is_compared_in_the_rest():
    less = {name: array for name, array in authors().items() if name not in ("extrinsic_output_covered", "velocity_p50")}
    found = comparison(pa.table(ours()), pa.table(less), None, LABELS)
    assert "extrinsic_output_covered" not in found["flags"]
    assert found["labels"]["velocity"]["authors_null"] == ROWS
    assert found["labels"]["teff"]["difference"]["n"] == ROWS - 2
