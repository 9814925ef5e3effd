"""Draw the stars of the SYNTHETIC sky: positions, ids and labels of one population of discs, halo and open clusters.

Nothing here is a measurement. All arrays have one entry per star, shape (N,).
"""

import zlib
from dataclasses import dataclass, fields

import astropy.units as u
import numpy as np
from astropy.coordinates import Galactic, SkyCoord
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from jobs.sky_spectra import spectra

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

XP_LIMIT = 17.65
_FAINT_SHARE, _CLUSTER_SHARE, _MOVED_SHARE = 0.14, 0.012, 0.004
_GIANT_SHARE, _CLUSTER_GIANT_SHARE = 0.25, 0.05
_G_PER_A0 = 0.80
_HEALPIX = HEALPix(nside=4096, order="nested")
_ARCSEC = 1.0 / 3600.0

# Galactic longitude and latitude [deg], distance [pc], [Fe/H] of the clusters; numbered from 1 in this order.
CLUSTERS = (
    (166.6, -23.5, 136.0, 0.03),
    (205.9, 32.5, 187.0, 0.16),
    (289.6, 1.4, 480.0, 0.0),
    (137.1, -23.3, 445.0, -0.05),
    (60.0, 4.0, 900.0, -0.22),
)

_DWARF_SHARE = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)
_DWARF_LOG_TEFF = tuple(np.log10((3150.0, 3700.0, 4500.0, 5500.0, 6300.0, 7800.0, 13000.0)))
_MAIN_TEFF = (3000.0, 3500.0, 4000.0, 4500.0, 5000.0, 5500.0, 5800.0, 6500.0, 7500.0, 10000.0, 13000.0)
_MAIN_LOGG = (5.05, 4.85, 4.68, 4.60, 4.54, 4.47, 4.40, 4.25, 4.15, 4.08, 4.02)
_MAIN_M_G = (12.2, 9.9, 7.8, 6.9, 6.0, 5.2, 4.6, 3.6, 2.4, 0.9, -0.2)


def uniforms(seed: int, purpose: str, first: int, shape: tuple[int, int]) -> Floats:
    """Draw numbers between 0 and 1 for stars numbered from `first`, (stars, width).

    The stream is keyed by seed and purpose and advanced to the star's number: a star's numbers depend neither on the
    other stars nor on how files or workers share them.
    """
    stars, width = shape
    blocks = -(-width // 4)  # Philox makes four doubles a step
    bits = np.random.Philox(key=np.array([seed, zlib.crc32(purpose.encode())], dtype=np.uint64))
    bits.advance(first * blocks)
    return np.random.Generator(bits).random((stars, 4 * blocks))[:, :width]


def normals(seed: int, purpose: str, first: int, shape: tuple[int, int]) -> Floats:
    """Draw standard normal numbers, keyed as in `uniforms` (Box and Muller: a fixed count of uniforms per number)."""
    stars, width = shape
    half = -(-width // 2)
    drawn = uniforms(seed, purpose, first, (stars, 2 * half))
    radius, angle = np.sqrt(-2.0 * np.log1p(-drawn[:, :half])), 2.0 * np.pi * drawn[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :width]


@dataclass(frozen=True)
class Stars:
    """SYNTHETIC stars in ascending order of source_id.

    Attributes
    ----------
    number
        Place in that order, the key of all later draws.
    distance, extinction
        pc, and mag at 541.4 nm.
    cluster
        Number of the open cluster, from 1; 0 for the field.
    magnitudes
        Noise-free G, BP, RP [mag, Vega], (N, 3).
    coefficients, scale
        Noise-free spectrum (see `jobs.sky_spectra.Spectra`).
    """

    number: Ints
    source_id: Ints
    ra: Floats
    dec: Floats
    teff: Floats
    logg: Floats
    fe_h: Floats
    distance: Floats
    extinction: Floats
    cluster: Ints
    magnitudes: Floats
    coefficients: Floats
    scale: Floats

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.source_id)

    @property
    def has_xp(self) -> Flags:
        """Whether a mean BP/RP spectrum is published: G brighter than 17.65 mag."""
        return np.asarray(self.magnitudes[:, 0] < XP_LIMIT)

    def take(self, which: Flags | slice) -> "Stars":
        """Return some of the stars."""
        return Stars(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def population(stars: int, seed: int) -> Stars:
    """Draw a SYNTHETIC population: thin and thick disc, halo, and five open clusters of one [Fe/H] each."""
    draw = uniforms(seed, "population", 0, (stars, 16))
    noise = normals(seed, "population noise", 0, (stars, 8))
    cluster = np.searchsorted(_CLUSTER_SHARE * np.arange(1, len(CLUSTERS) + 1), draw[:, 0], side="right") + 1
    cluster[cluster > len(CLUSTERS)] = 0
    component = np.searchsorted([0.80, 0.94], draw[:, 1])  # thin disc, thick disc, halo
    component[cluster > 0] = 0
    lon, lat = _directions(cluster, component, draw, noise)
    fe_h = np.choose(component, [-0.08 + 0.20 * noise[:, 0], -0.5 + 0.25 * noise[:, 0], -1.4 + 0.5 * noise[:, 0]])
    fe_h = np.where(cluster > 0, np.array([0.0, *(held[3] for held in CLUSTERS)])[cluster], np.clip(fe_h, -3.0, 0.5))
    giant = draw[:, 2] < np.where(cluster > 0, _CLUSTER_GIANT_SHARE, _GIANT_SHARE)
    teff, logg, m_g = _labels(giant, fe_h, draw, noise)
    g_mag = _brightness(draw)
    distance, extinction = _distance(g_mag - m_g, lat, noise)
    # Members of a cluster share its distance, so their brightness decides what stars they are.
    near = np.array([1.0, *(held[2] for held in CLUSTERS)])[cluster] * (1.0 + 0.01 * noise[:, 6])
    dust = _dust(near, lat)
    wanted = g_mag - 5.0 * np.log10(near / 10.0) - _G_PER_A0 * dust
    member, member_teff = (cluster > 0) & ~giant, np.interp(-np.clip(wanted, -0.2, 12.2), -np.array(_MAIN_M_G), _MAIN_TEFF)
    teff = np.where(member, member_teff, np.where((cluster > 0) & giant, 4900.0 + 60.0 * noise[:, 3], teff))
    logg = np.where(member, np.interp(member_teff, _MAIN_TEFF, _MAIN_LOGG), np.where((cluster > 0) & giant, 2.55, logg))
    m_g = np.where(cluster > 0, np.interp(teff, _MAIN_TEFF, _MAIN_M_G), m_g)
    m_g = np.where((cluster > 0) & giant, 0.5 + 0.2 * noise[:, 4], m_g)
    g_mag = np.where(cluster > 0, m_g + 5.0 * np.log10(near / 10.0) + _G_PER_A0 * dust, g_mag)
    distance, extinction = np.where(cluster > 0, near, distance), np.where(cluster > 0, dust, extinction)
    source_id, ra, dec = _identify(lon, lat, draw)
    order = np.argsort(source_id)
    made = spectra(teff[order], logg[order], fe_h[order], extinction[order], g_mag[order])
    return Stars(
        number=np.arange(stars),
        source_id=source_id[order],
        ra=ra[order],
        dec=dec[order],
        teff=teff[order],
        logg=logg[order],
        fe_h=fe_h[order],
        distance=distance[order],
        extinction=extinction[order],
        cluster=cluster[order],
        magnitudes=made.magnitudes,
        coefficients=made.coefficients,
        scale=made.scale,
    )


def _directions(cluster: Ints, component: Ints, draw: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Return Galactic longitude and latitude [deg]: crowded in the plane, towards the centre and in the clusters."""
    side = np.sign(draw[:, 3] - 0.5)
    height = -np.log(1.0 - draw[:, 4])
    lat = np.choose(component, [6.0 * height, 18.0 * height, np.degrees(np.arcsin(draw[:, 4]))]) * side
    lat = np.clip(np.where(np.abs(lat) > 88.0, 60.0 * draw[:, 4] * side, lat), -88.0, 88.0)
    lon = np.where(draw[:, 5] < 0.55, 40.0 * noise[:, 1], 360.0 * draw[:, 6]) % 360.0
    centre = np.array([(0.0, 0.0), *((held[0], held[1]) for held in CLUSTERS)])[cluster]
    radius = 18.0 / np.array([1.0, *(held[2] for held in CLUSTERS)])[cluster]  # half a parsec or so to the core [deg]
    inside = cluster > 0
    lat = np.where(inside, centre[:, 1] + radius * noise[:, 1], lat)
    lon = np.where(inside, centre[:, 0] + radius * noise[:, 2] / np.cos(np.radians(lat)), lon) % 360.0
    return lon, lat


def _labels(giant: Flags, fe_h: Floats, draw: Floats, noise: Floats) -> tuple[Floats, Floats, Floats]:
    """Return Teff, logg and absolute G of field stars on a main sequence and a giant branch with red clump."""
    main = 10.0 ** np.interp(draw[:, 7], _DWARF_SHARE, _DWARF_LOG_TEFF)
    evolved = np.clip(main / 5000.0 - 1.0, 0.0, 0.3) * draw[:, 8] * 1.5
    main_logg = np.interp(main, _MAIN_TEFF, _MAIN_LOGG) - evolved + 0.03 * noise[:, 3]
    main_g = np.interp(main, _MAIN_TEFF, _MAIN_M_G) - 2.0 * evolved - 0.6 * np.minimum(fe_h, 0.0)
    clump = draw[:, 9] < 0.45
    branch_logg = np.where(clump, 2.45 + 0.12 * noise[:, 3], 0.7 + 2.8 * draw[:, 10] ** 0.8)
    branch = 4760.0 + 390.0 * (branch_logg - 2.45) - 220.0 * fe_h + np.where(clump, 60.0, 0.0) + 50.0 * noise[:, 4]
    branch_g = 0.45 + 2.1 * (branch_logg - 2.45)
    return np.where(giant, branch, main), np.where(giant, branch_logg, main_logg), np.where(giant, branch_g, main_g)


def _brightness(draw: Floats) -> Floats:
    """Return G [mag]: rising to the limit of XP as in the real XP sample (median 16.05), and a faint tail beyond."""
    bright = XP_LIMIT + np.log(1.0 - 0.995 * draw[:, 11]) / 0.45 - 1e-3
    return np.where(draw[:, 12] < _FAINT_SHARE, XP_LIMIT + 3.1 * draw[:, 11] ** 0.8, np.maximum(bright, 6.5))


def _dust(distance: Floats, lat: Floats) -> Floats:
    """Return the extinction [mag at 541.4 nm] of a dust layer 120 pc thick, so largest near the plane."""
    slope = np.maximum(np.abs(np.sin(np.radians(lat))), 0.03)
    return np.minimum(0.5 * 0.12 / slope * (1.0 - np.exp(-distance / 1000.0 * slope / 0.12)), 6.0)


def _distance(modulus: Floats, lat: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Solve for the distance [pc] and extinction that make a star of absolute G look as bright as it does."""
    patchy = np.exp(0.35 * noise[:, 5])
    extinction = np.zeros_like(modulus)
    for _ in range(12):
        distance = np.clip(10.0 ** (1.0 + 0.2 * (modulus - _G_PER_A0 * extinction)), 5.0, 60_000.0)
        extinction = 0.5 * (extinction + patchy * _dust(distance, lat))
    return distance, extinction


def _identify(lon: Floats, lat: Floats, draw: Floats) -> tuple[Ints, Floats, Floats]:
    """Return source_id, ra and dec [deg]: the id is made in the star's pixel; 0.4 % have since moved just outside it."""
    sky = SkyCoord(Galactic(lon * u.deg, lat * u.deg)).icrs
    ra, dec = np.array(sky.ra.deg), np.array(sky.dec.deg)
    pixel = _HEALPIX.lonlat_to_healpix(ra * u.deg, dec * u.deg)
    order = np.argsort(pixel, kind="stable")
    begins = np.searchsorted(pixel[order], pixel[order], side="left")
    running = np.empty(len(pixel), dtype=np.int64)
    running[order] = np.arange(len(pixel)) - begins + 1
    # The lowest seven bits of real ids are a component number, 0 for nearly all.
    source_id = (pixel << 35) | (running << 7)
    inside = draw[:, 13] < _MOVED_SHARE
    centre_ra, centre_dec = (angle.to_value(u.deg) for angle in _HEALPIX.healpix_to_lonlat(pixel))
    turn = 2.0 * np.pi * draw[:, 14]
    for distance in range(24, 90, 4):
        east = distance * _ARCSEC * np.cos(turn) / np.cos(np.radians(centre_dec))
        ra = np.where(inside, (centre_ra + east) % 360.0, ra)
        dec = np.where(inside, centre_dec + distance * _ARCSEC * np.sin(turn), dec)
        inside &= _HEALPIX.lonlat_to_healpix(ra * u.deg, dec * u.deg) == pixel
    return source_id, ra, dec
