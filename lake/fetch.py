"""Fetch what a survey's declaration asks for into ``raw/<survey>/``, several files at a time, each with its account.

Half files wait in ``raw/<survey>.part/``; a file gets its name only when it is whole, so ingest never meets another.
"""

import errno
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lake.account import ABSENT, DONE, FAILED, PENDING, Account, Work
from lake.declaration import Adql, Http
from lake.download import AbsentError, FetchError, GaveUpError, Link, Stopped, Watch, plain_url, text_at
from lake.errors import LakeError, listing
from lake.orders import IDS, Order, adql_orders, http_orders, selected
from lake.partition import Grid, Ids
from lake.received import Content, DamagedError, content_of, judge
from lake.storage import Storage
from lake.survey import Survey
from lake.whole import unwritable


@dataclass(frozen=True)
class Plan:
    """What a survey's declaration asks for.

    Attributes
    ----------
    orders
        All its files.
    chosen
        Those to be fetched now.
    """

    survey: Survey
    orders: tuple[Order, ...]
    chosen: tuple[Order, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a plan, by file name.

    Attributes
    ----------
    fetched, kept
        Whole files: fetched now, and there before.
    excused
        Absent files that the declaration knows of.
    left
        Files left to a later run because the server seems dead.
    bytes, rows
        Of all whole files that were asked for; rows only of queries.
    notes
        What else is to be said.
    """

    asked: int
    fetched: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    bytes: int = 0
    rows: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all that was asked for is there."""
        return not (self.absent or self.failed or self.left)


def make_plan(
    storage: Storage,
    grid: Grid,
    survey: Survey,
    watch: Watch,
    *,
    sources: tuple[Ids, int] | None = None,
    only: Sequence[str] = (),
) -> Plan:
    """Find out which files a survey's declaration asks for; a declared listing is read from the server, nothing is written.

    Parameters
    ----------
    sources
        Ids (ascending) to which queries are restricted, and how many go with one query.
    only
        Patterns of the files to be fetched now (see `lake.orders.selected`).

    Raises
    ------
    LakeError
        If the declaration cannot be fetched, the listing cannot be had, or the folder holds results of other queries.
    """
    if survey.fetch is None:
        raise LakeError(by_hand(storage, survey))
    if isinstance(survey.fetch, Http):
        if sources is not None:
            raise LakeError(f"--sources: {survey.name} comes as whole files; --sources restricts queries, --only chooses files")
        link = survey.fetch.listing
        orders = http_orders(survey, text_at(Link(link), watch, page=link.endswith("/")) if link else "")
        return Plan(survey, tuple(orders), tuple(selected(orders, only)))
    files = Account(storage, survey).files
    ids, chunk = sources or (None, IDS)
    cut = {name for name, entry in files.items() if entry.get("cut")}
    orders = adql_orders(survey, grid, ids, chunk=chunk, cut=cut)
    others = [name for name in _strays(orders, files) if storage.exists(f"raw/{survey.name}/{name}")]
    if others:
        raise LakeError(
            f"{survey.name}: {storage.root}/raw/{survey.name}/ holds {listing(others, 3)} of other queries (other ranges, or "
            "other --sources), whose rows would come twice; move these files away, then run this again"
        )
    return Plan(survey, tuple(orders), tuple(selected(orders, only)))


def _strays(orders: Sequence[Order], files: dict[str, dict[str, object]]) -> list[str]:
    """Return names of files that were fetched before, but are not asked for any more."""
    names = {order.name for order in orders}
    return sorted(name for name, entry in files.items() if entry["state"] == DONE and name not in names)


def by_hand(storage: Storage, survey: Survey) -> str:
    """Say how to get the files of a survey that no program can fetch."""
    return (
        f"{survey.name} cannot be fetched by a program: get its files from {survey.source} and put them in "
        f"{storage.root}/raw/{survey.name}/ under their own names (expected {listing(survey.patterns)})"
    )


def fetch(
    storage: Storage,
    plan: Plan,
    watch: Watch,
    *,
    jobs: int = 4,
    login: Path | None = None,
    ended: Callable[[str], None] = lambda _name: None,
) -> Outcome:
    """Fetch the files of a plan that are not there, several at a time; one that fails stops no other.

    Parameters
    ----------
    jobs
        Most files at a time.
    login
        File of two lines, user and password, for queries of a registered user of the Gaia archive, or of the service that a
        third line names; ids then go to tables of that user, which are deleted afterwards. No other service gets to see it.
    ended
        Told the name of every file that was dealt with.

    Raises
    ------
    LakeError
        If the lake cannot be written, or the login fails. What was fetched is kept.
    """
    account = Account(storage, plan.survey)
    work = Work(storage, plan.survey, account, watch)
    # Those that failed come last: else a few that always fail would be taken for a dead server before others are tried.
    due = sorted(
        (one for one in plan.chosen if not account.is_whole(one)), key=lambda one: account.of(one.name).get("state") == FAILED
    )
    missing = {order.name for order in due}
    kept = tuple(order.name for order in plan.chosen if order.name not in missing)
    for name in kept:
        ended(name)
    try:
        if isinstance(plan.survey.fetch, Adql):
            done, notes = _queried(work, due, jobs, login, ended)
        else:
            done = _all(lambda order: _one(work, order, lambda: (_download(work, order), None)), due, jobs, watch, ended)
            strays = _strays(plan.orders, account.files)
            note = f"{listing(strays, 3)}: fetched before, but no longer among the survey's files; still in its folder"
            notes = (note,) if strays else ()
    finally:
        account.save()
        # Not before: others may be about to open their halves in it.
        with suppress(OSError):
            work.part("").rmdir()
    return _outcome(work, plan, kept, done, notes)


def _queried(
    work: Work, due: Sequence[Order], jobs: int, login: Path | None, ended: Callable[[str], None]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Carry out queries; return name -> state, and notes."""
    try:
        from lake.query import prepare
    except ModuleNotFoundError as error:
        raise LakeError(f"queries need {error.name}, which is not installed; `pip install 'gaialake[archive]'`") from error

    queries = prepare(work, due, login)
    done = _all(lambda order: _one(work, order, lambda: queries.fetch(order)), due, jobs, work.watch, ended)
    return done, tuple(queries.notes)


def _all(
    one: Callable[[Order], str], due: Sequence[Order], jobs: int, watch: Watch, ended: Callable[[str], None]
) -> dict[str, str]:
    """Carry out orders on several threads; return name -> state."""
    pool, done = ThreadPoolExecutor(max(1, jobs)), {}
    futures = {pool.submit(one, order): order.name for order in due}
    try:
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            ended(futures[future])
    except BaseException:
        watch.stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return done


def _one(work: Work, order: Order, get: Callable[[], tuple[Content, int | None]]) -> str:
    """Fetch one file and keep account of it; return its state."""
    account, name = work.account, order.name
    if work.given_up >= work.watch.patience.dead:
        return PENDING
    request = {"query": order.query, "service": order.service} if order.query else {"url": plain_url(order.url)}
    try:
        content, rows = get()
        # Whoever is killed before the last line here finds the file by its hash.
        account.change(name, **request, bytes=content.bytes, sha256=content.sha256, md5=content.md5, rows=rows)
        if work.part(name).exists():
            _arrive(work.part(name), work.path(name))
        fetched = datetime.now(UTC).isoformat(timespec="seconds")
        account.change(name, state=DONE, fetched=fetched, error=None, version=None)
    except AbsentError as error:
        account.change(name, **request, state=ABSENT, error=str(error))
    except FetchError as error:
        work.given_up += isinstance(error, GaveUpError)
        account.change(name, **request, state=FAILED, error=str(error))
        return FAILED
    except Stopped:
        return PENDING
    except OSError as error:
        raise unwritable(work.path(name), error) from error
    work.given_up = 0
    return str(account.of(name)["state"])


def _arrive(part: Path, target: Path) -> None:
    """Give a whole file its name, on another disk if the survey's folder is a link to one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}")
        shutil.copyfile(part, beside)
        beside.replace(target)
        part.unlink()


def _download(work: Work, order: Order) -> Content:
    """Fetch a file from its URL into its part, unless a sound one is there that is not accounted for."""
    account, name, part = work.account, order.name, work.part(order.name)
    content = _found(work, order)
    if content is not None:
        work.forget_part(name)
        return content
    for last in (False, True):
        account.change(name, state=PENDING, url=plain_url(order.url))
        work.download(Link(order.url, checked=bool(order.md5 or order.sha256)), name)
        try:
            return judge(part, name, sha256=order.sha256, md5=order.md5)
        except FetchError as error:
            work.forget_part(name)
            account.change(name, error=str(error))
            if last or not isinstance(error, DamagedError):
                raise
    raise AssertionError("the last try returns or raises")


def _found(work: Work, order: Order) -> Content | None:
    """Return what a file holds that is there under this name, if it can be told that it is whole.

    A killed run left it, whose hash is known; or somebody put it there, and a published checksum or compression tell.
    """
    entry, path = work.account.of(order.name), work.path(order.name)
    if not path.is_file() or entry.get("state") == DONE:
        return None
    if entry.get("bytes") == path.stat().st_size and work.account.is_of(order):
        content = content_of(path)
        return content if content.sha256 == entry["sha256"] else None
    if not (order.md5 or order.sha256 or order.name.endswith(".gz")):
        return None
    try:
        return judge(path, order.name, sha256=order.sha256, md5=order.md5)
    except FetchError:
        return None


def _outcome(work: Work, plan: Plan, kept: tuple[str, ...], done: dict[str, str], notes: tuple[str, ...]) -> Outcome:
    states = {
        state: tuple(sorted(name for name, its in done.items() if its == state)) for state in (DONE, ABSENT, FAILED, PENDING)
    }
    excused = {order.name for order in plan.chosen if order.may_be_absent}
    entries = [work.account.of(name) for name in (*kept, *states[DONE])]
    return Outcome(
        asked=len(plan.chosen),
        fetched=states[DONE],
        kept=kept,
        absent=tuple(name for name in states[ABSENT] if name not in excused),
        excused=tuple(name for name in states[ABSENT] if name in excused),
        failed=states[FAILED],
        left=states[PENDING],
        bytes=sum(entry["bytes"] for entry in entries),
        rows=sum(entry["rows"] for entry in entries) if isinstance(plan.survey.fetch, Adql) else None,
        notes=notes,
    )
