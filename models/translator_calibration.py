"""Calibrate a translation on the select split: how much of the correction pays, how wide percentiles are, how large e_* is.

Shape legend: N stars of the select split, E networks of the ensemble, K labels.
"""

from dataclasses import replace

import numpy as np

from models.masks import hashed, text_key
from models.translation_split import SELECT, TRAIN, folds, left_out
from models.translator import TrainedNetwork, Translator, answers, corrections
from models.translator_noise import Translated, translated
from models.translator_rows import BoolArray, FloatArray, IntArray, Measured, inputs, scaled
from models.translator_stars import CommonStars
from models.translator_widths import widths

CALIBRATION_REALISATIONS = 200
# Stars by which the widths of percentiles are calibrated, at most.
CALIBRATION_STARS = 10_000
GATES = np.linspace(0.0, 1.0, 21)
# A correction must lower the mean square by this many standard errors, or it is left out.
PAYS = 2.0
# Residuals beyond this many robust sigma count as if they lay there.
OUTLIER = 4.0
# Stars per group whose mean residual e_* should cover, at least.
STARS_PER_CELL = 30
_CALIBRATION = text_key("translation calibration")
_SPREADS = ("scatter", "spread")


def calibrated(draft: Translator, stars: CommonStars) -> Translator:
    """Choose gates on the select split, then widths of percentiles and sizes of systematic errors."""
    select = np.flatnonzero(stars.part == SELECT)
    training = np.flatnonzero(stars.part == TRAIN)
    # Training stars tell as well, if only those members are asked that never saw them.
    order = np.argsort(hashed(_CALIBRATION, draft.seed, stars.measured.source_id[training]))
    chosen = np.concatenate([select, training[order[: max(0, CALIBRATION_STARS - len(select))]]])
    judged = Measured(
        stars.measured.source_id[chosen], stars.measured.columns, stars.measured.values[chosen], stars.measured.errors[chosen]
    )
    columns = [[judged.columns.index(name) for name in network.outputs] for network in draft.networks]
    wanted, errors, usable = (array[chosen] for array in (stars.targets, stars.target_errors, stars.usable))
    first = slice(0, len(select))
    gated = replace(
        draft,
        networks=tuple(
            _gated(network, judged.values[first], judged.columns, wanted[first, at], usable[first, at])
            for network, at in zip(draft.networks, columns, strict=True)
        ),
    )
    unseen = _unseen(judged.source_id, len(select), gated)
    found = [results for _, results in translated(judged, gated, realisations=CALIBRATION_REALISATIONS)]
    result_networks = []
    for number, (network, at) in enumerate(zip(gated.networks, columns, strict=True)):
        values = inputs(judged.values, judged.columns, network.inputs)
        honest = np.average(corrections(network, values), axis=0, weights=np.repeat(unseen[:, :, None], len(at), axis=2))
        parts = [results[number] for results in found]
        result = Translated(judged.values[:, at] + honest, *(np.concatenate([getattr(p, f) for p in parts]) for f in _SPREADS))
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


def _gated(
    network: TrainedNetwork, measured_values: FloatArray, columns: tuple[str, ...], wanted: FloatArray, usable: BoolArray
) -> TrainedNetwork:
    values = inputs(measured_values, columns, network.inputs)
    x, present = scaled(values, network.scaling)
    own = [network.inputs.index(name) for name in network.outputs]
    residual = wanted - values[:, own] - network.offsets.mean(axis=0)
    mean = np.mean([answers(member, x, present) for member in network.members], axis=0) * network.output_scale
    return replace(network, calibration=replace(network.calibration, gate=gates(residual, mean, usable)))


def gates(residual: FloatArray, corrected: FloatArray, usable: BoolArray) -> FloatArray:
    """Choose for each label which share of the networks' correction to apply.

    Parameters
    ----------
    residual
        Difference to base B with only the mean offset applied, shape (N, K).
    corrected
        What the networks would take from it, shape (N, K).
    usable
        Shape (N, K).

    Returns
    -------
    numpy.ndarray
        Shape (K,): the best of `GATES`, or 0 where it is not better than none by `PAYS` standard errors.
    """
    chosen = np.zeros(residual.shape[1])
    for at in range(residual.shape[1]):
        good = usable[:, at]
        before = residual[good, at]
        if len(before) < 2:
            continue
        limit = OUTLIER * max(float(np.subtract(*np.percentile(before, (84, 16)))) / 2, 1e-12)
        squares = np.stack([_clipped(before - gate * corrected[good, at], limit) for gate in GATES])
        best = int(squares.mean(axis=1).argmin())
        gain = squares[0] - squares[best]
        if gain.mean() > PAYS * gain.std(ddof=1) / np.sqrt(len(gain)):
            chosen[at] = GATES[best]
    return chosen


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
