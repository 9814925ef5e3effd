"""Find sources that a training table holds twice, in one part or in two, and what their rows say of the same star."""

from collections.abc import Iterator, Sequence

import numpy as np

from lake.finetune import WIDE_LABELS
from lake.partition import Ids
from lake.split import SPLITS
from lake.training_checks import ERROR
from lake.training_columns import SPLIT
from lake.training_report import Audit, Finding
from lake.training_rows import Floats, Part, rows_of
from lake.training_tally import Span, rows_ids


def repeated(audit: Audit) -> Iterator[Finding]:
    """Report sources that occur twice, by reading again the ids (8 bytes a row in memory) of parts that may share some."""
    doubtful = _overlapping(audit.tally.spans)
    parts = [part for part in audit.parts if part.name in doubtful]
    if not parts:
        return
    held = [ids for part in parts for table in part.read(["source_id"]) if (ids := rows_ids(table)) is not None]
    unique, counts = np.unique(np.concatenate(held or [np.empty(0, np.int64)]), return_counts=True)
    again = unique[counts > 1]
    if not len(again):
        return
    rows = int(counts[counts > 1].sum())
    yield Finding(
        ERROR, "source twice", "source_id", rows, audit.tally.rows, "combine its rows to one (lake.homogenise)", int(again[0])
    )
    labels, splits = _said_of(parts, again)
    for label, (low, high) in labels.items():
        # Rounding differs between copies of one value.
        differ = high - low > 1e-6 * np.abs(high)
        if differ.any():
            star = int(again[np.argmax(differ)])
            advice = "surveys contradict one another on the same star; bring them to one base and combine them (lake.homogenise)"
            yield Finding(ERROR, "source twice, other label", audit.own(label), int(differ.sum()), len(again), advice, star)
    several = (splits & (splits - 1)) != 0
    if several.any():
        advice = "a source belongs to one split; split by patch of the sky, as lake.split does"
        star = int(again[np.argmax(several)])
        yield Finding(ERROR, "split leaks by source", SPLIT, int(several.sum()), len(again), advice, star)


def _overlapping(spans: Sequence[Span]) -> set[str]:
    """Return the parts that may share a source with another part, or hold one twice."""
    found = {one.part for one in spans if not one.ascends}
    ordered = sorted(spans, key=lambda one: one.low)
    reach: Span | None = None
    for one in ordered:
        if reach is not None and one.low <= reach.high:
            found |= {one.part, reach.part}
        if reach is None or one.high > reach.high:
            reach = one
    return found


def _said_of(parts: Sequence[Part], ids: Ids) -> tuple[dict[str, tuple[Floats, Floats]], Ids]:
    """Return the least and largest value of each label, and the bits of the splits, of some sources."""
    labels = {label: (np.full(len(ids), np.inf), np.full(len(ids), -np.inf)) for label in WIDE_LABELS}
    splits = np.zeros(len(ids), dtype=np.int64)
    for part in parts:
        for table in part.read():
            rows = rows_of(table)
            if rows.ids is None:
                continue
            at = np.minimum(np.searchsorted(ids, rows.ids), len(ids) - 1)
            own = ids[at] == rows.ids
            for label, (low, high) in labels.items():
                values = rows.numbers.get(label)
                if values is not None:
                    good = own & np.isfinite(values)
                    np.minimum.at(low, at[good], values[good])
                    np.maximum.at(high, at[good], values[good])
            words = rows.texts[SPLIT].to_pylist() if SPLIT in rows.texts else [part.split] * rows.n
            bits = np.array([1 << SPLITS.index(word) if word in SPLITS else 0 for word in words], dtype=np.int64)
            np.bitwise_or.at(splits, at[own], bits[own])
    return labels, splits
