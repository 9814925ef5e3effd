"""Audit a training table before it is trained on: one report of all that is wrong, with a count, an example and what to do.

    report = audit_file("export/finetune.h5")
    print(report.text())

It reads what `lake.training_rows` knows, ours or that of others, and asks what `lake.training_checks` and the functions of this
module ask: ids, columns, values, the scaling of spectra, matches with other surveys, labels and their errors, and the split. An
error means that a model trained on the table learns something false; a warning asks for a look. What could not be tested is said.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake.columns import COLUMNS
from lake.errors import LakeError, listing
from lake.finetune import WIDE_LABELS
from lake.ingest import Runner, serial
from lake.relation import LEAST_ROWS
from lake.split import ORDER, SPLITS
from lake.training_checks import CHECKS, ERROR, FIRST, WARNING
from lake.training_columns import SPLIT
from lake.training_contract import columns
from lake.training_repeats import repeated
from lake.training_report import Audit, Finding, Report
from lake.training_rows import ARRAYS, BATCHES, RECORDS, Part, parts_of
from lake.training_spectra import formal, relations, spectra
from lake.training_tally import Hit, Tally, kind_of, tally, torn

MOST_MISSING = 0.5
_FEW = 100


def audit_part(part: Part) -> Tally:
    """Count over the rows of one part of a file."""
    return tally(part.read(), part.name, split=part.split, id_range=part.id_range)


def audit_file(path: Path, *, run: Runner = serial) -> Report:
    """Audit a training table in files.

    Parameters
    ----------
    path
        Folder of Parquet files, folder for Hugging Face, HDF5 file of either layout (or a folder with one), Parquet file.
    run
        Where parts are read.

    Returns
    -------
    Report
        A file that does not open or lacks what its layout needs is a report with that one error.
    """
    try:
        parts = parts_of(path)
    except LakeError as error:
        return Report(str(path), "unknown", 0, 0, (Finding(ERROR, "opens", str(path), 1, 1, str(error)),))
    found = Tally()
    try:
        for one in run("validate", audit_part, parts):
            found = found.merge(one)
    except LakeError as error:
        return Report(str(path), parts[0].form, 0, len(parts), (Finding(ERROR, "opens", str(path), 1, 1, str(error)),))
    return _report(str(path), Audit(parts[0].form, found, tuple(parts)))


def audit_batches(tables: Iterable[pa.Table], *, name: str = "training table") -> Report:
    """Audit the rows of a join, leaf by leaf in the order of the sky, without writing them."""
    return _report(name, Audit(BATCHES, tally(tables, name)))


def _report(name: str, audit: Audit) -> Report:
    findings = [one for check in TABLE_CHECKS for one in check(audit)]
    coverage: dict[str, dict[str, int]] = {}
    for (split, label), rows in sorted(audit.tally.coverage.items()):
        coverage.setdefault(split, {})[label or "rows"] = rows
    missing = {audit.own(column): round(1 - one.present / one.of, 6) for column, one in audit.tally.moments.items() if one.of}
    parts = len(audit.parts) or 1
    return Report(
        name, audit.form, audit.tally.rows, parts, tuple(findings), missing, coverage, tuple(dict.fromkeys(audit.untested))
    )


def _empty(audit: Audit) -> Iterator[Finding]:
    if not audit.tally.rows:
        yield Finding(ERROR, "empty", "all", 0, 0, "there is no row; look at what it was made from")


def _id_type(audit: Audit) -> Iterator[Finding]:
    for kind, rows in audit.tally.types.items():
        if kind is None:
            advice = "rows cannot be tied to stars, nor splits compared; write the table again with source_id as int64"
            yield Finding(ERROR, "id type", "source_id", rows, audit.tally.rows, advice, value="no such column")
        elif kind != "int64":
            advice = "store ids as int64: as float they name other stars above 2**53, as text they do not join"
            yield Finding(ERROR, "id type", "source_id", rows, audit.tally.rows, advice, value=kind)


def _order(audit: Audit) -> Iterator[Finding]:
    unordered = [one for one in audit.tally.spans if not one.ascends]
    if unordered:
        # HDF5 files of others are not sorted; a partition of the lake that is not gives wrong joins.
        level = WARNING if audit.form in (RECORDS, ARRAYS) else ERROR
        advice = f"sort by source_id in every part ({listing([one.part for one in unordered], 4)}), each source once"
        count, of = len(unordered), len(audit.tally.spans)
        yield Finding(level, "ids do not ascend", "source_id", count, of, advice, unordered[0].low)


_ADVICE: Mapping[str, tuple[str, float, str]] = {
    **{one.name: (one.level, one.share, one.advice) for one in (*FIRST, *CHECKS)},
    "text among numbers": (ERROR, 0.0, "every reader has to repair it; store numbers, with NaN or null for missing"),
    "id missing": (ERROR, 0.0, "leave rows without an id out, and count them"),
    "id of no source": (ERROR, 0.0, "no Gaia id has such a HEALPix pixel; ids of another catalogue, or overflown"),
    "id outside its file": (ERROR, 0.0, "the file is named by other pixels; a join by partition loses these rows"),
    "position of another source": (ERROR, 0.0, "ra and dec lie elsewhere than the pixel of the id: rows were shifted"),
    "unknown split": (ERROR, 0.0, f"a split is one of {listing(SPLITS)} or reserve, and the same as its place says"),
}


def _values(audit: Audit) -> Iterator[Finding]:
    for (check, column), hit in audit.tally.hits.items():
        if check in _ADVICE:
            level, share, advice = _ADVICE[check]
            if hit.count > share * hit.of:
                yield Finding(level, check, audit.own(column), hit.count, hit.of, advice, hit.source_id, hit.value)


def _rounded_ids(audit: Audit) -> Iterator[Finding]:
    hit = audit.tally.hits.get(("id through float64", "source_id"), Hit(0, 0))
    if hit.of >= LEAST_ROWS and hit.count > 0.9 * hit.of:
        advice = "nearly all large ids are multiples of 512, as float64 makes them: they name other stars; read them as int64"
        yield Finding(ERROR, "id through float64", "source_id", hit.count, hit.of, advice, hit.source_id)


def _missing(audit: Audit) -> Iterator[Finding]:
    moments = audit.tally.moments
    of = sum(one.of for one in moments.values())
    gone = of - sum(one.present for one in moments.values())
    if gone > MOST_MISSING * of:
        yield Finding(WARNING, "mostly missing", "all", gone, of, "more than half of all values are missing; look at the joins")
    dead = [audit.own(name) for name, one in moments.items() if one.of and not one.present]
    if dead:
        advice = "no row has a value: the survey is not in the lake, or was joined by a wrong key"
        yield Finding(WARNING, "column without values", listing(dead), len(dead), len(moments), advice)
    for name, one in moments.items():
        known = COLUMNS.get(name)
        if known is not None and pa.types.is_floating(known.type) and one.present > _FEW and one.low == one.high:
            advice = "all values are equal, so scalings divide by zero; look at how it was filled"
            yield Finding(WARNING, "constant column", audit.own(name), one.present, one.of, advice, value=one.low)


def _leaks(audit: Audit) -> Iterator[Finding]:
    patches = torn(audit.tally)
    if len(patches):
        advice = f"split by patch of the sky (HEALPix level {ORDER}), as lake.split does: neighbours of test stars are trained on"
        of = int((audit.tally.patches > 0).sum())
        yield Finding(ERROR, "split leaks by patch", SPLIT, len(patches), of, advice, value=f"patch {patches[0]}")


def _covered(audit: Audit) -> Iterator[Finding]:
    coverage = audit.tally.coverage
    if not kind_of(next(iter(audit.tally.names), ()))[1]:
        return
    if not coverage:
        yield Finding(WARNING, "no split", SPLIT, audit.tally.rows, audit.tally.rows, "split by patch, as lake.split does")
        return
    for split in SPLITS:
        rows = coverage.get((split, ""), 0)
        if not rows:
            yield Finding(WARNING, "split without rows", split, 0, audit.tally.rows, "it cannot be trained or tested on")
        for label in WIDE_LABELS:
            if rows and coverage.get((split, label)) == 0:
                advice = "the label is never seen there; take a larger table, or another seed of the split"
                yield Finding(WARNING, "label without rows", f"{audit.own(label)} in {split}", 0, rows, advice)


TABLE_CHECKS: tuple[Callable[[Audit], Iterator[Finding]], ...] = (
    _empty,
    _id_type,
    _rounded_ids,
    _order,
    repeated,
    columns,
    _values,
    _missing,
    spectra,
    relations,
    formal,
    _leaks,
    _covered,
)


def audit_scaling(scaling: Mapping[str, Any], names: Sequence[str]) -> list[Finding]:
    """Audit the scaling of a model's bundle (its JSON): one positive, finite scale per input.

    Parameters
    ----------
    scaling
        With lists ``centre``, ``scale`` and ``count``, one number per input.
    names
        The inputs in order.
    """
    findings = []
    for what in ("centre", "scale", "count"):
        held = list(scaling.get(what, ()))
        if len(held) != len(names):
            advice = f"the bundle scales {len(held)} values, the model has {len(names)} inputs; train it again"
            findings.append(Finding(ERROR, "scaling shape", what, len(held), len(names), advice))
            continue
        bad = [
            name
            for name, value in zip(names, held, strict=True)
            if value is None or not math.isfinite(value) or (what == "scale" and value <= 0)
        ]
        if bad:
            findings.append(Finding(ERROR, "scaling value", listing(bad), len(bad), len(names), "train the model again"))
        if what == "count" and 0 in held:
            never = [name for name, value in zip(names, held, strict=True) if value == 0]
            advice = "these inputs were never seen in training and are taken as missing"
            findings.append(Finding(WARNING, "scaling without values", listing(never), len(never), len(names), advice))
    return findings
