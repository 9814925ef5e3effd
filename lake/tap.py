"""Run one asynchronous query at a TAP service: launch, look again, fetch the result, leave nothing behind.

What TAP, UWS and the archive's own extensions mean is astroquery's to know; connections are ours, because astroquery's have
no time-out, hide why a service refuses, and take a result that breaks off for a whole one.
"""

import http.client
import logging
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from astroquery.utils.tap.conn.tapconn import TapConn
from astroquery.utils.tap.core import TapPlus
from astroquery.utils.tap.model.job import Job
from requests.exceptions import HTTPError

from lake.declaration import GAIA_TAP
from lake.download import (
    AbsentError,
    FetchError,
    GaveUpError,
    Link,
    NoAnswerError,
    Patience,
    TransientError,
    Watch,
    checked_url,
    lost_connection,
    patiently,
    refusal,
)
from lake.errors import LakeError
from lake.partition import Ids
from lake.readers.form import Form, open_bytes, recognise

T = TypeVar("T")

# What the Gaia archive gives anonymous users at most; asked for by name, so that a service's smaller default does not count.
ROW_LIMIT = 3_000_000
_BUSY = ("PENDING", "QUEUED", "EXECUTING", "RUN", "HELD", "SUSPENDED", "UNKNOWN")
_JOB = re.compile(r"[A-Za-z0-9_.\-]+")
_STATUS = re.compile(rb"""<INFO\b(?=[^>]*\bname=["']QUERY_STATUS["'])(?=[^>]*\bvalue=["'](\w+)["'])[^>]*?(?:/>|>([^<]*)<)""")
_HARD = re.compile(rb"""<(?:\w+:)?hard\b[^>]*\bunit=["']row["'][^>]*>\s*(\d+)\s*<""")
_NOTE = 4096
_EDGE = 1 << 16


@dataclass(frozen=True)
class Login:
    """Who asks: the cookie of a session, and the user's name, under which uploaded tables are kept."""

    user: str
    cookie: str


@dataclass(frozen=True)
class Service:
    """A TAP service, opened for one file at a time: astroquery's connections are not to be shared among threads.

    Attributes
    ----------
    url
        Base URL, without a slash at its end.
    tap, connections, handler
        What astroquery makes of it, and what opens connections.
    """

    url: str
    tap: Any
    connections: Any
    handler: "_Connections"
    login: Login | None
    watch: Watch


class LostError(FetchError):
    """Report a job that the service no longer knows."""


class UnfinishedError(FetchError):
    """Report a query that goes on at the service, to be looked at by a later run."""


class EndedError(FetchError):
    """Report a query that ended without a result."""


class CutOffError(FetchError):
    """Report a result that was cut off at the service's limit of rows."""


class _Connections:
    """Give astroquery connections that time out and say why a service refuses."""

    def __init__(self, url: str, patience: Patience) -> None:
        self._parts, self._patience = urlsplit(url), patience

    def get_connection(self, *, ishttps: bool = False, cookie: str | None = None, verbose: bool = False) -> Any:
        kind = _Https if self._parts.scheme == "https" else _Http
        return kind(str(self._parts.hostname), self._parts.port, timeout=self._patience.silence)

    def get_connection_secure(self, verbose: bool = False) -> Any:
        return self.get_connection()


class _Http(http.client.HTTPConnection):
    def getresponse(self) -> http.client.HTTPResponse:
        return _accepted(super().getresponse())


class _Https(http.client.HTTPSConnection):
    def getresponse(self) -> http.client.HTTPResponse:
        return _accepted(super().getresponse())


def _accepted(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    """Return an answer that is no error, and no redirection to nowhere."""
    if answer.status >= 400:
        raise refusal(answer.status, _said(answer.read(_NOTE)), answer.getheader("Retry-After"))
    if answer.status == 303 and not answer.getheader("Location"):
        raise FetchError("the service answered 303 without saying where to go; it is no TAP service")
    return answer


def _said(content: bytes) -> str:
    """Return the message in an error document, VOTable or page."""
    status = _STATUS.search(content)
    text = status[2] or b"" if status else re.sub(rb"<(style|script)\b.*?</\1>|<[^>]+>", b" ", content, flags=re.DOTALL)
    return " ".join(text.decode("utf-8", "replace").split())


class _Tap(TapConn):  # type: ignore[misc]
    """Remember the cookie of a login, to be used for results and by other connections."""

    cookie = ""

    def set_cookie(self, cookie: str) -> None:
        self.cookie = cookie
        super().set_cookie(cookie)


def open_service(url: str, watch: Watch, login: Login | None = None) -> Service:
    """Return a service; nothing is sent yet."""
    # Else every launched and deleted job is announced on the terminal.
    logging.getLogger("astroquery").setLevel(logging.WARNING)
    parts = urlsplit(checked_url(url))
    if parts.username or parts.password:
        raise FetchError("a service's URL must not hold a user or a password; correct the survey's `fetch`")
    server, _, tap = parts.path.rstrip("/").rpartition("/")
    handler = _Connections(url, watch.patience)
    connections = _Tap(
        parts.scheme == "https",
        parts.hostname,
        server_context=server or None,
        tap_context=tap or None,
        upload_context="Upload",
        connhandler=handler,
    )
    if login:
        connections.set_cookie(login.cookie)
    return Service(url.rstrip("/"), TapPlus(url=url, connhandler=connections), connections, handler, login, watch)


def _lines(credentials: Path) -> list[str]:
    """Return the lines of a file of user and password."""
    try:
        lines = [line.strip() for line in credentials.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise LakeError(f"{credentials}: expected a file of two lines, user and password ({type(error).__name__})") from error
    if len(lines) < 2 or not all(lines[:2]):
        raise LakeError(f"{credentials}: expected a file of two lines, user and password; found {len(lines)}")
    return lines


def is_for(credentials: Path, url: str) -> bool:
    """Tell whether a user and password may be sent to a service: the Gaia archive's, or the one that their third line names.

    Raises
    ------
    LakeError
        If the file cannot be read.
    """
    named = [line for line in _lines(credentials)[2:3] if line] or [GAIA_TAP]
    ours, theirs = (urlsplit(one.rstrip("/")) for one in (named[0], url))
    return (ours.scheme, ours.netloc, ours.path) == (theirs.scheme, theirs.netloc, theirs.path)


def log_in(url: str, credentials: Path, watch: Watch) -> Login:
    """Open a session at an archive of ESA's kind, with a file of two lines: user and password.

    Raises
    ------
    LakeError
        If the file cannot be read, the service refuses, or the password would travel unencrypted.
    """
    parts = urlsplit(checked_url(url))
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise FetchError(f"{url}: a password is sent through https:// only; correct the survey's `fetch`, or go without a login")
    user = _lines(credentials)[0]
    service = open_service(url, watch)
    _ask(service, lambda: service.tap.login(credentials_file=str(credentials)))
    if not service.connections.cookie:
        raise FetchError(f"{url}: the service accepted the login, but opened no session")
    return Login(user, service.connections.cookie)


def _ask(service: Service, once: Callable[[], T]) -> T:
    """Ask something of a service, with patience."""

    def asked() -> T:
        try:
            return once()
        except ssl.SSLCertVerificationError as error:
            raise FetchError(
                f"the service's certificate is not sound ({error.verify_message}); it may be another server"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, HTTPError):
                raise FetchError(
                    f"the service answered what no TAP service does ({' '.join(str(error).split())[:200]})"
                ) from error
            raise lost_connection(error, service.watch.patience) from error

    return patiently(asked, service.watch)


def row_limit(service: Service) -> int:
    """Return the most rows of one result: ours, or what the service declares as its own limit if that is less.

    Raises
    ------
    GaveUpError
        If the service cannot be reached: its queries would fail one by one.
    """
    try:
        held = _ask(service, lambda: service.connections.execute_tapget("capabilities").read())
    except FetchError as error:
        if isinstance(error, GaveUpError) and isinstance(error.__cause__, NoAnswerError):
            raise GaveUpError(f"{service.url}: {error}") from error.__cause__
        return ROW_LIMIT
    return min([ROW_LIMIT, *(int(limit) for limit in _HARD.findall(held) if int(limit))])


def launch(service: Service, query: str, *, limit: int, upload: Path | None = None) -> str:
    """Start a query and return the id of its job.

    Parameters
    ----------
    limit
        Most rows to ask for.
    upload
        VOTable that the query knows as ``TAP_UPLOAD.sources``.
    """

    def once() -> str:
        job = service.tap.launch_job_async(
            query,
            output_format="fits",
            background=True,
            maxrec=limit,
            upload_resource=str(upload) if upload else None,
            upload_table_name="sources" if upload else None,
        )
        if not job.jobid or not _JOB.fullmatch(job.jobid):
            raise FetchError(f"the service names its job {job.jobid!r}, which is no plain name")
        return str(job.jobid)

    return _ask(service, once)


def wait(service: Service, job: str) -> None:
    """Look at a job until its result is there.

    Raises
    ------
    LostError
        If the service does not know it (any more).
    EndedError
        If it ended in an error or was aborted; the message is the service's.
    UnfinishedError
        If it takes longer than all patience.
    """
    held = _job(service, job)
    watch, patience, begun, pause, waiting = (
        service.watch,
        service.watch.patience,
        time.monotonic(),
        service.watch.patience.poll,
        0,
    )
    while True:
        phase = _ask(service, lambda: _phase(held))
        if phase in ("COMPLETED", "ARCHIVED"):
            return
        if phase not in _BUSY:
            raise EndedError(f"the query ended in {phase}: {_failure(service, held)}")
        waiting = waiting + 1 if phase == "PENDING" else 0
        if waiting > 1:
            # Some services do not start a job when it is made, whatever the request says.
            held.set_phase("PENDING")
            _ask(service, held.start)
        if time.monotonic() - begun > patience.query:
            raise UnfinishedError(
                f"the query is still {phase} after {patience.query:.0f} s; it goes on: run this again to look at it"
            )
        watch.pause(pause)
        pause = min(pause * 1.5, patience.longest_poll)


def _job(service: Service, job: str) -> Any:
    held = Job(async_job=True, connhandler=service.connections)
    held.jobid = job
    return held


def _phase(job: Any) -> str:
    try:
        phase = str(job.get_phase(update=True)).strip().upper()
    except AbsentError as error:
        raise LostError("the service does not know its job any more") from error
    except UnicodeDecodeError as error:
        raise TransientError("the service answered no phase of a job") from error
    if phase not in (*_BUSY, "COMPLETED", "ERROR", "ABORTED", "ARCHIVED"):
        raise TransientError(f"the service answered no phase of a job, but {_said(phase.encode())[:80]!r}")
    return phase


def _failure(service: Service, job: Any) -> str:
    """Return what a service says of a failed job."""
    try:
        text = _ask(service, lambda: str(job.get_error()))
    except FetchError as error:
        return f"no reason given ({error})"
    return _said(re.sub(r"^Error \d+:", "", text).encode())[:500] or "no reason given"


def result_link(service: Service, job: str) -> Link:
    """Return where the result of a finished job is."""
    headers = {"Cookie": service.login.cookie} if service.login else {}
    return Link(f"{service.url}/async/{job}/results/result", headers)


def forget(service: Service, job: str) -> None:
    """Delete a job with its result at the service; one that is gone already is no error."""
    try:
        _ask(service, lambda: _delete(service, job))
    except AbsentError:
        return
    except FetchError:
        # Not every archive lets a job be deleted as UWS has it; ESA's know another way.
        _ask(service, lambda: service.tap.remove_jobs(job))


def _delete(service: Service, job: str) -> None:
    connection = service.handler.get_connection()
    headers = {"Cookie": service.login.cookie} if service.login else {}
    connection.request("DELETE", f"{urlsplit(service.url).path}/async/{job}", None, headers)
    connection.getresponse().read()


def write_sources(ids: Ids, path: Path) -> None:
    """Write ids as a VOTable of one column ``source_id``; numbers are written in full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            '<RESOURCE><TABLE><FIELD name="source_id" datatype="long"/><DATA><TABLEDATA>\n'
        )
        file.writelines(f"<TR><TD>{source_id}</TD></TR>\n" for source_id in ids.tolist())
        file.write("</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>\n")


def upload(service: Service, table: str, path: Path) -> str:
    """Keep a VOTable at the service as a table of the user's; return its full name in queries."""
    if service.login is None:
        raise TypeError("only a user who is logged in has tables")
    made = _ask(service, lambda: service.tap.upload_table(upload_resource=str(path), table_name=table))
    if made is not None:
        wait(service, made.jobid)
        forget(service, made.jobid)
    return f"user_{service.login.user}.{table}"


def drop(service: Service, table: str) -> None:
    """Delete a table of the user's; one that is gone already is no error."""
    try:
        _ask(service, lambda: service.tap.delete_user_table(table_name=table, force_removal=True))
    except AbsentError:
        return


def refuse_cut_off(path: Path, rows: int, limit: int) -> None:
    """Refuse a result that the service cut off, or may have.

    Raises
    ------
    CutOffError
        If it says so, or holds as many rows as it may at most.
    EndedError
        If it says that the query failed.
    """
    refuse_error_document(path)
    if any(status == b"OVERFLOW" for status, _ in _statuses(path)):
        raise CutOffError(f"the service cut the result off after {rows:,} rows")
    if rows >= limit:
        raise CutOffError(f"the result has {rows:,} rows, the most that the service gives: it was probably cut off")


def refuse_error_document(path: Path) -> None:
    """Refuse what a service sent to say that a query failed.

    Raises
    ------
    EndedError
        With what it says.
    """
    for status, said in _statuses(path):
        if status == b"ERROR":
            raise EndedError(f"the query failed: {' '.join(said.decode('utf-8', 'replace').split())[:500] or 'no reason given'}")


def _statuses(path: Path) -> list[tuple[bytes, bytes]]:
    """Return what a VOTable says of its query, before or after the rows; nothing of other forms."""
    if recognise(path) is not Form.VOTABLE:
        return []
    with open_bytes(path) as stream:
        head, tail = stream.read(_EDGE), b""
        while block := stream.read(_EDGE):
            tail = (tail + block)[-2 * _EDGE :]
    return [(status, said) for status, said in _STATUS.findall(head) + _STATUS.findall(tail)]
