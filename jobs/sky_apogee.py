"""Make the files of APOGEE DR17 and of the two catalogues derived from it for the SYNTHETIC sky.

Nothing here is a measurement. allStar has what makes the real one hard: stars with several rows, of other fields and
telescopes; rows without a Gaia id; stars that are bad, with labels or without; sentinels; vectors of flags; no order. The
two other files hold the same rows in the same order, as the real ones do.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from jobs.sky_plan import File, Plan
from jobs.sky_population import Flags, Floats, Ints, normals, uniforms
from jobs.sky_spectroscopy import (
    NOISES,
    SCALES,
    Rows,
    apogee_stars,
    bits,
    infrared,
    measured,
    position_names,
    rows_of,
    without_ids,
)
from jobs.sky_xp import Columns
from lake.columns.apogee import HYDROGEN_SCALE, LATENT

Texts = NDArray[np.str_]

_REPEATED = 0.11  # of the stars have a second row, a few a third
_DUPLICATE, _STAR_BAD, _MULTIPLE, _RV_FAIL, _CALRANGE_BAD = 4, 23, 41, 22, 1
_FAILED = 999999.0
_ELEMENTS = (
    *("c", "ci", "n", "o", "na", "mg", "al", "si", "p", "s", "k"),
    *("ca", "ti", "ti2", "v", "cr", "mn", "co", "ni", "cu", "ce", "yb"),
)
_TWIN = {"ci": "c", "ti2": "ti"}
_NEVER_MEASURED = ("p", "cu", "yb")
_SUN, _SPEED = 8.122, 229.0  # kpc from the centre, and km/s of circular orbits


@dataclass(frozen=True)
class _AllStar:
    """Rows of allStar in file order: true and Gaia values, and what all three files name them by."""

    rows: Rows
    apogee_id: Texts
    telescope: Texts
    location_id: Ints
    field: Texts
    source_id: Ints
    snr: Floats
    duplicate: Flags
    starflag: Ints
    aspcapflag: Ints
    velocity: Floats
    labels: Mapping[str, Floats]
    without_labels: Flags
    draw: Floats


def _all_star(plan: Plan) -> _AllStar:
    """Draw the rows of allStar, always the same for one sky."""
    once = apogee_stars(plan)
    again = uniforms(plan.seed, "apogee repeats", 0, (len(once), 1))[:, 0]
    at = np.concatenate([once, once[again < _REPEATED], once[again < _REPEATED / 6.0]])
    visit = np.concatenate([np.zeros(len(once), int), np.ones((again < _REPEATED).sum(), int)])
    visit = np.concatenate([visit, np.full(len(at) - len(visit), 2)])
    order = np.random.default_rng([plan.seed, 17]).permutation(len(at))
    at, visit = at[order], visit[order]
    rows = rows_of(plan, at)
    draw = uniforms(plan.seed, "apogee rows", 0, (len(at), 24))
    snr = np.maximum(3.0, 130.0 * 10.0 ** (-0.15 * (rows.stars.magnitudes[:, 0] - 12.0)) * np.exp(draw[:, 0] - 0.5))
    best = np.zeros(plan.stars.number.size)
    np.maximum.at(best, at, snr)
    size = _size(snr)[:, np.newaxis]
    labels = measured(rows, SCALES["apogee_dr17"], size * normals(plan.seed, "apogee labels", 0, (len(at), NOISES)))
    suspect, failed = draw[:, 1] < 0.03, draw[:, 17] < 0.01
    starflag = bits(draw[:, 2:], (9, 0.08), (10, 0.05), (11, 0.05), (2, 0.04), (3, 0.01), (23, 0.01))
    starflag |= (snr < 5.0).astype(np.int64) << 4 | suspect.astype(np.int64) << 21 | failed.astype(np.int64) << _RV_FAIL
    bad = suspect | (draw[:, 8] < 0.03)
    aspcapflag = bits(draw[:, 9:], (1, 0.06), (6, 0.3), (9, 0.04), (14, 0.02)) | (snr < 70.0).astype(np.int64) << 11
    aspcapflag |= bad.astype(np.int64) << _STAR_BAD | suspect.astype(np.int64) << _MULTIPLE
    telescope = np.where(rows.stars.dec < -10.0, "lco25m", np.where((visit == 2) | (draw[:, 13] < 0.01), "apo1m", "apo25m"))
    field, location = _fields(rows, visit)
    return _AllStar(
        rows=rows,
        apogee_id=np.char.add("2M", position_names(rows.stars)),
        telescope=telescope,
        location_id=np.where(telescope == "apo1m", 1, location),
        field=field,
        source_id=without_ids(rows.stars.source_id, draw[:, 14], 0.008, (0,)),
        snr=snr,
        duplicate=snr < best[at],
        starflag=starflag,
        aspcapflag=aspcapflag,
        velocity=np.where(failed, _FAILED, labels["velocity"]),
        labels=labels,
        without_labels=(bad & (draw[:, 15] < 0.5)) | (draw[:, 16] < 0.02),
        draw=draw,
    )


def _size(snr: Floats) -> Floats:
    """Return how much larger than the average the noise of labels is at a signal-to-noise ratio: as large at 120."""
    return (1.0 + 60.0 / snr) / 1.5


def _fields(rows: Rows, visit: Ints) -> tuple[Texts, Ints]:
    """Return names such as ``071+10``, others for later rows of a star, and numbers of fields."""
    sky = SkyCoord(rows.stars.ra * u.deg, rows.stars.dec * u.deg).galactic
    lon, lat = np.floor(sky.l.deg / 3.0).astype(int) * 3, np.floor(sky.b.deg / 3.0).astype(int) * 3
    prefix = np.array(["", "K2_", "APOKASC_"])[visit]
    names = [f"{first}{x:03d}{y:+03d}" for first, x, y in zip(prefix, lon, lat, strict=True)]
    return np.array(names), 4000 + 1000 * visit + 31 * (lon // 3) % 997 + (lat // 3) % 31


def _allstar_columns(plan: Plan) -> Columns:
    """Return the rows of allStar under canonical names, as its file holds them."""
    held = _all_star(plan)
    rows, draw = held.rows, held.draw
    j_mag, ks_mag = infrared(rows.stars)
    known = held.source_id > 0
    columns: dict[str, object] = {
        "source_id": held.source_id,
        "apogee_id": held.apogee_id,
        "apstar_id": [
            f"apogee.{telescope}.stars.{field}.{name}"
            for telescope, field, name in zip(held.telescope, held.field, held.apogee_id, strict=True)
        ],
        "telescope": held.telescope,
        "location_id": held.location_id,
        "field": held.field,
        "object_ra": rows.stars.ra,
        "object_dec": rows.stars.dec,
        "snr": held.snr,
        "n_visits": 1 + (6 * draw[:, 18] ** 2).astype(int),
        "radial_velocity": held.velocity,
        "radial_velocity_error": np.where(held.velocity == _FAILED, _FAILED, SCALES["apogee_dr17"].noise[4] * _size(held.snr)),
        "velocity_scatter": np.where(draw[:, 19] < 0.06, 12.0 * draw[:, 20], 0.1 * draw[:, 20]),
        "apogee_starflag": held.starflag,
        "apogee_aspcapflag": held.aspcapflag,
        "apogee_extratarg": bits(draw[:, 21:], (0, 0.3), (2, 0.02)) | held.duplicate.astype(np.int64) << _DUPLICATE,
        "survey_g_mag": np.where(known, rows.g_mag, np.nan),
        "survey_j_mag": np.where(draw[:, 22] < 0.01, 99.999, j_mag),
        "survey_ks_mag": np.where(draw[:, 22] < 0.01, 99.999, ks_mag),
    }
    return columns | _aspcap(held)


def _aspcap(held: _AllStar) -> dict[str, object]:
    """Return parameters and abundances with errors and flags, NaN where there is no result, a few sentinels."""
    rows, draw, gone, labels = held.rows, held.draw, held.without_labels, held.labels
    size, noise = _size(held.snr), SCALES["apogee_dr17"].noise
    made: dict[str, object] = {}
    values = {"teff": labels["teff"], "logg": labels["logg"], "m_h": labels["fe_h"], "alpha_m": labels["alpha"]}
    for name, error in (("teff", noise[0]), ("logg", noise[1]), ("m_h", noise[2]), ("alpha_m", 0.5 * noise[3])):
        value = np.where(draw[:, 23] < 0.004, -9999.0, np.where(gone, np.nan, values[name]))
        made |= {name: value, f"{name}_error": np.where(gone, np.nan, error * size)}
        made[f"apogee_{name}_flag"] = np.where(draw[:, 12] < 0.02, 1 << 8, 0)
    made["fe_h"], made["fe_h_error"] = np.where(gone, np.nan, labels["fe_h"] - 0.01), np.where(gone, np.nan, noise[2] * size)
    made["fe_h_flag"] = np.zeros(len(rows), dtype=np.int32)
    for k, element in enumerate(_ELEMENTS):
        value = labels[f"{_TWIN.get(element, element)}_fe"]
        edge = np.roll(draw[:, 11], k) < 0.01
        never = element in _NEVER_MEASURED
        made[f"{element}_fe"] = np.where(gone | edge | never, np.nan, value)
        made[f"{element}_fe_error"] = np.where(gone, np.nan, noise[3] * size)
        made[f"{element}_fe_flag"] = np.where(edge, 1, 0) | (never << _CALRANGE_BAD) | np.where(np.roll(edge, 1), 1 << 8, 0)
    # Giants have no rotation velocity.
    made["vsini"] = np.where(gone | (rows.stars.logg < 3.6), np.nan, 2.0 + 10.0 * draw[:, 10])
    made["vmic"] = np.where(gone, np.nan, np.clip(1.4 - 0.25 * (rows.stars.logg - 2.5), 0.3, 3.0))
    return made


def _astronn_columns(plan: Plan) -> Columns:
    """Return the astroNN catalogue: the rows of allStar in their order, NaN where the network gives nothing."""
    held = _all_star(plan)
    rows = held.rows
    noise, gone = normals(plan.seed, "astronn", 0, (len(rows), NOISES + 8)), held.draw[:, 10] < 0.03
    labels = measured(rows, SCALES["apogee_astronn_dr17"], noise[:, :NOISES])
    extra = noise[:, NOISES:]
    columns: dict[str, object] = {
        "apogee_id": held.apogee_id,
        "telescope": held.telescope,
        "location_id": held.location_id,
        "astronn_source_id": held.source_id,
        "survey_g_mag": np.where(held.source_id > 0, rows.g_mag, np.nan),
        "radial_velocity": held.velocity,
    }
    numbers: dict[str, Floats] = {
        "teff": labels["teff"],
        "teff_error": 30.0 + 2000.0 / held.snr,
        "logg": labels["logg"],
        "logg_error": 0.04 + 2.0 / held.snr,
        "fe_h": labels["fe_h"],
        "fe_h_error": 0.02 + 1.0 / held.snr,
    }
    for element in HYDROGEN_SCALE:
        numbers[f"{element}_h"] = labels["fe_h"] + labels[f"{_TWIN.get(element, element)}_fe"]
        numbers[f"{element}_h_error"] = 0.03 + 1.0 / held.snr
    for name, spread in (("spectroscopic_distance", 0.10), ("weighted_distance", 0.04)):
        numbers[name] = rows.stars.distance * np.exp(spread * extra[:, 0])
        numbers[f"{name}_error"] = spread * numbers[name]
    raw = np.clip(0.887 * rows.truth.age + 0.238 + 0.7 * extra[:, 1], 0.1, 12.0)
    numbers["age_uncorrected"], numbers["age_linear"] = raw, (raw - 0.238) / 0.887
    numbers["age"] = numbers["age_linear"] + 0.05 * extra[:, 2]  # below zero for the youngest, as the extrapolation is
    numbers["age_error"], numbers["age_model_error"] = 0.3 * raw, 0.2 * raw
    numbers |= _orbit(rows, numbers["weighted_distance"] / 1000.0)
    return columns | {name: np.where(gone, np.nan, values) for name, values in numbers.items()}


def _orbit(rows: Rows, distance: Floats) -> dict[str, Floats]:
    """Return Galactocentric places and the orbits of a flat rotation curve, roughly; `distance` in kpc."""
    sky = SkyCoord(rows.stars.ra * u.deg, rows.stars.dec * u.deg).galactic
    lon, lat = np.radians(sky.l.deg), np.radians(sky.b.deg)
    x, y = distance * np.cos(lat) * np.cos(lon) - _SUN, distance * np.cos(lat) * np.sin(lon)
    r, z = np.hypot(x, y), distance * np.sin(lat)
    slow = np.select([rows.stars.fe_h < -1.0, rows.stars.fe_h < -0.4], [0.3, 0.8], 0.97)
    spin = r * _SPEED * slow
    guiding = spin / _SPEED
    e = np.clip(1.0 - slow + 0.02, 0.0, 1.0)
    made = {
        "orbit_eccentricity": e,
        "orbit_zmax": np.abs(z) * 1.2 + 0.1,
        "orbit_pericentre": guiding * (1.0 - e),
        "orbit_apocentre": guiding * (1.0 + e),
        "radial_action": 0.5 * e**2 * np.abs(spin),
        "angular_momentum_z": spin,
        "vertical_action": 5.0 + 20.0 * np.abs(z),
        "orbit_energy": 0.5 * _SPEED**2 + _SPEED**2 * np.log(np.maximum(guiding, 0.1) / 60.0),
        "guiding_radius": guiding,
        "galactocentric_r": r,
        "galactocentric_phi": np.arctan(y / x),
        "galactocentric_z": z,
        "galactocentric_vr": rows.velocity * np.cos(lon),
        "galactocentric_vt": _SPEED * slow,
        "galactocentric_vz": rows.velocity * np.sin(lat),
    }
    return made | {f"{name}_error": 0.03 * np.abs(values) for name, values in made.items()}


def _latent_columns(plan: Plan) -> Columns:
    """Return the latent ages: the rows of allStar in their order, empty for dwarfs and where allStar has no labels."""
    held = _all_star(plan)
    rows = held.rows
    none = held.without_labels | (rows.stars.logg > 3.6)
    noise = normals(plan.seed, "latent ages", 0, (len(rows), LATENT + 1))
    log_age = np.log10(rows.truth.age) + 0.08 * noise[:, LATENT]
    terms = np.stack([rows.stars.logg - 2.5, (rows.stars.teff - 4800.0) / 300.0, rows.stars.fe_h, rows.truth.alpha * 8.0], axis=1)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(LATENT, LATENT)))[0][:4]
    latent = terms @ turn + 0.15 * noise[:, :LATENT]
    numbers = {f"latent_z{k}": latent[:, k] for k in range(LATENT)}
    numbers |= {"age": 10.0**log_age, "age_error": (0.2 + 10.0 / held.snr) * 10.0**log_age}
    numbers |= {"log_age": log_age, "log_age_error": 0.09 + 4.0 / held.snr}
    return {
        "apogee_id": held.apogee_id,
        "telescope": held.telescope,
        "field": held.field,
        "apogee_starflag": held.starflag,
        "apogee_aspcapflag": held.aspcapflag,
        **{name: pa.array(values, mask=none) for name, values in numbers.items()},
    }


def _apogee_dr17(plan: Plan) -> Iterator[File]:
    """Yield allStar, in no order."""
    yield File("allStar-dr17-synspec_rev1.fits", "fits", partial(_allstar_columns, plan))


def _apogee_astronn_dr17(plan: Plan) -> Iterator[File]:
    """Yield the astroNN catalogue, in the order of allStar."""
    yield File("apogee_astroNN-DR17.fits", "fits", partial(_astronn_columns, plan))


def _apogee_latent_ages_dr17(plan: Plan) -> Iterator[File]:
    """Yield the latent ages, in the order of allStar."""
    yield File("nn_latent_age_dr17.csv.gz", "archive_csv", partial(_latent_columns, plan))


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "apogee_dr17": _apogee_dr17,
    "apogee_astronn_dr17": _apogee_astronn_dr17,
    "apogee_latent_ages_dr17": _apogee_latent_ages_dr17,
}
