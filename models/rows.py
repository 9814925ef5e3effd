"""Hold scaled rows and mix them before training.

Shape legend: B rows, D values per row (see ``models.features``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features import Batch, matrices
from models.masks import SHUFFLE, hashed
from models.scaling import Scaling, scaled


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold B scaled rows: x and variance are 0 wherever ``present`` is False.

    Parameters
    ----------
    source_id : int64, shape (B,)
    x, variance : float32, shape (B, D)
        Scaled value and its variance in the same space.
    present : bool, shape (B, D)
    """

    source_id: NDArray[np.int64]
    x: NDArray[np.float32]
    variance: NDArray[np.float32]
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.source_id)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Rows":
        """Select rows by index, by mask or by slice."""
        return Rows(self.source_id[rows], self.x[rows], self.variance[rows], self.present[rows])


def scaled_rows(batch: Batch, scaling: Scaling) -> Rows:
    """Read and scale a batch; errors as ``models.features.matrices``."""
    source_id, values, ivar = matrices(batch, scaling.features)
    return Rows(source_id, *scaled(values, ivar, scaling))


def concatenated(parts: list[Rows]) -> Rows:
    """Stack rows of the same D values; at least one part is needed."""
    return Rows(
        np.concatenate([part.source_id for part in parts]),
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.variance for part in parts]),
        np.concatenate([part.present for part in parts]),
    )


def shuffled(parts: Iterable[Rows], *, capacity: int, seed: int, epoch: int) -> Iterator[Rows]:
    """Mix rows of neighbouring parts through a buffer, so that a batch spans many sky patches.

    Whenever the buffer exceeds ``capacity`` rows, half of it leaves in random order. Draws are keyed
    by (seed, epoch, round, source_id); the round is part of the key because otherwise the same rows
    would be held back each time and clog the buffer.

    Yields
    ------
    Rows
        Every row once.
    """
    held: list[Rows] = []
    count = 0
    turn = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count > capacity:
            mixed = _mixed(held, seed, epoch, turn)
            half = len(mixed) // 2
            yield mixed.take(slice(0, half))
            held, count, turn = [mixed.take(slice(half, None))], len(mixed) - half, turn + 1
    if held:
        yield _mixed(held, seed, epoch, turn)


def _mixed(parts: list[Rows], seed: int, epoch: int, turn: int) -> Rows:
    rows = concatenated(parts)
    keys = hashed(SHUFFLE, seed, epoch, turn, rows.source_id)
    return rows.take(np.lexsort((rows.source_id, keys)))


def cut(parts: Iterable[Rows], batch_size: int) -> Iterator[Rows]:
    """Cut a stream of rows into batches of ``batch_size``; only the last one may be smaller."""
    rest: Rows | None = None
    for part in parts:
        rows = part if rest is None else concatenated([rest, part])
        whole = len(rows) - len(rows) % batch_size
        for start in range(0, whole, batch_size):
            yield rows.take(slice(start, start + batch_size))
        rest = rows.take(slice(whole, None))
    if rest is not None and len(rest):
        yield rest
