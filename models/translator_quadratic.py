"""Fit what a translation applies where networks do not pay: a quadratic ridge regression, which a hundred stars can teach.

Shape legend: N stars, D inputs, P = 1 + D + D (D + 1) / 2 terms, K labels.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from models.baselines import PENALTIES
from models.translator_rows import BoolArray, FloatArray


def terms(x: NDArray[np.float32]) -> FloatArray:
    """Return 1, scaled inputs (N, D) and all their products of two, shape (N, P); those of a missing input are 0."""
    exact = x.astype(np.float64)
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), exact, exact[:, first] * exact[:, second]], axis=1)


def terms_of(inputs: int) -> int:
    """Return how many terms these many inputs make."""
    return 1 + inputs + inputs * (inputs + 1) // 2


def fit_quadratic(x: NDArray[np.float32], differences: FloatArray, weight: FloatArray, usable: BoolArray) -> FloatArray:
    """Return the coefficients of `terms`, shape (P, K), by which each label differs between its two bases.

    Parameters
    ----------
    x
        Scaled inputs of the stars that teach, shape (N, D).
    differences, weight
        What is to be found, and its inverse variance, shape (N, K).
    usable
        Whether a label counts, shape (N, K); without any star the coefficients are 0.

    Notes
    -----
    One ridge regression per label on standardised terms, penalty by exact leave-one-out, as that of `models.baselines`.
    """
    every = terms(x)
    found = np.zeros((every.shape[1], differences.shape[1]))
    for at in range(differences.shape[1]):
        good = usable[:, at]
        if not good.any():
            continue
        scaler = StandardScaler().fit(every[good, 1:])
        relative = weight[good, at] / weight[good, at].mean()
        ridge = RidgeCV(PENALTIES).fit(scaler.transform(every[good, 1:]), differences[good, at], sample_weight=relative)
        found[1:, at] = ridge.coef_ / scaler.scale_
        found[0, at] = ridge.intercept_ - scaler.mean_ @ found[1:, at]
    return found
