"""Train one network of an ensemble: the training loop of translations.

Shape legend: N stars, D inputs, K labels.
"""

from dataclasses import dataclass
from math import ceil, cos, isfinite, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.masks import SHUFFLE, hashed, text_key, uniform
from models.spectro_translator import network as new_network
from models.translator_config import TranslatorConfig
from models.translator_rows import IntArray

_HIDE = text_key("translation hidden")
_FINAL_RATE = 0.01


@dataclass(frozen=True, eq=False)
class Scaled:
    """Scaled stars of one split on the device of the training, and their ids on the host.

    Parameters
    ----------
    source_id
        Shape (N,).
    x, present : Tensor, shape (N, D)
        Scaled inputs, 0 where missing, and whether they are there.
    wanted, weight : Tensor, shape (N, K)
        Scaled differences, and their inverse variance, which is 0 where a label does not count.
    balance : Tensor, shape (N,)
        Weight of the star by its inverse density.
    """

    source_id: IntArray
    x: Tensor
    present: Tensor
    wanted: Tensor
    weight: Tensor
    balance: Tensor

    def __len__(self) -> int:
        return len(self.source_id)


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same during one training; ``norm`` is the mean weight of a star."""

    member: nn.Module
    optimiser: torch.optim.AdamW
    training: Scaled
    config: TranslatorConfig
    key: int
    planned_steps: int
    norm: float


def fit_member(
    training: Scaled, select: Scaled, config: TranslatorConfig, sizes: tuple[int, int], *, key: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Train one network; the weights of the epoch that is best on the select split are kept.

    Parameters
    ----------
    training, select : Scaled
    config : TranslatorConfig
    sizes : tuple of int
        Inputs D and outputs K.
    key : int
        Of weights, batches and hidden inputs; the order of the stars has no influence if they are sorted.

    Returns
    -------
    member : nn.Module
    record : dict
        ``best_epoch`` (-1 if the untrained network is best), ``select_loss_of_none`` of the untrained network, ``select_loss``
        of the one returned, ``losses`` per epoch: of training, and on the select split.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    # Forked, so that training leaves the caller's random state alone.
    with torch.random.fork_rng():
        torch.manual_seed(key % 2**31)
        member = new_network(config, *sizes).to(training.x.device)
        steps = config.epochs * ceil(len(training) / config.batch_size)
        norm = float((training.weight * training.balance[:, None]).sum() / len(training))
        run = _Run(member, _optimiser(member, config), training, config, key, steps, norm)
        untrained = best_loss = _loss_of(member, select, config)
        best, best_epoch, losses = _state(member), -1, []
        for epoch in range(config.epochs):
            train_loss = _train_epoch(run, epoch)
            loss = _loss_of(member, select, config)
            losses.append([train_loss, loss])
            if loss < best_loss:
                best, best_loss, best_epoch = _state(member), loss, epoch
        member.load_state_dict(best)
    record = {"best_epoch": best_epoch, "select_loss_of_none": untrained, "select_loss": best_loss, "losses": losses}
    return member, record


def weighted_huber(answer: Tensor, wanted: Tensor, weight: Tensor, *, huber: float) -> Tensor:
    """Sum over labels the Huber loss of differences in units of their error, shape (N,).

    A star with a huge error weighs nothing, whatever its label; nor does one whose label does not count.

    Parameters
    ----------
    answer, wanted, weight : Tensor, shape (N, K)
        What the network says, what it should, and the inverse variance of that.
    huber : float
        Beyond this many sigma a difference counts linearly.
    """
    sigmas = (answer - wanted).abs() * weight.sqrt()
    linear = huber * (sigmas - 0.5 * huber)
    return torch.where(sigmas <= huber, 0.5 * sigmas.square(), linear).sum(dim=1)


def _state(member: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in member.state_dict().items()}


def _optimiser(member: nn.Module, config: TranslatorConfig) -> torch.optim.AdamW:
    """Build AdamW that decays matrices only: decaying biases would pull them off their data."""
    matrices = [p for p in member.parameters() if p.ndim >= 2]
    vectors = [p for p in member.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _train_epoch(run: _Run, epoch: int) -> float:
    member, training, config = run.member.train(), run.training, run.config
    order = np.lexsort((training.source_id, hashed(SHUFFLE, run.key, epoch, training.source_id)))
    inputs = np.arange(training.x.shape[1])
    hidden = uniform(hashed(_HIDE, run.key, epoch, training.source_id)[:, np.newaxis], inputs) < config.hide_input
    shown = training.present & ~torch.from_numpy(hidden).to(training.x.device)
    total, step = 0.0, epoch * ceil(len(order) / config.batch_size)
    for start in range(0, len(order), config.batch_size):
        rows = torch.from_numpy(order[start : start + config.batch_size]).to(training.x.device)
        for group in run.optimiser.param_groups:
            group["lr"] = _rate(step, run.planned_steps, config)
        run.optimiser.zero_grad(set_to_none=True)
        losses = weighted_huber(
            member(training.x[rows], shown[rows]), training.wanted[rows], training.weight[rows], huber=config.huber
        )
        loss = (losses * training.balance[rows]).sum() / (run.norm * len(rows))
        loss.backward()
        nn.utils.clip_grad_norm_(member.parameters(), config.clip_norm)
        run.optimiser.step()
        total, step = total + loss.item() * len(rows), step + 1
    if not isfinite(total):
        raise FloatingPointError(
            f"loss is not finite at epoch {epoch}: lower learning_rate in preset {config.preset!r}, or look for extreme labels"
        )
    return total / len(order)


@torch.no_grad()
def _loss_of(member: nn.Module, stars: Scaled, config: TranslatorConfig) -> float:
    losses = weighted_huber(member.eval()(stars.x, stars.present), stars.wanted, stars.weight, huber=config.huber)
    # All stars alike: the balance is a means, and how well the stars are translated is the end.
    return float(losses.sum() / stars.weight.sum().clamp(min=1e-12))


def _rate(step: int, planned: int, config: TranslatorConfig) -> float:
    """Give the rate of a step (from 0): linear warm-up, then a cosine to 1 % of the peak."""
    warmup = max(1, round(config.warmup * planned))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, planned - warmup)
    return config.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + cos(pi * done)))
