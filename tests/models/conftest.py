"""Synthetic pretrain tables: stars with three hidden parameters, in the schema of the lake."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

from models.bundle import Bundle
from models.config import debug
from models.features import gaia_features
from models.fit import fit
from models.scaling import finish, merge, statistics

N_BP, N_RP = 6, 5


def lists(values: np.ndarray, missing: np.ndarray, kind: pa.DataType) -> pa.FixedSizeListArray:
    """Make a fixed-size-list array whose null slots hold garbage, as other writers may leave it."""
    filled = np.where(missing[:, np.newaxis], -9999.0, values)
    child = pa.array(filled.ravel(), type=kind)
    return pa.FixedSizeListArray.from_arrays(child, values.shape[1], mask=pa.array(missing))


def _xp(rng: np.random.Generator, hidden: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    shape = 4e5 * np.exp(-np.arange(n) / 3)
    response = np.random.default_rng(n).normal(size=(3, n))
    error = np.full((len(hidden), n), 1e3)
    return shape * (1 + 0.3 * np.tanh(hidden) @ response) + error * rng.normal(size=error.shape), error


def synthetic_table(rows: int = 200, *, seed: int = 0, n_bp: int = N_BP, n_rp: int = N_RP) -> pa.Table:
    """Make stars of which 10 % lack BP, 5 % lack RP and 20 % lack WISE."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(rows, 3))
    no_bp, no_rp, no_wise = rng.random(rows) < 0.1, rng.random(rows) < 0.05, rng.random(rows) < 0.2
    bp, bp_error = _xp(rng, hidden, n_bp)
    rp, rp_error = _xp(rng, hidden, n_rp)
    g = 15 + hidden[:, 0] + 0.5 * hidden[:, 1]
    w1 = g - 2 * hidden[:, 1]

    def float32(values: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
        return pa.array(values.astype(np.float32), mask=missing)

    def error(size: float) -> pa.Array:
        return float32(np.full(rows, size))

    return pa.table(
        {
            "source_id": pa.array(np.sort(rng.choice(2**62, rows, replace=False)), pa.int64()),
            "flux_state": pa.array(["g_8.5"] * rows),
            "catwise_w1_mag": float32(w1, no_wise),
            "catwise_w2_mag": float32(w1 + 0.1 * hidden[:, 2], no_wise),
            "phot_g_mean_mag": float32(g),
            "phot_bp_mean_mag": float32(g + hidden[:, 1]),
            "phot_rp_mean_mag": float32(g - hidden[:, 1]),
            "bp_coefficients": lists(bp, no_bp, pa.float64()),
            "bp_coefficient_errors": lists(bp_error, no_bp, pa.float32()),
            "rp_coefficients": lists(rp, no_rp, pa.float64()),
            "rp_coefficient_errors": lists(rp_error, no_rp, pa.float32()),
            "ra": pa.array(rng.uniform(0, 360, rows)),
            "dec": pa.array(rng.uniform(-90, 90, rows)),
            "parallax": pa.array(2 + rng.normal(size=rows)),
            "parallax_error": error(0.1),
            "pmra": pa.array(rng.normal(size=rows)),
            "pmdec": pa.array(rng.normal(size=rows)),
            "pmra_error": error(0.1),
            "pmdec_error": error(0.1),
            "phot_g_mean_mag_error": error(0.003),
            "phot_bp_mean_mag_error": error(0.01),
            "phot_rp_mean_mag_error": error(0.01),
        }
    )


def train(table: pa.Table, *, epochs: int, seed: int = 7) -> Bundle:
    """Go from a table to a bundle, as a job would, in the debug preset."""
    features = gaia_features(table.schema)
    parts = [table.slice(start, 50) for start in range(0, table.num_rows, 50)]
    scaling = finish(reduce(merge, (statistics(part, features) for part in parts)))
    config = replace(debug(), epochs=epochs)
    network, history = fit(lambda epoch: iter(parts), config, scaling, seed)
    return Bundle("f00d", network, config, scaling, seed, {"pretrain": "b0b0"}, tuple(history))


def nulled(table: pa.Table, *columns: str) -> pa.Table:
    """Make columns null in every row, keeping their types."""
    for column in columns:
        empty = pa.nulls(table.num_rows, table.schema.field(column).type)
        table = table.set_column(table.schema.get_field_index(column), column, empty)
    return table


@pytest.fixture(scope="session", name="synthetic_table")
def _synthetic_table() -> Callable[..., pa.Table]:
    return synthetic_table


@pytest.fixture(scope="session", name="train")
def _train() -> Callable[..., Bundle]:
    return train


@pytest.fixture(scope="session", name="nulled")
def _nulled() -> Callable[..., pa.Table]:
    return nulled


@pytest.fixture(scope="session")
def table() -> pa.Table:
    """200 stars."""
    return synthetic_table()


@pytest.fixture(scope="session")
def bundle(table: pa.Table) -> Bundle:
    """A model trained for two epochs on ``table``."""
    return train(table, epochs=2)
