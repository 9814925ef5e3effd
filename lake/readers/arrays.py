"""Parse arrays written as text, in brackets or parentheses, into list columns."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EMPTY = pa.array(["", "[]", "()"])
_MISSING = pa.array(["null", "nan", "NaN", "None", "--", ""])


class ArrayTextError(ValueError):
    """Report the row of a text that is no array of numbers."""

    def __init__(self, row: int, text: str, reason: str) -> None:
        super().__init__(f"{reason}: {text[:60]!r}")
        self.row = row


def parse_arrays(text: pa.Array, kind: pa.DataType) -> pa.ListArray:
    """Turn texts such as ``[1.5, null]`` or ``(1.5,2)`` into lists.

    Parameters
    ----------
    text
        Strings; null, ``[]`` and ``()`` become null lists.
    kind
        Type of the elements; ``null`` and ``nan`` elements become null.

    Raises
    ------
    ArrayTextError
        If a text has no brackets or an element is no number; it names the row.
    """
    if pc.any(pc.less_equal(pc.binary_length(text), 2)).as_py():
        text = pc.if_else(pc.is_in(text, _EMPTY), pa.scalar(None, pa.string()), text)
    bracketed = pc.and_(
        pc.or_(pc.starts_with(text, "["), pc.starts_with(text, "(")), pc.or_(pc.ends_with(text, "]"), pc.ends_with(text, ")"))
    )
    if pc.any(pc.invert(bracketed)).as_py():
        row = pc.index(bracketed, False).as_py()
        raise ArrayTextError(row, text[row].as_py(), "expected an array in [] or ()")
    seen = text.drop_null()
    spaced = len(seen) > 0 and ", " in seen[0].as_py()[:400]
    split = pc.split_pattern(pc.utf8_slice_codeunits(text, 1, -1), ", " if spaced else ",")
    try:
        values = pc.cast(split.values, kind)
    except pa.ArrowInvalid:
        values = _careful(split, kind)
    if pc.any(pc.is_nan(values)).as_py():
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    return pa.ListArray.from_arrays(split.offsets, values, mask=pc.is_null(split))


def _careful(split: pa.ListArray, kind: pa.DataType) -> pa.Array:
    """Cast elements after trimming them and turning words for nothing into null; name the row that still fails."""
    words = pc.utf8_trim_whitespace(split.values)
    words = pc.if_else(pc.is_in(words, _MISSING), pa.scalar(None, pa.string()), words)
    try:
        return pc.cast(words, kind)
    except pa.ArrowInvalid as error:
        i, word = next((i, word) for i, word in enumerate(words) if not _is_number(word, kind))
        row = int(np.searchsorted(split.offsets.to_numpy(), i, side="right")) - 1
        raise ArrayTextError(row, word.as_py(), "expected a number") from error


def _is_number(word: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        word.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
