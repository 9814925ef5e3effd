"""Map a trained model over all partitions; its predictions become a table of the same lake."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.training import bundle_key, current_bundle, has_bundle, model_inputs, require_model
from lake.derive import Derivation, derive, derived_build
from lake.errors import LakeError, listing
from lake.ingest import Outcome, Runner
from lake.root import Lake
from lake.storage import Storage

if TYPE_CHECKING:
    from models.bundle import Bundle


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
    """Return the bundle at a key, loaded once per process.

    Raises
    ------
    LakeError
        If its files are missing, damaged or of another version.
    """
    from models.bundle import BundleError, load

    try:
        return load(storage.local_copy(key))
    except BundleError as error:
        raise LakeError(str(error)) from error


def predictions_name(model: str) -> str:
    """Return the table that holds a model's predictions."""
    return f"predictions_{model}"


def derivation(lake: Lake, model: str, bundle: str | None = None) -> Derivation:
    """Describe the predictions of a bundle (the current one if not named) as a derived table.

    Raises
    ------
    LakeError
        If the model was never trained here, or there is no such bundle.
    """
    require_model(model)
    from models.predict import PREDICTION_COLUMNS

    chosen = bundle or current_bundle(lake.storage, model)
    if chosen is None:
        raise LakeError(f"{model} was never trained in this lake; run `gaialake --lake {lake.storage.root} train {model}` first")
    if not has_bundle(lake.storage, model, chosen):
        there = lake.storage.names(f"models/{model}")
        raise LakeError(
            f"{model} has no bundle {chosen!r}; there are {listing(name for name in there if name != 'current.json')}"
        )
    config = loaded(lake.storage, bundle_key(model, chosen)).config
    return Derivation(
        name=predictions_name(model),
        title=f"Predictions of {model} on the pretraining table",
        release=lake.release,
        kind="labels",
        citation="made by gaialake from the tables and the bundle named in made_of",
        licence="that of the tables it was made of",
        function=Predict(lake.storage, bundle_key(model, chosen)),
        columns=tuple(name for name, *_ in PREDICTION_COLUMNS if name != "source_id"),
        lengths={"embedding": config.embedding},
        version=chosen,
        made_of={"bundle": chosen},
        resources={"GPU": 1},
    )


def predict(lake: Lake, model: str, *, bundle: str | None = None, run: Runner, part: tuple[int, int] | None = None) -> Outcome:
    """Build the predictions of a bundle for all published XP sources (or a share of them); unchanged partitions are kept."""
    wanted = derivation(lake, model, bundle)
    return derive(lake.storage, model_inputs(lake), wanted, run=run, part=part)


def predictions_build(lake: Lake, model: str) -> str | None:
    """Return the build that the predictions of the current bundle on the published tables should have; None if untrained."""
    bundle = current_bundle(lake.storage, model)
    return derived_build(model_inputs(lake), predictions_name(model), bundle) if bundle else None
