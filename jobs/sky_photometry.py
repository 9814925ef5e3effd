"""Make the files of photometric surveys for the SYNTHETIC sky, with what real ones hold beside good magnitudes.

Nothing here is a measurement. Magnitudes follow from a star's G, BP, RP by published colour relations (2MASS and SDSS: Riello
et al. 2021, table C.2; Pan-STARRS1 from SDSS: Tonry et al. 2012; the rest roughly), then noise, and a limit beyond which a band
is empty. Saturated stars, flags, sentinels, zero errors, mates, ties and overlaps are put in at known shares, so that
ingesting them must find each.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.polynomial import Polynomial

from jobs.sky_plan import File, Plan
from jobs.sky_population import Flags, Floats, Stars, normals, uniforms

Columns = Mapping[str, Any]

# G minus the band, as polynomials of BP - RP; valid where the colour is clipped.
_FROM_G = {
    "j": (0.01798, 1.389, -0.09338),
    "h": (-0.1048, 2.011, -0.1758),
    "ks": (-0.0981, 2.089, -0.1579),
    "g": (0.2199, -0.6365, -0.1548, 0.0064),
    "r": (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263),
    "i": (-0.293, 0.6404, -0.09609, -0.002104),
}
_COLOURS = (-0.3, 2.8)
_FLOOR, _AT_LIMIT = 0.004, 0.15  # mag: error of bright stars, and at the limit
_PS1_LIMITS = {"g": 22.0, "r": 21.8, "i": 21.5, "z": 20.9, "y": 19.7}
_PS1_SATURATED = {"g": 13.5, "r": 13.5, "i": 13.5, "z": 13.0, "y": 12.0}
_SDSS_LIMITS = {"u": 22.0, "g": 22.2, "r": 22.2, "i": 21.3, "z": 20.5}
_SDSS_SATURATED = {"u": 12.0, "g": 14.1, "r": 14.1, "i": 13.8, "z": 12.3}
_SKYMAPPER_LIMITS = {"u": 19.0, "v": 19.2, "g": 20.8, "r": 20.6, "i": 20.0, "z": 19.4}
_SKYMAPPER_SATURATED = {"u": 8.5, "v": 8.5, "g": 9.5, "r": 9.5, "i": 9.0, "z": 9.0}
_TMASS_LIMITS = {"j": 16.5, "h": 15.8, "ks": 15.2}
_GOOD_OBJECT = (1 << 25) | (1 << 27) | (1 << 12) | (1 << 16)
_SATURATED, _BLENDED, _CHILD, _BINNED1, _INTERP = 1 << 18, 1 << 3, 1 << 4, 1 << 28, 1 << 17


def true_magnitudes(stars: Stars) -> dict[str, Floats]:
    """Return noise-free magnitudes of all bands: ``j h ks w1 w2`` (Vega), and ``sdss``, ``ps1``, ``sm`` (AB) before the band."""
    g_mag, colour = stars.magnitudes[:, 0], np.clip(stars.magnitudes[:, 1] - stars.magnitudes[:, 2], *_COLOURS)
    made = {name: g_mag - Polynomial(terms)(colour) for name, terms in _FROM_G.items()}
    g, r, i = made.pop("g"), made.pop("r"), made.pop("i")
    u, z, blue = g + 0.85 + 0.72 * colour, i - 0.55 * (r - i) + 0.04, g - r
    made |= {"w1": made["ks"] - 0.03 - 0.04 * colour, "w2": made["ks"] - 0.02 - 0.06 * colour}
    made |= {f"sdss {band}": held for band, held in zip("ugriz", (u, g, r, i, z), strict=True)}
    ps1 = (
        g - 0.011 - 0.125 * blue - 0.015 * blue**2,
        r + 0.001 - 0.006 * blue - 0.002 * blue**2,
        i + 0.004 - 0.014 * blue + 0.001 * blue**2,
        z - 0.013 + 0.040 * blue - 0.001 * blue**2,
        z + 0.031 - 0.106 * blue + 0.011 * blue**2,
    )
    made |= {f"ps1 {band}": held for band, held in zip("grizy", ps1, strict=True)}
    violet = g + 0.55 * (u - g) + 0.15 * np.clip(stars.fe_h, -3.0, 0.5)
    skymapper = (u - 0.05, violet, g - 0.24 * blue, r + 0.02 * blue, i, z)
    return made | {f"sm {band}": held for band, held in zip("uvgriz", skymapper, strict=True)}


def measured(true: Floats, limit: float, noise: Floats) -> tuple[Floats, Floats, Flags]:
    """Return magnitude with noise, its error, and whether the star is bright enough to be detected."""
    error = np.hypot(_FLOOR, _AT_LIMIT * 10.0 ** (0.32 * np.minimum(true - limit, 1.0)))
    mag = true + error * noise
    return mag, error, np.asarray(mag < limit + 0.3)


def _first(stars: Stars) -> int:
    return int(stars.number[0]) if len(stars) else 0


def _matched(stars: Stars, drawn: Floats) -> dict[str, Any]:
    """Return what a best-neighbour table says of each match."""
    return {
        "match_separation": (0.12 * np.sqrt(-2.0 * np.log1p(-drawn))).astype(np.float32),
        "number_of_neighbours": np.ones(len(stars), dtype=np.int16),
        "number_of_mates": np.zeros(len(stars), dtype=np.int16),
        "xm_flag": np.full(len(stars), 8, dtype=np.int16),
    }


def some(columns: Mapping[str, Any], which: Any) -> dict[str, Any]:
    """Return some of the rows, in the order of an index or where a mask says."""
    at = np.flatnonzero(which) if np.asarray(which).dtype == bool else np.asarray(which)
    return {name: values.take(pa.array(at)) if isinstance(values, pa.Array) else values[at] for name, values in columns.items()}


def panstarrs_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC Pan-STARRS1 rows: -999 for nothing measured, zero errors of saturated stars, one in 150 with a mate."""
    first = _first(stars)
    draw, noise = uniforms(seed, "ps1", first, (len(stars), 8)), normals(seed, "ps1 noise", first, (len(stars), 8))
    true = true_magnitudes(stars)
    columns: dict[str, Any] = {"source_id": stars.source_id, "ps1_id": 10**17 + stars.number * 7919}
    for k, (band, limit) in enumerate(_PS1_LIMITS.items()):
        mag, error, there = measured(true[f"ps1 {band}"], limit, noise[:, k])
        burnt = there & (true[f"ps1 {band}"] < _PS1_SATURATED[band])
        mag = np.where(burnt, mag + 0.8 * np.abs(noise[:, 5]), mag)
        single = draw[:, 1] < 0.01  # measured once: no scatter to tell an error
        columns[f"ps1_{band}_mag"] = np.where(there, mag, -999.0).astype(np.float32)
        error = np.where(burnt & (draw[:, 0] < 0.5), 0.0, error)
        columns[f"ps1_{band}_mag_error"] = np.where(there & ~single, error, -999.0).astype(np.float32)
    asteroid = draw[:, 2] < 0.001
    columns["ps1_info_flags"] = np.where(asteroid, _GOOD_OBJECT | (1 << 9) | (1 << 10), _GOOD_OBJECT).astype(np.int32)
    columns["ps1_quality_flags"] = np.where(draw[:, 3] < 0.05, 53, 52).astype(np.int16)
    columns["ps1_n_detections"] = (2 + 70 * draw[:, 4]).astype(np.int16)
    columns |= _matched(stars, draw[:, 5])
    _pair_up(columns, np.asarray(draw[:, 6] < 1.0 / 150.0), "ps1_id")
    return some(columns, (stars.dec > -30.0) & (draw[:, 7] < 0.97))


def _pair_up(columns: dict[str, Any], mate: Flags, key: str) -> None:
    """Give every chosen star the object of the star before it, as where a survey sees two Gaia sources as one."""
    at = np.flatnonzero(mate[1:]) + 1
    at = at[np.diff(at, prepend=-1) > 1]
    for name, values in columns.items():
        if name == key or "_mag" in name or "flags" in name:
            values[at] = values[at - 1]
    columns["number_of_mates"][at] = columns["number_of_mates"][at - 1] = 1


def tmass_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC 2MASS rows: upper limits (U, no error), poor fits (E) and failures (F, X) in single bands."""
    first = _first(stars)
    draw, noise = uniforms(seed, "2mass", first, (len(stars), 8)), normals(seed, "2mass noise", first, (len(stars), 4))
    true = true_magnitudes(stars)
    columns: dict[str, Any] = {"source_id": stars.source_id, "tmass_id": _designation(stars)}
    seen = np.zeros(len(stars), dtype=bool)
    for k, (band, limit) in enumerate(_TMASS_LIMITS.items()):
        mag, error, there = measured(true[band], limit, noise[:, k])
        seen |= there
        quality = np.select([error < 0.1, error < 0.15, error < 0.2], ["A", "B", "C"], "D")
        chance = draw[:, k]
        quality = np.select([chance < 0.002, chance < 0.008, chance < 0.012, ~there], ["X", "E", "F", "U"], quality)
        columns[f"tmass_{band}_mag"] = _masked(np.where(there, mag, limit - 0.2 * draw[:, 5]), quality == "X")
        error = np.where(quality == "F", 9.997, error)
        columns[f"tmass_{band}_mag_error"] = _masked(error, (quality == "U") | (quality == "X"))
        columns[f"tmass_{band}_quality"] = pa.array(quality)
    return some(columns | _matched(stars, draw[:, 6]), seen & (draw[:, 7] < 0.96))


def _masked(values: Floats, absent: Flags) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.asarray(absent))


def _designation(stars: Stars) -> pa.Array:
    """Return names made of positions, as 2MASS makes them: ``hhmmssss+ddmmsss``, in hundredths and tenths of a second."""
    ra, dec = (stars.ra * 24_000.0).astype(np.int64), (np.abs(stars.dec) * 36_000.0).astype(np.int64)
    made = []
    for east, north, south in zip(ra.tolist(), dec.tolist(), (stars.dec < 0).tolist(), strict=True):
        hours = f"{east // 360_000:02d}{east // 6000 % 60:02d}{east % 6000:04d}"
        made.append(f"{hours}{'-' if south else '+'}{north // 36_000:02d}{north // 600 % 60:02d}{north % 600:03d}")
    return pa.array(made)


def sdss_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC SDSS rows of a northern cap: -9999, saturated and blended flags, errors of hundreds of magnitudes."""
    first = _first(stars)
    draw, noise = uniforms(seed, "sdss", first, (len(stars), 12)), normals(seed, "sdss noise", first, (len(stars), 8))
    true = true_magnitudes(stars)
    columns: dict[str, Any] = {"source_id": stars.source_id, "sdss_id": 1237645879551066112 + stars.number * 65537}
    for k, (band, limit) in enumerate(_SDSS_LIMITS.items()):
        mag, error, there = measured(true[f"sdss {band}"], limit, noise[:, k])
        burnt = true[f"sdss {band}"] < _SDSS_SATURATED[band] + 0.3
        lost = draw[:, k] < 0.004
        flags = np.full(len(stars), _BINNED1, dtype=np.int64) | np.where(draw[:, 5] < 0.3, _BLENDED | _CHILD, 0)
        flags |= np.where(burnt, _SATURATED | _INTERP, 0)
        # Nothing there: an asinh magnitude of the sky's noise, with an error to match.
        mag = np.where(there, np.where(burnt, mag + 0.5 * np.abs(noise[:, 5]), mag), limit + 2.0 + noise[:, 6])
        error = np.where(there, error, np.where(draw[:, 6] < 0.1, 568.0 * draw[:, 7], 0.8))
        columns[f"sdss_{band}_mag"] = np.where(lost, -9999.0, mag).astype(np.float32)
        columns[f"sdss_{band}_mag_error"] = np.where(lost, -9999.0, error).astype(np.float32)
        columns[f"sdss_flags_{band}"] = flags
    inside = (stars.dec > -5.0) & (stars.ra > 100.0) & (stars.ra < 270.0)
    return some(columns | _matched(stars, draw[:, 8]), inside & (stars.magnitudes[:, 0] > 13.0) & (draw[:, 9] < 0.95))


def skymapper_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC SkyMapper rows: empty bands and ids, distant matches, flagged bands, doubles and exact ties."""
    first = _first(stars)
    draw, noise = uniforms(seed, "skymapper", first, (len(stars), 12)), normals(seed, "skymapper noise", first, (len(stars), 8))
    true = true_magnitudes(stars)
    far = draw[:, 0] < 0.03
    columns: dict[str, Any] = {
        "source_id": pa.array(stars.source_id, mask=draw[:, 1] < 0.03),
        "match_separation": np.where(far, 2.0 + 12.9 * draw[:, 2], np.round(0.6 * draw[:, 2] ** 2, 3)).astype(np.float32),
        "skymapper_id": 10_000_000 + stars.number * 11,
    }
    worst = np.zeros(len(stars), dtype=np.int32)
    for k, (band, limit) in enumerate(_SKYMAPPER_LIMITS.items()):
        mag, error, there = measured(true[f"sm {band}"], limit, noise[:, k])
        # An object that is matched from afar is another star.
        mag = mag + np.where(far, 2.0 + np.abs(noise[:, 6]), 0.0)
        flags = np.where(true[f"sm {band}"] < _SKYMAPPER_SATURATED[band], 4, np.where(draw[:, 3] < 0.2, 2, 0)).astype(np.int32)
        worst |= flags
        columns[f"skymapper_{band}_mag"] = _masked(mag, ~there)
        columns[f"skymapper_{band}_mag_error"] = _masked(error, ~there)
        columns[f"skymapper_flags_{band}"] = flags
        columns[f"skymapper_nimaflags_{band}"] = np.where(draw[:, 4 + k] < 0.01, 40, 0).astype(np.int32)
    columns |= {"skymapper_flags": worst, "skymapper_nimaflags": np.zeros(len(stars), dtype=np.int32)}
    columns["skymapper_n_good"] = (1 + 60 * draw[:, 10]).astype(np.int32)
    columns["skymapper_class_star"] = (1.0 - 0.3 * draw[:, 11] ** 4).astype(np.float32)
    seen = np.flatnonzero((stars.dec < 16.0) & (draw[:, 11] < 0.98))
    # One object in forty stands twice, half of these at exactly the same distance with fewer images.
    twice = seen[::40]
    again = some(columns, twice)
    again["skymapper_id"] = again["skymapper_id"] + 1
    again["skymapper_n_good"] = np.ones(len(twice), dtype=np.int32)
    again["match_separation"] = (again["match_separation"] + np.where(np.arange(len(twice)) % 2, 0.4, 0.0)).astype(np.float32)
    return together(some(columns, seen), again)


def together(*parts: Mapping[str, Any]) -> Columns:
    """Return the rows of several tables with the same columns."""
    return {
        name: pa.concat_arrays([pa.array(part[name]) for part in parts])
        if isinstance(values, pa.Array)
        else np.concatenate([part[name] for part in parts])
        for name, values in parts[0].items()
    }


def spurious_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC fidelities: near one for most stars, low for some faint ones; most have no neighbour that disturbs."""
    draw = uniforms(seed, "spurious", _first(stars), (len(stars), 12))
    faint = np.clip((stars.magnitudes[:, 0] - 16.0) / 5.0, 0.02, 0.6)
    near = draw[:, 1] < 0.3
    columns: dict[str, Any] = {"source_id": stars.source_id}
    columns["fidelity_v2"] = np.where(draw[:, 0] < 0.3 * faint, draw[:, 2], 1.0 - 0.05 * draw[:, 2] * faint).astype(np.float32)
    columns["norm_dg"] = _masked(-25.0 * draw[:, 3], ~near)
    columns["theta_arcsec_worst_source"] = _masked(1.0 + 29.0 * draw[:, 4], ~near)
    for k, (step, share) in enumerate((("m2", 0.3), ("0", 0.2), ("2", 0.1), ("4", 0.05), ("6", 0.02), ("10", 0.002))):
        name = f"dist_nearest_neighbor_at_least_{step}_brighter"
        columns[name] = _masked(1.0 + 29.0 * draw[:, 5 + k], draw[:, 1] >= share)
    return columns


# --- files ----------------------------------------------------------------------------------------------------------


def _by_range(columns: Callable[[Stars, int], Columns], survey: str, plan: Plan) -> Iterator[File]:
    """Yield one result of the Gaia archive per range of pixels, as fetching makes them."""
    for part in plan.parts:
        yield File(f"{survey}_{part.name}.fits", "fits", partial(columns, part.stars, plan.seed))


def _panstarrs1_dr1(plan: Plan) -> Iterator[File]:
    yield from _by_range(panstarrs_columns, "panstarrs1_dr1", plan)


def _tmass_psc(plan: Plan) -> Iterator[File]:
    yield File("tmass_psc-result.csv", "archive_csv", partial(tmass_columns, plan.stars, plan.seed))


def _sdss_dr13(plan: Plan) -> Iterator[File]:
    yield File("sdss_dr13-result.vot", "votable", partial(sdss_columns, plan.stars, plan.seed))


def _skymapper_dr4(plan: Plan) -> Iterator[File]:
    half = len(plan.stars) // 2
    for number, which in enumerate((slice(0, half), slice(half, None)), 1):
        name = f"SkyMapper.DR4.master.part{number:03d}.csv.gz"
        yield File(name, "archive_csv", partial(skymapper_columns, plan.stars.take(which), plan.seed))


def _gaia_edr3_spurious(plan: Plan) -> Iterator[File]:
    yield from _by_range(spurious_columns, "gaia_edr3_spurious", plan)


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "panstarrs1_dr1": _panstarrs1_dr1,
    "tmass_psc": _tmass_psc,
    "sdss_dr13": _sdss_dr13,
    "skymapper_dr4": _skymapper_dr4,
    "gaia_edr3_spurious": _gaia_edr3_spurious,
}
