"""The shuffle buffer."""

import numpy as np
import pytest

from models.rows import Rows, cut, shuffled


def patches(sizes):
    """Consecutive ids, whose x is their id, to see that rows stay together."""
    start = 0
    for size in sizes:
        ids = np.arange(start, start + size)
        x = np.repeat(ids[:, np.newaxis], 3, axis=1).astype(np.float32)
        yield Rows(ids, x, x, np.ones(x.shape, dtype=bool))
        start += size


def collected(parts):
    parts = list(parts)
    return np.concatenate([part.source_id for part in parts]), np.concatenate([part.x[:, 2] for part in parts])


def test_every_row_leaves_once_and_whole():
    ids, x = collected(shuffled(patches([40, 0, 60, 1, 99]), capacity=50, seed=0, epoch=0))
    assert sorted(ids) == list(range(200))
    np.testing.assert_array_equal(ids, x)


def test_the_buffer_mixes_sky_patches():
    mixed = shuffled(patches([20] * 10), capacity=80, seed=0, epoch=0)
    patches_per_batch = [len(np.unique(batch.source_id // 20)) for batch in cut(mixed, 20)]
    assert min(patches_per_batch) >= 2
    assert np.mean(patches_per_batch) > 3


def test_late_rows_of_the_buffer_are_not_held_back_to_the_end():
    ids, _ = collected(shuffled(patches([20] * 10), capacity=40, seed=0, epoch=0))
    assert set(range(20)) <= set(ids[:140].tolist())


@pytest.mark.parametrize(("seed", "epoch", "same"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_the_order_is_keyed_by_seed_and_epoch(seed, epoch, same):
    first, _ = collected(shuffled(patches([50, 50]), capacity=60, seed=0, epoch=0))
    second, _ = collected(shuffled(patches([50, 50]), capacity=60, seed=seed, epoch=epoch))
    assert np.array_equal(first, second) == same


def test_batches_have_the_size_asked_for_except_the_last():
    batches = list(cut(patches([7, 30, 0, 3, 21]), 16))
    assert [len(batch) for batch in batches] == [16, 16, 16, 13]
    np.testing.assert_array_equal(collected(batches)[0], np.arange(61))
