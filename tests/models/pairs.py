"""Make common stars of two surveys, SYNTHETIC: labels that bend against each other, clumps, few metal-poor stars, nulls."""

import warnings
import zlib
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs import sky_lamost, sky_observed
from jobs.sky_observed import on_scale
from jobs.sky_population import Stars, population
from jobs.sky_spectroscopy import NOISES, SCALES, Rows, Truth, measured, motion, truth
from lake.columns import column
from models.translation import FROM, MAGNITUDES, TO, TRANSLATIONS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MADE = {"m_h": "fe_h", "alpha_m": "alpha", "radial_velocity": "velocity"}  # the synthetic sky's names of columns
_PER_PAIR = 5  # stars drawn for each pair, most of which no survey would observe
_NO_VALUE, _NO_ERROR, _NO_FIT, _NO_COLOUR = 0.02, 0.005, 0.008, 0.005
_FLAGGED, _BINARIES, _WORSE = 0.06, 0.05, 4.0
_OTHERS = 0.02  # share of LAMOST's stars with labels of another catalogue
_BINARY = 8.0  # scatter of a binary's velocities [km/s]


@dataclass(frozen=True)
class Pairs:
    """Common stars of two surveys, SYNTHETIC.

    Attributes
    ----------
    table
        One row per star in ascending order of source_id, with the columns that the lake gives: ``source_id``, each label as
        ``from_<source>`` and ``to_<target>`` with its ``_error``, three magnitudes with errors, and the columns of the cuts.
    truth
        By label, its value on the base of the target without noise, (N,) float64; never missing.
    """

    table: pa.Table
    truth: dict[str, Floats]

    def __len__(self) -> int:
        """Return the number of stars."""
        return self.table.num_rows


def pairs(stars: int, seed: int, name: str) -> Pairs:
    """Return about this many SYNTHETIC common stars of the two surveys of a translation.

    Nothing here is a measurement. The stars are those of the synthetic sky (`jobs.sky_population`), on its surveys' scales
    (`jobs.sky_spectroscopy.SCALES`, `jobs.sky_observed.SCALES`): F, G and K stars, 43 % of them giants, brighter than
    G = 16.5 mag. Errors are those with which the noise was drawn, larger for some stars than for others. A few stars lack
    labels, errors or colours; of those that the cuts reject, flagged ones and binaries are worse than their errors say.

    Raises
    ------
    ValueError
        If a cut asks for a column that is not made here.
    """
    declared, rng = TRANSLATIONS[name], np.random.default_rng([seed, zlib.crc32(name.encode())])
    rows = _rows(stars, seed, rng)
    flagged = {side: rng.random(len(rows)) < _FLAGGED for side in (FROM, TO)}
    binary = rng.random(len(rows)) < _BINARIES
    columns: dict[str, pa.Array] = {"source_id": pa.array(rows.stars.source_id, pa.int64())}
    true: dict[str, Floats] = {}
    for side, base in ((FROM, declared.base_from), (TO, declared.base_to)):
        exact, noise = _survey(rows, base)
        size = np.exp(0.25 * rng.normal(size=len(rows)))
        no_fit = rng.random(len(rows)) < _NO_FIT
        cuts = {cut.column for cut in declared.cuts if cut.side == side}
        worse = np.where(flagged[side] & ("galah_flag_sp" in cuts), _WORSE, 1.0)
        for label in declared.labels:
            raw = label.source if side == FROM else label.target
            made = _MADE.get(raw, raw)
            error = noise[made] * size
            spread = error * worse
            if label.name == "velocity" and "velocity_scatter" in cuts:
                spread = np.where(binary, _BINARY, spread)
            value = exact[made] + spread * rng.normal(size=len(rows))
            missing = no_fit | (rng.random(len(rows)) < _NO_VALUE)
            columns[f"{side}_{raw}"] = _array(raw, value, missing)
            columns[f"{side}_{raw}_error"] = _array(f"{raw}_error", error, missing | (rng.random(len(rows)) < _NO_ERROR))
            if side == TO:
                true[label.name] = exact[made]
    columns |= _magnitudes(rows, rng)
    for side, raw in dict.fromkeys((cut.side, cut.column) for cut in declared.cuts):
        columns[f"{side}_{raw}"] = _quality(raw, flagged[side], binary, rng)
    return Pairs(pa.table(columns), true)


@cache
def _sky(stars: int, seed: int) -> tuple[Stars, Truth, Floats]:
    """Return a population with its true abundances and velocities; its spectra take a library that warns at import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = population(stars, seed)
    return drawn, truth(drawn, seed), motion(drawn, seed)


def _rows(stars: int, seed: int, rng: np.random.Generator) -> Rows:
    """Choose stars that both surveys observe: giants first, as bright stars are, and dwarfs."""
    every, true, velocity = _sky(max(2_000, _PER_PAIR * stars), seed)
    usable = (every.teff > 3900.0) & (every.teff < 7000.0) & (every.magnitudes[:, 0] < 16.5)
    weight = np.where(usable, np.where(every.logg < 3.6, 1.0, 0.55), 0.0)
    order = np.argsort(np.where(weight > 0.0, rng.random(len(every)) / np.maximum(weight, 1e-9), np.inf))
    at = np.sort(order[: min(stars, int((weight > 0.0).sum()))])
    chosen = Stars(**{one.name: getattr(every, one.name)[at] for one in fields(Stars)})
    elements = {name: values[at] for name, values in true.elements.items()}
    return Rows(at, chosen, Truth(true.age[at], true.alpha[at], elements), velocity[at], chosen.magnitudes[:, 0])


def _survey(rows: Rows, base: str) -> tuple[dict[str, Floats], dict[str, float]]:
    """Return labels on the scale of a survey, without noise, and the noise of an average star."""
    if base in SCALES:
        noise = dict(zip(("teff", "logg", "fe_h", "mg_fe", "velocity"), SCALES[base].noise, strict=True))
        return measured(rows, SCALES[base], np.zeros((len(rows), NOISES))), noise | {"alpha": 0.5 * noise["mg_fe"]}
    if base != "lamost_dr8":
        raise ValueError(f"the synthetic sky has no scale of {base}: only of lamost_dr8 and {', '.join(SCALES)}; add it here")
    exact = on_scale(rows.stars, base, rows.velocity)
    exact |= {"alpha": sky_lamost.alpha(rows.stars, rows.truth.alpha), "velocity": exact["radial_velocity"]}
    noise = dict(zip(("teff", "logg", "fe_h", "velocity"), sky_observed.SCALES[base].errors, strict=True))
    return exact, noise | {"alpha": sky_lamost.ALPHA_ERROR}


def _magnitudes(rows: Rows, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return Gaia's three magnitudes and their errors, which grow as stars get fainter; some stars lack BP and RP."""
    by_name = dict(zip(("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"), rows.stars.magnitudes.T, strict=True))
    no_colour = rng.random(len(rows)) < _NO_COLOUR
    made: dict[str, pa.Array] = {}
    for name in MAGNITUDES:
        least = 0.0003 if name == "phot_g_mean_mag" else 0.002
        error = least * (1.0 + 10.0 ** (0.2 * (by_name[name] - 14.0))) * np.exp(0.2 * rng.normal(size=len(rows)))
        missing = no_colour & (name != "phot_g_mean_mag")
        made[name] = _array(name, by_name[name] + error * rng.normal(size=len(rows)), missing)
        made[f"{name}_error"] = _array(f"{name}_error", error, missing)
    return made


def _quality(raw: str, flagged: Flags, binary: Flags, rng: np.random.Generator) -> pa.Array:
    """Return a column that a cut asks for: most stars are good."""
    draw = rng.random(len(flagged))
    if raw == "galah_flag_sp":
        values = np.where(flagged, 2 ** (1 + (8 * draw).astype(np.int64)), 0)
    elif raw == "velocity_scatter":
        values = np.where(binary, 1.5 + 10.0 * draw, 0.3 * draw)
    elif raw in ("snr", "lamost_snr_g"):
        values = 110.0 * np.exp(0.45 * rng.normal(size=len(flagged)))
    elif raw == "label_origin":
        values = np.where(draw > 1.0 - _OTHERS, "lamost_hotpayne", "lamost_dr8")
    else:
        raise ValueError(f"no synthetic values for the cut on {raw}; add it to tests/models/pairs.py")
    return _array(raw, values, draw < _NO_ERROR)


def _array(name: str, values: NDArray[np.generic], missing: Flags) -> pa.Array:
    """Return values in the type that the vocabulary gives the column, null where missing."""
    return pa.array(values, mask=missing).cast(column(name).type)
