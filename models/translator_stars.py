"""Choose the common stars that teach a translation, and say what each of its networks learns from them.

Shape legend: N stars, L labels, D inputs and K labels of one network.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.translation import Translation
from models.translation_split import SELECT, TEST, TRAIN, split
from models.translator_config import TranslatorConfig
from models.translator_rows import (
    BoolArray,
    FloatArray,
    IntArray,
    Measured,
    inputs,
    measured,
    passes,
    require_known,
    said,
    targets,
)

_SPLITS = {"train": TRAIN, "select": SELECT, "test": TEST}


@dataclass(frozen=True, eq=False)
class CommonStars:
    """Common stars of two label tables that may teach, in the order of their ids.

    Parameters
    ----------
    measured : Measured
        On base A.
    targets, target_errors
        Labels of base B, shape (N, L), NaN where missing or cut.
    usable
        Shape (N, L): both labels are there, and the star passes the cuts of the label.
    part
        Shape (N,): split of each star.
    counts : dict of str to int
    """

    measured: Measured
    targets: FloatArray
    target_errors: FloatArray
    usable: BoolArray
    part: NDArray[np.int8]
    counts: dict[str, int]


def common_stars(table: pa.Table, translation: Translation, config: TranslatorConfig, *, seed: int) -> CommonStars:
    """Read the common stars that pass the cuts with at least one label on both bases, and split them.

    Raises
    ------
    ValueError
        If a column is missing, a source id occurs twice, or fewer than ``config.smallest_sample`` stars are left.
    """
    require_known(translation)
    stars = measured(table, translation)
    values, errors = targets(table, translation)
    labels = [label.name for label in translation.labels]
    usable = np.isfinite(values) & np.isfinite(stars.values[:, : len(labels)])
    counts = {"stars": table.num_rows, "without a label on both bases": int((~usable.any(axis=1)).sum())}
    for cut in translation.cuts:
        good = passes(table, cut)
        counts[f"fail {said(cut)}"] = int((~good).sum())
        concerned = np.array([not cut.labels or name in cut.labels for name in labels])
        usable &= good[:, np.newaxis] | ~concerned
    counts["usable"] = int(usable.any(axis=1).sum())
    counts |= {f"usable for {name}": int(usable[:, at].sum()) for at, name in enumerate(labels)}
    _require_enough(counts, translation, config)
    rows = np.flatnonzero(usable.any(axis=1))
    rows = rows[np.argsort(stars.source_id[rows], kind="stable")]
    kept = Measured(stars.source_id[rows], stars.columns, stars.values[rows], stars.errors[rows])
    by_name = {name: kept.values[:, at] for at, name in enumerate(labels)}
    unknown = np.full(len(rows), np.nan)
    part = split(
        kept.source_id,
        by_name.get("metallicity", unknown),
        by_name.get("logg", unknown),
        seed=seed,
        select=config.select_fraction,
        test=config.test_fraction,
    )
    counts |= {f"in {name} split": int((part == number).sum()) for name, number in _SPLITS.items()}
    return CommonStars(kept, values[rows], errors[rows], usable[rows], part, counts)


def _require_enough(counts: Mapping[str, int], translation: Translation, config: TranslatorConfig) -> None:
    least = min([counts["usable"], *(counts[f"usable for {label.name}"] for label in translation.labels)])
    if least < config.smallest_sample:
        found = "; ".join(f"{name}: {count} of {counts['stars']}" for name, count in counts.items() if name != "stars")
        raise ValueError(
            f"translation {translation.name!r}: too few of {counts['stars']} common stars teach, expected at least "
            f"{config.smallest_sample} for every label ({found}); ingest more of {translation.base_from} and "
            f"{translation.base_to}, or loosen the cuts in models.translation"
        )


def typical_errors(stars: CommonStars) -> FloatArray:
    """Return the median error of each measured column among training stars; 0 where no star has one."""
    training = stars.measured.errors[stars.part == TRAIN]
    known = np.isfinite(training).any(axis=0)
    typical = np.zeros(training.shape[1])
    typical[known] = np.nanmedian(training[:, known], axis=0)
    return typical


@dataclass(frozen=True, eq=False)
class Sample:
    """What one network learns from, in physical units.

    Parameters
    ----------
    source_id, part
        Shape (N,): stars and their splits.
    inputs, outputs : tuple of str
    values
        Inputs, shape (N, D), NaN where missing.
    targets, differences, variance, usable
        Labels of base B, what they exceed those of base A by, the summed squares of both errors, and whether the label counts,
        shape (N, K). Where it does not, the difference is 0.
    """

    source_id: IntArray
    part: NDArray[np.int8]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: FloatArray
    targets: FloatArray
    differences: FloatArray
    variance: FloatArray
    usable: BoolArray


def sample(stars: CommonStars, names: tuple[str, ...], outputs: tuple[str, ...]) -> Sample:
    """Return what a network with these inputs and outputs learns from: all stars with at least one of its labels."""
    columns = stars.measured.columns
    own = np.array([columns.index(name) for name in outputs])
    rows = np.flatnonzero(stars.usable[:, own].any(axis=1))
    usable = stars.usable[np.ix_(rows, own)]
    training = stars.part[rows] == TRAIN
    from_values, from_errors = (array[np.ix_(rows, own)] for array in (stars.measured.values, stars.measured.errors))
    to_values, to_errors = (array[np.ix_(rows, own)] for array in (stars.targets, stars.target_errors))
    # A star whose error nobody knows teaches like the typical one.
    variance = with_typical(from_errors, training) ** 2 + with_typical(to_errors, training) ** 2
    differences = np.where(usable, to_values - from_values, 0.0)
    return Sample(
        stars.measured.source_id[rows],
        stars.part[rows],
        names,
        outputs,
        inputs(stars.measured.values[rows], columns, names),
        to_values,
        differences,
        variance,
        usable,
    )


def with_typical(errors: FloatArray, training: BoolArray) -> FloatArray:
    """Return errors (N, K) with the median of the training stars (N,) where missing; 0 where none of them has one."""
    known = np.isfinite(errors)
    filled = np.zeros_like(errors)
    for at in range(errors.shape[1]):
        seen = errors[training & known[:, at], at]
        filled[:, at] = np.where(known[:, at], errors[:, at], np.median(seen) if len(seen) else 0.0)
    return filled
