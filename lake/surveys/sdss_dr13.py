"""Declare SDSS DR13 imaging: PSF magnitudes ugriz of the primary objects that the Gaia archive matched to DR3 sources.

Files: results of the query below, or of SkyServer (leading ``#Table1`` line) where a column ``source_id`` was joined to them.
``u`` to ``z`` of these tables are short for model magnitudes, which fit galaxies; stars want ``psfmag``. -9999 is null.
Flags are those of each band (bits 0 to 31 are ``flags1`` and 32 to 63 ``flags2`` of the pipeline), so a saturated r costs r
alone. Which condemn follows "Recommendation on the Use of Photometric Processing Flags" (SDSS DR14), in every band, and
centres that are saturated or interpolated. BLENDED and INTERP do not: most bright stars have them, deblended and repaired.
Magnitudes are asinh: fainter than the value of zero flux means negative flux, and 568 mag of error means nothing at all.
Bright limits: York et al. 2000, AJ 120, 1579 (not verified against the paper; SATURATED catches nearly all of them).
"""

from lake import best_neighbour
from lake.declaration import Adql, Mask, Raw, Relation, Where
from lake.survey import Survey, same

_BRIGHT = {"u": 12.0, "g": 14.1, "r": 14.1, "i": 13.8, "z": 12.3}
_ZERO_FLUX = {"u": 24.63, "g": 25.11, "r": 24.80, "i": 24.36, "z": 22.83}
_LARGEST_ERROR, _LEAST_ERROR = 1.0, 1e-6
_BANDS = tuple(_BRIGHT)
_PAIR = {band: (f"sdss_{band}_mag", f"sdss_{band}_mag_error") for band in _BANDS}
_COLOUR = ("phot_bp_mean_mag", "phot_rp_mean_mag")
_BITS = {
    "CANONICAL_CENTER": 0,
    "BRIGHT": 1,
    "EDGE": 2,
    "BLENDED": 3,
    "CHILD": 4,
    "PEAKCENTER": 5,
    "NODEBLEND": 6,
    "NOPROFILE": 7,
    "NOPETRO": 8,
    "MANYPETRO": 9,
    "NOPETRO_BIG": 10,
    "DEBLEND_TOO_MANY_PEAKS": 11,
    "COSMIC_RAY": 12,
    "MANYR50": 13,
    "MANYR90": 14,
    "BAD_RADIAL": 15,
    "INCOMPLETE_PROFILE": 16,
    "INTERP": 17,
    "SATURATED": 18,
    "NOTCHECKED": 19,
    "SUBTRACTED": 20,
    "NOSTOKES": 21,
    "BADSKY": 22,
    "PETROFAINT": 23,
    "TOO_LARGE": 24,
    "DEBLENDED_AS_PSF": 25,
    "DEBLEND_PRUNED": 26,
    "ELLIPFAINT": 27,
    "BINNED1": 28,
    "BINNED2": 29,
    "BINNED4": 30,
    "MOVED": 31,
    "DEBLENDED_AS_MOVING": 32,
    "NODEBLEND_MOVING": 33,
    "TOO_FEW_DETECTIONS": 34,
    "BAD_MOVING_FIT": 35,
    "STATIONARY": 36,
    "PEAKS_TOO_CLOSE": 37,
    "BINNED_CENTER": 38,
    "LOCAL_EDGE": 39,
    "BAD_COUNTS_ERROR": 40,
    "BAD_MOVING_FIT_CHILD": 41,
    "DEBLEND_UNASSIGNED_FLUX": 42,
    "SATUR_CENTER": 43,
    "INTERP_CENTER": 44,
    "DEBLENDED_AT_EDGE": 45,
    "DEBLEND_NOPEAK": 46,
    "PSF_FLUX_INTERP": 47,
    "TOO_FEW_GOOD_DETECTIONS": 48,
    "CENTER_OFF_AIMAGE": 49,
    "DEBLEND_DEGENERATE": 50,
    "BRIGHTEST_GALAXY_CHILD": 51,
    "CANONICAL_BAND": 52,
    "AMOMENT_UNWEIGHTED": 53,
    "AMOMENT_SHIFT": 54,
    "AMOMENT_MAXITER": 55,
    "MAYBE_CR": 56,
    "MAYBE_EGHOST": 57,
    "NOTCHECKED_CENTER": 58,
    "HAS_SATUR_DN": 59,
    "DEBLEND_PEEPHOLE": 60,
}
_CONDEMNING = (
    *("EDGE", "PEAKCENTER", "NOPROFILE", "SATURATED", "NOTCHECKED", "BAD_COUNTS_ERROR"),
    *("SATUR_CENTER", "INTERP_CENTER", "PSF_FLUX_INTERP"),
)


def _masks(band: str) -> tuple[Mask, ...]:
    mag, error = _PAIR[band]
    return (
        Mask((mag, error), Where(f"sdss_flags_{band}", bits=_CONDEMNING)),
        Mask((mag, error), Where(mag, below=_BRIGHT[band])),
        Mask((mag, error), Where(mag, above=_ZERO_FLUX[band])),
        Mask((mag, error), Where(error, above=_LARGEST_ERROR)),
        Mask((mag, error), Where(error, below=_LEAST_ERROR)),
    )


SURVEY = Survey(
    name="sdss_dr13",
    title="SDSS DR13 photometry of Gaia DR3 sources",
    release="dr13 (Gaia DR3 match)",
    kind="photometry",
    citation="Albareti et al. 2017, ApJS 233, 25; Marrese et al. 2022, Gaia DR3 documentation, chapter 15",
    licence="SDSS, public; ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://gea.esac.esa.int/archive/",
    patterns=("sdss_dr13*", "sdss.*"),
    dialects=("fits", "archive_csv", "votable", "sdss_csv"),
    columns=same("source_id")
    | {"sdss_id": Raw("objid")}
    | {f"sdss_{band}_mag": Raw(f"psfmag_{band}") for band in _BANDS}
    | {f"sdss_{band}_mag_error": Raw(f"psfmagerr_{band}") for band in _BANDS}
    | {f"sdss_flags_{band}": Raw(f"flags_{band}") for band in _BANDS}
    | best_neighbour.COLUMNS,
    # Without flags saturated stars would pass for good ones, so files without them are refused.
    required=("source_id", "sdss_id", *(name for band in _BANDS for name in (*_PAIR[band], f"sdss_flags_{band}"))),
    foreign=best_neighbour.FOREIGN,
    missing={name: (-9999,) for pair in _PAIR.values() for name in pair},
    flags={f"sdss_flags_{band}": _BITS for band in _BANDS},
    masks=tuple(one for band in _BANDS for one in _masks(band)),
    duplicates="best",
    best=("match_separation", "sdss_r_mag_error"),
    relations=(
        Relation("sdss_r_mag", against=("phot_g_mean_mag", _COLOUR), tolerance=0.5),
        # BP of faint red sources is far too bright, hence the share of outliers.
        Relation(("sdss_g_mag", "sdss_i_mag"), against=(_COLOUR,), tolerance=0.5, outliers=0.25),
    ),
    fetch=Adql(
        "SELECT x.source_id, s.objid, "
        + ", ".join(f"s.psfmag_{band}, s.psfmagerr_{band}, s.flags_{band}" for band in _BANDS)
        + f", {best_neighbour.SELECTED} "
        "FROM gaiadr3.sdssdr13_best_neighbour AS x "
        "JOIN external.sdssdr13_photoprimary AS s ON s.objid = x.original_ext_source_id "
        "WHERE x.source_id BETWEEN {low} AND {high}",
        column="x.source_id",
        rows=128_130_912,
    ),
    rows=128_130_912,
)
