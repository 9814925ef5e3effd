"""Open the lake that the command line names."""

import argparse
import os

from jobs.terminal import say
from lake.errors import LakeError
from lake.root import Lake, init_lake, open_lake
from lake.storage import LAKE, Storage


def where(options: argparse.Namespace) -> str:
    """Return the path or URL that ``--lake`` or the environment gives.

    Raises
    ------
    LakeError
        If neither does.
    """
    found = options.lake or os.environ.get("GAIALAKE")
    if not found:
        raise LakeError("which lake? give `gaialake --lake DIR ...`, or set GAIALAKE=DIR")
    return str(found)


def opened(options: argparse.Namespace) -> Lake:
    """Open the lake."""
    return open_lake(where(options))


def opened_or_new(options: argparse.Namespace) -> Lake:
    """Open the lake; lay out one with the release's own grid where there is an empty folder or none.

    Raises
    ------
    LakeError
        If the folder holds something else.
    """
    storage = Storage.at(where(options))
    if storage.exists(LAKE):
        return open_lake(storage.root)
    if storage.is_local and storage.path("").is_dir() and any(storage.path("").iterdir()):
        raise LakeError(f"{storage.root} is neither a lake nor empty; make a lake elsewhere, or `gaialake init {storage.root}`")
    made = init_lake(storage.root)
    say(f"made a lake in {storage.root}: release {made.release}, {len(made.grid):,} partitions")
    return made


def opened_for_night(options: argparse.Namespace) -> Lake:
    """Open the lake that a nightly keeps; none is laid out, for a folder whose disk is not mounted is empty as well.

    Raises
    ------
    LakeError
        If there is no lake.
    """
    storage = Storage.at(where(options))
    if not storage.exists(LAKE):
        raise LakeError(
            f"{storage.root}: no lake here (no {LAKE}); is its disk mounted? A nightly makes no new lake: "
            f"`gaialake init {storage.root}` does"
        )
    return open_lake(storage.root)
