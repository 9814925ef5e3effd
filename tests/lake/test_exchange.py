"""On a real S3 server, a file is replaced only by who has seen its last version."""

import pytest

from lake.errors import BusyError, LakeError
from lake.exchange import OvertakenError, exchange, read_tagged
from lake.ledger import raw_files, register
from lake.storage import Storage
from lake.survey import survey
from tests.s3 import wired


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


def test_a_write_whose_answer_was_lost_is_not_taken_for_that_of_another_writer(store):
    first = exchange(store, "catalog.yaml", b"one", None)
    with wired() as wire:
        wire.lose_answer("PUT")
        second = exchange(Storage.at(store.root), "catalog.yaml", b"two", first)
        assert sum(line.startswith("PUT") for line in wire.asked) == 2
    assert exchange(store, "catalog.yaml", b"three", second)
    with pytest.raises(OvertakenError):
        exchange(store, "catalog.yaml", b"four", second)


def test_a_late_writer_does_not_forget_the_raw_files_that_a_later_one_named(store, synthetic, tmp_path, draw_ids):
    catwise = survey("catwise_andrae2023")
    paths = [
        synthetic.write(catwise, synthetic.rows(catwise, draw_ids(9, k), k), tmp_path / f"{k}.fits", "fits") for k in range(3)
    ]
    register(store, catwise, paths[:1])

    def meanwhile(done: int, total: int) -> None:
        register(store, catwise, paths[1:])

    with pytest.raises(BusyError, match="written by somebody else since it was read, so it stays as it is"):
        raw_files(store, catwise, meanwhile)
    assert [file.path for file in raw_files(store, catwise)] == paths
