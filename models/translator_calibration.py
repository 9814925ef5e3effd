"""Calibrate a translation on unseen stars: how much of the correction pays, how wide percentiles are, how large e_* is.

Shape legend: N stars, those of the select split first, E networks of the ensemble, K labels.
"""

from dataclasses import replace

import numpy as np

from models.masks import hashed, text_key
from models.translation_split import SELECT, TRAIN, folds, left_out
from models.translator import TrainedNetwork, Translator, corrections, parts
from models.translator_noise import Translated, translated
from models.translator_rows import BoolArray, FloatArray, IntArray, Measured, inputs, scaled
from models.translator_stars import CommonStars, with_typical
from models.translator_widths import widths

CALIBRATION_REALISATIONS = 200
# Stars by which the widths of percentiles are calibrated, at most.
CALIBRATION_STARS = 10_000
# Stars that choose gates, at least: where the select split has fewer, left-out training stars make up for them. Few members
# know nothing of these, and the scatter of few calls for smaller gates than the mean of all.
GATE_STARS = 1_000
GATES = np.linspace(0.0, 1.0, 21)
# A correction must lower the mean square by this many standard errors, or it is left out. Chance alone rarely reaches one: the
# best share of pure noise gains half as many standard errors as it deviates from none.
PAYS = 1.0
# Residuals beyond this many robust sigma count as if they lay there.
OUTLIER = 4.0
# Stars per group whose mean residual e_* should cover, at least.
STARS_PER_CELL = 30
_CALIBRATION = text_key("translation calibration")
_SPREADS = ("scatter", "spread")


def calibrated(draft: Translator, stars: CommonStars) -> Translator:
    """Choose what of the corrections to apply, then widths of percentiles and sizes of systematic errors.

    Each star is asked of those members only that never saw it: all of them on the select split, and on the training split
    those that left out its fold, which is what makes a hundred common stars enough.
    """
    select = np.flatnonzero(stars.part == SELECT)
    training = np.flatnonzero(stars.part == TRAIN)
    order = np.argsort(hashed(_CALIBRATION, draft.seed, stars.measured.source_id[training]))
    chosen = np.concatenate([select, training[order[: max(0, CALIBRATION_STARS - len(select))]]])
    judged = Measured(
        stars.measured.source_id[chosen], stars.measured.columns, stars.measured.values[chosen], stars.measured.errors[chosen]
    )
    columns = [[judged.columns.index(name) for name in network.outputs] for network in draft.networks]
    wanted, errors, usable = (array[chosen] for array in (stars.targets, stars.target_errors, stars.usable))
    first, choosing = slice(0, len(select)), slice(0, max(len(select), GATE_STARS))
    unseen = _unseen(judged.source_id, len(select), draft)
    typical = [with_typical(one, stars.part == TRAIN)[chosen] for one in (stars.measured.errors, stars.target_errors)]

    def weight_of(network: TrainedNetwork, at: list[int]) -> FloatArray:
        floor = draft.config.error_floor * network.output_scale
        weight = 1.0 / (typical[0][:, at] ** 2 + typical[1][:, at] ** 2 + floor**2)
        return np.where(usable[:, at], weight, 0.0)[choosing]

    gated = replace(
        draft,
        networks=tuple(
            _gated(
                network,
                inputs(judged.values[choosing], judged.columns, network.inputs),
                unseen[:, choosing],
                wanted[choosing, at],
                weight_of(network, at),
            )
            for network, at in zip(draft.networks, columns, strict=True)
        ),
    )
    found = [results for _, results in translated(judged, gated, realisations=CALIBRATION_REALISATIONS)]
    result_networks = []
    for number, (network, at) in enumerate(zip(gated.networks, columns, strict=True)):
        values = inputs(judged.values, judged.columns, network.inputs)
        honest = _honest(corrections(network, values), unseen)
        spreads = (np.concatenate([getattr(passed[number], name) for passed in found]) for name in _SPREADS)
        result = Translated(judged.values[:, at] + honest, *spreads)
        # Only stars whose own errors are known tell how wide an interval must be.
        known = usable[:, at] & np.isfinite(errors[:, at]) & np.isfinite(judged.errors[:, at])
        of_select = Translated(result.values[first], result.scatter[first], result.spread[first])
        cells = groups(scaled(values[first], network.scaling)[0].astype(np.float64))
        floor, stretch = widths(result, wanted[:, at], errors[:, at], known)
        calibration = replace(
            network.calibration,
            floor=floor,
            stretch=stretch,
            inflation=inflations(of_select, wanted[first, at], usable[first, at], cells),
        )
        result_networks.append(replace(network, calibration=calibration))
    return replace(gated, networks=tuple(result_networks))


def _unseen(source_id: IntArray, select: int, translator: Translator) -> FloatArray:
    """Return 1 where a member of the ensemble never saw a star and else 0, shape (E, N); the first `select` nobody saw."""
    size = translator.config.ensemble
    unseen = np.ones((size, len(source_id)))
    for member in range(size):
        fold, count = left_out(member, size)
        unseen[member, select:] = folds(source_id[select:], seed=translator.seed, count=count) == fold
    return unseen


def _honest(answers: FloatArray, unseen: FloatArray) -> FloatArray:
    """Return the mean (N, K) of the answers (E, N, K) of the members that never saw a star."""
    mean: FloatArray = np.einsum("enk,en->nk", answers, unseen / unseen.sum(axis=0))
    return mean


def _gated(
    network: TrainedNetwork, values: FloatArray, unseen: FloatArray, wanted: FloatArray, weight: FloatArray
) -> TrainedNetwork:
    own = [network.inputs.index(name) for name in network.outputs]
    said = [parts(network, member, values) for member in range(len(network.members))]
    quadratic, of_network = (_honest(np.stack(one), unseen) for one in zip(*said, strict=True))
    offset = _honest(np.repeat(network.offsets[:, np.newaxis], len(values), axis=1), unseen)
    level, gate = gates(wanted - values[:, own] - offset, quadratic, of_network, weight)
    return replace(network, calibration=replace(network.calibration, level=level, gate=gate))


def gates(
    residual: FloatArray, quadratic: FloatArray, of_network: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Choose for each label which of the two corrections to apply, and which share of it.

    Parameters
    ----------
    residual
        Difference to base B with only the mean offset applied, shape (N, K).
    quadratic, of_network
        What the quadratic level and the networks would take from it, shape (N, K).
    weight
        Inverse variance of the residual, shape (N, K); 0 where a label does not count.

    Returns
    -------
    level, gate : numpy.ndarray
        Shape (K,): the best of `GATES` for one of the two and 0 for the other, or 0 for both where the best is not better than
        none by `PAYS` standard errors.
    """
    level, gate = np.zeros(residual.shape[1]), np.zeros(residual.shape[1])
    pairs = [(a, 0.0) for a in GATES] + [(0.0, b) for b in GATES]
    for at in range(residual.shape[1]):
        good = weight[:, at] > 0
        before = residual[good, at]
        if len(before) < 2:
            continue
        share = weight[good, at] / weight[good, at].sum()
        limit = OUTLIER * max(float(np.subtract(*np.percentile(before, (84, 16)))) / 2, 1e-12)

        def squares(pair: tuple[float, float], at: int = at, good: BoolArray = good, limit: float = limit) -> FloatArray:
            left = residual[good, at] - pair[0] * quadratic[good, at] - pair[1] * of_network[good, at]
            return _clipped(left, limit)

        best = min(pairs, key=lambda pair, share=share: float(share @ squares(pair)))  # type: ignore[misc]
        gain = squares((0.0, 0.0)) - squares(best)
        if share @ gain > PAYS * np.sqrt((share**2 * (gain - share @ gain) ** 2).sum()):
            level[at], gate[at] = best
    return level, gate


def _clipped(residual: FloatArray, limit: float) -> FloatArray:
    return np.clip(residual - np.median(residual), -limit, limit) ** 2


def inflations(found: Translated, targets: FloatArray, usable: BoolArray, cells: FloatArray) -> FloatArray:
    """Return the factor of the scatter over the ensemble for each label, shape (K,), at least 1.

    The mean residual of a group of similar stars is wrong by more than its standard error only if the translation is. The
    squares of what is more are compared with the mean variance over the ensemble.

    Parameters
    ----------
    cells
        Number of the group of each star, shape (N,).
    """
    result = np.ones(targets.shape[1])
    for at in range(targets.shape[1]):
        excess, variance = 0.0, 0.0
        for cell in np.unique(cells):
            good = usable[:, at] & (cells == cell)
            count = int(good.sum())
            if count < 3:
                continue
            residual = targets[good, at] - found.values[good, at]
            excess += count * (residual.mean() ** 2 - residual.var(ddof=1) / count)
            variance += float((found.scatter[good, at] ** 2).sum())
        if variance > 0:
            result[at] = max(1.0, np.sqrt(max(excess, 0.0) / variance))
    return result


def groups(x: FloatArray) -> FloatArray:
    """Cut stars (N, D) into groups of similar scaled inputs, at least `STARS_PER_CELL` each; numbers (N,).

    Each group is halved at the median of the input in which it spreads most.
    """
    numbers = np.zeros(len(x))
    stack = [np.arange(len(x))]
    count = 0
    while stack:
        rows = stack.pop()
        if len(rows) < 2 * STARS_PER_CELL:
            numbers[rows] = count
            count += 1
            continue
        widest = x[rows][:, x[rows].std(axis=0).argmax()]
        order = rows[np.argsort(widest, kind="stable")]
        stack += [order[: len(order) // 2], order[len(order) // 2 :]]
    return numbers
