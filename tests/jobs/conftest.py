"""Give the tests of `jobs` a small synthetic sky, made once, and lakes that start from it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.sky import Sky, make_sky
from tests.jobs import slurm as small_slurm

STARS = 400
LEAF_ROWS = 30
# As few as give two surveys enough stars in common.
LABELLED_STARS = 30_000
LABELLED_SURVEYS = ("gaia_dr3_source", "gaia_dr3_xp", "apogee_dr17", "galah_dr3", "spectrotranslator_g2a")


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Sky:
    """Synthetic raw files of every declared survey."""
    return make_sky(tmp_path_factory.mktemp("sky") / "raw", stars=STARS)


@pytest.fixture
def new_lake(tmp_path: Path, sky: Sky) -> Callable[..., Path]:
    """Return a function that makes a lake with the synthetic raw files in its raw/ folder and 40 leaves or more."""

    def make(name: str = "lake", surveys: tuple[str, ...] = ("gaia_dr3_source", "gaia_dr3_xp", "catwise_andrae2023")) -> Path:
        folder = tmp_path / name
        for survey in surveys:
            shutil.copytree(sky.folder / survey, folder / "raw" / survey)
        assert main(["init", str(folder), "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
        return folder

    return make


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, sky: Sky) -> Path:
    """Return a lake that a nightly with training has built; tests must not change it."""
    folder = tmp_path_factory.mktemp("published") / "lake"
    shutil.copytree(sky.folder, folder / "raw")
    assert main(["init", str(folder), "--counts", str(sky.counts), "--leaf-rows", str(LEAF_ROWS)]) == 0
    assert nightly(folder) == 0
    assert main(["--lake", str(folder), "train", "xp_mae", "--preset", "debug", "--profile", "serial"]) == 0
    assert nightly(folder) == 0
    return folder


def nightly(folder: Path, *flags: str, profile: str = "serial") -> int:
    """Run the nightly without a cluster."""
    return main(["--lake", str(folder), "nightly", "--profile", profile, *flags])


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[small_slurm.Slurm]:
    """Return a Slurm of one node; where it must be there (GAIALAKE_NEEDS_SLURM), its absence is a failure."""
    why = small_slurm.lacking()
    if why and os.environ.get("GAIALAKE_NEEDS_SLURM"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    with small_slurm.running(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake with a trained translation, combined labels and their training tables; tests must not change it."""
    folder = tmp_path_factory.mktemp("labelled") / "lake"
    made = make_sky(folder / "raw", stars=LABELLED_STARS, names=LABELLED_SURVEYS)
    assert main(["init", str(folder), "--counts", str(made.counts), "--leaf-rows", "3000"]) == 0
    assert nightly(folder) == 0
    train = ["--lake", str(folder), "train", "translator", "galah_dr3_on_apogee_dr17", "--preset", "debug", "--profile", "serial"]
    assert main(train) == 0
    assert nightly(folder) == 0
    return folder
