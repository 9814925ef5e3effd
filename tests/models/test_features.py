"""Reading features from Arrow."""

import numpy as np
import pyarrow as pa
import pytest

from models.features import gaia_features, matrices, reconstructed_values, value_names, width, xp_values


def column(table, name, features):
    """Values and inverse variances of one value, by name."""
    _, values, ivar = matrices(table, features)
    index = value_names(features).index(name)
    return values[:, index], ivar[:, index]


def replaced(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, values)


def test_a_row_without_bp_does_not_shift_the_rows_after_it(table):
    features = gaia_features(table.schema)
    source_id, values, ivar = matrices(table, features)
    rows = table.to_pylist()
    assert any(row["bp_coefficients"] is None for row in rows[:100])
    for row, found, weight in zip(rows, values[:, :6], ivar[:, :6], strict=True):
        expected = row["bp_coefficients"] or [0.0] * 6
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert (weight > 0).all() == (row["bp_coefficients"] is not None)
    assert source_id.tolist() == table["source_id"].to_pylist()


@pytest.mark.parametrize("start", [0, 3, 199, 200])
def test_a_slice_reads_as_the_same_rows_of_the_whole(table, start):
    features = gaia_features(table.schema)
    whole = matrices(table, features)
    # A slice of a batch keeps its offset in the buffers; one of a table loses it when chunks are joined.
    batch = table.combine_chunks().to_batches()[0]
    for sliced in (table.slice(start, 77), batch.slice(start, 77)):
        for expected, found in zip(whole, matrices(sliced, features), strict=True):
            np.testing.assert_array_equal(found, expected[start : start + 77])


def test_chunks_batches_and_filtered_tables_read_alike(table):
    features = gaia_features(table.schema)
    whole = matrices(table, features)
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13, 0), table.slice(13)])
    keep = np.arange(table.num_rows) % 3 == 0
    for expected, chunks, batch, filtered in zip(
        whole,
        matrices(chunked, features),
        matrices(table.to_batches()[0], features),
        matrices(table.filter(pa.array(keep)), features),
        strict=True,
    ):
        np.testing.assert_array_equal(chunks, expected)
        np.testing.assert_array_equal(batch, expected)
        np.testing.assert_array_equal(filtered, expected[keep])


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf, 1e300])
def test_null_nan_infinite_and_overflowing_values_are_missing_and_zero(table, bad):
    magnitudes = pa.array([bad] + [12.0] * 199, pa.float64())
    features = gaia_features(table.schema)
    values, ivar = column(replaced(table, "phot_g_mean_mag", magnitudes), "phot_g_mean_mag", features)
    assert (values[0], ivar[0]) == (0, 0)
    assert (values[1:] == 12).all()
    assert (ivar[1:] > 0).all()


@pytest.mark.parametrize("bad", [None, np.nan, 0.0, -1.0])
def test_a_value_without_a_positive_error_gets_the_default_error(table, bad):
    errors = pa.array([bad] + [0.1] * 199, pa.float32())
    features = gaia_features(table.schema)
    _, ivar = column(replaced(table, "phot_g_mean_mag_error", errors), "phot_g_mean_mag", features)
    np.testing.assert_allclose(ivar[:2], [0.01**-2, 0.1**-2], rtol=1e-6)


def test_no_inverse_variance_overflows(table):
    errors = pa.array([1e-40, 1e38] * 100, pa.float64())
    features = gaia_features(table.schema)
    _, ivar = column(replaced(table, "phot_g_mean_mag_error", errors), "phot_g_mean_mag", features)
    assert np.isfinite(ivar).all()
    assert (ivar > 0).all()


def test_parallax_enters_as_clipped_significance(table):
    table = replaced(table, "parallax", pa.array([100.0, -100.0, 0.2, None] * 50))
    table = replaced(table, "parallax_error", pa.array([0.1, 0.1, 0.1, 0.1] * 50, pa.float32()))
    values, ivar = column(table, "parallax_significance", gaia_features(table.schema))
    np.testing.assert_allclose(values[:4], [10, -10, 2, 0], rtol=1e-6)
    assert ivar[:4].tolist() == [1, 1, 1, 0]


def test_parallax_without_error_is_missing(table):
    features = gaia_features(table.schema)
    _, ivar = column(table.drop_columns("parallax_error"), "parallax_significance", features)
    assert not ivar.any()


def test_positions_on_both_sides_of_zero_are_neighbours(table):
    table = replaced(table, "ra", pa.array([359.9999, 0.0001] * 100))
    features = gaia_features(table.schema)
    for name in ("cos_ra", "sin_ra"):
        values, _ = column(table, name, features)
        assert abs(values[0] - values[1]) < 1e-5


def test_absent_columns_and_columns_of_null_type_are_missing(table):
    features = gaia_features(table.schema)
    table = table.drop_columns(["catwise_w1_mag", "bp_coefficients"])
    table = replaced(table, "phot_g_mean_mag", pa.nulls(200))
    _, values, ivar = matrices(table, features)
    names = np.array(value_names(features))
    gone = np.isin(names, ["catwise_w1_mag", "phot_g_mean_mag"]) | np.char.startswith(names, "bp_co")
    assert not ivar[:, gone].any()
    assert not values[:, gone].any()
    assert ivar[:, ~gone].any(axis=0).all()


@pytest.mark.parametrize(("n_bp", "n_rp"), [(55, 55), (7, 3), (1, 1)])
def test_the_number_of_coefficients_comes_from_the_data(synthetic_table, n_bp, n_rp):
    table = synthetic_table(5, n_bp=n_bp, n_rp=n_rp)
    features = gaia_features(table.schema)
    assert width(features) == n_bp + n_rp + 5 + 6
    assert matrices(table, features)[1].shape == (5, width(features))
    assert xp_values(features).sum() == n_bp + n_rp
    assert reconstructed_values(features).sum() == n_bp + n_rp + 5


def test_an_empty_table_gives_empty_matrices(table):
    features = gaia_features(table.schema)
    source_id, values, ivar = matrices(table.slice(0, 0), features)
    assert source_id.shape == (0,)
    assert values.shape == ivar.shape == (0, width(features))


def test_another_list_length_is_refused_with_found_and_expected(synthetic_table):
    features = gaia_features(synthetic_table(5, n_bp=6).schema)
    with pytest.raises(ValueError, match=r"'bp_coefficients'.*\[7\].*expected fixed_size_list of 6"):
        matrices(synthetic_table(5, n_bp=7), features)


def test_variable_length_lists_are_refused(table):
    loose = replaced(table, "bp_coefficients", table["bp_coefficients"].cast(pa.list_(pa.float64())))
    with pytest.raises(ValueError, match="expected fixed_size_list"):
        gaia_features(loose.schema)


@pytest.mark.parametrize("ids", [pa.array([1.0] * 200), pa.array([None] + [1] * 199, pa.int64()), pa.nulls(200)])
def test_source_id_must_be_int64_without_nulls(table, ids):
    with pytest.raises(ValueError, match="source_id"):
        matrices(replaced(table, "source_id", ids), gaia_features(table.schema))


@pytest.mark.parametrize("state", ["raw", "unscaled"])
def test_unscaled_xp_is_refused(table, state):
    mixed = replaced(table, "flux_state", pa.array([state, None] + ["g_8.5"] * 198))
    with pytest.raises(ValueError, match="in 1 of 200 rows"):
        matrices(mixed, gaia_features(table.schema))


def test_an_unscaled_row_without_coefficients_is_accepted(table, nulled):
    bare = nulled(table, "bp_coefficients", "rp_coefficients")
    bare = replaced(bare, "flux_state", pa.array(["unscaled"] * 200))
    assert matrices(bare, gaia_features(table.schema))[2].any()
