"""Make Gaia's tables of astrophysical parameters, and a table of labels of a user's own, for the SYNTHETIC sky.

Nothing here is a measurement. GSP-Phot comes as bulk files, which hold every star whether it has a solution or not, with
the very values of gaia_source; GSP-Spec as the archive answers to two ranges of ids; the labels as an astropy table.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.sky_plan import File, Part, Plan
from jobs.sky_population import Flags, Floats, normals, uniforms
from jobs.sky_source import source_columns
from jobs.sky_spectroscopy import NOISES, SCALES, Rows, chosen, measured, number_of, plain, rows_of
from jobs.sky_xp import Columns
from lake.columns.gaia_parameters import GSPSPEC_ELEMENTS, GSPSPEC_FLAGS
from lake.partition import BASE_SHIFT, N_PIXELS

_OF_SOURCE = ("teff", "logg", "mh", "distance", "azero", "ag", "ebpminrp")
_TWIN = {"fem": "", "feiim": ""}
_SPEC_SHARE, _LABEL_SHARE, _REPEATED = 0.05, 0.05, 0.08
_HALF = N_PIXELS // 2


def _gspphot_columns(part: Part, seed: int) -> Columns:
    """Return GSP-Phot of all stars of a part, null without a solution; what gaia_source has too is the same here."""
    gaia, stars = source_columns(part.stars, seed), part.stars
    first = int(stars.number[0]) if len(stars) else 0
    noise = normals(seed, "gspphot", first, (len(stars), 6))
    absent = ~np.isfinite(plain(gaia["teff_gspphot"]))
    made: dict[str, object] = {
        f"{name}_gspphot{end}": gaia[f"{name}_gspphot{end}"] for name in _OF_SOURCE for end in ("", "_lower", "_upper")
    }
    modulus = 5.0 * np.log10(np.maximum(plain(gaia["distance_gspphot"]), 1.0)) - 5.0
    bright = stars.magnitudes[:, 0] - modulus - plain(gaia["ag_gspphot"])
    radius = 10.0 ** (0.2 * (4.7 - bright)) * (5772.0 / np.maximum(stars.teff, 2500.0)) ** 2
    for name, value, error in (
        ("mg", bright, 0.05),
        ("radius", radius, 0.03 * radius),
        ("abp", 1.07 * plain(gaia["azero_gspphot"]), 0.02),
        ("arp", 0.60 * plain(gaia["azero_gspphot"]), 0.02),
    ):
        lowest = -20.0 if name == "mg" else 0.0
        bounds = {"": value, "_lower": np.maximum(value - error, lowest), "_upper": value + error}
        made |= {f"{name}_gspphot{end}": _present(bound, absent) for end, bound in bounds.items()}
    made["logposterior_gspphot"] = _present(-1000.0 * np.exp(0.5 * noise[:, 0]), absent)
    made["mcmcaccept_gspphot"] = _present(0.3 + 0.02 * np.clip(noise[:, 1], -5.0, 5.0), absent)
    return {"source_id": stars.source_id, **made, "libname_gspphot": gaia["libname_gspphot"]}


def _present(values: Floats, absent: Flags) -> pa.Array:
    return pa.array(np.asarray(values, dtype=np.float32), mask=absent)


def _gspspec_rows(plan: Plan) -> Rows:
    """Return the stars with GSP-Spec: bright FGK stars, 5 %, in order of id."""
    stars = plan.stars
    weight = ((stars.magnitudes[:, 2] < 13.0) & (stars.teff > 3800.0) & (stars.teff < 8000.0)).astype(float)
    return rows_of(plan, chosen(plan, weight, number_of(plan, _SPEC_SHARE), "gspspec stars"))


def _gspspec_columns(plan: Plan, first: int, end: int) -> Columns:
    """Return the stars with GSP-Spec in a range of level-8 pixels, as the archive is asked."""
    rows = _gspspec_rows(plan)
    labels = measured(rows, SCALES["gaia_dr3_gspspec"], normals(plan.seed, "gspspec labels", 0, (len(rows), NOISES)))
    draw = uniforms(plan.seed, "gspspec rows", 0, (len(rows), 4 + len(GSPSPEC_FLAGS)))
    made: dict[str, Any] = {"source_id": rows.stars.source_id}
    none = np.zeros(len(rows), dtype=bool)
    parameters = {"teff": (labels["teff"], 60.0), "logg": (labels["logg"], 0.12), "mh": (labels["fe_h"], 0.08)}
    for name, (value, error) in (parameters | {"alphafe": (labels["alpha"], 0.06)}).items():
        made |= _bounded(f"{name}_gspspec", value, error, none)
    for k, name in enumerate(GSPSPEC_ELEMENTS):
        value = labels[f"{name.removesuffix('fe')}_fe"] if name not in _TWIN else 0.05 * (draw[:, 1] - 0.5)
        unmeasured = np.roll(draw[:, 0], 11 * k) < (0.2 if name in ("cafe", "fem", "tife") else 0.7)
        made |= _bounded(f"{name}_gspspec", value, 0.08, unmeasured)
        made[f"{name}_gspspec_nlines"] = pa.array((1 + 8 * draw[:, 2]).astype(np.int16), mask=unmeasured)
    made["logchisq_gspspec"] = -3.0 + draw[:, 3]
    digits = np.where(draw[:, 4:] < 0.8, "0", np.where(draw[:, 4:] < 0.95, "1", "9"))
    made["flags_gspspec"] = np.array(["".join(line) for line in digits])
    low, high = np.searchsorted(rows.stars.source_id, [first << BASE_SHIFT, end << BASE_SHIFT])
    return {name: values[low:high] for name, values in made.items()}


def _bounded(name: str, value: Floats, error: float, absent: Flags) -> dict[str, object]:
    return {name + end: _present(value + side * error, absent) for end, side in (("", 0.0), ("_lower", -1.0), ("_upper", 1.0))}


def _label_columns(plan: Plan) -> Columns:
    """Return labels of some stars with XP spectra, with more than one measurement of a few, and ids that are none."""
    once = chosen(plan, plan.stars.has_xp.astype(float), number_of(plan, _LABEL_SHARE), "label stars")
    again = once[uniforms(plan.seed, "label repeats", 0, (len(once), 1))[:, 0] < _REPEATED]
    at = np.random.default_rng([plan.seed, 31]).permutation(np.concatenate([once, again, once[:1]]))
    rows = rows_of(plan, at)
    labels = measured(rows, SCALES["labels"], normals(plan.seed, "own labels", 0, (len(rows), NOISES)))
    draw = uniforms(plan.seed, "own label rows", 0, (len(rows), 4))
    made: dict[str, object] = {"source_id": np.where(draw[:, 0] < 0.01, 999999, rows.stars.source_id)}
    for k, (name, error) in enumerate((("teff", 60.0), ("fe_h", 0.08), ("logg", 0.10))):
        made |= {name: labels[name], f"{name}_error": error * (0.5 + draw[:, 1 + k])}
    return made


def _gaia_dr3_gspphot(plan: Plan) -> Iterator[File]:
    """Yield bulk files on the ranges of the sky, rows without a solution among them."""
    for part in plan.parts:
        yield File(f"AstrophysicalParameters_{part.name}.csv.gz", "bulk_csv", partial(_gspphot_columns, part, plan.seed))


def _gaia_dr3_gspspec(plan: Plan) -> Iterator[File]:
    """Yield two answers of the archive, each to a range of ids: one as it is fetched, one as a user exports it."""
    yield File(f"gaia_dr3_gspspec_000000-{_HALF - 1:06d}.fits", "fits", partial(_gspspec_columns, plan, 0, _HALF))
    yield File("gspspec-2-result.csv.gz", "archive_csv", partial(_gspspec_columns, plan, _HALF, N_PIXELS))


def _labels(plan: Plan) -> Iterator[File]:
    """Yield one table as astropy writes it."""
    yield File("training_params.h5", "hdf5_table", partial(_label_columns, plan))


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "gaia_dr3_gspphot": _gaia_dr3_gspphot,
    "gaia_dr3_gspspec": _gaia_dr3_gspspec,
    "labels": _labels,
}
