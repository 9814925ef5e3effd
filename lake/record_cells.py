"""Put words at their bytes in records of equal length, the fixed-width text of CDS."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_BLANK, _NEWLINE = ord(" "), ord("\n")


def blank_records(rows: int, length: int) -> NDArray[np.uint8]:
    """Return blank records of a length [byte], each with a line feed behind, shape (rows, length + 1)."""
    records = np.full((rows, length + 1), _BLANK, np.uint8)
    records[:, length] = _NEWLINE
    return records


def lengths(words: pa.Array) -> NDArray[np.int64]:
    """Return the length [byte] of each word, shape (n,), 0 where it is null."""
    return np.asarray(pc.fill_null(pc.binary_length(words), 0), dtype=np.int64)


def place(cells: NDArray[np.uint8], words: pa.Array, *, right: bool) -> None:
    """Put words into blank cells, one word in each, at the right or the left; a null leaves its cell blank.

    Parameters
    ----------
    cells
        Shape (n, width), a view into records, changed in place; no word may be longer than the width.
    """
    width, size = cells.shape[1], lengths(words)
    begin = (width - size if right else np.zeros_like(size))[:, np.newaxis]
    at = np.arange(width)
    letters = "".join(word for word in words.to_pylist() if word).encode()
    cells[(at >= begin) & (at < begin + size[:, np.newaxis])] = np.frombuffer(letters, np.uint8)
