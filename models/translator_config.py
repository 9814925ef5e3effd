"""Fix the sizes and the training of a translation's networks; free of torch, so that plans can read it in no time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.config import require

MODEL = "spectro_translator"
# Raise by hand when the same bundle would give other numbers; older bundles are then refused.
TRANSLATOR_VERSION = 2
SKELETONS = ("residual", "published")


@dataclass(frozen=True)
class TranslatorConfig:
    """Fix the networks of a translation and their training; validated on construction.

    Parameters
    ----------
    preset : str
        Name of the preset that it comes from.
    skeleton : str
        ``residual``: normed residual blocks of one width, told which inputs are missing. ``published``: as Thomas et al. 2024
        (doi:10.1051/0004-6361/202450198), whose width doubles and halves again.
    width, blocks : int
        Width of a residual block and number of blocks; first width and number of doublings, if ``published``.
    ensemble : int
        Networks of each kind, at least 2.
    epochs, batch_size : int
        Passes over the training split; stars per step.
    learning_rate, weight_decay, warmup, clip_norm : float
        AdamW peak rate and decay, share of steps that warm up, largest gradient norm.
    hide_input : float
        Probability of hiding each input of a star in training, so that missing ones are coped with.
    error_floor : float
        One-sigma floor of a difference, in units of the label's robust scatter, added in quadrature to the errors.
    huber : float
        Beyond this many sigma a difference counts linearly.
    neighbours : int
        Density is that of as many nearest neighbours.
    balance : float
        Power of the inverse density by which lonely stars weigh more; 0 weighs all stars alike.
    balance_cap : float
        Largest weight of a lonely star beside 1 of a crowded one.
    select_fraction, test_fraction : float
        Share of the common stars that choose and calibrate, and that only judge.
    smallest_sample : int
        Fewer usable common stars are refused.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    preset: str
    skeleton: str = "residual"
    width: int = 64
    blocks: int = 2
    ensemble: int = 10
    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip_norm: float = 1.0
    hide_input: float = 0.02
    error_floor: float = 0.3
    huber: float = 2.0
    neighbours: int = 20
    balance: float = 0.2
    balance_cap: float = 10.0
    select_fraction: float = 0.15
    test_fraction: float = 0.15
    smallest_sample: int = 100

    def __post_init__(self) -> None:
        """Refuse a configuration that cannot train."""
        if self.skeleton not in SKELETONS:
            raise ValueError(
                f"config {self.preset!r}: skeleton is {self.skeleton!r}, expected one of {SKELETONS}; change the preset"
            )
        for name in ("width", "blocks", "epochs", "batch_size", "neighbours"):
            self._require(name, lambda found: found >= 1, "at least 1")
        # One network has no scatter, and so no systematic error.
        self._require("ensemble", lambda found: found >= 2, "at least 2")
        self._require("smallest_sample", lambda found: found >= 20, "at least 20")
        self._require("balance_cap", lambda found: found >= 1, "at least 1")
        for name in ("learning_rate", "clip_norm", "error_floor", "huber"):
            self._require(name, lambda found: found > 0, "a positive number")
        for name in ("weight_decay", "balance"):
            self._require(name, lambda found: found >= 0, "a number from 0")
        for name in ("warmup", "hide_input"):
            self._require(name, lambda found: 0 <= found < 1, "a number in [0, 1)")
        for name in ("select_fraction", "test_fraction"):
            self._require(name, lambda found: 0 < found <= 0.4, "a number in (0, 0.4]")

    def _require(self, name: str, holds: Callable[[float], bool], expected: str) -> None:
        require(self.preset, name, getattr(self, name), holds, expected)


def debug() -> TranslatorConfig:
    """Give the preset for tests: seconds on a few hundred stars."""
    return TranslatorConfig(preset="debug", width=16, blocks=1, ensemble=2, epochs=4, batch_size=64)


def small() -> TranslatorConfig:
    """Give the preset for real tables: ten networks of 0.02 million weights for either kind."""
    return TranslatorConfig(preset="small")


def published() -> TranslatorConfig:
    """Give the size of the published networks, 1.22 million weights each."""
    return TranslatorConfig(
        preset="published", skeleton="published", blocks=3, ensemble=10, epochs=30, batch_size=512, learning_rate=1e-3
    )


PRESETS: Mapping[str, Callable[[], TranslatorConfig]] = {"debug": debug, "small": small, "published": published}
