"""Derive what high-resolution surveys measure of the SYNTHETIC stars: ages, abundances, velocities, on scales of their own.

Nothing here is a measurement. Ages, alpha and single elements follow from a star's [Fe/H] with some spread, so that the
thick disc is old and rich in alpha, and [C/N] of giants tells their age. A survey's label is the true one, moved by the
survey's `Scale` and bent by its `Bends`, plus noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.sky_plan import Plan
from jobs.sky_population import Floats, Ints, Stars, normals, uniforms
from jobs.sky_source import source_columns
from lake.columns.labels import ELEMENTS

NOISES = 5 + len(ELEMENTS)
_ALPHA = ("o", "mg", "si", "s", "ca", "ti")
_PIVOT = {"teff": 5000.0, "logg": 3.0, "fe_h": 0.0}
_CLUSTER_AGE = (0.0, 0.11, 0.65, 0.3, 0.25, 4.0)  # Gyr, by number of the cluster
_GAIA = ("phot_g_mean_mag", "radial_velocity")


@dataclass(frozen=True)
class Bends:
    """How far a survey's labels are bent, as those of two pipelines are against each other; 0 is straight.

    Dwarfs turn into giants at logg 3.7, within some 0.5 dex, for there are subgiants.

    Attributes
    ----------
    dwarfs, giants
        Height of a step of Teff at 5250 K [K]: this much less on its cool side, this much more on its hot side.
    clump, cool
        Height of the bumps of logg at the red clump, 2.45 +- 0.15, and of dwarfs cooler than 4800 K [dex].
    poor
        What [Fe/H] has too much below -0.9, where templates are few [dex].
    pulled
        Part of a wrong logg by which [Fe/H] is wrong as well, as one fit finds both.
    wave
        Amplitude with which [alpha/M] and [X/Fe] of alpha elements go up and down every 1100 K [dex].
    convection
        Amplitude of the velocity shift: the Sun's kind is moved one way, hotter and cooler stars the other, the more so the
        smaller a star is [km/s].
    """

    dwarfs: float = 0.0
    giants: float = 0.0
    clump: float = 0.0
    cool: float = 0.0
    poor: float = 0.0
    pulled: float = 0.0
    wave: float = 0.0
    convection: float = 0.0


STRAIGHT = Bends()


def bent(bends: Bends, stars: Stars) -> dict[str, Floats]:
    """Return what bends add to the true teff [K], logg, fe_h, alpha [dex] and velocity [km/s], one entry per star."""
    teff, logg = stars.teff, stars.logg
    dwarf = 1.0 / (1.0 + np.exp(-(logg - 3.7) / 0.15))
    cool = dwarf / (1.0 + np.exp((teff - 4800.0) / 80.0))
    gravity = bends.clump * np.exp(-0.5 * ((logg - 2.45) / 0.15) ** 2) + bends.cool * cool
    return {
        "teff": (bends.dwarfs * dwarf + bends.giants * (1.0 - dwarf)) * np.tanh((teff - 5250.0) / 150.0),
        "logg": gravity,
        "fe_h": 0.5 * bends.poor * (1.0 - np.tanh((stars.fe_h + 0.9) / 0.15)) + bends.pulled * gravity,
        "alpha": bends.wave * np.sin(2.0 * np.pi * (teff - 4700.0) / 1100.0),
        "velocity": bends.convection * np.cos(2.0 * np.pi * (teff - 5777.0) / 1400.0) * np.tanh(logg - 2.0),
    }


@dataclass(frozen=True)
class Scale:
    """How a survey's labels differ from the true ones: ``true + zero + tilt * (true - pivot) + bend``, and its noise.

    Attributes
    ----------
    teff, logg, fe_h
        Zero point and tilt; pivots are 5000 K, 3 dex and 0 dex.
    alpha, velocity
        Zero point of [alpha/M] and of every [X/Fe] [dex], and of the velocity [km/s].
    noise
        Scatter of teff [K], logg, fe_h, [X/Fe] [dex] and velocity [km/s] of a star of average quality; [alpha/M] has half
        that of [X/Fe].
    bends
        What no zero point and no tilt takes away.
    """

    teff: tuple[float, float]
    logg: tuple[float, float]
    fe_h: tuple[float, float]
    alpha: float
    velocity: float
    noise: tuple[float, float, float, float, float]
    bends: Bends = STRAIGHT


# About as large as real surveys differ from each other; homogenisation has to find them. The reference base is straight.
SCALES: Mapping[str, Scale] = {
    "apogee_dr17": Scale((-35.0, 0.02), (0.03, 0.02), (0.01, -0.02), 0.02, 0.0, (25.0, 0.04, 0.02, 0.03, 0.1)),
    "apogee_astronn_dr17": Scale((-20.0, 0.01), (0.05, 0.0), (0.02, -0.08), 0.01, 0.0, (30.0, 0.05, 0.03, 0.04, 0.1)),
    "galah_dr4": Scale(
        (45.0, -0.01),
        (-0.05, 0.03),
        (-0.06, 0.02),
        -0.02,
        0.15,
        (50.0, 0.08, 0.05, 0.06, 0.3),
        Bends(dwarfs=-60.0, giants=45.0, clump=-0.10, cool=0.12, poor=0.09, pulled=0.6, wave=0.06, convection=-0.25),
    ),
    "galah_dr3": Scale(
        (20.0, -0.03),
        (-0.02, 0.05),
        (-0.10, 0.04),
        -0.04,
        -0.1,
        (70.0, 0.12, 0.07, 0.08, 0.3),
        Bends(dwarfs=80.0, giants=-60.0, clump=0.13, cool=-0.12, poor=0.12, pulled=0.8, wave=0.08, convection=0.35),
    ),
    "gaia_dr3_gspspec": Scale((-60.0, 0.03), (-0.30, 0.10), (-0.08, -0.05), 0.03, 0.0, (90.0, 0.18, 0.10, 0.10, 0.5)),
    "labels": Scale((15.0, 0.0), (0.0, 0.0), (-0.02, 0.0), 0.0, 0.0, (80.0, 0.10, 0.08, 0.08, 1.0)),
}


@dataclass(frozen=True)
class Truth:
    """True labels of SYNTHETIC stars beyond those of the population, one entry per star.

    Attributes
    ----------
    age
        Gyr.
    alpha, elements
        [alpha/M], and [X/Fe] by element [dex].
    """

    age: Floats
    alpha: Floats
    elements: Mapping[str, Floats]


@dataclass(frozen=True)
class Rows:
    """Rows of a survey's file: the star that each is of, with true and Gaia values, one entry per row.

    Attributes
    ----------
    at
        Index of the star among all of the sky.
    velocity
        Radial velocity [km/s]: Gaia's where it has one, else one of the star's population.
    g_mag
        Gaia's phot_g_mean_mag.
    """

    at: Ints
    stars: Stars
    truth: Truth
    velocity: Floats
    g_mag: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.at)


def truth(stars: Stars, seed: int) -> Truth:
    """Return the true ages and abundances of stars that follow one another in number."""
    first = int(stars.number[0]) if len(stars) else 0
    draw, noise = uniforms(seed, "ages", first, (len(stars), 2)), normals(seed, "elements", first, (len(stars), 40))
    young = 0.6 + 8.4 * draw[:, 0] ** 1.2
    age = np.select([stars.fe_h < -1.0, stars.fe_h < -0.4], [10.0 + 3.0 * draw[:, 1], 8.0 + 4.5 * draw[:, 1]], young)
    age = np.where(stars.cluster > 0, np.array(_CLUSTER_AGE)[stars.cluster], age)
    alpha = 0.01 + 0.024 * np.maximum(age - 4.0, 0.0) - 0.03 * stars.fe_h + 0.015 * noise[:, 0]
    elements = {name: alpha + 0.02 * noise[:, 1 + k] for k, name in enumerate(_ALPHA)}
    for k, name in enumerate(name for name in ELEMENTS if name not in _ALPHA):
        slope = 0.12 * np.sin(1.7 * k)  # each has its own trend with [Fe/H]
        elements[name] = slope * stars.fe_h + 0.03 * noise[:, 7 + k]
    giant = stars.logg < 3.6
    elements["c"] = np.where(giant, -0.12 + 0.025 * (age - 5.0), 0.0) + 0.03 * noise[:, 35]
    elements["n"] = np.where(giant, 0.22 - 0.035 * (age - 5.0), 0.0) + 0.03 * noise[:, 36]
    return Truth(age, alpha, {name: elements[name] for name in ELEMENTS})


def rows_of(plan: Plan, at: Ints) -> Rows:
    """Gather true and Gaia values of the stars at `at`, in that order, one part of the sky after the other."""
    starts = np.cumsum([0, *(len(part.stars) for part in plan.parts)])
    owner = np.searchsorted(starts, at, side="right") - 1
    g_mag, velocity, age, alpha = (np.empty(len(at)) for _ in range(4))
    elements = {name: np.empty(len(at)) for name in ELEMENTS}
    for k in np.unique(owner):
        part, here = plan.parts[k], owner == k
        local = at[here] - starts[k]
        gaia, true = source_columns(part.stars, plan.seed), truth(part.stars, plan.seed)
        g_mag[here], velocity[here] = (plain(gaia[name])[local] for name in _GAIA)
        age[here], alpha[here] = true.age[local], true.alpha[local]
        for name in ELEMENTS:
            elements[name][here] = true.elements[name][local]
    stars = Stars(**{one.name: getattr(plan.stars, one.name)[at] for one in fields(Stars)})
    velocity = np.where(np.isfinite(velocity), velocity, motion(plan.stars, plan.seed)[at])
    return Rows(at, stars, Truth(age, alpha, elements), velocity, g_mag)


def motion(stars: Stars, seed: int) -> Floats:
    """Return the velocities [km/s] of stars that follow one another in number, for those of which Gaia has none."""
    first = int(stars.number[0]) if len(stars) else 0
    spread = np.select([stars.fe_h < -1.0, stars.fe_h < -0.4], [120.0, 55.0], 30.0)
    return np.asarray(spread * normals(seed, "motion", first, (len(stars), 1))[:, 0])


def plain(values: Any) -> Floats:
    """Return numbers as float64, null as NaN."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return np.asarray(values, dtype=np.float64)


def chosen(plan: Plan, weight: Floats, number: int, purpose: str) -> Ints:
    """Draw up to `number` stars without repetition, each by its weight, those of weight 0 never; ascending indices."""
    draw = uniforms(plan.seed, purpose, 0, (len(plan.stars), 1))[:, 0]
    order = np.argsort(np.where(weight > 0.0, -np.log1p(-draw) / np.maximum(weight, 1e-12), np.inf), kind="stable")
    return np.sort(order[: min(number, int((weight > 0.0).sum()))])


def number_of(plan: Plan, share: float, *, least: int = 60) -> int:
    """Return how many stars a survey of this share observes, a few dozen in the smallest of skies."""
    return max(least, round(share * len(plan.stars)))


def apogee_stars(plan: Plan) -> Ints:
    """Return the stars that APOGEE observes, 2.8 %: giants to G = 15.5 mag and some brighter dwarfs."""
    g_mag, giant = plan.stars.magnitudes[:, 0], plan.stars.logg < 3.6
    weight = np.where(giant & (g_mag < 15.5), 1.0, np.where((g_mag < 14.0) & (plan.stars.teff < 7500.0), 0.25, 0.0))
    return chosen(plan, weight, number_of(plan, 0.028), "apogee stars")


def measured(rows: Rows, scale: Scale, noise: Floats) -> dict[str, Floats]:
    """Return teff [K], logg, fe_h, alpha, one x_fe per element and velocity [km/s] on a survey's scale, with its noise.

    Parameters
    ----------
    noise
        Normal numbers, (rows, `NOISES`): of standard deviation 1, or larger for rows that are worse than the average.
    """
    made, bend = {}, bent(scale.bends, rows.stars)
    for k, name in enumerate(("teff", "logg", "fe_h")):
        true, (zero, tilt) = np.asarray(getattr(rows.stars, name)), getattr(scale, name)
        made[name] = true + zero + tilt * (true - _PIVOT[name]) + bend[name] + scale.noise[k] * noise[:, k]
    made["alpha"] = rows.truth.alpha + scale.alpha + bend["alpha"] + 0.5 * scale.noise[3] * noise[:, 3]
    made["velocity"] = rows.velocity + scale.velocity + bend["velocity"] + scale.noise[4] * noise[:, 4]
    for k, (name, true) in enumerate(rows.truth.elements.items()):
        wave = bend["alpha"] if name in _ALPHA else 0.0
        made[f"{name}_fe"] = true + scale.alpha + wave + scale.noise[3] * noise[:, 5 + k]
    return made


def infrared(stars: Stars) -> tuple[Floats, Floats]:
    """Return J and Ks [mag, Vega] from G and BP - RP, by the usual relation of stars."""
    g_mag, bp_mag, rp_mag = stars.magnitudes.T
    colour = np.clip(bp_mag - rp_mag, -0.3, 4.0)
    return g_mag + 0.019 - 1.394 * colour + 0.0789 * colour**2, g_mag + 0.189 - 2.092 * colour + 0.1345 * colour**2


def position_names(stars: Stars) -> NDArray[np.str_]:
    """Return names in 2MASS's style from positions, such as ``19261694+3745527``."""
    return np.array([_position_name(ra, dec) for ra, dec in zip(stars.ra, stars.dec, strict=True)], dtype="U17")


def _position_name(ra: float, dec: float) -> str:
    """Cut off, not rounded, as names of 2MASS are: hundredths of seconds, tenths of arcseconds."""
    time, angle = int(ra * 24_000.0), int(abs(dec) * 36_000.0)
    hours = f"{time // 360_000:02d}{time // 6000 % 60:02d}{time % 6000:04d}"
    return f"{hours}{'-' if dec < 0 else '+'}{angle // 36_000:02d}{angle // 600 % 60:02d}{angle % 600:03d}"


def bits(draw: Floats, *shares: tuple[int, float]) -> Ints:
    """Return flags: each (bit, share) is set in that share of the rows, by its own column of `draw`."""
    made = np.zeros(len(draw), dtype=np.int64)
    for k, (bit, share) in enumerate(shares):
        made |= (draw[:, k] < share).astype(np.int64) << bit
    return made


def without_ids(ids: Ints, draw: Floats, share: float, sentinels: Sequence[int]) -> Ints:
    """Return ids of which a share, and one at least for each sentinel, is a sentinel instead."""
    made, order = ids.copy(), np.argsort(draw)
    each = max(1, round(share * len(ids) / len(sentinels)))
    for k, sentinel in enumerate(sentinels):
        made[order[k * each : (k + 1) * each]] = sentinel
    return made
