"""The command line: what it accepts, what it says, and its exit codes."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lake
from jobs.cli import main
from lake.survey import surveys


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_surveys_lists_every_declaration_on_a_line_of_its_own(capsys) -> None:
    assert run("surveys") == 0
    lines = capsys.readouterr().out.splitlines()
    for name, declared in surveys().items():
        line = next(one for one in lines if one.split()[:1] == [name])
        assert declared.title in line  # brackets such as those of [mag] as well
        assert declared.release in line
        credit = [one for one in lines if one.split()[:1] == [name]][1]
        # Long ones are folded.
        assert declared.citation[:60] in credit
        assert declared.licence[:60] in credit
    assert "1,811,709,771" in "".join(lines)


@pytest.mark.parametrize("name", list(surveys()))
def test_surveys_shows_all_of_one(name: str, capsys) -> None:
    assert run("surveys", name) == 0
    said = " ".join(capsys.readouterr().out.split())
    declared = surveys()[name]
    for text in (declared.citation, declared.licence, declared.source, *declared.tables, *declared.every_column):
        assert " ".join(text.split()) in said
    for bits in declared.flags.values():
        assert all(f"{at} {bit}" in said for bit, at in bits.items())


def test_surveys_says_units_bits_masks_and_what_the_files_call_a_column(capsys) -> None:
    assert run("surveys", "unwise_neo6", "gaia_dr3_xp") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "position, 0.5 arcsec at 2016" in said
    assert "left out unwise_primary below 1" in said
    assert "unwise_flags_w1, unwise_flags_w2 has GHOST or FIRST_LATENT or SECOND_LATENT: unwise_w1_flux" in said
    assert "unwise_flags_w1, unwise_flags_w2 = 0 BRIGHT_STAR, 1 DIFFRACTION_SPIKE" in said
    assert "unwise_w2_flux float flux[1] unWISE flux in W2 [Vega nanomaggies: 22.5 mag is 1]" in said
    assert "object_ra double deg ra" in said
    assert "gaia_dr3_xp_correlations" in said
    assert run("surveys", "gaia_dr5") == 1
    assert "no survey 'gaia_dr5'" in capsys.readouterr().err


def test_init_lays_out_the_dr3_grid_unless_another_is_asked_for(tmp_path: Path, capsys) -> None:
    assert run("init", str(tmp_path / "a")) == 0
    assert len(lake.open(tmp_path / "a").grid) == 3324
    assert run("init", str(tmp_path / "b"), "--grid", "uniform:1") == 0
    assert len(lake.open(tmp_path / "b").grid) == 48
    assert run("init", str(tmp_path / "b"), "--grid", "uniform:2") == 1
    assert "needs another folder" in capsys.readouterr().err
    assert len(lake.open(tmp_path / "b").grid) == 48


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--grid", "hexagons"], "uniform:ORDER"),
        (["--grid", "uniform:9"], "between 0 and 8"),
        (["--counts", "absent.csv"], "pixel8,rows"),
        (["--release", "dr9"], "no grid for release 'dr9'"),
    ],
)
def test_init_says_which_grids_there_are(tmp_path: Path, capsys, flags: list[str], said: str) -> None:
    assert run("init", str(tmp_path / "lake"), *flags) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


def test_an_unknown_survey_is_answered_with_those_that_exist(tmp_path: Path, capsys) -> None:
    assert run("--lake", str(tmp_path / "lake"), "ingest", "gaia_dr4_xp", "--raw", str(tmp_path)) == 1
    assert "declared are: apogee_astronn_dr17, apogee_dr17" in capsys.readouterr().err


def test_without_a_lake_the_flag_is_asked_for(capsys, monkeypatch) -> None:
    monkeypatch.delenv("GAIALAKE", raising=False)
    assert run("status") == 1
    assert "--lake DIR" in capsys.readouterr().err


def test_a_folder_of_something_else_is_not_made_a_lake(tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.tex").write_text("not a lake")
    assert run("--lake", str(tmp_path), "ingest", "gaia_dr3_xp", "--raw", str(tmp_path)) == 1
    assert "neither a lake nor empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_ingest_reads_files_of_any_name_and_folders_by_name(tmp_path: Path, sky, capsys) -> None:
    folder = tmp_path / "lake"
    odd = tmp_path / "download.bin"
    odd.write_bytes(sky.files["catwise_andrae2023"][0].read_bytes())
    assert run("--lake", str(folder), "ingest", "catwise_andrae2023", "--raw", str(odd), "--profile", "serial") == 0
    said = capsys.readouterr().out
    assert "made a lake" in said
    assert f"{sky.rows['catwise_andrae2023']:,} rows in" in said
    assert run("--lake", str(folder), "ingest", "gaia_dr3_source", "--raw", str(odd.parent / "lake"), "--profile", "serial") == 1
    assert "no file of gaia_dr3_source by its name" in capsys.readouterr().err


def test_check_then_publish_make_the_tables_visible(tmp_path: Path, sky, capsys) -> None:
    folder = str(tmp_path / "lake")
    files = [str(file) for file in sky.files["gaia_dr3_xp"]]
    assert run("--lake", folder, "ingest", "gaia_dr3_xp", "--raw", *files, "--profile", "serial") == 0
    assert lake.open(folder).names == []
    assert run("--lake", folder, "publish") == 1
    assert "run `gaialake" in capsys.readouterr().err
    assert run("--lake", folder, "publish", "--dry-run") == 0
    assert "not checked" in capsys.readouterr().out
    assert run("--lake", folder, "check") == 0
    assert run("--lake", folder, "publish") == 0
    assert lake.open(folder).names == ["gaia_dr3_xp", "gaia_dr3_xp_correlations"]
    assert run("--lake", folder, "check", "--deep") == 0
    assert run("--lake", folder, "plan") == 0
    assert "fresh" in capsys.readouterr().out


def test_check_deep_finds_a_flipped_byte_in_a_published_file(new_lake, capsys) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert run("--lake", str(folder), "nightly", "--profile", "serial") == 0
    key = next(part.key for part in lake.open(folder).table("catwise_andrae2023").manifest.partitions if part.key)
    (folder / key).chmod(0o644)
    held = bytearray((folder / key).read_bytes())
    held[len(held) // 2] ^= 1
    (folder / key).write_bytes(held)
    assert run("--lake", str(folder), "check", "--deep") == 1
    assert f"{key}: its content changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: gzip.compress(text)[:-900], "truncated"),
        (lambda text: b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>", "holds a page, not a table"),
        (lambda text: gzip.compress(text.replace(b"Gaia DR3 ", b"Gaia DR2 ")), "shows another release"),
        (
            lambda text: gzip.compress(
                text.replace(b"parallax,", b"parallaxe,", 1).replace(b"name: parallax\n", b"name: parallaxe\n")
            ),
            "required column parallax",
        ),
    ],
)
def test_a_bad_file_in_a_night_is_named_and_the_published_lake_still_opens(new_lake, capsys, damage, said: str) -> None:
    folder = new_lake(surveys=("gaia_dr3_source",))
    assert run("--lake", str(folder), "nightly", "--profile", "serial") == 0
    rows = lake.open(folder).table("gaia_dr3_source").rows
    file = max((folder / "raw" / "gaia_dr3_source").glob("*.csv.gz"), key=lambda one: one.stat().st_size)
    file.write_bytes(damage(gzip.decompress(file.read_bytes())))
    assert run("--lake", str(folder), "nightly", "--profile", "serial") == 1
    error = capsys.readouterr().err
    assert said in error
    assert file.name in error
    assert len(lake.open(folder).table("gaia_dr3_source").to_dask(["ra"]).compute()) == rows


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_unwritable_lake_is_an_error_of_one_line(new_lake) -> None:
    folder, other = new_lake("lake", ("catwise_andrae2023",)), new_lake("other", ("catwise_andrae2023",))
    for parent in [folder, *folder.parents]:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    # The first night, as root, imports all that the second needs: the interpreter itself may lie where only root reads.
    code = f"""
import os, sys
from jobs.cli import main
from lake.survey import surveys
assert main(["--lake", {str(other)!r}, "nightly", "--profile", "serial"]) == 0
os.setuid(65534)
sys.exit(main(["--lake", {str(folder)!r}, "nightly", "--profile", "serial"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "is not writable for this user" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_hides_a_package_is_named(monkeypatch, capsys) -> None:
    import types

    monkeypatch.setitem(sys.modules, "models", types.SimpleNamespace(__file__=None, __path__=["/somewhere/models"]))
    assert run("surveys") == 1
    assert "hides the package" in capsys.readouterr().err


def test_train_and_predict_say_what_is_missing(new_lake, capsys) -> None:
    folder = str(new_lake(surveys=("catwise_andrae2023",)))
    assert run("--lake", folder, "train", "xp_mae") == 1
    assert "xp_mae is trained on gaia_dr3_xp; not published in this lake: gaia_dr3_xp" in capsys.readouterr().err
    assert run("--lake", folder, "train", "gpt") == 1
    assert "no model 'gpt'" in capsys.readouterr().err
    assert run("--lake", folder, "predict", "xp_mae") == 1
    assert "was never trained in this lake; run" in capsys.readouterr().err


def test_predict_names_the_bundles_that_exist(published: Path, capsys) -> None:
    assert run("--lake", str(published), "predict", "xp_mae", "--bundle", "0000") == 1
    said = capsys.readouterr().err
    assert "no bundle '0000'; there are" in said
    assert lake.open(published).table("predictions_xp_mae").manifest.made_of["bundle"] in said


def test_a_damaged_bundle_is_refused_by_predict(published: Path, tmp_path: Path, capsys) -> None:
    import shutil

    folder = tmp_path / "lake"
    shutil.copytree(published, folder)
    bundle = lake.open(folder).table("predictions_xp_mae").manifest.made_of["bundle"]
    weights = folder / "models" / "xp_mae" / bundle / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert run("--lake", str(folder), "predict", "xp_mae", "--profile", "serial") == 1
    assert "weights.safetensors" in capsys.readouterr().err


def states(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--dry-run"],
        ["check", "--deep", "--dry-run"],
        ["publish", "--dry-run"],
        ["ingest", "gaia_dr3_source", "--dry-run"],
        ["plan"],
        ["status"],
        ["nightly", "--dry-run"],
        ["train", "xp_mae", "--dry-run"],
        ["predict", "xp_mae", "--dry-run"],
    ],
    ids=" ".join,
)
def test_a_dry_run_writes_nothing_even_where_raw_files_are_not_hashed(published: Path, tmp_path: Path, arguments) -> None:
    import shutil

    folder = tmp_path / "lake"
    shutil.copytree(published, folder)
    for ledger in (folder / "raw").glob("*.json"):
        ledger.unlink()
    before = states(folder)
    assert run("--lake", str(folder), *arguments) == 0
    assert states(folder) == before


def test_replace_needs_paths(new_lake, capsys) -> None:
    assert run("--lake", str(new_lake(surveys=("catwise_andrae2023",))), "ingest", "catwise_andrae2023", "--replace") == 1
    assert "needs --raw PATH" in capsys.readouterr().err


def test_check_and_publish_name_tables_that_are_stale(new_lake, capsys) -> None:
    folder = str(new_lake(surveys=("catwise_andrae2023",)))
    assert run("--lake", folder, "check", "--profile", "serial") == 0
    assert "catwise_andrae2023: stale" in capsys.readouterr().out


def test_the_demo_asks_for_stars_enough_and_does_not_mix_skies(tmp_path: Path, capsys) -> None:
    assert run("demo", "--dir", str(tmp_path / "d"), "--stars", "0") == 1
    assert "100 stars or more" in capsys.readouterr().err
    assert run("init", str(tmp_path / "e"), "--counts", "x", "--leaf-rows", "0") == 1
    assert "at least one row" in capsys.readouterr().err
