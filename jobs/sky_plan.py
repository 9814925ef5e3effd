"""Define what the generators of the SYNTHETIC sky share: the stars, their parts, and the files to be written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    """One file to be written: `columns` makes its rows when called.

    Attributes
    ----------
    make
        Writes the file at a path by itself, where it is no table (a map); `dialect` and `columns` then say nothing.
    """

    name: str
    dialect: str = ""
    columns: Callable[[], Columns] = dict
    dirty: bool = False
    make: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Plan:
    """All stars of the sky, their parts, and the seed of every draw."""

    stars: Stars
    parts: tuple[Part, ...]
    seed: int
