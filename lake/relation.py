"""Judge whether pairs of a value and what it is compared with obey a smooth relation, or belong to other stars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.declaration import Relation
from lake.partition import Ids

Floats = NDArray[np.float64]

LEAST_ROWS = 50
_SIGMA = 4.0
_LEAST_CONTRAST = 0.3
# Multiplication by an odd constant shuffles ids, whose order is that of the sky.
_SHUFFLE = np.uint64(0x9E3779B97F4A7C15)
# Another one halves them: of ids chosen by the first, all would be in one half.
_HALVE = np.uint64(0xC2B2AE3D27D4EB4F)
_ROUNDS = 25
_HUBER = 1.5


@dataclass(frozen=True)
class Sample:
    """Pairs without nulls: ids (n,), values (n,), what they are compared with (n, k); `rows` counts those left unread too."""

    ids: Ids
    value: Floats
    against: Floats
    rows: int


def few(sample: Sample, most: int) -> Sample:
    """Return the pairs whose ids hash lowest, in their order; all of them if they are few."""
    if len(sample.ids) <= most:
        return sample
    chosen = np.sort(np.argsort(sample.ids.astype(np.uint64) * _SHUFFLE, kind="stable")[:most])
    return Sample(sample.ids[chosen], sample.value[chosen], sample.against[chosen], sample.rows)


def names_of(value: str | tuple[str, str]) -> tuple[str, ...]:
    """Return the column, or the two whose difference is meant."""
    return (value,) if isinstance(value, str) else value


def said(value: str | tuple[str, str]) -> str:
    """Say a column, or the difference of two."""
    return " - ".join(names_of(value))


def design(against: Floats, centre: Floats, width: Floats, limits: Floats) -> Floats:
    """Return the terms of the smooth function: third order in one column, second order in several.

    Beyond `limits` it goes on as a straight line, so that few far values cannot bend it.
    """
    straight = (against - centre) / width
    scaled = (np.clip(against, limits[0], limits[1]) - centre) / width
    n, k = scaled.shape
    terms = [np.ones(n), *straight.T]
    terms += [scaled[:, i] * scaled[:, j] for i in range(k) for j in range(i, k)]
    terms += [scaled[:, 0] ** 3] if k == 1 else []
    return np.stack(terms, axis=1)


def fit(value: Floats, against: Floats) -> Callable[[Floats], Floats]:
    """Fit the smooth function robustly, by least squares with Huber's weights, and return it."""
    centre, limits = np.median(against, axis=0), np.quantile(against, [0.005, 0.995], axis=0)
    width = np.maximum(np.subtract(*np.quantile(against, [0.84, 0.16], axis=0)), 1e-12)
    terms, weight = design(against, centre, width, limits), np.ones(len(value))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        solution = np.asarray(np.linalg.lstsq(terms * root[:, None], value * root, rcond=1e-10)[0], dtype=np.float64)
        residual = value - terms @ solution
        weight = np.minimum(1.0, _HUBER * max(scatter(residual), 1e-12) / np.maximum(np.abs(residual), 1e-300))
    return partial(_predicted, solution, centre, width, limits)


def _predicted(solution: Floats, centre: Floats, width: Floats, limits: Floats, against: Floats) -> Floats:
    return np.asarray(design(against, centre, width, limits) @ solution)


def scatter(residual: Floats) -> float:
    """Return the robust standard deviation: 1.4826 times the median absolute deviation."""
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def judge(relation: Relation, sample: Sample, parts: Sequence[Sample] = ()) -> dict[str, Any]:
    """Compare pairs with a relation.

    Two things are asked. Are too many rows farther off than the tolerance? And does the relation say anything at all of the
    values: their rank correlation r with what it predicts, each half of the rows predicted from the other half, must not be
    smaller than right matches have. Both allow for four standard deviations of chance, so that few rows raise no alarm; but
    where there are enough rows to judge, r must be half of it at least.

    Parameters
    ----------
    parts
        The same pairs file by file: one file of wrong pairs among many right ones would not show in the whole.

    Returns
    -------
    dict
        What was compared, ``rows``, ``outliers`` and their ``share``, ``scatter`` (of the residuals over that of rows matched
        to other stars, from r as ``sqrt(1 - r**2)``), the ``worst`` rows, the ``odd_files`` by their first source_id, and
        ``sound``: True, False, or None where there are too few rows to judge.
    """
    n = len(sample.ids)
    record: dict[str, Any] = {
        "value": said(relation.value),
        "against": f"{', '.join(map(said, relation.against))} of {relation.table}",
        "rows": n,
        "sound": None,
    }
    if n < LEAST_ROWS:
        return record
    expected = fit(sample.value, sample.against)
    residual = sample.value - expected(sample.against)
    r, least = _correlation(sample), float(np.sqrt(1.0 - relation.scatter**2))
    share = _share(residual, relation)
    odd = _odd_files(relation, sample, parts, expected)
    chance = _SIGMA / np.sqrt(n)
    judgeable = chance < least
    # Few rows of other stars reach some correlation by chance: where it can be told, half of what is asked is the least.
    unrelated = r < max(least - chance, 0.5 * least if judgeable else -1.0)
    too_many = share > relation.outliers + _SIGMA * _binomial(relation.outliers, n)
    worst = np.argsort(-np.abs(residual))[:3]
    return record | {
        "outliers": int((np.abs(residual) > relation.tolerance).sum()),
        "share": round(share, 4),
        "scatter": round(float(np.sqrt(1.0 - max(r, 0.0) ** 2)), 3),
        "worst": [f"source_id {sample.ids[i]}: {sample.value[i]:.6g}, {residual[i]:+.3g} off" for i in worst],
        "odd_files": odd,
        "sound": False if unrelated or too_many or odd else True if judgeable else None,
    }


def _correlation(sample: Sample) -> float:
    """Return the rank correlation of values with predictions from the other half of the rows."""
    from scipy.stats import rankdata

    half = (sample.ids.astype(np.uint64) * _HALVE) >> np.uint64(63) == 1
    predicted = np.empty(len(half))
    for own in (half, ~half):
        if not own.any() or own.all():
            return 0.0
        predicted[own] = fit(sample.value[~own], sample.against[~own])(sample.against[own])
    first, second = rankdata(sample.value), rankdata(predicted)
    # Equal values share a rank, and values all equal say nothing.
    return float(np.corrcoef(first, second)[0, 1]) if np.ptp(first) and np.ptp(second) else 0.0


def _odd_files(relation: Relation, sample: Sample, parts: Sequence[Sample], expected: Callable[[Floats], Floats]) -> list[int]:
    """Return the first source_id of each file whose rows lie like those of other stars, where the relation can tell."""
    other = np.roll(sample.value, len(sample.value) // 2)
    chance = _share(other - expected(sample.against), relation)
    if chance < relation.outliers + _LEAST_CONTRAST:
        return []
    # Half way between what right matches may have and what matches to other stars would have.
    most = 0.5 * (relation.outliers + chance)
    return [
        int(one.ids[0])
        for one in parts
        if len(one.ids) >= LEAST_ROWS
        and _share(one.value - expected(one.against), relation) > most + _SIGMA * _binomial(most, len(one.ids))
    ]


def _share(residual: Floats, relation: Relation) -> float:
    return float((np.abs(residual) > relation.tolerance).mean())


def _binomial(share: float, rows: int) -> float:
    """Return the standard deviation of a share of some rows."""
    return float(np.sqrt(share * (1.0 - share) / rows))
