"""Exports and validation as the command line asks for them."""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

import lake
from jobs.cli import main
from jobs.exporting import FORMS, export_training, training_join, validate, validate_verb
from lake.errors import LakeError


@pytest.mark.parametrize("form", [form for form in FORMS if form != "hdf5-split"])
def test_the_pretraining_table_is_written_in_every_form_it_has(form, small_lake, tmp_path):
    account = export_training(small_lake, "pretrain", tmp_path / "out", form)
    assert account.rows == small_lake.table("gaia_dr3_xp").rows
    report = validate(str(tmp_path / "out"))
    assert report.rows == account.rows
    # The rows of the small lake are random, so what they say is wrong; ids, columns and files are not.
    about_files = {"opens", "id type", "ids do not ascend", "source twice", "column missing", "column order"}
    assert not about_files & {one.check for one in report.findings}


def test_only_parquet_goes_to_workers(small_lake, tmp_path):
    seen = []

    def run(label, function, tasks):
        seen.append(label)
        return map(function, tasks)

    export_training(small_lake, "pretrain", tmp_path / "parquet", "parquet", run)
    export_training(small_lake, "pretrain", tmp_path / "hdf5", "hdf5", run)
    assert seen == ["export parquet"]


@pytest.mark.parametrize(
    ("which", "form", "said"),
    [
        ("pretrain", "csv", "no form 'csv'"),
        ("pretrained", "parquet", "no training table 'pretrained'"),
        ("pretrain", "hdf5-split", "neither labels nor a split"),
        ("finetune", "hdf5", "homogenised_labels"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is(which, form, said, small_lake, tmp_path):
    with pytest.raises(LakeError, match=said):
        export_training(small_lake, which, tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_the_lake_is_audited_by_its_name_and_errors_give_exit_code_1(small_lake, tmp_path, capsys):
    report = validate("pretrain", small_lake)
    assert report.rows == sum(training_join(small_lake, "pretrain").read_leaf(k).num_rows for k in range(len(small_lake.grid)))
    assert "ids do not ascend" not in {one.check for one in report.findings}
    assert validate_verb(argparse.Namespace(what=str(tmp_path / "nothing"), json=False)) == 1
    assert "nothing is there" in capsys.readouterr().out


def test_a_dataset_of_one_split_without_labels_is_not_asked_for_the_others(small_lake, tmp_path):
    export_training(small_lake, "pretrain", tmp_path / "out", "huggingface")
    assert "split without rows" not in {one.check for one in validate(str(tmp_path / "out")).findings}


def run(folder: Path, *words: str) -> int:
    return main(
        ["--lake", str(folder), *words, "--profile", "serial"] if words[0] == "export" else ["--lake", str(folder), *words]
    )


@pytest.mark.parametrize("form", [form for form in FORMS])
def test_the_fine_tune_table_of_a_lake_is_exported_and_found_sound(form: str, labelled: Path, tmp_path: Path, capsys) -> None:
    assert run(labelled, "export", form, "finetune", "--to", str(tmp_path / "out"), "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    assert run(labelled, "export", form, "finetune", "--to", str(tmp_path / "out")) == 0
    assert f"next: gaialake validate {tmp_path / 'out'}" in capsys.readouterr().out
    assert run(labelled, "validate", str(tmp_path / "out"), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [one for one in report["findings"] if one["level"] == "error"] == []
    assert report["rows"] > 500
    assert run(labelled, "export", form, "finetune", "--to", str(tmp_path / "out")) == 1
    assert "not empty" in capsys.readouterr().err


def test_the_fine_tune_table_of_a_lake_is_sound_by_its_name(labelled: Path, capsys) -> None:
    assert run(labelled, "validate", "finetune") == 0
    assert "0 errors" in capsys.readouterr().out


def test_a_translated_table_goes_out_in_the_layout_of_its_authors_and_astropy_reads_it(labelled: Path, tmp_path: Path) -> None:
    assert run(labelled, "export", "cds", "--to", str(tmp_path / "cds")) == 0
    assert sorted(path.name for path in (tmp_path / "cds").iterdir()) == ["ReadMe", "g2a.dat"]
    held = Table.read(tmp_path / "cds" / "g2a.dat", format="ascii.cds", readme=str(tmp_path / "cds" / "ReadMe"))
    frame = lake.open(labelled).table("galah_dr3_on_apogee_dr17").to_dask(["teff_p50", "sobject_id"]).compute()
    assert held["GaiaDR3"].tolist() == frame.index.tolist()
    assert held["GALAH"].tolist() == frame["sobject_id"].tolist()
    ours = frame["teff_p50"].to_numpy(np.float32, na_value=np.nan)
    theirs = held["Teff50"].astype(np.float32).filled(np.nan)
    assert np.array_equal(theirs, ours, equal_nan=True)


def test_a_table_without_a_layout_of_the_authors_is_refused(labelled: Path, tmp_path: Path, capsys) -> None:
    assert run(labelled, "export", "cds", "apogee_dr17", "--to", str(tmp_path / "cds")) == 1
    assert "apogee_dr17 has no layout of the authors; they published twins of galah_dr3_on_apogee_dr17" in capsys.readouterr().err
    assert run(labelled, "export", "parquet", "--to", str(tmp_path / "out")) == 1
    assert "takes one of pretrain, finetune" in capsys.readouterr().err


def test_a_dry_run_names_what_would_be_written_and_refuses_what_the_run_would(labelled: Path, tmp_path: Path, capsys) -> None:
    held, file = tmp_path / "held", tmp_path / "file"
    held.mkdir()
    (held / "something").touch()
    file.touch()
    assert run(labelled, "export", "cds", "--to", str(tmp_path / "cds"), "--dry-run") == 0
    assert "would write galah_dr3_on_apogee_dr17 in the layout" in capsys.readouterr().out
    for words, said in (
        (("cds", "--to", str(held)), "there and not empty"),
        (("cds", "apogee_dr17_on_galah_dr3", "--to", str(tmp_path / "cds")), "apogee_dr17_on_galah_dr3"),
        (("parquet", "finetune", "--to", str(file)), "there and no folder"),
        (("hdf5-split", "pretrain", "--to", str(tmp_path / "out")), "neither labels nor a split"),
    ):
        assert run(labelled, "export", *words, "--dry-run") == 1
        dry = capsys.readouterr().err
        assert said in dry
        assert run(labelled, "export", *words) == 1
        assert capsys.readouterr().err == dry


def test_workers_write_the_same_files(labelled: Path, tmp_path: Path) -> None:
    assert run(labelled, "export", "parquet", "pretrain", "--to", str(tmp_path / "here")) == 0
    assert main(["--lake", str(labelled), "export", "parquet", "pretrain", "--to", str(tmp_path / "there")]) == 0
    here, there = (sorted(path.name for path in (tmp_path / name).rglob("*.parquet")) for name in ("here", "there"))
    assert here == there
    assert pq.read_table(tmp_path / "here").equals(pq.read_table(tmp_path / "there"))


def test_the_report_of_a_translation_compares_with_the_authors_table(labelled: Path, capsys) -> None:
    assert run(labelled, "report", "translator", "galah_dr3_on_apogee_dr17") == 0
    page = Path(capsys.readouterr().out.strip().removeprefix("galah_dr3_on_apogee_dr17: "))
    text = page.read_text()
    assert "Against the authors" in text
    held = json.loads((page.parent / "report.json").read_text())
    assert held["comparison"]["labels"]["teff"]["difference"]["n"] > 100
    assert text.count("data:image/png;base64,") == 3
