"""Make the two SpectroTranslator tables of the SYNTHETIC sky. Nothing here is a measurement, and no network translates.

Labels are those of the star plus noise. Like the published tables, they hold rows that nobody should trust: sources twice,
inputs that were missing, stars outside the training stars with a comment, temperatures that no star has.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord

from jobs.sky_plan import File, Plan
from jobs.sky_population import Flags, Floats, Stars, normals, uniforms
from jobs.sky_xp import Columns
from lake.columns.spectrotranslator import PERCENTILES

_FAINTEST, _COOLEST, _HOTTEST = 15.0, 3_300.0, 8_000.0
_TWICE_SHARE, _MISSING_SHARE, _OUTSIDE_SHARE, _ABSURD_SHARE = 0.04, 0.03, 0.08, 0.01
_SIGMAS = {5: -1.645, 16: -0.994, 50: 0.0, 84: 0.994, 95: 1.645}
_ERRORS = {"teff": 45.0, "logg": 0.07, "metallicity": 0.05, "mg_fe": 0.03, "velocity": 0.4}
_COMMENT = "|Input teff_{0}_logg_{0} outside training range|"


def _chosen(stars: Stars, seed: int, survey: str) -> Stars:
    """Return the stars that a survey observed: bright, neither hot nor very cool; GALAH looks south."""
    share = uniforms(seed, f"{survey} stars", 0, (len(stars), 1))[:, 0]
    have = (stars.magnitudes[:, 0] < _FAINTEST) & (stars.teff > _COOLEST) & (stars.teff < _HOTTEST) & (share < 0.6)
    return stars.take(have & (stars.dec < 10.0) if survey == "GALAH" else have)


def _velocity(stars: Stars, seed: int) -> Floats:
    """Return the velocities [km/s] of all stars that `jobs.sky_source` draws, before noise."""
    noise = normals(seed, "source noise", 0, (len(stars), 64))[:, 36]
    spread = np.select([stars.fe_h < -1.0, stars.fe_h < -0.4], [120.0, 55.0], 30.0)
    return np.where(stars.cluster > 0, 6.0 * stars.cluster + noise, spread * noise)


def _rows(stars: Stars, seed: int, survey: str, ids: Callable[[Stars, Flags], Mapping[str, Any]]) -> Columns:
    """Return the rows of one table under canonical names, some sources twice, in no order of the sky."""
    own = _chosen(stars, seed, survey)
    velocity = _velocity(stars, seed)[own.number]
    chance = uniforms(seed, f"{survey} flags", 0, (len(stars), 5))[own.number]
    at = np.concatenate([np.arange(len(own)), np.flatnonzero(chance[:, 0] < _TWICE_SHARE)])
    again = np.arange(len(at)) >= len(own)
    missing, outside = (chance[at, 1] < _MISSING_SHARE), chance[at, 2] < _OUTSIDE_SHARE
    absurd = chance[at, 3] < _ABSURD_SHARE
    truth = {
        "teff": np.where(absurd, 4.0e6 * (1.0 + chance[at, 4]), own.teff[at]),
        "logg": own.logg[at],
        "metallicity": own.fe_h[at],
        "mg_fe": np.clip(-0.25 * own.fe_h[at], -0.1, 0.35),
        # A missing velocity was taken as the mean of the training stars, and translated all the same.
        "velocity": np.where(missing, 3.0, velocity[at]),
    }
    noise = normals(seed, f"{survey} noise", 0, (len(stars), 24))[own.number][at]
    columns: dict[str, Any] = {"source_id": own.source_id[at], **ids(own.take(at), again)}
    for k, (label, error) in enumerate(_ERRORS.items()):
        sigma = error * np.exp(0.3 * noise[:, 4 * k]) * np.where(again, 2.0, 1.0)
        median = truth[label] + sigma * np.where(again, noise[:, 4 * k + 2], noise[:, 4 * k + 1])
        columns |= {f"{label}_p{p:02d}": (median + _SIGMAS[p] * sigma).astype(np.float32) for p in PERCENTILES}
        columns[f"{label}_systematic"] = (0.4 * sigma).astype(np.float32)
    far = outside | absurd
    said = pa.array([_COMMENT.format(survey) if one else None for one in far], pa.string())
    columns |= {"intrinsic_input_missing": np.zeros(len(at), bool), "extrinsic_input_missing": missing}
    columns |= {"translator_comment": said, "intrinsic_input_covered": ~far, "intrinsic_output_covered": ~absurd}
    columns |= {"extrinsic_input_covered": ~(far | missing), "extrinsic_output_covered": np.ones(len(at), bool)}
    order = np.random.default_rng([seed, len(at)]).permutation(len(at))
    return {
        name: values.take(pa.array(order)) if isinstance(values, pa.Array) else values[order] for name, values in columns.items()
    }


def _galah_ids(stars: Stars, again: Flags) -> Mapping[str, Any]:
    """Return 15 digits: a date of 2014 or later, run, star, and combination."""
    return {"sobject_id": 140_000_000_000_000 + stars.number * 1_000 + 1 + again}


def _apogee_ids(stars: Stars, again: Flags) -> Mapping[str, Any]:
    """Return names as 2MASS gives them, from the position."""
    del again  # the star's name, not the observation's
    places = SkyCoord(stars.ra * u.deg, stars.dec * u.deg)
    ra = places.ra.to_string(u.hour, sep="", precision=2, pad=True)
    dec = places.dec.to_string(u.deg, sep="", precision=1, pad=True, alwayssign=True)
    names = [f"2M{one}{other}".replace(".", "") for one, other in zip(np.atleast_1d(ra), np.atleast_1d(dec), strict=True)]
    return {"apogee_id": pa.array(names, pa.string())}


def _g2a(plan: Plan) -> Iterator[File]:
    """Yield labels of GALAH on the base of APOGEE: one fixed-width file."""
    yield File("g2a.dat", "fixed_width", partial(_rows, plan.stars, plan.seed, "GALAH", _galah_ids))


def _a2g(plan: Plan) -> Iterator[File]:
    """Yield labels of APOGEE on the base of GALAH: one fixed-width file, compressed."""
    yield File("a2g.dat.gz", "fixed_width", partial(_rows, plan.stars, plan.seed, "APOGEE", _apogee_ids))


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {"spectrotranslator_g2a": _g2a, "spectrotranslator_a2g": _a2g}
