"""Files are fetched whole or not at all, from servers that behave and from servers that do not."""

import dataclasses
import gzip
import hashlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest

from jobs import commands, fetching
from jobs.cli import main
from jobs.lock import writing
from lake.account import Account
from lake.declaration import Adql, Http
from lake.download import FetchError, Patience, TransientError, Watch, checked_url, refusal
from lake.errors import LakeError
from lake.fetch import Outcome, fetch, make_plan
from lake.ledger import raw_files
from lake.orders import adql_orders, http_orders
from lake.root import Lake
from lake.storage import Storage
from lake.survey import Survey, same, surveys
from tests.lake import servers
from tests.lake.servers import Files, elsewhere, half, no_range, ok, page, status

QUICK = Patience(tries=3, silence=10.0, pause=0.01, longest_pause=0.03, come_back=3.0, dead=50)
STARS = Survey(
    name="stars_dr1",
    title="A made-up survey",
    release="1",
    kind="labels",
    citation="nobody",
    licence="CC0",
    source="https://example.org/stars",
    patterns=("part_*.csv.gz", "part_*.fits", "part_*.csv"),
    dialects=("archive_csv",),
    columns=same("source_id radial_velocity"),
    required=("source_id", "radial_velocity"),
)
Fetch = Callable[..., Outcome]


def table(seed: int, rows: int = 4_000) -> bytes:
    """Return a compressed CSV file of random stars, some 40 kB."""
    rng = np.random.default_rng(seed)
    ids, values = rng.integers(2**40, 2**62, rows), rng.normal(0, 30, rows)
    lines = [f"{i},{v:.4f}" for i, v in zip(ids, values, strict=True)]
    return gzip.compress("\n".join(["source_id,radial_velocity", *lines, ""]).encode(), mtime=0)


@pytest.fixture
def host() -> Iterator[tuple[str, Files]]:
    """A server with five sound files."""
    with servers.file_server() as (url, files):
        for k in range(5):
            files.add(f"part_{k}.csv.gz", table(k))
        yield url, files


@pytest.fixture
def at(host: tuple[str, Files], new_lake: Lake) -> Fetch:
    """Return the function that fetches the given files, all if none is given, by their URLs."""
    url, files = host

    def run(*names: str, patience: Patience = QUICK, jobs: int = 2, **declared: object) -> Outcome:
        urls = tuple(f"{url}/{name}" for name in names or tuple(files.content))
        request = Http(**({"urls": urls} | declared))  # type: ignore[arg-type]
        watch = Watch(patience)
        plan = make_plan(new_lake.storage, new_lake.grid, dataclasses.replace(STARS, fetch=request), watch)
        return fetch(new_lake.storage, plan, watch, jobs=jobs)

    return run


def entry(where: Lake, name: str) -> dict[str, object]:
    """Return what the account says of a file."""
    return Account(where.storage, STARS).of(name)


def raw(where: Lake, name: str) -> Path:
    """Return where a file should be."""
    return where.storage.path(f"raw/stars_dr1/{name}")


def names_under(folder: Path) -> list[str]:
    """Return every file in and below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_files_of_a_listing_are_fetched_verified_and_found_by_ingest(host, at, new_lake: Lake) -> None:
    url, files = host
    files.add("_MD5SUM.txt", files.listing())
    files.add("part_9.fits", b"not wanted: not in the listing")
    outcome = at(urls=(), listing=f"{url}/_MD5SUM.txt", names="part_*.csv.gz")
    assert outcome.whole
    assert (len(outcome.fetched), outcome.bytes) == (5, sum(len(files.content[f"part_{k}.csv.gz"]) for k in range(5)))
    for k in range(5):
        content = files.content[f"part_{k}.csv.gz"]
        assert raw(new_lake, f"part_{k}.csv.gz").read_bytes() == content
        held = entry(new_lake, f"part_{k}.csv.gz")
        assert (held["state"], held["bytes"], held["tries"]) == ("done", len(content), 1)
        assert held["sha256"] == hashlib.sha256(content).hexdigest()
        assert held["url"] == f"{url}/part_{k}.csv.gz"
    assert [file.path.name for file in raw_files(new_lake.storage, STARS)] == [f"part_{k}.csv.gz" for k in range(5)]
    assert not new_lake.storage.path("raw/stars_dr1.part").exists()


def test_a_second_run_fetches_nothing(host, at) -> None:
    _, files = host
    at()
    before = len(files.asked)
    outcome = at()
    assert (len(files.asked), len(outcome.kept), outcome.fetched) == (before, 5, ())


def test_a_file_that_broke_off_is_resumed_where_it_broke_off(host, at, new_lake: Lake) -> None:
    _, files = host
    content = table(7)
    files.add("part_7.csv.gz", content, half, half, ok)
    assert at("part_7.csv.gz").whole
    first, second = len(content) // 2, len(content) // 2 + (len(content) - len(content) // 2) // 2
    assert [wanted for _, wanted in files.asked] == ["", f"bytes={first}-", f"bytes={second}-"]
    assert raw(new_lake, "part_7.csv.gz").read_bytes() == content
    assert entry(new_lake, "part_7.csv.gz")["tries"] == 3


def test_progress_renews_patience(host, at) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), *[half] * 6, ok)
    assert at("part_7.csv.gz").whole
    assert files.count("part_7.csv.gz") == 7 > QUICK.tries


def test_a_server_without_ranges_sends_the_file_anew(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), servers.half_without_range, no_range)
    assert at("part_7.csv.gz").whole
    assert [wanted for _, wanted in files.asked] == ["", ""]
    assert raw(new_lake, "part_7.csv.gz").read_bytes() == table(7)


def test_a_server_that_always_breaks_off_at_the_same_place_is_given_up(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), servers.half_without_range)
    assert at("part_7.csv.gz").failed == ("part_7.csv.gz",)
    assert "broke off" in str(entry(new_lake, "part_7.csv.gz")["error"]) or "connection failed" in str(
        entry(new_lake, "part_7.csv.gz")["error"]
    )
    assert files.count("part_7.csv.gz") <= QUICK.tries + 1


@pytest.mark.parametrize("honest", [True, False])
def test_halves_of_two_versions_are_never_put_together(honest: bool, host, at, new_lake: Lake) -> None:
    _, files = host
    # Uncompressed, so that nothing in the content itself gives a patchwork away.
    old, new = gzip.decompress(table(7)), gzip.decompress(table(8))

    def replaced(asked: servers.FileHandler, content: bytes, tag: str) -> None:
        files.content["part_7.csv"], files.tags["part_7.csv"] = new, '"v2"'
        if not honest:  # sends the rest of the new version although the old one was asked for
            del asked.headers["If-Range"]
        ok(asked, new, '"v2"')

    files.add("part_7.csv", old, half, replaced, ok)
    assert at("part_7.csv").whole
    assert raw(new_lake, "part_7.csv").read_bytes() == new


def test_a_busy_server_is_asked_again_when_it_said(host, at) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), status(429, Retry_After="1"), ok)
    files.add("part_8.csv.gz", table(8), status(503), status(503), ok)
    begun = time.monotonic()
    assert at("part_7.csv.gz", "part_8.csv.gz").whole
    assert 1.0 <= time.monotonic() - begun < 10.0
    assert files.count("part_8.csv.gz") == 3


def test_a_server_that_wants_to_be_left_alone_for_long_is_left_to_a_later_run(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), status(503, Retry_After="86400"))
    assert at("part_7.csv.gz").failed == ("part_7.csv.gz",)
    assert "86400 s" in str(entry(new_lake, "part_7.csv.gz")["error"])
    assert files.count("part_7.csv.gz") == 1


def test_a_date_to_come_back_is_understood() -> None:
    error = refusal(503, "", formatdate(time.time() + 60, usegmt=True))
    assert isinstance(error, TransientError)
    assert 57 < (error.wait or 0) <= 60
    for odd in ("soon", "\u00b2", "Mon, 01 Jan 99999999999 00:00:00 GMT", "9" * 5000):
        assert getattr(refusal(503, "", odd), "wait", 1) is None


def test_headers_that_hold_no_number_stop_nothing(host, at) -> None:
    url, files = host

    def odd(asked: servers.FileHandler, content: bytes, tag: str) -> None:
        asked.answer(200, content, Content_Length="\u00b2", Connection="close")
        asked.hang_up()

    files.add("part_7.csv.gz", table(7), odd)
    files.add("_MD5SUM.txt", files.listing(), odd)
    assert at("part_1.csv.gz", "part_7.csv.gz").whole
    assert at(urls=(), listing=f"{url}/_MD5SUM.txt", names="part_*").whole


def test_a_server_that_never_answers_is_given_up_and_the_others_are_fetched(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), servers.silent)
    outcome = at(patience=dataclasses.replace(QUICK, silence=0.4))
    assert outcome.failed == ("part_7.csv.gz",)
    assert len(outcome.fetched) == 5
    assert "did not answer within 0.4 s; given up after 3 tries" in str(entry(new_lake, "part_7.csv.gz")["error"])


def test_a_connection_that_is_reset_is_tried_again(host, at) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), servers.reset, ok)
    assert at("part_7.csv.gz").whole


def test_a_server_that_is_not_there_fails_with_its_reason(at, new_lake: Lake) -> None:
    outcome = at(urls=("http://127.0.0.1:1/part_1.csv.gz",))
    assert outcome.failed == ("part_1.csv.gz",)
    assert "Connection refused" in str(entry(new_lake, "part_1.csv.gz")["error"])


def test_an_error_page_that_is_called_a_success_is_no_file(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), page)
    files.add("part_8.fits", b"", status(200, Content_Length="0"))
    files.add("part_9.csv", b'{"status": "error", "message": "unknown release"}')
    files.add("part_6.fits", b"source_id,radial_velocity\n1,2\n")
    outcome = at("part_6.fits", "part_7.csv.gz", "part_8.fits", "part_9.csv")
    assert len(outcome.failed) == 4
    assert "holds a page, not a table" in str(entry(new_lake, "part_7.csv.gz")["error"])
    assert "is empty" in str(entry(new_lake, "part_8.fits")["error"])
    assert "holds JSON" in str(entry(new_lake, "part_9.csv")["error"])
    assert "FITS was expected" in str(entry(new_lake, "part_6.fits")["error"])
    assert files.count("part_7.csv.gz") == 1
    assert names_under(new_lake.storage.path("raw")) == ["stars_dr1.fetch.json"]


@pytest.mark.parametrize("code", [404, 410])
def test_an_absent_file_is_counted_and_not_asked_for_twice(code: int, host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", b"", status(code))
    outcome = at()
    assert (outcome.absent, outcome.whole, len(outcome.fetched)) == (("part_7.csv.gz",), False, 5)
    assert (entry(new_lake, "part_7.csv.gz")["state"], entry(new_lake, "part_7.csv.gz")["tries"]) == ("absent", 1)
    assert files.count("part_7.csv.gz") == 1
    files.add("part_7.csv.gz", table(7), ok)
    assert at().fetched == ("part_7.csv.gz",)


def test_gaps_that_the_declaration_knows_are_no_failure(host, at) -> None:
    url, files = host
    outcome = at(urls=(f"{url}/part_{{part:d}}.csv.gz",), parts=(3, 6), absent=("part_[56].csv.gz",))
    assert (outcome.whole, outcome.excused, outcome.asked) == (True, ("part_5.csv.gz", "part_6.csv.gz"), 4)


@pytest.mark.parametrize("code", [401, 403])
def test_a_file_behind_a_login_fails_with_what_to_do(code: int, host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), status(code))
    assert at().failed == ("part_7.csv.gz",)
    assert f"refuses it ({code}): it asks for a login" in str(entry(new_lake, "part_7.csv.gz")["error"])
    assert files.count("part_7.csv.gz") == 1


def test_a_compressed_file_that_ends_too_early_is_fetched_anew(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(7), servers.truncated, no_range)
    files.add("part_8.csv.gz", table(8), servers.unmeasured, no_range)
    # Longer than any buffer: only its end tells.
    files.add("part_9.csv.gz", table(9, 90_000), servers.truncated)
    outcome = at("part_7.csv.gz", "part_8.csv.gz", "part_9.csv.gz")
    assert (outcome.fetched, outcome.failed) == (("part_7.csv.gz", "part_8.csv.gz"), ("part_9.csv.gz",))
    assert raw(new_lake, "part_8.csv.gz").read_bytes() == table(8)
    assert "truncated" in str(entry(new_lake, "part_9.csv.gz")["error"])
    assert files.count("part_9.csv.gz") == 2
    assert not raw(new_lake, "part_9.csv.gz").exists()


def test_a_file_that_differs_from_its_published_checksum_is_not_kept(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv.gz", table(8), no_range)
    published = hashlib.sha256(table(7)).hexdigest()
    outcome = at("part_7.csv.gz", sha256=(("part_7.csv.gz", published),))
    assert outcome.failed == ("part_7.csv.gz",)
    assert f"but {published} is published" in str(entry(new_lake, "part_7.csv.gz")["error"])
    files.add("part_7.csv.gz", table(7))
    assert at("part_7.csv.gz", sha256=(("part_7.csv.gz", published.upper()),)).whole


def test_a_new_version_by_its_published_checksum_is_fetched(host, at, new_lake: Lake) -> None:
    _, files = host
    sums = [(("part_1.csv.gz", hashlib.md5(table(seed)).hexdigest()),) for seed in (1, 8)]
    assert at("part_1.csv.gz", md5=sums[0]).fetched == ("part_1.csv.gz",)
    files.add("part_1.csv.gz", table(8))
    assert at("part_1.csv.gz", md5=sums[0]).kept == ("part_1.csv.gz",)
    assert at("part_1.csv.gz", md5=sums[1]).fetched == ("part_1.csv.gz",)
    assert raw(new_lake, "part_1.csv.gz").read_bytes() == table(8)


def test_no_more_files_at_a_time_than_allowed(host, at) -> None:
    _, files = host
    files.pace = 0.002
    for name in files.content:
        files.script[name] = [servers.crawling]
    assert at(jobs=2).whole
    assert files.most == 2


def test_names_that_leave_the_folder_are_refused(host, at, new_lake: Lake) -> None:
    url, files = host
    for name in ("part_/../../../etc.csv.gz", "part_..%2f..%2fx.csv.gz", "/part_1.csv.gz"):
        files.add("_MD5SUM.txt", b"0" * 32 + b"  " + name.encode() + b"\n")
        with pytest.raises(FetchError, match="no plain name|no \\S+ in this listing"):
            at(urls=(), listing=f"{url}/_MD5SUM.txt", names="*part_*.csv.gz")
    with pytest.raises(FetchError, match="no plain name"):
        at(urls=(f"{url}/get?id=3#../part_3.csv.gz",))
    assert names_under(new_lake.storage.path("")) == ["lake.json"]


def test_a_fragment_names_a_file_that_its_url_does_not(host, at, new_lake: Lake) -> None:
    url, _ = host
    assert at(urls=(f"{url}/part_3.csv.gz?download=1#part_x.csv.gz",)).fetched == ("part_x.csv.gz",)
    assert raw(new_lake, "part_x.csv.gz").read_bytes() == table(3)


def test_names_that_ingest_would_not_find_are_refused_before_anything_is_fetched(host, at) -> None:
    url, files = host
    with pytest.raises(FetchError, match=r"'other.csv.gz', but its files are part_\*.csv.gz"):
        at(urls=(f"{url}/other.csv.gz",))
    assert files.asked == []


def test_nothing_but_http_is_fetched_or_followed(host, at, new_lake: Lake, tmp_path: Path) -> None:
    url, files = host
    secret = tmp_path / "part_secret.csv.gz"
    secret.write_bytes(table(1))
    for wrong in (f"file://{secret}", "ftp://example.org/part_1.csv.gz", "part_1.csv.gz"):
        with pytest.raises(FetchError, match="http:// and https:// only"):
            at(urls=(wrong,))
        with pytest.raises(FetchError):
            checked_url(wrong)
    files.add("part_7.csv.gz", b"", elsewhere(f"file://{secret}"))
    files.add("part_8.csv.gz", b"", elsewhere(f"{url}/part_1.csv.gz"))
    files.add("part_9.csv.gz", b"", elsewhere(f"{url}/part_9.csv.gz"))
    outcome = at("part_7.csv.gz", "part_8.csv.gz", "part_9.csv.gz")
    assert (outcome.fetched, outcome.failed) == (("part_8.csv.gz",), ("part_7.csv.gz", "part_9.csv.gz"))
    assert "http:// and https:// only" in str(entry(new_lake, "part_7.csv.gz")["error"])
    assert "TooManyRedirects" in str(entry(new_lake, "part_9.csv.gz")["error"])


def test_no_password_and_no_token_gets_into_the_account_or_a_message(host, at, new_lake: Lake) -> None:
    url, files = host
    files.add("part_7.csv.gz", table(7), status(403))
    files.add("part_8.csv.gz", table(8), status(503))
    files.add("part_9.csv.gz", table(9), elsewhere("ftp://user:WORD@host/x?token=SECRET"))
    names = ("part_1.csv.gz", "part_7.csv.gz", "part_8.csv.gz", "part_9.csv.gz")
    secret = tuple(f"{url}/{name}?token=SECRET".replace("http://", "http://annie:WORD@") for name in names)
    outcome = at(urls=(*secret, "http://annie:WORD@127.0.0.1:1/part_6.csv.gz?token=SECRET"))
    assert (len(outcome.fetched), len(outcome.failed)) == (1, 4)
    said = new_lake.storage.read_bytes("raw/stars_dr1.fetch.json").decode()
    assert "SECRET" not in said
    assert "WORD" not in said
    with pytest.raises(FetchError) as caught:
        at(urls=(), listing=f"{url}/absent.txt?token=SECRET".replace("http://", "http://annie:WORD@"))
    assert "SECRET" not in str(caught.value)
    assert "WORD" not in str(caught.value)


def test_files_that_somebody_put_there_are_kept_if_they_are_sound(host, at, new_lake: Lake) -> None:
    url, files = host
    files.add("_MD5SUM.txt", files.listing())
    raw(new_lake, "x").parent.mkdir(parents=True)
    raw(new_lake, "part_1.csv.gz").write_bytes(table(1))
    raw(new_lake, "part_2.csv.gz").write_bytes(table(2)[:-100])
    outcome = at(urls=(), listing=f"{url}/_MD5SUM.txt", names="part_*")
    assert outcome.whole
    assert (files.count("part_1.csv.gz"), files.count("part_2.csv.gz")) == (0, 1)
    assert raw(new_lake, "part_2.csv.gz").read_bytes() == table(2)


def test_a_file_that_has_its_name_but_is_not_accounted_for_is_recognised(host, at, new_lake: Lake) -> None:
    _, files = host
    files.add("part_7.csv", gzip.decompress(table(7)))
    at("part_7.csv")
    Account(new_lake.storage, STARS).change("part_7.csv", state="pending", fetched=None)
    assert at("part_7.csv").fetched == ("part_7.csv",)
    assert files.count("part_7.csv") == 1


def test_files_that_are_gone_or_changed_in_length_are_fetched_again(host, at, new_lake: Lake) -> None:
    at()
    raw(new_lake, "part_1.csv.gz").unlink()
    raw(new_lake, "part_2.csv.gz").write_bytes(table(2)[:100])
    assert at().fetched == ("part_1.csv.gz", "part_2.csv.gz")
    assert raw(new_lake, "part_2.csv.gz").read_bytes() == table(2)


def test_a_server_that_is_dead_is_not_asked_for_thousands_of_files(host, at, new_lake: Lake) -> None:
    _, files = host
    for k in range(30):
        files.add(f"part_{k}.csv.gz", table(0), servers.reset)
    outcome = at(patience=dataclasses.replace(QUICK, dead=4))
    assert 4 <= len(outcome.failed) <= 6
    assert len(outcome.left) == 30 - len(outcome.failed)
    assert not outcome.whole


def test_files_that_failed_before_are_asked_for_last(host, at) -> None:
    _, files = host
    for k in range(5):
        files.script[f"part_{k}.csv.gz"] = [servers.reset] if k < 2 else [ok]
    few = dataclasses.replace(QUICK, dead=2)
    assert len(at(jobs=1, patience=few).left) == 3
    outcome = at(jobs=1, patience=few)
    assert (len(outcome.fetched), len(outcome.failed)) == (3, 2)


def test_a_full_disk_stops_the_run_with_what_to_do_and_keeps_what_is_there(host, at, new_lake: Lake) -> None:
    _, files = host
    at("part_1.csv.gz")
    part = new_lake.storage.path("raw/stars_dr1.part/part_2.csv.gz")
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    with pytest.raises(LakeError, match="No space left on device.*free some space"):
        at("part_1.csv.gz", "part_2.csv.gz")
    part.unlink()
    assert at("part_1.csv.gz", "part_2.csv.gz").kept == ("part_1.csv.gz",)


def test_a_folder_that_cannot_be_written_is_named(host, at, new_lake: Lake) -> None:
    new_lake.storage.path("raw").mkdir()
    new_lake.storage.path("raw/stars_dr1").write_text("no folder")
    with pytest.raises(LakeError, match=r"raw/stars_dr1/part_1.csv.gz cannot be written"):
        at("part_1.csv.gz")


def test_a_survey_folder_that_is_a_link_to_another_disk_is_filled(host, at, new_lake: Lake, monkeypatch) -> None:
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.parent.name == "stars_dr1.part":
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)
    assert at("part_1.csv.gz").whole
    assert raw(new_lake, "part_1.csv.gz").read_bytes() == table(1)
    assert names_under(new_lake.storage.path("raw/stars_dr1")) == ["part_1.csv.gz"]


def test_a_run_that_is_told_to_stop_keeps_its_half_file(host, new_lake: Lake) -> None:
    url, files = host
    files.pace = 0.02
    files.add("part_7.csv.gz", table(7), servers.crawling, ok)
    declared = dataclasses.replace(STARS, fetch=Http(urls=(f"{url}/part_7.csv.gz",)))
    stop = threading.Event()
    watch = Watch(QUICK, stop, lambda _size: stop.set())
    outcome = fetch(new_lake.storage, make_plan(new_lake.storage, new_lake.grid, declared, watch), watch)
    assert (outcome.left, outcome.whole) == (("part_7.csv.gz",), False)
    outcome = fetch(new_lake.storage, make_plan(new_lake.storage, new_lake.grid, declared, Watch(QUICK)), Watch(QUICK))
    assert outcome.whole
    assert files.asked[-1][1].startswith("bytes=")


def test_a_listing_that_is_none_is_refused(host, at) -> None:
    url, files = host
    files.add("_MD5SUM.txt", b"", page)
    with pytest.raises(FetchError, match="_MD5SUM.txt: it holds a page"):
        at(urls=(), listing=f"{url}/_MD5SUM.txt")
    files.add("_MD5SUM.txt", b"part_1.csv.gz\n")
    with pytest.raises(FetchError, match="0 lines of a checksum and a name"):
        at(urls=(), listing=f"{url}/_MD5SUM.txt")
    files.add("_MD5SUM.txt", files.listing(), status(503), half, ok)
    assert at(urls=(), listing=f"{url}/_MD5SUM.txt", names="part_*").whole


INDEX = """<!DOCTYPE HTML><html><head><title>Index of /cat</title></head><body><h1>Index of /cat</h1><table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td></tr>
<tr><td><a href="part_1.csv.gz">part_1.csv.gz</a></td><td>2020-05-04</td></tr>
<tr><td><A HREF="/cat/part_2.csv.gz">part_2.csv.gz</A></td></tr>
<tr><td><a href="%70art_3.csv.gz">part_3.csv.gz</a></td></tr>
<tr><td><a href="other.csv.gz">other</a> <a href="sub/part_4.csv.gz">below</a> <a href="../part_4.csv.gz">above</a></td></tr>
<tr><td><a href="https://example.org/cat/part_4.csv.gz">elsewhere</a> <a name="part_4.csv.gz">no link</a> <a>none</a></td></tr>
</table></body></html>"""


def test_the_index_page_of_a_folder_names_the_files_in_it(host, at, new_lake: Lake) -> None:
    url, files = host
    for k in (1, 2, 3):
        files.add(f"cat/part_{k}.csv.gz", table(k))
    files.add("cat/", INDEX.encode())
    assert at(urls=(), listing=f"{url}/cat/", names="part_?.csv.gz").fetched == tuple(f"part_{k}.csv.gz" for k in (1, 2, 3))
    assert raw(new_lake, "part_3.csv.gz").read_bytes() == table(3)
    with pytest.raises(FetchError, match=r"/cat/: no \*.fits in this listing \(4 links to files beside it\)"):
        at(urls=(), listing=f"{url}/cat/", names="*.fits")
    files.add("cat/", files.listing())
    with pytest.raises(FetchError, match="it holds no page"):
        at(urls=(), listing=f"{url}/cat/", names="part_?.csv.gz")


def test_an_index_page_cannot_name_files_outside_the_folder(host, at, new_lake: Lake) -> None:
    url, files = host
    for link in (
        "..%2f..%2fpart_1.csv.gz",
        "%2e%2e/part_1.csv.gz",
        "//part_1.csv.gz",
        "http://[/part_1.csv.gz",
        "part_1.csv.gz%00",
    ):
        files.add("cat/", f"<html><a href='{link}'>x</a></html>".encode())
        with pytest.raises(FetchError, match="in this listing|a link that is none|no plain name"):
            at(urls=(), listing=f"{url}/cat/", names="*part_*")
    assert names_under(new_lake.storage.path("")) == ["lake.json"]


def test_an_account_that_is_damaged_is_named(at, new_lake: Lake) -> None:
    new_lake.storage.write_json("raw/stars_dr1.fetch.json", {"files": ["part_1.csv.gz"]})
    with pytest.raises(LakeError, match=r"stars_dr1.fetch.json: not an account of fetched files"):
        at("part_1.csv.gz")


@pytest.mark.parametrize("declared", [one for one in surveys().values() if one.fetch], ids=lambda one: one.name)
def test_every_declared_request_is_sound(declared: Survey, grid) -> None:
    if isinstance(declared.fetch, Http):
        listed = declared.fetch.names.replace("*", "000000-003111").replace("????[mp]???", "0000m016")
        page = declared.fetch.listing.endswith("/")
        orders = http_orders(declared, f"<a href='{listed}'>" if page else f"{'0' * 32}  {listed}\n")
        assert len({order.name for order in orders}) == len(orders) > 0
        return
    assert isinstance(declared.fetch, Adql)
    orders = adql_orders(declared, grid)
    orders += adql_orders(declared, grid, np.array([5, 2**62])) if "{low}" in declared.fetch.query else []
    assert all(order.query.upper().startswith("SELECT") and "{" not in order.query for order in orders)


@pytest.fixture
def process(tmp_path: Path, new_lake: Lake) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return the function that runs `gaialake fetch` of a request in a process of its own."""
    with servers.processes(tmp_path / "declared", new_lake.storage.root) as start:
        yield start


def test_a_killed_fetch_continues_and_fetches_nothing_twice(host, process, new_lake: Lake) -> None:
    url, files = host
    files.pace = 0.01
    for name in files.content:
        files.script[name] = [servers.crawling, ok]
    files.add("_MD5SUM.txt", files.listing())
    request = f"Http(listing='{url}/_MD5SUM.txt', names='part_*')"
    child = process(request, "--jobs", "2")
    parts = new_lake.storage.path("raw/stars_dr1.part")
    folder = raw(new_lake, "x").parent
    servers.wait_until(
        lambda: (
            folder.is_dir()
            and len(list(folder.iterdir())) >= 2
            and parts.is_dir()
            and any(half.stat().st_size > 2_000 for half in parts.iterdir())
        )
    )
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    whole = {path.name for path in folder.iterdir()}
    started = {name for name, _ in files.asked if name.startswith("part_")}
    assert started - whole
    files.asked.clear()
    again = process(request)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "5 of 5 files" in said
    assert all(raw(new_lake, f"part_{k}.csv.gz").read_bytes() == table(k) for k in range(5))
    assert not whole & {name for name, _ in files.asked}
    assert all(files.count(name) == 1 for name in set(files.content) - whole - {"_MD5SUM.txt"})
    resumed = [int(wanted[6:-1]) for name, wanted in files.asked if wanted]
    assert resumed
    assert max(resumed) > 2_000
    assert not parts.exists()


@pytest.fixture
def command(host, new_lake: Lake, monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Return the function that runs `gaialake fetch stars_dr1` against the server: exit code and what was said."""
    url, files = host

    def run(*flags: str, urls: tuple[str, ...] | None = None, **declared: object) -> tuple[int, str]:
        request = Http(urls=tuple(f"{url}/{name}" for name in files.content) if urls is None else urls, **declared)  # type: ignore[arg-type]
        monkeypatch.setattr(commands, "declared", lambda name: {"stars_dr1": dataclasses.replace(STARS, fetch=request)}[name])
        code = main(["--lake", new_lake.storage.root, "fetch", "stars_dr1", *flags])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_the_command_counts_what_is_there_and_what_is_not(host, command) -> None:
    _, files = host
    files.add("part_7.csv.gz", b"", status(404))
    files.add("part_8.csv.gz", table(8), status(403))
    code, said = command()
    assert code == 1
    assert "stars_dr1: 5 of 7 files: 5 fetched, 0 were there" in said
    assert "1 absent, 1 failed" in said
    assert "the server does not have it (404)" in said
    assert "asks for a login" in said
    files.add("part_7.csv.gz", table(7))
    files.add("part_8.csv.gz", table(8))
    code, said = command()
    assert code == 0
    assert "7 of 7 files: 2 fetched, 5 were there" in said
    assert "next: gaialake" in said


def test_the_command_says_once_what_it_waits_for_and_gathers_files_by_reason(host, command, monkeypatch) -> None:
    _, files = host
    monkeypatch.setattr(fetching, "PATIENCE", QUICK)
    for k in range(5, 9):
        files.add(f"part_{k}.csv.gz", table(k), servers.reset)
    code, said = command("--jobs", "4")
    assert code == 1
    assert said.count("asking again in") == 1
    assert "5 of 9 files" in said
    (line,) = [one for one in said.splitlines() if "part_5.csv.gz" in one]
    assert line.split()[:3] == ["4", "failed", "part_5.csv.gz"]
    assert "given up after 3 tries" in line
    assert "raw/stars_dr1.fetch.json" in said


def test_only_chooses_files_by_name_or_by_pixels(host, command) -> None:
    _, files = host
    files.content.clear()
    for first in (0, 3112, 5264):
        files.add(f"part_{first:06d}-{first + 2000:06d}.csv.gz", table(first))
    code, said = command("--only", "part_0000*", "--dry-run")
    assert code == 0
    assert "would fetch 1 of 1 files (of 3 in all); 0 are there" in said
    code, said = command("--only", "004000-005500")
    assert "2 of 2 files (of 3 in all)" in said
    assert code == 0
    code, said = command("--only", "nothing*")
    assert code == 1
    assert "--only nothing*: fits none of 3 files" in said


def test_a_dry_run_writes_nothing(command, new_lake: Lake) -> None:
    code, said = command("--dry-run")
    assert code == 0
    assert "would fetch 5 of 5 files" in said
    assert names_under(new_lake.storage.path("")) == ["lake.json"]


def test_a_survey_that_cannot_be_fetched_says_where_to_get_it(command, new_lake: Lake, monkeypatch, capsys) -> None:
    monkeypatch.setattr(commands, "declared", lambda name: STARS)
    assert main(["--lake", new_lake.storage.root, "fetch", "stars_dr1"]) == 1
    said = capsys.readouterr().err
    for word in ("https://example.org/stars", "part_*.csv.gz", "raw/stars_dr1/"):
        assert word in said


def test_sources_are_for_queries_only(command, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("5853498713190525696\n")
    code, said = command("--sources", str(tmp_path / "ids.txt"))
    assert code == 1
    assert "comes as whole files" in said


def test_one_writer_at_a_time(command, new_lake: Lake) -> None:
    with writing(new_lake.storage, "fetch"):
        code, said = command()
        assert code == 75
        assert "another writer" in said
        assert command("--dry-run")[0] == 0


def test_a_listing_that_fails_is_told_without_a_traceback(host, command) -> None:
    url, _ = host
    code, said = command(urls=(), listing=f"{url}/absent.txt")
    assert code == 1
    assert "absent.txt: the server does not have it (404)" in said


def test_a_large_account_is_not_written_for_every_change_of_a_file(host, at, new_lake: Lake, monkeypatch) -> None:
    written: list[str] = []
    write = Storage.write_json

    def slow(self: Storage, key: str, content: object) -> None:
        written.append(key)
        time.sleep(0.05)
        write(self, key, content)

    monkeypatch.setattr(Storage, "write_json", slow)
    _, files = host
    for k in range(40):
        files.add(f"part_{k}.csv.gz", table(k, 20))
    begun = time.monotonic()
    assert at(jobs=2).whole
    assert len(written) <= 3 + (time.monotonic() - begun)
    held = json.loads(new_lake.storage.read_bytes("raw/stars_dr1.fetch.json"))
    assert len(held["files"]) == 40
    assert {one["state"] for one in held["files"].values()} == {"done"}


def test_the_account_is_sound_json_while_many_threads_write_it(host, at, new_lake: Lake) -> None:
    _, files = host
    for k in range(40):
        files.add(f"part_{k}.csv.gz", table(k, 20))
    assert at(jobs=8).whole
    held = json.loads(new_lake.storage.read_bytes("raw/stars_dr1.fetch.json"))
    assert {one["state"] for one in held["files"].values()} == {"done"}
