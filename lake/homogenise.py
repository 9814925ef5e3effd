"""Combine the labels of several surveys, brought onto the base of APOGEE DR17, into one value per star with an honest error.

Per label, each family of spectra gives at most one candidate: the value of the first of its catalogues that has one (GALAH DR4,
then DR3, then the authors' own translation of DR3). What its survey's advice or the translation's domain speaks against is not
used, and no older catalogue of the same spectra is asked instead. Nor is a value without a valid error used. Candidates are
averaged by inverse variance; of three or more, those far from the weighted median count less (Huber 1964, Ann. Math. Stat. 35,
73). Where surveys contradict one another beyond their errors, the error of the mean grows by sqrt(chi2 / (n - 1)).

Limits: translations learn from stars that APOGEE has observed too, so for those the surveys agree better than independent
ones would; errors that surveys share on the common base do not average out and are not in the error of the mean.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lake.advice import Bools, Floats, numbers, speaks_against, stored
from lake.ages import age_columns, ages_read, choose_ages, refused_ages
from lake.columns import column, schema
from lake.columns.homogenised import LABELS
from lake.errors import LakeError, listing
from lake.label_sources import CATALOGUES, Source

# Candidates farther from the median than so many of their errors count less: 95 % efficient for Gaussian errors.
HUBER = 1.345


@dataclass(frozen=True)
class Offer:
    """What one source says of one label, NaN where nothing, shape (rows,) each; and the rows refused, by reason."""

    value: Floats
    error: Floats
    correction: Floats
    refused: Mapping[str, Bools]


def _columns_of() -> dict[str, tuple[str, ...]]:
    pairs: list[tuple[str, str]] = []
    for source in CATALOGUES:
        pairs += [(source.table, part) for label in LABELS for part in source.parts(label)]
        pairs += [(source.original, source.published[label]) for label in LABELS]
        pairs += [(one.table, one.where.column) for one in source.advice]
    pairs += [(table, name) for table, names in ages_read().items() for name in names]
    return {table: tuple(dict.fromkeys(name for owner, name in pairs if owner == table)) for table, _ in pairs}


# Table -> columns that the join must give, the base first.
COLUMNS_OF: Mapping[str, tuple[str, ...]] = _columns_of()


def schema_columns() -> tuple[str, ...]:
    """Return the columns of the combined table after source_id, in order: each label, what its sources say of it, the ages."""
    return tuple(name for label in LABELS for name in _names(label)) + age_columns()


def combine(table: pa.Table) -> pa.Table:
    """Combine the labels of each star.

    Parameters
    ----------
    table
        ``source_id`` and the columns of `COLUMNS_OF` as ``table.column``, one row per source; a table that the lake lacks has no
        columns, which means null.

    Returns
    -------
    pa.Table
        The same rows, columns as in `schema_columns`: float32, null where not known; numbers of sources and their bits are never
        null. Per label the combined value, its error, the number and bits of sources, chi2 (null below two sources), then for
        every source value, error and correction, which stand there also where the source is not in the mean.

    Raises
    ------
    LakeError
        If source_id is missing, no table of labels is there, or one is there without all of its columns.
    """
    _refuse_parts(table)
    columns: dict[str, pa.Array] = {}
    for label in LABELS:
        offers = _offers(table, label)
        used = np.array([_used(offer) for offer in offers.values()])
        values, errors = (np.array([getattr(offer, part) for offer in offers.values()]) for part in ("value", "error"))
        mean, error, chi2 = robust_mean(np.where(used, values, np.nan), np.where(used, errors, np.nan))
        bits = np.array([[source.bit] for source in CATALOGUES], np.int32)
        columns |= {label: stored(mean), f"{label}_error": stored(error)}
        columns[f"{label}_n_sources"] = pa.array(used.sum(axis=0).astype(np.int16))
        columns[f"{label}_sources"] = pa.array((bits * used).sum(axis=0).astype(np.int32))
        columns[f"{label}_chi2"] = stored(chi2)
        for name, offer in offers.items():
            columns |= {f"{label}_{name}": stored(offer.value), f"{label}_{name}_error": stored(offer.error)}
            columns[f"{label}_{name}_correction"] = stored(offer.correction)
    columns |= choose_ages(table)
    names = schema_columns()
    return pa.table(
        [table["source_id"], *(columns[name] for name in names)],
        schema=schema(["source_id", *names]),
    )


def refusals(table: pa.Table) -> dict[str, int]:
    """Count the values that are in no mean, as ``label source: reason``; of several reasons the first counts."""
    _refuse_parts(table)
    counts: dict[str, int] = {}
    for label in LABELS:
        for name, offer in _offers(table, label).items():
            left = np.isfinite(offer.value)
            for reason, rows in offer.refused.items():
                lost = int((left & rows).sum())
                left &= ~rows
                if lost:
                    counts[f"{label} {name}: {reason}"] = lost
    return {**counts, **refused_ages(table)}


def robust_mean(values: Floats, errors: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the robust inverse-variance mean over the sources of each row.

    Parameters
    ----------
    values, errors
        Candidates and their standard errors, shape (sources, rows), same unit; NaN where a source takes no part.

    Returns
    -------
    mean, error, chi2
        Shape (rows,), NaN without candidates, chi2 NaN below two. Of three or more candidates those farther than `HUBER` errors
        from the weighted median count less, in proportion. chi2 takes the full weights, so that it tells of the outlier.
    """
    there = np.isfinite(values) & np.isfinite(errors)
    ivar = np.zeros(values.shape)
    ivar[there] = errors[there] ** -2.0
    x = np.where(there, values, 0.0)
    n = there.sum(axis=0)
    apart = np.abs(x - _weighted_median(x, ivar)) * np.sqrt(ivar)
    weight = ivar * np.where((n >= 3) & (apart > HUBER), HUBER / np.maximum(apart, HUBER), 1.0)
    total = np.where(n > 0, weight.sum(axis=0), np.nan)
    mean = (weight * x).sum(axis=0) / total
    chi2 = np.where(n > 1, np.where(there, ivar * (x - mean) ** 2, 0.0).sum(axis=0), np.nan)
    growth = np.where(n > 1, np.maximum(1.0, chi2 / np.maximum(n - 1, 1)), 1.0)
    return mean, np.sqrt(growth / total), chi2


def _weighted_median(x: Floats, weight: Floats) -> Floats:
    """Return the weighted median over the first axis; between two values where the weights split in halves."""
    order = np.argsort(np.where(weight > 0, x, np.inf), axis=0, kind="stable")
    ordered = np.take_along_axis(x, order, axis=0)
    running = np.take_along_axis(weight, order, axis=0).cumsum(axis=0)
    half = running[-1] / 2.0
    ends = [np.argmax(reached, axis=0)[np.newaxis] for reached in (running >= half, running > half)]
    low, high = (np.take_along_axis(ordered, end, axis=0)[0] for end in ends)
    return (low + high) / 2.0


def _names(label: str) -> Iterator[str]:
    yield from (label, f"{label}_error", f"{label}_n_sources", f"{label}_sources", f"{label}_chi2")
    for source in CATALOGUES:
        yield from (f"{label}_{source.name}{part}" for part in ("", "_error", "_correction"))


def _refuse_parts(table: pa.Table) -> None:
    """Refuse a join that lacks columns, which would pass for missing labels."""
    held = set(table.column_names)
    if "source_id" not in held:
        raise LakeError("labels are combined by source_id, which the joined table lacks; see COLUMNS_OF in lake/homogenise.py")
    absent = {name: [one for one in wanted if f"{name}.{one}" not in held] for name, wanted in COLUMNS_OF.items()}
    if all(len(absent[name]) == len(wanted) for name, wanted in COLUMNS_OF.items()):
        raise LakeError(f"no table of labels to combine; ingest or translate one of {listing(COLUMNS_OF)}")
    for name, missing in absent.items():
        if 0 < len(missing) < len(COLUMNS_OF[name]):
            raise LakeError(
                f"the joined table lacks {listing(missing)} of {name}; read all that COLUMNS_OF in lake/homogenise.py names, "
                f"as {name}.{missing[0]}, or leave out the table"
            )


def _offers(table: pa.Table, label: str) -> dict[str, Offer]:
    """Return what every source says of a label."""
    offers: dict[str, Offer] = {}
    spoken: dict[str, Bools] = {}
    for source in CATALOGUES:
        value, error = _measured(table, source, label)
        published = numbers(table, f"{source.original}.{source.published[label]}")
        refused = {"an earlier catalogue of the same spectra has one": spoken.get(source.family, np.zeros(len(value), bool))}
        refused |= {str(one): speaks_against(table, one) for one in source.advice if one.concerns(label)}
        refused["no valid error"] = ~np.isfinite(error)
        correction = np.where(np.isfinite(value), 0.0, np.nan) if source.is_base else value - published
        offers[source.name] = Offer(value, error, correction, refused)
        spoken[source.family] = np.isfinite(value) | spoken.get(source.family, False)
    return offers


def _used(offer: Offer) -> Bools:
    """Tell the rows, shape (rows,), in which an offer is a candidate."""
    used = np.isfinite(offer.value)
    for rows in offer.refused.values():
        used &= ~rows
    return used


def _measured(table: pa.Table, source: Source, label: str) -> tuple[Floats, Floats]:
    """Return value and error of a label, NaN where the value is not one that a star can have, or its error is none."""
    value, *parts = (numbers(table, f"{source.table}.{part}") for part in source.parts(label))
    known = column(label)
    low = -np.inf if known.low is None else known.low
    high = np.inf if known.high is None else known.high
    value = np.where((value >= low) & (value <= high), value, np.nan)
    if source.is_base:
        sigma, *scatter = parts
        sound = sigma > 0
        # A single visit has no scatter.
        extra = np.nan_to_num(scatter[0]) if scatter else np.zeros(len(value))
    else:
        lower, upper, extra = parts
        sigma = (upper - lower) / 2.0
        sound = (sigma >= 0) & (extra >= 0) & (sigma + extra > 0)
    error = np.sqrt(sigma**2 + extra**2 + source.floors[label] ** 2)
    return value, np.where(sound & np.isfinite(error) & np.isfinite(value), error, np.nan)
