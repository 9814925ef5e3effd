"""The plan names the reason for every table that is stale."""

from dataclasses import replace
from pathlib import Path

import pytest

import lake
from jobs.cli import main
from jobs.plan import plan, plan_survey
from lake.survey import survey


def nightly(folder: Path) -> int:
    return main(["--lake", str(folder), "nightly", "--profile", "serial"])


def why(folder: Path, table: str) -> str:
    return next(step.why for one in plan(lake.open(folder)) for step in one.steps if step.table == table)


def test_reasons_are_files_added_changed_and_declarations(new_lake, sky) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    last = folder / "raw" / "gaia_dr3_source" / sky.files["gaia_dr3_source"][-1].name
    held = last.read_bytes()
    last.unlink()
    assert why(folder, "gaia_dr3_source").startswith("never built")
    assert nightly(folder) == 0
    assert "are those of the published build" in why(folder, "gaia_dr3_source")
    last.write_bytes(held)
    assert why(folder, "gaia_dr3_source") == f"1 raw file added ({last.name})"
    assert nightly(folder) == 0
    opened = lake.open(folder)
    other = replace(survey("gaia_dr3_source"), tolerance=0.5)
    assert plan_survey(opened, other).steps[0].why == "the survey's declaration changed"


def test_a_raw_file_that_is_gone_is_an_error_and_not_a_smaller_table(new_lake) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert nightly(folder) == 0
    file = next((folder / "raw" / "gaia_dr3_source").iterdir())
    file.rename(folder / "moved")
    with pytest.raises(lake.LakeError, match=f"{file.name}.* is gone.*bring it back"):
        plan(lake.open(folder))


def test_a_survey_without_raw_files_is_answered_with_the_command(new_lake) -> None:
    with pytest.raises(lake.LakeError, match="ingest gaia_dr3_xp --raw PATH"):
        plan(lake.open(new_lake(surveys=("catwise_andrae2023",))), ["gaia_dr3_xp"])
