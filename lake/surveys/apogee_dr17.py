"""Declare the stars of APOGEE DR17: parameters, abundances and velocities from H-band spectra.

File: ``allStar-dr17-synspec_rev1.fits``, HDU 1, 733,901 rows, names in capitals, text padded with blanks; Gaia EDR3 ids,
which are those of DR3, 0 where there is none (5,565 rows). One star has a row for each telescope and field: the best is
kept and the rows are counted (60,125 stars have several, which calibrate the errors of repeated observations).
Labels are the calibrated ones; the survey has already left out many that its flags condemn, and the masks here catch the
rest: all labels of STAR_BAD, single parameters by their _BAD bits, abundances by the bits that the pipeline itself grades
as bad (GRIDEDGE_BAD, OTHER_BAD, FERRE_FAIL, TEFF_CUT). Warnings mask nothing. No cut in signal-to-noise.
Bits: the pipeline's own table (sdss/apogee, bitmask.py) and sdss4.org/dr17/irspec/apogee-bitmasks; those of STARFLAG and
ASPCAPFLAG that occur in 95 real rows agree with the names beside them. PARAMFLAG is in the order of PARAM: Teff, log g,
microturbulence, [M/H], [C/M], [N/M], [alpha/M]. Not verified: the sentinels of velocities (999999 in older releases) and
of 2MASS magnitudes, so values that are impossible are masked whatever they are.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Http, Mask, Raw, Relation, Where
from lake.survey import Survey, beyond

_URL = "https://data.sdss.org/sas/dr17/apogee/spectro/aspcap/dr17/synspec_rev1/allStar-dr17-synspec_rev1.fits"
_ELEMENTS = (
    *("c", "ci", "n", "o", "na", "mg", "al", "si", "p", "s", "k"),
    *("ca", "ti", "v", "cr", "mn", "co", "ni", "cu", "ce", "yb"),
)
_PARAMETERS = {"teff": 0, "logg": 1, "m_h": 3, "alpha_m": 6}  # place in PARAMFLAG
_ABUNDANCES = {f"{element}_fe": f"{element.upper()}_FE" for element in _ELEMENTS} | {"ti2_fe": "TIII_FE", "fe_h": "FE_H"}
_BAD = ("GRIDEDGE_BAD", "OTHER_BAD", "FERRE_FAIL", "TEFF_CUT")
_DUPLICATE, _STAR_BAD = 4, 23
_STARFLAG = {
    **{"BAD_PIXELS": 0, "COMMISSIONING": 1, "BRIGHT_NEIGHBOR": 2, "VERY_BRIGHT_NEIGHBOR": 3, "LOW_SNR": 4},
    **{"PERSIST_HIGH": 9, "PERSIST_MED": 10, "PERSIST_LOW": 11, "PERSIST_JUMP_POS": 12, "PERSIST_JUMP_NEG": 13},
    **{"SUSPECT_RV_COMBINATION": 16, "SUSPECT_BROAD_LINES": 17, "BAD_RV_COMBINATION": 18, "RV_REJECT": 19},
    **{"RV_SUSPECT": 20, "MULTIPLE_SUSPECT": 21, "RV_FAIL": 22, "SUSPECT_ROTATION": 23},
    **{"MTPFLUX_LT_75": 24, "MTPFLUX_LT_50": 25},
}
_GRADED = (
    *("TEFF", "LOGG", "VMICRO", "M_H", "ALPHA_M", "C_M", "N_M", "STAR"),
    *("CHI2", "COLORTE", "ROTATION", "SN", "SPEC_HOLE", "ATMOS_HOLE", "VSINI"),
)
_ASPCAPFLAG = {
    **{f"{what}_WARN": bit for bit, what in enumerate(_GRADED)},
    **{f"{what}_BAD": 16 + bit for bit, what in enumerate(_GRADED)},
    **{"NO_ASPCAP_RESULT": 31, "MISSING_APSTAR": 32, "NO_GRID": 33, "BAD_FRAC_LOWSNR": 34, "BAD_FRAC_BADPIX": 35},
    **{"FERRE_FAIL": 36, "PROBLEM_TARGET": 40, "MULTIPLE_SUSPECT": 41},
}
_PARAMFLAG = {
    **{"GRIDEDGE_BAD": 0, "CALRANGE_BAD": 1, "OTHER_BAD": 2, "FERRE_FAIL": 3, "PARAM_MISMATCH_BAD": 4, "FERRE_ERR_USED": 5},
    **{"TEFF_CUT": 6, "GRIDEDGE_WARN": 8, "CALRANGE_WARN": 9, "OTHER_WARN": 10, "FERRE_WARN": 11, "PARAM_MISMATCH_WARN": 12},
    **{"OPTICAL_WARN": 13, "ERR_WARN": 14, "FAINT_WARN": 15, "PARAM_FIXED": 16, "RV_WARN": 17, "SPEC_RC": 24, "SPEC_RGB": 25},
    **{"LOGG_CAL_MS": 26, "LOGG_CAL_RGB_MS": 27},
}
_EXTRATARG = {"NOT_MAIN": 0, "COMMISSIONING": 1, "TELLURIC": 2, "APO1M": 3, "DUPLICATE": _DUPLICATE}
_MEASURED = (*_PARAMETERS, *_ABUNDANCES)
_LABELS = (*(part for name in _MEASURED for part in (name, f"{name}_error")), "vsini", "vmic")


def _rank(table: pa.Table) -> pa.Table:
    """Say which of a star's rows is preferred: those with labels first, and among them those not marked as duplicate."""
    bad, duplicate = _bit(table["apogee_aspcapflag"], _STAR_BAD), _bit(table["apogee_extratarg"], _DUPLICATE)
    rank = pc.add(pc.multiply(bad, 2), duplicate)
    return table.append_column(pa.field("apogee_rank", pa.int16()), rank.cast(pa.int16()))


def _bit(flags: pa.ChunkedArray, bit: int) -> pa.ChunkedArray:
    return pc.bit_wise_and(pc.shift_right(pc.fill_null(flags, 0).cast(pa.int64()), bit), 1)


SURVEY = Survey(
    name="apogee_dr17",
    title="APOGEE DR17 allStar: parameters, abundances and velocities",
    release="dr17",
    kind="labels",
    citation="Abdurro'uf et al. 2022, ApJS 259, 35; Majewski et al. 2017, AJ 154, 94",
    licence="SDSS DR17, public; acknowledgement required",
    source=_URL,
    patterns=("allStar*dr17*.fits", "allStar*dr17*.fits.gz", "sdss-apogee-dr17.fits*"),
    dialects=("fits",),
    columns={"source_id": Raw("GAIAEDR3_SOURCE_ID")}
    | {name: Raw(name.upper()) for name in ("apogee_id", "apstar_id", "telescope", "location_id", "field")}
    | {"object_ra": Raw("RA"), "object_dec": Raw("DEC"), "snr": Raw("SNR"), "n_visits": Raw("NVISITS")}
    | {"radial_velocity": Raw("VHELIO_AVG"), "radial_velocity_error": Raw("VERR"), "velocity_scatter": Raw("VSCATTER")}
    | {f"apogee_{flag}": Raw(flag.upper()) for flag in ("starflag", "aspcapflag", "extratarg")}
    | {part: Raw(name.upper() + end) for name in _PARAMETERS for part, end in ((name, ""), (f"{name}_error", "_ERR"))}
    | {f"apogee_{name}_flag": Raw("PARAMFLAG", element=place) for name, place in _PARAMETERS.items()}
    | {"vsini": Raw("VSINI"), "vmic": Raw("VMICRO")}
    | {
        part: Raw(raw + suffix)
        for name, raw in _ABUNDANCES.items()
        for part, suffix in ((name, ""), (f"{name}_error", "_ERR"), (f"{name}_flag", "_FLAG"))
    }
    | {"survey_g_mag": Raw("GAIAEDR3_PHOT_G_MEAN_MAG"), "survey_j_mag": Raw("J"), "survey_ks_mag": Raw("K")},
    made=("apogee_rank",),
    required=("source_id", "apogee_id", "telescope", "field", "teff", "logg", "m_h", "apogee_aspcapflag"),
    missing={
        "source_id": (0, -1),
        **{name: (-9999.0,) for name in (*_LABELS, "snr")},
        **{name: (999999.0, -9999.0) for name in ("radial_velocity", "radial_velocity_error", "velocity_scatter")},
        **{name: (99.999, -9999.99) for name in ("survey_j_mag", "survey_ks_mag")},
    },
    flags={
        "apogee_starflag": _STARFLAG,
        "apogee_aspcapflag": _ASPCAPFLAG,
        "apogee_extratarg": _EXTRATARG,
        **{f"apogee_{name}_flag": _PARAMFLAG for name in _PARAMETERS},
        **{f"{name}_flag": _PARAMFLAG for name in _ABUNDANCES},
    },
    masks=(
        Mask(_LABELS, Where("apogee_aspcapflag", bits=("STAR_BAD", "NO_ASPCAP_RESULT"))),
        *(Mask((n, f"{n}_error"), Where("apogee_aspcapflag", bits=(f"{n.upper()}_BAD",))) for n in _PARAMETERS),
        *(Mask((n, f"{n}_error"), Where(f"apogee_{n}_flag", bits=_BAD)) for n in _PARAMETERS),
        *(Mask((n, f"{n}_error"), Where(f"{n}_flag", bits=_BAD)) for n in _ABUNDANCES),
        *(Mask((name,), Where(name, below=-20.0, above=50.0)) for name in ("survey_j_mag", "survey_ks_mag", "survey_g_mag")),
        beyond("radial_velocity", "radial_velocity_error"),
        *(beyond(name) for name in ("radial_velocity_error", "velocity_scatter", "snr")),
    ),
    duplicates="best",
    best=("apogee_rank", "-snr"),
    relations=(
        Relation("survey_g_mag", against=("phot_g_mean_mag",), tolerance=0.1, outliers=0.03, scatter=0.1),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=10.0, outliers=0.15, scatter=0.3),
        # Extinction moves stars along this line, not off it.
        Relation(
            ("survey_j_mag", "survey_ks_mag"),
            against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),),
            tolerance=0.3,
            outliers=0.1,
            scatter=0.5,
        ),
        # Colours of these stars tell their dust more than their temperature; GSP-Phot has tried to take it off.
        Relation("teff", against=("teff_gspphot",), tolerance=800.0, outliers=0.3, scatter=0.85),
    ),
    fetch=Http(urls=(_URL,)),
    clean=_rank,
    rows=733_901,
)
