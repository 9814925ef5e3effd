"""Compare our translation with the authors' published one: label by label, flag by flag, and both with the base itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.advice import numbers
from models.translation import TO, Label
from models.translation_quality import statistics
from models.translator_rows import within_limits

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Flags that both tables have; the output flag of the authors' extrinsic network is true in every row, and means nothing.
FLAGS = (
    "intrinsic_input_missing",
    "intrinsic_input_covered",
    "intrinsic_output_covered",
    "extrinsic_input_missing",
    "extrinsic_input_covered",
    "extrinsic_output_covered",
)


def comparison(ours: pa.Table, authors: pa.Table, base: pa.Table | None, labels: Sequence[Label]) -> dict[str, Any]:
    """Compare two translated tables on the sources that both have.

    Parameters
    ----------
    ours, authors
        ``source_id``, unique, and the columns of `lake.columns.spectrotranslator`.
    base
        ``source_id``, unique, and ``to_<target>`` of each label: what the base itself says of stars that did not train ours;
        None if there are none.

    Returns
    -------
    dict
        Ready for JSON. ``rows``: of either table and common; ``labels``: per label ``difference`` (`statistics` of ours minus
        authors' ``p50``), ``base``: ``ours`` and ``authors``, each minus the base on the same stars, or None; ``authors_null``
        and ``ours_null``: common rows without a value there, which in the authors' table are those with values that no star
        has; ``flags``: per flag the common rows by what either says; ``authors_unordered``: rows whose percentiles descend, or
        None if the table does not tell.
    """
    mine, theirs = _common(ours, authors)
    pair = (ours.take(mine), authors.take(theirs))
    shared = [name for name in FLAGS if all(name in one.column_names for one in pair)]
    unordered = authors["percentiles_ordered"].to_numpy() if "percentiles_ordered" in authors.column_names else None
    return {
        "rows": {"ours": ours.num_rows, "authors": authors.num_rows, "common": len(mine)},
        "labels": {label.name: _label(pair, base, label) for label in labels},
        "flags": {name: _flag(*(_flags(one, name) for one in pair)) for name in shared},
        "authors_unordered": None if unordered is None else int((~unordered.astype(bool)).sum()),
    }


def _label(pair: tuple[pa.Table, pa.Table], base: pa.Table | None, label: Label) -> dict[str, Any]:
    column = f"{label.name}_p50"
    ours, authors = (within_limits(numbers(one, column), column) for one in pair)
    both = np.isfinite(ours) & np.isfinite(authors)
    found: dict[str, Any] = {
        "unit": label.unit,
        "ours_null": int((~np.isfinite(ours)).sum()),
        "authors_null": int((~np.isfinite(authors)).sum()),
        "difference": _statistics((ours - authors)[both]),
        "base": None,
    }
    if base is not None:
        at, of_base = _common(pair[0], base)
        reference = within_limits(numbers(base.take(of_base), f"{TO}_{label.target}"), column)
        known = both[at] & np.isfinite(reference)
        found["base"] = {
            name: _statistics((values[at] - reference)[known]) for name, values in (("ours", ours), ("authors", authors))
        }
    return found


def _statistics(residual: Floats) -> dict[str, Any]:
    return statistics(residual, np.ones(len(residual)))


def _flag(ours: Flags, authors: Flags) -> dict[str, int]:
    return {
        "both": int((ours & authors).sum()),
        "only_ours": int((ours & ~authors).sum()),
        "only_authors": int((~ours & authors).sum()),
        "neither": int((~ours & ~authors).sum()),
    }


def _common(one: pa.Table, other: pa.Table) -> tuple[Ids, Ids]:
    """Return the positions in either table of the sources that both have, in ascending order of their ids."""
    _, at, of_other = np.intersect1d(one["source_id"].to_numpy(), other["source_id"].to_numpy(), True, True)
    return at, of_other


def _flags(table: pa.Table, name: str) -> Flags:
    """Return a flag; one that nobody set counts as false."""
    values: Flags = table[name].fill_null(False).to_numpy()
    return values
