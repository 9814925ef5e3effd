"""A whole lake lives on an object store: built, checked, published, trained on, predicted, and read back through Intake."""

import subprocess
import sys
from pathlib import Path

import intake
import numpy as np
import pyarrow.parquet as pq
import pytest

import lake
from jobs.cli import main
from jobs.cluster import in_process
from jobs.product import current_bundle, current_key
from jobs.training import train
from lake.catalog import publish
from lake.errors import BusyError
from lake.finetune import LABELLED
from lake.split import freeze, frozen
from lake.storage import Storage
from tests.s3 import wired

from .conftest import LEAF_ROWS, nightly

# The first test waits for the synthetic sky and the lake of all others.
pytestmark = pytest.mark.timeout(300)
SURVEYS = ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023")
TRANSLATED = "galah_dr3_on_apogee_dr17"


@pytest.fixture(scope="module")
def on_s3(s3, sky) -> str:
    """A lake on the S3 server with three surveys and a model; raw files stay on this disk."""
    root = f"{s3}/whole"
    assert main(["init", root, "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
    for survey in SURVEYS:
        assert main(["--lake", root, "ingest", survey, "--raw", str(sky.folder / survey), "--register"]) == 0
    assert nightly(root) == 0
    assert main(["--lake", root, "train", "xp_mae", "--preset", "debug", "--profile", "serial"]) == 0
    assert nightly(root) == 0
    return root


def test_a_second_nightly_on_the_store_finds_nothing_to_do(on_s3: str) -> None:
    before = {one.key: one.modified for one in Storage.at(on_s3).files("tables")}
    assert nightly(on_s3) == 3
    assert {one.key: one.modified for one in Storage.at(on_s3).files("tables")} == before


def test_a_nightly_with_nothing_to_do_asks_the_store_a_few_times_for_every_table(on_s3: str) -> None:
    tables = len(lake.open(on_s3).names)
    with wired() as wire:
        assert nightly(on_s3) == 3
        assert len(wire.asked) <= 25 + 9 * tables, wire.asked
        wire.asked.clear()
        assert main(["--lake", on_s3, "status"]) == 0
        assert len(wire.asked) <= 12 + 2 * tables, wire.asked


def test_the_tables_of_the_store_are_byte_equal_to_those_of_a_disk(on_s3: str, new_lake) -> None:
    disk = new_lake("disk", SURVEYS)
    assert nightly(disk) == 0
    there, here = lake.open(on_s3), lake.open(disk)
    assert set(there.names) == {*here.names, "predictions_xp_mae"}
    for name in here.names:
        ours, theirs = here.table(name).manifest, there.table(name).manifest
        assert [part.sha256 for part in ours.partitions] == [part.sha256 for part in theirs.partitions]
        assert ours.build == theirs.build
        for part in theirs.partitions:
            if part.key:
                assert there.storage.read_bytes(part.key) == here.storage.read_bytes(part.key)


def test_intake_reads_the_store_with_known_divisions_and_joins_without_a_shuffle(on_s3: str) -> None:
    catalog = intake.open_catalog(f"{on_s3}/catalog.yaml")
    spectra, sources = catalog["gaia_dr3_xp"].to_dask(), catalog["gaia_dr3_source"](columns=["phot_g_mean_mag"]).to_dask()
    assert spectra.known_divisions
    joined = spectra[["bp_n_relevant_bases"]].join(sources)
    assert not any("shuffle" in str(key) for key in joined.optimize().dask)
    found = joined.compute(scheduler="threads")
    assert len(found) == lake.open(on_s3).table("gaia_dr3_xp").rows
    assert found["phot_g_mean_mag"].notna().all()
    predictions = catalog["predictions_xp_mae"].read()
    assert str(predictions.index.dtype) == "int64"
    assert len(predictions) == len(found)
    assert "bp_coefficients" in catalog["pretrain"].to_dask().get_partition(0).compute(scheduler="sync").columns


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_the_plain_catalogue_of_the_store_needs_no_driver_of_ours(on_s3: str) -> None:
    held = Storage.at(on_s3).read_bytes("catalog-plain.yaml").decode()
    assert "lake." not in held
    plain = intake.open_catalog(f"{on_s3}/catalog-plain.yaml")
    assert len(plain["catwise_andrae2023"].read().compute()) == lake.open(on_s3).table("catwise_andrae2023").rows


def test_a_killed_nightly_on_the_store_continues_when_its_lease_has_expired(s3, sky, tmp_path, monkeypatch) -> None:
    root = f"{s3}/killed"
    assert main(["init", root, "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
    assert main(["--lake", root, "ingest", SURVEYS[0], "--raw", str(sky.folder / SURVEYS[0]), "--register"]) == 0
    command = [sys.executable, "-m", "jobs.cli", "--lake", root, "nightly", "--profile", "serial"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    storage = Storage.at(root)
    while not list(storage.files("scratch")):
        assert process.poll() is None, "the nightly ended before it could be killed"
    process.kill()
    process.wait()
    assert nightly(root) == 75, "the lease of the killed run has not expired yet"
    storage.remove("lease.json")
    assert nightly(root) == 0
    assert not list(storage.files("scratch"))
    assert lake.open(root).table(SURVEYS[0]).rows > 0


def test_fetching_into_a_store_is_refused_with_the_way_that_works(on_s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lake", on_s3, "fetch", "galah_dr4"]) == 1
    said = capsys.readouterr().err
    assert "object store" in said
    assert "ingest galah_dr4 --raw" in said


def test_roll_back_and_gc_work_on_the_store(s3, sky, capsys) -> None:
    root = f"{s3}/upkeep"
    raw = sky.folder / "catwise_andrae2023"
    assert main(["init", root, "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
    assert main(["--lake", root, "ingest", "catwise_andrae2023", "--raw", str(raw), "--register"]) == 0
    assert nightly(root) == 0
    first = lake.open(root).published
    assert main(["--lake", root, "ingest", "gaia_dr3_source", "--raw", str(sky.folder / "gaia_dr3_source"), "--register"]) == 0
    assert nightly(root) == 0
    assert main(["--lake", root, "rollback"]) == 0
    assert lake.open(root).published == first
    assert nightly(root) == 3, "what was taken back is not published again"
    assert main(["--lake", root, "gc", "--keep", "1", "--dry-run"]) == 0
    assert "would delete 0 files" in capsys.readouterr().out
    assert main(["--lake", root, "publish", "--held"]) == 0
    assert set(lake.open(root).names) == {"catwise_andrae2023", "gaia_dr3_source"}


def test_a_local_path_and_its_file_url_are_the_same_lake(new_lake) -> None:
    folder: Path = new_lake("lake", ("catwise_andrae2023",))
    assert nightly(folder) == 0
    assert lake.open(f"file://{folder}").table("catwise_andrae2023").rows == lake.open(folder).table("catwise_andrae2023").rows


def test_a_training_that_is_overtaken_does_not_make_its_bundle_the_current_one(on_s3: str) -> None:
    opened = lake.open(on_s3)
    first = current_bundle(opened.storage, "xp_mae")
    held = opened.storage.read_bytes(current_key("xp_mae"))

    def meanwhile(label, function, tasks):
        opened.storage.write_json(current_key("xp_mae"), {"bundle": first, "preset": "debug", "by": "a later writer"})
        return in_process(label, function, tasks)

    with pytest.raises(BusyError, match="written by somebody else since it was read"):
        train(opened, "xp_mae", preset="small", run=meanwhile)
    assert current_bundle(opened.storage, "xp_mae") == first
    opened.storage.write_bytes(current_key("xp_mae"), held)


@pytest.fixture(scope="module")
def labels_on_s3(s3, labelled: Path) -> str:
    """A copy of a lake on the S3 server, without the translation and the combined labels that it has on disk."""
    root = f"{s3}/labels"
    storage = Storage.at(root)
    for path in sorted(labelled.rglob("*")):
        key = path.relative_to(labelled).as_posix()
        made = key.startswith(("raw", "models", "splits", "reports", f"tables/{TRANSLATED}", f"tables/{LABELLED}", "current"))
        if path.is_file() and not made:
            storage.write_bytes(key, path.read_bytes())
    publish(storage, [], withdraw=(TRANSLATED, LABELLED))
    return root


def test_a_translator_is_trained_on_the_store_and_its_labels_are_combined_and_exported_as_on_a_disk(
    labels_on_s3: str, labelled: Path, tmp_path: Path
) -> None:
    words = ["--lake", labels_on_s3]
    assert main([*words, "train", "translator", TRANSLATED, "--preset", "debug", "--profile", "serial"]) == 0
    assert main([*words, "predict", TRANSLATED, LABELLED, "--profile", "serial"]) == 0
    here, there = lake.open(labelled), lake.open(labels_on_s3)
    for name in (TRANSLATED, LABELLED):
        ours, theirs = here.table(name).manifest, there.table(name).manifest
        assert ours.build == theirs.build
        assert [part.sha256 for part in ours.partitions] == [part.sha256 for part in theirs.partitions]
    np.testing.assert_array_equal(frozen(there.storage), frozen(here.storage))
    assert nightly(labels_on_s3) == 3
    assert main([*words, "export", "parquet", "finetune", "--to", str(tmp_path / "files"), "--profile", "serial"]) == 0
    assert pq.read_table(tmp_path / "files").num_rows == len(here.finetune().to_dask().compute())
    assert main([*words, "report", "translator", TRANSLATED]) == 0
    bundle = current_bundle(there.storage, TRANSLATED)
    assert there.storage.read_bytes(f"reports/{bundle}/index.html").startswith(b"<!")
    assert main([*words, "status"]) == 0


def test_of_two_writers_of_the_store_the_first_freezes_the_test_stars(s3, monkeypatch) -> None:
    storage = Storage.at(f"{s3}/frozen")
    first, second = np.array([1 << 40, 2 << 40]), np.array([3 << 40])
    assert freeze(storage, first)
    monkeypatch.setattr(Storage, "exists", lambda *_: False)
    assert not freeze(storage, second), "the other one looked before the first wrote"
    np.testing.assert_array_equal(frozen(storage), first)
