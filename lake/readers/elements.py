"""Take one element out of every array of a column, or one letter out of every text."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.readers.arrays import ArrayTextError, parse_arrays
from lake.readers.words import parsed


class ElementError(ValueError):
    """Carry the column and the first row (of a batch) in which an element is missing, until the file's row is known."""

    def __init__(self, message: str, name: str, row: int = 0) -> None:
        super().__init__(message)
        self.name = name
        self.row = row


def element(column: pa.ChunkedArray, place: int, kind: pa.DataType, name: str) -> pa.Array:
    """Return one element of each array, or one letter of each text.

    A null or empty array gives null. A text in brackets is an array where numbers are wanted; of any other text it is the
    letter, and behind the text's end there is an empty one, since trailing blanks are lost in many forms.

    Parameters
    ----------
    place
        Number of the element, from 0.
    kind
        Type that the vocabulary gives the element; texts are parsed for it, arrays are taken as they are.
    name
        The column in the file, for messages.

    Raises
    ------
    ElementError
        If an array ends before the element, or the column holds neither arrays nor texts.
    """
    values = _plain(column.combine_chunks())
    if pa.types.is_string(values.type):
        if pa.types.is_string(kind) or not _bracketed(values):
            return pc.utf8_slice_codeunits(values, place, place + 1)
        try:
            values = parse_arrays(values, parsed(kind))
        except ArrayTextError as error:
            raise ElementError(str(error), name, error.row) from error
    if pa.types.is_null(values.type):
        return values
    if pa.types.is_fixed_size_list(values.type) and 0 < values.type.list_size <= place:
        raise ElementError(f"expected an array of more than {place} values, found {values.type.list_size}", name)
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)):
        raise ElementError(f"expected arrays or texts, of which to take element {place} (from 0), found {values.type}", name)
    return _of_lists(values, place, name)


def _plain(values: pa.Array) -> pa.Array:
    """Return dictionary and large text columns, as other tools write them to Parquet, as what they stand for."""
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    return pc.cast(values, pa.string()) if pa.types.is_large_string(values.type) else values


def _bracketed(values: pa.Array) -> bool:
    return bool(pc.any(pc.or_(pc.starts_with(values, "["), pc.starts_with(values, "("))).as_py())


def _of_lists(values: pa.Array, place: int, name: str) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    short = pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, place))
    if pc.any(short).as_py():
        row = pc.index(short, True).as_py()
        raise ElementError(
            f"expected an array of more than {place} values, found {lengths[row].as_py()} "
            f"({pc.sum(short).as_py():,} such rows here)",
            name,
            row,
        )
    there = np.asarray(pc.greater(lengths, 0))
    if there.all() and len(values):
        return pc.list_element(values, place)
    if not there.any():
        return pa.nulls(len(values), values.type.value_type)
    picked = pc.list_element(values.filter(pa.array(there)), place)
    return picked.take(pa.array(np.cumsum(there) - 1, mask=~there))
