"""Make XP rows for benchmarks: real coefficients where the shared file is present, tiled, with noise of their own errors."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake.surveys.gaia_dr3_xp import SURVEY

_REAL = Path(__file__).parents[3] / "shared" / "data" / "gaia_xp" / "xp_continuous_combined_chunk0.shared.fits"
SOLUTION = 4545469030156206080
N_COEFFICIENTS, N_CORRELATIONS = 55, 1485


@lru_cache(maxsize=1)
def blocks() -> tuple[str, dict[str, np.ndarray]]:
    """Return where the rows come from, and coefficients (n, 55) and errors of both bands [electron / s]."""
    if _REAL.exists():
        from astropy.io import fits

        with fits.open(_REAL) as hdus:
            data = hdus[1].data
            held = {
                f"{band}_{ours}": np.stack([data[f"{theirs}{band}_coeff_{k}"] for k in range(N_COEFFICIENTS)], axis=1).astype(
                    np.float64
                )
                for band in ("bp", "rp")
                for ours, theirs in (("coefficients", ""), ("coefficient_errors", "e_"))
            }
        sound = np.all([np.isfinite(block).all(axis=1) for block in held.values()], axis=0)
        return "real rows", {name: block[sound] for name, block in held.items()}
    rng = np.random.default_rng(0)
    held = {}
    for band in ("bp", "rp"):
        error = (
            0.5
            * 10 ** rng.uniform(0, 2, (2000, 1))
            * np.exp(-np.arange(N_COEFFICIENTS) / 30)
            * rng.uniform(0.7, 1.3, (2000, N_COEFFICIENTS))
        )
        scale = 10 ** rng.uniform(2, 4, (2000, 1)) * np.exp(-np.arange(N_COEFFICIENTS) / 3)
        held |= {f"{band}_coefficients": scale * rng.normal(size=error.shape), f"{band}_coefficient_errors": error}
    return "invented rows", held


def columns(ids: np.ndarray, rng: np.random.Generator, *, correlations: bool = False) -> dict[str, np.ndarray]:
    """Return the columns of the XP survey for these sources: float64 coefficients, float32 errors, int16 counts."""
    _, held = blocks()
    row = rng.integers(0, len(held["bp_coefficients"]), len(ids))
    made: dict[str, np.ndarray] = {"source_id": ids, "solution_id": np.full(len(ids), SOLUTION)}
    for band in ("bp", "rp"):
        error = held[f"{band}_coefficient_errors"][row] * rng.uniform(0.9, 1.1, (len(ids), 1))
        for name in ("basis_function_id", "degrees_of_freedom", "n_parameters", "n_measurements", "n_rejected_measurements"):
            made[f"{band}_{name}"] = rng.integers(1, 100, len(ids)).astype(np.int16)
        for name in ("standard_deviation", "chi_squared"):
            made[f"{band}_{name}"] = rng.gamma(4, 1, len(ids)).astype(np.float32)
        made[f"{band}_coefficients"] = held[f"{band}_coefficients"][row] + error * rng.standard_normal(
            error.shape, dtype=np.float32
        )
        made[f"{band}_coefficient_errors"] = error.astype(np.float32)
        if correlations:
            noise = rng.standard_normal((len(ids), N_CORRELATIONS), dtype=np.float32)
            made[f"{band}_coefficient_correlations"] = np.clip(noise * np.float32(0.2), -1, 1)
        made[f"{band}_n_relevant_bases"] = rng.integers(1, 55, len(ids)).astype(np.int16)
        made[f"{band}_relative_shrinking"] = rng.uniform(0, 1, len(ids)).astype(np.float32)
    return made


def raw_table(made: dict[str, np.ndarray]) -> pa.Table:
    """Return the columns as an Arrow table under the survey's raw names."""
    arrays = {
        SURVEY.columns[name].name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        if values.ndim == 2
        else pa.array(values)
        for name, values in made.items()
    }
    return pa.table(arrays)
