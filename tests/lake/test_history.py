"""Every published catalogue is kept, and a roll-back publishes the former one again."""

import re

import intake
import pytest

import lake as lakes
from lake.catalog import publish
from lake.errors import BusyError, LakeError
from lake.history import hold, published_before, replace_catalog, roll_back
from lake.manifest import read_manifest
from lake.root import held_builds, init_lake, read_catalog
from lake.survey import survey
from lake.validate import check

CATWISE = survey("catwise_andrae2023")


@pytest.fixture
def three(synthetic, draw_ids, new_lake, build, tmp_path):
    """Return three checked builds of one table."""
    made = []
    for k in range(3):
        path = synthetic.write(CATWISE, synthetic.rows(CATWISE, draw_ids(40, k), k), tmp_path / f"{k}.fits", "fits")
        build_of_k = build.ingest(new_lake, CATWISE.name, path).manifests[0]
        made.append(check(new_lake.storage, build_of_k))
    return made


def published(lake) -> str:
    return lakes.open(lake.storage.root).table(CATWISE.name).manifest.build


def test_a_roll_back_restores_the_former_catalogue_and_a_second_one_that_before(three, new_lake):
    for one in three:
        publish(new_lake.storage, [one])
    assert sorted(published_before(new_lake.storage)) == [1, 2, 3]
    assert roll_back(new_lake.storage) == (2, {CATWISE.name: (three[2].build, three[1].build)})
    assert published(new_lake) == three[1].build
    assert roll_back(new_lake.storage)[0] == 1
    assert published(new_lake) == three[0].build
    with pytest.raises(LakeError, match="no catalogue before the current one"):
        roll_back(new_lake.storage)
    found = intake.open_catalog(str(new_lake.storage.path("catalog.yaml")))[CATWISE.name].read()
    assert len(found) == three[0].rows
    links = {path.name for path in new_lake.storage.path(f"current/{CATWISE.name}").iterdir()}
    assert links == {part.key.rsplit("/", 1)[-1] for part in three[0].partitions if part.key}


def test_any_kept_catalogue_can_be_restored_by_its_number(three, new_lake):
    for one in three:
        publish(new_lake.storage, [one])
    roll_back(new_lake.storage, to=1)
    assert published(new_lake) == three[0].build
    assert roll_back(new_lake.storage, to=3)[0] == 3
    assert published(new_lake) == three[2].build
    with pytest.raises(LakeError, match="catalogue 77 is not kept; there are 1, 2, 3, 4"):
        roll_back(new_lake.storage, to=77)


def test_what_a_roll_back_took_back_is_not_published_again_before_it_is_released(three, new_lake):
    publish(new_lake.storage, [three[0]])
    publish(new_lake.storage, [three[1]])
    roll_back(new_lake.storage)
    assert held_builds(read_catalog(new_lake.storage)) == {CATWISE.name: three[1].build}
    assert publish(new_lake.storage, [three[1]]) == []
    assert published(new_lake) == three[0].build
    assert publish(new_lake.storage, [three[1]], release_held=True) == [CATWISE.name]
    assert held_builds(read_catalog(new_lake.storage)) == {}


def test_another_build_of_the_table_is_published_after_a_roll_back(three, new_lake):
    publish(new_lake.storage, [three[0]])
    publish(new_lake.storage, [three[1]])
    roll_back(new_lake.storage)
    assert publish(new_lake.storage, [three[2]]) == [CATWISE.name]
    assert held_builds(read_catalog(new_lake.storage)) == {}


def test_a_catalogue_whose_files_are_gone_is_not_restored(three, new_lake):
    publish(new_lake.storage, [three[0]])
    publish(new_lake.storage, [three[1]])
    key = next(part.key for part in three[0].partitions if part.key)
    new_lake.storage.remove(key)
    with pytest.raises(LakeError, match=f"are gone .*{re.escape(key)}.*nothing was replaced"):
        roll_back(new_lake.storage)
    assert published(new_lake) == three[1].build


def test_nothing_published_is_nothing_to_go_back_to(tmp_path):
    with pytest.raises(LakeError, match="nothing was published yet"):
        roll_back(init_lake(tmp_path / "empty").storage)


def test_a_reader_keeps_the_builds_it_opened_through_a_roll_back(three, new_lake):
    publish(new_lake.storage, [three[0]])
    publish(new_lake.storage, [three[1]])
    reader = lakes.open(new_lake.storage.root)
    frame = reader.table(CATWISE.name).to_dask()
    roll_back(new_lake.storage)
    assert len(frame.compute()) == three[1].rows
    assert read_manifest(new_lake.storage, CATWISE.name, three[1].build) == three[1]


def test_a_writer_whose_lease_expired_cannot_publish_over_a_later_one(three, new_lake):
    publish(new_lake.storage, [three[0]], fence=7)
    with pytest.raises(BusyError, match="lease number 7, this run holds number 6"):
        publish(new_lake.storage, [three[1]], fence=6)
    assert published(new_lake) == three[0].build
    assert publish(new_lake.storage, [three[1]], fence=7) == [CATWISE.name]


def test_a_catalogue_that_is_overtaken_between_reading_and_writing_is_not_replaced(s3):
    storage = init_lake(f"{s3}/overtaken").storage
    first, second = hold(storage), hold(storage)
    assert replace_catalog(storage, second, {}, {"by": "second"}, None) == 1
    with pytest.raises(BusyError, match="another writer replaced the catalogue meanwhile"):
        replace_catalog(storage, first, {}, {"by": "first"}, None)
    assert read_catalog(storage)["metadata"]["by"] == "second"
    assert replace_catalog(storage, hold(storage), {}, {"by": "third"}, None) == 2
    assert {serial: one["metadata"]["by"] for serial, one in published_before(storage).items()} == {1: "second", 2: "third"}


def test_a_catalogue_whose_publisher_was_killed_before_it_was_kept_is_kept_by_the_next(three, new_lake):
    publish(new_lake.storage, [three[0]])
    new_lake.storage.remove_tree("history")
    publish(new_lake.storage, [three[1]])
    assert roll_back(new_lake.storage)[0] == 1
    assert published(new_lake) == three[0].build


def test_a_lake_of_a_version_without_history_can_be_rolled_back_from_its_next_publication_on(three, new_lake):
    publish(new_lake.storage, [three[0]])
    old = re.sub(r"\n  serial: 1", "", new_lake.storage.read_bytes("catalog.yaml").decode())
    new_lake.storage.write_bytes("catalog.yaml", old.encode())
    new_lake.storage.remove_tree("history")
    publish(new_lake.storage, [three[1]])
    assert roll_back(new_lake.storage)[0] == 0
    assert published(new_lake) == three[0].build
