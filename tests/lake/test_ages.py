"""The age of a star: declared rules, their cuts, and errors that a catalogue really gives; all rows are synthetic."""

import numpy as np
import pyarrow as pa
import pytest

from lake.ages import RULES, age_columns, ages_read, choose_ages, refused_ages
from lake.columns import column
from lake.homogenise import COLUMNS_OF

LATENT = {"age": 6.0, "age_error": 1.2, "apogee_starflag": 0, "apogee_aspcapflag": 0}
ASTRONN = {"age": 7.0, "age_error": 1.5}
GIANT = {"logg": 2.4, "m_h": -0.1}


def row(**tables: dict[str, object]) -> pa.Table:
    """Return one joined row with all columns that ages need; what is not named is null."""
    columns = {}
    for table, names in ages_read().items():
        for name in names:
            columns[f"{table}.{name}"] = pa.array([tables.get(table, {}).get(name)], column(name).type)
    return pa.table(columns)


def star(latent: dict | None = None, astronn: dict | None = None, apogee: dict | None = None) -> pa.Table:
    return row(apogee_latent_ages_dr17=latent or {}, apogee_astronn_dr17=astronn or {}, apogee_dr17=apogee or {})


def chosen(table: pa.Table) -> tuple[float | None, float | None, int]:
    made = choose_ages(table)
    return tuple(made[name][0].as_py() for name in ("age", "age_error", "age_source"))


def test_the_latent_age_comes_first_and_both_stand_beside():
    table = star(LATENT, ASTRONN, GIANT)
    made = {name: values[0].as_py() for name, values in choose_ages(table).items()}
    assert tuple(made) == age_columns()
    assert (made["age"], made["age_source"]) == (6.0, 1)
    assert made["age_error"] == pytest.approx(1.2)
    assert (made["age_latent"], made["age_astronn"]) == (6.0, 7.0)
    assert refused_ages(table) == {}


@pytest.mark.parametrize(
    "spoiled",
    [
        {"age_error": 2.41},
        {"age_error": None},
        {"age_error": 0.0},
        {"age_error": -1.0},
        {"apogee_starflag": 16},
        {"apogee_starflag": None},
        {"apogee_aspcapflag": 1 << 35},
        {"age": None},
        {"age": -9999.0},
        {"age": float("nan")},
    ],
)
def test_where_a_cut_refuses_the_latent_age_the_astronn_age_comes(spoiled):
    age, error, source = chosen(star(LATENT | spoiled, ASTRONN, GIANT))
    assert (age, source) == (7.0, 2)
    # The published error is that of the uncorrected age, and the correction stretches it.
    assert error == pytest.approx(1.5 / 0.887)


def test_a_relative_error_just_below_the_cut_is_good():
    assert chosen(star(LATENT | {"age_error": 2.39}))[2] == 1
    assert chosen(star(LATENT | {"age_error": 2.4}))[2] == 0


@pytest.mark.parametrize("apogee", [{"logg": 4.4}, {"logg": 0.8}, {"logg": None}, {"m_h": -1.2}, {"m_h": None}])
def test_astronn_ages_are_for_giants_like_those_that_the_network_learnt_from(apogee):
    table = star(astronn=ASTRONN, apogee=GIANT | apogee)
    assert chosen(table) == (None, None, 0)
    assert choose_ages(table)["age_astronn"][0].as_py() == 7.0
    assert sum(refused_ages(table).values()) == 1


@pytest.mark.parametrize(("age", "error"), [(6.3, 3.9), (7.0, 2.6), (30.0, 2.0), (7.0, None)])
def test_astronn_ages_that_are_uncertain_or_older_than_the_universe_allows_are_refused(age, error):
    table = star(astronn={"age": age, "age_error": error}, apogee=GIANT)
    assert chosen(table) == (None, None, 0)
    assert len(refused_ages(table)) == 1


def test_no_error_is_ever_invented():
    """GALAH's ages have none, so they are not even read; without an error there is no age, and never its square root."""
    assert "age" not in COLUMNS_OF["galah_dr4"]
    assert chosen(star({**LATENT, "age_error": None}, {**ASTRONN, "age_error": None}, GIANT)) == (None, None, 0)
    assert {rule.table for rule in RULES} == {"apogee_latent_ages_dr17", "apogee_astronn_dr17"}


def test_without_the_tables_there_are_no_ages():
    made = choose_ages(pa.table({"source_id": pa.array([1, 2], pa.int64())}))
    assert made["age_source"].to_pylist() == [0, 0]
    assert all(made[name].null_count == 2 for name in age_columns() if name != "age_source")


def test_refused_ages_are_counted_by_reason_once_each():
    rng = np.random.default_rng(3)
    ages = rng.uniform(0.5, 12.0, 500)
    tables = {
        "apogee_latent_ages_dr17": LATENT | {"age": ages, "age_error": ages * rng.uniform(0.1, 0.8, 500)},
        "apogee_astronn_dr17": ASTRONN | {"age": ages, "age_error": ages * rng.uniform(0.1, 0.8, 500)},
        "apogee_dr17": {"logg": rng.uniform(0.0, 5.0, 500), "m_h": rng.uniform(-1.0, 0.4, 500)},
    }
    columns = {}
    for table, names in ages_read().items():
        for name in names:
            value = tables[table][name]
            columns[f"{table}.{name}"] = pa.array(np.broadcast_to(value, 500), column(name).type)
    table = pa.table(columns)
    source = choose_ages(table)["age_source"].to_numpy()
    counts = refused_ages(table)
    assert sum(lost for reason, lost in counts.items() if "latent" in reason) == 500 - (source == 1).sum()
    assert (source == 2).sum() > 0
    assert any("logg below 1.3, above 3.3, absent" in reason for reason in counts)
    ratio = choose_ages(table)["age_error"].to_numpy(zero_copy_only=False) / choose_ages(table)["age"].to_numpy(
        zero_copy_only=False
    )
    assert np.nanmax(ratio) < 0.4 + 1e-6
