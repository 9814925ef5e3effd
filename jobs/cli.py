"""The command line: verbs in the order of the data's way; flags say which, where, and whether to write."""

import argparse
import gc
import importlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from jobs import commands, exporting, ingesting, modelling, terminal, upkeep
from jobs.journal import logging_to, reason, without_secrets
from jobs.night import exit_code
from lake.errors import LakeError
from lake.partition import LEAF_ROWS

# What systemd, Slurm or a lost terminal sends.
_STOPS = (signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 1: something failed, of which what was published before is still served; 2: wrong usage; 3: nothing to do (nightly);
    75: another writer holds the lake; 130: stopped by a signal.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        _refuse_shadows()
        with stopped_in_order(), logging_to(options.log):
            return command(options)
    except (LakeError, OSError, KeyboardInterrupt) as error:
        terminal.complain(without_secrets(reason(error)))
        return exit_code(error)


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """Let what systemd, Slurm or a lost terminal sends end a run as Ctrl-C does; only the main thread may.

    Once a run is ending, what they send more does not end it before its record is kept; only Ctrl-C does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = {signal.SIGINT: signal.default_int_handler} | dict.fromkeys(_STOPS, signal.SIG_DFL)
    ours = [one for one, before in known.items() if signal.getsignal(one) is before]

    def stop(number: int, _frame: FrameType | None) -> None:
        for one in ours:
            signal.signal(one, signal.SIG_IGN if one in _STOPS else signal.default_int_handler)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for one in ours:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, known[one])


def _refuse_shadows() -> None:
    """Refuse to run with a folder of the same name before one of our packages on the import path.

    Raises
    ------
    LakeError
        With the folder that is in the way.
    """
    for name in ("lake", "models", "jobs"):
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) is None:
            raise LakeError(f"a folder called {name} hides the package: {list(module.__path__)}; run from another folder")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gaialake",
        description="A data lake and batch service for stellar surveys.",
        epilog="Exit codes: 0 done; 1 something failed, and what was published before is still served; 2 wrong usage; 3 nothing "
        "to do (nightly); 75 another writer is at work; 130 stopped by a signal. `gaialake VERB --help` shows a verb's flags.",
    )
    parser.add_argument("--lake", metavar="DIR", help="root of the lake (or set GAIALAKE)")
    parser.add_argument("--log", metavar="FILE", help="append events to this file as JSON lines; - for stderr")
    verbs = parser.add_subparsers(title="verbs, in the data's order", required=True, metavar="VERB")

    def verb(
        name: str, command: Callable[[argparse.Namespace], int], said: str, *, writes: bool = True, runs: bool = False
    ) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=said, description=said)
        one.set_defaults(command=commands.on_cluster(command) if runs else command)
        if writes:
            one.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
        if runs:
            where = "where to run: a name in deploy/profiles, or a YAML file (default local)"
            one.add_argument("--profile", default="local", help=where)
        return one

    _add_verbs_of_data(verb)
    _add_verbs_of_models(verb)
    _add_verbs_of_service(verb)
    return parser


def _add_verbs_of_data(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what lays out a lake, brings tables into it and publishes them."""
    init = verb("init", commands.init, "lay out a new lake")
    init.add_argument("dir", metavar="DIR", help="its root: a folder, or s3://BUCKET/PATH")
    init.add_argument("--release", default="dr3", help="release of Gaia whose source_ids it holds (default dr3)")
    init.add_argument("--grid", metavar="uniform:ORDER", help="all HEALPix pixels of one order instead of the release's grid")
    init.add_argument("--counts", metavar="FILE", help="CSV with columns pixel8,rows to cut the sky by")
    init.add_argument(
        "--leaf-rows", type=int, default=LEAF_ROWS, metavar="N", help=f"with --counts: rows of a partition (default {LEAF_ROWS})"
    )
    verb("surveys", commands.surveys, "list the declared surveys, or show all of some", writes=False).add_argument(
        "surveys", metavar="SURVEY", nargs="*", help="show columns, units, flags, masks, citation and licence of these"
    )
    one = verb("fetch", commands.fetch, "fetch a survey's raw files from its archive; run it again until all are there")
    one.add_argument("surveys", metavar="SURVEY", nargs="+", help="names of `gaialake surveys`")
    one.add_argument(
        "--only",
        metavar="PATTERN",
        nargs="+",
        default=[],
        help="files of these names (with * and ?), or LLLLLL-HHHHHH: files that touch this range of level-8 pixels",
    )
    one.add_argument(
        "--sources", metavar="FILE", help="restrict queries to the source_ids of a text, CSV or Parquet file; they are uploaded"
    )
    one.add_argument("--chunk", type=int, default=2_000_000, metavar="N", help="with --sources: most ids of one query")
    one.add_argument("--jobs", type=int, default=4, metavar="N", help="most files at a time (default 4)")
    one = verb("ingest", ingesting.ingest, "build a survey's tables from raw files", runs=True)
    one.add_argument("surveys", metavar="SURVEY", nargs="+", help="names of `gaialake surveys`")
    one.add_argument("--raw", metavar="PATH", nargs="+", default=[], help="files or folders, remembered for later runs")
    one.add_argument("--replace", action="store_true", help="with --raw: forget the paths that were named before")
    one.add_argument("--register", action="store_true", help="only remember and hash the files, once before a job array")
    one.add_argument("--part", metavar="i/n", help="do the share of element i of n of a job array, which is run twice")
    verb("check", commands.check, "audit builds", runs=True).add_argument(
        "--deep", action="store_true", help="audit those that passed before as well"
    )
    verb("publish", commands.publish, "name checked builds in the catalogue").add_argument(
        "--held", action="store_true", help="publish builds that a roll-back took back as well"
    )
    one = verb("plan", commands.plan, "say what would be made anew, why, and about how much", writes=False)
    one.add_argument("tables", metavar="TABLE", nargs="*", help="only these, with their partitions")
    one.add_argument("--partitions", action="store_true", help="list every partition that is to be made, and why")
    one.add_argument("--json", action="store_true", help="as JSON, for programs")
    one.add_argument("--part", metavar="i/n", help="only what element i of n of a job array would do")


def _add_verbs_of_models(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what trains models and maps them, and what hands training tables on."""
    one = verb("train", modelling.train, "train models on the published tables", runs=True)
    one.add_argument(
        "models", metavar="MODEL", nargs="+", help="such as xp_mae; or translator, and which: translator galah_dr4_on_apogee_dr17"
    )
    one.add_argument("--preset", metavar="NAME", help="its size and how it is trained (default small)")
    one = verb("predict", modelling.predict, "map models over all partitions and publish the tables that they make", runs=True)
    one.add_argument(
        "models", metavar="MODEL", nargs="+", help="such as xp_mae; translator, and which; or homogenised_labels, which has rules"
    )
    one.add_argument("--bundle", metavar="B", help="bundle id (default: the one trained last)")
    one.add_argument("--part", metavar="i/n", help="make the partitions of element i of n of a job array, publish nothing")
    one = verb("report", modelling.report, "write a page on how well a translator does, with figures", writes=False)
    one.add_argument("models", metavar="MODEL", nargs="+", help="translator, and which: translator galah_dr3_on_apogee_dr17")
    one = verb("export", exporting.export, "write tables as files that others read", runs=True)
    one.add_argument("form", choices=(*exporting.FORMS, exporting.CDS), help="form of the files")
    one.add_argument("tables", metavar="TABLE", nargs="*", help="pretrain or finetune; for cds translated tables (default all)")
    one.add_argument("--to", metavar="DIR", required=True, help="a new folder")
    one = verb("validate", exporting.validate_verb, "look for what may be wrong with a training table", writes=False)
    one.add_argument("what", metavar="TABLE|PATH", help="pretrain or finetune of the lake, or a file or folder of anybody's")
    one.add_argument("--json", action="store_true", help="as JSON, for programs")


def _add_verbs_of_service(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what keeps a lake up to date, looks after it and shows it."""
    one = verb("nightly", commands.nightly, "rebuild, check and publish what is stale", runs=True)
    one.add_argument("--fetch", metavar="SURVEY", nargs="+", action="extend", help="fetch the files of these surveys first")
    one.add_argument("--train", metavar="MODEL", action="append", help="train this model anew on what is published")
    one = verb("status", commands.status, "show who writes, how the last nightly went, what is published", writes=False)
    one.add_argument("--json", action="store_true", help="as JSON, for programs")
    one = verb("rollback", upkeep.rollback, "publish the former catalogue again; what it takes back waits for new inputs")
    one.add_argument("--to", type=int, metavar="N", help="serial number of the catalogue to restore (default: the former one)")
    one.add_argument("--list", action="store_true", help="list the catalogues that are kept")
    one = verb("gc", upkeep.gc, "delete files that no kept catalogue names")
    one.add_argument("--keep", type=int, default=3, metavar="N", help="catalogues to keep, the current one included (default 3)")
    one.add_argument(
        "--grace", type=float, default=24.0, metavar="HOURS", help="keep what was replaced or written since (default 24)"
    )
    one = verb("demo", commands.demo, "show the whole path on a synthetic sky", runs=True)
    one.add_argument("--dir", default="gaialake-demo", help="folder of its lake (default gaialake-demo)")
    one.add_argument("--stars", type=int, default=50_000, metavar="N", help="how many stars the sky has (default 50000)")


def program() -> None:
    """Be the program: run the command that was typed, and exit with its code."""
    # A plan reads manifests of hundred thousands of entries, which are all kept; half of its time would go into looking
    # for garbage among them.
    gc.set_threshold(100_000, 50, 50)
    sys.exit(main())


if __name__ == "__main__":
    program()
