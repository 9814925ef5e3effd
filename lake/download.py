"""Fetch one file by HTTP: asked for with patience, resumed where it broke off, never longer or shorter than announced."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3

from lake.errors import LakeError
from lake.whole import unwritable

T = TypeVar("T")

_CHUNK = 1 << 18
_LONGEST_TEXT = 64 << 20
_LONGEST_NOTE = 300
_REDIRECTIONS = 10
_CALM = frozenset((408, 425, 429))
_LOGIN = "it asks for a login or a permission that this request does not have; get the file by hand, or put the login in ~/.netrc"


class FetchError(LakeError):
    """Report one file that could not be fetched; asking again at once would not help."""


class AbsentError(FetchError):
    """Report a file that the server says it does not have."""


class GaveUpError(FetchError):
    """Report a server that did not answer with all patience; a later run may have more luck."""


class TransientError(FetchError):
    """Report a failure that may pass.

    Attributes
    ----------
    wait
        Seconds after which the server wants to be asked again; None if it did not say.
    advanced
        Whether the try got farther than all before it, so that patience starts anew.
    """

    def __init__(self, text: str, *, wait: float | None = None, advanced: bool = False) -> None:
        super().__init__(text)
        self.wait, self.advanced = wait, advanced


class NoAnswerError(TransientError):
    """Report a server that cannot be reached, or that fell silent."""


class Stopped(Exception):  # noqa: N818 - no error of a file: the run itself was told to end
    """Report that the run was told to end."""


@dataclass(frozen=True)
class Patience:
    """How long servers are waited for, and how often they are asked again.

    Attributes
    ----------
    tries
        Tries in a row that may bring nothing new before a file is given up.
    silence
        Longest silence of a server, while connecting or in the middle of a file [s].
    pause, longest_pause
        Pause before the second try, doubled from try to try and shortened by chance so that many do not ask at once,
        and the longest one [s].
    come_back
        Longest ``Retry-After`` that is waited for [s]; who asks for more is left to a later run.
    poll, longest_poll
        First and longest pause between two looks at a running query [s].
    query
        Longest time that a query may be queued and run in all [s]; it goes on, and a later run looks at it again.
    dead
        Number of files given up one after the other, with none that succeeded between, after which the server is taken
        for dead and all others are left to a later run.
    """

    tries: int = 6
    silence: float = 60.0
    pause: float = 2.0
    longest_pause: float = 120.0
    come_back: float = 900.0
    poll: float = 2.0
    longest_poll: float = 60.0
    query: float = 6 * 3600.0
    dead: int = 8


@dataclass(frozen=True)
class Watch:
    """What all files of a run share.

    Attributes
    ----------
    stop
        Set when the run is told to end: pauses end, and half files stay as they are.
    received
        Told of every piece: number of bytes.
    waits
        Told before every pause after a failure: what failed, and how long the pause is [s].
    """

    patience: Patience = field(default_factory=Patience)
    stop: threading.Event = field(default_factory=threading.Event)
    received: Callable[[int], None] = lambda _size: None
    waits: Callable[[str, float], None] = lambda _why, _seconds: None

    def pause(self, seconds: float) -> None:
        """Wait, unless the run ends."""
        if self.stop.wait(seconds):
            raise Stopped


@dataclass(frozen=True)
class Link:
    """Where a file is.

    Attributes
    ----------
    headers
        Sent with the request, such as the cookie of a login.
    checked
        Whether a checksum of the file is published, so that a half file may be resumed although the server names no version.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    checked: bool = False


def checked_url(url: str) -> str:
    """Return a URL of HTTP.

    Raises
    ------
    FetchError
        If it is of any other kind.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(f"{plain_url(url)!r}: files are fetched from http:// and https:// only; correct the survey's `fetch`")
    return url


def plain_url(url: str) -> str:
    """Return a URL without what may be secret: user, password, query and fragment.

    >>> plain_url("https://user:word@example.org:8080/a/b.fits?token=1#top")
    'https://example.org:8080/a/b.fits'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def patiently(once: Callable[[], T], watch: Watch, tried: Callable[[], None] = lambda: None) -> T:
    """Do something until it succeeds, with growing pauses after failures that may pass.

    Raises
    ------
    FetchError
        If it failed for good, or too often without getting any farther.
    """
    patience, fruitless = watch.patience, 0
    while True:
        if watch.stop.is_set():
            raise Stopped
        try:
            return once()
        except TransientError as error:
            tried()
            fruitless = 1 if error.advanced else fruitless + 1
            if fruitless >= patience.tries:
                raise GaveUpError(f"{error}; given up after {fruitless} tries, run the same command again later") from error
            if error.wait is not None and error.wait > patience.come_back:
                raise GaveUpError(
                    f"{error}; it wants to be left alone for {error.wait:.0f} s: run this again after that"
                ) from error
            grown = min(patience.pause * 2 ** (fruitless - 1), patience.longest_pause)
            pause = error.wait if error.wait is not None else grown * random.uniform(0.5, 1.0)
            watch.waits(str(error), pause)
            watch.pause(pause)


def refusal(status: int, said: str, retry_after: str | None = None) -> FetchError:
    """Return the error for an answer that is no file: absent, for good, or passing."""
    if status in (404, 410):
        return AbsentError(f"the server does not have it ({status})")
    if status in (401, 403):
        return FetchError(f"the server refuses it ({status}): {_LOGIN}")
    note = " ".join(said.split())[:_LONGEST_NOTE]
    text = f"the server answered {status}{': ' + note if note else ''}"
    return TransientError(text, wait=_seconds(retry_after)) if status in _CALM or status >= 500 else FetchError(text)


def _seconds(retry_after: str | None) -> float | None:
    """Return the pause that a ``Retry-After`` header asks for, in seconds or until a date."""
    seconds = _number(retry_after or "")
    if seconds is not None or not retry_after:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _number(said: str) -> int | None:
    """Return the number that a header holds, if it is one: a server may send anything."""
    said = said.strip()
    return int(said) if re.fullmatch(r"[0-9]{1,18}", said) else None


def lost_connection(error: BaseException, patience: Patience) -> NoAnswerError:
    """Return the error for a connection that failed, in words that hold no URL (it may have a token in it)."""
    chain: list[BaseException] = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    silent = any(isinstance(one, TimeoutError) or "Timeout" in type(one).__name__ for one in chain)
    said = next((one.strerror for one in reversed(chain) if isinstance(one, OSError) and one.strerror), type(error).__name__)
    return NoAnswerError(
        f"the server did not answer within {patience.silence:g} s" if silent else f"the connection failed ({said})"
    )


class _Session(requests.Session):
    """Follow redirections to HTTP only, and never from HTTPS down to HTTP."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            to = urljoin(resp.url, target)
            if urlsplit(checked_url(to)).scheme == "http" and urlsplit(resp.url).scheme == "https":
                raise FetchError(f"{plain_url(resp.url)} leads from https to {plain_url(to)}, where anybody could change it")
        return target


@contextmanager
def _asked(link: Link, headers: Mapping[str, str], watch: Watch) -> Iterator[Any]:
    """Ask for a file and yield the answer, a success; the content is still to come.

    Raises
    ------
    FetchError
        If the answer is an error, leads elsewhere than to HTTP, or there is none.
    """
    patience = watch.patience
    everything = {"User-Agent": "gaialake", "Accept-Encoding": "identity", **link.headers, **headers}
    try:
        with _Session() as session:
            session.max_redirects = _REDIRECTIONS
            answer = session.get(checked_url(link.url), headers=everything, stream=True, timeout=patience.silence)
            with answer:
                if answer.status_code not in (200, 206, 416):
                    # What else the server says may repeat a token of the URL.
                    raise refusal(answer.status_code, "", answer.headers.get("Retry-After"))
                yield answer
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise FetchError(f"{plain_url(link.url)}: the server's certificate is not sound; it may be another server") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.TooManyRedirects) as error:
        raise FetchError(f"{plain_url(link.url)}: {type(error).__name__}; correct the survey's `fetch`") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise lost_connection(error, patience) from error


def text_at(link: Link, watch: Watch, *, page: bool = False) -> str:
    """Return a short text such as a listing of files.

    Parameters
    ----------
    page
        Whether a page is expected, such as the index of a folder, and not a plain text.

    Raises
    ------
    FetchError
        If it cannot be had, is longer than any listing, or is a page where none is expected and the other way round.
    """

    def once() -> str:
        with _asked(link, {}, watch) as answer:
            text = answer.raw.read(_LONGEST_TEXT + 1, decode_content=True)
            announced = _number(answer.headers.get("Content-Length", ""))
            if announced and "Content-Encoding" not in answer.headers and len(text) < announced:
                raise TransientError(f"it broke off after {len(text):,} of {announced:,} bytes")
        if len(text) > _LONGEST_TEXT or (text.lstrip()[:1] == b"<") is not page:
            raise FetchError(f"it holds {'no page' if page else 'a page'} or something else than a list of files")
        return str(text.decode("utf-8", "replace"))

    try:
        return patiently(once, watch)
    except FetchError as error:
        raise type(error)(f"{plain_url(link.url)}: {error}") from error


@dataclass
class _Half:
    """A file on its way: the part that is there, its version, and how far any try has got."""

    part: Path
    version: str
    remember: Callable[[str], None]
    farthest: int = 0

    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)


def download(
    link: Link,
    part: Path,
    watch: Watch,
    *,
    version: str = "",
    remember: Callable[[str], None] = lambda _version: None,
    tried: Callable[[], None] = lambda: None,
) -> None:
    """Fetch a file into `part`, which holds all of it afterwards; a half file that is there is resumed.

    Parameters
    ----------
    version
        ETag or date of the file whose half is in `part`; without it a half file is resumed only if a checksum is published.
    remember
        Told of the version before its first byte is written.
    tried
        Told of every try that failed.

    Raises
    ------
    FetchError
        If the file is absent, refused, or not to be had with all patience.
    LakeError
        If it cannot be written.
    """
    half = _Half(part, version, remember)
    half.farthest = half.size()
    patiently(lambda: _once(link, half, watch), watch, tried)


def _once(link: Link, half: _Half, watch: Watch) -> None:
    """Ask once, for what is missing where that is possible."""
    held = half.size()
    headers = {}
    if held and (half.version or link.checked):
        headers["Range"] = f"bytes={held}-"
        if half.version:
            headers["If-Range"] = half.version
    with _asked(link, headers, watch) as answer:
        total = _total(answer, held)
        if answer.status_code == 416 and total == held:
            return
        start = _start(answer, half, held) if answer.status_code != 200 else 0
        version = _version(answer.headers)
        if version != half.version:
            half.remember(version)
            half.version = version
        size = _write(answer, half, start, watch)
    if total is not None and size != total:
        if size > total:
            half.forget()
        advanced, half.farthest = size > half.farthest, max(size, half.farthest)
        raise TransientError(f"it broke off after {size:,} of {total:,} bytes", advanced=advanced and size < total)


def _total(answer: Any, held: int) -> int | None:
    """Return how long the whole file is, if the server says so."""
    if answer.status_code in (206, 416):
        said = re.fullmatch(r"bytes (?:[0-9]+-[0-9]+|\*)/([0-9]{1,18})", answer.headers.get("Content-Range", ""))
        if said:
            return int(said[1])
    length = _number(answer.headers.get("Content-Length", ""))
    return length + (held if answer.status_code == 206 else 0) if length is not None else None


def _start(answer: Any, half: _Half, held: int) -> int:
    """Return where the rest that was sent begins, if it is the rest of the file whose half is there.

    Raises
    ------
    TransientError
        If it is not; the half file is thrown away.
    """
    said = re.match(r"bytes ([0-9]{1,18})-", answer.headers.get("Content-Range", ""))
    version = _version(answer.headers)
    changed = half.version and version and version != half.version
    if answer.status_code == 416 or not said or int(said[1]) != held or changed:
        half.forget()
        raise TransientError("the file changed since its first half was fetched")
    return held


def _version(headers: Mapping[str, str]) -> str:
    """Return what tells this version of a file from others; a weak ETag does not promise equal bytes."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _write(answer: Any, half: _Half, start: int, watch: Watch) -> int:
    """Write what comes, as it comes on the wire, and return the size of the part; a lost connection leaves it to be resumed."""
    size = start
    try:
        half.part.parent.mkdir(parents=True, exist_ok=True)
        file = half.part.open("ab" if start else "wb")
    except OSError as error:
        raise unwritable(half.part, error) from error
    with file:
        try:
            while piece := answer.raw.read1(_CHUNK, decode_content=False):
                size += _put(file, piece, half.part)
                watch.received(len(piece))
                if watch.stop.is_set():
                    raise Stopped
        except (LakeError, Stopped):
            raise
        except Exception as error:
            _put(file, b"", half.part)
            advanced, half.farthest = size > half.farthest, max(size, half.farthest)
            lost = lost_connection(error, watch.patience)
            raise TransientError(f"{lost} after {size:,} bytes", advanced=advanced) from error
    return size


def _put(file: Any, piece: bytes, part: Path) -> int:
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        raise unwritable(part, error) from error
    return len(piece)
