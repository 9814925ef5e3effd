"""Start a real S3 server (moto's) in a process of its own, and put a wire before it that loses answers and breaks."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

import pytest

BUCKET = "survey-lakes"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """Run the server with one empty bucket, and point the environment of this process and its children at it; yield the URL."""
    if find_spec("moto") is None or find_spec("s3fs") is None:
        pytest.skip("needs moto[server] and s3fs: pip install -c constraints.txt -e '.[dev]'")
    import s3fs

    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "synthetic-key",
        "AWS_SECRET_ACCESS_KEY": "synthetic-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        _wait(port)
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        server.terminate()
        server.wait(10)
        s3fs.S3FileSystem.clear_instance_cache()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the S3 server did not start within 30 s")


class Wire:
    """A way to a server on this machine.

    Attributes
    ----------
    asked
        First line of every request that went through.
    """

    def __init__(self, to: int) -> None:
        self.asked: list[str] = []
        self._to, self._losing = to, ""
        self._open = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._open.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._open,), daemon=True).start()

    def lose_answer(self, to: str) -> None:
        """Let the next request that begins so reach the server, and lose its answer."""
        self._losing = to

    def cut(self) -> None:
        """Refuse connections from now on."""
        # A thread that waits for the next connection keeps the port open until it is woken.
        self._open.shutdown(socket.SHUT_RDWR)
        self._open.close()

    def mend(self) -> None:
        """Let connections through again."""
        self._open = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._open,), daemon=True).start()

    def _accept(self, door: socket.socket) -> None:
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Carry what one connection says, both ways, until either side ends it."""
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            lost = threading.Event()
            threading.Thread(target=self._send, args=(client, server, lost), daemon=True).start()
            try:
                while data := server.recv(65_536):
                    if lost.is_set() and b"100 Continue" not in data[:30]:
                        break
                    client.sendall(data)
            except OSError:
                pass
            finally:
                # The other thread waits for a side that would not learn of the end from closing alone.
                for side in (client, server):
                    with suppress(OSError):
                        side.shutdown(socket.SHUT_RDWR)

    def _send(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        try:
            while data := client.recv(65_536):
                line = data.partition(b"\r\n")[0].decode(errors="replace")
                if line.endswith("HTTP/1.1"):
                    self.asked.append(line)
                    if self._losing and line.startswith(self._losing):
                        self._losing = ""
                        lost.set()
                server.sendall(data)
        except OSError:
            return


@contextmanager
def wired() -> Iterator[Wire]:
    """Put a wire before the server that `s3_server` runs, for this process and its children."""
    import s3fs

    straight = os.environ["AWS_ENDPOINT_URL"]
    wire = Wire(int(straight.rpartition(":")[2]))
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{wire.port}"
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield wire
    finally:
        os.environ["AWS_ENDPOINT_URL"] = straight
        s3fs.S3FileSystem.clear_instance_cache()
        with suppress(OSError):
            wire.cut()
