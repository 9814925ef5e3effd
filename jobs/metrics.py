"""Say how the last nightly went in the text format of Prometheus, for the textfile collector of its node exporter."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_TABLE = {
    "rows": "Rows of the published table",
    "bytes": "Bytes of the published table's files",
    "seconds": "Seconds that the last nightly spent on building and checking the table",
    "failures": "Failures of the table in the last nightly",
    "partitions_made": "Partitions that the last nightly's build made anew",
    "partitions_kept": "Partitions that the last nightly's build names again from older builds",
}


def exposition(record: Mapping[str, Any], published: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the metrics of a nightly.

    Parameters
    ----------
    record
        Of the last nightly (see `jobs.night`).
    published
        Table -> metadata of its entry in the catalogue.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, said: str, *labels: str) -> Gauge:
        return Gauge(f"gaialake_{name}", said, ("lake", *labels), registry=registry)

    lake = record["lake"]
    codes = "0 built, 1 failed, 3 nothing to do, 75 overtaken by another writer, 130 stopped"
    gauge("nightly_exit_code", f"Exit code of the last nightly: {codes}").labels(lake).set(record["exit_code"])
    gauge("nightly_duration_seconds", "Duration of the last nightly").labels(lake).set(record["seconds"])
    gauge("nightly_last_run_timestamp_seconds", "When the last nightly ended").labels(lake).set(_epoch(record["ended"]))
    if record["last_success"]:
        at = gauge("nightly_last_success_timestamp_seconds", "When a nightly last ended with exit code 0 or 3")
        at.labels(lake).set(_epoch(record["last_success"]))
    values: dict[str, dict[str, Any]] = {
        table: {"failures": 0} | {name: held[name] for name in ("rows", "bytes") if name in held}
        for table, held in published.items()
    }
    for table, held in record["tables"].items():
        # Rows and bytes are those served, whatever became of a new build.
        own = {name: value for name, value in held.items() if name in _TABLE and name not in ("rows", "bytes")}
        values[table] = values.get(table, {}) | own
    for name, said in _TABLE.items():
        metric = gauge(f"table_{name}", said, "table")
        for table, held in sorted(values.items()):
            if name in held:
                metric.labels(lake, table).set(held[name])
    return generate_latest(registry)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
