"""Name the columns of SEGUE, RAVE and Gaia-ESO that no other survey has."""

from lake.columns.column import F32, I16, I32, TEXT, Column

COLUMNS = (
    Column("segue_spec_id", TEXT, "", "SDSS's number of the spectrum (specObjID)"),
    Column("segue_plate", I16, "", "Number of the SDSS plate", 0),
    Column("segue_mjd", I32, "d", "Modified Julian day of the observation", 40_000, 100_000),
    Column("segue_fiber", I16, "", "Number of the fibre on the plate", 1, 1000),
    Column("segue_g_mag", F32, "mag", "SDSS g magnitude (AB) in SEGUE's table", -5, 40),
    Column("sspp_flag", TEXT, "", "Five letters of the SEGUE pipeline on kind, colour and lines of the star; nnnnn is normal"),
    Column("sspp_star_flag", TEXT, "", "First letter of sspp_flag: n normal, D d H h E S V critical, l N cautionary"),
    Column("rave_obs_id", TEXT, "", "RAVE's name of the observation: date, field, fibre"),
    Column(
        "madera_convergence",
        I16,
        "",
        "State of the MADERA pipeline: 0 converged, 1 not converged, 2 oscillated between two solutions, 3 at or beyond the "
        "border of its grid, 4 metal-poor giant run again",
        0,
        4,
    ),
    Column("ges_object", TEXT, "", "Gaia-ESO's name of the object"),
    Column("ges_field", TEXT, "", "Gaia-ESO's name of the field"),
    Column("ges_type", TEXT, "", "Programme of Gaia-ESO that chose the target, such as GE_MW or GE_CL"),
    Column("ges_flags", TEXT, "", "Simplified flags of Gaia-ESO", null="no flag raised"),
    Column("ges_vsini_limit", I16, "", "Whether vsini is a limit: 0 measured, 1 or -1 a limit", -1, 1),
)
