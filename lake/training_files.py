"""Write a training table as partitioned Parquet, and keep the rules that all exports share: whole or not at all, counted.

Other forms: `lake.hdf5_files`, `lake.hub_files`. An export is a folder that appears under its name when all of it is
written; a run that was killed leaves a hidden folder ``.NAME.*.partial`` beside it, which can be deleted.
"""

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lake.errors import LakeError
from lake.ingest import Runner, serial
from lake.join import Join, JoinTask
from lake.manifest import add_up
from lake.parquet import group_rows, write_partition
from lake.partition import file_name
from lake.table import Piece
from lake.training_columns import described, made_of
from lake.whole import unwritable


@dataclass(frozen=True)
class Account:
    """What an export wrote: rows read = rows written + rows left out.

    Attributes
    ----------
    files
        Name of each part, a file inside the folder or a dataset of one, -> rows.
    left_out
        Reason -> rows.
    """

    to: str
    form: str
    rows: int
    files: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Say it in one sentence."""
        lost = ", ".join(f"{rows:,} {reason}" for reason, rows in self.left_out.items())
        return f"{self.to}: {self.rows:,} rows in {len(self.files):,} parts ({self.form}); left out: {lost or 'none'}"


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """Yield a folder to write into, which has the name `to` once the block ends without an error.

    Raises
    ------
    LakeError
        If there is something at `to` already, or the disk refuses.
    """
    target = require_free(to)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        try:
            draft.mkdir(parents=True)
        except OSError as error:
            raise unwritable(target, error) from error
        yield draft
        try:
            # Takes the place of an empty folder, and fails on any other.
            draft.replace(target)
        except OSError as error:
            raise unwritable(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_free(to: Path) -> Path:
    """Return the resolved path of a folder that is not there yet, or empty.

    Raises
    ------
    LakeError
        If there is something.
    """
    target = to.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        what = "not empty" if target.is_dir() else "no folder"
        raise LakeError(f"{target} is there and {what}; nothing was written. Name a new folder, or remove this one first")
    return target


@dataclass(frozen=True)
class PartTask:
    """Order to write the file of one leaf."""

    join: JoinTask
    pieces: tuple[Piece, ...]
    path: str
    provenance: bytes


def write_leaf(task: PartTask) -> tuple[str, int]:
    """Join one leaf and write it; return the name of its file and its rows, 0 where there is no file."""
    path = Path(task.path)
    table = task.join.read(task.pieces)
    schema = described(table.schema, task.provenance)
    step = group_rows(schema)
    groups = (table.slice(at, step).cast(schema) for at in range(0, table.num_rows, step))
    written = write_partition(path, schema, groups)
    return path.name, written.rows if written else 0


def export_parquet(join: Join, to: Path, *, run: Runner = serial) -> Account:
    """Write one Parquet file per leaf that has rows, ``LLLLLL-HHHHHH.parquet``, under the names that the join gives.

    Parameters
    ----------
    join
        From `Lake.pretrain` or `Lake.finetune`, canonical or wide.
    to
        A new or empty folder; workers of a cluster must see it under the same path.
    run
        Where leaves are joined and written.

    Raises
    ------
    LakeError
        If the folder is not empty, or cannot be written.
    """
    provenance = json.dumps(made_of(join)).encode()
    with new_folder(to) as draft:
        tasks = [
            PartTask(join.task, join.pieces(leaf), str(draft / file_name(*_leaf_pixels(join, leaf))), provenance)
            for leaf in leaves_with_rows(join)
        ]
        found = dict(run("export parquet", write_leaf, tasks)) if tasks else {}
        files = {name: rows for name, rows in sorted(found.items()) if rows}
        return Account(str(to), "parquet", sum(files.values()), files)


def _leaf_pixels(join: Join, leaf: int) -> tuple[int, int]:
    return join.grid.edges[leaf], join.grid.edges[leaf + 1]


def leaves_with_rows(join: Join) -> list[int]:
    """Return the leaves in which the first table of a join has rows, in the order of the sky."""
    return [leaf for leaf, piece in enumerate(join.tables[0].pieces) if piece.key is not None]


def read_leaves(join: Join, leaves: Iterable[int]) -> Iterator[pa.Table]:
    """Yield the joined rows of leaves one after the other, those without rows left out; one is in memory at a time."""
    for leaf in leaves:
        table = join.read_leaf(leaf)
        if table.num_rows:
            yield table


def balanced(account: Account, rows_read: int) -> Account:
    """Return the account, reasons sorted, if every row that was read is either written or counted as left out.

    Raises
    ------
    LakeError
        If not; the export is then not kept.
    """
    left_out = add_up([account.left_out])
    if rows_read != account.rows + sum(left_out.values()):
        raise LakeError(
            f"{account.to}: {rows_read:,} rows read, but {account.rows:,} written and {sum(left_out.values()):,} left out; "
            "the export was not kept. This is a mistake of gaialake: please report it"
        )
    return Account(account.to, account.form, account.rows, account.files, left_out)
