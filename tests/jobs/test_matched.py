"""Surveys that stand on others: built after them, built again when they change, and refused with a way out without them."""

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.plan import plan
from jobs.show_plan import whole_plan
from lake.root import open_lake
from lake.survey import survey, surveys

MATCHED = ("gaia_dr3_source", "unwise_neo6", "apogee_dr17", "apogee_latent_ages_dr17", "dust_sfd")


def run(folder: Path, *arguments: str) -> int:
    return main(["--lake", str(folder), *arguments])


def nightly(folder: Path) -> int:
    return run(folder, "nightly", "--profile", "serial")


def test_a_nightly_builds_what_others_stand_on_first_and_finds_nothing_to_do_the_second_time(new_lake, sky):
    folder = new_lake(surveys=MATCHED)
    assert nightly(folder) == 0
    opened = open_lake(folder)
    assert set(MATCHED) <= set(opened.published)
    sources, objects = opened.table("gaia_dr3_source"), opened.table("unwise_neo6")
    assert objects.manifest.made_of == {"gaia_dr3_source": sources.manifest.build}
    assert opened.table("dust_sfd").rows == sources.rows == sky.rows["gaia_dr3_source"]
    assert 0 < objects.rows < sky.rows["unwise_neo6"]
    assert nightly(folder) == 3


def test_new_sources_rebuild_what_is_matched_with_them_and_leave_the_rest_alone(new_lake, sky, capsys):
    folder = new_lake(surveys=MATCHED)
    held = folder / "raw" / "gaia_dr3_source"
    last = sorted(held.iterdir())[-1]
    shutil.move(last, folder.parent / last.name)
    assert nightly(folder) == 0
    before = open_lake(folder).published
    shutil.move(folder.parent / last.name, last)
    steps = {step.table: step for one in plan(open_lake(folder)) for step in one.steps}
    builds = [open_lake(folder).table("gaia_dr3_source").manifest.build, steps["gaia_dr3_source"].build]
    assert steps["unwise_neo6"].why == f"what it is matched with changed: gaia_dr3_source, {builds[0]} -> {builds[1]}"
    assert steps["dust_sfd"].why == f"gaia_dr3_source, at whose sources it is computed, changed: {builds[0]} -> {builds[1]}"
    assert [steps[name].state for name in ("apogee_dr17", "apogee_latent_ages_dr17")] == ["fresh", "fresh"]
    assert nightly(folder) == 0
    after = open_lake(folder).published
    assert {name for name in after if after[name] != before[name]} == {"gaia_dr3_source", "unwise_neo6", "dust_sfd"}
    assert open_lake(folder).table("dust_sfd").rows == sky.rows["gaia_dr3_source"]


def test_a_survey_that_lacks_what_it_stands_on_waits_says_so_and_holds_up_no_other(new_lake, sky, capsys):
    folder = new_lake(surveys=("gaia_dr3_source", "apogee_latent_ages_dr17"))
    for _ in range(2):
        assert nightly(folder) == 1
        said = capsys.readouterr().err
        assert "all else is published" in said
        assert "apogee_latent_ages_dr17 gets its source_ids from the files of apogee_dr17" in said
        assert set(open_lake(folder).published) == {"gaia_dr3_source"}
    assert run(folder, "plan") == 0
    assert "waiting" in capsys.readouterr().out
    shutil.copytree(sky.folder / "apogee_dr17", folder / "raw" / "apogee_dr17")
    assert nightly(folder) == 0
    assert "apogee_latent_ages_dr17" in open_lake(folder).published


def test_a_table_without_rows_does_not_take_the_place_of_one_with_rows(new_lake, sky, tmp_path, capsys):
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert run(folder, "ingest", "pristine", "--raw", str(sky.folder / "pristine"), "--profile", "serial") == 0
    assert nightly(folder) == 0
    before = open_lake(folder).published
    empty = tmp_path / "empty.csv"
    empty.write_text(gzip.decompress(sky.files["pristine"][0].read_bytes()).decode().splitlines()[0] + "\n")
    assert run(folder, "ingest", "pristine", "--replace", "--raw", str(empty), "--profile", "serial") == 0
    assert nightly(folder) == 1
    assert "has no rows, but" in capsys.readouterr().err
    assert open_lake(folder).published == before


@pytest.mark.parametrize("name", ["unwise_neo6", "dust_sfd"])
def test_a_survey_that_stands_on_sources_without_them_says_how_to_get_them(name, new_lake, capsys):
    folder = new_lake(surveys=(name,))
    assert run(folder, "ingest", name, "--profile", "serial") == 1
    said = capsys.readouterr().err
    assert f"{name} is matched to the sources of gaia_dr3_source, which is not in this lake" in said
    assert "gaialake fetch gaia_dr3_source" in said


def test_ingesting_before_the_sources_are_built_says_what_to_build_first(new_lake, capsys):
    folder = new_lake(surveys=("gaia_dr3_source", "unwise_neo6"))
    assert run(folder, "ingest", "unwise_neo6", "--profile", "serial") == 1
    assert "`gaialake ingest gaia_dr3_source` first, or `gaialake nightly`" in capsys.readouterr().err


def test_an_absent_map_is_an_error_that_names_the_command_that_fetches_it(new_lake, capsys):
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert run(folder, "ingest", "dust_sfd", "--profile", "serial") == 1
    assert "gaialake fetch dust_sfd" in capsys.readouterr().err


def test_matches_that_could_not_be_verified_are_verified_when_the_sources_arrive(new_lake, sky, capsys):
    folder = new_lake(surveys=("tmass_psc",))
    assert nightly(folder) == 0
    assert open_lake(folder).table("tmass_psc").manifest.checks["unverified"] == ["gaia_dr3_source"]
    shutil.copytree(sky.folder / "gaia_dr3_source", folder / "raw" / "gaia_dr3_source")
    assert nightly(folder) == 0
    checks = open_lake(folder).table("tmass_psc").manifest.checks
    assert checks["unverified"] == []
    assert [record["sound"] for record in checks["relations"]] == [True, True]
    assert nightly(folder) == 3


def test_check_says_how_matches_were_verified(new_lake, capsys):
    folder = new_lake(surveys=("gaia_dr3_source", "tmass_psc"))
    assert run(folder, "ingest", "gaia_dr3_source", "tmass_psc", "--profile", "serial") == 0
    assert run(folder, "check", "--profile", "serial") == 0
    said = capsys.readouterr().out
    assert "matches verified: tmass_ks_mag against phot_g_mean_mag, phot_bp_mean_mag - phot_rp_mean_mag" in said


def test_a_refused_file_leaves_no_survey_behind_that_later_nights_would_fail_on(new_lake, sky, capsys):
    folder = new_lake(surveys=("gaia_dr3_source",))
    wrong = sky.files["apogee_dr17"][0]
    assert run(folder, "ingest", "galah_dr4", "--raw", str(wrong), "--profile", "serial") == 1
    assert "required column" in capsys.readouterr().err
    assert run(folder, "ingest", "apogee_latent_ages_dr17", "--raw", str(wrong), "--profile", "serial") == 1
    assert nightly(folder) == 0
    assert set(open_lake(folder).published) == {"gaia_dr3_source"}


def test_check_verifies_what_it_could_not_before_and_what_is_asked_anew(new_lake, sky, capsys, monkeypatch):
    folder = new_lake(surveys=("tmass_psc",))
    assert nightly(folder) == 0
    shutil.copytree(sky.folder / "gaia_dr3_source", folder / "raw" / "gaia_dr3_source")
    assert run(folder, "ingest", "gaia_dr3_source", "--profile", "serial") == 0
    capsys.readouterr()
    assert run(folder, "check", "--profile", "serial") == 0
    said = capsys.readouterr().out
    assert "matches verified: tmass_ks_mag" in said
    assert nightly(folder) == 0
    declared = survey("tmass_psc")
    stricter = replace(declared, relations=tuple(replace(one, tolerance=1e-4) for one in declared.relations))
    monkeypatch.setitem(surveys(), "tmass_psc", stricter)
    assert nightly(folder) == 1
    assert "tmass_psc: its rows do not belong to their sources" in capsys.readouterr().err


def test_while_sources_are_taken_back_others_are_matched_with_the_published_ones_and_checked_with_them(new_lake, sky, capsys):
    folder = new_lake(surveys=("gaia_dr3_source",))
    held = folder / "raw" / "gaia_dr3_source"
    last = sorted(held.iterdir())[-1]
    shutil.move(last, folder.parent / last.name)
    assert nightly(folder) == 0
    first = open_lake(folder).table("gaia_dr3_source").manifest.build
    shutil.move(folder.parent / last.name, last)
    assert nightly(folder) == 0
    second = open_lake(folder).table("gaia_dr3_source").manifest.build
    assert run(folder, "rollback") == 0
    for name in ("unwise_neo6", "dust_sfd", "tmass_psc"):
        shutil.copytree(sky.folder / name, folder / "raw" / name)
    foretold = {one.table: one for one in whole_plan(open_lake(folder))}
    assert nightly(folder) == 0
    opened = open_lake(folder)
    assert opened.table("gaia_dr3_source").manifest.build == first != second
    for name in ("unwise_neo6", "dust_sfd"):
        assert opened.table(name).manifest.made_of["gaia_dr3_source"] == first
        assert opened.table(name).manifest.build == foretold[name].build
    assert len(foretold["dust_sfd"].stale) == len(opened.table("dust_sfd").manifest.partitions)
    assert nightly(folder) == 3
    # Somebody may have deleted the build that is held back.
    (folder / "tables" / "gaia_dr3_source" / f"{second}.json").unlink()
    for verb in (("check", "--deep", "--profile", "serial"), ("publish",), ("plan",)):
        assert run(folder, *verb) == 0
    assert nightly(folder) == 3


def test_sources_that_are_in_no_catalogue_since_a_roll_back_are_not_waited_for_every_night(new_lake, sky):
    folder = new_lake(surveys=("gaia_dr3_xp",))
    assert nightly(folder) == 0
    shutil.copytree(sky.folder / "gaia_dr3_source", folder / "raw" / "gaia_dr3_source")
    assert nightly(folder) == 0
    assert run(folder, "rollback") == 0
    assert "gaia_dr3_source" not in open_lake(folder).published
    shutil.copytree(sky.folder / "tmass_psc", folder / "raw" / "tmass_psc")
    assert nightly(folder) == 0
    assert open_lake(folder).table("tmass_psc").manifest.checks["unverified"] == ["gaia_dr3_source"]
    assert nightly(folder) == 3
