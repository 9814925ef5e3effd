"""Labels of all surveys combined as a table of the lake, the fine-tune table on it, its split and frozen test stars."""

import shutil
from dataclasses import replace
from pathlib import Path

import dask
import intake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.homogenising
import lake
from jobs.cli import main
from jobs.homogenising import verify_split
from jobs.products import PRODUCTS, product
from jobs.show_plan import whole_plan
from jobs.why import why_predicted
from lake.columns.homogenised import SOURCES
from lake.errors import LakeError
from lake.finetune import FINETUNE_COLUMNS, LABELLED, TARGETS
from lake.history import published_before
from lake.pretrain import WIDE
from lake.split import FROZEN, frozen, leaks, split_of
from lake.storage import Storage
from tests.jobs.conftest import nightly

TRANSLATED = "galah_dr3_on_apogee_dr17"


def ids_of(opened: lake.Lake, name: str) -> set[int]:
    return set(opened.table(name).to_dask([]).compute().index)


@pytest.fixture
def copy(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled, tmp_path / "copy"))


def test_combined_labels_hold_every_star_of_any_label_table_once(labelled: Path) -> None:
    opened = lake.open(labelled)
    table = opened.table(LABELLED)
    names = ("apogee_dr17", "galah_dr3", "galah_dr3_on_apogee_dr17", "spectrotranslator_g2a")
    everyone = set.union(*(ids_of(opened, name) for name in names))
    assert ids_of(opened, LABELLED) == everyone
    account = table.manifest.account
    assert account["in"] == account["out"] + sum(account["dropped"].values())
    assert set(table.manifest.made_of) >= {"apogee_dr17", "galah_dr3", "galah_dr3_on_apogee_dr17", "rules"}


def test_a_star_of_two_surveys_has_both_in_its_bits_and_each_value_kept(labelled: Path) -> None:
    frame = lake.open(labelled).table(LABELLED).to_dask().compute()
    both = frame["teff_sources"] == (1 << 0 | 1 << tuple(SOURCES).index("galah_dr3"))
    assert both.sum() > 30
    held = frame[both]
    assert (held["teff_n_sources"] == 2).all()
    assert held["teff_chi2"].notna().all()
    low, high = held[["teff_apogee_dr17", "teff_galah_dr3"]].min(axis=1), held[["teff_apogee_dr17", "teff_galah_dr3"]].max(axis=1)
    assert ((held["teff"] >= low - 0.1) & (held["teff"] <= high + 0.1)).all()
    assert (held["teff_apogee_dr17_correction"] == 0).all()
    assert held["teff_galah_dr3_correction"].abs().median() > 1.0


def test_translation_brings_the_two_surveys_closer(labelled: Path) -> None:
    frame = lake.open(labelled).table(LABELLED).to_dask().compute()
    pair = frame[["m_h_apogee_dr17", "m_h_galah_dr3", "m_h_galah_dr3_correction"]].dropna().astype(float)
    after = pair["m_h_galah_dr3"] - pair["m_h_apogee_dr17"]
    before = after - pair["m_h_galah_dr3_correction"]
    assert len(pair) > 100
    assert abs(after.median()) < 0.5 * abs(before.median())


def test_the_fine_tune_table_is_lazy_and_has_the_promised_columns(labelled: Path) -> None:
    opened = lake.open(labelled)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        frame = opened.finetune().to_dask()
        wide = intake.open_catalog(str(labelled / "catalog.yaml"))["finetune"](wide=True).to_dask()
    assert tuple(frame.columns) == FINETUNE_COLUMNS
    assert FINETUNE_COLUMNS[: len(TARGETS)] == TARGETS
    assert frame.known_divisions
    begins = [
        "teff",
        "e_teff",
        "logg",
        "e_logg",
        "fe_h",
        "e_fe_h",
        "alpha",
        "e_alpha",
        "age",
        "e_age",
        "W1",
        "W2",
        "G",
        "BP",
        "RP",
    ]
    assert list(wide.columns[: len(begins)]) == begins
    assert {"bp_55", "rpe_1", "spec_source", "split", "teff_sources"} <= set(wide.columns)
    assert [name for name in WIDE.values() if not name.endswith("_") and name not in wide.columns] == []


def test_the_fine_tune_table_holds_the_stars_with_spectrum_and_label_with_the_columns_of_pretraining(labelled: Path) -> None:
    opened = lake.open(labelled)
    frame, wide = opened.finetune().to_dask().compute(), opened.finetune(wide=True).to_dask().compute()
    labels = opened.table(LABELLED).to_dask(["teff", "logg", "m_h", "mg_fe", "age"]).compute()
    wanted = set(labels.index[labels.notna().any(axis=1)]) & ids_of(opened, "gaia_dr3_xp")
    assert set(frame.index) == wanted
    assert frame.index.tolist() == wide.index.tolist() == sorted(wanted)
    pretrain = opened.pretrain().to_dask().compute().loc[frame.index]
    assert frame["phot_g_mean_mag"].equals(pretrain["phot_g_mean_mag"])
    first = pa.array(pretrain["rp_coefficients"].array.__arrow_array__()).to_pylist()[0]
    assert wide["rp_1"].iloc[0] == first[0]
    assert frame["teff"].equals(wide["teff"].rename("teff"))
    assert set(wide["spec_source"].unique()) >= {"apogee_dr17", "galah_dr3"}


def test_stars_are_split_by_patches_of_the_sky_and_test_stars_are_frozen(labelled: Path) -> None:
    opened = lake.open(labelled)
    rows = opened.table(LABELLED).to_dask(["split"]).compute()
    ids, split = rows.index.to_numpy(), pa.array(rows["split"].array.__arrow_array__())
    assert leaks(ids, split) == []
    kept = frozen(opened.storage)
    assert kept is not None
    assert set(kept.tolist()) == set(ids[np.array(split.to_pylist()) == "test"].tolist())
    assert set(opened.finetune().to_dask()["split"].compute().unique()) == {"train", "validation", "test"}


def test_a_star_that_comes_after_the_freeze_is_neither_trained_on_nor_tested_on(copy: Path) -> None:
    opened = lake.open(copy)
    kept = frozen(opened.storage)
    late = [int(one) for one in opened.finetune().to_dask().compute().index if int(one) in set(kept.tolist())][0]
    pq.write_table(pa.table({"source_id": kept[kept != late]}), copy / FROZEN)
    again = lake.open(copy).finetune().to_dask()["split"].compute()
    assert again.loc[late] == "reserve"


def test_a_split_that_leaks_fails_the_build_and_nothing_is_published(copy: Path, monkeypatch, capsys) -> None:
    before = lake.open(copy).published[LABELLED]
    leaky = lambda ids: pa.array(np.where(np.arange(len(ids)) % 2, "train", "test"))  # noqa: E731
    monkeypatch.setattr(jobs.homogenising, "split_of", leaky)
    wanted = product(LABELLED)
    changed = {**PRODUCTS, LABELLED: replace(wanted, rules="0000000000000000")}
    for module in ("jobs.products", "jobs.model_steps", "jobs.forecast", "jobs.commands"):
        monkeypatch.setattr(f"{module}.PRODUCTS", changed)
    assert nightly(copy) == 1
    said = capsys.readouterr().err
    assert "HEALPix pixels of level 5 are in two splits" in said
    assert lake.open(copy).published[LABELLED] == before


def test_a_frozen_test_star_that_another_rule_would_train_on_is_found(labelled: Path, monkeypatch) -> None:
    opened = lake.open(labelled)
    assert verify_split(opened, opened.table(LABELLED)).problems == ()
    monkeypatch.setattr(jobs.homogenising, "split_of", lambda ids: split_of(ids, seed=7))
    (problem,) = verify_split(opened, opened.table(LABELLED)).problems
    assert "frozen test stars would now be" in problem


def test_without_labels_or_spectra_there_is_no_fine_tune_table(new_lake) -> None:
    folder = new_lake(surveys=("gaia_dr3_source", "catwise_andrae2023"))
    assert nightly(folder) == 0
    with pytest.raises(LakeError, match=f"needs {LABELLED}.*`gaialake predict {LABELLED}`"):
        lake.open(folder).finetune()
    assert main(["--lake", str(folder), "predict", LABELLED, "--profile", "serial"]) == 1


def test_a_freeze_that_a_kill_prevented_is_made_up_for_by_the_next_night_with_nothing_else_to_do(copy: Path) -> None:
    before = frozen(lake.open(copy).storage)
    (copy / FROZEN).unlink()
    assert nightly(copy) == 3
    np.testing.assert_array_equal(frozen(lake.open(copy).storage), before)


def test_publishing_what_was_published_before_makes_up_for_the_freeze_as_well(copy: Path) -> None:
    (copy / FROZEN).unlink()
    assert main(["--lake", str(copy), "predict", LABELLED, "--profile", "serial"]) == 0
    assert frozen(lake.open(copy).storage) is not None


def test_a_plan_says_of_products_what_changed_and_takes_neither_rules_nor_base_for_tables(labelled: Path) -> None:
    opened = lake.open(labelled)
    latest = {name: opened.table(name).manifest for name in (LABELLED, TRANSLATED)}
    for name, manifest in latest.items():
        tables = {one: build for one, build in manifest.made_of.items() if one in opened.published}
        assert why_predicted(manifest.declaration, opened.grid, tables, manifest) == []
        assert why_predicted("other", opened.grid, tables, manifest) == [
            f"{'its rules' if name == LABELLED else 'the model bundle'} changed: {manifest.declaration} -> other"
        ]


def test_what_a_roll_back_took_back_is_published_again_at_once_with_all_that_was_made_of_it(copy: Path, capsys) -> None:
    last = lake.open(copy).published
    assert {TRANSLATED, LABELLED} <= set(last)
    serials = sorted(published_before(Storage.at(copy)))
    first = next(one for one in serials if LABELLED not in published_before(Storage.at(copy))[one]["sources"])
    assert main(["--lake", str(copy), "rollback", "--to", str(first)]) == 0
    assert not {TRANSLATED, LABELLED} & set(lake.open(copy).published)
    assert main(["--lake", str(copy), "publish"]) == 0
    assert "a roll-back took this build back" in capsys.readouterr().out
    assert main(["--lake", str(copy), "publish", "--held"]) == 0
    assert lake.open(copy).published == last
    assert nightly(copy) == 3


def test_a_plan_expects_as_many_combined_rows_as_were_made_and_before_that_no_fewer_than_any_table_has(
    copy: Path, monkeypatch
) -> None:
    rows = lake.open(copy).table(LABELLED).rows
    most = max(lake.open(copy).table(name).rows for name in ("apogee_dr17", "galah_dr3", TRANSLATED, "spectrotranslator_g2a"))
    changed = {**PRODUCTS, LABELLED: replace(product(LABELLED), rules="0000000000000000")}
    monkeypatch.setattr("jobs.forecast.PRODUCTS", changed)
    planned = {one.table: one for one in whole_plan(lake.open(copy))}[LABELLED]
    assert planned.rows == pytest.approx(rows, rel=0.01)
    for path in (copy / "tables").glob(f"{LABELLED}/*.json"):
        path.unlink()
    planned = {one.table: one for one in whole_plan(lake.open(copy))}[LABELLED]
    assert planned.rows == pytest.approx(most, rel=0.01)


def test_values_that_are_in_no_mean_are_counted_by_reason(labelled: Path) -> None:
    masked = lake.open(labelled).table(LABELLED).manifest.masked
    frame = lake.open(labelled).table(LABELLED).to_dask(["teff_galah_dr3", "teff_sources"]).compute()
    bit = 1 << tuple(SOURCES).index("galah_dr3")
    unused = frame["teff_galah_dr3"].notna().to_numpy() & (frame["teff_sources"].to_numpy(np.int64) & bit == 0)
    assert sum(count for reason, count in masked.items() if reason.startswith("teff galah_dr3: ")) == unused.sum() > 0
