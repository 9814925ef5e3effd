"""A declaration that contradicts itself or the vocabulary stops the run; what decides rows decides the fingerprint."""

import sys
from dataclasses import replace

import pytest

import lake.surveys
from lake import dust
from lake.declaration import Mark, Raw
from lake.errors import SurveyError
from lake.fingerprint import source_of
from lake.survey import survey, surveys

CATWISE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_xp")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"columns": {**CATWISE.columns, "w1": Raw("w1")}}, "w1 not in the vocabulary; add them in lake/columns/"),
        (
            {"columns": {name: raw for name, raw in CATWISE.columns.items() if name != "source_id"}},
            "source_id must be the first column",
        ),
        ({"columns": dict(reversed(CATWISE.columns.items()))}, "source_id must be the first column"),
        ({"required": ("catwise_w1_mag",)}, "source_id must be the first column and required"),
        ({"required": ("source_id", "ra")}, "ra named in the declaration but not among its columns"),
        ({"missing": {"dec": (0,)}}, "dec named in the declaration"),
        ({"extensions": {"more": ("ra",)}}, "ra named in the declaration"),
        ({"marks": (Mark("designation", prefix="Gaia DR3"),)}, "designation named in the declaration"),
        ({"columns": {**CATWISE.columns, "flux": Raw("flux")}}, "list columns flux need a length"),
        ({"kind": "gossip"}, "kind 'gossip'"),
        ({"dialects": ()}, "dialects none unknown"),
        ({"dialects": ("xlsx",)}, "dialects xlsx unknown"),
        ({"duplicates": "first"}, "duplicates 'first'"),
        ({"made": ("parallax_zero_point",)}, "parallax_zero_point in `made`, but there is no `clean`"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes, says):
    with pytest.raises(SurveyError, match=says):
        replace(CATWISE, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": {**CATWISE.columns, "catwise_w1_mag": Raw("W1mpro")}},
        {"columns": {**CATWISE.columns, "catwise_w1_mag": Raw("catwise_w1", unit="mmag")}},
        {"required": ("source_id",)},
        {"missing": {"catwise_w1_mag": (-999.0,)}},
        {"duplicates": "most_complete"},
        {"tolerance": 1e-3},
        {"release": "2024"},
        {"clean": lambda table: table},
        {"foreign": {"x": "y"}},
        {"marks": (Mark("catwise_w1_mag", low=0, high=1),)},
    ],
)
def test_what_decides_the_rows_changes_the_fingerprint(changes):
    assert replace(CATWISE, **changes).fingerprint != CATWISE.fingerprint


def test_titles_citations_patterns_and_dialects_do_not():
    other = replace(CATWISE, title="x", citation="y", licence="z", source="s", patterns=("*.x",), dialects=("parquet",), rows=1)
    assert other.fingerprint == CATWISE.fingerprint


def test_an_unknown_survey_is_refused_with_those_declared():
    with pytest.raises(SurveyError, match="no survey 'galah_dr9'; declared are: apogee_astronn_dr17, apogee_dr17"):
        survey("galah_dr9")


def test_every_declaration_has_all_that_a_catalogue_says_of_it():
    for declared in surveys().values():
        assert all((declared.title, declared.citation, declared.licence, declared.source, declared.patterns))
        assert declared.fingerprint == replace(declared).fingerprint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("import no_such_module_anywhere", "broken_one.py cannot be imported: No module named"),
        ("x = 1", "must hold SURVEY = Survey"),
        ("from lake.surveys.catwise_andrae2023 import SURVEY", r"must hold SURVEY = Survey\(name='broken_one'"),
        ("from lake.survey import Survey\nSURVEY = Survey()", "cannot be imported"),
    ],
)
def test_a_broken_module_among_the_surveys_stops_the_run_with_its_name(content, says, tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text(content)
    monkeypatch.setattr(lake.surveys, "__path__", [*lake.surveys.__path__, str(tmp_path)])
    surveys.cache_clear()
    try:
        with pytest.raises(SurveyError, match=rf"lake/surveys/broken_one.py.*{says}|{says}"):
            surveys()
    finally:
        sys.modules.pop("lake.surveys.broken_one", None)
        monkeypatch.undo()
        surveys.cache_clear()
    assert "broken_one" not in surveys()


def test_an_extension_table_has_its_own_schema_beside_the_surveys():
    assert list(XP.tables) == ["gaia_dr3_xp", "gaia_dr3_xp_correlations"]
    assert XP.schema("gaia_dr3_xp_correlations").names == [
        "source_id",
        "bp_coefficient_correlations",
        "rp_coefficient_correlations",
    ]
    assert not any("correlations" in name for name in XP.schema().names)


def test_the_order_of_columns_and_all_that_clean_uses_decide_the_fingerprint():
    declared = surveys()["gaia_dr3_xp"]
    turned = replace(declared, columns={"source_id": declared.columns["source_id"], **dict(reversed(declared.columns.items()))})
    assert turned.fingerprint != declared.fingerprint


_FACTOR = 2.0


def _doubled(table):
    return _scaled(table)


def _scaled(table):
    return table if _FACTOR else table


def test_constants_and_functions_that_clean_uses_decide_the_fingerprint(monkeypatch):
    def fingerprint():
        return replace(surveys()["catwise_andrae2023"], clean=_doubled).fingerprint

    before = fingerprint()
    assert fingerprint() == before
    monkeypatch.setitem(globals(), "_FACTOR", 3.0)
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"missing": {"phot_g_mean_mag": ("none",)}}, "do not fit phot_g_mean_mag"),
        ({"missing": {"designation": (-9999.0,)}}, "do not fit designation"),
        ({"extensions": {"../evil": ("l", "b")}}, "no name for a table"),
    ],
)
def test_sentinels_and_names_that_cannot_be_are_refused(changed, said):
    with pytest.raises(SurveyError, match=said):
        replace(surveys()["gaia_dr3_source"], **changed)


@pytest.mark.parametrize("unit", ["parsecs per hour", "mag"])
def test_a_unit_that_does_not_convert_is_refused(unit):
    declared = surveys()["gaia_dr3_source"]
    with pytest.raises(SurveyError, match="does not convert"):
        replace(declared, columns=dict(declared.columns) | {"parallax": Raw("parallax", unit=unit)})


def test_a_raw_column_has_one_meaning():
    declared = surveys()["gaia_dr3_source"]
    with pytest.raises(SurveyError, match="declared twice"):
        replace(declared, columns=dict(declared.columns) | {"parallax": Raw("ra")})


def test_functions_of_our_other_modules_decide_the_fingerprint_and_the_vocabulary_does_not(monkeypatch):
    mapped = surveys()["dust_sfd"]
    before = replace(mapped).fingerprint
    assert replace(mapped).fingerprint == before
    monkeypatch.setitem(mapped.computed.function.__globals__, "galactic", dust.sfd)
    assert replace(mapped).fingerprint != before
    assert "COLUMNS = " not in source_of(surveys()["unwise_neo6"].clean)


def test_a_set_decides_the_fingerprint_whatever_order_it_is_held_in(monkeypatch):
    monkeypatch.setitem(globals(), "_FACTOR", frozenset({"b", "a"}))
    assert """_FACTOR = ["'a'", "'b'"]""" in source_of(_doubled)
