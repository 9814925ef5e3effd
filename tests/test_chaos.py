"""A nightly whose workers, scheduler and driver are killed at random ends in the lake that an undisturbed one makes."""

from pathlib import Path

import pytest

from tests.chaos import disturb, prepare

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return prepare(tmp_path_factory.mktemp("chaos"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_and_run_again_the_lake_is_byte_equal(seed: int, lakes: tuple[Path, Path], tmp_path: Path) -> None:
    report = disturb(seed, *lakes, tmp_path)
    assert report.problems == []
    assert report.kills, "nothing was killed: the run was over before"
    assert report.exits[-1] in (0, 3)
    assert report.looks > 0
