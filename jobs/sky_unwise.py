"""Make the tiles of the unWISE catalogue for the SYNTHETIC sky: objects with positions of their own and no ids.

Nothing here is a measurement. A tile is drawn as a whole, for its overlaps and the objects that Gaia does not see.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.sky_photometry import Columns, measured, some, together, true_magnitudes
from jobs.sky_plan import File, Plan
from jobs.sky_population import Flags, Floats, Stars

_ARCSEC = 1.0 / 3600.0
_LIMITS = {"w1": 17.9, "w2": 16.9}
_TILES = ("0450m015", "1350p030", "2250m045", "3150p000")


def unwise_columns(stars: Stars, seed: int, tile: str) -> Columns:
    """Return SYNTHETIC rows of one unWISE tile: overlaps, bands without flux, ghosts, and objects that Gaia does not see."""
    rng = np.random.default_rng([seed, int(tile[:4])])
    rows, dark = len(stars), len(stars) // 12
    kept = rng.random(rows) < 0.9
    where = {"ra": stars.ra, "dec": stars.dec}
    true = true_magnitudes(stars)
    columns: dict[str, Any] = {
        "object_ra": where["ra"] + rng.normal(0.0, 0.07, rows) * _ARCSEC / np.cos(np.radians(where["dec"])),
        "object_dec": np.clip(where["dec"] + rng.normal(0.0, 0.07, rows) * _ARCSEC, -90.0, 90.0),
    }
    for band, limit in _LIMITS.items():
        mag, error, there = measured(true[band], limit, rng.normal(size=rows))
        columns |= _fluxes(band, mag, error, there & (rng.random(rows) > 0.01), rng)
    seen = kept & ((columns["unwise_w1_flux"] > 0) | (columns["unwise_w2_flux"] > 0))
    columns = some(columns, seen)
    # Galaxies and dust that Gaia does not see, somewhere near the tile's stars.
    lonely = some(columns, rng.integers(0, max(1, int(seen.sum())), dark)) if seen.any() else some(columns, seen)
    lonely["object_ra"] = (lonely["object_ra"] + rng.uniform(5.0, 60.0, len(lonely["object_ra"])) * _ARCSEC) % 360.0
    overlap = some(columns, np.arange(0, int(seen.sum()), 25))
    whole = dict(together(columns, lonely, overlap))
    total = len(whole["object_ra"])
    whole["object_ra"] = np.mod(whole["object_ra"], 360.0)
    whole["unwise_primary"] = np.where(np.arange(total) < total - len(overlap["object_ra"]), 1, 0).astype(np.int16)
    whole["unwise_id"] = pa.array([f"{tile}o{number:07d}" for number in range(total)])
    return some(whole, rng.permutation(total))


def _fluxes(band: str, mag: Floats, error: Floats, there: Flags, rng: np.random.Generator) -> dict[str, Any]:
    """Return the flux of one band [Vega nanomaggies] and what comes with it, all zero where nothing was detected."""
    rows = len(mag)
    flux = 10.0 ** (0.4 * (22.5 - mag))
    parts = {
        "flux": flux,
        "flux_error": flux * error / 1.0857,
        "fracflux": 1.0 - 0.3 * rng.random(rows) ** 3,
        "qf": 1.0 - 0.1 * rng.random(rows) ** 6,
        "rchi2": rng.gamma(20.0, 0.05, rows),
    }
    flags = np.where(rng.random(rows) < 0.005, 4, np.where(mag < 8.0, 65, 0)).astype(np.int32)
    return {f"unwise_{band}_{name}": np.where(there, held, 0.0).astype(np.float32) for name, held in parts.items()} | {
        f"unwise_flags_{band}": flags,
        f"unwise_info_flags_{band}": np.where(mag < 8.0, 16, 0).astype(np.int32),
    }


def _unwise_neo6(plan: Plan) -> Iterator[File]:
    """Yield one tile per quarter of the sky."""
    for number, tile in enumerate(_TILES):
        inside = np.asarray(np.floor(plan.stars.ra / 90.0).astype(int) == number)
        yield File(f"{tile}.cat.fits", "fits", partial(unwise_columns, plan.stars.take(inside), plan.seed, tile))


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {"unwise_neo6": _unwise_neo6}
