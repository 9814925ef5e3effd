"""Train the masked autoencoder on the pretraining table, and describe its predictions as a table."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.product import Learning, Product, bundle_key, opened_bundle
from jobs.terminal import say
from lake.derive import Derivation
from lake.errors import LakeError
from lake.ingest import Runner
from lake.join import Join, JoinTask
from lake.manifest import digest
from lake.root import Lake
from lake.storage import Storage
from lake.table import Piece
from models.config import CODE_VERSION, MODEL, PRESETS

if TYPE_CHECKING:
    from models.bundle import Bundle

# What the model reads. Other tables may come and go without making its bundle or its predictions stale.
INPUTS = ("gaia_dr3_xp", "gaia_dr3_source", "catwise_andrae2023")
_SEED = 0
# An id, two errors and a count, beside the embedding.
_PREDICTED_BYTES = 18


@dataclass(frozen=True)
class _StatisticsTask:
    """Order to measure the leaves of one partition of the anchor."""

    number: int
    join: JoinTask
    pieces: tuple[tuple[Piece, ...], ...]
    features: Any


def _measure(task: _StatisticsTask) -> tuple[int, Any]:
    from models.scaling import merge, statistics

    held = (statistics(task.join.read(pieces), task.features) for pieces in task.pieces)
    return task.number, reduce(merge, held)


@dataclass(frozen=True)
class Predict:
    """Function from the rows of a leaf to their predictions; the bundle is loaded once per process."""

    storage: Storage
    bundle: str

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predict one leaf."""
        from models.device import one_thread
        from models.predict import predict_partition

        one_thread()
        try:
            return predict_partition(table, loaded(self.storage, self.bundle))
        except (ValueError, FloatingPointError) as error:
            raise LakeError(f"predictions with {self.bundle}: {error}") from error


def loaded(storage: Storage, key: str) -> "Bundle":
    """Return the bundle at a key, loaded once per process (see `jobs.product.opened_bundle`)."""
    from models.bundle import load

    return opened_bundle(storage, key, load)


def model_inputs(lake: Lake) -> Join:
    """Return the pretraining table as far as the model reads it."""
    return lake.pretrain(sources=INPUTS)


def _bundle_id(lake: Lake, preset: str) -> str:
    builds = {table.name: table.manifest.build for table in model_inputs(lake).tables}
    return digest([MODEL, CODE_VERSION, preset, asdict(PRESETS[preset]()), _SEED, builds])[:16]


def _fit(lake: Lake, preset: str, bundle: str, run: Runner) -> Callable[[Path], None]:
    """Take statistics of the whole table in one pass, then train."""
    from models.bundle import Bundle, save
    from models.device import best_device
    from models.features import gaia_features
    from models.fit import fit
    from models.scaling import finish, merge

    join = model_inputs(lake)
    features = gaia_features(join.schema())
    measured = sorted(run("measure pretrain", _measure, _statistics_tasks(join, features)), key=lambda one: one[0])
    scaling = finish(reduce(merge, (held for _, held in measured)))
    if not scaling.rows:
        raise LakeError("the pretraining table has no rows; ingest and publish gaia_dr3_xp first")
    config = PRESETS[preset]()
    network, history = fit(_epochs(join), config, scaling, _SEED, device=best_device(), progress=_show)
    builds = {table.name: table.manifest.build for table in join.tables}
    return partial(save, bundle=Bundle(bundle, network, config, scaling, _SEED, builds, tuple(history)))


def _statistics_tasks(join: Join, features: Any) -> list[_StatisticsTask]:
    """Return one task per file of the anchor that has rows."""
    tasks = []
    for number, part in enumerate(join.tables[0].manifest.partitions):
        low, high = np.searchsorted(join.grid.array, [part.first, part.end])
        pieces = tuple(join.pieces(leaf) for leaf in range(low, high) if join.tables[0].pieces[leaf].key)
        if pieces:
            tasks.append(_StatisticsTask(number, join.task, pieces, features))
    return tasks


def _epochs(join: Join) -> Callable[[int], Iterator[pa.Table]]:
    """Return the function that reads the whole table for one epoch, leaves in an order of that epoch's own."""
    leaves = np.array([leaf for leaf, piece in enumerate(join.tables[0].pieces) if piece.key], dtype=np.int64)

    def epoch(number: int) -> Iterator[pa.Table]:
        for leaf in np.random.default_rng([_SEED, number]).permutation(leaves):
            yield join.read_leaf(int(leaf))

    return epoch


def _show(record: dict[str, Any]) -> None:
    words = [f"{name} {record[name]:.4f}" for name in ("train_loss", "validation_loss") if record.get(name) is not None]
    say(f"  epoch {record['epoch'] + 1}: {', '.join(words)}")


def _derivation(lake: Lake, bundle: str) -> Derivation:
    from models.predict import PREDICTION_COLUMNS

    key = bundle_key(MODEL, bundle)
    return Derivation(
        name=PRODUCT.table,
        title=f"Predictions of {MODEL} on the pretraining table",
        release=lake.release,
        kind="labels",
        citation="made by gaialake from the tables and the bundle named in made_of",
        licence="that of the tables it was made of",
        function=Predict(lake.storage, key),
        columns=tuple(name for name, *_ in PREDICTION_COLUMNS if name != "source_id"),
        lengths={"embedding": loaded(lake.storage, key).config.embedding},
        version=bundle,
        made_of={"bundle": bundle},
        resources={"GPU": 1},
    )


def _width(storage: Storage, bundle: str | None) -> float:
    """Return the bytes of a row of predictions, by the size of the bundle's embedding."""
    held = storage.find_json(f"{bundle_key(MODEL, bundle)}/bundle.json") if bundle else None
    return _PREDICTED_BYTES + 4 * (held["config"]["embedding"] if held else PRESETS["small"]().embedding)


PRODUCT = Product(
    name=MODEL,
    table=f"predictions_{MODEL}",
    inputs=INPUTS,
    join=model_inputs,
    derivation=_derivation,
    width=_width,
    learning=Learning(
        presets=PRESETS,
        default="small",
        needs=INPUTS[:1],
        bundle_id=_bundle_id,
        fit=_fit,
        load=loaded,
        requires=("torch", "safetensors", "crick"),
    ),
)
