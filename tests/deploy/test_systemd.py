import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

INSTALL = "apt-get install systemd"


@pytest.fixture
def service(deploy: Path) -> RawConfigParser:
    unit = RawConfigParser()
    unit.optionxform = str
    unit.read(deploy / "systemd" / "gaialake-nightly.service")
    return unit


def test_systemd_takes_the_units(deploy, tool, service, tmp_path):
    program = service["Service"]["ExecStart"].split()[0]
    for path in (deploy / "systemd").iterdir():
        # verify wants a program that is there.
        (tmp_path / path.name).write_text(path.read_text().replace(program, sys.executable))
    tool("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir()), install=INSTALL)


def test_the_timer_runs_every_night_at_two(deploy, tool):
    unit = RawConfigParser()
    unit.read(deploy / "systemd" / "gaialake-nightly.timer")
    said = tool("systemd-analyze", "calendar", "--iterations=2", unit["Timer"]["OnCalendar"], install=INSTALL)
    assert said.count(" 02:00:00 ") == 2
    assert unit["Timer"]["Persistent"] == "true"


def test_nothing_to_do_and_another_writer_are_no_failures(service):
    assert service["Service"]["SuccessExitStatus"].split() == ["3", "75"]


def test_the_service_writes_nowhere_but_in_the_lake(service, deploy):
    held = service["Service"]
    assert (held["ProtectSystem"], held["ReadWritePaths"]) == ("strict", service["Unit"]["RequiresMountsFor"])
    text = (deploy / "systemd" / "gaialake-nightly.service").read_text()
    assert f"GAIALAKE={held['ReadWritePaths']};" in text


def test_the_workers_are_left_to_gaialake_when_the_service_is_stopped(service):
    assert (service["Service"]["KillMode"], service["Service"]["KillSignal"]) == ("mixed", "SIGTERM")


def test_the_exposure_of_the_service_stays_small(deploy, tool):
    unit = deploy / "systemd" / "gaialake-nightly.service"
    tool("systemd-analyze", "security", "--offline=true", "--threshold=25", unit, install=INSTALL)
