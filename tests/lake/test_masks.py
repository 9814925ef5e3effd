"""Single values are forgotten, rows left out, where a survey's own bits, letters and limits say so; each is counted."""

import dataclasses

import pyarrow as pa
import pytest

from lake.conform import conform
from lake.declaration import Mask, Raw, Where
from lake.errors import SurveyError
from lake.masks import condemned, drop, mask
from lake.readers import RawBatch
from lake.survey import Survey, survey

BITS = {"SATURATED": 18, "EDGE": 2, "BLENDED": 3}


@pytest.fixture
def declared() -> Survey:
    """A survey of two bands with flags, made of columns that the vocabulary has anyway."""
    return dataclasses.replace(
        survey("catwise_andrae2023"),
        columns={
            "source_id": Raw("source_id"),
            "catwise_w1_mag": Raw("w1"),
            "catwise_w2_mag": Raw("w2"),
            "random_index": Raw("f"),
        },
        required=("source_id",),
        flags={"random_index": BITS},
        masks=(
            Mask(("catwise_w1_mag",), Where("random_index", bits=("SATURATED", "EDGE"))),
            Mask(("catwise_w2_mag",), Where("catwise_w2_mag", below=7.0, above=16.0)),
        ),
        drops=(Where("catwise_w1_mag", above=29.0),),
        rows=None,
        relations=(),
        fetch=None,
    )


def rows(**columns: object) -> pa.Table:
    kinds = {"source_id": pa.int64(), "random_index": pa.int64()}
    return pa.table({name: pa.array(values, kinds.get(name, pa.float32())) for name, values in columns.items()})


def test_a_named_bit_masks_its_band_and_the_other_band_and_the_row_stay(declared):
    batch = rows(
        source_id=[1 << 40, 2 << 40, 3 << 40, 4 << 40],
        catwise_w1_mag=[10.0, 11.0, 12.0, None],
        catwise_w2_mag=[10.5, 11.5, 12.5, 13.5],
        random_index=[1 << 18, 1 << 3, None, 4],
    )
    held = conform(RawBatch(batch, (), ()), declared, "file")
    assert held.table["catwise_w1_mag"].to_pylist() == [None, 11.0, 12.0, None]
    assert held.table["catwise_w2_mag"].to_pylist() == [10.5, 11.5, 12.5, 13.5]
    assert held.masked == {"catwise_w1_mag: random_index has SATURATED or EDGE": 1}
    assert held.dropped == {}


def test_values_beyond_the_limits_of_a_band_are_masked_and_counted(declared):
    table = rows(source_id=[1, 2, 3, 4], catwise_w2_mag=[6.9, 7.0, 16.0, 16.1])
    masked, counts = mask(table, declared, ("catwise_w2_mag",))
    assert masked["catwise_w2_mag"].to_pylist() == [None, 7.0, 16.0, None]
    assert counts == {"catwise_w2_mag: catwise_w2_mag below 7, above 16": 2}


def test_a_drop_leaves_rows_out_and_counts_them(declared):
    left, counts = drop(rows(source_id=[1, 2, 3], catwise_w1_mag=[29.5, None, 12.0]), declared, ("catwise_w1_mag",))
    assert left["source_id"].to_pylist() == [2, 3]
    assert counts == {"catwise_w1_mag above 29": 1}


def test_letters_other_than_the_good_ones_condemn_and_null_condemns_nothing(declared):
    table = pa.table({"designation": pa.array(["A", "U", None, "E"])})
    bad = condemned(table, Where("designation", other_than=("A", "B")), declared)
    assert bad.to_pylist() == [False, True, False, True]


def test_the_sign_bit_and_the_last_bit_of_a_64_bit_flag_are_told_apart(declared):
    flagged = dataclasses.replace(declared, flags={"random_index": {"SIGN": 63, "LAST": 62, "FIRST": 0}}, masks=())
    table = rows(source_id=[1, 2, 3], random_index=[1 << 62, 1, -(1 << 63)])
    assert condemned(table, Where("random_index", bits=("LAST",)), flagged).to_pylist() == [True, False, False]
    assert condemned(table, Where("random_index", bits=("FIRST",)), flagged).to_pylist() == [False, True, False]
    assert condemned(table, Where("random_index", bits=("SIGN",)), flagged).to_pylist() == [False, False, True]


def test_a_bit_that_no_one_named_is_refused_when_the_survey_is_declared(declared):
    with pytest.raises(SurveyError, match=r"random_index\.SATURATION is no bit"):
        dataclasses.replace(declared, masks=(Mask(("catwise_w1_mag",), Where("random_index", bits=("SATURATION",))),))


def test_the_names_of_bits_travel_in_the_schema(declared):
    field = declared.schema().field("random_index")
    assert field.metadata[b"bits"] == b"2 EDGE, 3 BLENDED, 18 SATURATED"


def test_a_condition_on_what_only_the_match_or_the_merge_adds_is_refused_for_it_would_never_be_asked():
    matched = survey("unwise_neo6")
    for name in ("match_candidates", "n_observations"):
        with pytest.raises(SurveyError, match=f"{name} named in the declaration but not among its columns"):
            dataclasses.replace(matched, drops=(Where(name, above=1),))
