"""Define what the generators of the SYNTHETIC sky share: the stars, their parts, and the files to be written."""

from collections.abc import Callable
from dataclasses import dataclass

from jobs.sky_population import Stars
from jobs.sky_xp import Columns


@dataclass(frozen=True)
class Part:
    """Stars of one range of level-8 pixels, which every bulk table cuts alike; `name` is ``LLLLLL-HHHHHH``."""

    number: int
    name: str
    stars: Stars


@dataclass(frozen=True)
class File:
    """One file to be written: `columns` makes its rows when called."""

    name: str
    dialect: str
    columns: Callable[[], Columns]
    dirty: bool = False


@dataclass(frozen=True)
class Plan:
    stars: Stars
    parts: tuple[Part, ...]
    seed: int
