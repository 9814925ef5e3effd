"""Elements of a job array share the work, in any order and at once, and what they make is what one run makes."""

import subprocess
import sys
from pathlib import Path

import pytest

import lake
from jobs.cli import main

from .conftest import nightly

SURVEYS = ("gaia_dr3_source", "catwise_andrae2023")


def part(folder: Path, verb: str, name: str, share: str) -> int:
    return main(["--lake", str(folder), verb, name, "--part", share, "--profile", "serial"])


def test_two_rounds_of_a_job_array_and_a_nightly_make_what_one_nightly_makes(new_lake, capsys) -> None:
    whole, shared = new_lake("whole", SURVEYS), new_lake("shared", SURVEYS)
    assert nightly(whole) == 0
    for survey in SURVEYS:
        assert main(["--lake", str(shared), "ingest", survey, "--register"]) == 0
        for share in ("2/3", "3/3", "1/3"):
            assert part(shared, "ingest", survey, share) == 0
        assert not lake.open(shared).published
        for share in ("1/3", "2/3", "3/3"):
            assert part(shared, "ingest", survey, share) == 0
    finished = {path: path.stat().st_ino for path in shared.glob("tables/*/*/*.parquet")}
    assert {path.relative_to(shared) for path in finished} == {
        path.relative_to(whole) for path in whole.glob("tables/*/*/*.parquet")
    }
    assert nightly(shared) == 0
    assert {path: path.stat().st_ino for path in shared.glob("tables/*/*/*.parquet")} == finished, "nothing was made twice"
    assert not list(shared.glob("scratch/*/*"))
    for survey in SURVEYS:
        one, other = (lake.open(folder).table(survey).manifest.stable_json() for folder in (whole, shared))
        assert one == other


def test_elements_that_run_at_once_do_not_disturb_each_other(new_lake) -> None:
    folder = new_lake("lake", SURVEYS)
    assert main(["--lake", str(folder), "ingest", "gaia_dr3_source", "--register"]) == 0
    command = [sys.executable, "-m", "jobs.cli", "--lake", str(folder), "ingest", "gaia_dr3_source", "--profile", "serial"]
    for _ in range(2):
        elements = [subprocess.Popen([*command, "--part", f"{i}/3"], stdout=subprocess.DEVNULL) for i in (1, 2, 3)]
        assert [element.wait(60) for element in elements] == [0, 0, 0]
    assert list(folder.glob("tables/gaia_dr3_source/*/*.parquet"))
    assert nightly(folder) == 0


def test_predictions_are_shared_by_partitions(published, tmp_path, new_lake) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(published, folder, symlinks=True)
    before = lake.open(folder).table("predictions_xp_mae").manifest
    shutil.rmtree(folder / "tables" / "predictions_xp_mae")
    for share in ("1/2", "2/2"):
        assert part(folder, "predict", "xp_mae", share) == 0
    made = list(folder.glob("tables/predictions_xp_mae/*/*.parquet"))
    assert len(made) == len([one for one in before.partitions if one.key])
    assert main(["--lake", str(folder), "predict", "xp_mae", "--profile", "serial"]) == 0
    after = lake.open(folder).table("predictions_xp_mae").manifest
    assert after.partitions == before.partitions


@pytest.mark.parametrize("share", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_share_that_is_none_is_refused(share, new_lake, capsys) -> None:
    assert part(new_lake("lake", SURVEYS[:1]), "ingest", SURVEYS[0], share) == 1
    assert "expected i/n" in capsys.readouterr().err


def test_a_share_takes_no_new_files(new_lake, tmp_path, capsys) -> None:
    folder = new_lake("lake", SURVEYS[:1])
    assert main(["--lake", str(folder), "ingest", SURVEYS[0], "--part", "1/2", "--raw", str(tmp_path)]) == 1
    assert "--register" in capsys.readouterr().err


def test_files_that_are_not_hashed_are_not_hashed_by_every_element(new_lake, capsys) -> None:
    folder = new_lake("lake", SURVEYS[:1])
    assert part(folder, "ingest", SURVEYS[0], "1/2") == 1
    said = capsys.readouterr().err
    assert "8 raw files are not hashed yet" in said
    assert f"ingest {SURVEYS[0]} --register" in said
    assert main(["--lake", str(folder), "ingest", SURVEYS[0], "--register"]) == 0
    assert part(folder, "ingest", SURVEYS[0], "1/2") == 0
