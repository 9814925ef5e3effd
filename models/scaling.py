"""Measure the scale of every feature over a whole table, and apply it.

Each partition gives one small ``Statistics``; ``merge`` joins them in any grouping; ``finish`` turns
the last one into the ``Scaling`` that is stored with a model.

Shape legend: B rows, D values per row (see ``models.features``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np
from crick import TDigest
from numpy.typing import NDArray

from models.features import Batch, Feature, matrices, value_names, width

FloatArray = NDArray[np.float64]

# A robust standard deviation: the interquartile range of a unit Gaussian.
IQR_OF_GAUSSIAN = 1.349
# Rows read at once, so that memory does not grow with the partition.
ROWS_PER_SLICE = 65_536
LARGEST_VARIANCE = 1e12


@dataclass(frozen=True, eq=False)
class Statistics:
    """Hold mergeable statistics of D values over some rows; arrays are float64 of shape (D,).

    ``minimum`` and ``maximum`` are +inf and -inf where ``count`` is 0. It pickles to about 2 kB per
    value, so merge results as they arrive rather than gathering all of them.
    """

    features: tuple[Feature, ...]
    rows: int
    count: NDArray[np.int64]
    mean: FloatArray
    m2: FloatArray
    minimum: FloatArray
    maximum: FloatArray
    digests: tuple[TDigest, ...]


@dataclass(frozen=True, eq=False)
class Scaling:
    """Hold what scales D values, as arrays of shape (D,) in the unit of the transformed feature.

    ``centre`` is the median, ``scale`` the interquartile range / 1.349. A value with ``count`` 0 was
    never seen: it has centre 0 and scale 1 and is treated as missing wherever it turns up later,
    since the network has no weights trained for it.
    """

    features: tuple[Feature, ...]
    rows: int
    count: NDArray[np.int64]
    mean: FloatArray
    std: FloatArray
    minimum: FloatArray
    maximum: FloatArray
    centre: FloatArray
    scale: FloatArray

    @property
    def never_seen(self) -> tuple[str, ...]:
        """Names of the values that no row had."""
        return tuple(name for name, n in zip(value_names(self.features), self.count, strict=True) if n == 0)


def statistics(batch: Batch, features: tuple[Feature, ...]) -> Statistics:
    """Measure the statistics of one partition; a partition without rows is allowed.

    Missing values (null, NaN, infinite) are left out, value by value.

    Raises
    ------
    ValueError
        As ``models.features.matrices``.
    """
    starts = range(0, max(batch.num_rows, 1), ROWS_PER_SLICE)
    return reduce(merge, (_slice_statistics(batch.slice(s, ROWS_PER_SLICE), features) for s in starts))


def _slice_statistics(batch: Batch, features: tuple[Feature, ...]) -> Statistics:
    _, values, ivar = matrices(batch, features)
    size = width(features)
    count = np.zeros(size, dtype=np.int64)
    mean, m2 = np.zeros(size), np.zeros(size)
    minimum, maximum = np.full(size, np.inf), np.full(size, -np.inf)
    digests = tuple(TDigest() for _ in range(size))
    for d in range(size):
        # float64 before any sum: in float32 the spread of a column at 1e4 +- 3 is wrong by 19 %.
        column = values[ivar[:, d] > 0, d].astype(np.float64)
        if column.size:
            count[d], mean[d] = column.size, column.mean()
            m2[d] = np.square(column - mean[d]).sum()
            minimum[d], maximum[d] = column.min(), column.max()
            digests[d].update(column)
    return Statistics(features, batch.num_rows, count, mean, m2, minimum, maximum, digests)


def merge(left: Statistics, right: Statistics) -> Statistics:
    """Join the statistics of two sets of rows; associative, and neither argument is changed.

    With d = mean_b - mean_a: n = n_a + n_b, mean = mean_a + d n_b / n and
    M2 = M2_a + M2_b + d^2 n_a n_b / n (Chan, Golub & LeVeque 1983, Am. Stat. 37, 242); quantiles by
    merging t-digests (Dunning & Ertl 2019, arXiv:1902.04023), which is accurate to about 1e-3 of a
    rank rather than exact.

    Raises
    ------
    ValueError
        If the two were measured on different features.
    """
    if left.features != right.features:
        raise ValueError(
            f"cannot merge statistics of {width(left.features)} and {width(right.features)} values or of "
            "differently declared features; measure all partitions with one declaration"
        )
    count = left.count + right.count
    total = np.maximum(count, 1)
    delta = right.mean - left.mean
    return Statistics(
        features=left.features,
        rows=left.rows + right.rows,
        count=count,
        mean=left.mean + delta * right.count / total,
        m2=left.m2 + right.m2 + delta**2 * left.count * right.count / total,
        minimum=np.minimum(left.minimum, right.minimum),
        maximum=np.maximum(left.maximum, right.maximum),
        digests=tuple(map(_merged_digest, left.digests, right.digests)),
    )


def _merged_digest(left: TDigest, right: TDigest) -> TDigest:
    digest = TDigest()
    digest.merge(left, right)
    return digest


def finish(statistics: Statistics) -> Scaling:
    """Turn merged statistics into centre and scale.

    The scale falls back from IQR / 1.349 to the standard deviation, then to 1, where the former does
    not exceed 1e-9 of the centre (constant columns). Values never seen have 0 everywhere but scale 1.
    """
    seen = statistics.count > 0
    quartiles = np.array([digest.quantile([0.25, 0.5, 0.75]) for digest in statistics.digests]).reshape(-1, 3)
    low, centre, high = np.where(seen, quartiles.T, 0.0)
    std = np.sqrt(statistics.m2 / np.maximum(statistics.count, 1))
    iqr = (high - low) / IQR_OF_GAUSSIAN
    smallest = 1e-9 * np.abs(centre)
    scale = np.where(iqr > smallest, iqr, np.where(std > smallest, std, 1.0))
    return Scaling(
        features=statistics.features,
        rows=statistics.rows,
        count=statistics.count,
        mean=statistics.mean,
        std=std,
        minimum=np.where(seen, statistics.minimum, 0.0),
        maximum=np.where(seen, statistics.maximum, 0.0),
        centre=centre,
        scale=scale,
    )


def scaled(
    values: NDArray[np.float32], ivar: NDArray[np.float32], scaling: Scaling
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Scale and compress values and carry their variances along.

    x = asinh(z), z = (value - centre) / scale; sigma_x = (sigma / scale) / sqrt(1 + z^2), the
    Jacobian. asinh is linear within about one scale of the centre and logarithmic beyond: XP
    coefficients span five decades and keep their sign.

    Parameters
    ----------
    values, ivar : float32, shape (B, D)
        From ``models.features.matrices``.
    scaling : Scaling
        For the same D values.

    Returns
    -------
    x, variance : float32, shape (B, D)
        0 where missing.
    present : bool, shape (B, D)
        False where missing, or never seen by the scaling.
    """
    present = (ivar > 0) & (scaling.count > 0)
    z = (values.astype(np.float64) - scaling.centre) / scaling.scale
    precision = ivar.astype(np.float64) * np.square(scaling.scale) * (1.0 + np.square(z))
    variance = np.divide(1.0, precision, out=np.zeros_like(z), where=present)
    x = np.where(present, np.arcsinh(z), 0.0)
    return x.astype(np.float32), np.minimum(variance, LARGEST_VARIANCE).astype(np.float32), present


def scaling_to_json(scaling: Scaling) -> dict[str, Any]:
    """Spell a scaling in plain types, with floats that read back exactly."""
    arrays = {name: getattr(scaling, name).tolist() for name in _ARRAYS}
    return {
        "features": [asdict(feature) for feature in scaling.features],
        "rows": scaling.rows,
        "never_seen": list(scaling.never_seen),
        **arrays,
    }


def scaling_from_json(document: Mapping[str, Any]) -> Scaling:
    """Read back what ``scaling_to_json`` spelled.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an entry is missing, unknown, or not of length D.
    """
    features = tuple(Feature(**entry) for entry in document["features"])
    arrays: dict[str, Any] = {name: np.asarray(document[name], dtype=dtype) for name, dtype in _ARRAYS.items()}
    for name, array in arrays.items():
        if array.shape != (width(features),):
            raise ValueError(f"{name} has shape {array.shape}, expected ({width(features)},)")
    return Scaling(features=features, rows=int(document["rows"]), **arrays)


_ARRAYS: dict[str, type] = {"count": np.int64} | dict.fromkeys(
    ("mean", "std", "minimum", "maximum", "centre", "scale"), np.float64
)
