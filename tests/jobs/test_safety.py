"""What a lake holds is data, never code: nothing in it is executed, leads out of it, or keeps a secret."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lake
from jobs.cli import main
from jobs.profiles import profile
from lake.errors import LakeError

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(path for package in ("lake", "models", "jobs") for path in (ROOT / package).rglob("*.py"))
assert len(SOURCES) > 100
# A module that loads code from data, and what of it is allowed.
UNSAFE_IMPORTS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "numpy.load", "np.load", "pd.read_pickle", "os.system"}
SAFE_LOADERS = {"_LOADER", "yaml.SafeLoader", "yaml.CSafeLoader"}
PAYLOAD = "!!python/object/apply:os.system ['touch {}']"


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text())
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_module_unpickles_or_executes_what_it_reads() -> None:
    for path in SOURCES:
        names = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not names & UNSAFE_IMPORTS, path
        assert not {name for name, _ in calls(path)} & UNSAFE_CALLS, path


def test_yaml_is_read_by_safe_loaders_only_and_no_command_goes_through_a_shell() -> None:
    for path in SOURCES:
        for name, call in calls(path):
            if name in ("yaml.load", "yaml.load_all"):
                (loader,) = [ast.unparse(word.value) for word in call.keywords if word.arg == "Loader"]
                assert loader in SAFE_LOADERS, path
            assert name not in ("yaml.unsafe_load", "yaml.full_load"), path
            assert not any(word.arg == "shell" for word in call.keywords), path


@pytest.mark.parametrize("place", ["catalog.yaml", "history/000001.yaml"])
def test_a_catalogue_that_holds_code_is_refused_and_nothing_runs(place: str, small_lake, tmp_path: Path) -> None:
    import shutil

    folder, mark = tmp_path / "lake", tmp_path / "executed"
    shutil.copytree(small_lake.storage.root, folder)
    held = yaml.safe_load((folder / "catalog.yaml").read_text())
    (folder / "catalog.yaml").write_text(yaml.safe_dump({**held, "metadata": {**held["metadata"], "serial": 2, "former": 1}}))
    (folder / "history").mkdir(exist_ok=True)
    (folder / "history" / "000001.yaml").write_text(yaml.safe_dump(held))
    with (folder / place).open("a") as file:
        file.write(f"more: {PAYLOAD.format(mark)}\n")
    verb = ["status"] if place == "catalog.yaml" else ["rollback"]
    assert main(["--lake", str(folder), *verb]) == 1
    assert not mark.exists()


def test_a_profile_that_holds_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "site.yaml"
    path.write_text(f"gaialake: {PAYLOAD.format(mark)}\n")
    with pytest.raises(LakeError):
        profile(str(path))
    assert not mark.exists()


@pytest.mark.parametrize("key", ["../../outside.json", "/etc/passwd", "s3://elsewhere/x.json", "tables/../../x.json"])
def test_no_catalogue_old_or_new_leads_out_of_the_lake(key: str, small_lake, tmp_path: Path, capsys) -> None:
    import shutil

    folder = tmp_path / "lake"
    shutil.copytree(small_lake.storage.root, folder)
    held = yaml.safe_load((folder / "catalog.yaml").read_text())
    name = next(iter(held["sources"]))
    evil = json.loads(json.dumps(held))
    evil["sources"][name]["metadata"]["manifest"] = key
    (folder / "history").mkdir(exist_ok=True)
    (folder / "history" / "000001.yaml").write_text(yaml.safe_dump(evil))
    (folder / "catalog.yaml").write_text(yaml.safe_dump({**held, "metadata": {**held["metadata"], "serial": 2, "former": 1}}))
    for verb in (["rollback"], ["gc", "--keep", "2", "--grace", "0"]):
        assert main(["--lake", str(folder), *verb]) == 1, verb
        assert "does not lie inside the lake" in capsys.readouterr().err
    (folder / "catalog.yaml").write_text(yaml.safe_dump(evil))
    with pytest.raises(LakeError, match="does not lie inside the lake"):
        lake.open(folder).table(name)


def test_a_lake_keeps_no_secret_of_the_environment(s3: str, sky, tmp_path: Path) -> None:
    from lake.storage import Storage

    root = f"{s3}/no-secrets"
    survey = "catwise_andrae2023"
    assert main(["init", root, "--counts", str(sky.counts)]) == 0
    assert main(["--lake", root, "ingest", survey, "--raw", str(sky.folder / survey), "--register"]) == 0
    log = tmp_path / "log.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "--lake", root, "--log", str(log), "nightly", "--profile", "local"],
        capture_output=True,
        text=True,
        check=True,
    )
    storage = Storage.at(root)
    written = {one.key: storage.read_bytes(one.key) for one in storage.files("")}
    written |= {"log": log.read_bytes(), "said": (done.stdout + done.stderr).encode()}
    assert {"catalog.yaml", "lake.json", "lease.json", "log"} <= set(written)
    for name, content in written.items():
        assert b"synthetic-secret" not in content, name
        assert b"synthetic-key" not in content, name
