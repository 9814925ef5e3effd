"""Make the rows of the SYNTHETIC sky's spectral surveys, and of the table that is published beside them.

Nothing here is a measurement. Each function takes the stars of one file, in the file's order, and returns canonical column
name -> values; a masked array or an Arrow array marks missing values.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.sky_population import Flags, Floats, Stars, normals, uniforms
from jobs.sky_spectra import N_COEFFICIENTS, SAMPLED, model_flux, product

Columns = Mapping[str, Any]

SOLUTION = 4545469030156206080
SAMPLED_SHARE = 0.024
_NO_BP_SHARE, _NO_WISE_SHARE = 0.003, 0.15
_BASIS = {"bp": 56, "rp": 57}
# Error of coefficient 0 against coefficient 0, and of coefficient k over that, measured on the bulk sample.
_ERROR_AT = {"bp": (1.9, 2.27, 2.7, 3.25, 4.48, 7.0), "rp": (1.95, 2.3, 2.63, 3.2, 4.48, 7.0)}
_ERROR = {"bp": (0.55, 0.74, 1.2, 2.8, 18.0, 800.0), "rp": (0.38, 0.59, 0.86, 1.77, 7.08, 200.0)}
_ERROR_ORDER, _ERROR_OF_ORDER = (0, 1, 5, 10, 20, 40, 54), (1.0, 0.86, 0.76, 0.85, 0.72, 0.30, 0.034)
_SIGNIFICANT = 3.3


def without_bp(stars: Stars, seed: int) -> Flags:
    """Tell which sources have no BP spectrum: about 0.3 %."""
    return np.asarray(_drawn(uniforms, stars, seed, "bp", 1)[:, 0] < _NO_BP_SHARE)


def has_sampled(stars: Stars, seed: int) -> Flags:
    """Tell which sources have a sampled spectrum published: about 2 % of all stars, with both bands."""
    chosen = _drawn(uniforms, stars, seed, "sampled", 1)[:, 0] < SAMPLED_SHARE
    return np.asarray(chosen & stars.has_xp & ~without_bp(stars, seed))


def _drawn(draw: Callable[[int, str, int, tuple[int, int]], Floats], stars: Stars, seed: int, purpose: str, width: int) -> Floats:
    """Return the numbers of stars in ascending order, some of which may be left out: (n, width)."""
    if not len(stars):
        return np.empty((0, width))
    first = int(stars.number[0])
    return draw(seed, purpose, first, (int(stars.number[-1]) - first + 1, width))[stars.number - first]


def xp_columns(stars: Stars, seed: int, *, correlations: bool) -> Columns:
    """Return SYNTHETIC mean BP/RP spectra with noise: coefficients float64 (n, 55), errors float32 (n, 55).

    Parameters
    ----------
    correlations
        Whether the correlations of the coefficients, float32 (n, 1485), are among the columns.
    """
    columns: dict[str, Any] = {"source_id": stars.source_id, "solution_id": np.full(len(stars), SOLUTION)}
    absent = {"bp": without_bp(stars, seed), "rp": np.zeros(len(stars), dtype=bool)}
    for band, first in (("bp", 0), ("rp", N_COEFFICIENTS)):
        made = _band(band, stars.coefficients[:, first : first + N_COEFFICIENTS], stars, seed, correlations)
        columns |= {f"{band}_{name}": masked(values, absent[band]) for name, values in made.items()}
    return columns


def masked(values: NDArray[Any], absent: Flags) -> pa.Array:
    """Return an Arrow array with nulls; a matrix becomes fixed-size lists."""
    if values.ndim == 1:
        return pa.array(values, mask=absent)
    flat = pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(absent) if absent.any() else None)


def _band(band: str, true: Floats, stars: Stars, seed: int, correlations: bool) -> dict[str, NDArray[Any]]:
    noise = _drawn(normals, stars, seed, f"{band} noise", 2 * N_COEFFICIENTS + 2)
    shape = _drawn(normals, stars, seed, f"{band} errors", N_COEFFICIENTS + 5)
    level = np.log10(np.maximum(true[:, :1], 10.0))
    error = 10.0 ** np.interp(level, _ERROR_AT[band], np.log10(_ERROR[band]))
    order = np.exp(np.interp(np.arange(N_COEFFICIENTS), _ERROR_ORDER, np.log(_ERROR_OF_ORDER)))
    errors = (error * order * np.exp(0.2 * shape[:, :1] + 0.12 * shape[:, 5:])).astype(np.float32)
    share = _share(shape[:, 1])[:, None]
    ends = _roots(band)
    first, second = (
        product(noise[:, :N_COEFFICIENTS], ends[0].T),
        product(noise[:, N_COEFFICIENTS : 2 * N_COEFFICIENTS], ends[1].T),
    )
    coefficients = true + errors * (np.sqrt(1.0 - share) * first + np.sqrt(share) * second)
    scatter = 1.0 + np.abs(0.04 * shape[:, 2]) + 0.04 * np.maximum(level[:, 0] - 3.0, 0.0)
    measured = np.clip(np.exp(7.6 + 0.4 * shape[:, 3]), 400, 9000).astype(np.int16)
    rejected = np.minimum(np.abs(12.0 * shape[:, 4]), 0.05 * measured).astype(np.int16)
    freedom = measured - np.int16(N_COEFFICIENTS)
    significant = np.abs(coefficients) > _SIGNIFICANT * errors
    relevant = np.maximum(N_COEFFICIENTS - np.argmax(significant[:, ::-1], axis=1), 2).astype(np.int16)
    kept = np.where(np.arange(N_COEFFICIENTS) < relevant[:, None], coefficients, 0.0)
    made = {
        "basis_function_id": np.full(len(true), _BASIS[band], dtype=np.int16),
        "degrees_of_freedom": freedom,
        "n_parameters": np.full(len(true), N_COEFFICIENTS, dtype=np.int16),
        "n_measurements": measured,
        "n_rejected_measurements": rejected,
        "standard_deviation": scatter.astype(np.float32),
        "chi_squared": (freedom * scatter**2).astype(np.float32),
        "coefficients": coefficients,
        "coefficient_errors": errors,
        "n_relevant_bases": relevant,
        "relative_shrinking": (np.linalg.norm(kept, axis=1) / np.linalg.norm(coefficients, axis=1)).astype(np.float32),
    }
    if correlations:
        one, two = (packed(product(root, root.T)).astype(np.float32) for root in ends)
        made["coefficient_correlations"] = (np.float32(1) - share.astype(np.float32)) * one + share.astype(np.float32) * two
    return made


def _share(drawn: Floats) -> Floats:
    """Return how far between the two correlation matrices of a band a star stands, 0 to 1."""
    return np.asarray(0.5 + 0.5 * np.tanh(drawn))


def packed(matrix: Floats) -> Floats:
    """Return the upper triangle without diagonal, column by column, as the archive packs it: (1485,) from (55, 55)."""
    column, row = np.tril_indices(len(matrix), -1)
    return np.asarray(matrix[row, column])


@lru_cache(maxsize=2)
def _roots(band: str) -> tuple[Floats, Floats]:
    """Return Cholesky roots of two correlation matrices, between which each star's own lies.

    A product of an exponential and a cosine kernel is positive definite, and so is every mean of two such matrices. Size and
    decay of the correlations follow three real sources.
    """
    rng = np.random.default_rng(_BASIS[band])
    order = np.arange(N_COEFFICIENTS)
    made = []
    for _ in range(2):
        phase = rng.uniform(0.0, 2.0 * np.pi, N_COEFFICIENTS)
        kernel = np.exp(-np.abs(order[:, None] - order) / 6.0) * np.cos(phase[:, None] - phase)
        made.append(np.linalg.cholesky(0.6 * np.eye(N_COEFFICIENTS) + 0.4 * kernel))
    return made[0], made[1]


def sampled_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC sampled spectra [W m-2 nm-1], float32 (n, 343): the model flux with noise."""
    flux = model_flux(stars.teff, stars.logg, stars.fe_h, stars.extinction)[:, SAMPLED] * stars.scale[:, None]
    blue = np.exp(np.interp(np.arange(flux.shape[1]), [0, 35, 300, 342], [2.2, 0.3, 0.3, 1.6]))
    level = 0.004 * 10.0 ** (0.25 * np.maximum(stars.magnitudes[:, :1] - 12.0, 0.0))
    error = (flux.mean(axis=1, keepdims=True) * level * blue).astype(np.float32)
    noisy = (flux + error * _drawn(normals, stars, seed, "sampled noise", flux.shape[1])).astype(np.float32)
    none = np.zeros(len(stars), dtype=bool)
    return {
        "source_id": stars.source_id,
        "solution_id": np.full(len(stars), SOLUTION),
        "ra": stars.ra,
        "dec": stars.dec,
        "flux": masked(noisy, none),
        "flux_error": masked(error, none),
    }


def catwise_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC W1 and W2 [mag, Vega] by colour and extinction, NaN for 15 % without counterpart, and XP labels."""
    noise = _drawn(normals, stars, seed, "catwise", 6)
    drawn = _drawn(uniforms, stars, seed, "catwise draws", 4)
    # Planck's colours would miss the infrared: G - W1 of dwarfs and giants is read off real stars.
    colour = np.interp(stars.teff, [3000, 3500, 4000, 5000, 6000, 7500, 10000, 13000], [4.3, 3.5, 2.9, 2.0, 1.4, 0.75, 0.1, -0.2])
    w1 = stars.magnitudes[:, 0] - colour - 0.72 * stars.extinction
    between = np.interp(stars.teff, [3000, 4000, 5000, 8000], [0.17, 0.02, -0.04, 0.0]) + 0.005 * stars.extinction
    error = 0.015 + 0.02 * 10.0 ** (0.3 * np.maximum(w1 - 14.0, 0.0))
    absent = drawn[:, 0] < _NO_WISE_SHARE
    scatter = np.where(stars.magnitudes[:, 0] > 16.0, 1.5, 1.0)
    return {
        "source_id": stars.source_id,
        "catwise_w1_mag": np.where(absent, np.nan, w1 + error * noise[:, 0]).astype(np.float32),
        "catwise_w2_mag": np.where(absent, np.nan, w1 - between + 1.3 * error * noise[:, 1]).astype(np.float32),
        "in_training_sample": drawn[:, 1] < 0.003,
        "mh_xgboost": (stars.fe_h + 0.1 * scatter * noise[:, 2]).astype(np.float32),
        "teff_xgboost": (np.clip(stars.teff, 3100, 9000) + 60.0 * scatter * noise[:, 3]).astype(np.float32),
        "logg_xgboost": (np.clip(stars.logg, 0.2, 5.2) + 0.09 * scatter * noise[:, 4]).astype(np.float32),
    }
