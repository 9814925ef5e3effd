"""Tell which inputs a translation lives on: permute them among stars, group by group, and see how much worse it gets.

Inputs that say the same, as temperature and the colours do, would cover for each other one by one, so they are permuted
together. Shape legend: B stars, D inputs, K labels, R repeats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from models.masks import hashed, text_key
from models.translation_judges import Judged
from models.translation_split import TEST
from models.translator import TrainedNetwork, Translator, corrections
from models.translator_rows import FloatArray, IntArray, inputs
from models.translator_stars import common_stars

REPEATS = 5
# Inputs whose ranks correlate more than this are one group.
CORRELATED = 0.8
_STREAM = text_key("importance")


@dataclass(frozen=True, eq=False)
class Sample:
    """Stars of the test split, on which importance is measured.

    Attributes
    ----------
    source_id
        Shape (B,).
    names, inputs
        D inputs and their values, shape (B, D), NaN where missing; a missing value is permuted like any other.
    labels, reference, weight
        K labels, their values on the base translated to, and inverse variances, shape (B, K); NaN in either does not count.
    """

    source_id: IntArray
    names: tuple[str, ...]
    inputs: FloatArray
    labels: tuple[str, ...]
    reference: FloatArray
    weight: FloatArray


def importance(
    predict: Callable[[FloatArray], FloatArray], stars: Sample, *, seed: int = 0, repeats: int = REPEATS
) -> dict[str, Any]:
    """Measure by how much the weighted rms residual rises when a group of inputs is permuted among the stars.

    Parameters
    ----------
    predict
        Gives labels (B, K) for inputs (B, D), NaN where it cannot tell.
    stars
        Who gets whose value depends on their ids, the seed, the repeat and the group alone, not on the order of rows.

    Returns
    -------
    dict
        Ready for JSON. ``groups``: lists of names; ``labels``: per label ``rms`` as it is, and per group ``rise`` of the rms in
        the label's unit, its ``rise_error`` (standard deviation over repeats over their root) and its ``share`` of all rises;
        None where nothing can be said.
    """
    groups = correlated_groups(stars.inputs)
    named = [[stars.names[at] for at in group] for group in groups]
    base = _rms(predict(stars.inputs), stars)
    rises = np.zeros((len(groups), repeats, len(stars.labels)))
    for at, group in enumerate(groups):
        for repeat in range(repeats):
            permuted = stars.inputs.copy()
            stream = (_STREAM, seed, repeat, text_key(" ".join(named[at])))
            permuted[:, group] = stars.inputs[_neighbour(hashed(*stream, stars.source_id))][:, group]
            rises[at, repeat] = _rms(predict(permuted), stars) - base
    rise, error = rises.mean(axis=1), rises.std(axis=1) / np.sqrt(repeats)
    gain = np.maximum(rise, 0.0)
    total = gain.sum(axis=0)
    share = gain / np.where(total > 0, total, np.nan)
    found = {
        label: {"rms": _number(base[k])}
        | {what: [_number(one) for one in of[:, k]] for what, of in (("rise", rise), ("rise_error", error), ("share", share))}
        for k, label in enumerate(stars.labels)
    }
    return {"groups": named, "labels": found}


def importances(labels: Sequence[Judged], table: pa.Table, translator: Translator, *, repeats: int = 5) -> dict[str, Any]:
    """Return the importance of the inputs of each network, on the stars of the test split (see `importance`).

    Returns
    -------
    dict
        Network -> ``labels``, where the label that base A gives is permuted with the other inputs, and ``correction``, where
        each star keeps it and only what the network reads to correct it is permuted.
    """
    stars = common_stars(table, translator.translation, translator.config, seed=translator.seed)
    by_name = {one.name: one for one in labels}
    found: dict[str, Any] = {}
    test = np.flatnonzero(stars.part == TEST)
    for network in translator.networks:
        values = inputs(stars.measured.values[test], stars.measured.columns, network.inputs)
        own = [network.inputs.index(name) for name in network.outputs]
        reference = np.full((len(test), len(own)), np.nan)
        weight = np.full_like(reference, np.nan)
        for k, name in enumerate(network.outputs):
            at = np.searchsorted(stars.measured.source_id[test], by_name[name].source_id)
            reference[at, k], weight[at, k] = by_name[name].reference, by_name[name].weight
        sample = Sample(stars.measured.source_id[test], network.inputs, values, network.outputs, reference, weight)

        def corrected(x: FloatArray, network: TrainedNetwork = network) -> FloatArray:
            mean: FloatArray = corrections(network, x).mean(axis=0)
            return mean

        def whole(x: FloatArray, own: list[int] = own, apply: Callable[[FloatArray], FloatArray] = corrected) -> FloatArray:
            return x[:, own] + apply(x)

        def kept(
            x: FloatArray, held: FloatArray = values[:, own], apply: Callable[[FloatArray], FloatArray] = corrected
        ) -> FloatArray:
            return held + apply(x)

        found[network.name] = {
            "labels": importance(whole, sample, seed=translator.seed, repeats=repeats),
            "correction": importance(kept, sample, seed=translator.seed, repeats=repeats),
        }
    return found


def correlated_groups(inputs: FloatArray) -> list[list[int]]:
    """Group inputs (B, D) whose Spearman correlation, over complete stars, is above `CORRELATED` on average either way.

    Returns
    -------
    list of list of int
        Positions, each once; groups by their first. An input that does not vary is a group of its own.
    """
    complete = inputs[np.isfinite(inputs).all(axis=1)]
    columns = inputs.shape[1]
    if columns == 1 or len(complete) < 3:
        return [[at] for at in range(columns)]
    ranks = rankdata(complete, axis=0)
    ranks -= ranks.mean(axis=0)
    norm = np.sqrt((ranks**2).sum(axis=0))
    correlation = ranks.T @ ranks / np.where(norm > 0, norm, 1.0) / np.where(norm > 0, norm, 1.0)[:, np.newaxis]
    distance = 1.0 - np.minimum(np.abs(correlation), 1.0)
    tree = linkage(squareform(distance, checks=False), "average")
    cluster = fcluster(tree, 1.0 - CORRELATED, "distance")
    found: dict[int, list[int]] = {}
    for at, one in enumerate(cluster.tolist()):
        found.setdefault(one, []).append(at)
    return sorted(found.values())


def _neighbour(key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each star the position of the next one in the order of the keys: nobody keeps the own value."""
    order = np.argsort(key, kind="stable")
    neighbour = np.empty(len(key), dtype=np.int64)
    neighbour[order] = np.roll(order, -1)
    return neighbour


def _rms(estimate: FloatArray, stars: Sample) -> FloatArray:
    residual, weight = estimate - stars.reference, stars.weight
    counts = np.isfinite(residual) & np.isfinite(weight)
    squares = np.where(counts, weight * residual**2, 0.0).sum(axis=0)
    total = np.where(counts, weight, 0.0).sum(axis=0)
    rms: FloatArray = np.sqrt(squares / np.where(total > 0, total, np.nan))
    return rms


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
