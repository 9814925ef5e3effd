"""Split common stars into those that train, those that choose and calibrate, and those that only judge."""

import numpy as np
from numpy.typing import NDArray

from models.masks import hashed, text_key, uniform

TRAIN, SELECT, TEST = 0, 1, 2
# Bounds of strata: the rare metal-poor stars and the giants get their share of every split.
METALLICITY = (-2.0, -1.5, -1.0, -0.7, -0.4, -0.2, 0.0, 0.2)
GRAVITY = (1.5, 2.2, 2.7, 3.7)

MOST_FOLDS = 5

_STREAM, _FOLDS = text_key("translation split"), text_key("translation folds")
# Multiples of it spread as evenly over [0, 1) as any, however many are taken.
_GOLDEN = (5**0.5 - 1) / 2


def split(
    source_id: NDArray[np.int64],
    metallicity: NDArray[np.float64],
    gravity: NDArray[np.float64],
    *,
    seed: int,
    select: float = 0.15,
    test: float = 0.15,
) -> NDArray[np.int8]:
    """Split stars within strata of metallicity and gravity, in an order drawn by (seed, source_id).

    Parameters
    ----------
    source_id
        Shape (B,), each once.
    metallicity, gravity
        Shape (B,) [dex], NaN where missing: these stars are strata of their own.
    select, test
        Shares of the two smaller splits.

    Returns
    -------
    numpy.ndarray
        Shape (B,): `TRAIN`, `SELECT` or `TEST`. The order of the rows has no influence.

    Raises
    ------
    ValueError
        If a source id occurs twice: one star in two splits would judge itself.
    """
    if len(np.unique(source_id)) != len(source_id):
        twice = len(source_id) - len(np.unique(source_id))
        raise ValueError(f"found {twice} source ids that occur more than once, expected each once; keep one row per star")
    stratum = _stratum(metallicity, METALLICITY) * (len(GRAVITY) + 2) + _stratum(gravity, GRAVITY)
    order = np.lexsort((source_id, hashed(_STREAM, seed, source_id), stratum))
    place = np.empty(len(source_id))
    place[order] = (0.5 + _GOLDEN * np.arange(len(source_id))) % 1.0
    result = np.full(len(source_id), TRAIN, dtype=np.int8)
    result[place < select + test] = SELECT
    result[place < test] = TEST
    return result


def folds(source_id: NDArray[np.int64], *, seed: int, count: int) -> NDArray[np.int64]:
    """Draw which of `count` folds each star (B,) belongs to, by (seed, source_id)."""
    drawn: NDArray[np.int64] = np.floor(uniform(_FOLDS, seed, source_id)[: len(source_id)] * count).astype(np.int64)
    return drawn


def left_out(member: int, ensemble: int) -> tuple[int, int]:
    """Return the fold that a member of an ensemble never trains on, and the number of folds, each left out by some member.

    What a member says of these stars is as honest as of any other star that never taught it.
    """
    count = max(2, min(ensemble, MOST_FOLDS))
    return member % count, count


def _stratum(values: NDArray[np.float64], bounds: tuple[float, ...]) -> NDArray[np.int64]:
    return np.where(np.isfinite(values), np.digitize(values, bounds), len(bounds) + 1)
