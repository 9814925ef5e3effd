"""Verify the matches of a table by physics: relations that right pairs of rows obey and scrambled, shifted ones break.

A magnitude follows from Gaia's magnitude and colour, a temperature from the colour, and a survey's own copy of Gaia's
brightness equals Gaia's. A table joined through a wrong key holds plausible values, each of another star; only this shows.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.declaration import Position, Relation
from lake.errors import listing
from lake.ingest import Runner, serial
from lake.manifest import Manifest, digest
from lake.partition import Ids
from lake.survey import OBSERVATIONS, Survey
from lake.table import Piece, Spec, Table

Floats = NDArray[np.float64]

LEAST_ROWS = 50
_SAMPLE_ROWS = 200_000
_LEAST_SAMPLE = 2_000
_SIGMA = 4.0
_LEAST_CONTRAST = 0.3
# Multiplication by an odd constant shuffles ids, whose order is that of the sky.
_SHUFFLE = np.uint64(0x9E3779B97F4A7C15)
# Another one halves them: of ids chosen by the first, all would be in one half.
_HALVE = np.uint64(0xC2B2AE3D27D4EB4F)
_ROUNDS = 25
_HUBER = 1.5
# Chance matches are spread evenly over the circle, with a median of 0.71 of its radius.
_LARGEST_MEDIAN_SEPARATION = 0.55
_STATISTICS = ("match_separation", "match_candidates", "number_of_mates", OBSERVATIONS)


@dataclass(frozen=True)
class Verdict:
    """What the verification of one table found.

    Attributes
    ----------
    problems
        What breaks, in words; empty for sound matches.
    records
        One per relation: what was compared, on how many rows, how many were outliers.
    statistics
        Separations, candidates, mates, observations.
    unverified
        Tables that were not at hand, so that relations to them were not tested.
    asked
        Fingerprint of the declared relations (see `asked`).
    """

    problems: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()
    asked: str = ""


def asked(survey: Survey) -> str:
    """Return the fingerprint of what a survey's declaration asks of its matches; it decides no rows, so no build knows it."""
    return digest([asdict(one) for one in survey.relations])[:16] if survey.relations else ""


def due(manifest: Manifest, survey: Survey | None, at_hand: Collection[str]) -> str:
    """Say why the matches of a table that passed its check are to be verified again; nothing if they are not.

    Parameters
    ----------
    survey
        That which feeds the table, if one does.
    at_hand
        Names of the tables that relations can be tested with.
    """
    if manifest.checks is None or survey is None or manifest.table != survey.name or not survey.relations:
        return ""
    if manifest.checks.get("asked") != asked(survey):
        return "its matches are to be verified by the relations that its declaration asks for now"
    arrived = sorted(set(manifest.checks.get("unverified", ())) & set(at_hand))
    return f"its matches can now be verified with {listing(arrived)}" if arrived else ""


@dataclass(frozen=True)
class SampleTask:
    """Order to read the pairs of one file of a table: values and what they are compared with."""

    relation: Relation
    own: Spec
    other: Spec
    pieces: tuple[tuple[Piece, Piece], ...]
    most: int


@dataclass(frozen=True)
class Sample:
    """Pairs without nulls: ids (n,), values (n,), what they are compared with (n, k); `rows` counts those left unread too."""

    ids: Ids
    value: Floats
    against: Floats
    rows: int


def read_sample(task: SampleTask) -> Sample:
    """Read the pairs of one file; of many, those whose ids hash lowest, so that any partitioning draws the same."""
    found = [_pairs(task, own, other) for own, other in task.pieces]
    ids = np.concatenate([one.ids for one in found] or [np.empty(0, np.int64)])
    value = np.concatenate([one.value for one in found] or [np.empty(0)])
    against = np.concatenate([one.against for one in found] or [np.empty((0, len(task.relation.against)))])
    return _few(Sample(ids, value, against, len(ids)), task.most)


def _few(sample: Sample, most: int) -> Sample:
    """Return the pairs whose ids hash lowest, in their order; all of them if they are few."""
    if len(sample.ids) <= most:
        return sample
    chosen = np.sort(np.argsort(sample.ids.astype(np.uint64) * _SHUFFLE, kind="stable")[:most])
    return Sample(sample.ids[chosen], sample.value[chosen], sample.against[chosen], sample.rows)


def _pairs(task: SampleTask, own: Piece, other: Piece) -> Sample:
    left, right = task.own.read(own), task.other.read(other)
    ids, at, to = np.intersect1d(
        left["source_id"].to_numpy(), right["source_id"].to_numpy(), assume_unique=True, return_indices=True
    )
    value = _of(left, task.relation.value)[at]
    against = np.stack([_of(right, name)[to] for name in task.relation.against], axis=1)
    whole = np.isfinite(value) & np.isfinite(against).all(axis=1)
    return Sample(ids[whole], value[whole], against[whole], int(whole.sum()))


def _of(table: pa.Table, name: str | tuple[str, str]) -> Floats:
    """Return a column, or the difference of two, with NaN for null."""
    if isinstance(name, str):
        return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
    return _of(table, name[0]) - _of(table, name[1])


def _names(value: str | tuple[str, str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _said(value: str | tuple[str, str]) -> str:
    return " - ".join(_names(value))


def _tasks(table: Table, reference: Table, relation: Relation) -> Iterator[SampleTask]:
    own = table.spec(_names(relation.value))
    other = reference.spec([name for part in relation.against for name in _names(part)])
    parts = [part for part in table.manifest.partitions if part.key is not None]
    most = max(_LEAST_SAMPLE, _SAMPLE_ROWS // max(1, len(parts)))
    for part in parts:
        low, high = np.searchsorted(table.grid.array, [part.first, part.end])
        pairs = zip(table.pieces[low:high], reference.pieces[low:high], strict=True)
        yield SampleTask(relation, own, other, tuple(pair for pair in pairs if all(piece.key for piece in pair)), most)


def design(against: Floats, centre: Floats, width: Floats, limits: Floats) -> Floats:
    """Return the terms of the smooth function: third order in one column, second order in several.

    Beyond `limits` it goes on as a straight line, so that few far values cannot bend it.
    """
    straight = (against - centre) / width
    scaled = (np.clip(against, limits[0], limits[1]) - centre) / width
    n, k = scaled.shape
    terms = [np.ones(n), *straight.T]
    terms += [scaled[:, i] * scaled[:, j] for i in range(k) for j in range(i, k)]
    terms += [scaled[:, 0] ** 3] if k == 1 else []
    return np.stack(terms, axis=1)


def fit(value: Floats, against: Floats) -> Callable[[Floats], Floats]:
    """Fit the smooth function robustly, by least squares with Huber's weights, and return it."""
    centre, limits = np.median(against, axis=0), np.quantile(against, [0.005, 0.995], axis=0)
    width = np.maximum(np.subtract(*np.quantile(against, [0.84, 0.16], axis=0)), 1e-12)
    terms, weight = design(against, centre, width, limits), np.ones(len(value))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        solution = np.asarray(np.linalg.lstsq(terms * root[:, None], value * root, rcond=1e-10)[0], dtype=np.float64)
        residual = value - terms @ solution
        weight = np.minimum(1.0, _HUBER * max(_scatter(residual), 1e-12) / np.maximum(np.abs(residual), 1e-300))
    return partial(_predicted, solution, centre, width, limits)


def _predicted(solution: Floats, centre: Floats, width: Floats, limits: Floats, against: Floats) -> Floats:
    return np.asarray(design(against, centre, width, limits) @ solution)


def _scatter(residual: Floats) -> float:
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def judge(relation: Relation, sample: Sample, parts: Sequence[Sample] = ()) -> dict[str, Any]:
    """Compare pairs with a relation.

    Two things are asked. Are too many rows farther off than the tolerance? And does the relation say anything at all of the
    values: their rank correlation r with what it predicts, each half of the rows predicted from the other half, must not be
    smaller than right matches have. Both allow for four standard deviations of chance, so that few rows raise no alarm; but
    where there are enough rows to judge, r must be half of it at least.

    Parameters
    ----------
    parts
        The same pairs file by file: one file of wrong pairs among many right ones would not show in the whole.

    Returns
    -------
    dict
        What was compared, ``rows``, ``outliers`` and their ``share``, ``scatter`` (of the residuals over that of rows matched
        to other stars, from r as ``sqrt(1 - r**2)``), the ``worst`` rows, the ``odd_files`` by their first source_id, and
        ``sound``: True, False, or None where there are too few rows to judge.
    """
    n = len(sample.ids)
    record: dict[str, Any] = {
        "value": _said(relation.value),
        "against": f"{', '.join(map(_said, relation.against))} of {relation.table}",
        "rows": n,
        "sound": None,
    }
    if n < LEAST_ROWS:
        return record
    expected = fit(sample.value, sample.against)
    residual = sample.value - expected(sample.against)
    r, least = _correlation(sample), float(np.sqrt(1.0 - relation.scatter**2))
    share = _share(residual, relation)
    odd = _odd_files(relation, sample, parts, expected)
    chance = _SIGMA / np.sqrt(n)
    judgeable = chance < least
    # Few rows of other stars reach some correlation by chance: where it can be told, half of what is asked is the least.
    unrelated = r < max(least - chance, 0.5 * least if judgeable else -1.0)
    too_many = share > relation.outliers + _SIGMA * _binomial(relation.outliers, n)
    worst = np.argsort(-np.abs(residual))[:3]
    return record | {
        "outliers": int((np.abs(residual) > relation.tolerance).sum()),
        "share": round(share, 4),
        "scatter": round(float(np.sqrt(1.0 - max(r, 0.0) ** 2)), 3),
        "worst": [f"source_id {sample.ids[i]}: {sample.value[i]:.6g}, {residual[i]:+.3g} off" for i in worst],
        "odd_files": odd,
        "sound": False if unrelated or too_many or odd else True if judgeable else None,
    }


def _correlation(sample: Sample) -> float:
    """Return the rank correlation of values with predictions from the other half of the rows."""
    from scipy.stats import rankdata

    half = (sample.ids.astype(np.uint64) * _HALVE) >> np.uint64(63) == 1
    predicted = np.empty(len(half))
    for own in (half, ~half):
        if not own.any() or own.all():
            return 0.0
        predicted[own] = fit(sample.value[~own], sample.against[~own])(sample.against[own])
    first, second = rankdata(sample.value), rankdata(predicted)
    # Equal values share a rank, and values all equal say nothing.
    return float(np.corrcoef(first, second)[0, 1]) if np.ptp(first) and np.ptp(second) else 0.0


def _odd_files(relation: Relation, sample: Sample, parts: Sequence[Sample], expected: Callable[[Floats], Floats]) -> list[int]:
    """Return the first source_id of each file whose rows lie like those of other stars, where the relation can tell."""
    other = np.roll(sample.value, len(sample.value) // 2)
    chance = _share(other - expected(sample.against), relation)
    if chance < relation.outliers + _LEAST_CONTRAST:
        return []
    # Half way between what right matches may have and what matches to other stars would have.
    most = 0.5 * (relation.outliers + chance)
    return [
        int(one.ids[0])
        for one in parts
        if len(one.ids) >= LEAST_ROWS
        and _share(one.value - expected(one.against), relation) > most + _SIGMA * _binomial(most, len(one.ids))
    ]


def _share(residual: Floats, relation: Relation) -> float:
    return float((np.abs(residual) > relation.tolerance).mean())


def _binomial(share: float, rows: int) -> float:
    """Return the standard deviation of a share of some rows."""
    return float(np.sqrt(share * (1.0 - share) / rows))


def verify(table: Table, survey: Survey, references: Mapping[str, Table], *, run: Runner = serial) -> Verdict:
    """Test all relations of a survey's table, and the distribution of its separations.

    Parameters
    ----------
    references
        Opened tables by name. Relations to a table that is not among them are not tested, which the verdict says.
    """
    problems: list[str] = []
    records: list[dict[str, Any]] = []
    for relation in survey.relations:
        reference = references.get(relation.table)
        if reference is None:
            continue
        samples = list(run(f"verify {table.name}", read_sample, list(_tasks(table, reference, relation))))
        # Each file keeps enough rows to be judged by itself; of thousands of files, too many together.
        whole = _few(_together(samples, len(relation.against)), _SAMPLE_ROWS)
        record = judge(relation, whole, samples)
        records.append(record)
        if record["sound"] is False:
            problems.append(_problem(table.name, relation, record))
    statistics = _statistics(table)
    if isinstance(survey.match, Position) and statistics.get("rows", 0) >= LEAST_ROWS:
        median, radius = statistics["match_separation_median"], survey.match.radius
        if median > _LARGEST_MEDIAN_SEPARATION * radius:
            problems.append(
                f"{table.name}: the median separation of its matches is {median:.2f} arcsec within a radius of {radius:g}; "
                "chance matches lie so. Its positions are of another epoch or frame than declared, or not its own"
            )
    unverified = sorted({one.table for one in survey.relations} - set(references))
    return Verdict(tuple(problems), tuple(records), statistics, tuple(unverified), asked(survey))


def _together(samples: Sequence[Sample], width: int) -> Sample:
    ids = np.concatenate([one.ids for one in samples] or [np.empty(0, np.int64)])
    order = np.argsort(ids)
    value = np.concatenate([one.value for one in samples] or [np.empty(0)])
    against = np.concatenate([one.against for one in samples] or [np.empty((0, width))])
    return Sample(ids[order], value[order], against[order], sum(one.rows for one in samples))


def _problem(table: str, relation: Relation, record: Mapping[str, Any]) -> str:
    odd = record["odd_files"]
    where = f"{len(odd)} of its files are far worse than the others, such as that of source_id {odd[0]}. " if odd else ""
    return (
        f"{table}: its rows do not belong to their sources: {record['value']} against {record['against']}: "
        f"{record['outliers']:,} of {record['rows']:,} rows ({record['share']:.1%}) are more than {relation.tolerance:g} off, "
        f"right matches have at most {relation.outliers:.0%}; their scatter is {record['scatter']:.2f} of that of rows matched "
        f"to other stars (at most {relation.scatter:g}). Farthest off: {listing(record['worst'])}. {where}Rows were scrambled, "
        "shifted or joined through a wrong key: look at the key columns of its raw files, and fetch them again"
    )


def _statistics(table: Table) -> dict[str, float]:
    """Summarise the columns that tell how rows were matched."""
    names = [name for name in _STATISTICS if name in table.columns]
    if not names or not table.rows:
        return {}
    spec = table.spec(names)
    parts = [part for part in table.manifest.partitions if part.key is not None]
    step = max(1, len(parts) // 64)
    divisions = table.grid.divisions
    held = pa.concat_tables([spec.read(Piece(part.key, divisions[0], divisions[-1])) for part in parts[::step]])
    found: dict[str, float] = {"rows": float(held.num_rows)}
    for name in names:
        values = np.asarray(held[name].drop_null().to_numpy(), dtype=np.float64)
        if not len(values):
            continue
        if name == "match_separation":
            median = float(np.median(values))
            found |= {"match_separation_median": round(median, 4), "match_separation_mad": round(_scatter(values), 4)}
            found["match_separation_p99"] = round(float(np.quantile(values, 0.99)), 4)
            continue
        least = 0 if name == "number_of_mates" else 1
        found[f"share_{name}_above_{least}"] = round(float((values > least).mean()), 4)
    return found
