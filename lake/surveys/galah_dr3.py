"""Declare the stars of GALAH DR3: parameters and up to 30 abundances from HERMES spectra.

File: ``GALAH_DR3_main_allstar_v2.fits``, 588,571 rows, one per star, with Gaia EDR3 ids, which are those of DR3. Names and
types of columns are verified on 707 real rows. NaN for null; the smallest 64-bit integer stands for a null integer.
Flags: galah-survey.org/dr3/flags. The advice is flag_sp = 0 and flag_fe_h = 0 for parameters, and flag_X_fe = 0 with
snr_c3_iraf > 30 for abundances. Abundances with any flag are masked (upper limit, or no reliable measurement), [Fe/H] by
its own flag, parameters only where the analysis did not finish; all else that flag_sp warns of is left to the user. Its
first bit means RUWE > 1.4 in Gaia DR2, which later releases need not confirm.
"""

from lake.declaration import Http, Mask, Raw, Relation, Where
from lake.survey import Survey, beyond, same

_URL = "https://cloud.datacentral.org.au/teamdata/GALAH/public/GALAH_DR3/GALAH_DR3_main_allstar_v2.fits"
_ELEMENTS = (
    *("li", "c", "o", "na", "mg", "al", "si", "k", "ca", "sc", "sc2", "ti", "ti2", "v", "cr", "cr2", "mn", "co", "ni", "cu"),
    *("zn", "rb", "sr", "y", "zr", "mo", "ru", "ba", "la", "ce", "nd", "sm", "eu"),
)
_PARAMETERS = ("teff", "logg", "fe_h", "vbroad")
_ABUNDANCES = ("alpha_fe", *(f"{element}_fe" for element in _ELEMENTS))
_FLAG_SP = {
    **{"RUWE_DR2": 0, "BROADENING": 1, "LOW_SNR": 2, "REDUCTION": 3, "EMISSION": 4, "BINARY_TSNE": 5, "BINARY_SEQUENCE": 6},
    **{"CHI_SQUARED": 7, "IRON_LINES": 8, "NOT_CONVERGED": 9, "GRID_LIMIT": 10},
}
_FLAG_X_FE = {"UPPER_LIMIT": 0, "NO_MEASUREMENT": 5}
_FLAG_FE_H = {"UPPER_LIMIT": 0, "NO_MEASUREMENT": 4}
_NULL = -9223372036854775808
_FAILED = Where("galah_flag_sp", bits=("NOT_CONVERGED",))

SURVEY = Survey(
    name="galah_dr3",
    title="GALAH DR3: parameters and abundances",
    release="dr3",
    kind="labels",
    citation="Buder et al. 2021, MNRAS 506, 150",
    licence="GALAH, public; acknowledgement required",
    source="https://www.galah-survey.org/dr3/the_catalogues",
    patterns=("GALAH_DR3_main_allstar*.fits", "GALAH_DR3_main_allstar*.fits.gz"),
    dialects=("fits",),
    columns={"source_id": Raw("dr3_source_id"), "tmass_id": Raw("star_id")}
    | same("sobject_id")
    | {"galah_survey_name": Raw("survey_name"), "galah_field_id": Raw("field_id"), "galah_flag_sp": Raw("flag_sp")}
    | {"galah_flag_red": Raw("red_flag"), "snr": Raw("snr_c3_iraf")}
    | {part: Raw(raw + name) for name in _PARAMETERS for part, raw in ((name, ""), (f"{name}_error", "e_"))}
    | {"fe_h_flag": Raw("flag_fe_h"), "vmic": Raw("vmic")}
    | {"radial_velocity": Raw("rv_galah"), "radial_velocity_error": Raw("e_rv_galah")}
    | {
        part: Raw(raw + name)
        for name in _ABUNDANCES
        for part, raw in ((name, ""), (f"{name}_error", "e_"), (f"{name}_flag", "flag_"))
    }
    | {"galah_ebv": Raw("ebv"), "survey_j_mag": Raw("j_m"), "survey_ks_mag": Raw("ks_m")},
    required=("source_id", "sobject_id", "galah_flag_sp", "teff", "logg", "fe_h", "fe_h_flag", "snr"),
    missing={"source_id": (0, -1, _NULL), "galah_field_id": (-1,)},
    flags={"galah_flag_sp": _FLAG_SP, "fe_h_flag": _FLAG_FE_H, **{f"{name}_flag": _FLAG_X_FE for name in _ABUNDANCES}},
    masks=(
        Mask((*(part for name in (*_PARAMETERS, *_ABUNDANCES) for part in (name, f"{name}_error")), "vmic"), _FAILED),
        Mask(("fe_h", "fe_h_error"), Where("fe_h_flag", bits=tuple(_FLAG_FE_H))),
        *(Mask((name, f"{name}_error"), Where(f"{name}_flag", bits=tuple(_FLAG_X_FE))) for name in _ABUNDANCES),
        *(beyond(f"{name}_error") for name in (*_PARAMETERS, *_ABUNDANCES, "radial_velocity")),
        beyond("radial_velocity", "radial_velocity_error"),
        beyond("snr"),
    ),
    duplicates="best",
    best=("galah_flag_sp", "-snr"),
    relations=(
        Relation("radial_velocity", against=("radial_velocity",), tolerance=10.0, outliers=0.15, scatter=0.4),
        Relation(
            ("survey_j_mag", "survey_ks_mag"),
            against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),),
            tolerance=0.2,
            outliers=0.1,
            scatter=0.5,
        ),
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=600.0, outliers=0.15),
    ),
    fetch=Http(urls=(_URL,)),
    rows=588_571,
)
