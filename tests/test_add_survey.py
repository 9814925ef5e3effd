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


MATCHED = '''
"""Declare made-up photometry without source_id: where objects are, which flags condemn a band, what proves the match."""

from lake.declaration import Mask, Position, Raw, Relation, Where
from lake.survey import Survey

SURVEY = Survey(
    name="madeup_sky_dr1",
    title="A made-up sky survey",
    release="1",
    kind="photometry",
    citation="nobody",
    licence="CC0",
    source="https://example.org",
    patterns=("madeup_sky_*.csv",),
    dialects=("archive_csv", "fits"),
    columns={
        "object_ra": Raw("RA"),
        "object_dec": Raw("DEC"),
        "catwise_w1_mag": Raw("W1"),
        "random_index": Raw("FLAGS"),
    },
    match=Position(epoch=2010.0, radius=1.0),
    flags={"random_index": {"SATURATED": 4}},
    masks=(Mask(("catwise_w1_mag",), Where("random_index", bits=("SATURATED",))),),
    duplicates="best",
    relations=(Relation("catwise_w1_mag", against=("phot_g_mean_mag",), tolerance=2.0, scatter=0.8),),
)
'''


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """A small SYNTHETIC sky of Gaia sources."""
    from jobs.sky import make_sky

    return make_sky(tmp_path_factory.mktemp("stars") / "raw", stars=300, names=["gaia_dr3_source"])


def _observed(stars, path: Path, *, shifted: bool = False) -> Path:
    """Write the made-up survey's file: the stars at its epoch, bright in W1 as they are in G, every tenth saturated."""
    import numpy as np

    from lake.conform import conform
    from lake.crossmatch import moved
    from lake.readers import read
    from lake.survey import survey

    declared = survey("gaia_dr3_source")
    lines = ["RA,DEC,W1,FLAGS"]
    for file in stars.files["gaia_dr3_source"]:
        for batch in read(file, declared):
            rows = conform(batch, declared, file).table
            ra, dec, pmra, pmdec, g = (
                rows[name].to_numpy(zero_copy_only=False) for name in ("ra", "dec", "pmra", "pmdec", "phot_g_mean_mag")
            )
            there = moved(ra, dec, pmra, pmdec, 2010.0 - 2016.0)
            lon, lat = np.degrees(np.arctan2(there[:, 1], there[:, 0])) % 360, np.degrees(np.arcsin(there[:, 2]))
            w1 = np.roll(g, 1) - 1.5 if shifted else g - 1.5
            seen = zip(lon.tolist(), lat.tolist(), w1.tolist(), strict=True)
            lines += [f"{a!r},{d!r},{m:.4f},{16 if k % 10 == 0 else 0}" for k, (a, d, m) in enumerate(seen)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_one_file_declares_a_survey_that_is_matched_by_position_masked_and_verified(declare, stars, tmp_path) -> None:
    declare("madeup_sky_dr1", MATCHED)
    folder = tmp_path / "lake"
    assert main(["init", str(folder), "--counts", str(stars.counts), "--leaf-rows", "20"]) == 0
    raw = _observed(stars, tmp_path / "a.csv")
    for name, paths in (("gaia_dr3_source", stars.files["gaia_dr3_source"]), ("madeup_sky_dr1", [raw])):
        assert main(["--lake", str(folder), "ingest", name, "--raw", *map(str, paths), "--profile", "serial"]) == 0
    assert main(["--lake", str(folder), "nightly", "--profile", "serial"]) == 0
    made = lake.open(folder).table("madeup_sky_dr1")
    assert made.rows == 300
    saturated = raw.read_text().count(",16\n")
    assert saturated > 20
    assert made.manifest.masked == {"catwise_w1_mag: random_index has SATURATED": saturated}
    assert made.manifest.checks["relations"][0]["sound"]
    assert made.manifest.checks["matches"]["match_separation_p99"] < 0.01


def test_one_file_of_rows_moved_by_one_is_not_published_whatever_the_survey(declare, stars, tmp_path, capsys) -> None:
    declare("madeup_sky_dr1", MATCHED)
    folder = tmp_path / "lake"
    assert main(["init", str(folder), "--counts", str(stars.counts), "--leaf-rows", "20"]) == 0
    wrong = _observed(stars, tmp_path / "a.csv", shifted=True)
    for name, paths in (("gaia_dr3_source", stars.files["gaia_dr3_source"]), ("madeup_sky_dr1", [wrong])):
        assert main(["--lake", str(folder), "ingest", name, "--raw", *map(str, paths), "--profile", "serial"]) == 0
    assert main(["--lake", str(folder), "nightly", "--profile", "serial"]) == 1
    assert "madeup_sky_dr1: its rows do not belong to their sources" in capsys.readouterr().err
