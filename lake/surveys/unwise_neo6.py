"""Declare the unWISE catalogue of the neo6 coadds: W1 and W2 fluxes (Vega), matched to Gaia DR3 by position.

Files: band-merged ``<tile>.cat.fits``, one per coadd; columns of two elements hold W1, W2. Tiles overlap: objects that are
not primary stand in their neighbour too, and are left out. A band without a detection has zero flux, which is no magnitude.
Positions are means over images of 2010-2011 and of 2014 to 2019, two visits a year: the mean epoch is 2016.0 by that count
(our estimate; a source moves less than the radius in between unless it is faster than 0.1 arcsec a year or so).
Bits of the flags: Schlafly et al. 2019, Tables 4 and 5, as other readers of the catalogue spell them (paper not verified).
Cuts on fracflux, qf and error are left to whoever uses the magnitudes; only ghosts, latent images, and magnitudes of fluxes no
larger than their errors are condemned here.
"""

import numpy as np
import pyarrow as pa

from lake.columns import column
from lake.declaration import Http, Mask, Position, Raw, Relation, Where
from lake.survey import Survey, beyond

_BANDS = ("w1", "w2")
_PARTS = ("flux", "flux_error", "fracflux", "qf", "rchi2")
_RAW = {"flux_error": "dflux"}
_LEAST_FLUX = 1e-6  # Vega nanomaggies; 37.5 mag
_ZERO_POINT = 22.5
_FOLDER = "https://portal.nersc.gov/project/cosmo/data/unwise/neo6/unwise-catalog/cat/"
# Files of one band are called <tile>.<band>.cat.fits: none of ours.
_TILES = "????[mp]???.cat.fits"
_COADD_BITS = {
    "BRIGHT_STAR": 0,
    "DIFFRACTION_SPIKE": 1,
    "GHOST": 2,
    "FIRST_LATENT": 3,
    "SECOND_LATENT": 4,
    "HALO": 5,
    "SATURATION": 6,
    "GEOMETRIC_SPIKE": 7,
}
_INFO_BITS = {
    "BRIGHT_OFF_EDGE": 0,
    "IN_LARGE_GALAXY": 1,
    "IN_M31_OR_MAGELLANIC_CLOUD": 2,
    "BRIGHT_STAR_CENTRE": 3,
    "NEAR_SATURATION": 4,
    "NEBULOSITY": 5,
    "NO_DEBLENDING": 6,
    "SHARP_ONLY": 7,
}


def _magnitudes(table: pa.Table) -> pa.Table:
    """Append magnitude and error of each band, from its flux: m = 22.5 - 2.5 log10(flux), Vega."""
    for band in _BANDS:
        flux, error = (
            table[f"unwise_{band}_{name}"].to_numpy(zero_copy_only=False).astype(np.float64) for name in ("flux", "flux_error")
        )
        there = flux > 0.0
        flux = np.where(there, flux, 1.0)
        made = {"mag": _ZERO_POINT - 2.5 * np.log10(flux), "mag_error": 2.5 / np.log(10.0) * error / flux}
        for name, values in made.items():
            field = column(f"unwise_{band}_{name}").field()
            # An error that the file lacks is NaN here, and null in the table.
            table = table.append_column(field, pa.array(values.astype(np.float32), mask=~(there & np.isfinite(values))))
    return table


SURVEY = Survey(
    name="unwise_neo6",
    title="unWISE W1 and W2 (neo6) matched to Gaia DR3 by position",
    release="neo6",
    kind="photometry",
    citation="Schlafly, Meisner & Green 2019, ApJS 240, 30; Meisner et al. 2021, RNAAS 5, 200",
    licence="public; credit WISE and NEOWISE (NASA/JPL-Caltech)",
    source=_FOLDER,
    patterns=(_TILES, f"{_TILES}.gz"),
    dialects=("fits",),
    columns={"object_ra": Raw("ra"), "object_dec": Raw("dec"), "unwise_id": Raw("unwise_objid"), "unwise_primary": Raw("primary")}
    | {f"unwise_{band}_{part}": Raw(_RAW.get(part, part), element=k) for k, band in enumerate(_BANDS) for part in _PARTS}
    | {f"unwise_flags_{band}": Raw("flags_unwise", element=k) for k, band in enumerate(_BANDS)}
    | {f"unwise_info_flags_{band}": Raw("flags_info", element=k) for k, band in enumerate(_BANDS)},
    required=(
        *("object_ra", "object_dec", "unwise_primary"),
        *(f"unwise_{name}" for band in _BANDS for name in (f"{band}_flux", f"{band}_flux_error", f"flags_{band}")),
    ),
    match=Position(epoch=2016.0, radius=0.5),
    made=tuple(f"unwise_{band}_{what}" for band in _BANDS for what in ("mag", "mag_error")),
    flags={f"unwise_flags_{band}": _COADD_BITS for band in _BANDS} | {f"unwise_info_flags_{band}": _INFO_BITS for band in _BANDS},
    masks=(
        *(
            Mask(tuple(f"unwise_{band}_{part}" for part in _PARTS), Where(f"unwise_{band}_flux", below=_LEAST_FLUX))
            for band in _BANDS
        ),
        # What is there was never in the sky: a reflection, or what an earlier exposure left on the detector.
        *(
            Mask(
                tuple(f"unwise_{band}_{part}" for part in _PARTS),
                Where(f"unwise_flags_{band}", bits=("GHOST", "FIRST_LATENT", "SECOND_LATENT")),
            )
            for band in _BANDS
        ),
        *(beyond(f"unwise_{band}_mag_error", f"unwise_{band}_mag") for band in _BANDS),
    ),
    drops=(Where("unwise_primary", below=1),),
    duplicates="best",
    fetch=Http(listing=_FOLDER, names=_TILES),
    # Crowded fields blend many sources into one of WISE's pixels, hence the share of outliers.
    relations=(
        Relation(
            "unwise_w1_mag",
            against=("phot_g_mean_mag", ("phot_bp_mean_mag", "phot_rp_mean_mag")),
            tolerance=1.0,
            outliers=0.2,
        ),
    ),
    clean=_magnitudes,
)
