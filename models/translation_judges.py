"""Choose who judges a translation, and translate these stars in every way: not at all, by a quadratic ridge, by networks.

Shape legend: N common stars, B stars of the test split, K labels of one network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.columns.spectrotranslator import PERCENTILES
from models.baselines import NOTHING, RIDGE, Baselines, baselines
from models.translation_split import TEST, TRAIN
from models.translator import TrainedNetwork, Translator
from models.translator_predict import translate
from models.translator_rows import BoolArray, FloatArray, IntArray, inputs
from models.translator_stars import CommonStars, common_stars

OURS = "ours"
METHODS = (NOTHING, RIDGE, OURS)
_MAD = 1.4826  # of a normal distribution, from the median absolute deviation to sigma


@dataclass(frozen=True, eq=False)
class Judged:
    """One label of the stars that judge, shape (B,) each: all of them have it on both bases and pass its cuts.

    Attributes
    ----------
    name, unit
        Of the label.
    source, reference
        What base A and base B say.
    reference_error
        NaN where base B does not tell.
    weight
        Inverse variance of their difference, with a floor.
    estimates
        By method.
    percentiles
        Of ours, shape (B, 5).
    metallicity, gravity
        Of base A [dex], NaN where missing.
    score
        Of the domain of our network, NaN where an input is missing.
    truth
        Label on base B without noise, if stars are synthetic; else None.
    untranslated
        How many more stars would judge, had we translated them.
    """

    name: str
    unit: str
    source_id: IntArray
    source: FloatArray
    reference: FloatArray
    reference_error: FloatArray
    weight: FloatArray
    estimates: Mapping[str, FloatArray]
    percentiles: FloatArray
    metallicity: FloatArray
    gravity: FloatArray
    score: FloatArray
    truth: FloatArray | None
    untranslated: int

    def __len__(self) -> int:
        return len(self.source_id)


def judged(
    table: pa.Table, translator: Translator, *, realisations: int = 200, truth: Mapping[str, NDArray[np.float64]] | None = None
) -> tuple[Judged, ...]:
    """Translate the stars of the test split in every way, label by label in the order of the translation.

    Parameters
    ----------
    table
        The table that the translator was trained on (see `models.translator_fit.train`).
    truth
        By label, what base B would say without noise, one per row of the table; of synthetic stars only.

    Raises
    ------
    ValueError
        As `models.translator_stars.common_stars`.
    """
    stars = common_stars(table, translator.translation, translator.config, seed=translator.seed)
    test = np.flatnonzero(stars.part == TEST)
    ids = table["source_id"].to_numpy()
    order = np.argsort(ids)
    rows = order[np.searchsorted(ids[order], stars.measured.source_id[test])]
    said = translate(table.take(rows), translator, realisations=realisations)
    labels = {label.name: label for label in translator.translation.labels}
    found: dict[str, Judged] = {}
    for network in translator.networks:
        own = [stars.measured.columns.index(name) for name in network.outputs]
        ridge, weight = _ridge(stars, network, own, translator.config.error_floor)
        for k, name in enumerate(network.outputs):
            at = own[k]
            source = stars.measured.values[test, at]
            percentiles = np.stack([_numbers(said, f"{name}_p{percent:02d}") for percent in PERCENTILES], axis=1)
            estimates = {method: source + correction[:, k] for method, correction in ridge.correction.items()}
            one = Judged(
                name,
                labels[name].unit,
                stars.measured.source_id[test],
                source,
                stars.targets[test, at],
                stars.target_errors[test, at],
                weight[test, k],
                estimates | {OURS: percentiles[:, PERCENTILES.index(50)]},
                percentiles,
                _label(stars, "metallicity", test),
                _label(stars, "logg", test),
                _numbers(said, f"{network.name}_domain_score"),
                None if truth is None else truth[name][rows],
                0,
            )
            found[name] = _kept(one, stars.usable[test, at])
    return tuple(found[name] for name in labels)


def scatter(residual: FloatArray) -> float | None:
    """Return 1.4826 times the median absolute deviation from the median; None of less than two values."""
    if len(residual) < 2:
        return None
    return float(_MAD * np.median(np.abs(residual - np.median(residual))))


def _ridge(stars: CommonStars, network: TrainedNetwork, own: list[int], floor: float) -> tuple[Baselines, FloatArray]:
    """Return the baselines of the test split for the labels of a network, and weights of all stars, shape (N, K)."""
    values = inputs(stars.measured.values, stars.measured.columns, network.inputs)
    train, test = stars.part == TRAIN, stars.part == TEST
    delta = np.where(stars.usable[:, own], stars.targets[:, own] - stars.measured.values[:, own], np.nan)
    variance = np.zeros_like(delta)
    for errors in (stars.measured.errors[:, own], stars.target_errors[:, own]):
        variance += np.where(np.isfinite(errors), errors, _median(errors[train])) ** 2
    scale = np.array([scatter(one[np.isfinite(one)]) or 1.0 for one in delta[train].T])
    weight = 1.0 / (variance + (floor * scale) ** 2)
    return baselines(values[train], delta[train], weight[train], values[test]), weight


def _median(errors: FloatArray) -> FloatArray:
    """Return the median of each column (N, K), 0 where no star has one."""
    return np.array([np.median(one[np.isfinite(one)]) if np.isfinite(one).any() else 0.0 for one in errors.T])


def _label(stars: CommonStars, name: str, rows: IntArray) -> FloatArray:
    columns = stars.measured.columns
    return stars.measured.values[rows, columns.index(name)] if name in columns else np.full(len(rows), np.nan)


def _kept(one: Judged, usable: BoolArray) -> Judged:
    """Keep the stars that judge this label, and that every method translates."""
    kept = usable & np.isfinite(one.percentiles).all(axis=1)
    fields = ("source_id", "source", "reference", "reference_error", "weight", "percentiles", "metallicity", "gravity", "score")
    return replace(
        one,
        **{name: getattr(one, name)[kept] for name in fields},
        estimates={method: values[kept] for method, values in one.estimates.items()},
        truth=None if one.truth is None else one.truth[kept],
        untranslated=int((usable & ~kept).sum()),
    )


def _numbers(table: pa.Table, name: str) -> FloatArray:
    values: FloatArray = table[name].cast(pa.float64()).to_numpy()
    return values
