"""Words in the bytes of fixed-width records."""

import pyarrow as pa

from lake.record_cells import blank_records, lengths, place


def test_words_stand_at_the_right_or_the_left_of_their_bytes_and_null_is_blank() -> None:
    records = blank_records(3, 9)
    place(records[:, :4], pa.array(["1", None, "-1.5"]), right=True)
    place(records[:, 5:], pa.array(["true", "é", None]), right=False)
    assert [bytes(row) for row in records] == [b"   1 true\n", "     é  \n".encode(), b"-1.5     \n"]


def test_lengths_are_those_of_bytes_and_null_has_none() -> None:
    assert lengths(pa.array(["é", None, "", "abc"])).tolist() == [2, 0, 0, 3]


def test_no_rows_are_no_records() -> None:
    place(blank_records(0, 4)[:, :2], pa.array([], pa.string()), right=True)
    assert blank_records(0, 4).shape == (0, 5)
