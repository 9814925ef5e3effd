"""The plan names what is stale and why, table by table and partition by partition, and what is built is what it named."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lake
from jobs.cli import main
from jobs.forecast import forecast
from jobs.inventory import Inventory
from jobs.lock import writing
from jobs.plan import FRESH, HELD, STALE, WAITING, plan, plan_survey, plan_with
from jobs.show_plan import chosen_tables, whole_plan
from jobs.table_plan import OPEN, PartitionPlan, TablePlan
from lake.build import build_survey
from lake.history import roll_back
from lake.ingest import Outcome
from lake.layout import STEPS
from lake.ledger import register
from lake.manifest import Manifest
from lake.partition import uniform
from lake.root import Lake, init_lake
from lake.survey import survey

CATWISE, SOURCE, XP = survey("catwise_andrae2023"), survey("gaia_dr3_source"), survey("gaia_dr3_xp")


def run(folder: Path, *arguments: str) -> int:
    return main(["--lake", str(folder), *arguments])


def nightly(folder: Path) -> int:
    return run(folder, "nightly", "--profile", "serial")


def why(folder: Path, table: str) -> str:
    return next(step.why for one in plan(lake.open(folder)) for step in one.steps if step.table == table)


def planned(where: Lake, table: str) -> TablePlan:
    (found,) = chosen_tables(whole_plan(where), [table])
    return found


def names(parts: list[PartitionPlan]) -> set[str]:
    return {part.name for part in parts}


def ranges(manifest: Manifest) -> set[str]:
    return {f"{part.first:06d}-{part.end - 1:06d}" for part in manifest.partitions}


def made(manifest: Manifest) -> set[str]:
    """Return the partitions whose file lies in the build's own folder; a plan names empty ones as well."""
    own = [part for part in manifest.partitions if part.key is not None and part.key.split("/")[2] == manifest.build]
    return {f"{part.first:06d}-{part.end - 1:06d}" for part in own}


def built(where: Lake, name: str) -> Outcome:
    one = plan_survey(where, survey(name))
    return build_survey(where.storage, where.grid, one.survey, one.files, one.standing)


def agree(foretold: TablePlan, outcome: Outcome) -> None:
    """Hold what was foretold against what was then made: the same partitions, no more and no fewer."""
    (manifest,) = outcome.manifests
    assert ranges(manifest) == names(list(foretold.partitions))
    assert outcome.reduced == len(foretold.stale)
    assert made(manifest) <= names(foretold.stale)
    assert foretold.open == []


def packed_anew(file: Path) -> None:
    """Change the bytes of a gzipped file, and none of its rows."""
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), 1, mtime=1))


@pytest.fixture
def catwise(synthetic, draw_ids, grid, tmp_path) -> tuple[Lake, list[Path], Callable[[int], None]]:
    """A lake of one table made of three files that follow one another on the sky, and the function that changes one."""
    rows = synthetic.rows(CATWISE, draw_ids(240, 11), 11)
    rows = rows.take(pc.sort_indices(rows["source_id"]))
    files = [synthetic.write(CATWISE, rows.slice(80 * k, 80), tmp_path / f"part{k}.fits", "fits") for k in range(3)]

    def change(k: int) -> None:
        held = rows.slice(80 * k, 80)
        brighter = pc.add(held["catwise_w1_mag"], pa.scalar(0.5, pa.float32()))
        synthetic.write(CATWISE, held.set_column(1, rows.schema.field(1), brighter), files[k], "fits")

    where = init_lake(tmp_path / "lake", grid=grid)
    register(where.storage, CATWISE, files)
    return where, files, change


@pytest.fixture(scope="module")
def modelled(tmp_path_factory, sky) -> Path:
    """A lake with predictions, not to be changed by tests."""
    folder = tmp_path_factory.mktemp("modelled") / "lake"
    for name in ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023", "dust_sfd"):
        shutil.copytree(sky.folder / name, folder / "raw" / name)
    assert main(["init", str(folder), "--counts", str(sky.counts), "--leaf-rows", "30"]) == 0
    assert nightly(folder) == 0
    assert run(folder, "train", "xp_mae", "--preset", "debug", "--profile", "serial") == 0
    assert nightly(folder) == 0
    return folder


@pytest.fixture
def predicted(modelled, tmp_path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(modelled, tmp_path / "lake"))


# Tables.


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
    waiting = planned(lake.open(folder), "gaia_dr3_source")
    assert waiting.state == WAITING
    assert f"{file.name} is gone, but tables were built from it" in waiting.why


def test_a_survey_without_raw_files_is_answered_with_the_command(new_lake) -> None:
    with pytest.raises(lake.LakeError, match="ingest gaia_dr3_xp --raw PATH"):
        plan(lake.open(new_lake(surveys=("catwise_andrae2023",))), ["gaia_dr3_xp"])


def test_what_others_stand_on_comes_first_and_predictions_last(modelled):
    order = [one.table for one in whole_plan(lake.open(modelled))]
    assert order.index("gaia_dr3_source") < order.index("dust_sfd") < order.index("predictions_xp_mae") == len(order) - 1
    assert {one.state for one in whole_plan(lake.open(modelled))} == {FRESH}


def test_a_build_that_was_taken_back_is_held_until_its_inputs_change(catwise, build):
    where, _, change = catwise
    build.publish(where, built(where, CATWISE.name))
    change(1)
    build.publish(where, built(where, CATWISE.name))
    roll_back(where.storage)
    held = plan(lake.open(where.storage.root), save=False)
    assert [step.state for step in held[0].steps] == [HELD]
    assert held[0].settled
    assert not held[0].stale
    assert "taken back by a roll-back" in planned(where, CATWISE.name).why
    change(2)
    assert planned(where, CATWISE.name).state == STALE


# Partitions of tables made of raw files.


def test_one_raw_file_of_three_that_changed_names_the_partitions_that_are_then_made(catwise):
    where, _, change = catwise
    built(where, CATWISE.name)
    change(1)
    foretold = planned(where, CATWISE.name)
    assert foretold.why == "1 raw file changed (part1.fits)"
    assert 0 < len(foretold.stale) < len(foretold.partitions)
    assert {part.why for part in foretold.stale} == {"part1.fits changed"}
    assert {part.state for part in foretold.partitions} == {STALE, FRESH}
    assert not foretold.exact
    agree(foretold, built(where, CATWISE.name))
    after = planned(where, CATWISE.name)
    assert (after.stale, after.exact) == ([], True)


def test_files_that_earlier_builds_have_read_are_known_exactly(catwise):
    where, files, change = catwise
    held = files[1].read_bytes()
    built(where, CATWISE.name)
    change(1)
    built(where, CATWISE.name)
    files[1].write_bytes(held)
    change(0)
    built(where, CATWISE.name)
    # The first file as it is now was read beside another version of the second one only.
    change(1)
    foretold = planned(where, CATWISE.name)
    assert foretold.exact
    assert foretold.stale
    assert foretold.files
    agree(foretold, built(where, CATWISE.name))


def test_a_file_that_is_given_up_takes_its_rows_out_of_the_partitions_that_are_named(catwise):
    where, files, _ = catwise
    built(where, CATWISE.name)
    register(where.storage, CATWISE, [files[0], files[2]], replace=True)
    foretold = planned(where, CATWISE.name)
    assert foretold.why == "1 raw file removed (part1.fits)"
    assert "part1.fits removed" in {part.why for part in foretold.stale}
    assert foretold.exact
    agree(foretold, built(where, CATWISE.name))


def test_a_lost_file_is_named_and_alone_made_again(catwise):
    where, _, _ = catwise
    (manifest,) = built(where, CATWISE.name).manifests
    lost = [part for part in manifest.partitions if part.key][3]
    where.storage.path(str(lost.key)).unlink()
    foretold = planned(where, CATWISE.name)
    assert foretold.why == f"1 of its files are gone ({lost.key})"
    (part,) = foretold.stale
    assert (part.first, part.end, part.rows, part.bytes) == (lost.first, lost.end, lost.rows, lost.bytes)
    assert part.why == f"its file is gone ({lost.key})"
    assert built(where, CATWISE.name).reduced == 1
    assert where.storage.path(str(lost.key)).stat().st_size == lost.bytes
    assert planned(where, CATWISE.name).stale == []


def test_a_file_that_nobody_has_read_may_touch_any_partition_and_none_is_called_fresh(catwise):
    where, files, _ = catwise
    register(where.storage, CATWISE, files[:2], replace=True)
    built(where, CATWISE.name)
    register(where.storage, CATWISE, files[2:])
    foretold = planned(where, CATWISE.name)
    assert {part.state for part in foretold.partitions} == {OPEN}
    assert {part.why for part in foretold.open} == {"known when part2.fits is read"}
    assert [one.file.path.name for one in foretold.unread] == ["part2.fits"]
    assert 40 < foretold.rows < 160
    outcome = built(where, CATWISE.name)
    assert outcome.reduced > 0
    assert outcome.manifests[0].rows == 240


def test_a_new_file_that_is_named_as_gaia_names_its_own_may_touch_its_range_only(new_lake, sky):
    folder = new_lake(surveys=("gaia_dr3_source",))
    file = sorted((folder / "raw" / "gaia_dr3_source").iterdir())[3]
    held = file.read_bytes()
    file.unlink()
    where = lake.open(folder)
    built(where, SOURCE.name)
    file.write_bytes(held)
    foretold = planned(where, SOURCE.name)
    low, high = (int(word) for word in file.name.split("_")[1].split(".")[0].split("-"))
    within = {part.name for part in foretold.partitions if part.first <= high and part.end > low}
    assert names(foretold.open) <= within
    assert {part.why for part in foretold.open} == {f"known when {file.name} is read"}
    assert 0 < len(foretold.open) < len(foretold.partitions)
    outcome = built(where, SOURCE.name)
    assert made(outcome.manifests[0]) <= names(foretold.open) | names(foretold.stale)
    assert outcome.reduced <= len(foretold.open) + len(foretold.stale)


def test_a_first_build_is_expected_from_names_or_known_when_files_are_read(catwise, new_lake):
    where, files, _ = catwise
    foretold = planned(where, CATWISE.name)
    assert (foretold.partitions, foretold.why) == ((), "never built; 3 raw files")
    assert [one.file.path for one in foretold.unread] == files
    assert foretold.read_bytes == sum(file.stat().st_size for file in files)
    gaia = planned(lake.open(new_lake("other", ("gaia_dr3_source",))), SOURCE.name)
    assert {part.state for part in gaia.partitions} == {STALE}
    assert gaia.rows > 0


@pytest.mark.parametrize("what", ["declaration", "step", "grid"])
def test_a_declaration_a_step_or_a_grid_that_changed_makes_all_partitions_anew(catwise, monkeypatch, what):
    where, _, _ = catwise
    built(where, CATWISE.name)
    declared, said = CATWISE, "the survey's declaration changed"
    if what == "declaration":
        declared = replace(CATWISE, tolerance=0.5)
    elif what == "step":
        said = f"the version of step merge changed: {STEPS['merge']} -> {STEPS['merge'] + 1}"
        monkeypatch.setitem(STEPS, "merge", STEPS["merge"] + 1)
    else:
        other = uniform(2)
        said = f"the grid changed: {where.grid.id} -> {other.id}"
        where = replace(where, grid=other)
    one = plan_survey(where, declared, save=False)
    (foretold,) = forecast(Inventory(where), [one])
    assert foretold.why == said
    if what == "grid":
        # Nobody knows where the rows lie on another grid.
        assert (foretold.partitions, len(foretold.unread)) == ((), 3)
    else:
        assert {(part.state, part.why) for part in foretold.partitions} == {(STALE, said)}
    outcome = build_survey(where.storage, where.grid, declared, one.files, one.standing)
    assert outcome.reused == 0
    if what != "grid":
        assert outcome.reduced == len(foretold.stale)
        assert 0.9 < foretold.rows / outcome.manifests[0].rows < 1.1
        assert 0.9 < foretold.bytes / outcome.manifests[0].bytes < 1.1


# Tables made of other tables.


def test_partitions_of_a_changed_table_make_those_stale_that_are_computed_and_predicted_from_them(predicted):
    file = sorted((predicted / "raw" / "gaia_dr3_source").glob("*.csv.gz"))[2]
    packed_anew(file)
    plans = {one.table: one for one in whole_plan(lake.open(predicted))}
    source, dust, values = (plans[name] for name in ("gaia_dr3_source", "dust_sfd", "predictions_xp_mae"))
    stale = names(source.stale)
    assert 0 < len(stale) < len(source.partitions)
    assert names(dust.stale) == names(values.stale) == stale
    first = source.stale[0].name
    assert dust.stale[0].why == values.stale[0].why == f"because gaia_dr3_source {first} will be built anew"
    old = lake.open(predicted).table("gaia_dr3_source").manifest.build
    assert values.why == f"gaia_dr3_source changed: {old} -> {source.build}"
    assert plans["gaia_dr3_xp"].state == FRESH
    assert nightly(predicted) == 0
    opened = lake.open(predicted)
    for one in (source, dust, values):
        manifest = opened.table(one.table).manifest
        assert manifest.build == one.build
        assert made(manifest) == stale
    assert {one.state for one in whole_plan(opened)} == {FRESH}


def test_what_is_not_known_of_a_table_is_not_known_of_those_made_of_it(predicted):
    known = min((predicted / "raw" / "gaia_dr3_source").glob("*.csv.gz"))
    new = known.with_name(known.name.replace(".csv.gz", "_more.csv.gz"))
    shutil.copy(known, new)
    packed_anew(new)
    plans = {one.table: one for one in whole_plan(lake.open(predicted))}
    source, dust, values = (plans[name] for name in ("gaia_dr3_source", "dust_sfd", "predictions_xp_mae"))
    assert 0 < len(source.open) < len(source.partitions)
    assert source.stale == dust.stale == values.stale == []
    assert names(dust.open) == names(values.open) == names(source.open)
    assert {part.why for part in (*dust.open, *values.open)} == {f"known when {new.name} is read"}


def test_another_bundle_makes_all_predictions_anew_and_is_named(predicted):
    key = predicted / "models" / "xp_mae" / "current.json"
    old = json.loads(key.read_text())
    key.write_text(json.dumps(old | {"bundle": "0123456789abcdef"}))
    values = planned(lake.open(predicted), "predictions_xp_mae")
    assert values.why == f"the model bundle changed: {old['bundle']} -> 0123456789abcdef"
    assert {(part.state, part.why) for part in values.partitions} == {(STALE, values.why)}


def test_a_lost_file_of_predictions_is_made_again_and_nothing_else(predicted):
    manifest = lake.open(predicted).table("predictions_xp_mae").manifest
    lost = next(part for part in manifest.partitions if part.key)
    (predicted / str(lost.key)).unlink()
    plans = whole_plan(lake.open(predicted))
    assert [one.table for one in plans if one.state == STALE] == ["predictions_xp_mae"]
    (part,) = plans[-1].stale
    assert part.why == f"its file is gone ({lost.key})"
    assert nightly(predicted) == 0
    assert (predicted / str(lost.key)).stat().st_size == lost.bytes


def test_a_model_that_is_to_be_trained_on_what_changed_predicts_all_anew(predicted, capsys):
    assert run(predicted, "nightly", "--dry-run", "--train", "xp_mae") == 0
    assert "to be made" not in capsys.readouterr().out
    packed_anew(min((predicted / "raw" / "gaia_dr3_source").glob("*.csv.gz")))
    assert run(predicted, "nightly", "--dry-run", "--train", "xp_mae") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("predictions_xp_mae"))
    every = len(lake.open(predicted).table("predictions_xp_mae").manifest.partitions)
    assert f"{every} of ~{every}" in line
    assert "-> to be trained" in line


def test_predictions_wait_with_a_table_that_cannot_be_planned(predicted):
    (file,) = (predicted / "raw" / "catwise_andrae2023").iterdir()
    file.unlink()
    values = planned(lake.open(predicted), "predictions_xp_mae")
    assert (values.state, values.why) == (WAITING, "waits for catwise_andrae2023, from which it is made")


def test_what_lacks_something_to_stand_on_waits_and_has_no_partitions(new_lake):
    waiting = planned(lake.open(new_lake(surveys=("unwise_neo6",))), "unwise_neo6")
    assert (waiting.state, waiting.partitions) == (WAITING, ())
    assert "gaia_dr3_source, which is not in this lake" in waiting.why


# The command.


def test_planning_writes_nothing_and_needs_no_lock(predicted, capsys):
    packed_anew(min((predicted / "raw" / "gaia_dr3_source").glob("*.csv.gz")))
    before = {path: path.stat().st_mtime_ns for path in predicted.rglob("*")}
    with writing(lake.open(predicted).storage, "test"):
        inside = {path: path.stat().st_mtime_ns for path in predicted.rglob("*")}
        assert run(predicted, "plan") == 0
        assert run(predicted, "plan", "--json") == 0
        assert {path: path.stat().st_mtime_ns for path in predicted.rglob("*")} == inside
    assert {path for path in before if path.is_file()} <= set(inside)


def test_the_command_shows_one_line_per_table_and_partitions_where_asked(catwise, capsys):
    where, _, change = catwise
    folder = Path(where.storage.root)
    built(where, CATWISE.name)
    change(1)
    foretold = planned(where, CATWISE.name)
    capsys.readouterr()
    assert run(folder, "plan") == 0
    said = capsys.readouterr().out
    assert f"~{len(foretold.stale)} of ~{len(foretold.partitions)}" in said
    assert "1 raw file changed (part1.fits)" in said
    assert foretold.stale[0].name not in said
    for flags in (["--partitions"], [CATWISE.name]):
        assert run(folder, "plan", *flags) == 0
        said = capsys.readouterr().out
        assert all(part.name in said for part in foretold.stale)
        assert not any(part.name in said for part in foretold.partitions if part.state == FRESH)
    assert run(folder, "plan", "nothing") == 1
    assert "no table 'nothing' is planned here; planned are: catwise_andrae2023" in capsys.readouterr().err
    assert run(folder, "plan", "--part", "4/3") == 1
    assert "expected i/n" in capsys.readouterr().err


def test_partitions_that_are_not_known_yet_are_not_counted_as_none(new_lake, capsys):
    folder = new_lake(surveys=("catwise_andrae2023", "gaia_dr3_source"))
    foretold = planned(lake.open(folder), "catwise_andrae2023")
    assert not foretold.partitions
    capsys.readouterr()
    assert run(folder, "plan", "catwise_andrae2023") == 0
    said = capsys.readouterr().out
    assert "to be made: partitions of 1 table that are not known yet; ~" in said
    assert "0 partitions" not in said
    assert "about ~" not in said
    assert run(folder, "plan") == 0
    assert "in 1 table; those of 1 table are not known yet; ~" in capsys.readouterr().out


def test_shares_of_a_job_array_are_disjoint_and_together_the_whole(predicted, capsys):
    for file in sorted((predicted / "raw" / "gaia_dr3_source").glob("*.csv.gz")):
        packed_anew(file)
    capsys.readouterr()

    def said(*flags: str) -> dict[str, dict[str, object]]:
        assert run(predicted, "plan", "--json", "--partitions", *flags) == 0
        return {one["table"]: one for one in json.loads(capsys.readouterr().out)["tables"]}

    whole, shares = said(), [said("--part", f"{i}/3") for i in (1, 2, 3)]
    assert whole["gaia_dr3_source"]["partitions"]["make"] > 3
    for table, every in whole.items():
        parts = [part["name"] for one in shares for part in one[table]["parts"]]
        assert sorted(parts) == [part["name"] for part in every["parts"]]
        assert [part["number"] for part in every["parts"]] == list(range(len(every["parts"])))
        assert sorted(file for one in shares for file in one[table]["files"]) == sorted(every["files"])
        for count in ("rows", "bytes", "read_bytes"):
            assert sum(one[table][count] for one in shares) == every[count]


def test_the_plan_is_read_with_each_manifest_once(modelled, monkeypatch):
    where = lake.open(modelled)
    read: list[tuple[str, str]] = []
    inventory = Inventory(where)
    keep = inventory.manifest
    monkeypatch.setattr("jobs.inventory.read_manifest", lambda *of: read.append(of[1:]) or lake.manifest.read_manifest(*of))
    forecast(inventory, plan_with(inventory))
    assert keep("gaia_dr3_xp", where.table("gaia_dr3_xp").manifest.build)
    assert len(read) == len(set(read)) == len(where.names)
