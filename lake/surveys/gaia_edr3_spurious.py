"""Declare the astrometric fidelity of Gaia EDR3 sources (Rybizki et al. 2022), and how far neighbours disturb their colours.

Files: results of the query below on ``external.gaiaedr3_spurious`` of the Gaia archive; EDR3 and DR3 share their ids. Rows are
the 1.47 billion sources with a parallax. A null ``norm_dg`` (NaN in some exports) means that no neighbour disturbs, and a null
distance that there is no such neighbour: neither is missing data. Column names were checked in a public copy of the archive's
table definitions. Ids are the archive's own, so there is no match that a relation could test.
"""

from lake.columns import quality
from lake.declaration import Adql
from lake.survey import Survey, same

_COLUMNS = tuple(entry.name for entry in quality.COLUMNS if entry.name != "parallax_zero_point")

SURVEY = Survey(
    name="gaia_edr3_spurious",
    title="Astrometric fidelity and crowding of Gaia EDR3 sources",
    release="edr3 (ids of dr3)",
    kind="astrometry",
    citation="Rybizki et al. 2022, MNRAS 510, 2597",
    licence="GAVO and ESA/Gaia/DPAC; credit required",
    source="https://gea.esac.esa.int/archive/",
    patterns=("gaia_edr3_spurious*", "gaiaedr3_spurious*"),
    dialects=("fits", "archive_csv", "votable"),
    columns=same("source_id " + " ".join(_COLUMNS)),
    required=("source_id", "fidelity_v2", "norm_dg"),
    fetch=Adql(
        f"SELECT source_id, {', '.join(_COLUMNS)} FROM external.gaiaedr3_spurious WHERE source_id BETWEEN {{low}} AND {{high}}",
        rows=1_467_744_818,
    ),
    rows=1_467_744_818,
)
