"""Name the columns of training tables in files: canonical and wide names, the order in which they were stored, units.

The stored order is that of the original tables (McKay & Fabbro): 278 columns for pretraining; for fine-tuning 289, with the
labels after source_id and ``spec_source`` last. What this lake adds stands behind them. Two wide names mean another quantity
than the same word elsewhere in the lake: ``fe_h`` holds [M/H] and ``alpha`` holds [Mg/Fe], on the scale of APOGEE.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from lake.columns import COLUMNS
from lake.finetune import LABEL_PAIRS
from lake.join import Join
from lake.pretrain import COLUMNS as PRETRAIN
from lake.pretrain import WIDE

SPEC_SOURCE, SPLIT = "spec_source", "split"
_LAST_STORED = "parallax_error"
_BLOCK = re.compile(r"(bp_|rp_|bpe_|rpe_)(\d+)")
_STORED_PRETRAIN = tuple(WIDE[name] for name in PRETRAIN[: PRETRAIN.index(_LAST_STORED) + 1])
STORED = ("source_id", *LABEL_PAIRS.values(), *_STORED_PRETRAIN, SPEC_SOURCE)
_CANONICAL: Mapping[str, str] = {wide: name for name, wide in (*WIDE.items(), *LABEL_PAIRS.items())}
_SCALED = "; scaled to the brightness that flux_state names"


def is_wide(names: Iterable[str]) -> bool:
    """Tell whether a table has the names of wide tables, such as ``G`` for phot_g_mean_mag."""
    return not {"G", "BP", "RP", "bp_1"}.isdisjoint(names)


def has_labels(names: Iterable[str]) -> bool:
    """Tell a fine-tune table from a pretraining table."""
    return "teff" in names


def block_element(name: str) -> tuple[str, int]:
    """Return the block and the number, from 1, of one XP value of a wide table; any other name with 0.

    >>> block_element("bpe_12"), block_element("bp_flux_error")
    (('bpe_', 12), ('bp_flux_error', 0))
    """
    found = _BLOCK.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def canonical(name: str, *, wide: bool) -> str:
    """Return the vocabulary's name of a column of a training table.

    >>> canonical("bp_7", wide=True), canonical("fe_h", wide=True), canonical("fe_h", wide=False)
    ('bp_coefficients', 'm_h', 'fe_h')
    """
    return _CANONICAL.get(block_element(name)[0], name) if wide else name


def stored_first(names: Iterable[str]) -> list[str]:
    """Return the names of a wide table with those of the original tables first, in their order, and what is new behind.

    >>> stored_first(["source_id", "e_G", "bp_2", "bp_1", "G", "spec_source", "teff"])
    ['source_id', 'teff', 'G', 'bp_1', 'bp_2', 'spec_source', 'e_G']
    """
    places = {name: k for k, name in enumerate(STORED)}

    def place(name: str) -> tuple[int, int]:
        block, number = block_element(name)
        return places.get(block, len(STORED)), number

    return sorted(names, key=place)


def described(schema: pa.Schema, provenance: bytes = b"") -> pa.Schema:
    """Return the schema with unit, description and meaning of null of every column that the vocabulary knows.

    Parameters
    ----------
    provenance
        JSON on the tables it was made of (see `made_of`), kept as metadata of the schema.
    """
    wide = is_wide(schema.names)
    fields = []
    for field in schema:
        name = canonical(field.name, wide=wide)
        known, number = COLUMNS.get(name), block_element(field.name)[1] if wide else 0
        if known is not None and not field.metadata:
            held = known.field().metadata
            said = held[b"description"].decode() + (_SCALED if "coefficient" in name else "")
            held = {**held, b"description": (f"Element {number} of: {said}" if number else said).encode()}
            field = field.with_metadata(held)
        fields.append(field.with_nullable(field.name != "source_id"))
    return pa.schema(fields, metadata={b"gaialake": provenance} if provenance else None)


def units(schema: pa.Schema) -> dict[str, str]:
    """Return column -> unit, for those that have one."""
    held = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in described(schema)}
    return {name: unit for name, unit in held.items() if unit}


def made_of(join: Join) -> list[dict[str, Any]]:
    """Return name, title, build, rows, citation and licence of the tables that a training table is read from."""
    manifests = [table.manifest for table in join.tables]
    return [
        {
            "table": one.table,
            "title": one.title,
            "release": one.release,
            "build": one.build,
            "rows": one.rows,
            "citation": one.citation,
            "licence": one.licence,
        }
        for one in manifests
    ]
