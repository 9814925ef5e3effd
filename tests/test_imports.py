"""The import law of DESIGN section 3, read from the syntax trees, so that a forbidden import cannot hide in a function."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("lake", "models", "jobs")
MODULES = sorted(path.relative_to(ROOT).as_posix() for package in OURS for path in (ROOT / package).rglob("*.py"))
# Library -> files (fnmatch) that may import it; tests may import anything.
ONLY = {
    "torch": ("models/*",),
    "dask_jobqueue": ("jobs/cluster.py",),
    "dask_ml": ("jobs/*",),
    "prometheus_client": ("jobs/metrics.py",),
    # Object stores are reached through fsspec, which chooses the library by the URL.
    "s3fs": (),
    "botocore": (),
    "distributed": ("jobs/*",),
    "intake": ("lake/catalog.py",),
    "astroquery": ("lake/tap.py",),
    "dustmaps": ("lake/dust.py",),
    "gaiaxpy": ("jobs/sky*.py",),
    "zero_point": ("lake/surveys/gaia_dr3_source.py",),
}


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, inside functions and type-checking blocks too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a name comes from"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value)


def offences(module: str, names: set[str]) -> list[str]:
    """Return what a module imports against the law."""
    package = module.split("/")[0]
    found = [
        f"{module} imports {library}"
        for library, allowed in ONLY.items()
        if library in names and not any(fnmatch(module, glob) for glob in allowed)
    ]
    forbidden = {"lake": {"models", "jobs"}, "models": {"jobs", "dask"}, "jobs": set()}[package]
    return found + [f"{module} imports {name}" for name in sorted(forbidden & names)]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_package_may(module):
    assert not offences(module, {name.split(".")[0] for name in imported(ROOT / module)})


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("models/")])
def test_models_know_nothing_of_the_lake_but_its_columns(module):
    ours = {name for name in imported(ROOT / module) if name.split(".")[0] == "lake"}
    assert all(name == "lake.columns" or name.startswith("lake.columns.") for name in ours), ours


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("lake/columns/")])
def test_the_vocabulary_imports_nothing_else_of_ours(module):
    ours = {name for name in imported(ROOT / module) if name.split(".")[0] in OURS}
    assert all(name.startswith("lake.columns") for name in ours), ours


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("lake/join.py", {"torch"}),
        ("lake/join.py", {"distributed"}),
        ("lake/table.py", {"intake"}),
        ("lake/ingest.py", {"jobs"}),
        ("lake/fetch.py", {"astroquery"}),
        ("models/fit.py", {"dask"}),
        ("models/fit.py", {"jobs"}),
        ("jobs/cli.py", {"dask_jobqueue"}),
        ("jobs/workers.py", {"dask_jobqueue"}),
        ("jobs/night.py", {"prometheus_client"}),
        ("lake/exchange.py", {"s3fs"}),
        ("jobs/cli.py", {"torch"}),
    ],
)
def test_the_law_itself_catches_an_offence(module, names):
    assert offences(module, names)


def test_imports_inside_functions_and_by_name_are_seen(tmp_path):
    path = tmp_path / "sly.py"
    path.write_text("def f():\n    import torch.nn\n    importlib.import_module('intake')\n    from jobs import cli\n")
    assert {"torch.nn", "intake", "jobs", "jobs.cli"} <= set(imported(path))


@pytest.mark.parametrize("package", ["lake", "jobs"])
def test_the_first_page_of_a_package_leads_to_each_of_its_modules(package):
    page = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    # One name stands for what is split into many files.
    of_one = ("sky_", "dialects_")
    names = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert [name for name in sorted(names) if not name.startswith(of_one) and f"`{package}.{name}`" not in page] == []


def loaded(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement."""
    child = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(child.stdout.split())


def test_importing_the_lake_imports_neither_networks_nor_intake_nor_a_scheduler():
    assert not {"torch", "intake", "distributed", "dask_ml", "dask_jobqueue", "jobs", "models", "h5py"} & loaded("import lake")


def test_importing_the_vocabulary_imports_little():
    held = loaded("import lake.columns")
    assert not {"dask", "dask.dataframe", "torch", "intake", "distributed", "jobs", "models"} & held
