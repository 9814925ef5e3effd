"""Declare the stars of GALAH DR4: parameters and up to 31 abundances from HERMES spectra.

File: ``galah_dr4_allstar_240705.fits``, 917,588 rows, one per star, with Gaia DR3 ids; 18 ids occur twice, and the row
with the lowest flag_sp and then the best signal-to-noise is kept. NaN for null, field -1 where a programme has none.
Flags: galah-survey.org/dr4/flags. The advice is flag_sp = 0 for parameters, and flag_x_fe = 0 with snr_px_ccd3 > 30 for
abundances. Here an abundance with any flag is masked, for upper limits and limits of the analysis are no values; the
parameters are masked only where the fit did not converge or there is no result. All else that flag_sp warns of, and the
signal-to-noise, is left to the user, because stars that are odd (binaries, emission, rotation) are wanted by some. flag_fe_h
masks nothing: its bit of upper limits is known to be wrong.
Ages and masses come from isochrones and have no errors. ``vsini`` is all of the broadening beyond the instrument's.
Verified against the published schema and the release's pages; no row of DR4 was at hand.
"""

from lake.columns.labels import ELEMENTS
from lake.declaration import Http, Mask, Raw, Relation, Where
from lake.survey import Survey, beyond, same

_URL = "https://cloud.datacentral.org.au/teamdata/GALAH/public/GALAH_DR4/catalogs/galah_dr4_allstar_240705.fits"
_PARAMETERS = ("teff", "logg", "fe_h", "vmic", "vsini")
_ABUNDANCES = tuple(f"{element}_fe" for element in ELEMENTS if element not in ("p", "s", "yb"))
_FLAG_SP = {
    **{"EMISSION": 0, "CCD_MISSING": 1, "BINARY_SB1": 2, "BINARY_SB2": 3, "CHI_SQUARED": 4, "VSINI_WARN": 5, "VMIC_WARN": 6},
    **{"TRIPLE": 7, "TEFF_WARN": 8, "LOGG_WARN": 9, "FE_H_WARN": 10, "LOW_SNR": 11, "NOT_CONVERGED": 12},
    **{"EXTRAPOLATED": 13, "NO_RESULT": 14},
}
_FLAG_X_FE = {
    **{"UPPER_LIMIT": 0, "NOT_DETECTABLE": 1, "NOT_CONVERGED": 2, "ABOVE_LIMIT": 3, "BELOW_LIMIT": 4},
    **{"CNO_ISSUE": 5, "LI_CA_BA_ISSUE": 6},
}
_FLAG_FE_H = {"UPPER_LIMIT": 0, "NO_MEASUREMENT": 1, "NOT_CONVERGED": 2, "ABOVE_LIMIT": 3, "BELOW_LIMIT": 4}
_FAILED = Where("galah_flag_sp", bits=("NOT_CONVERGED", "NO_RESULT"))

SURVEY = Survey(
    name="galah_dr4",
    title="GALAH DR4: parameters and abundances",
    release="dr4",
    kind="labels",
    citation="Buder et al. 2025, PASA 42, e051",
    licence="GALAH, public; acknowledgement required",
    source="https://www.galah-survey.org/dr4/the_catalogues",
    patterns=("galah_dr4_allstar_*.fits", "galah_dr4_allstar_*.fits.gz"),
    dialects=("fits",),
    columns={"source_id": Raw("gaiadr3_source_id")}
    | same("sobject_id tmass_id")
    | {"galah_survey_name": Raw("survey_name"), "galah_field_id": Raw("field_id"), "galah_flag_sp": Raw("flag_sp")}
    | {"galah_flag_sp_fit": Raw("flag_sp_fit"), "galah_flag_red": Raw("flag_red"), "snr": Raw("snr_px_ccd3")}
    | {part: Raw(raw + name) for name in _PARAMETERS for part, raw in ((name, ""), (f"{name}_error", "e_"))}
    | {"fe_h_flag": Raw("flag_fe_h")}
    | {"radial_velocity": Raw("rv_comp_1"), "radial_velocity_error": Raw("e_rv_comp_1")}
    | same("mass age")
    | {
        part: Raw(raw + name)
        for name in _ABUNDANCES
        for part, raw in ((name, ""), (f"{name}_error", "e_"), (f"{name}_flag", "flag_"))
    }
    | {"galah_ebv": Raw("ebv")}
    | {"survey_g_mag": Raw("phot_g_mean_mag"), "survey_j_mag": Raw("j_m"), "survey_ks_mag": Raw("ks_m")},
    required=("source_id", "sobject_id", "galah_flag_sp", "teff", "logg", "fe_h", "snr"),
    missing={"source_id": (0, -1), "galah_field_id": (-1,)},
    flags={"galah_flag_sp": _FLAG_SP, "fe_h_flag": _FLAG_FE_H, **{f"{name}_flag": _FLAG_X_FE for name in _ABUNDANCES}},
    masks=(
        Mask((*(part for name in (*_PARAMETERS, *_ABUNDANCES) for part in (name, f"{name}_error")), "mass", "age"), _FAILED),
        *(Mask((name, f"{name}_error"), Where(f"{name}_flag", bits=tuple(_FLAG_X_FE))) for name in _ABUNDANCES),
        *(beyond(f"{name}_error") for name in (*_PARAMETERS, *_ABUNDANCES, "radial_velocity")),
        beyond("radial_velocity", "radial_velocity_error"),
        beyond("snr"),
    ),
    duplicates="best",
    best=("galah_flag_sp", "-snr"),
    relations=(
        Relation("survey_g_mag", against=("phot_g_mean_mag",), tolerance=0.1, outliers=0.03, scatter=0.1),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=10.0, outliers=0.15, scatter=0.4),
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=600.0, outliers=0.15),
    ),
    fetch=Http(urls=(_URL,)),
    rows=917_588,
)
