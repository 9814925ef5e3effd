"""Judge a translation on the stars that neither trained nor chose it, beside doing nothing and a quadratic ridge.

Shape legend: B stars of the test split.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lake.columns.spectrotranslator import PERCENTILES
from models.translation_judges import METHODS, Judged, scatter
from models.translator_rows import BoolArray, FloatArray

# Bins by what base A says, which no method had to guess: by base B, even a perfect translation would seem to shrink labels.
BINS: Mapping[str, Callable[[Judged], BoolArray]] = {
    "all": lambda one: np.ones(len(one), dtype=bool),
    "metallicity > -0.5": lambda one: one.metallicity > -0.5,
    "-1 < metallicity <= -0.5": lambda one: (one.metallicity > -1.0) & (one.metallicity <= -0.5),
    "metallicity <= -1": lambda one: one.metallicity <= -1.0,
    "giants (log g < 3.5)": lambda one: one.gravity < 3.5,
    "dwarfs (log g >= 3.5)": lambda one: one.gravity >= 3.5,
}
DECILES = 10
# Coverages: name -> percentiles of the table, and how many sigma of base B's own error they stand for.
_INTERVALS = {"p16_p84": (16, 84, 0.994458), "p05_p95": (5, 95, 1.644854)}


def quality(labels: Sequence[Judged]) -> dict[str, Any]:
    """Return all figures of the test split, ready for JSON; None where stars are too few to tell.

    Returns
    -------
    dict
        Label -> ``unit``, ``untranslated``, ``coverage`` of ours (see `coverage`), and ``methods``: method -> ``bins`` (name ->
        `statistics`), ``deciles`` (of what base A says: its median, the median and the scatter of the residuals) and ``slope``
        (of these medians, per unit of the label): a translation that shrinks labels to their mean has a negative one.
    """
    return {
        one.name: {
            "unit": one.unit,
            "untranslated": one.untranslated,
            "coverage": coverage(one),
            "methods": {method: _of_method(one, method) for method in METHODS},
        }
        for one in labels
    }


def _of_method(one: Judged, method: str) -> dict[str, Any]:
    residual = one.estimates[method] - one.reference
    bins = {}
    for name, chosen in BINS.items():
        inside = chosen(one)
        bins[name] = statistics(residual[inside], one.weight[inside])
    deciles = []
    for at in np.array_split(np.argsort(one.source, kind="stable"), DECILES):
        if len(at):
            source, median = _number(np.median(one.source[at])), _number(np.median(residual[at]))
            deciles.append({"source": source, "median": median, "scatter": scatter(residual[at])})
    return {"bins": bins, "deciles": deciles, "slope": _slope(deciles)}


def statistics(residual: FloatArray, weight: FloatArray) -> dict[str, Any]:
    """Return figures of residuals (B,), estimate minus reference, with inverse variances (B,).

    Returns
    -------
    dict
        ``n``; ``bias``, the weighted mean, and its standard error ``bias_error``; ``median``; ``scatter``, 1.4826 times the
        median absolute deviation from the median; ``sigma``, the plain standard deviation; ``rms``, weighted, about 0. None
        where less than two stars cannot tell.
    """
    n = len(residual)
    if n < 2:
        return {"n": n} | dict.fromkeys(("bias", "bias_error", "median", "scatter", "sigma", "rms"))
    share = weight / weight.sum()
    bias = float((share * residual).sum())
    error = np.sqrt((share**2 * (residual - bias) ** 2).sum() * n / (n - 1))
    return {
        "n": n,
        "bias": bias,
        "bias_error": float(error),
        "median": float(np.median(residual)),
        "scatter": scatter(residual),
        "sigma": float(residual.std(ddof=1)),
        "rms": float(np.sqrt((share * residual**2).sum())),
    }


def coverage(one: Judged) -> dict[str, float | None]:
    """Return which share of the stars lies between percentiles: 0.68 and 0.90 if the percentiles are right.

    ``p16_p84`` and ``p05_p95`` compare with base B, whose own error is added in quadrature to each half of the interval;
    ``truth_p16_p84`` and ``truth_p05_p95`` with the truth as it is, None if nobody knows it.
    """
    middle = one.percentiles[:, PERCENTILES.index(50)]
    found: dict[str, float | None] = {}
    known = np.isfinite(one.reference_error)
    for name, (low, high, sigmas) in _INTERVALS.items():
        below, above = (np.abs(one.percentiles[:, PERCENTILES.index(p)] - middle) for p in (low, high))
        extra = sigmas * np.where(known, one.reference_error, 0.0)
        inside = _inside(one.reference - middle, np.hypot(below, extra), np.hypot(above, extra))
        found[name] = _number(inside[known].mean()) if known.any() else None
        truth = None if one.truth is None or not len(one) else _inside(one.truth - middle, below, above)
        found[f"truth_{name}"] = None if truth is None else _number(truth.mean())
    return found


def _inside(difference: FloatArray, below: FloatArray, above: FloatArray) -> BoolArray:
    return (difference >= -below) & (difference <= above)


def _slope(deciles: Sequence[Mapping[str, Any]]) -> float | None:
    x, y = (np.array([one[name] for one in deciles]) for name in ("source", "median"))
    if len(x) < 3 or not np.ptp(x) > 0:
        return None
    x = x - x.mean()
    return float((x * y).sum() / (x**2).sum())


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
