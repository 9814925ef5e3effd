"""Make the files of GALAH DR4 and DR3 for the SYNTHETIC sky.

Nothing here is a measurement. Every third star of DR4 is one that APOGEE observed too, on another scale; DR3 holds two
thirds of the stars of DR4, on a third one. Both have stars twice, rows without a Gaia id, upper limits and abundances that
are no measurements, and stars whose fit failed.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from jobs.sky_plan import File, Plan
from jobs.sky_population import Flags, Floats, Ints, normals, uniforms
from jobs.sky_spectroscopy import (
    NOISES,
    SCALES,
    Rows,
    apogee_stars,
    bits,
    chosen,
    infrared,
    measured,
    number_of,
    position_names,
    rows_of,
    without_ids,
)
from jobs.sky_xp import Columns
from lake.survey import survey

_SHARE, _SHARED, _DR3_SHARE, _TWICE = 0.04, 0.33, 0.64, 0.01
_RARE = ("n", "rb", "sr", "mo", "ru", "sm", "li", "c")
_TWIN = {"sc2": "sc", "ti2": "ti", "cr2": "cr"}
_NEVER = ("sc2", "cr2")
_NOT_CONVERGED_DR4, _NOT_CONVERGED_DR3 = 12, 9


def galah_stars(plan: Plan) -> Ints:
    """Return the stars that GALAH DR4 observes, 4 %: a third shared with APOGEE, the others FGK stars to G = 15 mag."""
    number, stars = number_of(plan, _SHARE), plan.stars
    usable = (stars.teff > 3600.0) & (stars.teff < 8000.0) & (stars.magnitudes[:, 0] < 15.5)
    apogee = np.zeros(len(stars), dtype=bool)
    apogee[apogee_stars(plan)] = True
    shared = chosen(plan, (usable & apogee).astype(float), round(_SHARED * number), "galah stars of apogee")
    field = usable & ~apogee & (stars.magnitudes[:, 0] < 15.0)
    own = chosen(plan, field.astype(float), number - len(shared), "galah stars")
    return np.sort(np.concatenate([shared, own]))


def _rows(plan: Plan, stars: Ints, purpose: str) -> tuple[Rows, Floats]:
    """Return rows in no order, some stars twice, and numbers between 0 and 1, (rows, 60)."""
    again = stars[uniforms(plan.seed, f"{purpose} repeats", 0, (len(stars), 1))[:, 0] < _TWICE]
    at = np.concatenate([stars, again, stars[:1]])
    rows = rows_of(plan, np.random.default_rng([plan.seed, 29, len(at)]).permutation(at))
    return rows, uniforms(plan.seed, f"{purpose} rows", 0, (len(rows), 60))


def _common(rows: Rows, draw: Floats) -> dict[str, object]:
    """Return what both releases have: names, fields, signal-to-noise, brightness."""
    j_mag, ks_mag = infrared(rows.stars)
    number = np.arange(len(rows))
    snr = 60.0 * 10.0 ** (-0.2 * (rows.stars.magnitudes[:, 0] - 12.5)) * np.exp(draw[:, 0] - 0.5)
    # Date, run, combination, fibre.
    observed = (140101 + number % 28) * 10**9 + (1 + number // 392 % 9000) * 10**5 + 1000 + 1 + number % 392
    return {
        "sobject_id": observed,
        "tmass_id": position_names(rows.stars),
        "galah_survey_name": np.where(draw[:, 1] < 0.1, "other", "galah_main"),
        "galah_field_id": np.where(draw[:, 1] < 0.1, -1, 1 + rows.at % 7000),
        "snr": np.where(draw[:, 2] < 0.01, np.nan, snr),
        "galah_ebv": 0.32 * rows.stars.extinction,
        "survey_j_mag": j_mag,
        "survey_ks_mag": ks_mag,
    }


def _measured(plan: Plan, survey: str, rows: Rows, draw: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return labels with their noise, and the sizes of that noise, 0.6 to 1.6 times the survey's from row to row."""
    size, scale = 0.6 + draw[:, 5], SCALES[survey]
    noise = size[:, np.newaxis] * normals(plan.seed, f"{survey.replace('_', ' ')} labels", 0, (len(rows), NOISES))
    errors = dict(zip(("teff", "logg", "fe_h", "x_fe", "velocity"), np.outer(scale.noise, size), strict=True))
    return measured(rows, scale, noise), errors


def _parameters(labels: Mapping[str, Floats], errors: Mapping[str, Floats], failed: Flags, draw: Floats) -> dict[str, object]:
    """Return teff, logg, fe_h and velocity with errors: half of the failed fits have no value, half a wrong one."""
    made: dict[str, object] = {}
    for name in ("teff", "logg", "fe_h"):
        wrong = labels[name] + np.where(failed, 20.0 * errors[name] * (draw[:, 3] - 0.5), 0.0)
        made[name] = np.where(failed & (draw[:, 4] < 0.5), np.nan, wrong)
        made[f"{name}_error"] = np.where(failed & (draw[:, 4] < 0.5), np.nan, errors[name])
    unmeasured = draw[:, 6] < 0.02
    made["radial_velocity"] = np.where(unmeasured, np.nan, labels["velocity"])
    made["radial_velocity_error"] = np.where(unmeasured, np.nan, errors["velocity"])
    return made


def _dr4_columns(plan: Plan) -> Columns:
    """Return the rows of GALAH DR4 under canonical names, as its file holds them."""
    rows, draw = _rows(plan, galah_stars(plan), "galah dr4")
    labels, errors = _measured(plan, "galah_dr4", rows, draw)
    failed = draw[:, 8] < 0.015
    flag = bits(draw[:, 9:], (0, 0.01), (2, 0.03), (3, 0.01), (4, 0.02), (8, 0.03), (11, 0.04), (13, 0.01))
    columns = {"source_id": without_ids(rows.stars.source_id, draw[:, 17], 0.005, (-1, 0)), **_common(rows, draw)}
    columns |= _parameters(labels, errors, failed, draw) | {
        "galah_flag_sp": flag | failed.astype(np.int64) << _NOT_CONVERGED_DR4,
        "galah_flag_sp_fit": np.zeros(len(rows), dtype=np.int64),
        "galah_flag_red": bits(draw[:, 18:], (0, 0.02)),
        "fe_h_flag": bits(draw[:, 19:], (0, 0.3)),  # the bit that the release warns of
        "vmic": 1.2 + 0.2 * draw[:, 20],
        "vmic_error": 0.05 + 0.1 * draw[:, 21],
        "vsini": 3.0 + 12.0 * draw[:, 22] ** 2,
        "vsini_error": 0.5 + draw[:, 23],
        "mass": np.where(draw[:, 24] < 0.03, np.nan, (10.0 / rows.truth.age) ** 0.4),
        "age": np.where(draw[:, 24] < 0.03, np.nan, rows.truth.age * np.exp(0.25 * (draw[:, 25] - 0.5))),
        "survey_g_mag": rows.g_mag,
    }
    for k, name in enumerate(_abundances("galah_dr4")):
        chance = np.roll(draw[:, 26], 7 * k)
        rare = 0.5 if name.removesuffix("_fe") in _RARE else 0.05
        limit, none, issue = chance < 0.4 * rare, (chance > 0.4 * rare) & (chance < rare), chance > 0.985
        columns |= {name: np.where(none, np.nan, labels[name] + np.where(limit, 0.6, 0.0))}
        columns |= {f"{name}_error": np.where(none, np.nan, errors["x_fe"])}
        columns |= {f"{name}_flag": np.select([limit, none, issue], [1, 2, 32], 0)}
    return columns


def _dr3_columns(plan: Plan) -> Columns:
    """Return the rows of GALAH DR3 under canonical names, as its file holds them."""
    stars = galah_stars(plan)
    earlier = uniforms(plan.seed, "galah dr3 stars", 0, (len(plan.stars), 1))[stars, 0] < _DR3_SHARE
    rows, draw = _rows(plan, stars[earlier], "galah dr3")
    labels, errors = _measured(plan, "galah_dr3", rows, draw)
    failed = draw[:, 8] < 0.02
    flag = bits(draw[:, 9:], (0, 0.05), (2, 0.02), (3, 0.02), (5, 0.02), (7, 0.03), (8, 0.02), (10, 0.01))
    columns = {"source_id": without_ids(rows.stars.source_id, draw[:, 17], 0.005, (0,)), **_common(rows, draw)}
    columns |= _parameters(labels, errors, failed, draw) | {
        "galah_flag_sp": flag | failed.astype(np.int64) << _NOT_CONVERGED_DR3,
        "galah_flag_red": bits(draw[:, 18:], (0, 0.02)),
        "fe_h_flag": np.where(draw[:, 19] < 0.02, 16, 0),
        "vmic": 1.2 + 0.2 * draw[:, 20],
        "vbroad": 5.0 + 12.0 * draw[:, 22] ** 2,
        "vbroad_error": 2.0 + draw[:, 23],
    }
    for k, name in enumerate(_abundances("galah_dr3")):
        element = name.removesuffix("_fe")
        value = labels["alpha"] if element == "alpha" else labels[f"{_TWIN.get(element, element)}_fe"]
        chance, rare = np.roll(draw[:, 26], 7 * k), 0.6 if element in _RARE else 0.04
        none, limit = (chance < rare) | (element in _NEVER), chance > 0.97
        columns |= {name: np.where(none, np.nan, value + np.where(limit, 0.6, 0.0))}
        columns |= {f"{name}_error": np.where(none, np.nan, errors["x_fe"] * (0.5 if element == "alpha" else 1.0))}
        columns |= {f"{name}_flag": np.select([none, limit], [32, 1], 0)}
    return columns


def _abundances(name: str) -> list[str]:
    """Return the [X/Fe] that a release declares."""
    columns = survey(name).columns
    return [column for column in columns if column.endswith("_fe") and f"{column}_flag" in columns]


def _galah_dr4(plan: Plan) -> Iterator[File]:
    """Yield the table of stars of DR4."""
    yield File("galah_dr4_allstar_240705.fits", "fits", partial(_dr4_columns, plan))


def _galah_dr3(plan: Plan) -> Iterator[File]:
    """Yield the table of stars of DR3."""
    yield File("GALAH_DR3_main_allstar_v2.fits", "fits", partial(_dr3_columns, plan))


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {"galah_dr4": _galah_dr4, "galah_dr3": _galah_dr3}
