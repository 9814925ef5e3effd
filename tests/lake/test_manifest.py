"""A manifest that was altered, cut or made for another lake is refused; a sound one is read back as it was."""

import json

import pytest

from lake.errors import LakeError
from lake.manifest import VOLATILE, Manifest, manifest_at, read_manifest, same_grid
from lake.partition import uniform
from lake.root import init_lake
from lake.storage import Storage, manifest_key
from lake.table import Table


@pytest.fixture
def manifest(small_lake) -> Manifest:
    return small_lake.table("gaia_dr3_source").manifest


@pytest.fixture
def stored(manifest, tmp_path):
    """Return a function that stores the manifest, altered by a function, and gives the storage."""

    def store(alter=lambda held: None) -> Storage:
        storage = init_lake(tmp_path).storage
        held = json.loads(json.dumps(manifest.to_json()))
        held = alter(held) or held
        storage.write_json(manifest_key(manifest.table, manifest.build), held)
        return storage

    return store


def test_a_manifest_is_read_back_as_it_was_written(manifest, stored):
    assert read_manifest(stored(), manifest.table, manifest.build) == manifest


def test_the_stable_part_leaves_out_what_two_equal_builds_may_differ_in(manifest):
    assert set(manifest.to_json()) - set(manifest.stable_json()) == set(VOLATILE)
    assert {"account", "partitions", "inputs", "checks", "versions"} <= set(manifest.stable_json())


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "s3://bucket/file.parquet", "tables/../../x", 7, ["a"]])
def test_a_partition_outside_the_lake_is_refused(key, manifest, stored):
    storage = stored(lambda held: held["partitions"][0].update(key=key))
    with pytest.raises(LakeError, match="restore it"):
        read_manifest(storage, manifest.table, manifest.build)


@pytest.mark.parametrize("key", ["../outside.json", "/tmp/x.json", "http://example.org/m.json"])
def test_a_catalogue_cannot_name_a_manifest_outside_the_lake(key, tmp_path):
    with pytest.raises(LakeError, match="does not lie inside the lake"):
        manifest_at(Storage.at(tmp_path), key)


@pytest.mark.parametrize("layout", [None, 0, 99, "1"])
def test_a_manifest_of_another_layout_is_refused(layout, manifest, stored):
    with pytest.raises(LakeError, match=r"manifest layout.*reads layout 1"):
        read_manifest(stored(lambda held: held.update(layout=layout)), manifest.table, manifest.build)


@pytest.mark.parametrize(
    "alter",
    [
        lambda held: held.pop("partitions") and None,
        lambda held: held.pop("grid") and None,
        lambda held: held.update(surprise=1),
        lambda held: held.update(partitions=["text"]),
        lambda held: held.update(partitions=None),
        lambda held: held.update(partitions=[]),
        lambda held: held.update(inputs={"a": 1}),
        lambda held: held["partitions"][0].pop("rows") and None,
        lambda held: held["partitions"].pop(1) and None,
        lambda held: held["partitions"].reverse(),
    ],
)
def test_a_malformed_manifest_is_refused_with_what_to_do(alter, manifest, stored):
    with pytest.raises(LakeError, match=r"malformed manifest.*restore it, or delete it"):
        read_manifest(stored(alter), manifest.table, manifest.build)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_object_is_refused(content, tmp_path):
    storage = init_lake(tmp_path).storage
    storage.write_bytes("tables/a/b.json", content)
    with pytest.raises(LakeError, match="b.json"):
        manifest_at(storage, "tables/a/b.json")


def test_a_manifest_that_is_gone_is_reported(tmp_path):
    with pytest.raises(LakeError, match=r"manifest of this build is not there.*build the table again"):
        read_manifest(Storage.at(tmp_path), "a", "b")


def test_a_table_of_another_grid_is_refused_with_what_to_do(manifest, small_lake):
    with pytest.raises(LakeError, match=rf"built on grid {manifest.grid}.*ingest gaia_dr3_source"):
        same_grid(manifest, uniform(3))
    with pytest.raises(LakeError, match="built on grid"):
        Table(small_lake.storage, manifest, uniform(3))
