"""Write SYNTHETIC dust maps in the form of the published ones: small, coarse, and of the layer that reddens the stars.

Nothing here is a measurement. The layer is that of `jobs.sky_population`, thicker towards the Galactic centre; a map to infinity
shows all of it. The maps keep the headers and the names of the real files, so that the same readers take them.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import Galactic, SkyCoord
from astropy.io import fits
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from jobs.sky_plan import File, Plan

Floats = NDArray[np.float64]

_COMMENT = "SYNTHETIC: an invented dust layer, no measurement"
# A_V over E(B-V); the layer's height [kpc], extinction [mag / kpc] in its middle, and largest extinction [mag].
_R_V, _HEIGHT, _PER_KPC, _LARGEST = 3.1, 0.12, 0.5, 6.0
_LEAST_SLOPE = 0.03
_SFD_SIDE, _SFD_TRUE_SIDE, _SFD_SCALE = 64, 4096, 0.0395646818624
_PLANCK_NSIDE, _TAU_TO_EBV = 16, 1.49e4
_BAYESTAR_NSIDES, _BAYESTAR_SAMPLES, _BAYESTAR_SOUTH = (4, 8), 5, -30.0
_DISTANCE_MODULI = np.linspace(4.0, 18.875, 120)


def layer(lon: Floats, lat: Floats, distance: Floats | float = np.inf) -> Floats:
    """Return E(B-V) [mag] of the SYNTHETIC layer up to a distance [kpc], at Galactic longitude and latitude [deg]."""
    slope = np.maximum(np.abs(np.sin(np.radians(lat))), _LEAST_SLOPE)
    a_v = _PER_KPC * _HEIGHT / slope * (1.0 - np.exp(-np.asarray(distance) * slope / _HEIGHT))
    return np.asarray(np.minimum(a_v, _LARGEST) / _R_V * (1.0 + 0.2 * np.cos(np.radians(lon))))


def write_sfd(path: Path, *, pole: int) -> None:
    """Write one hemisphere of a SYNTHETIC SFD map, 64 pixels wide: pole 1 is north, -1 south."""
    middle, half = (_SFD_SIDE + 1) / 2.0, _SFD_SIDE / 2.0
    x, y = np.meshgrid(np.arange(1, _SFD_SIDE + 1) - middle, np.arange(1, _SFD_SIDE + 1) - middle)
    # The published formulas of the projection: X = sqrt(1 - N sin b) cos l, Y = -N sqrt(1 - N sin b) sin l, in half sides.
    radius = np.hypot(x, y) / half
    lon, sine = np.degrees(np.arctan2(-pole * y, x)), pole * np.clip(1.0 - radius**2, -1.0, 1.0)
    image = layer(lon, np.degrees(np.arcsin(sine))).astype(">f4")
    step = _SFD_SCALE * _SFD_TRUE_SIDE / _SFD_SIDE
    header = fits.Header()
    header["OBJECT"], header["BUNIT"] = "E(B-V)", "mag"
    for axis, kind in enumerate(("GLON-ZEA", "GLAT-ZEA"), 1):
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"], header[f"CRVAL{axis}"] = kind, middle, 90.0 * pole
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -step * pole, 0.0, 0.0, step * pole
    header["LONPOLE"], header["LAM_NSGP"], header["LAM_SCAL"] = 180, pole, half
    header["COMMENT"] = _COMMENT
    fits.PrimaryHDU(image, header).writeto(path, overwrite=True)


def write_planck(path: Path) -> None:
    """Write a SYNTHETIC Planck dust model: HEALPix of nside 16, nested, Galactic."""
    lon, lat = _directions(_PLANCK_NSIDE)
    reddening = layer(lon, lat)
    columns = {
        "TAU353": reddening / _TAU_TO_EBV,
        "ERR_TAU": 0.05 * reddening / _TAU_TO_EBV,
        "EBV": 1.05 * reddening,
        "RADIANCE": 1.1 * reddening / 5.4e5,
        "TEMP": np.full(len(lon), 19.6),
        "ERR_TEMP": np.full(len(lon), 0.5),
        "BETA": np.full(len(lon), 1.6),
        "ERR_BETA": np.full(len(lon), 0.1),
    }
    table = fits.BinTableHDU.from_columns([fits.Column(name, "E", array=held) for name, held in columns.items()])
    table.header["EXTNAME"], table.header["PIXTYPE"], table.header["ORDERING"] = "COMP-MAP", "HEALPIX", "NESTED"
    table.header["COORDSYS"], table.header["NSIDE"] = "GALACTIC", _PLANCK_NSIDE
    table.header["COMMENT"] = _COMMENT
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)


def write_bayestar(path: Path) -> None:
    """Write a SYNTHETIC map in three dimensions: pixels of two sizes north of declination -30, five samples."""
    import h5py

    kinds = [("nside", "u4"), ("healpix_index", "u8"), ("converged", "u1"), ("DM_reliable_min", "f4"), ("DM_reliable_max", "f4")]
    info, best = [], []
    for part, nside in enumerate(_BAYESTAR_NSIDES):
        lon, lat = _directions(nside)
        base = np.arange(len(lon)) // (nside // _BAYESTAR_NSIDES[0]) ** 2
        dec = SkyCoord(Galactic(lon * u.deg, lat * u.deg)).icrs.dec.deg
        kept = np.flatnonzero((base % len(_BAYESTAR_NSIDES) == part) & (dec > _BAYESTAR_SOUTH))
        held = np.zeros(len(kept), dtype=kinds)
        held["nside"], held["healpix_index"], held["converged"] = nside, kept, kept % 19 > 0
        held["DM_reliable_min"], held["DM_reliable_max"] = 6.0, 14.0
        info.append(held)
        best.append(layer(lon[kept, None], lat[kept, None], 10.0 ** (0.2 * _DISTANCE_MODULI - 2.0)))
    profiles = np.concatenate(best).astype(np.float32)
    spread = 1.0 + 0.04 * (np.arange(_BAYESTAR_SAMPLES, dtype=np.float32) - _BAYESTAR_SAMPLES // 2)
    with h5py.File(path, "w") as file:
        file.attrs["comment"] = _COMMENT
        pixels = file.create_dataset("pixel_info", data=np.concatenate(info), track_times=False)
        pixels.attrs["DM_bin_edges"] = _DISTANCE_MODULI
        samples = profiles[:, None, :] * spread[:, None]
        file.create_dataset("samples", data=samples, track_times=False, compression="gzip", chunks=True)
        file.create_dataset("best_fit", data=profiles, track_times=False, compression="gzip", chunks=True)


def _directions(nside: int) -> tuple[Floats, Floats]:
    """Return longitude and latitude [deg] of all nested pixels."""
    lon, lat = HEALPix(nside=nside, order="nested").healpix_to_lonlat(np.arange(12 * nside**2))
    return lon.to_value(u.deg), lat.to_value(u.deg)


def _dust_sfd(plan: Plan) -> Iterator[File]:
    for name, pole in (("ngp", 1), ("sgp", -1)):
        yield File(f"SFD_dust_4096_{name}.fits", make=partial(write_sfd, pole=pole))


def _dust_planck(plan: Plan) -> Iterator[File]:
    yield File("HFI_CompMap_ThermalDustModel_2048_R1.20.fits", make=write_planck)


def _dust_bayestar2019(plan: Plan) -> Iterator[File]:
    yield File("bayestar2019.h5", make=write_bayestar)


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "dust_sfd": _dust_sfd,
    "dust_planck": _dust_planck,
    "dust_bayestar2019": _dust_bayestar2019,
}
