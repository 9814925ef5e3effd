"""Name what the Gaia archive's best-neighbour tables say of a match, for the surveys that come through them."""

from lake.declaration import Raw
from lake.survey import same

# To be selected of the best-neighbour table, which queries call x.
SELECTED = "x.angular_distance, x.number_of_neighbours, x.number_of_mates, x.xm_flag"
COLUMNS = {"match_separation": Raw("angular_distance")} | same("number_of_neighbours number_of_mates xm_flag")
# Only the match to DR2 had these columns; its ids name other sources.
FOREIGN = {"best_neighbour_multiplicity": "Gaia DR2", "gaia_astrometric_params": "Gaia DR2"}
