"""Name the columns of photometric surveys, and of the tables published beside their matches."""

from lake.columns.column import BOOL, F32, Column

COLUMNS = (
    Column("catwise_w1_mag", F32, "mag", "CatWISE W1 magnitude (Vega)", -5, 30, "no CatWISE counterpart"),
    Column("catwise_w2_mag", F32, "mag", "CatWISE W2 magnitude (Vega)", -5, 30, "no CatWISE counterpart"),
    Column("in_training_sample", BOOL, "", "Used to train the XGBoost labels of Andrae et al. (2023)"),
    Column("teff_xgboost", F32, "K", "Effective temperature, XGBoost on XP (Andrae et al. 2023)", 1000, 60000),
    Column("logg_xgboost", F32, "dex(cm / s2)", "Surface gravity, XGBoost on XP (Andrae et al. 2023)", -3, 9),
    Column("mh_xgboost", F32, "dex", "[M/H], XGBoost on XP (Andrae et al. 2023)", -8, 3),
)
