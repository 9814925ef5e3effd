"""What `catalogs/` keeps in git is what the declarations say."""

import csv
from pathlib import Path

import intake

from lake.catalog import declared_catalog
from lake.survey import surveys

CATALOGS = Path(__file__).parent.parent / "catalogs"


def expected_rows() -> dict[tuple[str, str], int]:
    with (CATALOGS / "expected_rows.csv").open() as file:
        return {(row["lake"], row["table"]): int(row["rows"]) for row in csv.DictReader(file)}


def test_the_catalogue_in_git_is_generated_from_the_declarations() -> None:
    assert (CATALOGS / "gaialake.yaml").read_text() == declared_catalog(), "python -m lake.catalog > catalogs/gaialake.yaml"


def test_the_catalogue_in_git_lists_every_table_without_a_lake() -> None:
    held = intake.open_catalog(str(CATALOGS / "gaialake.yaml"))
    assert set(held) == {table for survey in surveys().values() for table in survey.tables} | {"pretrain", "finetune"}
    assert "mag" in held["gaia_dr3_source"].metadata["columns"]["phot_g_mean_mag"]


def test_expected_rows_are_those_of_the_declarations() -> None:
    published = {("dr3", name): survey.rows for name, survey in surveys().items() if survey.rows is not None}
    assert {key: rows for key, rows in expected_rows().items() if key[0] == "dr3"} == published


def test_the_synthetic_sky_of_the_demo_has_the_expected_rows(tmp_path: Path) -> None:
    from jobs.sky import make_sky

    expected = {table: rows for (name, table), rows in expected_rows().items() if name == "synthetic sky of 50000 stars"}
    # Maps have no rows; their tables have those of gaia_dr3_source.
    made = {name: rows for name, rows in make_sky(tmp_path / "sky", stars=50_000, seed=0).rows.items() if rows}
    assert made == {name: rows for name, rows in expected.items() if name in surveys()}
    assert expected["predictions_xp_mae"] == expected["gaia_dr3_xp"]
