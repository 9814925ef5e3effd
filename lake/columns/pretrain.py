"""Name the columns that the training tables and the tables of predictions add to those of the surveys."""

from lake.columns.column import F32, F32_LIST, F64, I16, TEXT, Column

_NO_MODEL_INPUT = "no input of the model is present for this source"

COLUMNS = (
    Column("phot_g_mean_mag_error", F32, "mag", "Standard error of phot_g_mean_mag from its flux", 0),
    Column("phot_bp_mean_mag_error", F32, "mag", "Standard error of phot_bp_mean_mag from its flux", 0),
    Column("phot_rp_mean_mag_error", F32, "mag", "Standard error of phot_rp_mean_mag from its flux", 0),
    Column(
        "flux_state",
        TEXT,
        "",
        "Brightness to which the XP block is scaled: g_8.5 (as if G were 8.5 mag), rp_1 (first RP coefficient = 4e5; used "
        "where G is missing), unscaled (neither is known; the coefficients are null)",
    ),
    Column("xp_scale", F64, "", "Factor by which XP coefficients and errors were multiplied", 0, None, "flux_state is unscaled"),
    Column(
        "split",
        TEXT,
        "",
        "What the star is for: train, validation or test, by patches of the sky; reserve came into a test patch after the test "
        "stars were frozen",
        null="never null",
    ),
    Column("embedding", F32_LIST, "", "Embedding of the source by the model", null=_NO_MODEL_INPUT),
    Column(
        "reconstruction_error",
        F32,
        "",
        "Root mean square of (reconstruction - input) / error, nothing hidden",
        0,
        None,
        _NO_MODEL_INPUT,
    ),
    Column(
        "reconstruction_error_masked",
        F32,
        "",
        "Root mean square of (reconstruction - input) / error of the XP half that was hidden from the model",
        0,
        None,
        "no XP coefficients to hide",
    ),
    Column("n_features_present", I16, "", "Inputs of the model that were present", 0, None, "never null"),
)
