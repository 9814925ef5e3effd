"""Write a SYNTHETIC sky: raw files of every survey it knows, as the archives ship them, from one invented population of stars.

Nothing here is a measurement. The sky serves demos and tests: the same arguments give the same bytes on one machine with the
same libraries (another processor may round a matrix product otherwise). Adding a survey is one function that yields its
files, and one line in `_SURVEYS`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import (
    sky_apogee,
    sky_dust,
    sky_galah,
    sky_lamost,
    sky_parameters,
    sky_photometry,
    sky_surveys,
    sky_translator,
    sky_unwise,
)
from jobs.dialects import write, write_dirty
from jobs.dialects_raw import as_raw
from jobs.sky_plan import File, Part, Plan
from jobs.sky_population import CLUSTERS, Ints, Stars, population
from jobs.sky_source import source_columns
from jobs.sky_xp import Columns, catwise_columns, has_sampled, sampled_columns, xp_columns
from lake.columns import column
from lake.errors import LakeError, listing
from lake.partition import BASE_ORDER, N_PIXELS, pixel
from lake.survey import Survey, survey, surveys

NOTE = "SYNTHETIC sky made by gaialake (jobs/sky.py): invented stars, no measurements. Never mix with real data."
_README = """{note}

Seed {seed}, {stars} stars. One folder per survey, in the dialects of the real files. counts.csv: gaia_source rows per HEALPix
level-8 pixel (nested). truth.parquet: the labels from which the stars were made; cluster is the number of the open cluster
or null. Cluster [Fe/H]: {clusters}.
"""
_FILE_STARS, _LEAST_FILES = 4200, 6
_LEAST_WIDTH = 9  # of the published ranges [level-8 pixels]
_WORKERS = 2


@dataclass(frozen=True)
class Sky:
    """What `make_sky` wrote, all of it SYNTHETIC.

    Attributes
    ----------
    files, rows
        Per survey: its files in order of their names' ranges, and the number of rows in all of them.
    counts
        CSV of gaia_source rows per level-8 pixel (``pixel8,rows``; only pixels with rows).
    truth
        Parquet of the labels: source_id, teff, logg, fe_h, distance [pc], extinction [mag], cluster (null in the field).
    """

    folder: Path
    files: Mapping[str, tuple[Path, ...]]
    rows: Mapping[str, int]
    counts: Path
    truth: Path
    seed: int


def make_sky(
    folder: Path,
    *,
    stars: int = 50_000,
    seed: int = 0,
    names: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Sky:
    """Write the SYNTHETIC sky to ``folder/<survey>/<file>``.

    Parameters
    ----------
    stars
        Rows of gaia_source; about 86 % of them have XP spectra.
    names
        Surveys to write; all that the sky knows if not given.
    progress
        Called with a file's name, files done and files in all.

    Raises
    ------
    LakeError
        If a survey named is not declared or unknown to the sky, or if GaiaXPy is not installed.
    """
    chosen = _chosen(names)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SYNTHETIC.txt").write_text(
        _README.format(
            note=NOTE, seed=seed, stars=stars, clusters=", ".join(f"{i} {held[3]:+.2f}" for i, held in enumerate(CLUSTERS, 1))
        )
    )
    every = population(stars, seed)
    plan = Plan(every, _parts(every), seed)
    tasks = [(declared, file) for declared in chosen for file in _SURVEYS[declared.name](plan)]
    rows = {declared.name: 0 for declared in chosen}
    with ThreadPoolExecutor(_WORKERS) as pool:  # threads: nearly all the work is in Arrow, numpy and gzip, outside the lock
        waiting = {pool.submit(_write, folder, declared, file): (declared, file) for declared, file in tasks}
        for done, future in enumerate(as_completed(waiting), 1):
            declared, file = waiting[future]
            rows[declared.name] += future.result()
            if progress:
                progress(file.name, done, len(tasks))
    files = {
        declared.name: tuple(folder / declared.name / file.name for held, file in tasks if held is declared)
        for declared in chosen
    }
    return Sky(
        folder, files, rows, _write_counts(every, folder / "counts.csv"), _write_truth(every, folder / "truth.parquet"), seed
    )


def _chosen(names: Sequence[str] | None) -> list[Survey]:
    if names is None:
        return [declared for name, declared in surveys().items() if name in _SURVEYS]
    unknown = [name for name in names if survey(name).name not in _SURVEYS]
    if unknown:
        raise LakeError(
            f"the synthetic sky cannot make {listing(unknown)}; it knows {listing(_SURVEYS)}. "
            "Add a function to jobs/sky.py that yields the survey's files"
        )
    return [survey(name) for name in names]


# --- what each survey's files hold ----------------------------------------------------------------------------------


def _bulk(part: Part, title: str) -> tuple[str, str]:
    """Return name and dialect of a bulk file: gzipped CSV as at ESA, every second one HDF5 as at the mirror."""
    return (f"{title}_{part.name}.hdf5", "hdf5") if part.number % 2 else (f"{title}_{part.name}.csv.gz", "bulk_csv")


def _gaia_dr3_source(plan: Plan) -> Iterator[File]:
    """Yield GaiaSource files: all stars, all 152 columns."""
    for part in plan.parts:
        yield File(*_bulk(part, "GaiaSource"), partial(source_columns, part.stars, plan.seed))


def _gaia_dr3_xp(plan: Plan) -> Iterator[File]:
    """Yield XP files on the same ranges: correlations in two of them, one file that changes its integers to float text."""
    filled = [part.number for part in plan.parts if part.stars.has_xp.any()]
    text, binary = [i for i in filled if i % 2 == 0], [i for i in filled if i % 2]
    for part in plan.parts:
        bright = part.stars.take(part.stars.has_xp)
        columns = partial(xp_columns, bright, plan.seed, correlations=part.number in (*text[1:2], *binary[:1]))
        yield File(*_bulk(part, "XpContinuousMeanSpectrum"), columns, dirty=part.number in text[2:3])


def _gaia_dr3_xp_sampled(plan: Plan) -> Iterator[File]:
    """Yield sampled spectra of about 2 % of the sources, on the same ranges."""
    for part in plan.parts:
        some = part.stars.take(has_sampled(part.stars, plan.seed))
        yield File(*_bulk(part, "XpSampledMeanSpectrum"), partial(sampled_columns, some, plan.seed))


def _catwise_andrae2023(plan: Plan) -> Iterator[File]:
    """Yield the one table of all XP sources, in no order."""

    def shuffled() -> Columns:
        columns = catwise_columns(plan.stars.take(plan.stars.has_xp), plan.seed)
        order = np.random.default_rng([plan.seed, 0]).permutation(len(columns["source_id"]))
        return {name: values[order] for name, values in columns.items()}

    yield File("table_1_catwise.fits.gz", "fits", shuffled)


_CHAPTERS = (
    *(sky_photometry, sky_unwise, sky_dust, sky_apogee, sky_galah),
    *(sky_parameters, sky_lamost, sky_surveys, sky_translator),
)
_SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "gaia_dr3_source": _gaia_dr3_source,
    "gaia_dr3_xp": _gaia_dr3_xp,
    "gaia_dr3_xp_sampled": _gaia_dr3_xp_sampled,
    "catwise_andrae2023": _catwise_andrae2023,
    **{name: files for part in _CHAPTERS for name, files in part.SURVEYS.items()},
}


# --- files ----------------------------------------------------------------------------------------------------------


def _parts(stars: Stars) -> tuple[Part, ...]:
    """Cut the sky into contiguous ranges of level-8 pixels with about equally many stars, and one without XP sources.

    Edges avoid multiples of four, so that they never meet the edges of a lake's grid (nodes of the quadtree).
    """
    held = pixel(stars.source_id, BASE_ORDER)
    files = max(_LEAST_FILES, round(len(stars) / _FILE_STARS))
    wanted = held[np.linspace(0, len(held), files, endpoint=False).astype(np.int64)[1:]] + 1
    edges = np.unique([0, *(wanted + (wanted % 4 == 0)), *_without_xp(stars, held), N_PIXELS])
    at = np.searchsorted(held, edges)
    return tuple(
        Part(i, f"{edges[i]:06d}-{edges[i + 1] - 1:06d}", stars.take(slice(int(at[i]), int(at[i + 1]))))
        for i in range(len(edges) - 1)
    )


def _without_xp(stars: Stars, held: Ints) -> tuple[int, ...]:
    """Return the edges of a range that holds stars, none of them with an XP spectrum; real bulk files have such ranges."""
    occupied, first = np.unique(held, return_index=True)
    bright = np.add.reduceat(stars.has_xp.astype(np.int64), first)
    ends = np.append(occupied[1:], N_PIXELS)
    fits = (bright == 0) & (occupied % 4 != 0) & (ends % 4 != 0) & (ends < N_PIXELS)
    if not fits.any():
        return ()
    width = np.where(fits, np.minimum(ends - occupied, _LEAST_WIDTH), 0)
    first_wide = np.argmax(width)
    return int(occupied[first_wide]), int(ends[first_wide])


def _write(folder: Path, declared: Survey, file: File) -> int:
    """Write one file and return its number of rows."""
    path = folder / declared.name / file.name
    path.parent.mkdir(exist_ok=True)
    if file.make:
        file.make(path)
        return 0
    table = raw_table(declared, file.columns(), every_column=file.dialect == "bulk_csv")
    if file.dirty:
        write_dirty(table, path)
    else:
        write(table, path, file.dialect)
    return len(table)


def raw_table(declared: Survey, columns: Mapping[str, Any], *, every_column: bool) -> pa.Table:
    """Return SYNTHETIC columns under the names and types of a survey's raw files.

    Parameters
    ----------
    columns
        Canonical name -> numpy or Arrow values.
    every_column
        Whether a column that the sky does not make is there, all null (text), or left out (one dataset per column).
    """
    rows = len(next(iter(columns.values())))
    fields, arrays = [], []
    for name in declared.columns:
        if name not in columns and not every_column:
            continue
        field = column(name).field(declared.lengths.get(name)).with_nullable(True)
        values = columns.get(name)
        arrays.append(pa.nulls(rows, field.type) if values is None else pa.array(values).cast(field.type))
        fields.append(field)
    return as_raw(declared, pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"comment": NOTE})))


def _write_counts(stars: Stars, path: Path) -> Path:
    held, rows = np.unique(pixel(stars.source_id, BASE_ORDER), return_counts=True)
    path.write_text("pixel8,rows\n" + "".join(f"{p},{n}\n" for p, n in zip(held.tolist(), rows.tolist(), strict=True)))
    return path


def _write_truth(stars: Stars, path: Path) -> Path:
    names = ("source_id", "teff", "logg", "fe_h", "distance", "extinction")
    columns = {name: pa.array(getattr(stars, name)) for name in names}
    columns["cluster"] = pa.array(stars.cluster.astype(np.int16), mask=stars.cluster == 0)
    pq.write_table(pa.table(columns).replace_schema_metadata({"comment": NOTE}), path)
    return path
