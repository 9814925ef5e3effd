"""Hold the vocabulary: every canonical column once, with its Arrow type, unit, description and plausible limits.

Same quantity, same name; another quantity, another name. Surveys name columns from here, tables store them under these
names, and unit, description and the meaning of null travel in the Arrow field metadata of every file.
"""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from lake.columns import (
    apogee,
    extinction,
    gaia_parameters,
    gaia_source,
    galah,
    homogenised,
    labels,
    lamost,
    match,
    photometry,
    pretrain,
    pristine,
    quality,
    spectroscopic,
    spectrotranslator,
    xp,
)
from lake.columns.column import Column

__all__ = ["COLUMNS", "Column", "column", "schema"]


def _vocabulary(*chapters: Iterable[Column]) -> dict[str, Column]:
    """Return name -> column; a name used twice is a mistake that stops the import."""
    found: dict[str, Column] = {}
    for chapter in chapters:
        for entry in chapter:
            if entry.name in found:
                raise ValueError(f"lake.columns names {entry.name!r} twice; one quantity has one entry")
            found[entry.name] = entry
    return found


COLUMNS: Mapping[str, Column] = _vocabulary(
    apogee.COLUMNS,
    galah.COLUMNS,
    gaia_parameters.COLUMNS,
    gaia_source.COLUMNS,
    lamost.COLUMNS,
    spectroscopic.COLUMNS,
    spectrotranslator.COLUMNS,
    pristine.COLUMNS,
    match.COLUMNS,
    labels.COLUMNS,
    homogenised.COLUMNS,
    xp.COLUMNS,
    photometry.COLUMNS,
    quality.COLUMNS,
    extinction.COLUMNS,
    pretrain.COLUMNS,
)


def column(name: str) -> Column:
    """Return the vocabulary entry of one canonical column.

    Raises
    ------
    KeyError
        If the vocabulary lacks the name; the message says where to add it.
    """
    if name not in COLUMNS:
        raise KeyError(f"no column {name!r} in the vocabulary; add it once, with unit and limits, in lake/columns/")
    return COLUMNS[name]


def schema(names: Iterable[str], *, lengths: Mapping[str, int] | None = None) -> pa.Schema:
    """Return the Arrow schema of canonical columns, in the order given, units and descriptions in the field metadata.

    Parameters
    ----------
    names
        Canonical names.
    lengths
        Fixed sizes of the list columns among them; a list column without one keeps a variable length.
    """
    sizes = lengths or {}
    return pa.schema([column(name).field(sizes.get(name)) for name in names])
