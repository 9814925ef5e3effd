"""Declare Pan-STARRS1 DR1: mean PSF magnitudes grizy (AB) of the objects that the Gaia archive matched to DR3 sources.

Files: results of the query below. ``panstarrs1_best_neighbour`` has one row per Gaia source; several sources may share one
object (``number_of_mates`` counts the others, and the light of all of them is in its magnitudes). ``panstarrs1_original_valid``
keeps objects with two detections or more and with GOOD set (Gaia DR2 documentation, 14.4.4). -999 stands for null.
Flags: MAST, "PS1 Object Flags" (ObjectInfoFlags, ObjectQualityFlags). Saturation: Magnier et al. 2013, ApJS 205, 20. Faint
limits: 5 sigma of the stacks (Chambers et al. 2016), which no mean of single exposures reaches; not verified against the paper.
"""

from lake import best_neighbour
from lake.declaration import Adql, Mask, Raw, Relation, Where
from lake.survey import Survey, same

# Stars brighter than this are saturated in single exposures [mag].
_SATURATED = {"g": 13.5, "r": 13.5, "i": 13.5, "z": 13.0, "y": 12.0}
_FAINTEST = {"g": 23.3, "r": 23.2, "i": 23.1, "z": 22.3, "y": 21.4}
_LEAST_ERROR, _LARGEST_ERROR = 1e-6, 1.0
_BANDS = tuple(_SATURATED)
_PAIR = {band: (f"ps1_{band}_mag", f"ps1_{band}_mag_error") for band in _BANDS}
_COLOUR = ("phot_bp_mean_mag", "phot_rp_mean_mag")

SURVEY = Survey(
    name="panstarrs1_dr1",
    title="Pan-STARRS1 DR1 photometry of Gaia DR3 sources",
    release="dr1 (Gaia DR3 match)",
    kind="photometry",
    citation="Chambers et al. 2016, arXiv:1612.05560; Marrese et al. 2022, Gaia DR3 documentation, chapter 15",
    licence="Pan-STARRS1 Science Consortium and STScI, public; ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://gea.esac.esa.int/archive/",
    patterns=("panstarrs1_dr1*", "panstarrs1.*"),
    dialects=("fits", "archive_csv", "votable"),
    columns=same("source_id")
    | {"ps1_id": Raw("obj_id")}
    | {f"ps1_{band}_mag": Raw(f"{band}_mean_psf_mag") for band in _BANDS}
    | {f"ps1_{band}_mag_error": Raw(f"{band}_mean_psf_mag_error") for band in _BANDS}
    | {"ps1_info_flags": Raw("obj_info_flag"), "ps1_quality_flags": Raw("quality_flag")}
    | {"ps1_n_detections": Raw("n_detections")}
    | best_neighbour.COLUMNS,
    required=("source_id", "ps1_id", *(name for pair in _PAIR.values() for name in pair), "ps1_info_flags"),
    foreign=best_neighbour.FOREIGN,
    missing={name: (-999,) for pair in _PAIR.values() for name in pair} | {"ps1_n_detections": (-999,)},
    flags={
        "ps1_info_flags": {
            "FEW": 0,
            "POOR": 1,
            "ICRF_QSO": 2,
            "HERN_QSO_P60": 3,
            "HERN_QSO_P05": 4,
            "HERN_RRL_P60": 5,
            "HERN_RRL_P05": 6,
            "HERN_VARIABLE": 7,
            "TRANSIENT": 8,
            "HAS_SOLSYS_DET": 9,
            "MOST_SOLSYS_DET": 10,
            "LARGE_PM": 11,
            "RAW_AVE": 12,
            "FIT_AVE": 13,
            "FIT_PM": 14,
            "FIT_PAR": 15,
            "USE_AVE": 16,
            "USE_PM": 17,
            "USE_PAR": 18,
            "NO_MEAN_ASTROM": 19,
            "STACK_FOR_MEAN": 20,
            "MEAN_FOR_STACK": 21,
            "BAD_PM": 22,
            "EXT": 23,
            "EXT_ALT": 24,
            "GOOD": 25,
            "GOOD_ALT": 26,
            "GOOD_STACK": 27,
            "BEST_STACK": 28,
            "SUSPECT_STACK": 29,
            "BAD_STACK": 30,
        },
        "ps1_quality_flags": {
            "EXT": 0,
            "EXT_ALT": 1,
            "GOOD": 2,
            "GOOD_ALT": 3,
            "GOOD_STACK": 4,
            "BEST_STACK": 5,
            "SUSPECT_STACK": 6,
            "BAD_STACK": 7,
        },
    },
    masks=(
        # Most of the light measured was an asteroid's.
        *(Mask(_PAIR[band], Where("ps1_info_flags", bits=("MOST_SOLSYS_DET",))) for band in _BANDS),
        *(Mask(_PAIR[band], Where(f"ps1_{band}_mag", below=_SATURATED[band])) for band in _BANDS),
        *(Mask(_PAIR[band], Where(f"ps1_{band}_mag", above=_FAINTEST[band])) for band in _BANDS),
        # An error of zero comes from saturated or single detections and would outweigh everything.
        *(Mask(_PAIR[band], Where(f"ps1_{band}_mag_error", below=_LEAST_ERROR)) for band in _BANDS),
        *(Mask(_PAIR[band], Where(f"ps1_{band}_mag_error", above=_LARGEST_ERROR)) for band in _BANDS),
    ),
    duplicates="best",
    best=("match_separation", "-ps1_n_detections"),
    relations=(
        Relation("ps1_r_mag", against=("phot_g_mean_mag", _COLOUR), tolerance=0.5),
        # BP of faint red sources is far too bright, hence the share of outliers.
        Relation(("ps1_g_mag", "ps1_i_mag"), against=(_COLOUR,), tolerance=0.5, outliers=0.25),
    ),
    fetch=Adql(
        "SELECT x.source_id, p.obj_id, "
        + ", ".join(f"p.{band}_mean_psf_mag, p.{band}_mean_psf_mag_error" for band in _BANDS)
        + ", p.obj_info_flag, p.quality_flag, p.n_detections, "
        + best_neighbour.SELECTED
        + " FROM gaiadr3.panstarrs1_best_neighbour AS x "
        "JOIN gaiadr2.panstarrs1_original_valid AS p ON p.obj_id = x.original_ext_source_id "
        "WHERE x.source_id BETWEEN {low} AND {high}",
        column="x.source_id",
        rows=951_450_496,
    ),
    rows=951_450_496,
)
