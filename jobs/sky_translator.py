"""Make the two SpectroTranslator tables of the SYNTHETIC sky. Nothing here is a measurement, and no network translates.

Labels are those of the star plus noise. Like the published tables, they hold rows that nobody should trust: sources twice,
inputs that were missing, stars outside the training stars with a comment, temperatures that no star has.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.sky_galah import galah_stars
from jobs.sky_plan import File, Plan
from jobs.sky_population import Ints, normals, uniforms
from jobs.sky_spectroscopy import Rows, apogee_stars, position_names, rows_of
from jobs.sky_xp import Columns
from lake.columns.spectrotranslator import PERCENTILES

_TWICE, _MISSING, _OUTSIDE, _ABSURD = 0.04, 0.03, 0.08, 0.01
_SIGMAS = {5: -1.645, 16: -0.994, 50: 0.0, 84: 0.994, 95: 1.645}
_ERRORS = {"teff": 45.0, "logg": 0.07, "metallicity": 0.05, "mg_fe": 0.03, "velocity": 0.4}
_MEAN_VELOCITY, _ABSURD_TEFF = 3.0, 4.0e6
_COMMENT = "|Input teff_{0}_logg_{0} outside training range|"


def _columns(plan: Plan, survey: str, stars: Callable[[Plan], Ints], ids: Callable[[Rows], Columns]) -> Columns:
    """Return the rows of one table under canonical names, some sources twice, in no order of the sky."""
    own = stars(plan)
    chance = uniforms(plan.seed, f"{survey} translated", 0, (len(plan.stars), 5))[own]
    chance[range(4), range(4)] = 0.0  # each oddity occurs in the smallest of skies
    twice = np.flatnonzero(chance[:, 0] < _TWICE)
    order = np.random.default_rng([plan.seed, 31, len(own)]).permutation(len(own) + len(twice))
    at, again = np.concatenate([np.arange(len(own)), twice])[order], order >= len(own)
    missing, outside, absurd = (chance[at, 1:4] < (_MISSING, _OUTSIDE, _ABSURD)).T
    rows = rows_of(plan, own[at])
    truth = {
        "teff": np.where(absurd, _ABSURD_TEFF * (1.0 + chance[at, 4]), rows.stars.teff),
        "logg": rows.stars.logg,
        "metallicity": rows.stars.fe_h,
        "mg_fe": rows.truth.elements["mg"],
        # A missing velocity is taken as the mean of the training stars, and translated all the same.
        "velocity": np.where(missing, _MEAN_VELOCITY, rows.velocity),
    }
    noise = normals(plan.seed, f"{survey} translation", 0, (len(plan.stars), 3 * len(truth)))[own[at]]
    columns: dict[str, Any] = {"source_id": rows.stars.source_id, **ids(rows)}
    for k, (label, error) in enumerate(_ERRORS.items()):
        # The second spectrum of a star is the worse one.
        sigma = error * np.exp(0.3 * noise[:, 3 * k]) * np.where(again, 2.0, 1.0)
        median = truth[label] + sigma * np.where(again, noise[:, 3 * k + 1], noise[:, 3 * k + 2])
        columns |= {f"{label}_p{p:02d}": (median + _SIGMAS[p] * sigma).astype(np.float32) for p in PERCENTILES}
        columns[f"{label}_systematic"] = (0.4 * sigma).astype(np.float32)
    far = outside | absurd
    return columns | {
        "intrinsic_input_missing": np.zeros(len(at), bool),
        "extrinsic_input_missing": missing,
        "translator_comment": pa.array([_COMMENT.format(survey) if one else None for one in far], pa.string()),
        "intrinsic_input_covered": ~far,
        "intrinsic_output_covered": ~absurd,
        "extrinsic_input_covered": ~(far | missing),
        "extrinsic_output_covered": np.ones(len(at), bool),
    }


def _galah_ids(rows: Rows) -> Columns:
    """Return numbers of 15 digits: a date, and the row."""
    return {"sobject_id": 140_000_000_000_000 + np.arange(len(rows)) * 1_000 + 1}


def _apogee_ids(rows: Rows) -> Columns:
    """Return the star's name, not the observation's."""
    return {"apogee_id": pa.array(np.char.add("2M", position_names(rows.stars)), pa.string())}


def _g2a(plan: Plan) -> Iterator[File]:
    """Yield labels of GALAH on the base of APOGEE: one fixed-width file."""
    yield File("g2a.dat", "fixed_width", partial(_columns, plan, "GALAH", galah_stars, _galah_ids))


def _a2g(plan: Plan) -> Iterator[File]:
    """Yield labels of APOGEE on the base of GALAH: one fixed-width file, compressed."""
    yield File("a2g.dat.gz", "fixed_width", partial(_columns, plan, "APOGEE", apogee_stars, _apogee_ids))


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {"spectrotranslator_g2a": _g2a, "spectrotranslator_a2g": _a2g}
