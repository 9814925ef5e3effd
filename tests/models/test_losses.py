"""The reconstruction loss."""

import pytest
import torch

from models.losses import reconstruction_loss


def case(rows=8, columns=5):
    generator = torch.Generator().manual_seed(0)
    guess, target = torch.randn(2, rows, columns, generator=generator)
    variance = torch.rand(rows, columns, generator=generator)
    counted = torch.rand(rows, columns, generator=generator) < 0.5
    return guess, target, variance, counted


def loss(guess, target, variance, counted):
    return reconstruction_loss(guess, target, variance, counted, error_floor=0.1)


def test_the_loss_is_the_weighted_mean_over_counted_values():
    guess, target, variance, counted = case()
    terms = [0.01 / (variance[i, j] + 0.01) * (guess[i, j] - target[i, j]) ** 2 for i, j in counted.nonzero().tolist()]
    assert loss(*case()).item() == pytest.approx(sum(terms).item() / len(terms), rel=1e-5)


@pytest.mark.parametrize("copies", [2, 10])
def test_the_loss_does_not_depend_on_the_batch_size(copies):
    repeated = [tensor.repeat(copies, 1) for tensor in case()]
    assert loss(*repeated).item() == pytest.approx(loss(*case()).item(), rel=1e-5)


def test_padding_and_rows_without_a_band_do_not_change_the_loss():
    guess, target, variance, counted = case()
    padded = [torch.cat([tensor, 1e6 * torch.ones(90, 5)]) for tensor in (guess, target, variance)]
    mask = torch.cat([counted, torch.zeros(90, 5, dtype=torch.bool)])
    assert loss(*padded, mask).item() == pytest.approx(loss(*case()).item(), rel=1e-5)


def test_nan_in_values_that_are_not_counted_reaches_neither_loss_nor_gradient():
    guess, target, variance, counted = case()
    guess = guess.requires_grad_()
    dirty = [torch.where(counted, tensor, torch.nan) for tensor in (target, variance)]
    value = loss(guess, *dirty, counted)
    value.backward()
    assert value.isfinite()
    assert guess.grad.isfinite().all()


def test_nothing_masked_gives_zero_with_a_gradient():
    guess, target, variance, counted = case()
    guess = guess.requires_grad_()
    value = loss(guess, target, variance, torch.zeros_like(counted))
    value.backward()
    assert value.item() == 0
    assert (guess.grad == 0).all()


def test_noisy_values_weigh_less_and_exact_ones_do_not_diverge():
    guess, target = torch.ones(1, 1), torch.zeros(1, 1)
    counted = torch.ones(1, 1, dtype=torch.bool)
    exact, floor, noisy = (loss(guess, target, torch.tensor([[v]]), counted).item() for v in (0.0, 0.01, 1e12))
    assert (exact, floor) == pytest.approx((1, 0.5))
    assert noisy < 1e-12
