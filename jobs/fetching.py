"""Fetch surveys from their archives, show how it goes, and say what is there, absent or failed."""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jobs import terminal
from jobs.journal import event
from jobs.lock import writing
from lake.account import Account
from lake.download import FetchError, Patience, Watch, plain_url
from lake.errors import LakeError
from lake.fetch import Outcome, Plan, by_hand, fetch, make_plan
from lake.orders import Order
from lake.partition import Ids
from lake.root import Lake
from lake.sources import read_sources
from lake.storage import Storage
from lake.survey import Survey

DONE, FAILED = 0, 1
# A registered user of the Gaia archive names a file of two lines here, user and password; a third names another service.
LOGIN = "GAIALAKE_TAP_LOGIN"
PATIENCE = Patience()
_LOG_SECONDS = 30.0
_SHOWN = 40
_PLANNED = 3


def refuse(storage: Storage, chosen: Sequence[Survey]) -> None:
    """Refuse surveys that no program can fetch, and lakes that no raw file goes into, before anything is fetched.

    Raises
    ------
    LakeError
        With what to do by hand.
    """
    if not storage.is_local and chosen:
        name = chosen[0].name
        raise LakeError(
            f"{storage.root}: raw files are not kept on an object store; fetch them into a lake on a disk (`gaialake --lake DIR "
            f"fetch {name}`), then `gaialake --lake {storage.root} ingest {name} --raw DIR/raw/{name}`"
        )
    for survey in chosen:
        if survey.fetch is None:
            raise LakeError(by_hand(storage, survey))


@dataclass(frozen=True)
class Wish:
    """What to fetch of surveys: the files of these names or ranges, for these sources, so many at a time."""

    only: Sequence[str] = ()
    sources: tuple[Ids, int] | None = None
    jobs: int = 4


def fetch_all(lake: Lake, chosen: Sequence[Survey], options: argparse.Namespace) -> int:
    """Fetch surveys one after the other; return 0 if all that was asked for is there, 1 if anything is absent or failed."""
    wish = Wish(tuple(options.only), _sources(options), options.jobs)
    if options.dry_run:
        show_plans(lake, chosen, wish)
        return DONE
    with writing(lake.storage, "fetch"):
        missing = [fetch_held(lake, survey, wish) for survey in chosen]
    ready = [survey.name for survey, lacks in zip(chosen, missing, strict=True) if not lacks]
    if ready:
        terminal.say(f"next: gaialake --lake {lake.storage.root} ingest {' '.join(ready)}")
    return FAILED if any(missing) else DONE


def show_plans(lake: Lake, chosen: Sequence[Survey], wish: Wish) -> None:
    """Say what would be fetched; archives are asked what they have, and nothing is written."""
    for survey in chosen:
        watch = Watch(PATIENCE, waits=_Waits(survey.name))
        _show_plan(lake, make_plan(lake.storage, lake.grid, survey, watch, sources=wish.sources, only=wish.only))


def _sources(options: argparse.Namespace) -> tuple[Ids, int] | None:
    if options.sources is None:
        return None
    if options.chunk < 1:
        raise LakeError(f"--chunk {options.chunk}: a query takes at least one id")
    ids, repeated = read_sources(Path(options.sources))
    said = f", {repeated:,} more rows repeat one of them" if repeated else ""
    terminal.say(f"{options.sources}: {len(ids):,} sources{said}")
    return ids, options.chunk


def _show_plan(lake: Lake, plan: Plan) -> None:
    """Say what would be fetched."""
    due = _due(lake, plan)
    what = "queries" if plan.orders[0].query else "files"
    terminal.say(
        f"{plan.survey.name}: would fetch {len(due):,} of {len(plan.chosen):,} {what}{_of_all(plan)}; "
        f"{len(plan.chosen) - len(due):,} are there"
    )
    for order in due[:_PLANNED]:
        terminal.say(f"  {order.name}{'' if order.query else f': {plain_url(order.url)}'}")
    if len(due) > _PLANNED:
        terminal.say(f"  ... {due[-1].name}")
    if due and due[0].query:
        terminal.say(f"the first one: {due[0].query}")


def _of_all(plan: Plan) -> str:
    return f" (of {len(plan.orders):,} in all)" if len(plan.orders) > len(plan.chosen) else ""


def fetch_held(lake: Lake, survey: Survey, wish: Wish, begun: Callable[[], None] = lambda: None) -> str:
    """Fetch one survey into a lake whose lock the caller holds; a listing or service that fails is told.

    Parameters
    ----------
    begun
        Called before the first file, if there is any to fetch.

    Returns
    -------
    str
        What is missing of what was asked for, in words; empty if nothing.
    """
    login = os.environ.get(LOGIN)
    watch = Watch(PATIENCE, threading.Event(), waits=_Waits(survey.name))
    try:
        plan = make_plan(lake.storage, lake.grid, survey, watch, sources=wish.sources, only=wish.only)
        due = _due(lake, plan)
        if due:
            begun()
        event("fetch started", survey=survey.name, files=len(due))
        with _progress(survey.name, len(plan.chosen)) as (received, ended):
            outcome = fetch(
                lake.storage,
                plan,
                replace(watch, received=received),
                jobs=wish.jobs,
                login=Path(login) if login else None,
                ended=ended,
            )
    except FetchError as error:
        why = str(error).removeprefix(f"{survey.name}: ")
        terminal.complain(f"{survey.name}: {why}")
        event("fetch failed", level=logging.ERROR, survey=survey.name, error=why)
        return why
    _show(lake, plan, outcome)
    lacks = "" if outcome.whole else ", ".join(_lost(outcome))
    event("fetch ended", survey=survey.name, files=len(outcome.fetched), bytes=outcome.bytes, error=lacks or None)
    return lacks


def _due(lake: Lake, plan: Plan) -> list[Order]:
    """Return what of a plan is not there yet."""
    account = Account(lake.storage, plan.survey)
    return [order for order in plan.chosen if not account.is_whole(order)]


def _lost(outcome: Outcome) -> list[str]:
    """Say how much is not there, and why."""
    lost = [f"{len(outcome.absent)} absent"] if outcome.absent else []
    lost += [f"{len(outcome.excused)} absent as known"] if outcome.excused else []
    lost += [f"{len(outcome.failed)} failed"] if outcome.failed else []
    return lost + ([f"{len(outcome.left)} left to a later run, because the server does not answer"] if outcome.left else [])


def _show(lake: Lake, plan: Plan, outcome: Outcome) -> None:
    """Say how much of what was asked for is there, and why the rest is not."""
    there = len(outcome.fetched) + len(outcome.kept)
    rows = f", {outcome.rows:,} rows so far" if outcome.rows is not None else ""
    lost = _lost(outcome)
    terminal.say(
        f"{plan.survey.name}: {there:,} of {outcome.asked:,} files{_of_all(plan)}: {len(outcome.fetched):,} fetched, "
        f"{len(outcome.kept):,} were there; {terminal.size(outcome.bytes)}{rows}{'; ' + ', '.join(lost) if lost else ''}"
    )
    account = Account(lake.storage, plan.survey)
    reasons: dict[tuple[str, str], list[str]] = {}
    for name in (*outcome.absent, *outcome.failed):
        entry = account.of(name)
        reasons.setdefault((entry["state"], entry.get("error", "")), []).append(name)
    if reasons:
        most = sorted(reasons.items(), key=lambda one: -len(one[1]))
        shown = [(len(names), state, names[0], why) for (state, why), names in most[:_SHOWN]]
        terminal.table(("files", "state", "such as", "why"), shown, right=(0,))
        terminal.say(f"each of them: {lake.storage.root}/raw/{plan.survey.name}.fetch.json")
    if not outcome.whole:
        terminal.say("what is there is kept; run the same command again to fetch the rest")
    for note in outcome.notes:
        terminal.say(f"note: {note}")


class _Waits:
    """Say that a server is waited for: at once, then each half minute at most, whichever file it is."""

    def __init__(self, label: str) -> None:
        self._label, self._said, self._lock = label, -_LOG_SECONDS, threading.Lock()

    def __call__(self, why: str, seconds: float) -> None:
        with self._lock:
            if time.monotonic() - self._said < _LOG_SECONDS:
                return
            self._said = time.monotonic()
        terminal.say(f"  {self._label}: {why}; asking again in {seconds:.0f} s")


@contextmanager
def _progress(label: str, total: int) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """Show files and bytes: a bar on a terminal, a line each half minute elsewhere."""
    lock, begun = threading.Lock(), time.monotonic()
    counts, said = {"files": 0, "bytes": 0}, [begun]
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} files, {task.fields[received]}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=terminal.OUT, transient=True) if sys.stdout.isatty() else None
    task = bar.add_task(label, total=total, received="") if bar else None

    def count(what: str, more: int) -> None:
        with lock:
            counts[what] += more
            seconds = max(time.monotonic() - begun, 1e-3)
            received = f"{terminal.size(counts['bytes'])} received, {terminal.size(counts['bytes'] / seconds)}/s"
            if bar is not None and task is not None:
                bar.update(task, completed=counts["files"], received=received)
            elif time.monotonic() - said[0] > _LOG_SECONDS:
                said[0] = time.monotonic()
                terminal.say(f"  {label}: {counts['files']} of {total} files, {received}")

    with bar or nullcontext():
        yield lambda size: count("bytes", size), lambda _name: count("files", 1)
