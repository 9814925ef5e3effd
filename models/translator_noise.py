"""Spread labels by the errors of the inputs: a Monte Carlo whose noise is drawn by hashing instead of by a random state.

Shape legend: B stars, R realisations, M measured columns, D inputs and K labels of one network, E networks of the ensemble.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lake.columns.spectrotranslator import PERCENTILES
from models.masks import hashed, text_key, uniform
from models.translator import TrainedNetwork, Translator, correction, corrections
from models.translator_rows import FloatArray, IntArray, Measured, inputs

# Every pass has exactly this many stars, padded with empty ones: matrix products sum in another order for another number of
# rows, and values would depend on the partitioning.
STARS_PER_PASS = 128

_STREAM = text_key("translation noise")
# Percentiles of a normal distribution, in units of half the distance between the 16th and the 84th.
_NORMAL = ndtri(np.array(PERCENTILES) / 100) / ndtri(0.84)


def draws(source_id: IntArray, realisations: int, columns: Sequence[str]) -> FloatArray:
    """Draw standard normal noise by hashing (source_id, realisation, column), shape (B, R, C).

    No draw depends on which other stars, realisations or columns are asked for.
    """
    names = np.array([text_key(name) for name in columns], dtype=np.uint64)
    keys = hashed(_STREAM, source_id)[: len(source_id), np.newaxis]
    keys = hashed(keys, np.arange(realisations))
    # The smallest number is kept from 0, whose normal is infinite; the largest is below 1 by construction.
    drawn: FloatArray = ndtri(np.maximum(uniform(keys[:, :, np.newaxis], names), 2.0**-54))
    return drawn


@dataclass(frozen=True, eq=False)
class Translated:
    """What one network says of B stars before calibration of the errors.

    Parameters
    ----------
    values
        Corrected labels, shape (B, K), NaN where the label itself is missing.
    scatter
        Standard deviation of the correction over the ensemble, shape (B, K).
    spread
        `PERCENTILES` of the Monte Carlo about its median, shape (B, 5, K).
    """

    values: FloatArray
    scatter: FloatArray
    spread: FloatArray


def translated(stars: Measured, translator: Translator, *, realisations: int) -> Iterator[tuple[slice, tuple[Translated, ...]]]:
    """Yield (which stars, what each network says of them), `STARS_PER_PASS` at a time.

    Realisation r goes through member r modulo E, and is compared with what that member says of the unperturbed star: the
    spread is that of the mean member, at a price that does not grow with the ensemble.
    """
    for start in range(0, len(stars.source_id), STARS_PER_PASS):
        at = slice(start, min(start + STARS_PER_PASS, len(stars.source_id)))
        count = at.stop - at.start
        source_id, values, errors = (
            _padded(array[at]) for array in (stars.source_id, stars.values, _filled(stars, translator.typical_errors))
        )
        noise = draws(source_id, realisations, stars.columns) * errors[:, np.newaxis, :]
        noise += values[:, np.newaxis, :]
        results = (_translated(network, stars.columns, values, noise) for network in translator.networks)
        yield at, tuple(Translated(r.values[:count], r.scatter[:count], r.spread[:count]) for r in results)


def _translated(network: TrainedNetwork, columns: Sequence[str], values: FloatArray, noisy: FloatArray) -> Translated:
    clean = inputs(values, columns, network.inputs)
    moved = inputs(noisy, columns, network.inputs)
    own = [network.inputs.index(name) for name in network.outputs]
    ensemble = corrections(network, clean)
    deviations = moved[..., own] - clean[:, np.newaxis, own]
    size = len(network.members)
    for member in range(size):
        chosen = moved[:, member::size]
        answer = correction(network, member, chosen.reshape(-1, chosen.shape[-1]))
        deviations[:, member::size] += answer.reshape(*chosen.shape[:2], -1) - ensemble[member][:, np.newaxis]
    # What is missing sorts nowhere: any number will do until it is made null.
    deviations = np.where(np.isfinite(deviations), deviations, 0.0)
    quantiles = np.moveaxis(np.quantile(deviations, np.array(PERCENTILES) / 100, axis=1), 0, 1)
    spread = quantiles - quantiles[:, [PERCENTILES.index(50)]]
    return Translated(clean[:, own] + ensemble.mean(axis=0), ensemble.std(axis=0, ddof=1), spread)


def widened(spread: FloatArray, floor: FloatArray) -> FloatArray:
    """Add in quadrature what scatters a label beside the errors of the inputs to a Monte Carlo's spread (B, 5, K).

    Where the networks replace a label by a function of the others, its own error no longer moves it, and the Monte Carlo alone
    would call it perfect.

    Parameters
    ----------
    spread
        As in `Translated`.
    floor
        Half width to add, shape (K,).
    """
    half = (spread[:, PERCENTILES.index(84)] - spread[:, PERCENTILES.index(16)])[:, np.newaxis] / 2
    shape = np.where(half > 0, spread / np.where(half > 0, half, 1.0), _NORMAL[:, np.newaxis])
    return shape * np.hypot(half, floor)


def _filled(stars: Measured, typical: FloatArray) -> FloatArray:
    return np.where(np.isfinite(stars.values) & ~np.isfinite(stars.errors), typical, stars.errors)


def _padded(array: NDArray[Any]) -> NDArray[Any]:
    fill: Any = 0 if array.dtype == np.int64 else np.nan
    missing = STARS_PER_PASS - len(array)
    return np.concatenate([array, np.full((missing, *array.shape[1:]), fill, dtype=array.dtype)]) if missing else array
