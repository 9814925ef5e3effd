"""Only what no kept catalogue names is deleted, and only after the grace period."""

import os
from datetime import UTC, datetime, timedelta

import pytest

import lake as lakes
from lake.catalog import publish
from lake.errors import BusyError, LakeError
from lake.gc import delete, garbage
from lake.history import published_before, roll_back
from lake.ingest import ingest
from lake.root import init_lake
from lake.survey import survey
from lake.validate import check

CATWISE = survey("catwise_andrae2023")
HOUR = timedelta(hours=1)


@pytest.fixture
def nights(synthetic, draw_ids, new_lake, build, tmp_path):
    """Publish four builds, one raw file more each night, so that files are shared; return the manifests."""
    made, paths = [], []
    for k in range(4):
        ids = [one for one in draw_ids(600, 1) if one % 4 == k]
        paths.append(synthetic.write(CATWISE, synthetic.rows(CATWISE, ids, k), tmp_path / f"{k}.fits", "fits"))
        manifest = check(new_lake.storage, build.ingest(new_lake, CATWISE.name, *paths).manifests[0])
        publish(new_lake.storage, [manifest])
        made.append(manifest)
    return made


def later(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def sweep(lake, **how) -> int:
    found = garbage(lake.storage, **how)
    delete(lake.storage, found, confirm=lambda: None, ended=lambda: None)
    return len(found.keys)


def data_files(lake) -> set[str]:
    return {one.key for one in lake.storage.files("tables") if one.key.endswith(".parquet")}


def named(*manifests) -> set[str]:
    return {part.key for manifest in manifests for part in manifest.partitions if part.key}


def test_files_of_kept_catalogues_stay_wherever_they_lie(nights, new_lake):
    assert any(part.key.split("/")[2] != nights[3].build for part in nights[3].partitions if part.key)
    assert sweep(new_lake, keep=2, grace=HOUR, now=later(2)) > 0
    assert data_files(new_lake) == named(nights[2], nights[3])
    assert sorted(published_before(new_lake.storage)) == [3, 4]
    assert lakes.open(new_lake.storage.root).table(CATWISE.name).to_dask().compute().shape[0] == nights[3].rows
    assert roll_back(new_lake.storage)[0] == 3
    assert len(lakes.open(new_lake.storage.root).table(CATWISE.name).to_dask().compute()) == nights[2].rows


def test_nothing_is_deleted_that_was_replaced_within_the_grace_period(nights, new_lake):
    found = garbage(new_lake.storage, keep=1, grace=HOUR)
    assert found.keys == []
    assert found.kept == (1, 2, 3, 4)


def test_files_named_by_nothing_wait_for_the_grace_period_as_well(nights, new_lake):
    key = f"tables/{CATWISE.name}/0123456789abcdef/000000-786431.parquet"
    new_lake.storage.write_bytes(key, b"left by a run that was given up")
    found = garbage(new_lake.storage, keep=4, grace=HOUR)
    assert (found.keys, [one.key for one in found.young]) == ([], [key])
    assert garbage(new_lake.storage, keep=4, grace=HOUR, now=later(2)).keys == [key]


def test_a_build_that_is_not_published_yet_stays(synthetic, draw_ids, nights, new_lake, build, tmp_path):
    path = synthetic.write(CATWISE, synthetic.rows(CATWISE, draw_ids(50, 9), 9), tmp_path / "9.fits", "fits")
    coming = build.ingest(new_lake, CATWISE.name, path).manifests[0]
    sweep(new_lake, keep=1, grace=HOUR, now=later(2))
    assert data_files(new_lake) == named(nights[3], coming)


def test_partitions_of_an_unfinished_run_stay_however_old_they_are(synthetic, draw_ids, nights, new_lake, build, tmp_path):
    path = synthetic.write(CATWISE, synthetic.rows(CATWISE, draw_ids(300, 9), 9), tmp_path / "9.fits", "fits")
    files = build.files_of(new_lake, CATWISE.name, path)
    before = data_files(new_lake)

    def killed_in_the_middle(label, function, tasks):
        for number, task in enumerate(tasks):
            if label.startswith("write") and number == 3:
                raise KeyboardInterrupt
            yield function(task)

    with pytest.raises(KeyboardInterrupt):
        ingest(new_lake.storage, new_lake.grid, CATWISE, files, run=killed_in_the_middle)
    made = data_files(new_lake) - before
    assert len(made) == 3
    sweep(new_lake, keep=1, grace=HOUR, now=later(100))
    assert made <= data_files(new_lake)
    new_lake.storage.remove_tree("scratch")
    sweep(new_lake, keep=1, grace=HOUR, now=later(100))
    assert not made & data_files(new_lake), "the run was given up"


def test_a_build_that_a_roll_back_took_back_stays_even_where_a_copy_of_the_lake_lost_its_date(nights, new_lake):
    roll_back(new_lake.storage)
    for one, age in ((nights[3], 9), (nights[2], 5)):
        path = new_lake.storage.path(f"tables/{CATWISE.name}/{one.build}.json")
        os.utime(path, ((datetime.now(UTC) - age * HOUR).timestamp(),) * 2)
    sweep(new_lake, keep=1, grace=HOUR, now=later(2))
    assert publish(new_lake.storage, [nights[3]], release_held=True) == [CATWISE.name]
    assert len(lakes.open(new_lake.storage.root).table(CATWISE.name).to_dask().compute()) == nights[3].rows


def test_what_was_deleted_leaves_no_manifest_report_or_empty_folder(nights, new_lake):
    sweep(new_lake, keep=1, grace=HOUR, now=later(2))
    kept = {nights[3].build} | {key.split("/")[2] for key in named(nights[3])}
    assert new_lake.storage.names(f"tables/{CATWISE.name}") == sorted({*kept, f"{nights[3].build}.json"})
    assert new_lake.storage.names("reports") == [nights[3].build]


def test_a_sweep_that_is_cut_short_is_finished_by_the_next(nights, new_lake):
    found = garbage(new_lake.storage, keep=1, grace=HOUR, now=later(2))
    left = iter([None] * 5)

    def stop() -> None:
        if next(left, stop) is stop:
            raise BusyError("the lease was lost")

    with pytest.raises(BusyError):
        delete(new_lake.storage, found, confirm=stop, ended=lambda: None)
    assert len(lakes.open(new_lake.storage.root).table(CATWISE.name).to_dask().compute()) == nights[3].rows
    sweep(new_lake, keep=1, grace=HOUR, now=later(2))
    assert data_files(new_lake) == named(nights[3])


def test_a_clock_that_was_set_back_deletes_nothing(nights, new_lake):
    with pytest.raises(LakeError, match="the clock of this machine says .* it is behind.*nothing was deleted"):
        garbage(new_lake.storage, keep=1, grace=timedelta(0), now=later(-24))
    future = datetime.now(UTC) + timedelta(days=400)
    path = new_lake.storage.path(next(iter(named(nights[3]))))
    os.utime(path, (future.timestamp(), future.timestamp()))
    with pytest.raises(LakeError, match="1 files are of a later date than the clock.*nothing was deleted"):
        garbage(new_lake.storage, keep=1, grace=HOUR)


def test_the_published_catalogue_is_always_kept(nights, new_lake, tmp_path):
    with pytest.raises(LakeError, match="--keep 0.*give 1 or more"):
        garbage(new_lake.storage, keep=0)
    with pytest.raises(LakeError, match="nothing was published yet"):
        garbage(init_lake(tmp_path / "empty").storage, keep=1)
