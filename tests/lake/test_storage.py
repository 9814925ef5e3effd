"""Keys stay inside the lake, and every write is whole or not at all."""

import os
from datetime import UTC, datetime

import pytest

from lake.errors import LakeError
from lake.root import init_lake
from lake.storage import Storage, checked_key, partition_key, write_whole

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
