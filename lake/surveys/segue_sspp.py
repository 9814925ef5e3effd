"""Declare the adopted labels of the SEGUE Stellar Parameter Pipeline (SSPP), one row per spectrum.

File: ``ssppOut-dr12.fits``, unchanged from DR12 to DR17; data model: SDSS, SSPP_REDUX, ssppOut (239 columns). -9999 is null.
Spectra whose first flag letter is critical (white dwarf, hot, emission, sky, no velocity) lose their labels: the pipeline
says that it ignores or rescues them there. Cautionary letters stay, the whole flag beside.
Positions are SDSS's, of imaging between 1998 and 2009; no ids, so they are matched. Not verified: whether G_MAG, which only
tests the match, is corrected for extinction.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Http, Mask, Position, Raw, Relation, Where
from lake.survey import Survey, beyond

_LABELS = ("teff", "teff_error", "logg", "logg_error", "fe_h", "fe_h_error")
_MEASURED = ("radial_velocity", "radial_velocity_error", "snr", "segue_g_mag")


def _first_letter(table: pa.Table) -> pa.Table:
    """Take the letter of the flag that judges the star as a whole."""
    return table.append_column("sspp_star_flag", pc.utf8_slice_codeunits(table["sspp_flag"], 0, 1))


SURVEY = Survey(
    name="segue_sspp",
    title="SEGUE stellar parameters (SSPP, SDSS DR12 to DR17)",
    release="dr12",
    kind="labels",
    citation="Lee et al. 2008, AJ 136, 2022; Yanny et al. 2009, AJ 137, 4377; Alam et al. 2015, ApJS 219, 12",
    licence="SDSS data; acknowledgement required",
    source="https://www.sdss4.org/dr17/spectro/sspp/",
    patterns=("ssppOut-dr12*",),
    dialects=("fits",),
    columns={
        "segue_spec_id": Raw("SPECOBJID"),
        "segue_plate": Raw("PLATE"),
        "segue_mjd": Raw("MJD"),
        "segue_fiber": Raw("FIBER"),
        "object_ra": Raw("PLUG_RA"),
        "object_dec": Raw("PLUG_DEC"),
        "sspp_flag": Raw("FLAG"),
        "teff": Raw("TEFF_ADOP"),
        "teff_error": Raw("TEFF_ADOP_UNC"),
        "logg": Raw("LOGG_ADOP"),
        "logg_error": Raw("LOGG_ADOP_UNC"),
        "fe_h": Raw("FEH_ADOP"),
        "fe_h_error": Raw("FEH_ADOP_UNC"),
        "radial_velocity": Raw("RV_ADOP"),
        "radial_velocity_error": Raw("RV_ADOP_UNC"),
        "snr": Raw("SNR"),
        "segue_g_mag": Raw("G_MAG"),
    },
    required=("object_ra", "object_dec", "sspp_flag", "teff", "logg", "fe_h"),
    missing=dict.fromkeys((*_LABELS, *_MEASURED), (-9999.0,)),
    made=("sspp_star_flag",),
    clean=_first_letter,
    masks=(
        Mask(_LABELS, Where("sspp_star_flag", other_than=("n", "l", "N"))),
        *(beyond(name) for name in (*_LABELS, *_MEASURED) if name.endswith("_error") or name == "snr"),
        beyond("radial_velocity", "radial_velocity_error"),
    ),
    match=Position(epoch=2004.0, radius=2.0),
    duplicates="best",
    best=("-snr",),
    # Dust reddens many stars of the disc, hence the share of outliers; a wrong key shows in the scatter.
    relations=(
        Relation(
            "segue_g_mag", against=("phot_g_mean_mag", ("phot_bp_mean_mag", "phot_rp_mean_mag")), tolerance=0.7, scatter=0.5
        ),
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.3, scatter=0.8),
    ),
    fetch=Http(urls=("https://data.sdss.org/sas/dr17/sdss/sspp/ssppOut-dr12.fits",)),
)
