"""The split into training, validation and test: by patch of the sky, the same for any partitioning, frozen, without leaks."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from lake.errors import LakeError
from lake.partition import N_PIXELS, first_id
from lake.split import (
    BLOCKS,
    FROZEN,
    RESERVE,
    SHARES,
    SPLITS,
    TEST,
    block_of,
    freeze,
    frozen,
    leaks,
    seen_in_blocks,
    split_of,
    torn_blocks,
    with_reserve,
)


def sky(n: int = 20_000, seed: int = 3) -> np.ndarray:
    """Synthetic ids all over the sky, unsorted."""
    return np.random.default_rng(seed).integers(1, first_id(N_PIXELS), n)


def test_any_partitioning_gives_the_same_split():
    ids = sky()
    whole = split_of(ids)
    order = np.argsort(ids)
    parts = pa.concat_arrays([split_of(part) for part in np.array_split(ids[order], 17)])
    assert parts.equals(whole.take(pa.array(order)))
    assert split_of(pa.chunked_array([ids[:7], ids[7:]])).equals(whole)


def test_the_split_is_the_one_that_earlier_versions_made():
    words = split_of(np.arange(BLOCKS) << 49).to_pylist()
    digest = hashlib.sha256(bytes(SPLITS.index(word) for word in words)).hexdigest()
    assert digest.startswith("db6e6a8426bad6b9"), "the hash changed: all frozen test sets and trained models would be void"


def test_shares_are_about_those_declared():
    found = split_of(sky(100_000)).to_pylist()
    for word, share in zip(SPLITS, SHARES, strict=True):
        assert found.count(word) / len(found) == pytest.approx(share, abs=0.012)


def test_another_seed_gives_another_split():
    ids = sky()
    assert not split_of(ids, seed=1).equals(split_of(ids, seed=2))


def test_all_sources_of_a_patch_share_a_split():
    ids = sky()
    blocks, words = block_of(ids), np.array(split_of(ids).to_pylist())
    assert blocks.min() >= 0
    assert blocks.max() < BLOCKS
    for block in np.unique(blocks)[:200]:
        assert len(set(words[blocks == block])) == 1
    assert not leaks(ids, split_of(ids))


def test_a_source_observed_twice_leaks_only_where_its_rows_part():
    ids = np.repeat(sky(50), 2)
    words = np.array(split_of(ids).to_pylist())
    assert not leaks(ids, pa.array(words))
    words[0] = "test" if words[0] != "test" else "train"
    problems = leaks(ids, pa.array(words))
    assert any("1 sources are in two splits" in one and str(ids[0]) in one for one in problems)
    assert any("1 HEALPix pixels" in one for one in problems)


def test_a_split_by_row_is_found_to_leak():
    ids = sky(2_000) % (BLOCKS // 50 << 49) + 1
    words = np.random.default_rng(0).choice(SPLITS, len(ids), p=SHARES)
    assert len(leaks(ids, pa.array(words))) == 1
    assert "HEALPix pixels of level 5 are in two splits" in leaks(ids, pa.array(words))[0]


def test_words_that_are_no_split_are_told():
    ids = sky(4)
    problems = leaks(ids, pa.array(["train", "valid", None, "train"]))
    assert any("2 rows have a split that is none of" in one and "None, valid" in one for one in problems)


def test_what_parts_saw_is_merged_to_what_the_whole_saw():
    ids = sky(5_000)
    words = pa.array(np.random.default_rng(1).choice(SPLITS, len(ids)))
    parts = seen_in_blocks(ids[:900], words[:900]) | seen_in_blocks(ids[900:], words[900:])
    np.testing.assert_array_equal(parts, seen_in_blocks(ids, words))
    assert len(torn_blocks(parts)) > 0


def test_frozen_ids_stay_when_stars_come_and_go(new_lake):
    storage, before = new_lake.storage, sky(3_000)
    tested = before[np.array(split_of(before).to_pylist()) == TEST]
    assert frozen(storage) is None
    assert freeze(storage, tested)
    after = np.concatenate([before[500:], sky(3_000, seed=9)])
    newly = after[np.array(split_of(after).to_pylist()) == TEST]
    data = storage.read_bytes(FROZEN)
    assert not freeze(storage, newly)
    assert not freeze(storage, tested)
    assert storage.read_bytes(FROZEN) == data
    np.testing.assert_array_equal(frozen(storage), np.unique(tested))
    found = np.array(with_reserve(after, split_of(after), frozen(storage)).to_pylist())
    assert set(after[found == TEST]) == set(after) & set(tested)
    newcomers = np.isin(after, newly) & ~np.isin(after, tested)
    assert newcomers.any()
    assert set(found[newcomers]) == {RESERVE}
    assert not leaks(after, pa.array(found))


def test_a_frozen_id_is_test_even_if_the_hash_changed_and_its_neighbours_are_not_trained_on():
    ids = sky(20_000)
    train = ids[np.array(split_of(ids).to_pylist()) == "train"]
    star = train[0]
    found = with_reserve(ids, split_of(ids), np.array([star]))
    words = np.array(found.to_pylist())
    assert words[ids == star] == TEST
    near = (block_of(ids) == block_of(np.array([star]))) & (ids != star)
    assert set(words[near]) <= {RESERVE}
    assert not leaks(ids, found)


def test_without_a_frozen_list_nothing_is_reserved():
    ids = sky(100)
    assert with_reserve(ids, split_of(ids), None).equals(split_of(ids))


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (np.array([1.5e18]), "float64, expected int64"),
        (np.array([2**62 + 2**61]), "no id of Gaia"),
        (np.array([-5]), "no id of Gaia"),
        (pa.array([1, None]), "1 nulls"),
    ],
)
def test_ids_that_are_none_are_refused(ids, said):
    with pytest.raises(LakeError, match=said):
        split_of(ids)


def test_nothing_to_freeze_and_a_damaged_list_are_told(new_lake):
    with pytest.raises(LakeError, match="no test sources to freeze"):
        freeze(new_lake.storage, np.empty(0, np.int64))
    new_lake.storage.write_bytes(FROZEN, b"PAR1")
    with pytest.raises(LakeError, match="restore it from a copy"):
        frozen(new_lake.storage)
