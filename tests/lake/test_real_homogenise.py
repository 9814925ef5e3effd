"""Real stars before any translation: how far APOGEE and GALAH are apart, how far [Fe/H] scatters within clusters; or a skip.

Eleven stars have labels of both surveys here, and no star of a cluster has them of two. That is too few to judge a translation or
a combination, so nothing is claimed of either: the figures say what they start from. Run with ``-s`` to see them.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from lake.columns import column
from lake.homogenise import COLUMNS_OF, LABELS, combine
from lake.label_sources import CATALOGUES

# Label -> names in the files; APOGEE's is [M/H], GALAH's [Fe/H].
NAMES = {"teff": ("teff", "teff"), "logg": ("logg", "logg"), "m_h": ("m_h", "fe_h"), "mg_fe": ("mg_fe", "Mg_fe")}
# What the eleven pairs were measured to be, APOGEE less GALAH: median and robust scatter.
MEASURED = {"teff": (52.2, 38.4), "logg": (-0.083, 0.132), "m_h": (-0.097, 0.136), "mg_fe": (0.041, 0.056)}
FEWEST = 15


def spread(values: np.ndarray) -> float:
    """Return the scatter of Gaussian values that have this median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def floats(table: Table, name: str) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan)


@pytest.fixture(scope="module")
def apogee(shared_data: Path) -> Table:
    return Table.read(shared_data / "apogee" / "Apogee_data_filtered_1612.shared.fits.gz")


@pytest.fixture(scope="module")
def galah(shared_data: Path) -> Table:
    return Table.read(shared_data / "galah" / "Galah_data_filtered_1061.shared.fits.gz")


@pytest.fixture(scope="module")
def pairs(apogee: Table, galah: Table) -> tuple[Table, Table]:
    """The same stars in both surveys."""
    _, first, second = np.intersect1d(apogee["dr3_source_id"], galah["dr3_source_id"], return_indices=True)
    return apogee[first], galah[second]


def joined(apogee: Table, galah: Table) -> pa.Table:
    """Return the rows as the lake joins them, nothing translated. The file of APOGEE holds no STARFLAG: 0 is put there."""
    given = {f"apogee_dr17.{ours}": floats(apogee, theirs) for ours, (theirs, _) in NAMES.items()}
    given |= {f"apogee_dr17.{ours}_error": floats(apogee, f"{theirs}_err") for ours, (theirs, _) in NAMES.items()}
    given |= {"apogee_dr17.apogee_starflag": np.zeros(len(apogee))}
    given |= {f"galah_dr3.{'fe_h' if ours == 'm_h' else ours}": floats(galah, theirs) for ours, (_, theirs) in NAMES.items()}
    given |= {
        "galah_dr3.galah_flag_sp": np.asarray(galah["flag_sp"]).astype(np.int64),
        "galah_dr3.snr": floats(galah, "snr_c3_iraf"),
    }
    columns = {"source_id": pa.array(np.asarray(apogee["dr3_source_id"]).astype(np.int64))}
    for table, names in COLUMNS_OF.items():
        for name in names:
            values, kind = given.get(f"{table}.{name}", [None] * len(apogee)), column(name).type
            columns[f"{table}.{name}"] = pa.array(values, from_pandas=True).cast(kind)
    return pa.table(columns)


@pytest.mark.parametrize("label", NAMES)
def test_the_eleven_stars_of_both_surveys_scatter_by_more_than_the_formal_errors_of_apogee(label, pairs):
    ours, theirs = NAMES[label]
    apart = floats(pairs[0], ours) - floats(pairs[1], theirs)
    errors = np.hypot(floats(pairs[0], f"{ours}_err"), floats(pairs[1], f"e_{theirs}"))
    there = np.isfinite(apart)
    formal = float(np.median(floats(pairs[0], f"{ours}_err")))
    print(
        f"{label}: {there.sum()} pairs, median {np.median(apart[there]):+.3f}, spread {spread(apart[there]):.3f}; "
        f"median error of both {np.median(errors[there]):.3f}, of APOGEE {formal:.3f}"
    )
    assert there.sum() == 11
    np.testing.assert_allclose((np.median(apart), spread(apart)), MEASURED[label], rtol=0.01)
    assert spread(apart) > 2.0 * formal


def test_without_a_translation_real_labels_are_apogees_own_and_galahs_take_no_part(pairs):
    made = combine(joined(*pairs))
    assert made.num_rows == 11
    for label in NAMES:
        native, error = floats(pairs[0], NAMES[label][0]), floats(pairs[0], f"{NAMES[label][0]}_err")
        np.testing.assert_array_equal(made[label].to_numpy(), native.astype(np.float32))
        floor = CATALOGUES[0].floors[label]
        np.testing.assert_allclose(made[f"{label}_error"].to_numpy(), np.hypot(error, floor), rtol=1e-6)
        there = np.isfinite(native)
        assert made[f"{label}_n_sources"].to_pylist() == there.astype(int).tolist()
        assert set(made[f"{label}_sources"].to_pylist()) <= {0, 1}
        assert made[f"{label}_chi2"].null_count == 11
        assert made[f"{label}_galah_dr3"].null_count == 11
    assert made["radial_velocity"].null_count == 11


def test_all_real_rows_of_apogee_pass_the_combination_unharmed(apogee):
    made = combine(joined(apogee, apogee_as_galah(apogee)))
    assert made.num_rows == 1082
    for label in ("teff", "logg", "m_h", "mg_fe"):
        assert made[label].null_count == int(np.isnan(floats(apogee, label)).sum()) < 20
        low, high = column(label).low, column(label).high
        values = made[label].drop_null().to_numpy()
        assert low <= values.min() <= values.max() <= high
    assert set(LABELS) > set(NAMES)


def apogee_as_galah(apogee: Table) -> Table:
    """Return a table of GALAH's form without a value for these stars."""
    empty = Table({name: np.full(len(apogee), np.nan) for name in ("teff", "logg", "fe_h", "Mg_fe", "snr_c3_iraf")})
    empty["flag_sp"] = np.zeros(len(apogee), int)
    return empty


def test_iron_scatters_within_real_clusters_by_more_than_its_formal_error_before_combination(shared_data):
    """Members of open clusters by position, velocity and motion (not by [Fe/H]), APOGEE DR16, single stars by their visits."""
    held = Table.read(shared_data / "clusters" / "occam_member-DR16.shared.fits.gz")
    member = (held["RV_PROB"] > 0.01) & (held["PM_PROB"] > 0.01) & (held["VSCATTER"] < 1.0)
    member &= (held["FE_H"] > -5.0) & (held["FE_H_ERR"] > 0.0)
    rows = held[member]
    names, counts = np.unique(np.asarray(rows["CLUSTER"]).astype(str), return_counts=True)
    spreads, formal = [], []
    for name in names[counts >= FEWEST]:
        stars = rows[np.asarray(rows["CLUSTER"]).astype(str) == name]
        spreads.append(spread(floats(stars, "FE_H")))
        formal.append(float(np.median(floats(stars, "FE_H_ERR"))))
        middle = np.median(stars["FE_H"])
        print(f"{name}: {len(stars)} members, [Fe/H] {middle:+.3f}, spread {spreads[-1]:.3f}, formal {formal[-1]:.3f}")
    assert len(spreads) >= 8
    # Formal errors are too small to be errors; the floor of the base is about what clusters show.
    assert np.median(spreads) > 2.0 * np.median(formal)
    assert 0.5 < CATALOGUES[0].floors["m_h"] / np.median(spreads) < 1.5
