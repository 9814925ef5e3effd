"""Write tables in the form that somebody asks for, and validate training tables, whether we wrote them or others did."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobs import terminal
from jobs.cluster import cluster
from jobs.opened import opened
from lake.cds import readme, write_cds
from lake.errors import LakeError, listing
from lake.hdf5_files import export_hdf5, export_split_hdf5
from lake.hub_files import export_hub
from lake.ingest import Runner, serial
from lake.join import Join
from lake.root import Lake
from lake.survey import Survey, survey
from lake.table import Table
from lake.training_audit import audit_batches, audit_file
from lake.training_files import Account, export_parquet, new_folder, require_free
from lake.training_report import Report
from models.translation import TRANSLATIONS

# Our translations of which the authors published their own, and the name of that table, whose layout ours gets.
AUTHORS: Mapping[str, str] = {name: one.authors for name, one in TRANSLATIONS.items() if one.authors}
TABLES = ("pretrain", "finetune")
CDS = "cds"
# Form -> whether it has the names of wide tables, and what writes it.
FORMS: Mapping[str, tuple[bool, Callable[[Join, Path], Account]]] = {
    "parquet": (False, export_parquet),
    "parquet-wide": (True, export_parquet),
    "hdf5": (True, export_hdf5),
    "hdf5-split": (False, export_split_hdf5),
    "huggingface": (False, export_hub),
}


def training_join(lake: Lake, which: str, *, wide: bool = False) -> Join:
    """Return a training table of a lake as a lazy join.

    Raises
    ------
    LakeError
        If there is no such table.
    """
    if which not in TABLES:
        raise LakeError(f"no training table {which!r}; there are {listing(TABLES)}")
    return lake.finetune(wide=wide) if which == "finetune" else lake.pretrain(wide=wide)


def export_training(lake: Lake, which: str, to: Path, form: str = "parquet", run: Runner = serial) -> Account:
    """Write a training table to a new folder.

    Parameters
    ----------
    which
        ``pretrain`` or ``finetune``.
    form
        One of `FORMS`. Only Parquet files are written by several workers; the other forms by this process, leaf by leaf.

    Raises
    ------
    LakeError
        If table or form is not known, they do not go together, or the folder is not empty or cannot be written.
    """
    join, write = _asked(lake, which, form), FORMS[form][1]
    return export_parquet(join, to, run=run) if write is export_parquet else write(join, to)


def _asked(lake: Lake, which: str, form: str) -> Join:
    """Return a training table under the names of a form, or refuse what does not go together."""
    if form not in FORMS:
        raise LakeError(f"no form {form!r} of export; there are {listing(FORMS)}")
    if (which, form) == ("pretrain", "hdf5-split"):
        raise LakeError("pretrain has neither labels nor a split; export finetune as hdf5-split, or pretrain as hdf5")
    return training_join(lake, which, wide=FORMS[form][0])


def export_cds(lake: Lake, names: Sequence[str], to: Path) -> dict[Path, int]:
    """Write translated tables byte for byte as their authors laid theirs out, and a ReadMe; return the records of each file.

    Raises
    ------
    LakeError
        If a table is not one that the authors published a twin of, or is not in the lake, or the folder cannot be written.
    """
    layouts = _layouts(lake, names)
    with new_folder(to) as folder:
        records = {}
        for table, layout in layouts:
            leaves = (table.read_leaf(leaf) for leaf, piece in enumerate(table.pieces) if piece.key)
            records[layout.patterns[0]] = write_cds(leaves, layout, folder / layout.patterns[0])
        (folder / "ReadMe").write_text(readme([layout for _, layout in layouts], records=records))
    return {to / name: count for name, count in records.items()}


def _layouts(lake: Lake, names: Sequence[str]) -> list[tuple[Table, Survey]]:
    """Return translated tables, all that are published if none is named, and the tables of the authors whose layout each gets."""
    stray = [name for name in names if name not in AUTHORS]
    if stray:
        raise LakeError(f"{stray[0]} has no layout of the authors; they published twins of {listing(AUTHORS)}")
    chosen = list(names) or [name for name in AUTHORS if name in lake.published]
    if not chosen:
        first = next(iter(AUTHORS))
        raise LakeError(f"no translated table is published in this lake: `gaialake train {first}`, then predict it")
    return [(lake.table(name), survey(AUTHORS[name])) for name in chosen]


def export(options: argparse.Namespace) -> int:
    """Write tables of a lake as files of a form that others read."""
    lake, to = opened(options), Path(options.to)
    if options.form == CDS and options.dry_run:
        found = _layouts(lake, options.tables)
        require_free(to)
        terminal.say(f"would write {listing([table.name for table, _ in found])} in the layout of their authors to {to}")
        return 0
    if options.form == CDS:
        for path, count in export_cds(lake, options.tables, to).items():
            terminal.say(f"{path}: {count:,} records; read it with astropy, format ascii.cds and the ReadMe beside")
        return 0
    if len(options.tables) != 1:
        raise LakeError(f"`gaialake export {options.form} TABLE --to DIR` takes one of {listing(TABLES)}")
    if options.dry_run:
        rows = _asked(lake, options.tables[0], options.form).tables[0].rows
        require_free(to)
        terminal.say(f"would write {options.tables[0]} as {options.form} to {to}, of {rows:,} rows at most")
        return 0
    with cluster(options.profile) as run:
        account = export_training(lake, options.tables[0], to, options.form, run)
    terminal.say(account.text)
    terminal.say(f"next: gaialake validate {to}")
    return 0


def validate(what: str, lake: Lake | None = None) -> Report:
    """Audit a training table of a lake by its name, or a file or folder by its path."""
    if lake is not None and what in TABLES:
        join = training_join(lake, what)
        return audit_batches((join.read_leaf(leaf) for leaf in range(len(join.grid))), name=f"{lake.storage.root}: {what}")
    return audit_file(Path(what))


def validate_verb(options: argparse.Namespace) -> int:
    """Show the report on a training table; return 1 if it has errors, else 0."""
    report = validate(options.what, opened(options) if options.what in TABLES else None)
    if options.json:
        terminal.document(json.dumps(report.as_json(), indent=1))
    else:
        terminal.say(report.text())
    return 1 if report.errors else 0
