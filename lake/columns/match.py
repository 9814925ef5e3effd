"""Name the columns that matching and merging add to a survey's own."""

from lake.columns.column import F32, F64, I16, TEXT, Column

COLUMNS = (
    Column("object_ra", F64, "deg", "Right ascension in the survey's own catalogue, at its epoch (ICRS)", 0, 360),
    Column("object_dec", F64, "deg", "Declination in the survey's own catalogue, at its epoch (ICRS)", -90, 90),
    Column("match_separation", F32, "arcsec", "Separation of object and Gaia source, the source at the object's epoch", 0, 60),
    Column("match_candidates", I16, "", "Gaia sources within the radius of the match, the nearest of which was taken", 1),
    Column("n_observations", I16, "", "Rows of this source in the survey, of which the best was kept", 1),
    Column("label_origin", TEXT, "", "Survey from which the labels of this row come"),
)
