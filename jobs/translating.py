"""Train translators on the stars that two label tables have in common, and describe translated labels as tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.product import Learning, Product, bundle_key, opened_bundle
from jobs.terminal import say, table
from lake.columns import schema
from lake.columns.spectrotranslator import PERCENTILES
from lake.derive import Derivation
from lake.errors import LakeError
from lake.ingest import Runner, serial
from lake.join import Join, JoinTask, join, merge_sorted
from lake.manifest import digest
from lake.parquet import read_ids, row_bytes
from lake.pretrain import magnitude_error
from lake.root import Lake
from lake.storage import Storage
from lake.table import Piece, Spec, Table
from models.translation import FROM, MAGNITUDES, TO, TRANSLATIONS, Translation
from models.translator_config import MODEL, PRESETS, TRANSLATOR_VERSION

if TYPE_CHECKING:
    from models.translator_bundle import TranslatorBundle

GAIA = "gaia_dr3_source"
REALISATIONS = 200
_SEED = 0
_FLUXES = tuple(mag.replace("_mag", f"_flux{end}") for mag in MAGNITUDES for end in ("", "_error"))
_FLAGS = tuple(
    f"{network}_{what}"
    for network in ("intrinsic", "extrinsic")
    for what in ("input_missing", "input_covered", "output_covered", "in_domain", "domain_score")
)


def columns_of(translation: Translation) -> tuple[str, ...]:
    """Return the columns of a translated table after source_id, in order."""
    made = [f"{label.name}_{end}" for label in translation.labels for end in (*(f"p{p:02d}" for p in PERCENTILES), "systematic")]
    return (translation.key, *made, *_FLAGS, "translator_reasons")


def _read_of(table: Table, translation: Translation, side: str) -> dict[str, str]:
    """Return column -> name in a training table, of all that one side gives.

    Raises
    ------
    LakeError
        If the table lacks a column, or holds it in another unit.
    """
    labels = {label.source if side == FROM else label.target: label.unit for label in translation.labels}
    units = {one["name"]: one.get("unit", "") for one in table.manifest.columns}
    for name, unit in labels.items():
        if units.get(name) != unit:
            found = f"in {units[name] or 'no unit'}" if name in units else "not there"
            raise LakeError(f"{translation.name} reads {name} of {table.name} in {unit}, it is {found}; build {table.name} anew")
    wanted = [part for name in labels for part in (name, f"{name}_error")]
    wanted += [cut.column for cut in translation.cuts if cut.side == side]
    return {name: f"{side}_{name}" for name in dict.fromkeys(wanted)}


def with_magnitude_errors(rows: pa.Table) -> pa.Table:
    """Replace mean fluxes and their errors by the errors of the magnitudes [mag]."""
    for mag in MAGNITUDES:
        flux, error = (rows[mag.replace("_mag", f"_flux{end}")] for end in ("", "_error"))
        rows = rows.append_column(f"{mag}_error", magnitude_error(flux.combine_chunks(), error.combine_chunks()))
    return rows.drop_columns(list(_FLUXES))


@dataclass(frozen=True)
class _OverlapTask:
    """Order to read the stars of one file of a table that another one has as well: pieces of both, and of Gaia's table."""

    number: int
    join: JoinTask
    gaia: Spec
    pieces: tuple[tuple[Piece, ...], ...]


def _common(task: _OverlapTask) -> tuple[int, pa.Table | None]:
    """Read them, with Gaia's values null where its table lacks a star; None if there are none."""
    gaia, parts = task.gaia.schema(), []
    for *pair, source in task.pieces:
        rows = task.join.read(pair)
        if rows.num_rows:
            ids = rows["source_id"].to_numpy()
            seen = read_ids(task.gaia.storage, source.key, ids, gaia.names).cast(gaia) if source.key else gaia.empty_table()
            parts.append(merge_sorted([rows, seen]))
    return task.number, pa.concat_tables(parts) if parts else None


def overlap(lake: Lake, translation: Translation, *, run: Runner = serial) -> pa.Table:
    """Return the stars that both tables have, with labels of either side, errors, and Gaia's magnitudes.

    Parameters
    ----------
    run
        What carries out the tasks, one per file of the translated table.

    Returns
    -------
    pa.Table
        ``source_id``, ``from_*`` and ``to_*`` (see `models.translation`), magnitudes and their errors; cuts are not applied.
        Magnitudes of a star that is not in the lake's Gaia table are null. Of that table only row groups with such stars are
        read.
    """
    tables = [lake.table(name) for name in (translation.base_from, translation.base_to)]
    sides = zip(tables, (FROM, TO), strict=True)
    columns = {table.name: _read_of(table, translation, side) for table, side in sides}
    both, gaia = join(tables, columns=columns, how="inner"), lake.table(GAIA)
    spec = gaia.spec([*MAGNITUDES, *_FLUXES])
    tasks = []
    for number, part in enumerate(tables[0].manifest.partitions):
        low, high = np.searchsorted(both.grid.array, [part.first, part.end])
        leaves = [leaf for leaf in range(low, high) if all(piece.key for piece in both.pieces(leaf))]
        if leaves:
            tasks.append(_OverlapTask(number, both.task, spec, tuple((*both.pieces(leaf), gaia.pieces[leaf]) for leaf in leaves)))
    read = sorted(run(f"read {translation.name}", _common, tasks), key=lambda one: one[0])
    parts = [rows for _, rows in read if rows is not None]
    none = merge_sorted([both.schema().empty_table(), spec.schema().empty_table()])
    return with_magnitude_errors(pa.concat_tables([none, *parts]).combine_chunks())


def translated_rows(lake: Lake, translation: Translation) -> Join:
    """Return what is translated: all rows of a table, with Gaia's magnitudes where the lake has them."""
    table = lake.table(translation.base_from)
    columns = {**_read_of(table, translation, FROM), translation.key: translation.key}
    if GAIA not in lake.published:
        return join([table], columns={table.name: columns}, then=_without_magnitudes)
    both = [table, lake.table(GAIA)]
    return join(both, columns={table.name: columns, GAIA: (*MAGNITUDES, *_FLUXES)}, then=with_magnitude_errors)


def _without_magnitudes(rows: pa.Table) -> pa.Table:
    """Add magnitudes that are not known."""
    for name in (part for mag in MAGNITUDES for part in (mag, f"{mag}_error")):
        rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.float32()))
    return rows


@dataclass(frozen=True)
class Translate:
    """Function from rows of a label table to translated labels; the bundle is loaded once per process."""

    storage: Storage
    bundle: str
    key: str

    def __call__(self, table: pa.Table) -> pa.Table:
        """Translate the rows of a leaf."""
        from models.device import one_thread
        from models.translator_predict import translate

        one_thread()
        try:
            made = translate(table, loaded_translator(self.storage, self.bundle).translator, realisations=REALISATIONS)
        except (ValueError, FloatingPointError) as error:
            raise LakeError(f"translation with {self.bundle}: {error}") from error
        return made.append_column(self.key, table[self.key])


def loaded_translator(storage: Storage, key: str) -> "TranslatorBundle":
    """Return the translator at a key, loaded once per process (see `jobs.product.opened_bundle`)."""
    from models.translator_bundle import load

    return opened_bundle(storage, key, load)


def _builds(lake: Lake, names: Sequence[str]) -> dict[str, str]:
    return {name: lake.table(name).manifest.build for name in names}


def _bundle_id(translation: Translation, lake: Lake, preset: str) -> str:
    builds = _builds(lake, _needs(translation))
    config = asdict(PRESETS[preset]())
    return digest([MODEL, TRANSLATOR_VERSION, asdict(translation), preset, config, _SEED, REALISATIONS, builds])[:16]


def _needs(translation: Translation) -> tuple[str, ...]:
    return (translation.base_from, translation.base_to, GAIA)


def _fit(translation: Translation, lake: Lake, preset: str, bundle: str, run: Runner) -> Callable[[Path], None]:
    """Train on the common stars, and judge the outcome on those that training never saw."""
    from models.device import best_device
    from models.translation_judges import judged
    from models.translation_quality import quality
    from models.translator_bundle import save
    from models.translator_fit import train

    rows = overlap(lake, translation, run=run)
    say(f"  {translation.name}: {rows.num_rows:,} stars in common")
    made = train(rows, translation, PRESETS[preset](), seed=_SEED, device=best_device(), progress=_show)
    for reason, count in made.counts.items():
        say(f"  {reason}: {count:,}")
    made = replace(made, metrics=quality(judged(rows, made, realisations=REALISATIONS)))
    show_quality(made.metrics)
    return partial(save, fingerprint=bundle, translator=made, training_builds=_builds(lake, _needs(translation)))


def _show(record: Mapping[str, Any]) -> None:
    loss = f"{record['select_loss_of_none']:.4f} -> {record['select_loss']:.4f}"
    say(f"  {record['network']} network {record['member'] + 1}: loss of unseen stars {loss}")


def show_quality(metrics: Mapping[str, Any]) -> None:
    """Print bias and scatter on the test split: nothing done, quadratic ridge, and ours."""
    rows = []
    for name, held in metrics.items():
        for method, found in held["methods"].items():
            every = found["bins"]["all"]
            figures = [_figure(every[what]) for what in ("bias", "bias_error", "scatter", "sigma")]
            rows.append((f"{name} [{held['unit']}]" if held["unit"] else name, method, f"{every['n']:,}", *figures))
    say("residuals on the test split, which training never saw:")
    table(("label", "method", "stars", "bias", "+-", "scatter (MAD)", "sigma"), rows, right=(2, 3, 4, 5, 6))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _derivation(translation: Translation, lake: Lake, bundle: str) -> Derivation:
    key = bundle_key(translation.name, bundle)
    base = lake.table(translation.base_from).manifest
    return Derivation(
        name=translation.name,
        title=translation.title,
        release=lake.release,
        kind="labels",
        citation=f"{base.citation}; method: Thomas, Battaglia, Gran et al. 2024, A&A 690, A54; networks made by gaialake",
        licence=base.licence,
        function=Translate(lake.storage, key, translation.key),
        columns=columns_of(translation),
        lengths={},
        version=bundle,
        made_of={"bundle": bundle, "base": translation.base_to},
    )


def _product(translation: Translation) -> Product:
    return Product(
        name=translation.name,
        table=translation.name,
        inputs=(translation.base_from, GAIA),
        join=lambda lake: translated_rows(lake, translation),
        derivation=partial(_derivation, translation),
        width=lambda _storage, _bundle: row_bytes(schema(columns_of(translation))),
        learning=Learning(
            presets=PRESETS,
            default="small",
            needs=_needs(translation),
            bundle_id=partial(_bundle_id, translation),
            fit=partial(_fit, translation),
            load=loaded_translator,
            requires=("torch", "safetensors", "sklearn"),
        ),
    )


PRODUCTS: Mapping[str, Product] = {name: _product(one) for name, one in TRANSLATIONS.items()}
