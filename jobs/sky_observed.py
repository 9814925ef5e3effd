"""Observe stars of the SYNTHETIC sky as spectroscopic surveys do: where they saw them, with labels on scales of their own.

Nothing here is a measurement. Every survey has documented offsets from the truth (`SCALES`), so that what homogenisation
finds can be compared with what was put in.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jobs.sky_plan import File, Plan
from jobs.sky_population import Flags, Floats, Ints, Stars, normals, uniforms
from jobs.sky_source import source_columns
from jobs.sky_spectroscopy import STRAIGHT, Bends, bent, motion, plain
from jobs.sky_xp import Columns

NULL = -9999.0
_GAIA_EPOCH = 2016.0
_SEEING = 0.07  # noise of a catalogued position along each axis [arcsec]
_MOST_VISITS, _NOISES = 3, 12
# The models of a pipeline end somewhere, and so do its labels, however noisy a spectrum is.
_GRID = {"logg": (-0.5, 6.0), "fe_h": (-5.0, 1.5)}
_COMMON_SHARE = 0.03
_STRAY_SHARE, _STRAY_STEP = 0.02, 90.0 / 3600.0  # [deg]: far from every source, near enough to look real


@dataclass(frozen=True)
class Scale:
    """How a survey's labels differ from the truth.

    Attributes
    ----------
    teff, logg, fe_h, velocity
        Offsets [K, dex, dex, km/s], survey minus truth.
    errors
        Standard errors of the four at a signal-to-noise ratio of 100 and above; they grow as it falls.
    bends
        What no offset takes away.
    """

    teff: float
    logg: float
    fe_h: float
    velocity: float
    errors: tuple[float, float, float, float]
    bends: Bends = STRAIGHT


SCALES: Mapping[str, Scale] = {
    "lamost_dr8": Scale(
        -40.0,
        0.05,
        -0.04,
        -4.5,
        (35.0, 0.06, 0.04, 4.0),
        Bends(dwarfs=-70.0, giants=60.0, clump=0.12, cool=0.10, poor=0.10, pulled=0.6, wave=0.06, convection=1.5),
    ),
    "lamost_hotpayne": Scale(120.0, 0.03, -0.05, 0.0, (150.0, 0.05, 0.08, 5.0)),
    "lamost_gaia": Scale(-15.0, 0.02, 0.03, -1.0, (45.0, 0.07, 0.05, 4.0)),
    "li2022": Scale(50.0, -0.10, -0.08, 0.3, (80.0, 0.15, 0.10, 0.5)),
    "segue_sspp": Scale(30.0, -0.08, -0.06, 2.0, (60.0, 0.15, 0.08, 3.0)),
    "rave_dr6": Scale(60.0, 0.10, -0.10, 0.4, (70.0, 0.12, 0.10, 1.2)),
    "gaia_eso": Scale(10.0, -0.02, 0.02, 0.0, (50.0, 0.10, 0.05, 0.4)),
}


@dataclass(frozen=True)
class Visits:
    """Which stars a survey observed, and when: one entry per spectrum.

    Attributes
    ----------
    star
        Index into all stars.
    visit
        Number of the spectrum of that star, from 0.
    stray
        Whether the object is none of Gaia's: a star's values, at a place where no source is.
    """

    star: Ints
    visit: Ints
    stray: Flags

    def __len__(self) -> int:
        """Return the number of spectra."""
        return len(self.star)

    def take(self, which: Flags) -> "Visits":
        """Return some of the spectra."""
        return Visits(self.star[which], self.visit[which], self.stray[which])


def visits(stars: Stars, seed: int, survey: str, chosen: Flags, *, strays: bool = True) -> Visits:
    """Draw one to three spectra of the chosen stars and, unless told otherwise, of a few objects without a source.

    Parameters
    ----------
    stars
        All stars of the sky, numbered from 0.
    """
    draw = uniforms(seed, f"{survey} visits", 0, (len(stars), 2))
    count = np.where(chosen, 1 + (draw[:, 0] < 0.2) + (draw[:, 0] < 0.05), 0)
    star = np.repeat(np.arange(len(stars)), count)
    visit = np.arange(len(star)) - np.repeat(np.cumsum(count) - count, count)
    lost = np.flatnonzero(chosen & (draw[:, 1] < _STRAY_SHARE)) if strays else star[:0]
    return Visits(
        star=np.concatenate([star, lost]),
        visit=np.concatenate([visit, np.full(len(lost), _MOST_VISITS - 1)]),
        stray=np.concatenate([np.zeros(len(star), dtype=bool), np.ones(len(lost), dtype=bool)]),
    )


def noise(stars: Stars, seed: int, purpose: str, seen: Visits) -> Floats:
    """Return twelve standard normal numbers per spectrum, (spectra, 12), the same whatever else is observed."""
    drawn = normals(seed, purpose, 0, (len(stars), _MOST_VISITS * _NOISES)).reshape(len(stars), _MOST_VISITS, _NOISES)
    return drawn[seen.star, seen.visit]


def signal(stars: Stars, seen: Visits, drawn: Floats, *, at_ten: float) -> Floats:
    """Return signal-to-noise ratios, `at_ten` for stars of G = 10 mag."""
    return at_ten * 10.0 ** (-0.2 * (stars.magnitudes[seen.star, 0] - 10.0)) * np.exp(0.2 * drawn[:, 0])


def on_scale(stars: Stars, survey: str, velocity: Floats) -> dict[str, Floats]:
    """Return Teff, logg, [Fe/H] and velocity on the survey's scale, without noise, one per star of true `velocity`."""
    scale = SCALES[survey]
    bend = bent(scale.bends, stars)
    return {
        "teff": stars.teff + scale.teff + bend["teff"],
        "logg": stars.logg + scale.logg + bend["logg"],
        "fe_h": stars.fe_h + scale.fe_h + bend["fe_h"],
        "radial_velocity": velocity + scale.velocity + bend["velocity"],
    }


def labels(stars: Stars, seed: int, survey: str, seen: Visits, snr: Floats) -> dict[str, Floats]:
    """Return Teff, logg, [Fe/H] and velocity with their errors, on the survey's scale."""
    scale, drawn = SCALES[survey], noise(stars, seed, f"{survey} labels", seen)
    worse = np.maximum(1.0, 100.0 / np.maximum(snr, 5.0)) ** 0.7
    columns: dict[str, Floats] = {}
    for i, (name, values) in enumerate(on_scale(stars, survey, _velocity(stars, seed)).items()):
        error = scale.errors[i] * worse * np.exp(0.1 * drawn[:, i])
        measured = values[seen.star] + error * drawn[:, 4 + i]
        columns[name] = np.clip(measured, *_GRID[name]) if name in _GRID else measured
        columns[f"{name}_error"] = error
    return columns


def positions(stars: Stars, seed: int, survey: str, seen: Visits, epoch: Floats | float) -> dict[str, Floats]:
    """Return where objects stood at an epoch (Julian year, one or one per spectrum), with the noise of a catalogue."""
    gaia = source_columns(stars, seed)
    drawn = _SEEING * noise(stars, seed, f"{survey} positions", seen)
    years = np.asarray(epoch) - _GAIA_EPOCH
    east, north = (_filled(gaia[name])[seen.star] * years / 1000.0 for name in ("pmra", "pmdec"))
    dec = stars.dec[seen.star] + (north + drawn[:, 1]) / 3600.0 + np.where(seen.stray, _STRAY_STEP, 0.0)
    ra = stars.ra[seen.star] + (east + drawn[:, 0]) / 3600.0 / np.cos(np.radians(dec))
    return {"object_ra": ra % 360.0, "object_dec": np.clip(dec, -90.0, 90.0)}


def gone(values: Floats, absent: Flags, null: float = np.nan) -> Floats:
    """Return values with some of them missing."""
    return np.where(absent, null, values)


def share(stars: Stars, seed: int, survey: str) -> Floats:
    """Return one number between 0 and 1 per star, by which a survey chooses its targets: the lowest first.

    Some stars are first in every survey that can see them, as bright and famous fields are, so that surveys overlap.
    """
    common = uniforms(seed, "common targets", 0, (len(stars), 1))[:, 0] < _COMMON_SHARE
    return np.where(common, 0.0, uniforms(seed, f"{survey} targets", 0, (len(stars), 1))[:, 0])


def one_file(name: str, dialect: str, columns: Callable[[Stars, int], Columns]) -> Callable[[Plan], Iterator[File]]:
    """Return a generator of one file, whose columns follow from the stars and the seed."""

    def files(plan: Plan) -> Iterator[File]:
        yield File(name, dialect, partial(columns, plan.stars, plan.seed))

    return files


def _velocity(stars: Stars, seed: int) -> Floats:
    """Return the velocities that other surveys see as well: Gaia's where it has one."""
    gaia = plain(source_columns(stars, seed)["radial_velocity"])
    return np.where(np.isfinite(gaia), gaia, motion(stars, seed))


def _filled(values: Any) -> Floats:
    return np.asarray(values.fill_null(0.0).to_numpy(zero_copy_only=False), dtype=np.float64)
