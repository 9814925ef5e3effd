"""Give every source to training, validation or test by a hash of its patch of the sky, so that neighbours stay together.

A patch is a HEALPix pixel of level 5 (1.8 degrees wide), read off the id. All rows of one source, all members of most
clusters and all epochs of a field lie in one patch, so no copy of a test star is trained on. The hash is BLAKE2b of seed
and pixel, from the standard library: it is the same on every machine, in every version, for any partitioning.
"""

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lake.errors import LakeError, listing
from lake.exchange import OvertakenError, write_version
from lake.partition import Ids, pixel
from lake.storage import Storage

TRAIN, VALIDATION, TEST, RESERVE = "train", "validation", "test", "reserve"
SPLITS = (TRAIN, VALIDATION, TEST)
WORDS = (*SPLITS, RESERVE)
SHARES = (0.8, 0.1, 0.1)
ORDER = 5
BLOCKS = 12 * 4**ORDER
SEED = 42
FROZEN = "splits/test_ids.parquet"

_Column: TypeAlias = pa.Array | pa.ChunkedArray
# Sets of splits that one patch may hold: one word, or test beside what was found there after the test was frozen.
_TEST_AND_RESERVE = 1 << WORDS.index(TEST) | 1 << WORDS.index(RESERVE)


def block_of(ids: Ids) -> Ids:
    """Return the patch of each source_id: its HEALPix nested pixel of level 5, 0 to 12,287.

    Raises
    ------
    LakeError
        If an id lies beyond the pixels of Gaia's ids.

    Examples
    --------
    >>> int(block_of(np.array([5853498713190525696]))[0])
    10397
    """
    blocks = pixel(np.asarray(ids, dtype=np.int64), ORDER)
    wrong = (blocks < 0) | (blocks >= BLOCKS)
    if wrong.any():
        raise LakeError(
            f"source_id {np.asarray(ids)[np.argmax(wrong)]} is no id of Gaia: its HEALPix pixel of level {ORDER} would be "
            f"{blocks[np.argmax(wrong)]}, expected 0 to {BLOCKS - 1}; look at how the ids were read"
        )
    return blocks


@lru_cache(maxsize=8)
def _split_of_blocks(seed: int) -> NDArray[np.int8]:
    """Return the place in `SPLITS` of every patch, shape (12288,)."""
    edges = np.cumsum(SHARES[:-1]) * 2.0**64
    draws = [
        int.from_bytes(hashlib.blake2b(f"{seed}:{ORDER}:{block}".encode(), digest_size=8).digest(), "big")
        for block in range(BLOCKS)
    ]
    return np.searchsorted(edges, np.array(draws, dtype=np.float64), side="right").astype(np.int8)


def split_of(source_ids: Ids | _Column, *, seed: int = SEED) -> pa.Array:
    """Return ``train``, ``validation`` or ``test`` for each source (80, 10 and 10 % of the sky), shape (n,), never null.

    Raises
    ------
    LakeError
        If an id lies beyond the pixels of Gaia's ids.
    """
    places = _split_of_blocks(seed)[block_of(_plain(source_ids))]
    return pa.array(SPLITS, pa.string()).take(pa.array(places))


def with_reserve(ids: Ids | _Column, split: _Column, frozen_ids: Ids | None) -> pa.Array:
    """Return the split with the frozen test set kept: what came after it is neither tested on nor trained on.

    A frozen id is ``test``, whatever the hash says. Any other source of a test patch, or of a patch that holds a frozen id,
    becomes ``reserve``. Without a frozen list (None) nothing changes.
    """
    if frozen_ids is None:
        return _texts(split)
    own, kept = _plain(ids), np.asarray(frozen_ids, dtype=np.int64)
    closed = np.zeros(BLOCKS, dtype=bool)
    closed[block_of(kept)] = True
    is_frozen = np.isin(own, kept)
    near = closed[block_of(own)] | np.asarray(pc.equal(_texts(split), TEST))
    reserved = pc.if_else(pa.array(near), pa.scalar(RESERVE), _texts(split))
    return pc.if_else(pa.array(is_frozen), pa.scalar(TEST), reserved)


def seen_in_blocks(ids: Ids, split: _Column) -> NDArray[np.uint8]:
    """Return which splits each patch holds, bit k for ``WORDS[k]``, shape (12288,); those of two parts are merged by ``|``."""
    seen = np.zeros(BLOCKS, dtype=np.uint8)
    blocks, words = block_of(ids), _texts(split)
    for k, word in enumerate(WORDS):
        seen[blocks[np.asarray(pc.fill_null(pc.equal(words, word), False))]] |= np.uint8(1 << k)
    return seen


def torn_blocks(seen: NDArray[np.uint8]) -> Ids:
    """Return the patches that hold two splits; test and reserve may share one."""
    several = (seen & (seen - np.uint8(1))) != 0
    return np.flatnonzero(several & (seen != _TEST_AND_RESERVE))


def leaks(ids: Ids | _Column, split: _Column) -> list[str]:
    """Say what lets a model see what it is tested on; nothing for a sound split.

    Parameters
    ----------
    ids, split
        Any rows, sources may occur more than once; shapes (n,).

    Returns
    -------
    list of str
        One sentence each for words that are no split, sources in two splits, and patches of the sky in two splits.
    """
    own, words = _plain(ids), _texts(split)
    problems = []
    known = np.asarray(pc.is_in(words, value_set=pa.array(WORDS)))
    if not known.all():
        odd = sorted({str(word) for word in words.filter(pa.array(~known)).unique().to_pylist()})
        problems.append(f"{(~known).sum():,} rows have a split that is none of {listing(WORDS)}: {listing(odd)}")
    pairs = np.unique(np.stack([own, np.asarray(pc.fill_null(pc.index_in(words, pa.array(WORDS)), -1))], axis=1), axis=0)
    again = np.unique(pairs[1:, 0][pairs[1:, 0] == pairs[:-1, 0]])
    if len(again):
        problems.append(f"{len(again):,} sources are in two splits, the first being source_id {again[0]}")
    torn = torn_blocks(seen_in_blocks(own, words))
    if len(torn):
        star = own[np.argmax(block_of(own) == torn[0])]
        problems.append(
            f"{len(torn):,} HEALPix pixels of level {ORDER} are in two splits, the first being {torn[0]} (source_id {star})"
        )
    return problems


def freeze(storage: Storage, ids: Ids | _Column) -> bool:
    """Write the test sources of a lake once; return whether they were written now.

    A list that is there is never changed: sources found later in its patches become ``reserve`` (see `with_reserve`), and
    sources that left the lake stay on it.

    Raises
    ------
    LakeError
        If there is nothing to freeze, or the list cannot be written.
    """
    own = np.unique(_plain(ids))
    if not len(own):
        raise LakeError(f"no test sources to freeze in {storage.root}/{FROZEN}; build the fine-tune table first")
    block_of(own)
    if storage.exists(FROZEN):
        return False
    with tempfile.TemporaryDirectory(prefix="gaialake-") as folder:
        path = Path(folder) / "ids.parquet"
        pq.write_table(pa.table({"source_id": own}), path, compression="zstd")
        try:
            write_version(storage, FROZEN, path.read_bytes(), None)
        except OvertakenError:
            # Another writer of an object store has frozen a list meanwhile, and that one stays.
            return False
    return True


def frozen(storage: Storage) -> Ids | None:
    """Return the frozen test sources, ascending; None before any were frozen.

    Raises
    ------
    LakeError
        If the list is damaged.
    """
    try:
        data = storage.read_bytes(FROZEN)
    except FileNotFoundError:
        return None
    try:
        found = pq.read_table(pa.BufferReader(data))["source_id"]
    except (pa.ArrowInvalid, KeyError) as error:
        raise LakeError(
            f"{storage.root}/{FROZEN}: not the list of frozen test sources ({error}); restore it from a copy: without it results "
            "are not comparable with earlier ones"
        ) from error
    return _plain(found)


def _plain(ids: Ids | _Column) -> Ids:
    """Return ids as int64.

    Raises
    ------
    LakeError
        If they are floats or text, or one is null.
    """
    if isinstance(ids, pa.ChunkedArray | pa.Array):
        if ids.null_count or not pa.types.is_integer(ids.type):
            raise LakeError(f"source_ids are {ids.type} with {ids.null_count} nulls; expected int64 without nulls")
        return np.asarray(ids.to_numpy() if isinstance(ids, pa.ChunkedArray) else ids.to_numpy(zero_copy_only=False), np.int64)
    if ids.dtype.kind not in "iu":
        raise LakeError(f"source_ids are {ids.dtype}, expected int64; as floats they would name other stars")
    return ids.astype(np.int64)


def _texts(split: _Column) -> pa.Array:
    """Return a split column as one array of text."""
    whole = split.combine_chunks() if isinstance(split, pa.ChunkedArray) else split
    return pc.cast(whole, pa.string())
