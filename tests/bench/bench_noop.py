"""Run the nightly with nothing to do, against the one that builds all, on a small synthetic sky."""

import os
import shutil
from dataclasses import replace

from measure import Line, Setting, contest, python

import lake
from lake.root import grid_of

_STARS = 3000
_LEAVES = 30
_SECONDS = 2.0


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark; each command runs in a process of its own, as from cron."""
    from jobs.sky import make_sky

    root = setting.folder / "nightly"
    sky = make_sky(root / "raw", stars=_STARS)
    lake.init(root, grid=grid_of(None, sky.counts, leaf_rows=_STARS // _LEAVES))

    def whole() -> int:
        for name in ("tables", "current", "catalog.yaml", "catalog-plain.yaml", "reports"):
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return python("-m", "jobs.cli", "--lake", str(root), "nightly")

    def again() -> int:
        return python("-m", "jobs.cli", "--lake", str(root), "nightly")

    found = contest({"whole": whole, "again": again, "bare": lambda: python("-c", "pass")}, setting.rounds)
    # This process, which made the sky, is no part of what a nightly holds.
    found = {
        name: replace(usage, peaks={pid: peak for pid, peak in usage.peaks.items() if pid != os.getpid()})
        for name, usage in found.items()
    }
    assert (found["whole"].result, found["again"].result) == (0, 3), found
    whole_cpu = found["whole"].cpu
    beyond = found["again"].cpu - found["bare"].cpu
    note = f"{beyond:.2f} CPU s beyond interpreter start ({found['bare'].cpu:.2f} s)"
    goal = {"goal": f"<= {_SECONDS} s beyond start", "met": beyond <= _SECONDS}
    return [
        Line(
            "noop", f"nightly builds all: {_STARS:,} stars, {sum(len(f) for f in sky.files.values())} files", found["whole"], 1.0
        ),
        Line("noop", "nightly again, nothing to do (exit 3)", found["again"], found["again"].cpu / whole_cpu, note=note, **goal),
    ]
