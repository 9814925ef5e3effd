"""Show people what happens: progress bars on a terminal, plain lines in a log, tables of results."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


class _Screen(Console):
    """A console whose reader may leave, as ``| head`` does: what is said then goes nowhere, and the work goes on."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


# A log has no width of its own; tables in it should not be folded at 80 columns.
OUT = _Screen(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
ERR = _Screen(stderr=True, highlight=False, soft_wrap=True)

_LOG_SECONDS = 30.0


def say(text: str = "") -> None:
    """Print one line."""
    OUT.print(text, markup=False)


def document(text: str) -> None:
    """Print a text for programs as it is."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        OUT.on_broken_pipe()


def complain(text: str) -> None:
    """Print an error."""
    ERR.print(f"error: {text}", style="red", markup=False)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, right: Sequence[int] = ()
) -> None:
    """Print a table; `right` numbers the columns to align right, the first column is never folded."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        shown.add_column(name, justify="right" if i in right else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        # Text, or brackets such as those of [mag] would be taken for markup and vanish.
        shown.add_row(*(Text(str(cell)) for cell in row))
    OUT.print(shown)


@contextmanager
def kept() -> Iterator[list[str]]:
    """Keep what is said meanwhile: the list that this yields holds it as plain text afterwards."""
    held: list[str] = []
    OUT.record = True
    try:
        yield held
    finally:
        held.append(OUT.export_text())
        OUT.record = False


def size(n: float) -> str:
    """Return a number of bytes for people.

    >>> size(1300)
    '1.3 kB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 1000 or unit == "TB":
            return f"{n:.0f} B" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return ""


def counted(n: int, what: str) -> str:
    """Return a number of things for people.

    >>> counted(1, "table"), counted(3324, "partition")
    ('1 table', '3,324 partitions')
    """
    return f"{n:,} {what}" + "s" * (n != 1)


class Steps:
    """Count the tasks of a step as they end: a bar on a terminal, a line each half minute elsewhere."""

    def __init__(self, label: str, total: int | None, bar: Progress | None) -> None:
        self.done, self.total = 0, total
        self._label, self._bar, self._said = label, bar, time.monotonic()
        self._task = bar.add_task(label, total=total) if bar else None

    def advance(self, total: int | None = None) -> None:
        """Count one more; `total` corrects how many there are."""
        self.done += 1
        self.total = total or self.total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, total=self.total)
        elif time.monotonic() - self._said > _LOG_SECONDS:
            self._said = time.monotonic()
            say(f"  {self._label}: {self.done} of {self.total or '?'}")


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Steps]:
    """Show the progress of a step of `total` tasks (None if not known yet), and how long it took."""
    start = time.monotonic()
    if sys.stdout.isatty():
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=OUT, transient=True) as bar:
            steps = Steps(label, total, bar)
            yield steps
    else:
        steps = Steps(label, total, None)
        yield steps
    say(f"  {label}: {steps.done} tasks, {time.monotonic() - start:.1f} s")
