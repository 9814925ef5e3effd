"""The command line: verbs in the order of the data's way; flags say which, where, and whether to write."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from jobs import commands, terminal
from lake.errors import BusyError, LakeError
from lake.partition import LEAF_ROWS

FAILED, STOPPED, BUSY = 1, 130, 75


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 1: something failed, of which what was published before is still served; 2: wrong usage; 3: nothing to do (nightly);
    75: another writer holds the lake.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        _refuse_shadows()
        return command(options)
    except BusyError as error:
        terminal.complain(str(error))
        return BUSY
    except LakeError as error:
        terminal.complain(str(error))
        return FAILED
    except OSError as error:
        terminal.complain(f"{error}; what was published is untouched: run the same command again when the disk answers")
        return FAILED
    except KeyboardInterrupt:
        terminal.complain("stopped; run the same command again to continue where it stopped")
        return STOPPED


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
    parser = argparse.ArgumentParser(prog="gaialake", description="A data lake and batch service for stellar surveys.")
    parser.add_argument("--lake", metavar="DIR", help="root of the lake (or set GAIALAKE)")
    verbs = parser.add_subparsers(title="verbs, in the data's order", required=True, metavar="VERB")

    def verb(
        name: str, command: Callable[[argparse.Namespace], int], said: str, *, writes: bool = True, runs: bool = False
    ) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=said, description=said)
        one.set_defaults(command=command)
        if writes:
            one.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
        if runs:
            one.add_argument("--profile", default="local", help="where to run: a name in deploy/profiles, or a YAML file")
        return one

    init = verb("init", commands.init, "lay out a new lake")
    init.add_argument("dir", metavar="DIR")
    init.add_argument("--release", default="dr3")
    init.add_argument("--grid", metavar="uniform:ORDER", help="all HEALPix pixels of one order instead of the release's grid")
    init.add_argument("--counts", metavar="FILE", help="CSV with columns pixel8,rows to cut the sky by")
    init.add_argument(
        "--leaf-rows", type=int, default=LEAF_ROWS, help="with --counts: gaia_source rows that a partition may hold"
    )
    verb("surveys", commands.surveys, "list the declared surveys, or show all of some", writes=False).add_argument(
        "surveys", metavar="SURVEY", nargs="*", help="show columns, units, flags, masks, citation and licence of these"
    )
    one = verb("fetch", commands.fetch, "fetch a survey's raw files from its archive; run it again until all are there")
    one.add_argument("surveys", metavar="SURVEY", nargs="+")
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
    one = verb("ingest", commands.ingest, "build a survey's tables from raw files", runs=True)
    one.add_argument("surveys", metavar="SURVEY", nargs="+")
    one.add_argument("--raw", metavar="PATH", nargs="+", default=[], help="files or folders, remembered for later runs")
    one.add_argument("--replace", action="store_true", help="forget the paths that were named before")
    verb("check", commands.check, "audit builds", runs=True).add_argument(
        "--deep", action="store_true", help="audit those that passed before as well"
    )
    verb("publish", commands.publish, "name checked builds in the catalogue")
    verb("plan", commands.plan, "say what is stale and why", writes=False)
    one = verb("train", commands.train, "train a model on the published tables", runs=True)
    one.add_argument("model", metavar="MODEL")
    one.add_argument("--preset", default="small")
    one = verb("predict", commands.predict, "map a model over all partitions and publish its predictions", runs=True)
    one.add_argument("model", metavar="MODEL")
    one.add_argument("--bundle", metavar="B", help="bundle id (default: the one trained last)")
    verb("nightly", commands.nightly, "rebuild, check and publish what is stale", runs=True).add_argument(
        "--train", metavar="MODEL", action="append", help="train this model anew on what is published"
    )
    verb("status", commands.status, "show what is published", writes=False)
    one = verb("demo", commands.demo, "show the whole path on a synthetic sky", runs=True)
    one.add_argument("--dir", default="gaialake-demo")
    one.add_argument("--stars", type=int, default=50_000)
    return parser


if __name__ == "__main__":
    sys.exit(main())
