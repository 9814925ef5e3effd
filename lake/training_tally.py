"""Count over the rows of a training table what its audit needs, in one pass; counts of parts are merged in any order.

Memory does not grow with the table, but for one entry per part: bad values are counted and their first is kept, splits are
kept per patch of the sky, and what needs pairs of values is tested on the 20,000 rows whose ids hash lowest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.crossmatch import directions
from lake.finetune import WIDE_LABELS
from lake.partition import N_PIXELS, Ids, first_id, pixel
from lake.pretrain import COLUMNS as PRETRAIN
from lake.relation import Sample, few
from lake.split import BLOCKS as PATCHES
from lake.split import WORDS, seen_in_blocks, torn_blocks
from lake.training_checks import CHECKS, FIRST, Bools, ValueCheck, error_of
from lake.training_columns import SPLIT, canonical, has_labels, is_wide
from lake.training_rows import BLOCKS, Floats, Rows, rows_of

SAMPLE_ROWS = 20_000
# Columns of the sample: what relations compare, errors of labels, and the first value of each block of XP values.
_PAIRED = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")
SAMPLED = (
    *(name for name in PRETRAIN if name.endswith("_mag") and name not in _PAIRED),
    *_PAIRED,
    *BLOCKS,
    *(error_of(name) for name in WIDE_LABELS),
)
# Sources leave the pixel of their id by minutes of arc at most; a pixel of level 8 is 0.23 degrees wide.
_FARTHEST = 0.5
# From here on, ids that passed through float64 are multiples of 512; of Gaia's own, a quarter or less is.
_LARGE_ID = 1 << 61


@dataclass(frozen=True)
class Hit:
    """Bad values of one column: how many, among how many, and the first of them."""

    count: int
    of: int
    source_id: int | None = None
    value: Any = None

    def __add__(self, other: "Hit") -> "Hit":
        """Return both together; the first example is kept."""
        first = self if self.count else other
        return Hit(self.count + other.count, self.of + other.of, first.source_id, first.value)


@dataclass(frozen=True)
class Moments:
    """How many values of a column are present, of how many, and between which limits they lie."""

    present: int
    of: int
    low: float
    high: float

    def __add__(self, other: "Moments") -> "Moments":
        """Return both together."""
        return Moments(self.present + other.present, self.of + other.of, min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Span:
    """The ids of one part: the smallest and largest, and whether they ascend without repeating."""

    part: str
    low: int
    high: int
    ascends: bool
    rows: int


@dataclass
class Tally:
    """What was counted over some rows; see the module's first lines.

    Attributes
    ----------
    names
        Stored columns -> first part that has them so.
    types
        Type of source_id -> rows; None where there is no such column.
    hits
        (check, column) -> bad values.
    sample
        Ids, and the values of `SAMPLED`, NaN where missing, shape (rows, columns).
    patches
        Which splits each patch of the sky holds (see `lake.split.seen_in_blocks`).
    coverage
        (split, label) -> rows with the label; (split, "") -> all of its rows.
    """

    rows: int = 0
    names: dict[tuple[str, ...], str] = field(default_factory=dict)
    types: dict[str | None, int] = field(default_factory=dict)
    hits: dict[tuple[str, str], Hit] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    sample: tuple[Ids, Floats] = field(default_factory=lambda: (np.empty(0, np.int64), np.empty((0, len(SAMPLED)))))
    patches: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(PATCHES, np.uint8))
    coverage: dict[tuple[str, str], int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def merge(self, other: "Tally") -> "Tally":
        """Return what was counted over the rows of both."""
        ids = np.concatenate([self.sample[0], other.sample[0]])
        return Tally(
            rows=self.rows + other.rows,
            names={**other.names, **self.names},
            types=_summed(self.types, other.types),
            hits=_summed(self.hits, other.hits),
            moments=_summed(self.moments, other.moments),
            shown={**other.shown, **self.shown},
            sample=_few(ids, np.concatenate([self.sample[1], other.sample[1]])),
            patches=self.patches | other.patches,
            coverage=_summed(self.coverage, other.coverage),
            spans=[*self.spans, *other.spans],
        )


def _summed(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> dict[Any, Any]:
    return {**second, **{key: value + second[key] if key in second else value for key, value in first.items()}}


def _few(ids: Ids, values: Floats) -> tuple[Ids, Floats]:
    chosen = few(Sample(ids, np.empty(len(ids)), values, len(ids)), SAMPLE_ROWS)
    return chosen.ids, chosen.against


def tally(tables: Iterable[pa.Table], part: str, *, split: str | None = None, id_range: tuple[int, int] | None = None) -> Tally:
    """Count over the rows of one part.

    Parameters
    ----------
    tables
        Its rows as stored, in their order.
    split
        Split of all of them, where the place of the part says it.
    id_range
        Ids that the part may hold, first inclusive, end exclusive.
    """
    found = Tally()
    last, low, high, ascends = -1, 0, -1, True
    for table in tables:
        found = found.merge(_of_rows(table, part, split, id_range))
        ids = rows_ids(table)
        if ids is not None and len(ids):
            ascends &= bool(ids[0] > last and (np.diff(ids) > 0).all())
            low = int(ids.min()) if high < 0 else min(low, int(ids.min()))
            last, high = int(ids[-1]), max(high, int(ids.max()))
    found.spans = [Span(part, low, high, ascends, found.rows)] if high >= 0 else []
    return found


def rows_ids(table: pa.Table) -> Ids | None:
    """Return the ids of some rows if they are int64 without nulls."""
    if "source_id" not in table.column_names:
        return None
    return rows_of(table.select(["source_id"])).ids


def _of_rows(table: pa.Table, part: str, split: str | None, id_range: tuple[int, int] | None) -> Tally:
    rows = rows_of(table)
    ids = rows.ids
    hits: dict[tuple[str, str], Hit] = {}
    for check in FIRST:
        _count(check, rows, hits)
    # Sentinels and infinities are missing values from here on.
    for check in FIRST:
        for name, values in rows.numbers.items():
            bad = check.bad(rows, name)
            if bad is not None and bad.any():
                rows.numbers[name] = np.where(bad, np.nan, values)  # type: ignore[index]
    for check in CHECKS:
        _count(check, rows, hits)
    for name, held in rows.text_numbers.items():
        hits["text among numbers", name] = Hit(len(held), rows.n, None, held[0] if held else None)
    if ids is not None:
        hits |= _of_ids(ids, rows, id_range)
    kind = str(table.schema.field("source_id").type) if "source_id" in table.column_names else None
    if kind == "int64" and table["source_id"].null_count:
        hits["id missing", "source_id"] = Hit(table["source_id"].null_count, rows.n)
    words = rows.texts.get(SPLIT)
    if words is None and split is not None:
        words = pa.array([split] * rows.n, pa.string())
    return Tally(
        rows=rows.n,
        names={tuple(table.column_names): part},
        types={kind: rows.n},
        hits=hits | (_of_split(rows, words, split) if words is not None else {}),
        moments={name: _moments(values) for name, values in rows.numbers.items()},
        shown=dict(rows.shown),
        sample=_sample(rows),
        patches=_patches(rows, words),
        coverage=_coverage(rows, words) if words is not None else {},
    )


def _count(check: ValueCheck, rows: Rows, hits: dict[tuple[str, str], Hit]) -> None:
    for name, values in rows.numbers.items():
        bad = check.bad(rows, name)
        if bad is None:
            continue
        of = int(np.isfinite(values).sum()) if check not in FIRST else values.size
        hits[check.name, name] = _hit(bad, values, rows, of)


def _hit(bad: Bools, values: Floats, rows: Rows, of: int) -> Hit:
    count = int(bad.sum())
    if not count:
        return Hit(0, of)
    at = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return Hit(count, of, int(rows.ids[at[0]]) if rows.ids is not None else None, float(values[at]))


def _of_ids(ids: Ids, rows: Rows, id_range: tuple[int, int] | None) -> dict[tuple[str, str], Hit]:
    """Count ids that no source of Gaia has, or that the place of their row contradicts."""
    tests: dict[str, Bools] = {"id of no source": (ids <= 0) | (ids >= first_id(N_PIXELS))}
    if id_range is not None:
        tests["id outside its file"] = (ids < id_range[0]) | (ids >= id_range[1])
    if {"ra", "dec"} <= set(rows.numbers):
        tests["position of another source"] = _far(ids, rows.numbers["ra"], rows.numbers["dec"])
    large = ids >= _LARGE_ID
    found = {
        (name, "source_id"): Hit(int(bad.sum()), len(ids), *((int(ids[np.argmax(bad)]),) * 2 if bad.any() else (None, None)))
        for name, bad in tests.items()
    }
    rounded = large & (ids % 512 == 0)
    first = int(ids[np.argmax(rounded)]) if rounded.any() else None
    found["id through float64", "source_id"] = Hit(int(rounded.sum()), int(large.sum()), first, first)
    return found


def _far(ids: Ids, ra: Floats, dec: Floats) -> Bools:
    """Tell which positions lie elsewhere than the pixel of their id."""
    from astropy_healpix import HEALPix

    known = np.isfinite(ra) & np.isfinite(dec) & (ids > 0) & (ids < first_id(N_PIXELS))
    lon, lat = HEALPix(nside=256, order="nested").healpix_to_lonlat(pixel(ids[known], 8))
    there = directions(lon.to_value("deg"), lat.to_value("deg"))
    chord = np.linalg.norm(there - directions(ra[known], dec[known]), axis=1)
    far = np.zeros(len(ids), dtype=bool)
    far[known] = chord > np.radians(_FARTHEST)
    return far


def _of_split(rows: Rows, words: pa.Array, split: str | None) -> dict[tuple[str, str], Hit]:
    known = np.asarray(pc.is_in(words, value_set=pa.array(WORDS)))
    bad = ~known if split is None else ~np.asarray(pc.fill_null(pc.equal(words, split), False))
    if not bad.any():
        return {("unknown split", SPLIT): Hit(0, rows.n)}
    at = int(np.argmax(bad))
    star = int(rows.ids[at]) if rows.ids is not None else None
    return {("unknown split", SPLIT): Hit(int(bad.sum()), rows.n, star, words[at].as_py())}


def _moments(values: Floats) -> Moments:
    good = values[np.isfinite(values)]
    low, high = (float(good.min()), float(good.max())) if good.size else (np.inf, -np.inf)
    return Moments(good.size, values.size, low, high)


def _sample(rows: Rows) -> tuple[Ids, Floats]:
    ids = rows.ids if rows.ids is not None else np.arange(rows.n, dtype=np.int64)
    values = np.full((rows.n, len(SAMPLED)), np.nan)
    for k, name in enumerate(SAMPLED):
        held = rows.numbers.get(name)
        if held is not None:
            values[:, k] = held[:, 0] if held.ndim == 2 else held
    return _few(ids, values)


def _patches(rows: Rows, words: pa.Array | None) -> NDArray[np.uint8]:
    if words is None or rows.ids is None:
        return np.zeros(PATCHES, np.uint8)
    good = (rows.ids > 0) & (rows.ids < first_id(N_PIXELS))
    return seen_in_blocks(rows.ids[good], words.filter(pa.array(good)))


def _coverage(rows: Rows, words: pa.Array) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for word in WORDS:
        own = np.asarray(pc.fill_null(pc.equal(words, word), False))
        if own.any():
            found[word, ""] = int(own.sum())
            for label in WIDE_LABELS:
                if label in rows.numbers:
                    found[word, label] = int(np.isfinite(rows.numbers[label][own]).sum())
    return found


def torn(found: Tally) -> Ids:
    """Return the patches whose sources are in two splits."""
    return torn_blocks(found.patches)


def kind_of(names: Iterable[str]) -> tuple[bool, bool]:
    """Tell whether stored columns are those of a wide table, and whether they hold labels."""
    held = list(names)
    wide = is_wide(held)
    return wide, has_labels([canonical(name, wide=wide) for name in held])
