"""One writer at a time: on a file system by a lock that the kernel keeps, on an object store by a lease."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.lease import LEASE
from jobs.lock import owner, writing
from lake.errors import BusyError, LakeError
from lake.history import hold, replace_catalog
from lake.root import init_lake, read_catalog
from lake.storage import Storage
from tests.s3 import wired

WRITER = """
import sys, time
from jobs.lock import writing
from lake.storage import Storage
with writing(Storage.at(sys.argv[1]), "nightly", shared=sys.argv[3] == "shared", expiry=float(sys.argv[2])):
    print("in", flush=True)
    time.sleep(60)
"""


def writer(root: str, *, expiry: float = 60.0, how: str = "alone") -> "subprocess.Popen[str]":
    """Start a writer in another process, and return when it holds the lake."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, root, str(expiry), how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A new lake on a disk and on an S3 server."""
    if request.param == "disk":
        return init_lake(tmp_path / "lake").storage
    return init_lake(f"{request.getfixturevalue('s3')}/{tmp_path.name}").storage


def test_a_second_writer_is_refused_politely_and_told_who_the_first_is(storage: Storage) -> None:
    first = writer(storage.root)
    try:
        said = rf"another writer is at work \(nightly.*pid {first.pid}.*run this again"
        with pytest.raises(BusyError, match=said), writing(storage, "ingest"):
            pytest.fail("two writers")
        found = owner(storage)
        assert found is not None
        assert (found["verb"], found["pid"]) == ("nightly", first.pid)
    finally:
        first.kill()
        first.wait()


def test_a_writer_that_ends_lets_the_next_in_at_once(storage: Storage) -> None:
    with writing(storage, "nightly"):
        assert owner(storage) is not None
    assert owner(storage) is None
    with writing(storage, "check") as second:
        second.confirm()


def test_a_writer_that_is_killed_leaves_a_lock_that_dies_with_it_or_a_lease_that_expires(storage: Storage) -> None:
    first = writer(storage.root, expiry=3.0)
    first.kill()
    first.wait()
    waited = 0.0
    while True:
        try:
            with writing(storage, "nightly") as second:
                second.confirm()
            break
        except BusyError:
            assert not storage.is_local, "the kernel lets go of a lock at once"
            assert waited < 20
            time.sleep(0.5)
            waited += 0.5
    assert storage.is_local or waited > 1


def test_elements_of_a_job_array_work_side_by_side_and_keep_a_nightly_out(tmp_path: Path) -> None:
    storage = init_lake(tmp_path / "lake").storage
    one, two = writer(storage.root, how="shared"), writer(storage.root, how="shared")
    try:
        with pytest.raises(BusyError, match="elements of a job array"), writing(storage, "nightly"):
            pytest.fail("a nightly beside the elements of a job array")
    finally:
        for process in (one, two):
            process.kill()
            process.wait()
    with writing(storage, "nightly"), pytest.raises(BusyError, match="nightly"), writing(storage, "ingest", shared=True):
        pytest.fail("an element of a job array beside a nightly")


def test_a_stopped_writer_that_wakes_up_after_its_lease_expired_can_neither_confirm_nor_publish(s3: str) -> None:
    storage = init_lake(f"{s3}/stopped").storage
    script = WRITER.replace(
        'print("in", flush=True)\n    time.sleep(60)',
        'print("in", flush=True)\n    input()\n    writer.confirm()',
    ).replace("):\n    print", ") as writer:\n    print")
    first = subprocess.Popen(
        [sys.executable, "-c", script, storage.root, "2", "alone"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "in\n"
    os.kill(first.pid, signal.SIGSTOP)
    time.sleep(4)
    with writing(storage, "nightly", expiry=2.0) as second:
        assert second.fence == 2
        assert read_catalog(storage)["metadata"]["fence"] == 2, "the catalogue knows the new lease before anything is published"
        os.kill(first.pid, signal.SIGCONT)
        _, said = first.communicate("\n", timeout=30)
        assert first.returncode == 1
        assert "the lease number 1 of this run was lost" in said
        with pytest.raises(BusyError, match="lease number 2, this run holds number 1"):
            replace_catalog(storage, hold(storage), {}, {}, fence=1)
        second.confirm()


def test_a_lease_is_renewed_while_its_writer_lives(s3: str) -> None:
    storage = init_lake(f"{s3}/renewed").storage
    with writing(storage, "nightly", expiry=2.0) as held:
        time.sleep(5)
        held.confirm()
        with pytest.raises(BusyError), writing(storage, "ingest"):
            pytest.fail("two writers")
        assert json.loads(storage.read_bytes(LEASE))["beats"] >= 4


def test_a_lease_outlives_an_outage_that_is_shorter_than_its_expiry(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    root = init_lake(f"{s3}/outage").storage.root
    with wired() as wire, writing(Storage.at(root), "nightly", expiry=6.0) as held:
        wire.cut()
        time.sleep(3)
        wire.mend()
        time.sleep(5)
        held.confirm()
        wire.lose_answer(f"PUT /{root.removeprefix('s3://')}/{LEASE}")
        time.sleep(3)
        held.confirm()


def test_a_lease_that_was_deleted_counts_on_from_what_the_catalogue_knows(s3: str) -> None:
    storage = init_lake(f"{s3}/deleted").storage
    for fence in (1, 2):
        with writing(storage, "nightly") as held:
            assert held.fence == fence
            replace_catalog(storage, hold(storage), {}, {}, held.fence)
    storage.remove(LEASE)
    with writing(storage, "nightly") as held:
        assert held.fence == 3
        replace_catalog(storage, hold(storage), {}, {}, held.fence)


@pytest.mark.parametrize("damage", ["[1]", "{", '{"fence": "many"}', '{"owner": "x"}'])
def test_a_lease_that_is_none_is_told_with_what_to_do(s3: str, damage: str) -> None:
    storage = init_lake(f"{s3}/damage-{len(damage)}").storage
    storage.write_bytes(LEASE, damage.encode())
    with pytest.raises(LakeError, match="not a lease.*delete it when no writer is at work"), writing(storage, "nightly"):
        pytest.fail("a writer under a damaged lease")
    storage.write_bytes(LEASE, b'{"fence": "3", "owner": "x"}')
    with pytest.raises(BusyError, match="another writer is at work.*unknown"), writing(storage, "nightly"):
        pytest.fail("a second writer")


def test_no_secret_of_the_store_is_written_into_lease_or_catalogue(s3: str) -> None:
    storage = init_lake(f"{s3}/secrets").storage
    with writing(storage, "nightly") as held:
        replace_catalog(storage, hold(storage), {}, {}, held.fence)
        text = b"".join(storage.read_bytes(key) for key in (LEASE, "catalog.yaml", "lake.json"))
    assert b"synthetic-secret" not in text
    assert b"synthetic-key" not in text
