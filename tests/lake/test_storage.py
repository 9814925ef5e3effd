"""Keys stay inside the lake, and every write is whole or not at all."""

import json
import os
from datetime import UTC, datetime

import pytest

from lake.errors import LakeError, OutageError
from lake.root import init_lake
from lake.storage import Storage, checked_key, partition_key
from lake.whole import write_whole
from tests.s3 import wired

CLIMBING = [
    "../x",
    "a/../../x",
    "/etc/passwd",
    "s3://bucket/x",
    "file:///etc/passwd",
    "a//b",
    "",
    "a/",
    "~/x",
    "a b",
    "a\nb",
    "a/..",
    "./x",
    ".",
    "C:\\x",
    "tables/x\n",
]


@pytest.mark.parametrize("key", CLIMBING)
def test_keys_that_may_leave_the_lake_are_refused(key):
    with pytest.raises(LakeError, match="does not lie inside the lake.*restore it, or rebuild"):
        checked_key(key)


def test_keys_of_our_own_making_are_accepted():
    key = partition_key("gaia_dr3_xp", "0a1b2c3d", "000000-003111.parquet")
    assert checked_key(key) == key


def test_a_written_file_is_read_back_and_its_folder_holds_nothing_else(tmp_path):
    storage = init_lake(tmp_path).storage
    storage.write_json("a/b.json", {"z": 1, "a": [1, 2]})
    assert storage.read_json("a/b.json") == {"z": 1, "a": [1, 2]}
    assert storage.names("a") == ["b.json"]
    assert storage.names("nowhere") == []


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_remains(moment, tmp_path, monkeypatch):
    storage = Storage.at(tmp_path)
    storage.write_bytes("catalog.yaml", b"old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": ("pathlib.Path.replace",)}[moment], fail)
    with pytest.raises(LakeError, match=r"catalog.yaml cannot be written: No space left.*free some space"):
        storage.write_bytes("catalog.yaml", b"new and longer")
    monkeypatch.undo()
    assert storage.read_bytes("catalog.yaml") == b"old"
    assert storage.names("") == ["catalog.yaml"]


def test_a_process_that_dies_between_writing_and_renaming_leaves_the_old_file(tmp_path):
    target = tmp_path / "catalog.yaml"
    target.write_bytes(b"old")
    child = os.fork()
    if child == 0:
        os.fsync = lambda file: os._exit(9)  # the data lie beside the target, and the process dies
        write_whole(target, b"new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert target.read_bytes() == b"old"


def test_json_that_is_not_sound_is_refused_with_its_place(tmp_path):
    (tmp_path / "lake.json").write_text('{"layout": 1,')
    with pytest.raises(LakeError, match=r"lake.json is not sound JSON.*restore it"):
        Storage.at(tmp_path).read_json("lake.json")


def test_a_url_is_no_local_folder_and_steps_that_need_one_say_so():
    storage = Storage.at("memory://bucket/lake/")
    assert storage.root == "memory://bucket/lake"
    storage.write_json("a.json", [1])
    assert storage.read_json("a.json") == [1]
    assert storage.exists("a.json")
    with pytest.raises(LakeError, match="no local folder"):
        storage.path("a.json")


@pytest.mark.parametrize(
    "url",
    [
        "s3://KEY:sec/ret@bucket/lake",
        "s3://KEY:secret@bucket/lake",
        "https://me:secret@host/lake",
        "https://host/lake?Sig=secret",
    ],
)
def test_a_url_that_holds_a_secret_is_refused_and_not_shown(url):
    with pytest.raises(LakeError, match="credentials to the environment") as caught:
        Storage.at(url)
    assert "sec" not in str(caught.value)
    assert "KEY:" not in str(caught.value)


def test_a_file_url_is_the_folder(tmp_path):
    assert Storage.at(f"file://{tmp_path}") == Storage.at(tmp_path)


def test_empty_objects_that_stand_for_folders_are_neither_names_nor_files(s3):
    import s3fs

    storage = init_lake(f"{s3}/placeholders").storage
    bucket, _, path = storage.root.removeprefix("s3://").partition("/")
    for folder in ("scratch/", "tables/", "tables/a/"):
        s3fs.S3FileSystem().call_s3("put_object", Bucket=bucket, Key=f"{path}/{folder}", Body=b"")
    storage.write_bytes("tables/a/b.json", b"{}")
    assert (storage.names("scratch"), storage.names("tables"), storage.names("tables/a")) == ([], ["a"], ["b.json"])
    assert [one.key for one in storage.files("tables")] == ["tables/a/b.json"]


def test_files_that_a_store_refuses_to_delete_are_told(s3):
    import s3fs

    bucket = "no-deletions"
    fs = s3fs.S3FileSystem()
    fs.mkdir(bucket)
    storage = init_lake(f"s3://{bucket}").storage
    storage.write_bytes("scratch/a/1", b"1")
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    fs.call_s3("put_bucket_policy", Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    with pytest.raises(OutageError, match="scratch/a/1 cannot be deleted: refused by the object store"):
        storage.remove_tree("scratch")
    with pytest.raises(OutageError, match="scratch/a/1: the object store refuses"):
        storage.remove("scratch/a/1")


def test_a_store_that_cannot_be_reached_is_an_outage_for_readers_and_writers(s3, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    root = init_lake(f"{s3}/unreachable").storage.root
    with wired() as wire:
        wire.cut()
        for ask in (
            lambda storage: storage.read_bytes("lake.json"),
            lambda storage: storage.exists("lake.json"),
            lambda storage: storage.names("tables"),
            lambda storage: storage.write_bytes("a", b"1"),
        ):
            with pytest.raises(OutageError, match="the object store refuses, or cannot be reached.*run the same command again"):
                ask(Storage.at(root))


def test_a_data_file_that_is_gone_is_reported_with_what_to_do(tmp_path):
    with pytest.raises(LakeError, match=r"000000-000001.parquet.*not there.*build"):
        Storage.at(tmp_path).open_input("tables/x/b/000000-000001.parquet")


def test_a_lake_whose_disk_went_away_is_not_made_anew_on_the_empty_mount_point(tmp_path):
    storage = init_lake(tmp_path / "mount").storage
    (tmp_path / "mount").rename(tmp_path / "elsewhere")
    (tmp_path / "mount").mkdir()
    with pytest.raises(LakeError, match=r"the lake is no longer there \(lake.json is gone.*is its disk mounted"):
        storage.write_json("tables/a/b.json", {})
    with pytest.raises(LakeError, match="is its disk mounted"), storage.staged("tables/a/b/000000-000001.parquet"):
        pass
    assert not list((tmp_path / "mount").iterdir())


def test_files_are_listed_with_sizes_and_dates_and_empty_folders_go(tmp_path):
    storage = init_lake(tmp_path).storage
    storage.write_bytes("tables/a/b/x.parquet", b"abc")
    storage.write_bytes("tables/a/c.json", b"{}")
    assert [(one.key, one.bytes) for one in storage.files("tables")] == [("tables/a/b/x.parquet", 3), ("tables/a/c.json", 2)]
    assert all(abs((datetime.now(UTC) - one.modified).total_seconds()) < 60 for one in storage.files("tables"))
    storage.remove("tables/a/b/x.parquet")
    storage.remove("tables/a/b/x.parquet")
    storage.remove_empty("tables")
    assert not storage.exists("tables/a/b")
    assert storage.exists("tables/a/c.json")
    storage.remove_tree("tables")
    assert list(storage.files("tables")) == []
