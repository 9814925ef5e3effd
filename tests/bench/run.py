"""Run benchmarks and print one table: ``python tests/bench/run.py [NAME...] [--rows N] [--json FILE]``.

Nothing is asserted of a timing: goals are printed beside what was reached.
"""

import argparse
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

from measure import Line, Setting  # noqa: E402

NAMES = ("join", "select", "parse", "cds", "crossmatch", "layout", "touch", "noop", "plan", "translator", "memory")
_HEAD = ("bench", "what", "CPU s", "wall s", "/peer", "/floor", "goal", "met", "peak MB", "note")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the large tables")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds, of which the median counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench-gaialake", help="for data; emptied at the end"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    folder = options.folder / f"{os.getpid()}"
    folder.mkdir(parents=True)
    lines: list[Line] = []
    try:
        for name in options.names or NAMES:
            found = importlib.import_module(f"bench_{name}").run(Setting(folder, options.rows, options.rounds))
            show(found, head=not lines)
            lines.extend(found)
    finally:
        shutil.rmtree(folder)
    if options.json:
        options.json.write_text(json.dumps(figures(lines), indent=1, default=str) + "\n")
    return 0


def show(lines: Sequence[Line], *, head: bool) -> None:
    """Print lines of the table."""
    rows = [_HEAD] if head else []
    for one in lines:
        ratios = [f"{ratio:.3g}" if ratio is not None else "" for ratio in (one.to_peer, one.to_floor)]
        met = {None: "", True: "yes", False: "NO"}[one.met]
        usage = one.usage
        rows.append(
            (
                one.bench,
                one.what,
                f"{usage.cpu:.2f}",
                f"{usage.wall:.2f}",
                *ratios,
                one.goal,
                met,
                f"{usage.peak / 1e6:.0f}",
                one.note,
            )
        )
    widths = (7, 62, 8, 8, 7, 7, 20, 4, 8, 0)
    right = {2, 3, 4, 5, 8}
    for row in rows:
        cells = [
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), flush=True)


def figures(lines: Sequence[Line]) -> dict[str, object]:
    """Return the lines, the machine and the date as JSON-like content."""
    machine = {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    held = [asdict(one) for one in lines]
    for one, line in zip(held, lines, strict=True):
        one["usage"] = {
            "cpu": line.usage.cpu,
            "wall": line.usage.wall,
            "peak": line.usage.peak,
            "peaks": sorted(line.usage.peaks.values()),
        }
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "lines": held}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
