"""Tell how far a star lies from those that a translation was trained on, as a score and pair by pair.

A network answers for any star; what it says of one unlike its training stars is extrapolation. Shape legend: N training stars,
B stars, D inputs, K outputs, P = D (D - 1) / 2 pairs of inputs in the order of ``itertools.combinations``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NEIGHBOURS = 8
# Share of the training stars, each left out in turn, that the score calls covered.
COVERED = 0.995
# Bins per axis of the published guard, between the smallest and the largest training star.
BINS = 30
# Half the distance between them is a robust standard deviation; values beyond `_FAR` of it do not bend the principal axes.
_SPREAD, _FAR = (16, 84), 5.0
# Inputs that depend on each other entirely leave an axis without any spread: variances are at least this share of the largest.
_THIN = 1e-4
# A star closer than this to a training star is that star; also keeps logarithms of distances finite.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Grid:
    """Where stars of a training set lie: range of every column, and the occupied bins of every pair of columns.

    Attributes
    ----------
    low, high
        Shape (D,), in physical units.
    occupied
        Shape (P, BINS, BINS), True where at least one training star lies.
    """

    low: FloatArray
    high: FloatArray
    occupied: BoolArray

    def pairs_outside(self, values: FloatArray) -> BoolArray:
        """Tell for each pair of columns whether (B, D) values lie in a bin without a training star; shape (B, P)."""
        bins, inside = _bins(values, self.low, self.high)
        outside = np.ones((len(values), len(self.occupied)), dtype=bool)
        for at, (a, b) in enumerate(combinations(range(values.shape[1]), 2)):
            outside[:, at] = ~(inside[:, a] & inside[:, b] & self.occupied[at, bins[:, a], bins[:, b]])
        return outside

    def range_outside(self, values: FloatArray) -> BoolArray:
        """Tell for each of (B, D) values whether it is missing, or smaller or larger than in any training star."""
        return ~_bins(values, self.low, self.high)[1]


@dataclass(frozen=True, eq=False)
class Domain:
    """What the training stars of one network cover.

    Attributes
    ----------
    centre, axes
        Medians of the inputs, shape (D,), and the matrix (D, D) that turns differences from them into standard deviations along
        the principal axes of the training stars.
    stars
        Complete training stars in these units, shape (N, D).
    spacing
        Of each of them: how far its own neighbours are, shape (N,).
    limit
        What counts as 1 in the score.
    inputs, outputs
        The published guard: occupied bins of pairs.
    """

    centre: FloatArray
    axes: FloatArray
    stars: FloatArray
    spacing: FloatArray
    limit: float
    inputs: Grid
    outputs: Grid

    @cached_property
    def _tree(self) -> Any:
        return cKDTree(self.stars)

    def score(self, inputs: FloatArray) -> FloatArray:
        """Return the distance of stars from the training stars, over the largest that counts as covered.

        The distance is the geometric mean of those to the `NEIGHBOURS` nearest training stars, over the root of how far these
        are from their own neighbours: halfway between an absolute distance, which opens gaps between populations wherever
        another is thin, and a relative one, which lets a lonely star cover much. It is 0 for a training star.

        Parameters
        ----------
        inputs
            Shape (B, D), physical units, NaN where missing.

        Returns
        -------
        numpy.ndarray
            Shape (B,). At most 1 is covered; NaN where an input is missing.

        Raises
        ------
        ValueError
            If the number of inputs differs from that of the training.
        """
        _require_width(inputs, len(self.centre), "inputs")
        score = np.full(len(inputs), np.nan)
        complete = np.isfinite(inputs).all(axis=1)
        if complete.any():
            distance, star = self._tree.query(_standard(inputs[complete], self.centre, self.axes), k=NEIGHBOURS)
            known = np.where(distance[:, 0] <= _SAME, 0.0, 1.0)
            score[complete] = known * _loneliness(distance, self.spacing[star]) / self.limit
        return score

    def input_pairs_outside(self, inputs: FloatArray) -> BoolArray:
        """Tell which pairs of (B, D) inputs lie where no training star does, shape (B, P); a missing input lies outside."""
        _require_width(inputs, len(self.inputs.low), "inputs")
        return self.inputs.pairs_outside(inputs)

    def outputs_outside(self, outputs: FloatArray) -> BoolArray:
        """Tell which pairs of (B, K) outputs lie where those of no training star do, shape (B, K (K - 1) / 2).

        A single output has no pairs: its range is tested instead, shape (B, 1). (The published flag takes a product over its
        no pairs, and is true for every star.)
        """
        _require_width(outputs, len(self.outputs.low), "outputs")
        single = outputs.shape[1] == 1
        return self.outputs.range_outside(outputs) if single else self.outputs.pairs_outside(outputs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it as contiguous arrays by name; `domain_from` reads them back."""
        held: dict[str, NDArray[Any]] = {"centre": self.centre, "axes": self.axes, "stars": self.stars}
        held |= {"spacing": self.spacing, "limit": np.array([self.limit])}
        for side, grid in (("inputs", self.inputs), ("outputs", self.outputs)):
            held |= {f"{side}_low": grid.low, f"{side}_high": grid.high}
            held[f"{side}_occupied"] = np.packbits(grid.occupied.reshape(len(grid.occupied), BINS * BINS), axis=1)
        return {name: np.ascontiguousarray(array) for name, array in held.items()}


def domain_from(arrays: Mapping[str, NDArray[Any]]) -> Domain:
    """Return the domain that `Domain.arrays` were taken from; it answers equal bit for bit.

    Raises
    ------
    ValueError
        If an array is missing.
    """
    sides = [f"{side}_{part}" for side in ("inputs", "outputs") for part in ("low", "high", "occupied")]
    missing = sorted({"centre", "axes", "stars", "spacing", "limit", *sides} - set(arrays))
    if missing:
        raise ValueError(f"the domain of a translation lacks the arrays {', '.join(missing)}; train the model again")

    def grid(side: str) -> Grid:
        packed = arrays[f"{side}_occupied"]
        bits = np.unpackbits(packed, axis=1, count=BINS * BINS)
        return Grid(arrays[f"{side}_low"], arrays[f"{side}_high"], bits.astype(bool).reshape(-1, BINS, BINS))

    limit = float(arrays["limit"][0])
    own = (arrays["centre"], arrays["axes"], arrays["stars"], arrays["spacing"])
    return Domain(*own, limit, grid("inputs"), grid("outputs"))


def fit_domain(inputs: FloatArray, outputs: FloatArray) -> Domain:
    """Learn what training stars cover.

    Parameters
    ----------
    inputs
        Shape (N, D), physical units, NaN where missing. Stars with a missing input count for the pairs of the others only.
    outputs
        Of the same stars on the other base, shape (N, K), NaN where missing.

    Raises
    ------
    ValueError
        If fewer than `NEIGHBOURS` + 1 stars have all inputs, or an output is missing in all stars.

    Notes
    -----
    The published guard [1]_ keeps a 30 x 30 histogram of every pair and accepts a star whose every pair lies in an occupied bin.
    It is kept here with its last bins closed on the right; as released, it rejects training stars that hold a maximum.

    References
    ----------
    .. [1] Thomas et al. 2024, A&A 690, A54, doi:10.1051/0004-6361/202450198.
    """
    complete = inputs[np.isfinite(inputs).all(axis=1)]
    if len(complete) <= NEIGHBOURS:
        raise ValueError(
            f"found {len(complete)} training stars with all {inputs.shape[1]} inputs out of {len(inputs)}, expected more than "
            f"{NEIGHBOURS}; loosen the cuts of the translation or ingest more common stars"
        )
    centre = np.median(complete, axis=0)
    axes = _axes(complete - centre)
    stars = _standard(complete, centre, axes)
    # The nearest neighbour of a training star is itself, or one with equal inputs: leave one out.
    distance, star = cKDTree(stars).query(stars, k=np.arange(2, NEIGHBOURS + 2))
    spacing = _geometric_mean(distance)
    limit = float(np.quantile(_loneliness(distance, spacing[star]), COVERED))
    return Domain(centre, axes, stars, spacing, limit, _grid(inputs, "input"), _grid(outputs, "output"))


def _axes(difference: FloatArray) -> FloatArray:
    low, high = np.percentile(difference, _SPREAD, axis=0)
    scale = np.where(high > low, (high - low) / 2, 1.0)
    variance, direction = np.linalg.eigh(np.cov(np.clip(difference / scale, -_FAR, _FAR), rowvar=False).reshape(len(scale), -1))
    axes: FloatArray = direction / scale[:, np.newaxis] / np.sqrt(np.maximum(variance, max(_THIN * variance.max(), _SAME)))
    return axes


def _standard(inputs: FloatArray, centre: FloatArray, axes: FloatArray) -> FloatArray:
    # Not a product of matrices, whose sums run in another order for another number of rows.
    standard: FloatArray = ((inputs - centre)[:, :, np.newaxis] * axes).sum(axis=1)
    return standard


def _loneliness(distance: FloatArray, spacing: FloatArray) -> FloatArray:
    """Reduce distances (B, NEIGHBOURS) of neighbours, and the spacing around each of these, to (B,)."""
    return _geometric_mean(distance) / np.sqrt(_geometric_mean(spacing))


def _geometric_mean(distance: FloatArray) -> FloatArray:
    mean: FloatArray = np.exp(np.log(np.maximum(distance, _SAME)).mean(axis=1))
    return mean


def _grid(values: FloatArray, what: str) -> Grid:
    finite = np.isfinite(values)
    empty = np.flatnonzero(~finite.any(axis=0))
    if len(empty):
        raise ValueError(f"{what} {empty[0]} of {values.shape[1]} is missing in all {len(values)} training stars, expected some")
    low = np.min(values, axis=0, where=finite, initial=np.inf)
    high = np.max(values, axis=0, where=finite, initial=-np.inf)
    bins, inside = _bins(values, low, high)
    pairs = list(combinations(range(values.shape[1]), 2))
    occupied = np.zeros((len(pairs), BINS, BINS), dtype=bool)
    for at, (a, b) in enumerate(pairs):
        both = inside[:, a] & inside[:, b]
        occupied[at, bins[both, a], bins[both, b]] = True
    return Grid(low, high, occupied)


def _bins(values: FloatArray, low: FloatArray, high: FloatArray) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the bin of each value, and whether it lies in the range; the bin of one that does not is 0."""
    inside: BoolArray = (values >= low) & (values <= high)
    part = (np.where(inside, values, low) - low) / np.where(high > low, high - low, 1.0)
    return np.minimum((part * BINS).astype(np.int64), BINS - 1), inside


def _require_width(values: FloatArray, width: int, what: str) -> None:
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(
            f"found {what} of shape {values.shape}, expected (B, {width}), the {what} that the domain was trained on"
        )
