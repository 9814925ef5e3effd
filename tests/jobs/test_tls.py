"""Encrypted clusters: whoever has no certificate of the site's own authority can neither give orders nor read."""

import datetime
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import get_worker

from jobs.cluster import cluster
from jobs.profiles import PROFILES
from lake.errors import LakeError
from tests.jobs.slurm import Slurm

ROOT = Path(__file__).resolve().parents[2]


def certified(folder: Path) -> dict[str, object]:
    """Make an authority and one certificate in a folder; return Dask's configuration for them."""
    folder.mkdir()
    authority, its_key = _certificate("authority")
    own, key = _certificate("gaialake", authority, its_key)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    (folder / "cert.pem").write_bytes(own.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (folder / "key.pem").chmod(0o600)
    side = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    tls = {"ca-file": str(folder / "ca.pem"), "client": side, "scheduler": side, "worker": side}
    return {"require-encryption": True, "tls": tls}


def _certificate(
    name: str, issuer: x509.Certificate | None = None, issuer_key: ec.EllipticCurvePrivateKey | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(issuer_key or key, hashes.SHA256())
    )
    return made, key


def written(file: Path, own: dict[str, object], comm: dict[str, object], **sections: object) -> str:
    """Write a profile with these certificates; a connection is given up after seconds, not half a minute."""
    comm = {"timeouts": {"connect": "3s"}, **comm}
    file.write_text(yaml.safe_dump({"gaialake": own, "distributed": {"comm": comm}, **sections}))
    return str(file)


def where(task: int) -> str:
    return get_worker().address


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl")
def test_a_cluster_of_this_machine_speaks_tls_with_what_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, section = re.findall(r"```(?:sh|yaml)\n(.*?)```", (PROFILES / "README.md").read_text(), re.DOTALL)
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["sh", "-ec", commands], check=True, capture_output=True)
    assert (tmp_path / "gaialake-tls" / "key.pem").stat().st_mode & 0o777 == 0o600
    comm = yaml.safe_load(section.replace("/home/me", str(tmp_path)))["distributed"]["comm"]
    with cluster(written(tmp_path / "site.yaml", {"cluster": "local", "workers": 1}, comm)) as run:
        (address,) = run("look", where, [1])
    assert address.startswith("tls://")


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Return the address of an encrypted cluster that runs already, and the configuration of its certificates."""
    comm, file = certified(tmp_path / "tls"), tmp_path / "scheduler.json"
    tls = ["--tls-ca-file", "tls/ca.pem", "--tls-cert", "tls/cert.pem", "--tls-key", "tls/key.pem", "--scheduler-file", str(file)]
    # The scheduler reads the graph of tasks: it needs the package as workers do.
    start, ours = [sys.executable, "-m"], {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        [*start, "distributed.cli.dask_scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0", *tls]
        + ["--dashboard-address", "127.0.0.1:0"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        env=ours,
    )
    while not file.exists():
        assert first.poll() is None
        time.sleep(0.05)
    second = subprocess.Popen(
        [*start, "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", *tls],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        env=ours,
    )
    yield yaml.safe_load(file.read_text())["address"], comm
    for one in (second, first):
        one.kill()
        one.wait()


def test_a_running_cluster_works_for_who_has_a_certificate_and_refuses_all_others(scheduler, tmp_path: Path) -> None:
    address, comm = scheduler
    own = {"scheduler": address, "worker-timeout": "30 s"}
    with cluster(written(tmp_path / "ours.yaml", own, comm)) as run:
        assert list(run("absolute", abs, [-1])) == [1]
    for name, theirs in {"none": {}, "foreign": certified(tmp_path / "foreign")}.items():
        with (
            pytest.raises(LakeError, match=f"no Dask scheduler answers at {address}; .* TLS"),
            cluster(written(tmp_path / f"{name}.yaml", own, theirs)) as run,
        ):
            list(run("absolute", abs, [-1]))


def test_a_running_cluster_asks_everybody_for_a_certificate(scheduler, tmp_path: Path) -> None:
    host, port = scheduler[0].removeprefix("tls://").split(":")
    stranger = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
    stranger.check_hostname = False
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        pytest.raises(ssl.SSLError, match="(?i)certificate.required"),
        stranger.wrap_socket(plain) as secured,
    ):
        # With TLS 1.3 the answer comes after the handshake.
        secured.recv(1)


def test_jobs_of_a_queue_find_the_certificates_by_the_profile(slurm: Slurm, tmp_path: Path) -> None:
    queue = {
        "cores": 1,
        "memory": "1500 MB",
        "interface": "lo",
        "log-directory": str(tmp_path / "logs"),
        "local-directory": str(tmp_path),
        "job-script-prologue": [f"export PYTHONPATH={ROOT}"],
        "scheduler-options": {"dashboard_address": "127.0.0.1:0"},
    }
    name = written(
        tmp_path / "site.yaml",
        {"cluster": "slurm", "worker-timeout": "60 s"},
        certified(tmp_path / "tls"),
        jobqueue={"slurm": queue},
    )
    with cluster(name) as run:
        (address,) = run("look", where, [1])
    assert address.startswith("tls://")
