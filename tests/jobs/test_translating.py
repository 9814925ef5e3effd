"""A translation is trained on the stars of two tables, mapped over partitions, and published like any table."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lake
from jobs.cli import main
from jobs.cluster import in_process
from jobs.product import bundle_key, current_bundle
from jobs.products import named
from jobs.training import train, training_id
from jobs.translating import REALISATIONS, columns_of, loaded_translator, overlap, translated_rows
from lake.errors import LakeError
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
    assert named(["translator"]) == list(TRANSLATIONS)
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

    monkeypatch.setattr(jobs.translating, "overlap", lambda where, translation: overlap(where, translation).slice(0, 60))
    with pytest.raises(LakeError, match="training of apogee_dr17_on_galah_dr3 failed.*of 60 common stars"):
        train(lake.open(labelled), "apogee_dr17_on_galah_dr3", preset="debug", run=in_process)
