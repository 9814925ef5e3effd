"""What README shows is what the code says."""

import re
from pathlib import Path

import pytest

from jobs.cli import main
from lake.columns import Column
from lake.declaration import Keys, Position, Raw, Relation
from lake.overview import brought_up_to_date, markdown
from lake.survey import Survey, same, surveys

README = (Path(__file__).parent.parent / "README.md").read_text()
# Fits a page of a repository's site, and a screen in an editor that folds nothing.
WIDEST = 170


def test_the_table_of_surveys_is_that_of_the_declarations() -> None:
    assert brought_up_to_date(README) == README, "python -m lake.overview"
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(surveys())


def test_the_table_of_surveys_fits_a_page() -> None:
    assert max(len(line) for line in markdown().splitlines()) <= WIDEST


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="README lacks the lines"):
        brought_up_to_date("# gaialake")


def test_every_verb_in_readme_exists(capsys) -> None:
    verbs = set(re.findall(r"gaialake (?:--lake LAKE )?([a-z]+)\b", re.sub(r"`{3}python.*?`{3}", "", README, flags=re.DOTALL)))
    assert {"fetch", "ingest", "check", "publish", "nightly", "plan", "surveys", "demo"} <= verbs
    for verb in verbs:
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0, verb
    capsys.readouterr()


def test_the_survey_that_readme_declares_is_sound(monkeypatch) -> None:
    from lake import survey
    from lake.columns import COLUMNS

    names = set(re.findall(r"(tycho_\w+)", README)) - {"tycho_vt_mag_error"}
    new = {name: Column(name, COLUMNS["tmass_j_mag"].type, "mag", "-") for name in {*names, "tycho_vt_mag_error"}}
    monkeypatch.setattr(survey, "COLUMNS", {**COLUMNS, **new})
    block = next(part for part in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "SURVEY = " in part)
    held: dict[str, object] = {
        "Keys": Keys,
        "Position": Position,
        "Raw": Raw,
        "Relation": Relation,
        "Survey": Survey,
        "same": same,
    }
    exec(block, held)
    assert isinstance(held["SURVEY"], Survey)
    assert held["SURVEY"].match is not None
