"""Share work among the elements of a job array: element i of n takes every n-th number."""

import re

from lake.errors import LakeError

_PART = re.compile(r"(\d+)/(\d+)", re.ASCII)


def part_of(text: str) -> tuple[int, int]:
    """Return (i, n) of "i/n", element i of n, counted from 1.

    Raises
    ------
    LakeError
        If the text is anything else, or i is not one of 1 to n.

    Examples
    --------
    >>> part_of("2/3")
    (2, 3)
    """
    match = _PART.fullmatch(text)
    i, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= i <= n:
        raise LakeError(f"part {text!r}: expected i/n, element i of n with 1 <= i <= n, such as 1/8 (in a job array: $i/$n)")
    return i, n


def in_part(part: tuple[int, int] | None, number: int) -> bool:
    """Tell whether a share (see `part_of`) holds the work of this number; without a share, all work is held.

    The number of a raw file is `file_number` of its sha256; that of a partition is its place in its table's layout, from 0.

    Examples
    --------
    >>> [in_part((1, 3), number) for number in range(4)]
    [True, False, False, True]
    """
    return part is None or number % part[1] == part[0] - 1


def file_number(sha256: str) -> int:
    """Return the number by which a raw file is shared, the same on every machine and in every order of files."""
    return int(sha256[:8], 16)
