"""Verify the matches of a table by physics: relations that right pairs of rows obey and scrambled, shifted ones break.

A magnitude follows from Gaia's magnitude and colour, a temperature from the colour, and a survey's own copy of Gaia's
brightness equals Gaia's. A table joined through a wrong key holds plausible values, each of another star; only this shows.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Position, Relation
from lake.errors import listing
from lake.ingest import Runner, serial
from lake.manifest import Manifest, digest
from lake.relation import LEAST_ROWS, Floats, Sample, few, judge, names_of, scatter
from lake.survey import OBSERVATIONS, Survey
from lake.table import Piece, Spec, Table

_SAMPLE_ROWS = 200_000
_LEAST_SAMPLE = 2_000
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


def read_sample(task: SampleTask) -> Sample:
    """Read the pairs of one file; of many, those whose ids hash lowest, so that any partitioning draws the same."""
    found = [_pairs(task, own, other) for own, other in task.pieces]
    ids = np.concatenate([one.ids for one in found] or [np.empty(0, np.int64)])
    value = np.concatenate([one.value for one in found] or [np.empty(0)])
    against = np.concatenate([one.against for one in found] or [np.empty((0, len(task.relation.against)))])
    return few(Sample(ids, value, against, len(ids)), task.most)


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
    """Return a column, or the difference of two, with NaN for null; of lists, the decimal logarithm of the first element."""
    if not isinstance(name, str):
        return _of(table, name[0]) - _of(table, name[1])
    values = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    first = np.asarray(pc.list_element(values, 0).to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.log10(first, out=np.full(len(first), np.nan), where=first > 0)


def _tasks(table: Table, reference: Table, relation: Relation) -> Iterator[SampleTask]:
    own = table.spec(names_of(relation.value))
    other = reference.spec([name for part in relation.against for name in names_of(part)])
    parts = [part for part in table.manifest.partitions if part.key is not None]
    most = max(_LEAST_SAMPLE, _SAMPLE_ROWS // max(1, len(parts)))
    for part in parts:
        low, high = np.searchsorted(table.grid.array, [part.first, part.end])
        pairs = zip(table.pieces[low:high], reference.pieces[low:high], strict=True)
        yield SampleTask(relation, own, other, tuple(pair for pair in pairs if all(piece.key for piece in pair)), most)


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
        whole = few(_together(samples, len(relation.against)), _SAMPLE_ROWS)
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
            found |= {"match_separation_median": round(median, 4), "match_separation_mad": round(scatter(values), 4)}
            found["match_separation_p99"] = round(float(np.quantile(values, 0.99)), 4)
            continue
        least = 0 if name == "number_of_mates" else 1
        found[f"share_{name}_above_{least}"] = round(float((values > least).mean()), 4)
    return found
