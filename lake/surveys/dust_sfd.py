"""Declare the reddening map of Schlegel, Finkbeiner & Davis (1998) at the position of every Gaia source.

Files: ``SFD_dust_4096_ngp.fits`` and ``SFD_dust_4096_sgp.fits`` (release 2 of May 1999, Dataverse doi:10.7910/DVN/EWCNL5).
E(B-V) is the whole column through the Galaxy, on the map's own scale: not times 0.86 (Schlafly & Finkbeiner 2011). It is too
large for stars inside the dust layer, and unreliable below 5 to 10 degrees of Galactic latitude. Linear interpolation.
The checksums of the files were not verified.
"""

from pathlib import Path

import pyarrow as pa

from lake.declaration import Computed, Http
from lake.dust import floats, galactic, sfd
from lake.survey import Survey, same

_DATAVERSE = "https://dataverse.harvard.edu/api/access/datafile"


def _reddening(rows: pa.Table, files: tuple[Path, ...]) -> pa.Table:
    """Return E(B-V) [mag] at each source's position."""
    return pa.table({"source_id": rows["source_id"], "ebv_sfd": floats(sfd(files)(galactic(rows), order=1), "ebv_sfd")})


SURVEY = Survey(
    name="dust_sfd",
    title="SFD98 E(B-V) to infinity [mag], not rescaled, at Gaia DR3 positions",
    release="2 (May 1999)",
    kind="extinction",
    citation="Schlegel, Finkbeiner & Davis 1998, ApJ 500, 525",
    licence="public; credit required",
    source="https://doi.org/10.7910/DVN/EWCNL5",
    patterns=("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits"),
    dialects=(),
    columns=same("source_id ebv_sfd"),
    computed=Computed(table="gaia_dr3_source", needs=("ra", "dec"), function=_reddening),
    fetch=Http(urls=(f"{_DATAVERSE}/2902687#SFD_dust_4096_ngp.fits", f"{_DATAVERSE}/2902695#SFD_dust_4096_sgp.fits")),
)
