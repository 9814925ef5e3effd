"""Nothing is done twice: unchanged files, changed ones, added and lost ones, and what the ledger knows of them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lake.runs
from lake.errors import LakeError, RawFileError
from lake.ingest import ingest, scratch_left
from lake.ledger import ignored_files, raw_files, register
from lake.root import init_lake
from lake.survey import survey
from lake.validate import check

CATWISE, SOURCE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_source"), survey("gaia_dr3_xp")


def by_id(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table["source_id"]))


# Doing nothing twice.


def test_a_second_run_without_changes_does_nothing(three_files, new_lake, build, monkeypatch):
    build.ingest(new_lake, CATWISE.name, *three_files)
    before = {path: path.stat().st_mtime_ns for path in new_lake.storage.path("tables").rglob("*")}
    monkeypatch.setattr(lake.runs, "read", lambda *args: pytest.fail("a raw file was read again"))
    monkeypatch.setattr("lake.ledger._sha256", lambda path: pytest.fail("a raw file was hashed again"))
    outcome = build.ingest(new_lake, CATWISE.name)
    assert (outcome.mapped, outcome.reduced, outcome.reused) == (0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in new_lake.storage.path("tables").rglob("*")} == before
    assert scratch_left(new_lake.storage) == []


def test_a_changed_file_rebuilds_only_the_partitions_that_it_touches(
    rows, three_files, synthetic, new_lake, grid, build, tmp_path
):
    (old,) = build.ingest(new_lake, CATWISE.name, *three_files).manifests
    held = build.files(new_lake)
    middle = by_id(rows).slice(80, 80)
    changed = middle.set_column(1, rows.schema.field(1), pc.add(middle["catwise_w1_mag"], pa.scalar(0.5, pa.float32())))
    synthetic.write(CATWISE, changed, three_files[1], "fits")
    outcome = build.ingest(new_lake, CATWISE.name)
    (new,) = outcome.manifests
    low, high = (grid.leaf(middle["source_id"].to_numpy()[[0, -1]])).tolist()
    touched = {part.first for part in new.partitions if part.end > grid.edges[low] and part.first < grid.edges[high + 1]}
    touched &= {part.first for part in new.partitions if np.isin(pixels(middle), np.arange(part.first, part.end)).any()}
    assert 0 < len(touched) < len(new.partitions)
    assert outcome.reduced == len(touched)
    assert outcome.reused == len(new.partitions) - len(touched)
    older = {part.first: part.key for part in old.partitions}
    for part in new.partitions:
        assert (part.key == older[part.first]) == (part.first not in touched or part.key is None)
    assert {key: content for key, content in build.files(new_lake).items() if key in held} == held
    fresh = init_lake(tmp_path / "fresh", grid=grid)
    assert build.table_of(new_lake, outcome).equals(build.table_of(fresh, build.ingest(fresh, CATWISE.name, *three_files)))
    check(new_lake.storage, new)


def pixels(table: pa.Table) -> np.ndarray:
    return table["source_id"].to_numpy() >> 43


def test_an_added_file_reads_no_more_than_itself_and_its_neighbours(rows, three_files, new_lake, build):
    build.ingest(new_lake, CATWISE.name, three_files[0], three_files[2])
    outcome = build.ingest(new_lake, CATWISE.name, three_files[1])
    assert outcome.reused > 0
    assert build.table_of(new_lake, outcome).equals(by_id(rows).replace_schema_metadata())


def test_a_raw_file_that_is_gone_is_an_error_until_it_is_given_up_by_name(rows, three_files, new_lake, build):
    build.ingest(new_lake, CATWISE.name, *three_files)
    three_files[1].unlink()
    with pytest.raises(LakeError, match=r"part1.fits is gone, but tables were built from it.*--replace --raw"):
        build.ingest(new_lake, CATWISE.name)
    outcome = build.ingest(new_lake, CATWISE.name, three_files[0], three_files[2], replace=True)
    assert outcome.manifests[0].rows == 160


def test_a_file_that_is_gone_from_a_registered_folder_is_an_error_too(rows, synthetic, new_lake, build, tmp_path):
    folder = tmp_path / "raw"
    for k in range(2):
        (folder / str(k)).mkdir(parents=True)
        synthetic.write(CATWISE, rows.slice(120 * k, 120), folder / str(k) / "table_1_catwise.fits", "fits")
    build.ingest(new_lake, CATWISE.name, folder)
    (folder / "1" / "table_1_catwise.fits").unlink()
    with pytest.raises(LakeError, match=r"1/table_1_catwise.fits is gone, but tables were built from it"):
        build.ingest(new_lake, CATWISE.name)


def test_a_file_that_changes_while_it_is_read_is_refused(three_files, new_lake, build, monkeypatch):
    real = lake.runs.read

    def slow(path, declared):
        for batch in real(path, declared):
            path.write_bytes(path.read_bytes() + b"\0" * 2880)
            yield batch

    monkeypatch.setattr(lake.runs, "read", slow)
    with pytest.raises(RawFileError, match="part0.fits: the file changed while it was read; run the same command again"):
        build.ingest(new_lake, CATWISE.name, three_files[0])


def test_a_lost_partition_is_made_again_by_the_same_command(rows, three_files, new_lake, build):
    outcome = build.ingest(new_lake, CATWISE.name, *three_files)
    held = build.files(new_lake)
    lost = next(part.key for part in outcome.manifests[0].partitions if part.key)
    new_lake.storage.path(lost).unlink()
    again = build.ingest(new_lake, CATWISE.name)
    assert again.reduced == 1
    assert build.files(new_lake) == held
    assert build.table_of(new_lake, again).equals(by_id(rows).replace_schema_metadata())


def test_a_registered_folder_gives_the_files_that_look_like_the_surveys(rows, synthetic, new_lake, build, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    synthetic.write(CATWISE, rows, folder / "table_1_catwise.fits.gz", "fits")
    (folder / "README.txt").write_text("not a table")
    outcome = build.ingest(new_lake, CATWISE.name, folder)
    assert outcome.manifests[0].rows == 240
    assert ignored_files(new_lake.storage, CATWISE) == [str(folder / "README.txt")]


def test_a_folder_without_any_file_of_the_survey_is_refused_with_what_it_holds(new_lake, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(LakeError, match=r"no file of catwise_andrae2023 by its name.*table_1_catwise.*notes.txt"):
        register(new_lake.storage, CATWISE, [tmp_path])
    with pytest.raises(LakeError, match="no such file or folder"):
        register(new_lake.storage, CATWISE, [tmp_path / "nowhere"])
    with pytest.raises(LakeError, match=r"no raw files; `gaialake fetch .*name some with"):
        ingest(new_lake.storage, new_lake.grid, CATWISE, raw_files(new_lake.storage, CATWISE))


def test_another_declaration_is_another_build_and_reuses_nothing(three_files, new_lake, build):
    files = build.files_of(new_lake, CATWISE.name, *three_files)
    first = ingest(new_lake.storage, new_lake.grid, CATWISE, files)
    second = ingest(new_lake.storage, new_lake.grid, replace(CATWISE, missing={"catwise_w1_mag": (-999.0,)}), files)
    assert first.manifests[0].build != second.manifests[0].build
    assert second.reused == 0
    third = ingest(new_lake.storage, new_lake.grid, replace(CATWISE, title="another title"), files)
    assert third.manifests[0].build == first.manifests[0].build
