"""Name the reddening that dust maps give at the position, or the place in space, of a source."""

from lake.columns.column import BOOL, F32, Column

_OUTSIDE = "outside the map, or no parallax"

COLUMNS = (
    Column("ebv_sfd", F32, "mag", "E(B-V) to infinity, SFD98 map on its own scale (not times 0.86)", 0, 1000),
    Column("ebv_planck", F32, "mag", "E(B-V) to infinity, Planck 2013 map R1.20: 1.49e4 times optical depth at 353 GHz", -1, 1e4),
    Column("ebv_planck_radiance", F32, "mag", "E(B-V) to infinity, Planck 2013 map R1.20, from dust radiance", -1, 1e4),
    Column(
        "reddening_bayestar2019",
        F32,
        "mag",
        "Reddening at the parallax distance in the unit of the Bayestar2019 map: mean over parallax and the map's samples",
        0,
        1000,
        _OUTSIDE,
    ),
    Column(
        "reddening_bayestar2019_error",
        F32,
        "mag",
        "Standard deviation of reddening_bayestar2019 over parallax and the map's samples",
        0,
        1000,
        _OUTSIDE,
    ),
    Column("bayestar2019_converged", BOOL, "", "The map's fit of this line of sight converged", null=_OUTSIDE),
    Column("bayestar2019_reliable", BOOL, "", "The distance lies where the map's stars constrain it", null=_OUTSIDE),
)
