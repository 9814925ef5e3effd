"""What the verbs do that look after a lake: go back to an earlier catalogue, delete what no kept one names."""

import argparse
from datetime import timedelta

from jobs import terminal
from jobs.lock import writing
from jobs.opened import opened
from lake.errors import LakeError
from lake.gc import Garbage, delete, garbage
from lake.history import published_before, roll_back
from lake.root import Lake

DONE = 0
_SHOWN = 10


def rollback(options: argparse.Namespace) -> int:
    """Publish an earlier catalogue again, or list those that are kept."""
    lake = opened(options)
    if options.list or options.dry_run:
        _list(lake, options)
        return DONE
    with writing(lake.storage, "rollback") as writer:
        serial, changed = roll_back(lake.storage, to=options.to, fence=writer.fence)
    terminal.say(f"catalogue {serial} is published again; readers that opened the other one keep its builds")
    terminal.table(
        ("table", "was", "is", "from now on"),
        [
            (name, before or "absent", after or "absent", f"{before} waits for new inputs" if before else "")
            for name, (before, after) in changed.items()
        ],
    )
    return DONE


def _list(lake: Lake, options: argparse.Namespace) -> None:
    known = published_before(lake.storage)
    if not known:
        raise LakeError(f"{lake.storage.root}: nothing was published yet")
    last = max(known)
    target = options.to if options.to is not None else known[last]["metadata"].get("former")
    rows = []
    for serial, content in sorted(known.items()):
        marks = ["current"] * (serial == last) + ["would be restored"] * (serial == target and not options.list)
        tables = sum("manifest" in one["metadata"] for one in content["sources"].values())
        restored = content["metadata"].get("restored")
        said = [f"roll-back to {restored}"] if restored is not None else []
        rows.append((serial, content["metadata"].get("published", ""), tables, ", ".join([*marks, *said])))
    terminal.table(("catalogue", "published", "tables", ""), rows, right=(0, 2))


def gc(options: argparse.Namespace) -> int:
    """Delete the files that no kept catalogue names."""
    lake = opened(options)
    grace = timedelta(hours=options.grace)
    if options.grace < 0:
        raise LakeError(f"--grace {options.grace:g}: give hours, 0 or more")
    if options.dry_run:
        _show(garbage(lake.storage, keep=options.keep, grace=grace), would=True)
        return DONE
    with writing(lake.storage, "gc") as writer:
        found = garbage(lake.storage, keep=options.keep, grace=grace)
        if found.keys:
            with terminal.progress("delete files", len(found.keys)) as steps:
                delete(lake.storage, found, confirm=writer.confirm, ended=steps.advance)
    _show(found, would=False)
    return DONE


def _show(found: Garbage, *, would: bool) -> None:
    terminal.say(f"catalogues kept: {', '.join(map(str, found.kept))}")
    for key in found.keys[:_SHOWN] if would else ():
        terminal.say(f"  {key}")
    if would and len(found.keys) > _SHOWN:
        terminal.say(f"  ... and {len(found.keys) - _SHOWN:,} more")
    terminal.say(
        f"{'would delete' if would else 'deleted'} {len(found.files):,} files of {len(found.manifests):,} builds and "
        f"{len(found.catalogues):,} catalogues, {terminal.size(found.bytes)}"
    )
    if found.young:
        terminal.say(f"{len(found.young):,} files more are named by nothing, but younger than the grace period")
