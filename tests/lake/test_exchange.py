"""On a real S3 server, a file is replaced only by who has seen its last version."""

import pytest

from lake.errors import LakeError
from lake.exchange import OvertakenError, exchange, read_tagged
from lake.storage import Storage


@pytest.fixture
def store(s3, request) -> Storage:
    return Storage.at(f"{s3}/{request.node.name}")


def test_a_file_that_is_not_there_is_made_by_one_of_two(store):
    assert read_tagged(store, "lease.json") is None
    exchange(store, "lease.json", b"one", None)
    with pytest.raises(OvertakenError, match="written by somebody else"):
        exchange(store, "lease.json", b"two", None)
    assert store.read_bytes("lease.json") == b"one"


def test_a_file_is_replaced_under_the_tag_that_was_read_and_under_no_older_one(store):
    first = exchange(store, "catalog.yaml", b"one", None)
    second = exchange(store, "catalog.yaml", b"two", first)
    with pytest.raises(OvertakenError):
        exchange(store, "catalog.yaml", b"three", first)
    held = read_tagged(store, "catalog.yaml")
    assert held is not None
    assert (held.data, held.tag) == (b"two", second)
    assert 0 <= held.age < 60


def test_a_file_that_was_deleted_meanwhile_is_not_written_again(store):
    tag = exchange(store, "catalog.yaml", b"one", None)
    store.remove("catalog.yaml")
    with pytest.raises(OvertakenError):
        exchange(store, "catalog.yaml", b"two", tag)


def test_a_store_without_conditional_writes_is_refused_with_what_to_do():
    with pytest.raises(LakeError, match="writers of this store cannot be kept apart.*use a file system or s3://"):
        read_tagged(Storage.at("memory://bucket/lake"), "lease.json")


def test_a_bucket_that_is_not_there_is_an_error_of_writing(s3):
    with pytest.raises(LakeError, match="cannot be written"):
        Storage.at("s3://no-such-bucket-here/lake").write_bytes("a.json", b"{}")
