"""Share where the deploy files are, and environments whose `gaialake` is the real one or a short shell script."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs.slurm import Slurm, lacking, running

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def deploy() -> Path:
    """The folder with the files under test."""
    return ROOT / "deploy"


@pytest.fixture(scope="session")
def tool() -> Callable[..., str]:
    """Return the function that runs a tool and returns what it printed, or skips the test where there is none."""

    def run(*command: object, install: str) -> str:
        # A tool that pip installed lies beside Python, which need not be on PATH.
        beside = Path(sys.executable).parent / str(command[0])
        words = [str(beside) if beside.exists() else command[0], *command[1:]]
        try:
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError:
            pytest.skip(f"no {command[0]}: {install}")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def _programs(folder: Path, programs: dict[str, str]) -> Path:
    (folder / "bin").mkdir(parents=True)
    for name, text in programs.items():
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the real gaialake of this checkout."""
    begin = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    shell = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {{}}"$@"\n'
    return _programs(
        tmp_path_factory.mktemp("venv") / "venv",
        {
            "gaialake": begin + "from jobs.cli import main\nsys.exit(main())\n",
            "python": shell.format(""),
            "dask": shell.format("-m dask "),
        },
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], Path]:
    """Return the function that makes an environment whose gaialake is a few lines of shell."""
    return lambda lines: _programs(tmp_path / "stand_in", {"gaialake": f"#!/bin/sh\n{lines}\n"})


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm of one node."""
    if lacking():
        pytest.skip(lacking())
    with running(tmp_path_factory.mktemp("slurm")) as started:
        yield started
