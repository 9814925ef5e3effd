"""Measure how far a reconstruction is from what was observed.

Shape legend: B rows, R reconstructed values.
"""

from torch import Tensor, where


def weighted_squares(
    reconstruction: Tensor,
    target: Tensor,
    variance: Tensor,
    counted: Tensor,
    *,
    error_floor: float,
) -> tuple[Tensor, Tensor]:
    """Sum w (x_hat - x)^2 over the counted values, with w = floor^2 / (sigma^2 + floor^2).

    The weight is an inverse variance in units of the floor: 1 for a perfectly measured value, and
    vanishing for one that is all noise.

    Parameters
    ----------
    reconstruction, target, variance : Tensor, shape (B, R)
        Scaled values and the variance of the target; not looked at where not counted.
    counted : bool Tensor, shape (B, R)
        Values that take part: hidden and present, in training.
    error_floor : float
        In scaled units.

    Returns
    -------
    total, count : 0-d Tensor
        Both 0 when nothing is counted; ``total`` still has a gradient (of zeros).
    """
    residual = where(counted, reconstruction - target, 0.0)
    weight = error_floor**2 / (where(counted, variance, 0.0) + error_floor**2)
    return (weight * residual.square()).sum(), counted.sum()


def reconstruction_loss(
    reconstruction: Tensor,
    target: Tensor,
    variance: Tensor,
    counted: Tensor,
    *,
    error_floor: float,
) -> Tensor:
    """Average the weighted squares over the counted values, as a 0-d Tensor.

    Neither more rows nor rows without these values change its scale; it is 0 (with gradient) when
    nothing is counted.
    """
    total, count = weighted_squares(reconstruction, target, variance, counted, error_floor=error_floor)
    return total / count.clamp(min=1)
