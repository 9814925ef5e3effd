"""The vocabulary: one entry per quantity, in the archive's order where there is one, with units that astropy knows."""

import csv

import pyarrow as pa
import pytest
from astropy import units

from lake.columns import COLUMNS, Column, _vocabulary, column, gaia_source, schema

ARROW = {"int64": "int64", "int16": "int16", "float32": "float", "float64": "double", "bool": "bool"}


@pytest.mark.parametrize("known", COLUMNS.values(), ids=lambda known: known.name)
def test_every_entry_says_what_it_is_within_sensible_limits(known):
    assert known.description
    assert known.null
    assert known.name == known.name.lower()
    units.Unit(known.unit)
    assert known.low is None or known.high is None or known.low < known.high


def test_gaia_source_has_the_152_columns_of_the_archive_in_its_order_and_types(shared_data):
    with (shared_data / "schemas" / "gaia_source_dr3.csv").open() as file:
        published = list(csv.DictReader(file))
    assert [known.name for known in gaia_source.COLUMNS] == [row["column"] for row in published]
    for known, row in zip(gaia_source.COLUMNS, published, strict=True):
        assert str(known.type) == ARROW.get(row["dtype"], "string"), known.name


def test_a_name_used_twice_and_a_name_never_given_are_refused():
    twice = (Column("a", pa.int64(), "", "x"), Column("a", pa.int64(), "", "y"))
    with pytest.raises(ValueError, match="names 'a' twice"):
        _vocabulary(twice)
    with pytest.raises(KeyError, match="no column 'W1' in the vocabulary; add it once"):
        column("W1")


def test_a_schema_fixes_the_lengths_it_is_given_and_only_the_key_is_never_null():
    made = schema(["source_id", "flux", "ra"], lengths={"flux": 343})
    assert made.field("flux").type == pa.list_(pa.field("element", pa.float32()), 343)
    assert [field.nullable for field in made] == [False, True, True]
    assert schema(["flux"]).field("flux").type == pa.list_(pa.float32())
