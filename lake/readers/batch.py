"""Match the columns of a raw file with a declaration, and bring flattened and long forms into the declared one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.columns import column
from lake.errors import RawFileError, listing
from lake.readers.elements import element
from lake.survey import Survey


class LackingError(RawFileError):
    """Say that a table lacks a required column; another table of the same file may hold it."""


@dataclass(frozen=True)
class Selection:
    """Which of a file's columns are read, and what they become.

    Attributes
    ----------
    scalar
        Canonical name -> name in the file, for columns that are read as they are.
    elements
        Canonical name -> name in the file and place from 0, for one element of an array, or one letter of a text.
    flat
        Canonical list column -> the file's scalar columns that hold its elements, in order.
    by
        Name in the file of the column that numbers the samples of a long form; empty otherwise.
    converted
        Canonical columns that come in other units.
    absent
        Canonical columns that the file lacks.
    ignored
        The file's columns that no declaration names.
    """

    scalar: Mapping[str, str]
    elements: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    flat: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by: str = ""
    converted: frozenset[str] = frozenset()
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Every column to read, once, under its name in the file."""
        names = [*self.scalar.values(), *(name for name, _ in self.elements.values())]
        names += [name for held in self.flat.values() for name in held]
        return list(dict.fromkeys([*names, *([self.by] if self.by else [])]))

    def types(self) -> dict[str, pa.DataType]:
        """Return the type in which each column of the file is expected: the vocabulary's (of one element, for flat ones).

        Numbers to be converted keep all their digits until they are. Arrays and texts of which elements are taken are
        text until they are taken apart.
        """
        kinds = {name: column(canonical).type for canonical, name in self.scalar.items()}
        wide = {name for canonical, name in self.scalar.items() if canonical in self.converted}
        kinds |= {name: pa.float64() for name in wide if pa.types.is_floating(kinds[name])}
        if self.by:
            kinds = {name: kind.value_type if pa.types.is_list(kind) else kind for name, kind in kinds.items()}
        kinds |= {name: column(canonical).type.value_type for canonical, names in self.flat.items() for name in names}
        kinds |= {name: pa.string() for name, _ in self.elements.values()}
        return {name: kinds.get(name, pa.float64()) for name in self.names}


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a raw file: canonical names, raw types.

    Attributes
    ----------
    first_row
        Number of data rows before this batch, so that errors can name a row of the file.
    """

    table: pa.Table
    absent: tuple[str, ...]
    ignored: tuple[str, ...]
    first_row: int = 0


def select(names: Sequence[str], survey: Survey, path: Path | str) -> Selection:
    """Choose a file's columns.

    Raises
    ------
    RawFileError
        If the file has columns that only another release has, or lacks a required column (then a `LackingError`).
    """
    held = {name.strip().lower(): name for name in reversed(names)}
    lower = [name.strip().lower() for name in names]
    twice = sorted({name for name in lower if lower.count(name) > 1}) if len(held) < len(lower) else []
    if twice:
        raise RawFileError(
            f"{path}: column {listing(map(repr, twice))} stands more than once; rename the repeats or fetch it again"
        )
    foreign = {name: release for name, release in survey.foreign.items() if name.lower() in held}
    if foreign:
        name, release = next(iter(foreign.items()))
        raise RawFileError(
            f"{path}: column {name!r} exists only in {release}, but {survey.name} takes {survey.release} files; "
            f"ids of another release name other sources: pass files of {survey.release}"
        )
    there = {canonical: held[raw.name.lower()] for canonical, raw in survey.columns.items() if raw.name.lower() in held}
    places = {canonical: raw.element for canonical, raw in survey.columns.items() if raw.element is not None}
    scalar = {canonical: name for canonical, name in there.items() if canonical not in places}
    elements = {canonical: (name, places[canonical]) for canonical, name in there.items() if canonical in places}
    flat = _flattened(held, [canonical for canonical in survey.columns if canonical not in there], survey, path)
    by = held.get(survey.long.by.lower(), "") if survey.long else ""
    found = {*there, *flat}
    lacking = [f"{survey.columns[name].name} ({column(name).type})" for name in survey.required if name not in found]
    if lacking:
        raise LackingError(
            f"{path}: required column {listing(lacking)} of {survey.name} is missing; the file holds: {listing(names, 30)}. "
            "Export it again with this column, or ingest the file under the survey it belongs to (`gaialake surveys`)"
        )
    chosen = Selection(scalar=scalar, elements=elements, flat=flat, by=by)
    return Selection(
        scalar=scalar,
        elements=elements,
        flat=flat,
        by=by,
        converted=frozenset(name for name in there if survey.columns[name].unit not in ("", column(name).unit)),
        absent=tuple(name for name in survey.columns if name not in found),
        ignored=tuple(sorted(set(names) - set(chosen.names))),
    )


def _flattened(held: Mapping[str, str], wanted: list[str], survey: Survey, path: Path | str) -> dict[str, tuple[str, ...]]:
    """Find list columns whose elements stand in the file one by one: canonical name -> the file's names, in order."""
    flat: dict[str, tuple[str, ...]] = {}
    for canonical in wanted:
        raw = survey.columns[canonical]
        for spelling in raw.flat:
            numbered = [spelling.format(raw.flat_from + k).lower() for k in range(survey.lengths[canonical])]
            if numbered[0] in held:
                missing = [name for name in numbered if name not in held]
                if missing:
                    raise RawFileError(
                        f"{path}: {canonical} is flattened as {numbered[0]} ..., without {listing(missing)}; fetch it again"
                    )
                flat[canonical] = tuple(held[name] for name in numbered)
                break
    return flat


def batch_of(table: pa.Table, selection: Selection, survey: Survey, path: Path | str) -> RawBatch:
    """Rename a table of file columns to canonical names, stacking flattened and folding long columns into lists.

    Raises
    ------
    ElementError
        If an array lacks an element that the survey declares.
    """
    columns = {canonical: table[name] for canonical, name in selection.scalar.items()}
    for canonical, (name, place) in selection.elements.items():
        kind = column(canonical).type
        wide = canonical in selection.converted and pa.types.is_floating(kind)
        columns[canonical] = element(table[name], place, pa.float64() if wide else kind, name)
    for canonical, names in selection.flat.items():
        columns[canonical] = _stack([table[name] for name in names])
    if selection.by:
        columns = _fold(columns, table[selection.by], survey, path)
    ordered = {name: columns[name] for name in survey.columns if name in columns}
    return RawBatch(table=pa.table(ordered), absent=selection.absent, ignored=selection.ignored)


def _stack(columns: list[pa.ChunkedArray]) -> pa.Array:
    """Make one list column of scalar columns; a row without any element is null."""
    values = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    empty = np.isnan(values).all(axis=1)
    listed = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), from_pandas=True), values.shape[1])
    if not empty.any():
        return listed
    return listed.take(pa.array(np.arange(len(values)), mask=empty))


def _fold(columns: dict[str, pa.ChunkedArray], by: pa.ChunkedArray, survey: Survey, path: Path | str) -> dict[str, pa.Array]:
    """Make one row of the samples of each source; the samples must be complete and in order."""
    assert survey.long is not None
    start, step, n = survey.long.grid
    ids = columns["source_id"].to_numpy()
    grid = np.tile(start + step * np.arange(n), len(ids) // n)
    sample = by.to_numpy(zero_copy_only=False)
    if len(ids) % n or not np.array_equal(sample, grid) or (ids.reshape(-1, n) != ids[::n, None]).any():
        raise RawFileError(
            f"{path}: {len(ids):,} rows do not fold into samples {start:g}, {start + step:g}, ... ({n} per source_id, in "
            f"order, by {survey.long.by}); first rows: {json.dumps(sample[:3].tolist())}. Fetch the product again"
        )
    folded: dict[str, pa.Array] = {}
    for name, values in columns.items():
        whole = values.combine_chunks()
        if pa.types.is_list(column(name).type):
            folded[name] = pa.FixedSizeListArray.from_arrays(pc.cast(whole, column(name).type.value_type), n)
        else:
            folded[name] = whole.take(pa.array(np.arange(0, len(ids), n)))
    return folded
