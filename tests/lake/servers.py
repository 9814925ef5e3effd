"""Two servers of ours for tests of fetching: one of files that misbehaves on demand, and a small TAP service with jobs."""

import email
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
import xml.sax.saxutils
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.dialects import write

PAGE = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>back on Monday</body></html>"


class Handler(BaseHTTPRequestHandler):
    """Speak HTTP/1.1, keep quiet."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None: ...

    @property
    def host(self) -> Any:
        return self.server.host  # type: ignore[attr-defined]

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        self.close_connection = True


class Server(ThreadingHTTPServer):
    """Serve every request on a thread of its own; clients may hang up."""

    daemon_threads, block_on_close = True, False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def serving(handler: type[Handler], host: Any) -> Iterator[str]:
    """Serve on a free port of this machine; yield the base URL."""
    server = Server(("127.0.0.1", 0), handler)
    server.host = host  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        host.closing.set()
        server.shutdown()
        server.server_close()


# One step of a script: how one request for a file is answered.
Step = Callable[["FileHandler", bytes, str], None]


def ok(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Answer whole, or from where a range begins if the version is still the same."""
    wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
    if wanted is None or asked.headers.get("If-Range", tag) != tag:
        asked.answer(200, content, ETag=tag, Accept_Ranges="bytes")
    elif int(wanted[1]) >= len(content):
        asked.answer(416, b"", Content_Range=f"bytes */{len(content)}", ETag=tag)
    else:
        begin = int(wanted[1])
        said = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        asked.answer(206, content[begin:], Content_Range=said, ETag=tag)


def no_range(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Answer whole, whatever range is asked for."""
    asked.answer(200, content)


def half(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Announce what is missing, send half of it, hang up."""
    wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
    begin = int(wanted[1]) if wanted and asked.headers.get("If-Range", tag) == tag else 0
    rest = content[begin:]
    asked.send_response(206 if begin else 200)
    if begin:
        asked.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    asked.send_header("Content-Length", str(len(rest)))
    asked.send_header("ETag", tag)
    asked.end_headers()
    asked.wfile.write(rest[: len(rest) // 2])
    asked.hang_up()


def half_without_range(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Send the first half of all, whatever is asked for, name no version, hang up."""
    asked.send_response(200)
    asked.send_header("Content-Length", str(len(content)))
    asked.end_headers()
    asked.wfile.write(content[: len(content) // 2])
    asked.hang_up()


def truncated(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Send less than there is, and call it all."""
    asked.answer(200, content[: -len(content) // 3])


def unmeasured(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Send half without announcing a length, as a server that dies behind a proxy does."""
    asked.send_response(200)
    asked.send_header("Connection", "close")
    asked.end_headers()
    asked.wfile.write(content[: len(content) // 2])
    asked.hang_up()


def page(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Answer an error page and call it a success."""
    asked.answer(200, PAGE, Content_Type="text/html")


def silent(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Never answer."""
    asked.host.closing.wait(30)
    asked.hang_up()


def reset(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Hang up without a word."""
    asked.hang_up()


def crawling(asked: "FileHandler", content: bytes, tag: str) -> None:
    """Send a little at a time."""
    asked.send_response(200)
    asked.send_header("Content-Length", str(len(content)))
    asked.send_header("ETag", tag)
    asked.end_headers()
    step = max(1, len(content) // 40)
    for begin in range(0, len(content), step):
        asked.wfile.write(content[begin : begin + step])
        asked.wfile.flush()
        time.sleep(asked.host.pace)


def status(code: int, **headers: str) -> Step:
    """Return the step that answers an error."""

    def answer(asked: "FileHandler", content: bytes, tag: str) -> None:
        asked.answer(code, b"not now, token=SECRET" if code != 200 else content, **headers)

    return answer


def elsewhere(url: str) -> Step:
    """Return the step that sends on to another URL."""
    return status(302, Location=url)


@dataclass
class Files:
    """Files of a server, each with a script: one step per request, the last one for ever."""

    content: dict[str, bytes] = field(default_factory=dict)
    script: dict[str, list[Step]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    pace: float = 0.02
    most: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    now: int = 0

    def add(self, name: str, content: bytes, *steps: Step) -> None:
        self.content[name], self.script[name], self.tags[name] = content, list(steps or (ok,)), '"v1"'

    def count(self, name: str) -> int:
        return sum(asked == name for asked, _ in self.asked)

    def listing(self) -> bytes:
        lines = [f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in self.content.items()]
        return "".join(lines).encode()


class FileHandler(Handler):
    """Play the script of a file."""

    def do_GET(self) -> None:
        files, name = self.host, urlsplit(self.path).path.lstrip("/")
        with files.lock:
            files.asked.append((name, self.headers.get("Range", "")))
            steps = files.script.get(name, [status(404)])
            step = steps.pop(0) if len(steps) > 1 else steps[0]
            files.now += 1
            files.most = max(files.most, files.now)
        try:
            step(self, files.content.get(name, b""), files.tags.get(name, ""))
        except OSError:
            self.hang_up()
        finally:
            with files.lock:
                files.now -= 1


@contextmanager
def file_server() -> Iterator[tuple[str, Files]]:
    """Serve files; yield the base URL and the files."""
    files = Files()
    with serving(FileHandler, files) as url:
        yield url, files


@dataclass
class TapJob:
    """One job of the service."""

    query: str
    limit: int
    ids: np.ndarray | None
    phases: list[str]
    error: str = ""
    launched: float = field(default_factory=time.monotonic)


@dataclass
class Archive:
    """A TAP service over one table, its jobs and user tables, and how it is to misbehave.

    Attributes
    ----------
    phases
        Phases that every job goes through, one per look; the last one stays.
    errors
        Message -> made into the ERROR of the next job; consumed one by one.
    refusals
        Answers to the next launches: status, or "page".
    lost
        How many of the next jobs are forgotten as soon as they are launched.
    limit
        The service's own most rows of a result.
    dialect
        Form of results: fits, or votable (which says when it was cut off).
    plus
        Whether it has the extensions of ESA's archives: deletejobs, login, user tables.
    uploads_as_jobs
        Whether it takes its time to make a user's table of an upload.
    lazy
        Whether it starts jobs only when told so once more.
    lossy_deletes
        How many of the next deletions it refuses.
    results
        Steps for the next downloads of results, before the good ones.
    """

    table: pa.Table
    folder: Path
    phases: list[str] = field(default_factory=lambda: ["QUEUED", "EXECUTING", "COMPLETED"])
    errors: list[str] = field(default_factory=list)
    refusals: list[Any] = field(default_factory=list)
    lost: int = 0
    limit: int = 10_000
    declared: bool = True
    dialect: str = "fits"
    suffix: str = ".fits.gz"
    plus: bool = True
    uploads_as_jobs: bool = False
    lazy: bool = False
    results: list[Step] = field(default_factory=list)
    lossy_deletes: int = 0
    jobs: dict[str, TapJob] = field(default_factory=dict)
    launched: list[TapJob] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    uploads: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    pace: float = 0.01
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, job: TapJob) -> tuple[pa.Table, bool]:
        """Return what a query selects, and whether it was cut off."""
        ids = self.table["source_id"]
        keep = pa.chunked_array([pa.array(np.ones(len(ids), bool))])
        within = re.search(r"source_id BETWEEN (\d+) AND (\d+)", job.query)
        if within:
            low, high = int(within[1]), int(within[2])
            keep = pc.and_(pc.greater_equal(ids, low), pc.less_equal(ids, high))
        among = re.search(r"IN \(SELECT source_id FROM ([\w.]+)\)", job.query)
        if among:
            theirs = job.ids if among[1] == "TAP_UPLOAD.sources" else self.tables[among[1].partition(".")[2]]
            keep = pc.and_(keep, pc.is_in(ids, pa.array(theirs, pa.int64())))
        found = self.table.filter(keep)
        limit = min(job.limit, self.limit)
        return found.slice(0, limit), len(found) > limit

    def result(self, name: str) -> bytes:
        path = self.folder / f"{name}{self.suffix}"
        rows, cut = self.rows(self.jobs[name])
        write(rows, path, self.dialect)
        content = path.read_bytes()
        if self.dialect == "votable":
            said = b'<INFO name="QUERY_STATUS" value="%s"/>\n' % (b"OVERFLOW" if cut else b"OK")
            content = content.replace(b"</RESOURCE>", said + b"</RESOURCE>")
        return content


class TapHandler(FileHandler):
    """Speak as much of TAP 1.1, UWS 1.1 and ESA's extensions as a client needs."""

    def do_GET(self) -> None:
        self._route("GET", b"")

    def do_DELETE(self) -> None:
        self._route("DELETE", b"")

    def do_POST(self) -> None:
        self._route("POST", self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _route(self, method: str, body: bytes) -> None:
        archive: Archive = self.host
        path = urlsplit(self.path).path
        with archive.lock:
            archive.asked.append(f"{method} {path}")
            archive.cookies.append(self.headers.get("Cookie", ""))
            try:
                self._act(archive, method, path, body)
            except OSError:
                self.hang_up()

    def _act(self, archive: Archive, method: str, path: str, body: bytes) -> None:
        parts = path.strip("/").split("/")
        if parts[:2] == ["server", "tap"] and parts[2:] == ["capabilities"]:
            self._capabilities(archive)
        elif parts == ["server", "tap", "async"] and method == "POST":
            self._launch(archive, *self._form(body))
        elif parts[:3] == ["server", "tap", "async"] and len(parts) > 3:
            self._job(archive, method, parts[3], parts[4:], body)
        elif archive.plus and parts == ["server", "tap", "deletejobs"]:
            names = parse_qs(body.decode())["JOB_IDS"][0].split(",")
            self._delete(archive, names, 200)
        elif archive.plus and parts == ["server", "login"]:
            right = parse_qs(body.decode()) == {"username": ["annie"], "password": ["s3cret"]}
            self.answer(200 if right else 401, b"", **({"Set_Cookie": "SESSION=abc123; Path=/"} if right else {}))
        elif archive.plus and parts == ["server", "Upload"]:
            self._user_table(archive, *self._form(body))
        else:
            self.answer(404, PAGE, Content_Type="text/html")

    def _form(self, body: bytes) -> tuple[dict[str, str], bytes]:
        kind = self.headers["Content-Type"]
        if not kind.startswith("multipart/"):
            return {name.upper(): values[0] for name, values in parse_qs(body.decode()).items()}, b""
        message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        fields, file = {}, b""
        for part in message.get_payload():
            content = part.get_payload(decode=True)
            if part.get_filename() is not None:
                file = content
            else:
                fields[str(part.get_param("name", header="Content-Disposition")).upper()] = content.decode().strip()
        return fields, file

    def _capabilities(self, archive: Archive) -> None:
        hard = f'<outputLimit><default unit="row">2000</default><hard unit="row">{archive.limit}</hard></outputLimit>'
        said = f"<capabilities><capability>{hard if archive.declared else ''}</capability></capabilities>"
        self.answer(200, said.encode(), Content_Type="text/xml")

    def _launch(self, archive: Archive, form: dict[str, str], file: bytes) -> None:
        if archive.refusals:
            refused = archive.refusals.pop(0)
            if refused == "page":
                self.answer(200, PAGE, Content_Type="text/html")
            else:
                self.answer(refused, error_document("no such column"), Retry_After="0")
            return
        ids = None
        if "UPLOAD" in form:
            assert form["UPLOAD"] == "sources,param:sources"
            ids = ids_in(file)
            archive.uploads.append(len(ids))
        job = TapJob(form["QUERY"], int(form.get("MAXREC", archive.limit)), ids, list(archive.phases))
        if archive.lazy or form.get("PHASE") != "RUN":
            job.phases = ["PENDING"]
        if archive.errors:
            job.phases, job.error = ["EXECUTING", "ERROR"], archive.errors.pop(0)
        name = f"job-{len(archive.launched) + 1}"
        archive.launched.append(job)
        if archive.lost:
            archive.lost -= 1
        else:
            archive.jobs[name] = job
        host, port = self.server.server_address[:2]
        self.answer(303, b"", Location=f"http://{host}:{port}/server/tap/async/{name}")

    def _job(self, archive: Archive, method: str, name: str, rest: list[str], body: bytes) -> None:
        job = archive.jobs.get(name)
        if job is None:
            self.answer(404, b"no such job")
        elif method == "DELETE" and not rest:
            # As behind a proxy that knows GET and POST alone.
            self.answer(405, b"") if archive.plus else self._delete(archive, [name], 303)
        elif rest == ["phase"] and method == "POST":
            assert parse_qs(body.decode()) == {"PHASE": ["RUN"]}
            job.phases = ["EXECUTING", "COMPLETED"]
            self.answer(303, b"", Location=f"/server/tap/async/{name}")
        elif rest == ["phase"]:
            phase = job.phases.pop(0) if len(job.phases) > 1 else job.phases[0]
            self.answer(200, PAGE if phase == "page" else phase.encode(), Content_Type="text/plain")
        elif rest == ["error"]:
            self.answer(200, error_document(job.error), Content_Type="application/xml")
        elif rest == ["results", "result"]:
            step = archive.results.pop(0) if archive.results else ok
            step(self, archive.result(name), f'"{name}"')
        else:
            self.answer(404, b"")

    def _delete(self, archive: Archive, names: list[str], done: int) -> None:
        if archive.lossy_deletes:
            archive.lossy_deletes -= 1
            self.answer(400, b"cannot delete")
            return
        for name in names:
            archive.jobs.pop(name, None)
            archive.deleted.append(name)
        self.answer(done, b"", Location="/server/tap/async")

    def _user_table(self, archive: Archive, form: dict[str, str], file: bytes) -> None:
        name = form["TABLE_NAME"]
        if self.headers.get("Cookie") != "SESSION=abc123":
            self.answer(403, b"who are you?")
        elif form.get("DELETE") == "TRUE":
            known = archive.tables.pop(name, None) is not None
            self.answer(200 if known else 404, b"")
        else:
            archive.tables[name] = ids_in(file)
            archive.uploads.append(len(archive.tables[name]))
            if archive.uploads_as_jobs:
                archive.jobs[f"upload-{name}"] = TapJob("", 0, None, ["EXECUTING", "COMPLETED"])
                self.answer(303, b"", Location=f"/server/tap/async/upload-{name}")
            else:
                self.answer(200, b"")


def error_document(text: str) -> bytes:
    """Return a VOTable that says why a query failed."""
    said = f'<INFO name="QUERY_STATUS" value="ERROR">{xml.sax.saxutils.escape(text)}</INFO>'
    return f'<VOTABLE><RESOURCE type="results">{said}</RESOURCE></VOTABLE>'.encode()


def ids_in(votable: bytes) -> np.ndarray:
    """Return the ids of an uploaded VOTable."""
    assert b'name="source_id" datatype="long"' in votable
    return np.array([int(text) for text in re.findall(rb"<TD>(\d+)</TD>", votable)], np.int64)


@contextmanager
def tap_server(table: pa.Table, folder: Path) -> Iterator[tuple[str, Archive]]:
    """Serve a table; yield the URL of the service and the archive."""
    archive = Archive(table, folder)
    folder.mkdir(exist_ok=True)
    with serving(TapHandler, archive) as url:
        yield f"{url}/server/tap", archive


KILLED = """
import sys
from jobs.cli import main
import jobs.fetching
import lake.surveys
from lake.download import Patience
lake.surveys.__path__.append(sys.argv[1])
jobs.fetching.PATIENCE = Patience(pause=0.01, poll=0.01, longest_poll=0.02)
sys.exit(main(sys.argv[2:]))
"""
DECLARATION = '''
"""Declare a made-up survey, for a process of its own."""

from lake.declaration import Adql, Http
from lake.survey import Survey, same

SURVEY = Survey(
    name="stars_dr1", title="-", release="1", kind="labels", citation="-", licence="-", source="-",
    patterns=("part_*.csv.gz", "stars_dr1_*.fits"), dialects=("archive_csv",), columns=same("source_id radial_velocity"),
    fetch={request},
)
'''


@contextmanager
def processes(folder: Path, lake: str) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Yield the function that runs `gaialake fetch` of a request in a process of its own, to be killed."""
    started: list[subprocess.Popen[str]] = []

    def start(request: str, *flags: str) -> "subprocess.Popen[str]":
        folder.mkdir(exist_ok=True)
        (folder / "stars_dr1.py").write_text(DECLARATION.format(request=request))
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", KILLED, str(folder), "--lake", lake, "fetch", "stars_dr1", *flags],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    try:
        yield start
    finally:
        for child in started:
            child.kill()
            child.wait()


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
