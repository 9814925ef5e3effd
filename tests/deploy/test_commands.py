import re
import shlex
from pathlib import Path

import pytest
import yaml

from jobs.cli import main
from jobs.profiles import profile

FILES = ("cron/gaialake", "slurm/scrontab", "systemd/gaialake-nightly.service", "kubernetes/nightly.yaml")
# Of the words of a file, those after the program; up to what the shell makes of the rest.
CALL = re.compile(r"gaialake\"? (?:--lake \S+ )?(nightly[^>\n]*)")


def _called(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".yaml":
        command = yaml.safe_load(text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
        return list(command[2:])
    lines = [line for line in text.splitlines() if not line.startswith("#") and "nightly" in line and "bin/gaialake" in line]
    (found,) = (CALL.search(line) for line in lines)
    assert found is not None
    return shlex.split(found[1])


@pytest.mark.parametrize("name", FILES)
def test_the_program_takes_what_schedulers_call_it_with(deploy, new_lake, name):
    arguments = _called(deploy / name)
    assert arguments[0] == "nightly"
    assert main(["--lake", str(new_lake.storage.root), *arguments, "--dry-run"]) == 0
    if "--profile" in arguments:
        profile(arguments[arguments.index("--profile") + 1])


@pytest.mark.parametrize("name", ["nightly", "parts", "predict", "train"])
def test_batch_scripts_name_profiles_that_there_are(deploy, name):
    (chosen,) = re.findall(r"\$\{PROFILE:-([a-z-]+)\}", (deploy / "slurm" / f"{name}.sbatch").read_text())
    profile(chosen)


def test_no_file_holds_a_path_of_one_machine_or_a_secret(deploy):
    for path in (one for one in deploy.rglob("*") if one.is_file()):
        found = re.search(r"/root/|/work/|[A-Za-z0-9+/]{40}|://[^/\s]*:[^/\s]*@", path.read_text())
        assert found is None, f"{path}: {found}"
