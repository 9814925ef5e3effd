"""Profiles, and how errors travel from a worker to the person who reads them."""

from pathlib import Path

import pytest

from jobs.cluster import PROFILES, cluster, profile
from lake.errors import LakeError


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_in_deploy_is_sound(path: Path) -> None:
    assert profile(path.stem)["gaialake"]


def test_an_unknown_profile_is_answered_with_those_that_exist() -> None:
    with pytest.raises(LakeError, match="no profile 'mars'; there are local, serial"):
        profile("mars")


def test_a_profile_without_our_section_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("distributed: {}\n")
    with pytest.raises(LakeError, match="no section `gaialake`"):
        profile(str(file))
    file.write_text("gaialake: {cluster: quantum}\n")
    with pytest.raises(LakeError, match="cluster 'quantum' is unknown"):
        profile(str(file))


def test_an_error_meant_for_the_user_leaves_a_worker_without_a_traceback(capfd) -> None:
    def refuse(task: int) -> int:
        raise LakeError(f"file {task} is truncated")

    with pytest.raises(LakeError, match="file 1 is truncated"), cluster("local") as run:
        list(run("read", refuse, [1]))
    assert "Traceback" not in capfd.readouterr().err


def test_a_fault_of_ours_is_raised_as_it_is() -> None:
    def broken(task: int) -> float:
        return task / 0

    with pytest.raises(ZeroDivisionError), cluster("serial") as run:
        list(run("divide", broken, [1]))
