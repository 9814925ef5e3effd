"""The elements of a job array share the work: together all of it, none of it twice."""

import pytest

from lake.errors import LakeError
from lake.part import file_number, in_part, part_of


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3 ", " 1/3", "1/3/5", "a/b", "1.0/3", "²/3", "1:3"])
def test_what_is_no_share_is_refused_with_what_one_looks_like(text):
    with pytest.raises(LakeError, match="expected i/n, element i of n with 1 <= i <= n, such as 1/8"):
        part_of(text)


def test_every_number_is_in_one_share_and_without_shares_all_are_done():
    shares = [part_of(f"{i}/5") for i in range(1, 6)]
    for number in range(23):
        assert sum(in_part(one, number) for one in shares) == 1
        assert in_part(None, number)


def test_a_raw_file_is_in_the_same_share_wherever_it_lies():
    assert file_number("0000000a" + "f" * 56) == 10
    assert [in_part((i, 3), file_number("0000000a" + "0" * 56)) for i in (1, 2, 3)] == [False, True, False]
