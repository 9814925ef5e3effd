"""Adding a survey takes one file: a made-up one is declared in a folder of its own, and everything else follows."""

import textwrap
from pathlib import Path

import pytest

import lake
import lake.surveys
from jobs.cli import main
from lake.survey import surveys

DECLARATION = '''
"""Declare a made-up survey of radial velocities, to show what a newcomer has to write."""

from lake.declaration import Raw
from lake.survey import Survey, same

SURVEY = Survey(
    name="madeup_dr1",
    title="A made-up survey",
    release="1",
    kind="labels",
    citation="nobody",
    licence="CC0",
    source="https://example.org",
    patterns=("madeup_*.csv",),
    dialects=("archive_csv",),
    columns=same("source_id") | {"radial_velocity": Raw("RV", unit="m / s"), "radial_velocity_error": Raw("eRV", unit="m / s")},
    required=("source_id", "radial_velocity"),
    missing={"radial_velocity": (-9999.0,)},
)
'''


@pytest.fixture
def declared(tmp_path: Path, monkeypatch):
    """Put one more module into the package of surveys."""
    (tmp_path / "madeup_dr1.py").write_text(textwrap.dedent(DECLARATION))
    monkeypatch.setattr(lake.surveys, "__path__", [*lake.surveys.__path__, str(tmp_path)])
    surveys.cache_clear()
    yield surveys()["madeup_dr1"]
    surveys.cache_clear()
    __import__("sys").modules.pop("lake.surveys.madeup_dr1", None)


def test_one_file_declares_ingests_and_publishes_a_survey(declared, tmp_path: Path, capsys) -> None:
    raw = tmp_path / "madeup_1.csv"
    raw.write_text("source_id,RV,eRV\n5853498713190525696,12500,300\n4345775217221821312,-9999,\n")
    folder = tmp_path / "lake"
    assert main(["--lake", str(folder), "ingest", "madeup_dr1", "--raw", str(raw), "--profile", "serial"]) == 0
    assert main(["--lake", str(folder), "check"]) == 0
    assert main(["--lake", str(folder), "publish"]) == 0
    held = lake.open(folder).table("madeup_dr1").select([5853498713190525696, 4345775217221821312])
    assert held["radial_velocity"].tolist()[0] == pytest.approx(12.5)
    assert held["radial_velocity"].isna().tolist() == [False, True]
    capsys.readouterr()
    assert main(["surveys"]) == 0
    assert "A made-up survey" in capsys.readouterr().out


def test_a_broken_declaration_stops_the_run_and_names_the_module(declared, tmp_path: Path, capsys) -> None:
    (tmp_path / "broken_dr1.py").write_text(
        textwrap.dedent(DECLARATION).replace("madeup_dr1", "broken_dr1").replace('"radial_velocity":', '"velocity":', 1)
    )
    surveys.cache_clear()
    assert main(["surveys"]) == 1
    said = capsys.readouterr().err
    assert "lake/surveys/broken_dr1.py" in said
    assert "velocity not in the vocabulary" in said
