"""The pretraining table: its columns and their order, brightness scaling of values and errors, and what is missing."""

import dask
import numpy as np
import pyarrow as pa
import pytest

import lake as lakes
from lake.columns import COLUMNS as VOCABULARY
from lake.errors import LakeError
from lake.pretrain import COLUMNS, REFERENCE_MAG, SOURCES, WIDE, _wide, assemble, pretrain
from lake.survey import survey, surveys

N = 55


def block(rows: list[list[float] | None], kind: pa.DataType) -> pa.Array:
    return pa.array(rows, pa.list_(pa.field("element", kind), N))


def joined(**columns: object) -> pa.Table:
    """Four joined rows: G known, G missing, G missing and a first RP coefficient below zero, no RP and no G."""
    rng = np.random.default_rng(0)
    bp, rp = rng.normal(size=(4, N)) * 100, rng.normal(size=(4, N)) * 100
    rp[:, 0] = [5e3, 8e5, -3.0, 1.0]
    errors = rng.uniform(1, 2, (4, N))
    held = {
        "source_id": pa.array([1, 2, 3, 4]),
        "bp_coefficients": block([*bp.tolist()[:1], None, *bp.tolist()[2:]], pa.float64()),
        "rp_coefficients": block([*rp.tolist()[:3], None], pa.float64()),
        "bp_coefficient_errors": block([*errors.tolist()[:1], None, *errors.tolist()[2:]], pa.float32()),
        "rp_coefficient_errors": block([*errors.tolist()[:3], None], pa.float32()),
        "bp_standard_deviation": pa.array([1.0, None, 1.5, 2.0], pa.float32()),
        "rp_standard_deviation": pa.array([1.0, 1.1, 1.5, None], pa.float32()),
        "bp_n_relevant_bases": pa.array([3, None, 5, 6], pa.int16()),
        "rp_n_relevant_bases": pa.array([3, 4, 5, None], pa.int16()),
        "phot_g_mean_mag": pa.array([13.5, None, None, None], pa.float32()),
        "phot_g_mean_flux": pa.array([1000.0, 0.0, -5.0, None]),
        "phot_g_mean_flux_error": pa.array([10.0, 10.0, 10.0, 10.0], pa.float32()),
    }
    return pa.table(held | columns)


def numbers(cell: pa.Scalar) -> np.ndarray:
    return np.array(cell.as_py(), float)


def test_wide_tables_spell_the_stored_names_in_the_stored_order_and_append_what_is_new():
    stored = ["source_id", "W1", "W2", "G", "BP", "RP"]
    stored += [f"{name}_{k}" for name in ("bp", "rp", "bpe", "rpe") for k in range(1, 56)]
    stored += ["U_SMSS", "RA", "DEC", "E_U_SMSS"]
    stored += [f"{what}{band}_SMSS" for band in "VGRIZ" for what in ("", "E_")]
    stored += [f"{what}{band}_SDSS" for band in "UGRIZ" for what in ("", "E_")]
    stored += [f"{what}{band}_PS1" for band in "GRIZY" for what in ("", "E_")]
    stored += [
        "J",
        "E_J",
        "H",
        "E_H",
        "KS",
        "E_KS",
        "PARALLAX",
        "EBV",
        "ruwe",
        "pmra",
        "pmdec",
        "e_pmra",
        "e_pmdec",
        "pmradec_corr",
    ]
    stored += ["g_flux_error", "bp_flux_error", "rp_flux_error", "e_parallax"]
    new = ["e_G", "e_BP", "e_RP", "flux_state", "xp_scale"]
    new += [f"{band}_{what}" for what in ("standard_deviation", "n_relevant_bases") for band in ("bp", "rp")]
    assert _wide(joined()).column_names == stored + new


def test_narrow_tables_have_canonical_names_of_the_vocabulary_in_the_same_order():
    assert tuple(assemble(joined()).column_names) == ("source_id", *COLUMNS)
    assert set(COLUMNS) <= set(VOCABULARY)
    assert len(set(WIDE.values())) == len(WIDE)
    for name, columns in SOURCES.items():
        assert set(columns) <= set(surveys()[name].columns)


def test_coefficients_and_errors_are_scaled_once_and_together_to_the_reference_magnitude():
    raw, made = joined(), assemble(joined())
    factor = 10 ** (0.4 * (13.5 - REFERENCE_MAG))
    assert REFERENCE_MAG == 8.5
    assert made["xp_scale"][0].as_py() == pytest.approx(factor, rel=1e-12)
    assert factor == pytest.approx(100.0)
    for name in ("bp_coefficients", "rp_coefficients"):
        np.testing.assert_allclose(numbers(made[name][0]), numbers(raw[name][0]) * factor, rtol=1e-12)
    for name in ("bp_coefficient_errors", "rp_coefficient_errors"):
        np.testing.assert_allclose(numbers(made[name][0]), numbers(raw[name][0]) * factor, rtol=1e-6)
    significance = numbers(raw["bp_coefficients"][0]) / numbers(raw["bp_coefficient_errors"][0])
    np.testing.assert_allclose(
        numbers(made["bp_coefficients"][0]) / numbers(made["bp_coefficient_errors"][0]), significance, rtol=1e-6
    )


def test_where_g_is_missing_the_first_rp_coefficient_decides_and_the_state_says_so():
    made = assemble(joined())
    assert made["flux_state"].to_pylist() == ["g_8.5", "rp_1", "unscaled", "unscaled"]
    assert made["xp_scale"].to_pylist()[1:] == [4e5 / 8e5, None, None]
    assert made["rp_coefficients"][1].as_py()[0] == pytest.approx(4e5)


def test_no_raw_flux_passes_for_a_scaled_one():
    made = assemble(joined())
    for row in (2, 3):
        assert all(
            made[name][row].as_py() is None
            for name in ("bp_coefficients", "rp_coefficients", "bp_coefficient_errors", "rp_coefficient_errors")
        )


def test_nulls_stay_null():
    raw, made = joined(), assemble(joined())
    assert made["bp_coefficients"][1].as_py() is None
    assert made["bp_coefficient_errors"][1].as_py() is None
    for name in ("phot_g_mean_mag", "bp_n_relevant_bases", "rp_standard_deviation"):
        assert made[name].to_pylist() == raw[name].to_pylist()


def test_a_missing_element_stays_a_missing_element_beside_scaled_ones():
    cell = [1.0, None, *[2.0] * (N - 2)]
    made = assemble(joined(bp_coefficients=block([cell] * 4, pa.float64())))
    assert made["bp_coefficients"][0].as_py() == pytest.approx([100.0, None, *[200.0] * (N - 2)])


def test_magnitude_errors_follow_from_flux_and_its_error_and_are_null_without_positive_flux():
    made = assemble(joined())["phot_g_mean_mag_error"].to_pylist()
    assert made[0] == pytest.approx(2.5 / np.log(10) * 10 / 1000, rel=1e-6)
    assert made[1:] == [None, None, None]


def test_columns_of_absent_tables_are_null_of_the_declared_types():
    made = assemble(joined())
    for name in ("catwise_w1_mag", "ra", "phot_rp_mean_mag", "phot_rp_mean_mag_error"):
        assert made[name].null_count == 4
        assert made[name].type == VOCABULARY[name].type


@pytest.mark.parametrize("rows", [0, 4])
def test_types_do_not_depend_on_the_rows(rows):
    assert assemble(joined().slice(0, rows)).schema == assemble(joined()).schema
    assert _wide(joined().slice(0, rows)).schema == _wide(joined()).schema


@pytest.mark.parametrize("wide", [False, True])
def test_the_table_of_a_lake_is_lazy_and_starts_from_the_spectra(wide, small_lake, stars):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        frame = small_lake.pretrain(wide=wide).to_dask()
        assert frame.divisions == small_lake.grid.divisions
    assert len(frame.optimize().__dask_graph__()) == len(small_lake.grid)
    found = frame.compute()
    assert found.index.tolist() == sorted(stars["gaia_dr3_xp"]["source_id"].to_pylist())
    assert (found.dtypes == frame.dtypes).all()


def test_a_lakes_rows_are_scaled_by_their_own_magnitudes(small_lake, stars):
    found = small_lake.pretrain().to_dask().compute()
    source = dict(zip(*(stars["gaia_dr3_source"][name].to_pylist() for name in ("source_id", "phot_g_mean_mag")), strict=True))
    spectra = {
        row["source_id"]: row
        for row in stars["gaia_dr3_xp"].select(["source_id", "bp_coefficients", "rp_coefficients"]).to_pylist()
    }
    states = set()
    for star, row in found.iterrows():
        g, rp = source.get(star), spectra[star]["rp_coefficients"]
        state = "g_8.5" if g is not None else "rp_1" if rp is not None and rp[0] > 0 else "unscaled"
        states.add(state)
        assert row["flux_state"] == state
        if state == "g_8.5" and spectra[star]["bp_coefficients"] is not None:
            wanted = np.array(spectra[star]["bp_coefficients"]) * 10 ** (0.4 * (g - 8.5))
            np.testing.assert_allclose(np.array(row["bp_coefficients"]), wanted, rtol=1e-10)
    assert states == {"g_8.5", "rp_1", "unscaled"}


def test_choosing_a_few_columns_gives_those_of_the_whole_table(small_lake):
    frame = small_lake.pretrain().to_dask()
    few = frame[["xp_scale", "catwise_w1_mag"]].compute()
    assert few.equals(frame.compute()[["xp_scale", "catwise_w1_mag"]])


def test_tables_that_the_lake_lacks_give_null_columns_and_without_spectra_there_is_no_table(
    small_lake, synthetic, new_lake, build, draw_ids, tmp_path
):
    alone = pretrain({"gaia_dr3_xp": small_lake.table("gaia_dr3_xp")})
    assert tuple(alone.schema().names) == ("source_id", *COLUMNS)
    leaf = next(k for k, piece in enumerate(small_lake.table("gaia_dr3_xp").pieces) if piece.key)
    held = alone.read_leaf(leaf)
    assert held["ra"].null_count == held.num_rows > 0
    assert set(held["flux_state"].to_pylist()) <= {"rp_1", "unscaled"}
    declared = survey("catwise_andrae2023")
    path = synthetic.write(declared, synthetic.rows(declared, draw_ids(10, 1)), tmp_path / "raw.fits", "fits")
    build.publish(new_lake, build.ingest(new_lake, declared.name, path))
    with pytest.raises(LakeError, match="starts from gaia_dr3_xp, which is not in the lake; `gaialake ingest gaia_dr3_xp"):
        lakes.open(new_lake.storage.root).pretrain()
