"""What monitoring reads of the last nightly, as Prometheus itself parses it."""

import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import lake
from jobs.cli import main
from jobs.metrics import exposition


def nightly(folder: Path) -> int:
    return main(["--lake", str(folder), "nightly", "--profile", "serial"])


def metrics(folder: Path) -> dict[tuple[str, str], float]:
    """Return (name, table or nothing) -> value."""
    text = (folder / "reports" / "gaialake.prom").read_text()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for one in family.samples:
            assert one.labels["lake"] == str(folder)
            found[one.name.removeprefix("gaialake_"), one.labels.get("table", "")] = one.value
    return found


def test_a_night_tells_rows_bytes_partitions_and_when_it_succeeded(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    begun = time.time()
    assert nightly(folder) == 0
    held, table = metrics(folder), lake.open(folder).table("catwise_andrae2023")
    assert held["table_rows", "catwise_andrae2023"] == table.rows
    assert held["table_bytes", "catwise_andrae2023"] == table.manifest.bytes
    assert held["table_partitions_made", "catwise_andrae2023"] == len([part for part in table.manifest.partitions if part.key])
    assert (held["table_partitions_kept", "catwise_andrae2023"], held["table_failures", "catwise_andrae2023"]) == (0, 0)
    assert held["table_seconds", "catwise_andrae2023"] > 0
    assert held["nightly_exit_code", ""] == 0
    assert held["nightly_duration_seconds", ""] > 0
    # Records hold whole seconds.
    assert begun - 1 <= held["nightly_last_success_timestamp_seconds", ""] <= time.time()
    assert held["nightly_last_run_timestamp_seconds", ""] == held["nightly_last_success_timestamp_seconds", ""]


def test_nothing_to_do_is_a_success_and_a_failure_keeps_the_time_of_the_last_one(new_lake) -> None:
    folder = new_lake(surveys=("catwise_andrae2023",))
    assert nightly(folder) == 0
    rows = metrics(folder)["table_rows", "catwise_andrae2023"]
    assert nightly(folder) == 3
    held = metrics(folder)
    assert (held["nightly_exit_code", ""], held["table_rows", "catwise_andrae2023"]) == (3, rows)
    file = next((folder / "raw" / "catwise_andrae2023").iterdir())
    file.write_bytes(file.read_bytes()[:3000])
    time.sleep(1.1)
    assert nightly(folder) == 1
    failed = metrics(folder)
    assert failed["nightly_exit_code", ""] == 1
    assert failed["table_failures", "catwise_andrae2023"] == 1
    assert failed["table_rows", "catwise_andrae2023"] == rows, "what is served, whatever became of the new build"
    assert failed["nightly_last_success_timestamp_seconds", ""] == held["nightly_last_success_timestamp_seconds", ""]
    assert failed["nightly_last_run_timestamp_seconds", ""] > held["nightly_last_run_timestamp_seconds", ""]


def test_a_lake_whose_name_holds_quotes_is_spelt_as_prometheus_reads_it() -> None:
    record = {
        "lake": 'a "lake" \\ here',
        "exit_code": 1,
        "seconds": 1.5,
        "ended": "2026-11-21T02:00:00+00:00",
        "last_success": None,
        "tables": {},
    }
    families = list(text_string_to_metric_families(exposition(record, {}).decode()))
    assert {one.labels["lake"] for family in families for one in family.samples} == {'a "lake" \\ here'}
    assert "gaialake_nightly_last_success_timestamp_seconds" not in {family.name for family in families}
