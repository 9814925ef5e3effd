"""Describe the labels of all surveys, combined on one base, as a table of the lake; check and freeze its split."""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from jobs.product import Product
from lake.ages import RULES as AGE_RULES
from lake.columns import column, schema
from lake.columns.homogenised import SOURCES
from lake.derive import Derivation
from lake.finetune import LABELLED
from lake.homogenise import COLUMNS_OF, HUBER, combine, refusals, schema_columns
from lake.join import Join, join
from lake.label_sources import CATALOGUES
from lake.manifest import digest
from lake.parquet import row_bytes
from lake.root import Lake
from lake.split import FROZEN, SEED, SHARES, TEST, freeze, frozen, leaks, split_of
from lake.split import ORDER as BLOCK_ORDER
from lake.table import Table
from lake.verify import Verdict

# Raise by hand when the same rules give other numbers.
_VERSION = 1
_COLUMNS = (*schema_columns(), "split")


def _with_split(rows: pa.Table) -> pa.Table:
    made = combine(rows)
    return made.append_column("split", split_of(made["source_id"]))


def label_rows(lake: Lake) -> Join:
    """Return all that label tables say of every star that any of them has, columns called ``<table>.<column>``."""
    names = [name for name in COLUMNS_OF if name in lake.published]
    columns = {name: {one: f"{name}.{one}" for one in COLUMNS_OF[name]} for name in names}
    return join([lake.table(name) for name in names], columns=columns, how="outer")


def _derivation(lake: Lake, version: str) -> Derivation:
    used = [lake.table(name).manifest for name in COLUMNS_OF if name in lake.published]
    return Derivation(
        name=LABELLED,
        title=f"Labels of {len(SOURCES)} catalogues combined on the base of APOGEE DR17",
        release=lake.release,
        kind="labels",
        citation="; ".join(dict.fromkeys(one.citation for one in used)),
        licence="; ".join(dict.fromkeys(one.licence for one in used)),
        function=_with_split,
        columns=_COLUMNS,
        lengths={},
        version=version,
        made_of={"rules": version},
        unused=refusals,
    )


def verify_split(lake: Lake, table: Table) -> Verdict:
    """Verify that no star, and no patch of the sky, is trained on and tested on, and that frozen test stars still are."""
    parts = [table.spec(["split"]).read(piece) for piece in table.pieces if piece.key]
    rows = pa.concat_tables([table.spec(["split"]).schema().empty_table(), *parts])
    problems = [f"split of {table.name}: {one}" for one in leaks(rows["source_id"], rows["split"])]
    kept = frozen(lake.storage)
    if kept is not None:
        again = set(split_of(kept).to_pylist()) - {TEST}
        if again:
            problems.append(f"split of {table.name}: frozen test stars would now be {', '.join(sorted(again))}")
    return Verdict(problems=tuple(problems))


def freeze_split(lake: Lake, table: Table) -> None:
    """Freeze the test stars of a lake when its labels are first published, or after a run that was killed in between."""
    if lake.storage.exists(FROZEN):
        return
    ids = _test_ids([table.spec(["split"]).read(piece) for piece in table.pieces if piece.key])
    if len(ids):
        freeze(lake.storage, ids)


def _test_ids(parts: Sequence[pa.Table]) -> pa.ChunkedArray:
    chosen = [one.filter(pc.equal(one["split"], TEST))["source_id"].combine_chunks() for one in parts]
    return pa.chunked_array(chosen, pa.int64())


def _rules() -> str:
    """Return the fingerprint of all that decides the combination beside its inputs."""
    declared = [asdict(one) for one in (*CATALOGUES, *AGE_RULES)]
    limits = [[name, column(name).low, column(name).high] for name in _COLUMNS]
    return digest([_VERSION, declared, limits, HUBER, SEED, SHARES, BLOCK_ORDER])[:16]


PRODUCT = Product(
    name=LABELLED,
    table=LABELLED,
    inputs=tuple(COLUMNS_OF),
    join=label_rows,
    derivation=_derivation,
    width=lambda _storage, _version: row_bytes(schema(_COLUMNS)),
    every=True,
    rules=_rules(),
    verify=verify_split,
    released=freeze_split,
)
