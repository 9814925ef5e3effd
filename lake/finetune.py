"""Make the fine-tune table: combined labels beside the columns of the pretraining table, and what each star is for.

Rows are the stars that have an XP spectrum and a label. Labels stand as value and error, in the order of the fine-tune table
of McKay & Fabbro: temperature, gravity, metallicity, alpha, age. On the base of APOGEE DR17 metallicity is [M/H], and [Mg/Fe]
stands for alpha: the one alpha element that every translation carries. Stars of the test set are frozen when the labels are
first published (see `lake.split`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from lake.columns.homogenised import LABELS, SOURCES
from lake.errors import LakeError
from lake.join import Join, join
from lake.partition import Ids
from lake.pretrain import ANCHOR, COLUMNS, assemble, spelled
from lake.pretrain import SOURCES as TABLES
from lake.split import FROZEN, frozen, with_reserve
from lake.storage import Storage
from lake.table import Table

LABELLED = "homogenised_labels"
# Label -> its name in wide tables; fe_h and alpha are words of the original for [M/H] and [Mg/Fe] here.
WIDE_LABELS: Mapping[str, str] = {"teff": "teff", "logg": "logg", "m_h": "fe_h", "mg_fe": "alpha", "age": "age"}
# The same of labels and their errors, in order.
LABEL_PAIRS: Mapping[str, str] = {
    part: said for name, wide in WIDE_LABELS.items() for part, said in ((name, wide), (f"{name}_error", f"e_{wide}"))
}
TARGETS = tuple(LABEL_PAIRS)
PROVENANCE = (
    "radial_velocity",
    "radial_velocity_error",
    *(f"{label}_{what}" for label in LABELS for what in ("n_sources", "sources", "chi2")),
    "age_source",
    "split",
)
FINETUNE_COLUMNS = (*TARGETS, *COLUMNS, *PROVENANCE)


def finetune(tables: Mapping[str, Table], storage: Storage, *, wide: bool = False) -> Join:
    """Prepare the fine-tune table as a lazy join; nothing is read.

    Parameters
    ----------
    tables
        The lake's tables by name. Labels and XP are required; where another one is not in the lake, its columns are null.
    storage
        Of the lake, which holds the frozen test stars.
    wide
        Use the names and the order of the original table: teff, e_teff, ..., alpha, e_alpha, age, e_age, W1, ..., spec_source.

    Raises
    ------
    LakeError
        If the lake has no combined labels or no XP table.
    """
    for name, way in ((LABELLED, f"predict {LABELLED}"), (ANCHOR, f"ingest {ANCHOR} --raw PATH...")):
        if name not in tables:
            raise LakeError(f"the fine-tune table needs {name}, which is not published in this lake; `gaialake {way}`")
    present = [name for name in TABLES if name in tables]
    columns = {LABELLED: (*TARGETS, *PROVENANCE)} | {name: TABLES[name] for name in present}
    joined = [tables[LABELLED], *(tables[name] for name in present)]
    return join(joined, columns=columns, how="left", then=_FineTune(storage, wide))


@dataclass(frozen=True)
class _FineTune:
    """Keep the stars with spectrum and label, scale the spectra, order the columns; a class so that tasks can carry it."""

    storage: Storage
    wide: bool

    def __call__(self, rows: pa.Table) -> pa.Table:
        spectra = [pc.is_valid(rows[name]) for name in ("bp_coefficients", "rp_coefficients")]
        labels = [pc.is_valid(rows[name]) for name in WIDE_LABELS]
        rows = rows.filter(pc.and_(pc.or_(*spectra), _any(labels)))
        split = with_reserve(rows["source_id"], rows["split"], _frozen(self.storage, self.storage.size(FROZEN)))
        rows = rows.set_column(rows.schema.get_field_index("split"), "split", split)
        features = assemble(rows.drop_columns([*TARGETS, *PROVENANCE]))
        if self.wide:
            features = spelled(features)
        columns = {"source_id": rows["source_id"]}
        columns |= {LABEL_PAIRS[name] if self.wide else name: rows[name] for name in TARGETS}
        columns |= {name: features[name] for name in features.column_names if name != "source_id"}
        if self.wide:
            columns["spec_source"] = _spelled_sources(rows)
        return pa.table(columns | {name: rows[name] for name in PROVENANCE})


@lru_cache(maxsize=4)
def _frozen(storage: Storage, size: int | None) -> Ids | None:
    """Return the frozen test stars, read once per process; the size tells a list that came since."""
    return frozen(storage) if size is not None else None


def _any(masks: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    found = masks[0]
    for mask in masks[1:]:
        found = pc.or_(found, mask)
    return found


def _spelled_sources(rows: pa.Table) -> pa.Array:
    """Return the surveys behind any of a star's labels, such as ``apogee_dr17+galah_dr4``."""
    bits = rows[f"{LABELS[0]}_sources"]
    for label in LABELS[1:]:
        bits = pc.bit_wise_or(bits, rows[f"{label}_sources"])
    names = tuple(SOURCES)
    words = ["+".join(name for k, name in enumerate(names) if value >> k & 1) for value in range(1 << len(names))]
    return pa.array(words, pa.string()).take(bits.combine_chunks())
