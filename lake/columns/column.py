"""Define what the vocabulary knows of one column."""

from dataclasses import dataclass

import pyarrow as pa

F32, F64 = pa.float32(), pa.float64()
I16, I32, I64 = pa.int16(), pa.int32(), pa.int64()
BOOL, TEXT = pa.bool_(), pa.string()
F32_LIST, F64_LIST = pa.list_(F32), pa.list_(F64)


@dataclass(frozen=True)
class Column:
    """One quantity: its name, Arrow type, unit and meaning.

    Attributes
    ----------
    unit
        In astropy's spelling; empty for a number without unit.
    low, high
        Plausible limits (inclusive) of a value, or of every element of a list; None where any finite value may occur.
        A table with values outside them fails its check.
    null
        What a missing value means.
    """

    name: str
    type: pa.DataType
    unit: str
    description: str
    low: float | None = None
    high: float | None = None
    null: str = "not measured"

    def field(self, size: int | None = None) -> pa.Field:
        """Return the Arrow field; `size` fixes the length of a list column."""
        kind = self.type
        if size and pa.types.is_list(kind):
            # "element" is what Parquet calls it, so that a schema survives a round trip to the letter.
            kind = pa.list_(pa.field("element", kind.value_type), size)
        nullable = self.name != "source_id"
        metadata = {"unit": self.unit, "description": self.description}
        if nullable:
            metadata["null"] = self.null
        return pa.field(self.name, kind, nullable=nullable, metadata=metadata)
