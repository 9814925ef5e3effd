"""Write a training table as a folder that Hugging Face `datasets` loads: Parquet shards by split beside a dataset card.

``load_dataset(FOLDER)`` gives the splits ``train``, ``validation`` and ``test``; a table without a split column is all
``train``. Sources that came into a test patch after the test set was frozen (``reserve``) are left out and counted.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from lake.errors import LakeError
from lake.join import Join
from lake.manifest import add_up
from lake.parquet import group_rows, row_bytes, write_partition
from lake.split import ORDER, RESERVE, SPLITS, TRAIN
from lake.training_columns import SPLIT, described, has_labels, made_of
from lake.training_files import Account, balanced, leaves_with_rows, new_folder, read_leaves
from lake.whole import write_whole

SHARD_BYTES = 256_000_000
# Size categories of the hub: smallest number of rows -> tag.
_SIZES = {0: "n<1K", 10**3: "1K<n<10K", 10**4: "10K<n<100K", 10**5: "100K<n<1M", 10**6: "1M<n<10M", 10**7: "10M<n<100M"}
_LARGEST = {10**8: "100M<n<1B", 10**9: "1B<n<10B"}


@dataclass
class _Shards:
    """The shards of one split: rows gather until they fill one."""

    folder: Path
    split: str
    schema: pa.Schema
    limit: int
    waiting: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    written: list[tuple[Path, int]] = field(default_factory=list)

    def append(self, table: pa.Table) -> None:
        """Take rows; write a shard when there are enough."""
        if not table.num_rows:
            return
        self.waiting.append(table)
        self.rows += table.num_rows
        while self.rows >= self.limit:
            self._write(self.limit)

    def _write(self, rows: int) -> None:
        whole = pa.concat_tables(self.waiting)
        path = self.folder / f"{self.split}-{len(self.written):05d}"
        write_partition(path, self.schema, self._groups(whole.slice(0, rows)))
        self.written.append((path, rows))
        self.waiting, self.rows = [whole.slice(rows)], self.rows - rows

    def _groups(self, table: pa.Table) -> Iterator[pa.Table]:
        step = group_rows(self.schema)
        for at in range(0, table.num_rows, step):
            yield table.slice(at, step)

    def finish(self) -> dict[str, int]:
        """Write what is left and give all shards their names, which tell how many there are; return name -> rows."""
        if self.rows:
            self._write(self.rows)
        found = {}
        for k, (path, rows) in enumerate(self.written):
            name = f"{self.split}-{k:05d}-of-{len(self.written):05d}.parquet"
            path.replace(path.with_name(name))
            found[f"{self.folder.name}/{name}"] = rows
        return found


def export_hub(join: Join, to: Path, *, shard_bytes: int = SHARD_BYTES) -> Account:
    """Write a training table as a dataset for Hugging Face `datasets`.

    Parameters
    ----------
    to
        A new or empty folder: ``README.md`` and ``data/<split>-00000-of-000NN.parquet``.
    shard_bytes
        Size of a shard in memory; as much is held per split while it gathers.

    Raises
    ------
    LakeError
        If the folder is not empty or cannot be written, or a row has a split that is none.
    """
    plain = join.schema()
    schema = described(plain, json.dumps(made_of(join)).encode())
    limit = max(1, shard_bytes // row_bytes(schema))
    left_out: dict[str, int] = {}
    read = 0
    with new_folder(to) as draft:
        (draft / "data").mkdir()
        shards = {split: _Shards(draft / "data", split, schema, limit) for split in SPLITS}
        for table in read_leaves(join, leaves_with_rows(join)):
            read += table.num_rows
            whole = table.cast(schema)
            if SPLIT not in whole.column_names:
                shards[TRAIN].append(whole)
                continue
            known = pc.is_in(whole[SPLIT], pa.array([*SPLITS, RESERVE]))
            if not pc.all(known).as_py():
                odd = whole.filter(pc.invert(known))
                raise LakeError(f"source_id {odd['source_id'][0]} has the split {odd[SPLIT][0].as_py()!r}; make the table anew")
            left_out = add_up([left_out, {RESERVE: int(pc.sum(pc.equal(whole[SPLIT], RESERVE)).as_py() or 0)}])
            for split, one in shards.items():
                one.append(whole.filter(pc.equal(whole[SPLIT], split)))
        files = {name: rows for one in shards.values() for name, rows in one.finish().items()}
        if not files:
            raise LakeError(f"{to}: the table has no rows, and a dataset without rows cannot be loaded; publish its tables first")
        account = balanced(Account(str(to), "huggingface", sum(files.values()), files, left_out), read)
        write_whole(draft / "README.md", card(join, schema, account).encode())
        return account


def card(join: Join, schema: pa.Schema, account: Account) -> str:
    """Return the dataset card: what `datasets` must know as YAML, then what people must know."""
    splits = [split for split in SPLITS if any(name.startswith(f"data/{split}-") for name in account.files)]
    labelled = has_labels(schema.names)
    name = "Stellar labels and XP spectra for fine-tuning" if labelled else "Stellar XP spectra and photometry for pretraining"
    front: dict[str, Any] = {
        "pretty_name": name,
        "license": "other",
        "license_name": "licences-of-the-surveys",
        "tags": ["astronomy", "Gaia", "stars"],
        "size_categories": [_size(account.rows)],
        "configs": [
            {"config_name": "default", "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]}
        ],
    }
    rows = {split: sum(n for file, n in account.files.items() if file.startswith(f"data/{split}-")) for split in splits}
    said = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {name}",
        "One row per Gaia source; `source_id` is int64 and must not pass through float. Missing values are null. XP coefficients "
        "and their errors are scaled together to one brightness, which `flux_state` names; `xp_scale` is the factor.",
        "## Splits",
        _table(("split", "rows"), [(split, f"{n:,}") for split, n in rows.items()]),
        f"Sources are split by patch of the sky (HEALPix level {ORDER}, nested, from the id), so neighbours and repeated "
        "observations stay together."
        if SPLIT in schema.names
        else "The table has no split of its own.",
        f"Left out: {', '.join(f'{n:,} {reason}' for reason, n in account.left_out.items()) or 'no row'}.",
        "## Made of",
        "Each table keeps its licence and asks for its citation.",
        _table(
            ("table", "what", "release", "build", "citation", "licence"),
            [tuple(str(one[key]) for key in _CREDITS) for one in made_of(join)],
        ),
        "## Columns",
        _table(
            ("column", "type", "unit", "what"),
            [(one.name, str(one.type), *_said(one)) for one in schema],
        ),
    ]
    return "\n\n".join(said) + "\n"


_CREDITS = ("table", "title", "release", "build", "citation", "licence")


def _said(one: pa.Field) -> tuple[str, str]:
    held = one.metadata or {}
    return held.get(b"unit", b"").decode(), held.get(b"description", b"").decode()


def _size(rows: int) -> str:
    sizes = _SIZES | _LARGEST
    edges = np.array(list(sizes))
    return list(sizes.values())[int(np.searchsorted(edges, rows, side="right")) - 1]


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in line) + " |" for line in lines)
