"""Fix the sizes, masks and training of the masked autoencoder; free of torch, so that plans can read it in no time."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

MODEL = "xp_mae"
# Raise by hand when the same bundle would give other numbers; older bundles are then refused.
CODE_VERSION = 1


def require(preset: str, name: str, found: float, holds: Callable[[float], bool], expected: str) -> None:
    """Refuse a number of a preset that is not finite, or not as expected.

    Raises
    ------
    ValueError
        With preset, name, what was found and what was expected.
    """
    if not (isfinite(found) and holds(found)):
        raise ValueError(f"config {preset!r}: {name} is {found}, expected {expected}; change the preset")


@dataclass(frozen=True)
class Config:
    """Fix a network, its masks and its training; validated on construction.

    Parameters
    ----------
    preset : str
        Name of the preset that it comes from.
    embedding, width, blocks : int
        E, H, and residual blocks of encoder and of decoder each.
    hide_xp, hide_bp, hide_rp, hide_spans, hide_scattered : float
        Probabilities, per star and exclusive, of hiding both bands, one band, a span of orders in
        each band, or every coefficient with probability 1/2. What remains to 1 hides no XP.
    hide_scalar : float
        Probability of hiding each scalar feature, independently.
    error_floor : float
        One-sigma floor in scaled units, added in quadrature to each error.
    visible_weight : float
        Weight of rebuilding what was visible, beside 1 for what was hidden.
    epochs, batch_size : int
        Passes over the table; rows per step.
    learning_rate, weight_decay, warmup, clip_norm : float
        AdamW peak rate and decay, share of steps that warm up, largest gradient norm.
    shuffle_rows : int
        Capacity of the shuffle buffer [rows].
    validation_fraction : float
        Share of sources never trained on.
    validation_rows : int
        About how many of these the metrics of each epoch use.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    preset: str
    embedding: int = 32
    width: int = 256
    blocks: int = 2
    hide_xp: float = 0.15
    hide_bp: float = 0.10
    hide_rp: float = 0.10
    hide_spans: float = 0.25
    hide_scattered: float = 0.25
    hide_scalar: float = 0.25
    error_floor: float = 0.1
    visible_weight: float = 0.1
    epochs: int = 20
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    clip_norm: float = 1.0
    shuffle_rows: int = 65_536
    validation_fraction: float = 0.1
    validation_rows: int = 20_000

    def __post_init__(self) -> None:
        """Refuse a configuration that cannot train."""
        for name in (
            "embedding",
            "width",
            "blocks",
            "epochs",
            "batch_size",
            "shuffle_rows",
            "validation_rows",
        ):
            require(self.preset, name, getattr(self, name), lambda found: found >= 1, "at least 1")
        for name in ("error_floor", "learning_rate", "clip_norm"):
            require(self.preset, name, getattr(self, name), lambda found: found > 0, "a positive number")
        for name in ("visible_weight", "weight_decay", *_MODES):
            require(self.preset, name, getattr(self, name), lambda found: found >= 0, "a number from 0")
        for name in ("hide_scalar", "warmup", "validation_fraction"):
            require(self.preset, name, getattr(self, name), lambda found: 0 <= found < 1, "a number in [0, 1)")
        # Rounding: 0.1 + 0.2 + 0.7 need not be 1.
        hiding = sum(getattr(self, name) for name in _MODES)
        require(self.preset, " + ".join(_MODES), hiding, lambda found: found <= 1 + 1e-9, "at most 1")


_MODES = ("hide_xp", "hide_bp", "hide_rp", "hide_spans", "hide_scattered")


def debug() -> Config:
    """Give the preset for tests: seconds on a few hundred rows."""
    return Config(
        preset="debug",
        embedding=16,
        width=64,
        blocks=1,
        epochs=4,
        batch_size=32,
        learning_rate=3e-3,
        shuffle_rows=128,
    )


def small() -> Config:
    """Give the preset for real tables: 0.64 million weights with 55 + 55 coefficients."""
    return Config(preset="small")


PRESETS = {"debug": debug, "small": small}
