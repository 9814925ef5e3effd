import os
import re
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def night(deploy, stand_in, tmp_path):
    """Return the function that runs the line as cron does, with a gaialake of a few lines, and returns what cron would mail."""

    def run(lines: str) -> str:
        home = tmp_path / "home"
        home.mkdir()
        (home / "deploy").symlink_to(deploy)
        (home / ".venv").symlink_to(stand_in(lines))
        *_, line = (deploy / "cron" / "gaialake").read_text().splitlines()
        minute, hour, day, month, weekday, user, command = line.split(maxsplit=6)
        assert (minute, hour, day, month, weekday, user) == ("0", "2", "*", "*", "*", "gaialake")
        # cron ends a command at a % that no backslash marks.
        assert not re.search(r"(?<!\\)%", command)
        command = command.replace(r"\%", "%").replace("/var/log/gaialake", str(tmp_path))
        environment = {**os.environ, "GAIALAKE_HOME": str(home), "LC_ALL": "C"}
        done = subprocess.run(
            ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.stderr == ""
        return done.stdout

    return run


@pytest.mark.parametrize("code", [0, 3, 75])
def test_a_night_without_fault_sends_no_mail(night, tmp_path, code):
    assert night(f"echo said; exit {code}") == ""
    (log,) = tmp_path.glob("*.log")
    assert log.read_text() == "said\n"


def test_a_night_that_failed_sends_all_that_it_said(night):
    assert night("echo said; echo complained >&2; exit 1") == "said\ncomplained\n"


def test_variables_of_the_table_are_plain(deploy: Path):
    lines = (deploy / "cron" / "gaialake").read_text().splitlines()
    # cron expands nothing in a variable's value.
    for line in lines[:-1]:
        assert line.startswith("#") or re.fullmatch(r"[A-Z_]+=[^$~]*", line)
