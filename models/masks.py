"""Draw which values are hidden from a network, by hashing instead of by a random state.

A draw is a function of its key (seed, epoch, source_id, feature) alone, so neither the partitioning
nor the order of rows nor other features change it.

Shape legend: B rows, D values per row, n coefficients of one XP band.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from models.config import Config
from models.features import XP_GROUPS, Feature, value_names, width, xp_values

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
HashArray = NDArray[np.uint64]

_WORD = 2**64 - 1


def text_key(text: str) -> int:
    """Turn a name into a 64-bit key that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


# Separate streams: the split must not be correlated with the masks, and so on.
SHUFFLE, SPLIT, HALF = text_key("shuffle"), text_key("split"), text_key("half")
TRAINING, VALIDATION = text_key("training mask"), text_key("validation mask")


def splitmix64(key: HashArray) -> HashArray:
    """Mix 64-bit integers (Steele, Lea & Flood 2014, OOPSLA, doi:10.1145/2660193.2660195).

    Examples
    --------
    >>> hex(splitmix64(np.array([0], dtype=np.uint64))[0])
    '0xe220a8397b1dcdaf'
    """
    mixed = key + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hashed(*keys: int | IntArray | HashArray) -> HashArray:
    """Hash keys in order; arrays broadcast, negative integers wrap. The result is at least 1-d."""
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        word = np.array([key & _WORD], dtype=np.uint64) if isinstance(key, int) else key.astype(np.uint64)
        state = splitmix64(state ^ word)
    return state


def uniform(*keys: int | IntArray | HashArray) -> NDArray[np.float64]:
    """Draw from [0, 1) by key; broadcasts as ``hashed``."""
    return (hashed(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def held_out(source_id: IntArray, fraction: float) -> BoolArray:
    """Tell which sources belong to validation, shape (B,); the same for every seed."""
    return uniform(SPLIT, source_id) < fraction


def training_mask(source_id: IntArray, features: tuple[Feature, ...], config: Config, *, seed: int, epoch: int) -> BoolArray:
    """Draw the values hidden in one epoch, True where hidden, shape (B, D)."""
    return _hidden(source_id, features, config, (TRAINING, seed, epoch))


def validation_mask(source_id: IntArray, features: tuple[Feature, ...], config: Config, *, seed: int) -> BoolArray:
    """Draw the values hidden for validation, True where hidden, shape (B, D); equal in all epochs."""
    return _hidden(source_id, features, config, (VALIDATION, seed))


def xp_half(source_id: IntArray, features: tuple[Feature, ...], *, seed: int) -> BoolArray:
    """Assign each XP coefficient of each source to one of two halves, shape (B, D); False outside XP."""
    return _fair_coin(source_id, features, (HALF, seed)) & xp_values(features)


def _hidden(source_id: IntArray, features: tuple[Feature, ...], config: Config, stream: tuple[int, ...]) -> BoolArray:
    """Hide scalars one by one, and XP in one mode per star: both bands, BP, RP, spans, scattered, none."""
    keys = hashed(*stream, source_id)
    mode = uniform(keys, text_key("mode"))
    ends = np.cumsum([config.hide_xp, config.hide_bp, config.hide_rp, config.hide_spans, config.hide_scattered])
    both, bp, rp, spans, scattered = ((mode >= start) & (mode < end) for start, end in zip([0.0, *ends[:-1]], ends, strict=True))
    whole = {"xp_bp": both | bp, "xp_rp": both | rp}
    coin = _fair_coin(source_id, features, (*stream, text_key("scatter")))
    hidden = np.zeros((len(source_id), width(features)), dtype=bool)
    start = 0
    for feature in features:
        block = slice(start, start + feature.size)
        start += feature.size
        if feature.group in XP_GROUPS:
            span = spans[:, np.newaxis] & _span(keys, feature)
            scatter = scattered[:, np.newaxis] & coin[:, block]
            hidden[:, block] = whole[feature.group][:, np.newaxis] | span | scatter
        else:
            hidden[:, block] = (uniform(keys, text_key(feature.name)) < config.hide_scalar)[:, np.newaxis]
    return hidden


def _span(keys: HashArray, feature: Feature) -> BoolArray:
    """Choose 1 to about n/2 consecutive coefficients of a band per star, shape (B, n)."""
    n = feature.size
    first = np.floor(uniform(keys, text_key(f"{feature.name} first")) * n)
    length = 1 + np.floor(uniform(keys, text_key(f"{feature.name} length")) * max(n // 2, 1))
    order = np.arange(n)
    inside: BoolArray = (order >= first[:, np.newaxis]) & (order < (first + length)[:, np.newaxis])
    return inside


def _fair_coin(source_id: IntArray, features: tuple[Feature, ...], stream: tuple[int, ...]) -> BoolArray:
    names = np.array([text_key(name) for name in value_names(features)], dtype=np.uint64)
    return uniform(hashed(*stream, source_id)[:, np.newaxis], names) < 0.5
