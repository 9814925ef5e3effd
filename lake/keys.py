"""Look rows up in the raw files of another survey, by columns that both hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.conform import conform
from lake.declaration import Keys, Override
from lake.errors import RawFileError, SurveyError
from lake.readers import read
from lake.survey import survey

# Catalogues copy flags of each other exactly; more than a few that differ mean that rows were moved against their keys.
_LARGEST_DISAGREEMENT = 1e-3


@dataclass(frozen=True)
class Beside:
    """Raw files of another survey that are read beside a survey's own: (path, sha256) of each."""

    survey: str
    files: tuple[tuple[Path, str], ...]

    @property
    def contents(self) -> list[str]:
        """What the files hold, whatever they are called."""
        return sorted(sha for _, sha in self.files)


def looked_up(table: pa.Table, keys: Keys, beside: Beside, path: object) -> tuple[pa.Table, dict[str, int]]:
    """Give rows the ``source_id`` that another survey's row of the same keys has.

    Returns
    -------
    pa.Table
        The rows that were found, ``source_id`` first.
    dict
        Rows left out, by reason.

    Raises
    ------
    RawFileError
        If more than 0.1 % of the rows found differ from the other survey's in a column of `Keys.agree`.
    """
    other = _rows(beside, (*keys.on, "source_id", *keys.agree))
    at = _places(table, other, keys.on)
    if keys.agree:
        # Of several rows with these keys, the one that agrees is meant.
        agreeing = _places(table, other, (*keys.on, *keys.agree))
        at = np.where(agreeing >= 0, agreeing, at)
    missing, several = at < 0, np.zeros(len(table), dtype=bool)
    several[~missing] = _several_sources(other, keys.on)[at[~missing]]
    apart = _disagreeing(table, other, at, keys, path)
    dropped = {
        f"not in {keys.survey}, or without source_id there": int(missing.sum()),
        f"keys name several sources in {keys.survey}": int(several.sum()),
        f"differs from {keys.survey} in {' or '.join(keys.agree)}": int((apart & ~several).sum()),
    }
    kept = np.flatnonzero(~missing & ~several & ~apart)
    ids = other["source_id"].combine_chunks().take(pa.array(at[kept]))
    found = table.take(pa.array(kept)).add_column(0, pa.field("source_id", pa.int64(), nullable=False), ids)
    return found, {reason: rows for reason, rows in dropped.items() if rows}


def overridden(table: pa.Table, override: Override, beside: Beside, own: str) -> pa.Table:
    """Replace values by those of another survey's rows with the same keys, and say in `origin` where they come from."""
    if isinstance(survey(override.survey).override, Override):
        raise SurveyError(f"survey {own}: {override.survey} is overridden itself; overrides do not chain")
    other = _rows(beside, (*override.on, *override.columns))
    at = _places(table, other, override.on)
    hit = pa.array(at >= 0)
    index = pa.array(np.maximum(at, 0), mask=at < 0)
    for name in override.columns:
        theirs = other[name].combine_chunks().take(index)
        values = pc.if_else(hit, theirs, table[name].combine_chunks())
        table = table.set_column(table.column_names.index(name), table.field(name).with_nullable(True), values)
    origin = pc.if_else(hit, pa.scalar(override.survey), pa.scalar(own))
    return table.append_column(override.origin, origin)


def _rows(beside: Beside, columns: Sequence[str]) -> pa.Table:
    return _read(beside, tuple(dict.fromkeys(columns)))


@lru_cache(maxsize=4)
def _read(beside: Beside, columns: tuple[str, ...]) -> pa.Table:
    """Read some columns of all of a survey's raw rows; a worker does so once, not once a file."""
    declared = survey(beside.survey)
    unknown = [name for name in columns if name not in (*declared.columns, *declared.made)]
    if unknown:
        raise SurveyError(f"survey {beside.survey} has no column {unknown[0]!r} in its files, so no rows can be looked up by it")
    ranking = [name for name in declared.ranking if name.removeprefix("-") in (*declared.columns, *declared.made)]
    held = list(dict.fromkeys([*columns, *(name.removeprefix("-") for name in ranking)]))
    parts = []
    for path, _ in beside.files:
        for batch in read(path, declared):
            parts.append(conform(batch, declared, path).table.select(held))
    # The best row of a key is the first; then values decide, so that what is looked up does not depend on the order of files.
    whole = pa.concat_tables(parts).combine_chunks()
    keys = [(name.removeprefix("-"), "descending" if name.startswith("-") else "ascending") for name in ranking]
    ranked = [name for name, _ in keys]
    keys += [(name, "ascending") for name in columns if name not in ranked]
    return whole.take(pc.sort_indices(whole, sort_keys=keys)).select(columns)


def _named(table: pa.Table, on: Sequence[str]) -> pa.Array:
    """Return one text per row that names it; null where a part of the name is missing."""
    parts = [pc.cast(table[name].combine_chunks(), pa.string()) for name in on]
    return pc.binary_join_element_wise(*parts, "\x1f", null_handling="emit_null")


def _places(table: pa.Table, other: pa.Table, on: Sequence[str]) -> NDArray[np.int64]:
    """Return for each row the first row of the other table with the same keys, -1 without one."""
    found = pc.index_in(_named(table, on), value_set=_named(other, on), skip_nulls=True)
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _several_sources(other: pa.Table, on: Sequence[str]) -> NDArray[np.bool_]:
    """Tell the rows of the other table whose keys name more than one source_id there."""
    names = _named(other, on)
    first = pc.fill_null(pc.index_in(names, value_set=names), 0).to_numpy(zero_copy_only=False)
    ids = other["source_id"].to_numpy()
    odd = np.zeros(len(other), dtype=bool)
    odd[first[ids != ids[first]]] = True
    return np.asarray(odd[first])


def _disagreeing(table: pa.Table, other: pa.Table, at: NDArray[np.int64], keys: Keys, path: object) -> NDArray[np.bool_]:
    """Tell the rows that were found but differ in a column that both hold; refuse a file in which many do."""
    apart = np.zeros(len(table), dtype=bool)
    found = np.flatnonzero(at >= 0)
    for name in keys.agree:
        ours, theirs = table[name].combine_chunks().take(pa.array(found)), other[name].combine_chunks().take(pa.array(at[found]))
        odd = np.asarray(pc.fill_null(pc.not_equal(ours, theirs), False))
        if odd.mean() > _LARGEST_DISAGREEMENT if len(odd) else False:
            row = int(np.flatnonzero(odd)[0])
            named = ", ".join(f"{key} {table[key][int(found[row])].as_py()}" for key in keys.on)
            raise RawFileError(
                f"{path}: column {name!r}: row with {named} has {ours[row].as_py()!r}, but {keys.survey} has "
                f"{theirs[row].as_py()!r} for it ({int(odd.sum()):,} of {len(odd):,} rows differ): its rows were moved against "
                "their keys. Fetch the file again"
            )
        apart[found[odd]] = True
    return apart
