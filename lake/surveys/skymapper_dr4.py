"""Declare SkyMapper DR4: mean PSF magnitudes uvgriz (AB) of the southern sky, with the survey's own match to Gaia DR3.

Files: ``SkyMapper.DR4.master.partNNN.csv.gz``, comma separated, empty nulls, of the release's full download. Each object names
the nearest Gaia DR3 source within 15 arcsec; farther than 2 arcsec it is another star, and no name at all is no source. Several
objects may name one source: the nearest is kept, then the one measured in more images, then the most complete.
A magnitude is condemned band by band and at every brightness, by the limits within which the survey itself averages: Source
Extractor flags below 4 (nothing saturated, truncated or incomplete, none of the survey's own bits) and fewer than five flagged
pixels. Magnitudes more than one outside the range of the release's page, 9 to 22, are no measurements. Stellarity is kept as a
column and cuts nothing. Column names were checked in queries of ``dr4.master``; the limits in code that quotes the release's
documentation; bits of the flags above 7, and that the folder's index page lists the files (725), were not verified.
"""

from lake.declaration import Http, Mask, Raw, Relation, Where
from lake.survey import Survey

_BANDS = ("u", "v", "g", "r", "i", "z")
_PAIR = {band: (f"skymapper_{band}_mag", f"skymapper_{band}_mag_error") for band in _BANDS}
_LARGEST_FLAGS, _LARGEST_NIMAFLAGS = 3, 4
_BRIGHTEST, _FAINTEST = 8.0, 23.0
_LEAST_ERROR, _LARGEST_ERROR = 1e-6, 1.0
_COLOUR = ("phot_bp_mean_mag", "phot_rp_mean_mag")
# Source Extractor (Bertin & Arnouts 1996); the survey's own bits lie above.
_BITS = {
    "NEIGHBOURS": 0,
    "DEBLENDED": 1,
    "SATURATED": 2,
    "TRUNCATED": 3,
    "APERTURE_INCOMPLETE": 4,
    "ISOPHOTE_INCOMPLETE": 5,
    "DEBLENDING_OVERFLOW": 6,
    "EXTRACTION_OVERFLOW": 7,
}

SURVEY = Survey(
    name="skymapper_dr4",
    title="SkyMapper DR4 photometry with its match to Gaia DR3",
    release="dr4",
    kind="photometry",
    citation="Onken et al. 2024, PASA 41, e061",
    licence="CC BY 4.0 (SkyMapper, doi:10.25914/5M47-S621)",
    source="https://skymapper.anu.edu.au/data-release/dr4/ (full download of the master table)",
    patterns=("SkyMapper.DR4.master.part*.csv", "SkyMapper.DR4.master.part*.csv.gz"),
    dialects=("archive_csv",),
    columns={"source_id": Raw("gaia_dr3_id1"), "match_separation": Raw("gaia_dr3_dist1"), "skymapper_id": Raw("object_id")}
    | {f"skymapper_{band}_mag": Raw(f"{band}_psf") for band in _BANDS}
    | {f"skymapper_{band}_mag_error": Raw(f"e_{band}_psf") for band in _BANDS}
    | {f"skymapper_flags_{band}": Raw(f"{band}_flags") for band in _BANDS}
    | {f"skymapper_nimaflags_{band}": Raw(f"{band}_nimaflags") for band in _BANDS}
    | {"skymapper_flags": Raw("flags"), "skymapper_nimaflags": Raw("nimaflags"), "skymapper_n_good": Raw("ngood")}
    | {"skymapper_class_star": Raw("class_star")},
    # Without flags saturated stars would pass for good ones, so files without them are refused.
    required=(
        *("source_id", "match_separation", "skymapper_id"),
        *(name for band in _BANDS for name in (*_PAIR[band], f"skymapper_flags_{band}", f"skymapper_nimaflags_{band}")),
    ),
    missing={"source_id": ()},
    flags={"skymapper_flags": _BITS} | {f"skymapper_flags_{band}": _BITS for band in _BANDS},
    masks=(
        *(Mask(_PAIR[band], Where(f"skymapper_flags_{band}", above=_LARGEST_FLAGS)) for band in _BANDS),
        *(Mask(_PAIR[band], Where(f"skymapper_nimaflags_{band}", above=_LARGEST_NIMAFLAGS)) for band in _BANDS),
        *(Mask(_PAIR[band], Where(f"skymapper_{band}_mag", below=_BRIGHTEST, above=_FAINTEST)) for band in _BANDS),
        *(Mask(_PAIR[band], Where(f"skymapper_{band}_mag_error", below=_LEAST_ERROR, above=_LARGEST_ERROR)) for band in _BANDS),
    ),
    drops=(Where("match_separation", above=2.0),),
    duplicates="best",
    best=("match_separation", "-skymapper_n_good"),
    relations=(
        Relation("skymapper_r_mag", against=("phot_g_mean_mag", _COLOUR), tolerance=0.5),
        Relation(("skymapper_g_mag", "skymapper_i_mag"), against=(_COLOUR,), tolerance=0.5, outliers=0.2),
    ),
    fetch=Http(listing="https://skymapper.anu.edu.au/_data/DR4/", names="SkyMapper.DR4.master.part*.csv.gz"),
)
