"""Publishing is atomic and reversible, and Intake opens what is published, with our drivers and without them."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import dask
import intake
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import yaml

import lake as lakes
from lake.catalog import declared_catalog, publish
from lake.errors import CheckError, LakeError
from lake.plain import derive_plain
from lake.pretrain import COLUMNS
from lake.root import read_catalog
from lake.survey import survey, surveys
from lake.validate import check

CATWISE = survey("catwise_andrae2023")
ROOT = Path(__file__).resolve().parents[2]


def refuse_to_compute(*args: object, **kwargs: object) -> None:
    raise AssertionError("something was computed")


@pytest.fixture
def catalog(small_lake):
    return intake.open_catalog(f"{small_lake.storage.root}/catalog.yaml")


@pytest.fixture
def two_builds(synthetic, draw_ids, new_lake, build, tmp_path):
    """Two checked builds of one table, the second with another magnitude for every source."""
    rows = synthetic.rows(CATWISE, draw_ids(60, 41), 41)
    made = []
    for magnitude in (11.0, 12.0):
        values = pa.array(np.full(60, magnitude, np.float32))
        synthetic.write(CATWISE, rows.set_column(1, rows.schema.field(1), values), tmp_path / "raw.fits", "fits")
        made.append(check(new_lake.storage, build.ingest(new_lake, CATWISE.name, tmp_path / "raw.fits").manifests[0]))
    return made


# Opening with Intake.


@pytest.mark.parametrize("name", ["gaia_dr3_source", "gaia_dr3_xp", "gaia_dr3_xp_correlations", "catwise_andrae2023"])
def test_a_table_opens_lazily_through_intake_on_the_lakes_divisions(name, catalog, small_lake):
    with dask.config.set(scheduler=refuse_to_compute):
        frame = catalog[name].to_dask()
        assert frame.known_divisions
        assert frame.divisions == small_lake.grid.divisions
        assert frame.npartitions == len(small_lake.grid)
        assert frame.index.name == "source_id"
        assert frame.index.dtype == np.int64
        with pytest.raises(AssertionError, match="something was computed"):
            frame.compute()


def test_what_intake_reads_is_what_the_surveys_held(catalog, stars):
    wanted = stars["catwise_andrae2023"].sort_by("source_id").to_pandas(types_mapper=pd.ArrowDtype)
    found = catalog["catwise_andrae2023"].read()
    assert found.index.dtype == np.int64
    pd.testing.assert_frame_equal(found.reset_index(), wanted.astype({"source_id": "int64"}), check_index_type=False)


def test_columns_are_chosen_by_argument_in_the_order_given(catalog):
    frame = catalog["gaia_dr3_source"](columns=["ruwe", "ra"]).to_dask()
    assert list(frame.columns) == ["ruwe", "ra"]
    assert list(frame.compute().columns) == ["ruwe", "ra"]
    with pytest.raises(LakeError, match=r"has no column g_mag; it has solution_id"):
        catalog["gaia_dr3_source"](columns=["g_mag"]).to_dask()


def test_a_small_table_opens_as_few_partitions_when_asked_for_its_files(catalog, small_lake):
    frame = catalog["catwise_andrae2023"](on="files").to_dask()
    assert frame.known_divisions
    assert frame.npartitions == len(small_lake.table("catwise_andrae2023").manifest.partitions) < len(small_lake.grid)
    pd.testing.assert_frame_equal(frame.compute(), catalog["catwise_andrae2023"].read())


def test_discover_and_read_partition_answer_as_intake_users_expect(catalog, small_lake):
    source = catalog["gaia_dr3_xp"]
    found = source.discover()
    assert found["npartitions"] == len(small_lake.grid)
    assert found["dtype"]["bp_coefficients"].startswith("fixed_size_list")
    assert found["shape"] == (None, len(small_lake.table("gaia_dr3_xp").columns))
    leaf_rows = [rows for part in small_lake.table("gaia_dr3_xp").manifest.partitions for rows in part.leaf_rows]
    chosen = [int(np.argmin(leaf_rows)), int(np.argmax(leaf_rows)), len(leaf_rows) - 1]
    parts = [source.read_partition(i) for i in chosen]
    assert [len(part) for part in parts] == [leaf_rows[i] for i in chosen]
    assert all((part.dtypes == parts[0].dtypes).all() for part in parts)


def test_the_pretraining_table_opens_lazily_through_intake(catalog, small_lake):
    with dask.config.set(scheduler=refuse_to_compute):
        frame = catalog["pretrain"].to_dask()
        wide = catalog["pretrain"](wide=True).to_dask()
    assert tuple(frame.columns) == COLUMNS
    assert frame.divisions == wide.divisions == small_lake.grid.divisions
    assert {"W1", "bp_1", "bp_55", "rpe_55"} <= set(wide.columns)
    assert len(frame) == small_lake.table("gaia_dr3_xp").rows


def test_the_catalogue_says_what_a_reader_wants_to_know(catalog, small_lake):
    said = catalog["gaia_dr3_xp"].describe()["metadata"]
    manifest = small_lake.table("gaia_dr3_xp").manifest
    assert (said["rows"], said["build"], said["release"]) == (manifest.rows, manifest.build, "dr3")
    assert said["columns"]["bp_coefficients"].startswith("fixed_size_list<element: double>[55] [electron / s]: ")
    assert "De Angeli" in said["citation"]
    assert said["licence"]


def test_the_drivers_need_no_entry_point(small_lake):
    """The catalogue names them by their dotted path, so that a checkout on the path is enough."""
    held = yaml.safe_load(Path(small_lake.storage.root, "catalog.yaml").read_text())
    assert {one["driver"] for one in held["sources"].values()} == {"lake.catalog.LakeTable", "lake.catalog.PretrainTable"}
    script = (
        "import sys, importlib.metadata as m; m.entry_points = lambda **k: m.EntryPoints()\n"
        "import intake; print(len(intake.open_catalog(sys.argv[1])['catwise_andrae2023'].to_dask().divisions))"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, f"{small_lake.storage.root}/catalog.yaml"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=Path(small_lake.storage.root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.stdout.split() == [str(len(small_lake.grid) + 1)], child.stderr


def test_the_catalogue_can_move_with_its_lake(two_builds, new_lake):
    publish(new_lake.storage, two_builds[:1])
    moved = Path(new_lake.storage.root).rename(Path(new_lake.storage.root).with_name("moved"))
    assert len(intake.open_catalog(f"{moved}/catalog.yaml")[CATWISE.name].read()) == 60


# Without our package.


@pytest.mark.filterwarnings("ignore:(?s).*inplace keyword in DataFrame.set_index")  # Dask's own, under pandas 3.1
def test_the_plain_catalogue_opens_without_our_drivers_and_holds_the_same_rows(small_lake):
    plain = intake.open_catalog(f"{small_lake.storage.root}/catalog-plain.yaml")
    columns = ["catwise_w1_mag", "teff_xgboost"]
    found = plain.catwise_andrae2023.read(columns=columns).compute()
    wanted = small_lake.table("catwise_andrae2023").to_dask(columns).compute()
    assert found.index.tolist() == wanted.index.tolist()
    for name in columns:
        np.testing.assert_array_equal(found[name].to_numpy(float, na_value=np.nan), wanted[name].to_numpy(float, na_value=np.nan))
    assert "lake." not in Path(small_lake.storage.root, "catalog-plain.yaml").read_text()


@pytest.mark.parametrize("name", ["gaia_dr3_source", "gaia_dr3_xp"])
def test_current_is_a_plain_parquet_dataset(name, small_lake, build):
    folder = Path(small_lake.storage.root, "current", name)
    found = ds.dataset(folder).to_table().sort_by("source_id")
    assert found.equals(build.whole(small_lake.table(name)).cast(found.schema))
    assert all(path.stat().st_nlink > 1 for path in folder.iterdir())


# Publishing.


def test_a_build_without_a_check_is_not_published(two_builds, new_lake):
    with pytest.raises(CheckError, match="not checked, so not published; run"):
        publish(new_lake.storage, [replace(two_builds[0], checks=None)])
    assert read_catalog(new_lake.storage) == {}


def test_a_build_whose_files_are_gone_since_its_check_is_not_published(two_builds, new_lake):
    publish(new_lake.storage, [two_builds[0]])
    lost = next(part.key for part in two_builds[1].partitions if part.key)
    new_lake.storage.remove(lost)
    with pytest.raises(CheckError, match=f"{lost} is gone since it was checked.*the catalogue stays"):
        publish(new_lake.storage, [two_builds[1]])
    assert lakes.open(new_lake.storage.root).table(CATWISE.name).manifest.build == two_builds[0].build


def test_publishing_again_what_is_published_changes_nothing(two_builds, new_lake):
    assert publish(new_lake.storage, two_builds[:1]) == [CATWISE.name]
    before = new_lake.storage.path("catalog.yaml").stat().st_mtime_ns
    assert publish(new_lake.storage, two_builds[:1]) == []
    assert new_lake.storage.path("catalog.yaml").stat().st_mtime_ns == before


def test_a_lake_that_was_opened_before_stays_on_its_builds_and_the_old_build_can_be_published_again(two_builds, new_lake, build):
    first, second = two_builds
    publish(new_lake.storage, [first])
    opened = lakes.open(new_lake.storage.root)
    frame = opened.table(CATWISE.name).to_dask(["catwise_w1_mag"])
    source = intake.open_catalog(f"{new_lake.storage.root}/catalog.yaml")[CATWISE.name]
    publish(new_lake.storage, [second])
    assert set(frame.compute()["catwise_w1_mag"]) == set(source.read()["catwise_w1_mag"]) == {11.0}
    assert set(opened.table(CATWISE.name).to_dask().compute()["catwise_w1_mag"]) == {11.0}
    assert set(lakes.open(new_lake.storage.root).table(CATWISE.name).to_dask().compute()["catwise_w1_mag"]) == {12.0}
    publish(new_lake.storage, [first])
    assert set(ds.dataset(new_lake.storage.path(f"current/{CATWISE.name}")).to_table()["catwise_w1_mag"].to_pylist()) == {11.0}


def test_readers_always_get_a_whole_catalogue_while_it_is_replaced_two_hundred_times(two_builds, new_lake, monkeypatch):
    monkeypatch.setattr("lake.history.derive_plain", lambda storage: None)
    publish(new_lake.storage, two_builds[:1])
    builds, seen, done, trouble = {made.build for made in two_builds}, [], threading.Event(), []

    def read() -> None:
        while not done.is_set():
            try:
                opened = lakes.open(new_lake.storage.root)
                seen.append(opened.table(CATWISE.name).manifest.build)
                assert opened.names == [CATWISE.name]
            except Exception as error:
                trouble.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(200):
        assert publish(new_lake.storage, [two_builds[(k + 1) % 2]]) == [CATWISE.name]
    done.set()
    reader.join()
    assert not trouble
    assert len(seen) > 20
    assert set(seen) == builds


def test_a_catalogue_that_cannot_be_written_stays_as_it_was(two_builds, new_lake, monkeypatch):
    first, second = two_builds
    publish(new_lake.storage, [first])

    def fail(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LakeError, match="yaml cannot be written: No space left"):
        publish(new_lake.storage, [second])
    monkeypatch.undo()
    assert lakes.open(new_lake.storage.root).table(CATWISE.name).manifest.build == first.build


def test_what_is_derived_from_the_catalogue_is_mended_by_publishing_again(two_builds, new_lake, monkeypatch):
    first, second = two_builds
    publish(new_lake.storage, [first])
    monkeypatch.setattr("lake.history.derive_plain", refuse_to_compute)
    with pytest.raises(AssertionError):
        publish(new_lake.storage, [second])
    monkeypatch.undo()
    publish(new_lake.storage, [second])
    found = ds.dataset(new_lake.storage.path(f"current/{CATWISE.name}")).to_table()
    assert set(found["catwise_w1_mag"].to_pylist()) == {12.0}
    assert second.build in new_lake.storage.read_bytes("catalog-plain.yaml").decode()


def test_a_withdrawn_table_leaves_every_catalogue_and_the_pretraining_table_with_it(
    synthetic, draw_ids, two_builds, new_lake, build, tmp_path
):
    declared = survey("gaia_dr3_xp")
    path = synthetic.write(
        declared, synthetic.rows(declared, draw_ids(20, 2), integer_nulls=False), tmp_path / "XP_CONTINUOUS.hdf5", "hdf5"
    )
    publish(new_lake.storage, two_builds[:1])
    build.publish(new_lake, build.ingest(new_lake, declared.name, path))
    assert "pretrain" in read_catalog(new_lake.storage)["sources"]
    assert publish(new_lake.storage, [], withdraw=[declared.name, "never_there"]) == [declared.name]
    assert set(read_catalog(new_lake.storage)["sources"]) == {CATWISE.name, "gaia_dr3_xp_correlations"}
    assert declared.name not in yaml.safe_load(new_lake.storage.read_bytes("catalog-plain.yaml"))["aliases"]
    assert sorted(path.name for path in new_lake.storage.path("current").iterdir()) == [CATWISE.name, "gaia_dr3_xp_correlations"]


def test_a_table_without_rows_is_published_but_has_no_files_to_name_in_the_plain_catalogue(synthetic, new_lake, build, tmp_path):
    path = synthetic.write(CATWISE, synthetic.rows(CATWISE, []), tmp_path / "raw.fits", "fits")
    build.publish(new_lake, build.ingest(new_lake, CATWISE.name, path))
    frame = intake.open_catalog(f"{new_lake.storage.root}/catalog.yaml")[CATWISE.name].read()
    assert (len(frame), frame.index.dtype) == (0, np.int64)
    assert yaml.safe_load(new_lake.storage.read_bytes("catalog-plain.yaml"))["aliases"] == {}


def test_a_table_of_which_a_file_is_gone_keeps_its_former_links(two_builds, new_lake):
    publish(new_lake.storage, two_builds[:1])
    key = next(part.key for part in two_builds[0].partitions if part.key)
    folder = new_lake.storage.path(f"current/{two_builds[0].table}")
    before = sorted(path.name for path in folder.iterdir())
    new_lake.storage.path(key).unlink()
    derive_plain(new_lake.storage)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    "content", ["", "sources: [", "sources: 3", "- a", "\x00", "a: 1", "sources: {a: 3}", "sources: {a: {metadata: null}}"]
)
def test_a_catalogue_that_is_none_is_refused_with_what_to_do(content, two_builds, new_lake):
    new_lake.storage.write_bytes("catalog.yaml", content.encode())
    with pytest.raises(LakeError, match=r"(?s)catalog.yaml: not a catalogue.*restore it, or move it away and run"):
        lakes.open(new_lake.storage.root)


@pytest.mark.parametrize("key", ["../../x.json", "/etc/passwd", "http://example.org/x.json"])
def test_a_catalogue_that_points_outside_the_lake_is_refused_when_the_table_is_opened(key, two_builds, new_lake):
    publish(new_lake.storage, two_builds[:1])
    held = yaml.safe_load(new_lake.storage.read_bytes("catalog.yaml"))
    held["sources"][CATWISE.name]["metadata"]["manifest"] = held["sources"][CATWISE.name]["args"]["manifest"] = key
    new_lake.storage.write_bytes("catalog.yaml", yaml.safe_dump(held).encode())
    with pytest.raises(LakeError, match="does not lie inside the lake"):
        lakes.open(new_lake.storage.root).table(CATWISE.name)
    with pytest.raises(LakeError, match="does not lie inside the lake"):
        intake.open_catalog(f"{new_lake.storage.root}/catalog.yaml")[CATWISE.name].to_dask()


def test_the_declared_catalogue_names_every_table_of_every_survey():
    held = yaml.safe_load(declared_catalog())
    assert {table for one in surveys().values() for table in one.tables} <= set(held["sources"])
