"""Predict embeddings and reconstruction errors for one partition.

Shape legend: B rows, D values per row, R of them reconstructed, E embedding.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bundle import Bundle
from models.config import Config
from models.features import Array, Batch, xp_values
from models.masks import xp_half
from models.rows import Rows, concatenated, scaled_rows

# Every pass has exactly this many rows, padded with empty ones: matrix products sum in another order
# for another number of rows, and results would depend on the partitioning.
ROWS_PER_PASS = 1024


def _embedding_type(config: Config) -> pa.DataType:
    return pa.list_(pa.float32(), config.embedding)


# Name, Arrow type for a config, unit, description.
PREDICTION_COLUMNS: list[tuple[str, Callable[[Config], pa.DataType], str, str]] = [
    ("source_id", lambda _: pa.int64(), "", "Gaia source identifier"),
    (
        "embedding",
        _embedding_type,
        "",
        "latent vector of the masked autoencoder; null if no input feature is present",
    ),
    (
        "reconstruction_error",
        lambda _: pa.float32(),
        "",
        "root mean square of (reconstructed - observed) / error over all present XP coefficients and "
        "magnitudes, in scaled space with an error floor, nothing hidden; null if none is present",
    ),
    (
        "reconstruction_error_masked",
        lambda _: pa.float32(),
        "",
        "the same over the present XP coefficients, each predicted while it and a fixed random half of "
        "the others are hidden; null if no XP coefficient is present",
    ),
    (
        "n_features_present",
        lambda _: pa.int16(),
        "",
        "number of input values present, of those that the model was trained with",
    ),
]


def prediction_schema(config: Config) -> pa.Schema:
    """Give the schema of the predictions; only ``source_id`` is never null, with ``n_features_present``."""
    never_null = ("source_id", "n_features_present")
    return pa.schema(
        [pa.field(name, type_of(config), nullable=name not in never_null) for name, type_of, _, _ in PREDICTION_COLUMNS]
    )


def predict_partition(table: Batch, bundle: Bundle) -> pa.Table:
    """Predict one row per input row, in the same order, with ``prediction_schema(bundle.config)``.

    Columns that the table lacks, and values that the model never saw in training, count as missing.
    Nothing is NaN: what cannot be computed is null. 0 rows give 0 rows.

    Raises
    ------
    ValueError
        As ``models.features.matrices``.
    FloatingPointError
        If the network gives a result that is not finite.
    """
    starts = range(0, table.num_rows, ROWS_PER_PASS)
    schema = prediction_schema(bundle.config)
    passes = [_predict_pass(table.slice(start, ROWS_PER_PASS), bundle, schema) for start in starts]
    return pa.Table.from_batches(passes, schema=schema).combine_chunks()


def _predict_pass(table: Batch, bundle: Bundle, schema: pa.Schema) -> pa.RecordBatch:
    rows = scaled_rows(table, bundle.scaling)
    n_present = rows.present.sum(axis=1)
    embedding, error, error_masked = (a[: len(rows)] for a in _errors(_padded(rows), bundle))
    columns = [
        pa.array(rows.source_id),
        _embeddings(embedding, n_present == 0, bundle.config),
        _nullable(error),
        _nullable(error_masked),
        pa.array(n_present.astype(np.int16)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _padded(rows: Rows) -> Rows:
    missing = ROWS_PER_PASS - len(rows)
    width = rows.x.shape[1]
    empty = Rows(
        np.zeros(missing, dtype=np.int64),
        np.zeros((missing, width), dtype=np.float32),
        np.zeros((missing, width), dtype=np.float32),
        np.zeros((missing, width), dtype=bool),
    )
    return concatenated([rows, empty])


@torch.inference_mode()
def _errors(rows: Rows, bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Give embedding (B, E), error (B,) and masked error (B,); an error over no values is NaN."""
    network, features = bundle.network, bundle.scaling.features
    device = network.targets.device
    x, present, first = (
        torch.from_numpy(a).to(device) for a in (rows.x, rows.present, xp_half(rows.source_id, features, seed=bundle.seed))
    )
    xp = torch.from_numpy(xp_values(features)).to(device)
    wanted = network.targets
    sigma = (torch.from_numpy(rows.variance).to(device) + bundle.config.error_floor**2).sqrt()

    embedding, full = network(x, present)
    # Each half is rebuilt while it is hidden; together they cover every XP coefficient once.
    _, without_first = network(x, present & ~first)
    _, without_second = network(x, present & (first | ~xp))
    rebuilt = torch.where(first[:, wanted], without_first, without_second)

    target, sigma, present = x[:, wanted], sigma[:, wanted], present[:, wanted]
    error = _root_mean_square((full - target) / sigma, present)
    error_masked = _root_mean_square((rebuilt - target) / sigma, present & xp[wanted])
    _require_finite(embedding, full, without_first, without_second)
    return embedding.cpu().numpy(), error.cpu().numpy(), error_masked.cpu().numpy()


def _root_mean_square(chi: Tensor, counted: Tensor) -> Tensor:
    """Reduce (B, R) to (B,) over the counted values; NaN where there are none."""
    return (torch.where(counted, chi, 0.0).square().sum(dim=1) / counted.sum(dim=1)).sqrt()


def _require_finite(*results: Tensor) -> None:
    if not all(bool(result.isfinite().all()) for result in results):
        raise FloatingPointError(
            "the network gives results that are not finite for finite inputs: its weights are damaged; train the model again"
        )


def _nullable(error: NDArray[np.float32]) -> Array:
    return pa.array(error, mask=np.isnan(error))


def _embeddings(embedding: NDArray[np.float32], absent: NDArray[np.bool_], config: Config) -> Array:
    values = np.where(absent[:, np.newaxis], np.float32(0), embedding)
    result: Array = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), config.embedding, mask=pa.array(absent))
    return result
