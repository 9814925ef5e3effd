"""Calibrate how wide the percentiles of translated labels are, on stars that their networks never saw.

Shape legend: N stars, K labels.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import brentq, minimize
from scipy.special import logsumexp, ndtr

from lake.columns.spectrotranslator import PERCENTILES
from models.translator_noise import Translated, widened
from models.translator_rows import BoolArray, FloatArray

# Gauss-Hermite: what represents a normal distribution, and with which shares.
_DRAWS, _SHARES = hermegauss(9)
_SHARES = _SHARES / _SHARES.sum()
_PATIENCE = {"xatol": 1e-3, "fatol": 1e-7, "maxiter": 600}
_INTERVALS = ((16, 84), (5, 95))


def widths(found: Translated, targets: FloatArray, errors: FloatArray, usable: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return what makes a Monte Carlo's spread that of the labels: floors, shape (K,), and factors, shape (2, K).

    Floors are added in quadrature (see `models.translator_noise.widened`); of the factors, one is for percentiles 16 and 84
    and one for 5 and 95. With both, 68 and 90 % of the stars lie between their percentiles on base B without its noise.

    That noise is taken off by a model: what is left of a star scatters normally, with a width that follows the star's spread up
    to a log-normal factor, as some stars scatter more than their errors say. Floor, factor and its scatter are the most likely
    ones. A single width for all, or a share of residuals, would give too narrow percentiles where the noise of base B is large.
    """
    labels = targets.shape[1]
    floors, factors = np.zeros(labels), np.ones((len(_INTERVALS), labels))
    for at in range(labels):
        good = usable[:, at]
        if not good.any():
            continue
        residual, error = targets[good, at] - found.values[good, at], errors[good, at]
        spread = found.spread[good][:, :, [at]]
        typical = max(float(np.median(_half(spread, _INTERVALS[0]))), 1e-3 * float(residual.std()), 1e-12)

        def half(floor: float, interval: tuple[int, int], spread: FloatArray = spread, typical: float = typical) -> FloatArray:
            return _half(widened(spread, np.array([abs(floor) * typical])), interval)

        def unlikely(
            chosen: FloatArray, residual: FloatArray = residual, error: FloatArray = error, half: _Halves = half
        ) -> float:
            return -_log_likelihood(residual, error, half(chosen[0], _INTERVALS[0]), chosen[1:])

        floor = minimize(unlikely, [0.5, 0.0, 0.2], method="Nelder-Mead", options=_PATIENCE).x[0]
        floors[at] = abs(floor) * typical
        for row, interval in enumerate(_INTERVALS):
            factors[row, at] = _factor(residual, error, half(floor, interval), share=(interval[1] - interval[0]) / 100)
    return floors, factors


_Halves = Callable[[float, tuple[int, int]], FloatArray]


def _half(spread: FloatArray, interval: tuple[int, int]) -> FloatArray:
    low, high = (PERCENTILES.index(percent) for percent in interval)
    half: FloatArray = (spread[:, high, 0] - spread[:, low, 0]) / 2
    return np.maximum(half, 1e-12)


def _factor(residual: FloatArray, error: FloatArray, half: FloatArray, *, share: float) -> float:
    """Return the factor with which half widths (N,) hold a share of the stars, had base B no noise."""

    def unlikely(chosen: FloatArray) -> float:
        return -_log_likelihood(residual, error, half, chosen)

    centre, scatter = minimize(unlikely, [0.0, 0.2], method="Nelder-Mead", options=_PATIENCE).x
    at = _factors(centre, scatter)
    return float(brentq(lambda width: _SHARES @ (2 * ndtr(width / at) - 1) - share, 0.0, 10 * at.max()))


def _log_likelihood(residual: FloatArray, error: FloatArray, half: FloatArray, chosen: FloatArray) -> float:
    variance = (half[:, np.newaxis] * _factors(*chosen)) ** 2 + error[:, np.newaxis] ** 2
    exponent = -0.5 * (residual[:, np.newaxis] ** 2 / variance + np.log(variance))
    return float(logsumexp(exponent, axis=1, b=_SHARES).mean())


def _factors(centre: float, scatter: float) -> FloatArray:
    """Return representative draws of a log-normal factor, of which `_SHARES` tells the shares."""
    logarithm = np.clip(centre, -5.0, 5.0) + np.clip(abs(scatter), 0.0, 2.0) * _DRAWS
    return np.asarray(np.exp(logarithm))
