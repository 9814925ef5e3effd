"""Show the whole path on a synthetic sky: raw files, tables, catalogue, model, predictions, labels on one scale."""

import shutil
import time
from pathlib import Path

from jobs.nightly import nightly
from jobs.terminal import progress, say, size, table
from lake.errors import LakeError
from lake.root import grid_of, init_lake, open_lake

STARS = 50_000
_LEAVES = 30
_LEAST_STARS = 100
# With fewer, the surveys of the sky have too few stars in common to train a translator.
_TRANSLATED_STARS = 40_000
_MODELS = ("xp_mae", "galah_dr4_on_apogee_dr17")


def demo(folder: Path, *, stars: int = STARS, profile: str = "local") -> int:
    """Make a synthetic sky in ``folder/raw``, run the nightly on it, and say what was built and how to open it.

    A second run finds everything done.

    Raises
    ------
    LakeError
        If the folder holds something else.
    """
    try:
        from jobs.sky import make_sky
    except ImportError as error:
        raise LakeError(f"the demo needs {error.name}; pip install -c constraints.txt 'gaialake[demo]'") from error

    if stars < _LEAST_STARS:
        raise LakeError(f"--stars {stars}: the demo needs {_LEAST_STARS} stars or more")
    begun = time.monotonic()
    mark = folder / "raw" / "SYNTHETIC.txt"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise LakeError(f"{folder} holds something else than a demo; give an empty folder with --dir")
    if mark.exists() and f", {stars} stars" not in mark.read_text():
        raise LakeError(f"{folder} holds a demo with another number of stars; give another folder with --dir")
    if not mark.exists():
        say(f"make a synthetic sky of {stars:,} stars")
        shutil.rmtree(folder / "raw.part", ignore_errors=True)
        with progress("write raw files") as steps:
            make_sky(folder / "raw.part", stars=stars, progress=lambda _name, _done, total: steps.advance(total))
        (folder / "raw.part").rename(folder / "raw")
    grid = grid_of(None, folder / "raw" / "counts.csv", leaf_rows=max(1, stars // _LEAVES))
    lake = init_lake(folder, release="dr3", grid=grid)
    say(f"lake in {folder}: {len(lake.grid)} partitions of order {lake.grid.orders().min()} to {lake.grid.orders().max()}")
    code = nightly(lake, profile=profile, train_models=_MODELS if stars >= _TRANSLATED_STARS else _MODELS[:1])
    _show(folder, time.monotonic() - begun)
    return code


def _show(folder: Path, seconds: float) -> None:
    lake = open_lake(folder)
    rows = [(name, f"{lake.table(name).rows:,}", size(lake.table(name).manifest.bytes)) for name in lake.names]
    say()
    table(("table (SYNTHETIC sky)", "rows", "bytes"), rows, right=(1, 2))
    say(f"\nall of it lies in {folder}, made in {seconds:.0f} s; open it with:\n")
    say(f'''    import intake, lake
    catalog = intake.open_catalog("{folder}/catalog.yaml")
    spectra = catalog["gaia_dr3_xp"].to_dask()                    # lazy, index source_id, known divisions
    opened = lake.open("{folder}")
    joined = opened.join(["gaia_dr3_xp", "predictions_xp_mae"])   # lazy, no shuffle
    print(joined[["bp_n_relevant_bases", "reconstruction_error"]].get_partition(0).compute())
    labelled = catalog["finetune"].to_dask()                      # spectra beside labels of all surveys on one scale
    print(labelled[["teff", "teff_error", "teff_n_sources", "split"]].get_partition(0).compute())
''')
