"""Translate labels without a network: do nothing, or correct the difference by a quadratic ridge regression.

A network is worth its trouble only where it beats both. Shape legend: N training stars, B stars, D inputs, K labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

FloatArray = NDArray[np.float64]

NOTHING, RIDGE = "nothing", "ridge"
_DEGREE = 2
# Penalties tried, per unit of weight and star; leave-one-out errors of the training stars choose, label by label.
PENALTIES = 10.0 ** np.arange(-4.0, 4.0)


@dataclass(frozen=True, eq=False)
class Baselines:
    """Corrections of the test stars, to be added to what base A says, by each baseline.

    Attributes
    ----------
    correction
        ``nothing`` and ``ridge`` -> shape (B, K), physical units, never NaN.
    missing_train, missing_test
        How many stars had at least one missing input, which the ridge read as the median of the training stars.
    """

    correction: dict[str, FloatArray]
    missing_train: int
    missing_test: int


def baselines(x_train: FloatArray, delta_train: FloatArray, weight: FloatArray, x_test: FloatArray) -> Baselines:
    """Fit the baselines to the training stars and apply them to others.

    Parameters
    ----------
    x_train, x_test
        Inputs, shapes (N, D) and (B, D), physical units, NaN where missing.
    delta_train
        Base B minus base A, shape (N, K), NaN where either is missing: such stars do not teach that label.
    weight
        Inverse variance of it, shape (N, K); NaN or 0 does not teach.

    Raises
    ------
    ValueError
        If an input is missing in all training stars, or no star teaches a label.

    Notes
    -----
    All products of at most two standardised inputs, one ridge regression per label, penalty by exact leave-one-out.
    """
    finite = np.isfinite(x_train)
    empty = np.flatnonzero(~finite.any(axis=0))
    if len(empty):
        raise ValueError(f"input {empty[0]} of {x_train.shape[1]} is missing in all {len(x_train)} training stars, expected some")
    median = np.nanmedian(np.where(finite, x_train, np.nan), axis=0)
    filled, x = (np.where(np.isfinite(inputs), inputs, median) for inputs in (x_train, x_test))
    ridge = [_ridge(filled, delta_train[:, k], weight[:, k], k).predict(x) for k in range(delta_train.shape[1])]
    zeros = np.zeros((len(x_test), delta_train.shape[1]))
    corrections = {NOTHING: zeros, RIDGE: np.stack(ridge, axis=1)}
    return Baselines(corrections, _incomplete(x_train), _incomplete(x_test))


def _ridge(x: FloatArray, delta: FloatArray, weight: FloatArray, label: int) -> Pipeline:
    teaches = np.isfinite(delta) & np.isfinite(weight) & (weight > 0)
    if not teaches.any():
        raise ValueError(f"label {label}: none of {len(x)} training stars has a difference and a weight, expected some")
    relative = weight[teaches] / weight[teaches].mean()
    model = make_pipeline(StandardScaler(), PolynomialFeatures(_DEGREE, include_bias=False), StandardScaler(), RidgeCV(PENALTIES))
    fit: Pipeline = model.fit(x[teaches], delta[teaches], ridgecv__sample_weight=relative)
    return fit


def _incomplete(inputs: FloatArray) -> int:
    return int((~np.isfinite(inputs).all(axis=1)).sum())
