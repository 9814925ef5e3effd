"""Declare the Planck 2013 thermal dust model at the position of every Gaia source.

File: ``HFI_CompMap_ThermalDustModel_2048_R1.20.fits`` (Planck Collaboration XI 2014), HEALPix of nside 2048, Galactic, nearest
pixel. E(B-V) is the whole column through the Galaxy: from the optical depth at 353 GHz, which follows denser lines of sight,
and from the dust radiance, which its authors prefer for extragalactic work at high latitude.
"""

from pathlib import Path

import pyarrow as pa

from lake.declaration import Computed, Http
from lake.dust import floats, galactic, planck
from lake.survey import Survey, same

_FILE = "HFI_CompMap_ThermalDustModel_2048_R1.20.fits"
_COMPONENTS = {"ebv_planck": "tau", "ebv_planck_radiance": "extragalactic"}


def _reddening(rows: pa.Table, files: tuple[Path, ...]) -> pa.Table:
    """Return both kinds of E(B-V) [mag] at each source's position."""
    where = galactic(rows)
    made = {name: floats(planck(files, component)(where), name) for name, component in _COMPONENTS.items()}
    return pa.table({"source_id": rows["source_id"], **made})


SURVEY = Survey(
    name="dust_planck",
    title="Planck 2013 E(B-V) to infinity [mag] at Gaia DR3 positions",
    release="R1.20",
    kind="extinction",
    citation="Planck Collaboration XI 2014, A&A 571, A11",
    licence="ESA and the Planck Collaboration; credit required",
    source="https://pla.esac.esa.int/",
    patterns=(_FILE,),
    dialects=(),
    columns=same("source_id " + " ".join(_COMPONENTS)),
    computed=Computed(table="gaia_dr3_source", needs=("ra", "dec"), function=_reddening),
    fetch=Http(
        urls=(f"https://pla.esac.esa.int/pla/aio/product-action?MAP.MAP_ID={_FILE}#{_FILE}",),
        md5=((_FILE, "8d804f4e64e709f476a63f0dfed1fd11"),),
    ),
)
