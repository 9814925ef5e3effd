"""Declare the recommended labels of the Gaia-ESO Survey, final release (DR5.1), one row per star: 114,916 targets.

Files: the catalogue of the ESO archive (FITS), or an export of the selection of its columns that the Gaia archive holds as
``external.gaia_eso_survey``, with its ``dec`` under ESO's name. Neither has Gaia ids; positions are those of the targets at
J2000. A vsini that is a limit, upper or lower, is null, its mark beside. Abundances are absolute (log of the number ratio to
hydrogen), another quantity than [X/Fe], and are not taken. Names: the Gaia archive's; not verified: SNR, which only ESO's file
has, and the values of its mark of limits other than 0.
"""

from lake.declaration import Adql, Mask, Position, Raw, Relation, Where
from lake.survey import Survey, beyond

_QUERY = """
SELECT object, ges_fld, ges_type, ra, dec AS declination, teff, e_teff, logg, e_logg, feh, e_feh, vrad, e_vrad, vsini, e_vsini,
       lim_vsini, sflags
FROM external.gaia_eso_survey
"""

SURVEY = Survey(
    name="gaia_eso",
    title="Gaia-ESO Survey DR5.1, recommended labels",
    release="dr5.1",
    kind="labels",
    citation="Gilmore et al. 2022, A&A 666, A120; Randich et al. 2022, A&A 666, A121; Hourihane et al. 2023, A&A 676, A129",
    licence="ESO data access policy; acknowledge ESO programmes 188.B-3002, 193.B-0936 and 197.B-1074",
    source="https://www.eso.org/qi/ (Gaia-ESO, release 5.1)",
    patterns=("gaia_eso*", "GES_DR5*", "*gaia-eso*"),
    dialects=("fits", "votable", "archive_csv"),
    columns={
        "ges_object": Raw("OBJECT"),
        "ges_field": Raw("GES_FLD"),
        "ges_type": Raw("GES_TYPE"),
        "object_ra": Raw("RA"),
        "object_dec": Raw("DECLINATION"),
        "teff": Raw("TEFF"),
        "teff_error": Raw("E_TEFF"),
        "logg": Raw("LOGG"),
        "logg_error": Raw("E_LOGG"),
        "fe_h": Raw("FEH"),
        "fe_h_error": Raw("E_FEH"),
        "radial_velocity": Raw("VRAD"),
        "radial_velocity_error": Raw("E_VRAD"),
        "vsini": Raw("VSINI"),
        "vsini_error": Raw("E_VSINI"),
        "ges_vsini_limit": Raw("LIM_VSINI"),
        "ges_flags": Raw("SFLAGS"),
        "snr": Raw("SNR"),
    },
    required=("object_ra", "object_dec", "teff", "logg", "fe_h"),
    masks=(
        Mask(("vsini", "vsini_error"), Where("ges_vsini_limit", other_than=(0,))),
        *(beyond(f"{name}_error") for name in ("teff", "logg", "fe_h", "vsini")),
        beyond("radial_velocity", "radial_velocity_error"),
        beyond("radial_velocity_error"),
    ),
    match=Position(epoch=2000.0, radius=2.0),
    duplicates="best",
    best=("-snr", "teff_error"),
    # Dust reddens many stars of the disc, hence the share of outliers; a wrong key shows in the scatter.
    relations=(
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.3, scatter=0.8),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=20.0, scatter=0.5),
    ),
    fetch=Adql(_QUERY),
    rows=114_916,
)
