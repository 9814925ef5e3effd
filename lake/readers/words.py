"""Say how text tables spell missing values and truth, and in which type their columns are parsed."""

import pyarrow as pa
import pyarrow.compute as pc

NULLS = ["", "null", "NULL", "nan", "NaN", "--"]
TRUE, FALSE = ["True", "true", "TRUE", "T", "t", "1"], ["False", "false", "FALSE", "F", "f", "0"]


def parsed(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is parsed from text.

    Small integers are parsed as float64, exactly: some files turn them into ``24.0`` in the middle.
    Identifiers are parsed as int64 and nothing else. Arrays arrive as text.
    """
    if pa.types.is_list(kind):
        return pa.string()
    if pa.types.is_integer(kind) and kind != pa.int64():
        return pa.float64()
    return kind


def parses(value: str | None, kind: pa.DataType) -> bool:
    """Tell whether a word is a value of this type; a missing one is of every type."""
    if value is None or pa.types.is_string(kind) or pa.types.is_list(kind):
        return True
    if pa.types.is_boolean(kind):
        return value in TRUE + FALSE
    try:
        pc.cast(pa.scalar(value), parsed(kind))
    except pa.ArrowInvalid:
        return False
    return True
