"""Name the columns of the GALAH catalogues that no other survey has."""

from lake.columns.column import F32, I32, I64, TEXT, Column

COLUMNS = (
    Column("sobject_id", I64, "", "GALAH's number of the observation: date, run, combination, pivot", 1),
    Column("galah_survey_name", TEXT, "", "Programme that observed the star"),
    Column("galah_field_id", I32, "", "GALAH's number of the field", 0, None, "the programme has no field numbers"),
    Column("galah_flag_sp", I32, "", "flag_sp: bits of the stellar parameters", 0),
    Column("galah_flag_sp_fit", I32, "", "flag_sp_fit: diagnostic bits of the fit", 0),
    Column("galah_flag_red", I32, "", "flag_red: bits of the reduction", 0),
    Column("galah_ebv", F32, "mag", "Reddening E(B - V) that GALAH used", -1, 50),
)
