"""Train a masked autoencoder: the one training loop.

Shape legend: B rows, D values per row, R of them reconstructed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import Config
from models.features import Batch, Feature, xp_values
from models.losses import reconstruction_loss, weighted_squares
from models.masked_autoencoder import MaskedAutoencoder
from models.masks import held_out, training_mask, validation_mask
from models.rows import Rows, concatenated, cut, scaled_rows, shuffled
from models.scaling import Scaling

Batches = Callable[[int], Iterator[Batch]]
Record = dict[str, float | int | None]

ROWS_PER_READ = 8_192
# The cosine ends here and not at 0, so that a table with more rows than announced still trains.
FINAL_RATE = 0.01


@dataclass(frozen=True, eq=False)
class _Run:
    """Hold what stays the same during one training."""

    network: MaskedAutoencoder
    optimiser: torch.optim.AdamW
    config: Config
    scaling: Scaling
    seed: int
    planned_steps: int


@dataclass(frozen=True)
class _Epoch:
    """Count what one epoch trained on: rows, steps, and the sum and number of its weighted squares."""

    rows: int
    steps: int
    total: float
    count: int
    rate: float


def fit(
    batches: Batches,
    config: Config,
    scaling: Scaling,
    seed: int,
    *,
    device: str = "cpu",
    progress: Callable[[Record], None] | None = None,
) -> tuple[MaskedAutoencoder, list[Record]]:
    """Train on a table and return the network (in evaluation mode) and one record per epoch.

    Deterministic for equal seed, thread count, and order of rows in ``batches``.

    Parameters
    ----------
    batches : callable
        Epoch number -> iterator over the tables or batches of the whole table. Called once per
        epoch; give the partitions in another order each time.
    config : Config
    scaling : Scaling
        Of the whole table; ``scaling.rows`` also sets the length of the learning-rate schedule.
    seed : int
        Of weights, masks and shuffling.
    device : str
        Torch device.
    progress : callable, optional
        Called with each record as soon as its epoch ends.

    Returns
    -------
    network : MaskedAutoencoder
    history : list of dict
        ``epoch``, ``rows_trained``, ``rows_empty`` (rows without any present value, left out),
        ``learning_rate`` (of the last step), ``train_loss`` (hidden values, this epoch only),
        ``rows_validated``, ``validation_loss`` (fixed masks), ``validation_loss_xp_visible`` (the
        same masks, on scalars only), ``validation_loss_xp_hidden`` (all XP, rebuilt from all
        scalars). A loss without any value to average is None.

    Raises
    ------
    ValueError
        If no row can be trained on, or if a batch does not fit the declared features.
    FloatingPointError
        If the loss or its gradient is not finite.
    """
    network = _initialised(config, scaling.features, seed).to(device)
    run = _Run(network, _optimiser(network, config), config, scaling, seed, _planned_steps(config, scaling.rows))
    held: list[Rows] = []
    history: list[Record] = []
    steps = 0
    for epoch in range(config.epochs):
        counts: Counter[str] = Counter()
        rows = _training_rows(batches(epoch), run, counts, held if epoch == 0 else None)
        result = _train_epoch(run, rows, epoch, steps)
        _require_rows(result, epoch, counts, scaling)
        steps += result.steps
        record: Record = {
            "epoch": epoch,
            "rows_trained": result.rows,
            "rows_empty": counts["empty"],
            "learning_rate": result.rate,
            "train_loss": result.total / result.count if result.count else None,
        } | _validate(run, held)
        history.append(record)
        if progress is not None:
            progress(record)
    return network.eval(), history


def _initialised(config: Config, features: tuple[Feature, ...], seed: int) -> MaskedAutoencoder:
    # Forked, so that training leaves the caller's random state alone.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MaskedAutoencoder(config, features)


def _optimiser(network: MaskedAutoencoder, config: Config) -> torch.optim.AdamW:
    """Build AdamW that decays matrices only: decaying biases and norms would pull them off their data."""
    matrices = [p for p in network.parameters() if p.ndim >= 2]
    vectors = [p for p in network.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def learning_rate(step: int, planned: int, config: Config) -> float:
    """Give the rate of a step (from 0): linear warm-up, then a cosine to 1 % of the peak.

    Steps beyond the planned ones stay at 1 %.
    """
    warmup = max(1, round(config.warmup * planned))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, planned - warmup))
    return config.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + cos(pi * progress)))


def _planned_steps(config: Config, rows: int) -> int:
    trained = rows * (1 - config.validation_fraction)
    return config.epochs * max(1, int(np.ceil(trained / config.batch_size)))


def _training_rows(tables: Iterator[Batch], run: _Run, counts: Counter[str], held: list[Rows] | None) -> Iterator[Rows]:
    """Yield the rows to train on, count the empty ones, and add validation rows to ``held`` if given."""
    fraction = run.config.validation_fraction
    sample = min(fraction, run.config.validation_rows / max(run.scaling.rows, 1))
    for table in tables:
        for start in range(0, table.num_rows, ROWS_PER_READ):
            rows = scaled_rows(table.slice(start, ROWS_PER_READ), run.scaling)
            usable = rows.take(np.flatnonzero(rows.present.any(axis=1)))
            counts["empty"] += len(rows) - len(usable)
            if held is not None:
                held.append(usable.take(held_out(usable.source_id, sample)))
            yield usable.take(~held_out(usable.source_id, fraction))


def _train_epoch(run: _Run, rows: Iterator[Rows], epoch: int, first_step: int) -> _Epoch:
    run.network.train()
    config, features = run.config, run.scaling.features
    total, count, trained, steps, rate = 0.0, 0, 0, 0, 0.0
    mixed = shuffled(rows, capacity=config.shuffle_rows, seed=run.seed, epoch=epoch)
    for batch in cut(mixed, config.batch_size):
        hidden = training_mask(batch.source_id, features, config, seed=run.seed, epoch=epoch)
        rate = learning_rate(first_step + steps, run.planned_steps, config)
        batch_total, batch_count = _step(run, batch, hidden, rate)
        if not isfinite(batch_total):
            raise FloatingPointError(
                f"loss or gradient is not finite at epoch {epoch}, step {steps} (rate {rate:.2e}), "
                f"sources {batch.source_id.min()} to {batch.source_id.max()}: lower learning_rate in "
                f"preset {config.preset!r}, or look for extreme values in these rows"
            )
        total, count = total + batch_total, count + batch_count
        trained, steps = trained + len(batch), steps + 1
    return _Epoch(rows=trained, steps=steps, total=total, count=count, rate=rate)


def _require_rows(result: _Epoch, epoch: int, counts: Counter[str], scaling: Scaling) -> None:
    if not result.rows:
        raise ValueError(
            f"epoch {epoch}: found no row to train on ({counts['empty']} rows had no usable value), "
            f"expected most of the {scaling.rows} rows that the scaling was measured on; "
            "check which table and columns are read"
        )


def _step(run: _Run, batch: Rows, hidden: NDArray[np.bool_], rate: float) -> tuple[float, int]:
    """Take one step; give the sum and number of weighted squares over hidden values, or NaN if it fails."""
    network, floor = run.network, run.config.error_floor
    reconstruction, target, variance = _reconstruct(network, batch, hidden)
    masked = _targets(batch.present & hidden, network)
    shown = _targets(batch.present & ~hidden, network)
    total, count = weighted_squares(reconstruction, target, variance, masked, error_floor=floor)
    visible_loss = reconstruction_loss(reconstruction, target, variance, shown, error_floor=floor)
    loss = total / count.clamp(min=1) + run.config.visible_weight * visible_loss
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), run.config.clip_norm)
    if not isfinite(loss.item()) or not isfinite(norm.item()):
        return float("nan"), 0
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.optimiser.step()
    return total.item(), int(count.item())


def _reconstruct(network: MaskedAutoencoder, rows: Rows, hidden: NDArray[np.bool_]) -> tuple[Tensor, Tensor, Tensor]:
    """Rebuild rows with ``hidden`` (B, D) out of sight: reconstruction, target and variance, each (B, R)."""
    x = _tensor(rows.x, network)
    _, reconstruction = network(x, _tensor(rows.present & ~hidden, network))
    return reconstruction, x[:, network.targets], _targets(rows.variance, network)


def _tensor(array: NDArray[Any], network: MaskedAutoencoder) -> Tensor:
    return torch.from_numpy(array).to(network.targets.device)


def _targets(array: NDArray[Any], network: MaskedAutoencoder) -> Tensor:
    return _tensor(array, network)[:, network.targets]


def _validate(run: _Run, held: list[Rows]) -> Record:
    """Measure the losses of the held-out sample, as defined in ``fit``."""
    run.network.eval()
    rows = concatenated(held)
    # By source_id, so that the order of partitions does not enter through the order of sums.
    ordered = rows.take(np.argsort(rows.source_id))
    features = run.scaling.features
    xp = xp_values(features)
    sums = np.zeros((len(_METRICS), 2))
    for batch in cut([ordered], run.config.batch_size):
        fixed = validation_mask(batch.source_id, features, run.config, seed=run.seed)
        masks = (fixed, fixed & ~xp, np.tile(xp, (len(batch), 1)))
        sums += [_held_out_squares(run, batch, hidden) for hidden in masks]
    losses = {name: total / n if n else None for name, (total, n) in zip(_METRICS, sums.tolist(), strict=True)}
    return {"rows_validated": len(rows)} | losses


_METRICS = ("validation_loss", "validation_loss_xp_visible", "validation_loss_xp_hidden")


@torch.no_grad()
def _held_out_squares(run: _Run, rows: Rows, hidden: NDArray[np.bool_]) -> tuple[float, float]:
    reconstruction, target, variance = _reconstruct(run.network, rows, hidden)
    counted = _targets(rows.present & hidden, run.network)
    total, count = weighted_squares(reconstruction, target, variance, counted, error_floor=run.config.error_floor)
    return total.item(), count.item()
