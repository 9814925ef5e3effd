"""Train a model on the pretraining table: statistics of the whole table in one pass, then the training loop."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.terminal import say
from lake.errors import LakeError, listing
from lake.exchange import read_version, write_version
from lake.ingest import Runner
from lake.join import Join, JoinTask
from lake.manifest import digest
from lake.root import Lake
from lake.storage import Storage, json_bytes
from lake.table import Piece
from models.config import CODE_VERSION, MODEL, PRESETS

MODELS = (MODEL,)
DEFAULT_PRESET = "small"
# What the model reads. Other tables may come and go without making its bundle or its predictions stale.
INPUTS = ("gaia_dr3_xp", "gaia_dr3_source", "catwise_andrae2023")
_SEED = 0


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


def bundle_key(model: str, bundle: str) -> str:
    """Return the key of a bundle's folder."""
    return f"models/{model}/{bundle}"


def has_bundle(storage: Storage, model: str, bundle: str) -> bool:
    """Tell whether a bundle is there; it appears whole."""
    return storage.exists(f"{bundle_key(model, bundle)}/bundle.json")


def current_bundle(storage: Storage, model: str) -> str | None:
    """Return the id of the model's current bundle: the one trained last. None if it was never trained."""
    held = storage.find_json(current_key(model))
    return str(held["bundle"]) if held else None


def current_key(model: str) -> str:
    """Return the key of what names a model's current bundle, and the preset that it was trained with."""
    return f"models/{model}/current.json"


def model_inputs(lake: Lake) -> Join:
    """Return the pretraining table as far as the model reads it."""
    return lake.pretrain(sources=INPUTS)


def require_model(model: str) -> None:
    """Refuse a model that does not exist, or whose libraries are not installed.

    Raises
    ------
    LakeError
        With the names of models, or the command that installs what is missing.
    """
    if model not in MODELS:
        raise LakeError(f"no model {model!r}; there are {listing(MODELS)}")
    missing = [name for name in ("torch", "safetensors", "crick") if importlib.util.find_spec(name) is None]
    if missing:
        raise LakeError(f"{model} needs {listing(missing)}; pip install -c constraints.txt 'gaialake[models]'")


def training_id(join: Join, model: str, preset: str) -> str:
    """Return the id of the bundle that this preset makes of these builds: equal inputs, equal id."""
    if preset not in PRESETS:
        raise LakeError(f"{model} has no preset {preset!r}; there are {listing(PRESETS)}")
    builds = {table.name: table.manifest.build for table in join.tables}
    return digest([model, CODE_VERSION, preset, asdict(PRESETS[preset]()), _SEED, builds])[:16]


def train(lake: Lake, model: str, *, preset: str = DEFAULT_PRESET, run: Runner) -> tuple[str, bool]:
    """Train a model on the published tables and make its bundle the current one.

    Returns
    -------
    bundle
        Its id.
    trained
        False if that bundle was there already, so that nothing was done.

    Raises
    ------
    LakeError
        If the model or preset does not exist, its libraries are missing, or the lake has no XP table.
    BusyError
        If another writer of a lake on an object store made a bundle the current one meanwhile; that one stays.
    """
    require_model(model)
    from models.bundle import Bundle, save
    from models.device import best_device
    from models.features import gaia_features
    from models.fit import fit
    from models.scaling import finish, merge

    # A training takes hours: whoever made another bundle the current one meanwhile is the later writer.
    _, tag = read_version(lake.storage, current_key(model))
    join = model_inputs(lake)
    bundle = training_id(join, model, preset)
    trained = not has_bundle(lake.storage, model, bundle)
    if trained:
        features = gaia_features(join.schema())
        measured = sorted(run("measure pretrain", _measure, _statistics_tasks(join, features)), key=lambda one: one[0])
        scaling = finish(reduce(merge, (held for _, held in measured)))
        if not scaling.rows:
            raise LakeError("the pretraining table has no rows; ingest and publish gaia_dr3_xp first")
        try:
            network, history = fit(_epochs(join), PRESETS[preset](), scaling, _SEED, device=best_device(), progress=_show)
        except (ValueError, FloatingPointError) as error:
            raise LakeError(f"training of {model} on {join.tables[0].name} failed: {error}") from error
        builds = {table.name: table.manifest.build for table in join.tables}
        with lake.storage.staged(bundle_key(model, bundle)) as folder:
            save(folder, Bundle(bundle, network, PRESETS[preset](), scaling, _SEED, builds, tuple(history)))
    write_version(lake.storage, current_key(model), json_bytes({"bundle": bundle, "preset": preset}), tag)
    return bundle, trained


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
