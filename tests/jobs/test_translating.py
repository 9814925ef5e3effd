"""A translation is trained on the stars of two tables, mapped over partitions, and published like any table."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lake
from jobs.cli import main
from jobs.cluster import in_process
from jobs.product import bundle_key, current_bundle
from jobs.products import PRODUCTS, named
from jobs.show_plan import whole_plan
from jobs.status import current_bundles, show_status
from jobs.status import status as make_status
from jobs.training import train, training_id
from jobs.translating import REALISATIONS, columns_of, loaded_translator, overlap, translated_rows
from lake.errors import LakeError
from lake.finetune import LABELLED
from models.translation import TRANSLATIONS
from models.translator_predict import translate

NAME = "galah_dr3_on_apogee_dr17"
DR3 = TRANSLATIONS[NAME]


def run(folder: Path, *words: str) -> int:
    return main(["--lake", str(folder), *words])


def test_every_star_of_the_survey_is_translated_and_what_it_is_made_of_is_told(labelled: Path) -> None:
    opened = lake.open(labelled)
    table = opened.table(NAME)
    assert table.rows == opened.table("galah_dr3").rows
    assert table.columns == columns_of(DR3)
    made_of = table.manifest.made_of
    assert made_of["base"] == "apogee_dr17"
    assert made_of["bundle"] == current_bundle(opened.storage, NAME)
    assert made_of["galah_dr3"] == opened.table("galah_dr3").manifest.build
    units = {one["name"]: one["unit"] for one in table.manifest.columns}
    assert (units["teff_p50"], units["velocity_systematic"]) == ("K", "km / s")


def test_the_bundle_says_what_it_was_trained_on_and_how_well_it_does(labelled: Path) -> None:
    opened = lake.open(labelled)
    held = json.loads((labelled / bundle_key(NAME, current_bundle(opened.storage, NAME) or "") / "bundle.json").read_text())
    assert held["training_builds"] == {
        name: opened.table(name).manifest.build for name in ("galah_dr3", "apogee_dr17", "gaia_dr3_source")
    }
    for label in ("teff", "logg", "metallicity", "mg_fe", "velocity"):
        assert set(held["metrics"][label]["methods"]) == {"nothing", "ridge", "ours"}


def test_a_translation_runs_on_the_cpu_and_so_asks_workers_for_no_gpu(labelled: Path) -> None:
    opened = lake.open(labelled)
    bundle = current_bundle(opened.storage, NAME) or ""
    assert PRODUCTS[NAME].derivation(opened, bundle).resources == {}
    networks = loaded_translator(opened.storage, bundle_key(NAME, bundle)).translator.networks
    assert {str(value.device) for one in networks for member in one.members for value in member.parameters()} == {"cpu"}


def test_common_stars_are_those_of_a_plain_join(labelled: Path) -> None:
    opened = lake.open(labelled)
    rows = overlap(opened, DR3)
    galah, apogee = (opened.table(name).to_dask(["teff", "radial_velocity"]).compute() for name in ("galah_dr3", "apogee_dr17"))
    wanted = galah.join(apogee, how="inner", suffixes=("_from", "_to")).sort_index()
    assert rows["source_id"].to_pylist() == wanted.index.tolist()
    assert len(rows) > 200
    for column, other in (("from_teff", "teff_from"), ("to_radial_velocity", "radial_velocity_to")):
        assert rows[column].to_pylist() == wanted[other].array.__arrow_array__().to_pylist()
    mags = opened.table("gaia_dr3_source").select(wanted.index.to_numpy(), ["phot_g_mean_mag"])
    assert rows["phot_g_mean_mag"].to_pylist() == mags["phot_g_mean_mag"].array.__arrow_array__().to_pylist()
    assert rows["phot_g_mean_mag_error"].null_count < len(rows)


def test_translated_labels_do_not_depend_on_the_partitioning(labelled: Path) -> None:
    opened = lake.open(labelled)
    join = translated_rows(opened, DR3)
    at_once = pa.concat_tables([join.read_leaf(leaf) for leaf in range(len(join.grid))]).combine_chunks()
    bundle = loaded_translator(opened.storage, bundle_key(NAME, current_bundle(opened.storage, NAME) or ""))
    whole = translate(at_once, bundle.translator, realisations=REALISATIONS)
    stored = opened.table(NAME).select(at_once["source_id"].to_numpy())
    for name in ("teff_p05", "logg_p50", "metallicity_p84", "mg_fe_systematic", "velocity_p95"):
        held, other = (
            np.array(values, dtype=float) for values in (stored[name].to_numpy(na_value=np.nan), whole[name].to_numpy())
        )
        assert np.array_equal(np.isnan(held), np.isnan(other))
        assert np.nanmax(np.abs(held - other)) <= 1e-5 * max(1.0, np.nanmax(np.abs(other)))
    assert stored["translator_reasons"].tolist() == whole["translator_reasons"].to_pylist()


def test_a_star_without_a_label_of_its_own_has_none_translated(labelled: Path) -> None:
    opened = lake.open(labelled)
    columns = {"galah_dr3": ["mg_fe"], NAME: ["mg_fe_p50", "teff_p50", "intrinsic_input_missing"]}
    frame = opened.join(["galah_dr3", NAME], columns=columns).compute()
    without = frame["mg_fe"].isna()
    assert without.any()
    assert frame.loc[without, "mg_fe_p50"].isna().all()
    assert frame.loc[without, "intrinsic_input_missing"].all()
    assert frame.loc[~without, "mg_fe_p50"].notna().all()


def test_training_again_finds_the_bundle_and_mapping_again_does_nothing(labelled: Path, capsys) -> None:
    bundle, trained = train(lake.open(labelled), NAME, preset="debug", run=in_process)
    assert (bundle, trained) == (current_bundle(lake.open(labelled).storage, NAME), False)
    assert run(labelled, "predict", "translator", NAME, "--profile", "serial", "--dry-run") == 0
    assert f"would build {NAME} with version {bundle}" in capsys.readouterr().out
    assert run(labelled, "nightly", "--profile", "serial") == 3


def test_another_preset_or_other_tables_make_another_bundle(labelled: Path) -> None:
    opened = lake.open(labelled)
    assert training_id(opened, NAME, "debug") != training_id(opened, NAME, "small")
    assert training_id(opened, NAME, "debug") == current_bundle(opened.storage, NAME)
    with pytest.raises(LakeError, match="no preset 'huge'; there are debug"):
        training_id(opened, NAME, "huge")


def test_a_translation_whose_tables_are_not_there_names_them(labelled: Path, capsys) -> None:
    assert run(labelled, "train", "translator", "galah_dr4_on_apogee_dr17", "--profile", "serial") == 1
    assert "not published in this lake: galah_dr4" in capsys.readouterr().err


def test_words_of_the_command_line_name_translations() -> None:
    assert sorted(named(["translator"])) == sorted(TRANSLATIONS)
    with pytest.raises(LakeError, match="no translation 'gaia'; there are galah_dr3_on_apogee_dr17"):
        named(["translator", "gaia"])
    with pytest.raises(LakeError, match="no model 'gpt'"):
        named(["gpt"])


def test_a_table_in_another_unit_is_refused(labelled: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(labelled, tmp_path / "copy"))
    opened = lake.open(folder)
    path = folder / opened.published["galah_dr3"]
    held = json.loads(path.read_text())
    for one in held["columns"]:
        if one["name"] == "teff":
            one["unit"] = "kK"
    path.chmod(0o644)
    path.write_text(json.dumps(held))
    with pytest.raises(LakeError, match="reads teff of galah_dr3 in K, it is in kK"):
        overlap(lake.open(folder), DR3)


def test_too_few_common_stars_are_counted_by_reason(labelled: Path, monkeypatch) -> None:
    import jobs.translating

    monkeypatch.setattr(jobs.translating, "overlap", lambda where, translation, run: overlap(where, translation).slice(0, 60))
    with pytest.raises(LakeError, match="training of apogee_dr17_on_galah_dr3 failed.*of 60 common stars"):
        train(lake.open(labelled), "apogee_dr17_on_galah_dr3", preset="debug", run=in_process)


def test_of_several_translations_those_are_trained_and_mapped_that_can_be_and_the_others_are_named(labelled, capsys) -> None:
    names = ["galah_dr4_on_apogee_dr17", NAME, "lamost_dr8_on_apogee_dr17"]
    for flags in (["--dry-run"], []):
        assert run(labelled, "train", "translator", *names, "--preset", "debug", "--profile", "serial", *flags) == 1
        shown = capsys.readouterr()
        assert f"bundle {current_bundle(lake.open(labelled).storage, NAME)}" in shown.out
        assert "2 of 3 failed" in shown.err
        assert "not published in this lake: galah_dr4" in shown.err
        assert "not published in this lake: lamost_dr8" in shown.err
    assert run(labelled, "predict", "translator", "--profile", "serial") == 1
    shown = capsys.readouterr()
    assert f"{NAME}: all its partitions are there already" in shown.out
    assert "3 of 4 failed" in shown.err


def test_a_night_that_is_to_train_what_cannot_be_trained_says_so_and_is_no_success(tmp_path, labelled, capsys) -> None:
    folder = Path(shutil.copytree(labelled, tmp_path / "copy"))
    words = ["--train", "lamost_dr8_on_apogee_dr17", "--train", NAME, "--profile", "serial"]
    assert run(folder, "nightly", *words) == 1
    said = capsys.readouterr().err
    assert "lamost_dr8_on_apogee_dr17 is trained on" in said
    assert "not published in this lake: lamost_dr8" in said


def test_every_translation_may_be_trained_in_a_night_beside_other_models(labelled: Path, capsys) -> None:
    assert run(labelled, "nightly", "--train", "xp_mae", "--train", "translator", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "train xp_mae" in said
    assert "train galah_dr4_on_apogee_dr17 once galah_dr4 is published" in said


def test_a_damaged_bundle_is_trained_anew(tmp_path, labelled, capsys) -> None:
    folder = Path(shutil.copytree(labelled, tmp_path / "copy"))
    bundle = current_bundle(lake.open(folder).storage, NAME) or ""
    weights = folder / bundle_key(NAME, bundle) / "weights.safetensors"
    sound = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(sound[:-1])
    assert train(lake.open(folder), NAME, preset="debug", run=in_process) == (bundle, True)
    assert "its bundle is damaged, so it is trained anew" in capsys.readouterr().out
    assert len(weights.read_bytes()) == len(sound)
    assert train(lake.open(folder), NAME, preset="debug", run=in_process) == (bundle, False)


def test_status_tells_which_translator_learnt_on_tables_that_were_replaced_since(labelled: Path, capsys) -> None:
    opened = lake.open(labelled)
    (sound,) = current_bundles(opened)
    assert (sound["model"], sound["preset"], sound["replaced"], sound["damage"]) == (NAME, "debug", [], None)
    later = replace(opened, published={**opened.published, "galah_dr3": "tables/galah_dr3/0123456789abcdef.json"})
    (old,) = current_bundles(later)
    assert old["replaced"] == ["galah_dr3"]
    show_status(make_status(opened) | {"bundles": [old]})
    assert f"it learnt on former builds of galah_dr3: `gaialake train {NAME}` learns anew" in capsys.readouterr().out


def test_a_changed_file_of_gaia_makes_only_those_partitions_of_labels_anew_that_it_touches_as_planned(
    tmp_path: Path, labelled: Path
) -> None:
    folder = Path(shutil.copytree(labelled, tmp_path / "copy"))
    file = sorted((folder / "raw" / "gaia_dr3_source").glob("*.csv.gz"))[2]
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1))
    planned = {one.table: one for one in whole_plan(lake.open(folder))}
    assert run(folder, "nightly", "--profile", "serial") == 0
    for name in (NAME, LABELLED):
        manifest = lake.open(folder).table(name).manifest
        assert planned[name].build == manifest.build
        new = {part.first for part in manifest.partitions if f"/{manifest.build}/" in (part.key or "")}
        assert new == {part.first for part in planned[name].stale}
        assert 0 < len(new) < len(manifest.partitions)
    assert run(folder, "nightly", "--profile", "serial") == 3
