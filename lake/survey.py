"""Define what one survey declares, and find all declarations.

A survey is one frozen `Survey` constant named ``SURVEY`` in a module of `lake.surveys`. Everything else - reading,
ingesting, checking, the catalogue, the generic tests - follows from it, so adding a survey is adding one file.
"""

import dataclasses
import fnmatch
import hashlib
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import pyarrow as pa

from lake.columns import COLUMNS, schema
from lake.errors import SurveyError, listing

KINDS = ("astrometry", "spectra", "photometry", "labels", "light_curves")
DIALECTS = ("bulk_csv", "archive_csv", "ecsv", "datalink_csv", "hdf5", "fits", "fits_arrays", "votable", "parquet")


@dataclass(frozen=True)
class Raw:
    """One column as the survey's files hold it.

    Attributes
    ----------
    name
        Name in the raw file, compared without regard to case.
    unit
        Unit in the raw file where it is not the vocabulary's; values are converted.
    flat
        Other spellings of a list column: one scalar column per element, ``{}`` standing for its number.
    flat_from
        Number of the first element in `flat`.
    """

    name: str
    unit: str = ""
    flat: tuple[str, ...] = ()
    flat_from: int = 0


@dataclass(frozen=True)
class Mark:
    """A column whose values tell which release a file belongs to.

    Attributes
    ----------
    low, high
        Inclusive range of good values of a numeric column.
    prefix
        Beginning of every good value of a text column.
    """

    column: str
    low: float | None = None
    high: float | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Long:
    """A form in which each source fills many rows, one per sample, to be folded into list columns.

    Attributes
    ----------
    by
        Raw column that numbers the samples; its presence as a column marks the form.
    grid
        First value, step and number of samples.
    """

    by: str
    grid: tuple[float, float, int]


def same(names: str) -> dict[str, Raw]:
    """Return columns whose raw names are the canonical ones, from names separated by white space."""
    return {name: Raw(name) for name in names.split()}


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a survey's files are called, which columns they hold, and what becomes of them.

    Attributes
    ----------
    patterns
        Names of the survey's files (fnmatch) inside a folder. A file named on the command line may be called anything.
    dialects
        Forms in which the files come (see `DIALECTS`); readers recognise them by content, generators write them.
    columns
        Canonical name -> raw column, in stored order, ``source_id`` first.
    required
        Canonical columns without which a file is refused; all others become null where a file lacks them.
    lengths
        Fixed length of each list column.
    extensions
        Further tables fed by the same pass over the raw files: name -> its columns. They share the partitions of the
        survey's own table and hold only rows in which one of their columns is present.
    missing
        Canonical name -> raw values that stand for null, beside null and NaN themselves.
    marks, foreign
        How another release is told: values of marked columns, and columns (name -> release) that only it has.
    duplicates
        What two rows of one source inside one file mean: ``error``, or ``most_complete`` to keep the most complete row.
    tolerance
        Largest difference, relative or absolute, of two rows of one source that are called the same measurement.
    clean
        At most one small function, canonical table in and out, same rows, for what cannot be declared.
    rows
        Number of rows that the full release is published to hold.
    """

    name: str
    title: str
    release: str
    kind: str
    citation: str
    licence: str
    source: str
    patterns: tuple[str, ...]
    dialects: tuple[str, ...]
    columns: Mapping[str, Raw]
    required: tuple[str, ...] = ("source_id",)
    lengths: Mapping[str, int] = field(default_factory=dict)
    extensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, tuple[float | str, ...]] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    long: Long | None = None
    duplicates: str = "error"
    tolerance: float = 1e-5
    clean: Callable[[pa.Table], pa.Table] | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself or the vocabulary."""
        unknown = [name for name in self.columns if name not in COLUMNS]
        if unknown:
            raise SurveyError(f"survey {self.name}: {listing(unknown)} not in the vocabulary; add them in lake/columns/")
        if next(iter(self.columns)) != "source_id" or "source_id" not in self.required:
            raise SurveyError(f"survey {self.name}: source_id must be the first column and required")
        named = [*self.required, *self.lengths, *self.missing, *(mark.column for mark in self.marks)]
        named += [name for names in self.extensions.values() for name in names]
        stray = sorted({name for name in named if name not in self.columns})
        if stray:
            raise SurveyError(f"survey {self.name}: {listing(stray)} named in the declaration but not among its columns")
        loose = [name for name in self.columns if pa.types.is_list(COLUMNS[name].type) and name not in self.lengths]
        if loose:
            raise SurveyError(f"survey {self.name}: list columns {listing(loose)} need a length in `lengths`")
        if self.duplicates not in ("error", "most_complete"):
            raise SurveyError(f"survey {self.name}: duplicates {self.duplicates!r} unknown; choose error or most_complete")
        if self.kind not in KINDS or not self.dialects or set(self.dialects) - set(DIALECTS):
            raise SurveyError(
                f"survey {self.name}: kind {self.kind!r} or dialects {listing(self.dialects)} unknown; "
                f"kinds: {listing(KINDS)}; dialects: {listing(DIALECTS)}"
            )

    @cached_property
    def tables(self) -> dict[str, tuple[str, ...]]:
        """Every table that the survey feeds, its own first: name -> canonical columns with ``source_id`` first."""
        extended = {name for names in self.extensions.values() for name in names}
        own = tuple(name for name in self.columns if name not in extended)
        return {self.name: own} | {table: ("source_id", *names) for table, names in self.extensions.items()}

    def schema(self, table: str | None = None) -> pa.Schema:
        """Return the Arrow schema of one of the survey's tables (its own if not named)."""
        return schema(self.tables[table or self.name], lengths=self.lengths)

    def accepts(self, file_name: str) -> bool:
        """Tell whether a file found in a folder is one of the survey's by its name."""
        return any(fnmatch.fnmatch(file_name, pattern) for pattern in self.patterns)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides the survey's rows; titles, citations and descriptions do not count."""
        telling = ("columns", "required", "lengths", "extensions", "missing", "marks", "foreign", "long", "duplicates")
        held = dataclasses.asdict(self)
        content = {name: held[name] for name in (*telling, "tolerance", "release", "name")}
        content["types"] = {name: [str(COLUMNS[name].type), COLUMNS[name].unit] for name in self.columns}
        content["clean"] = inspect.getsource(self.clean) if self.clean else None
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def surveys() -> Mapping[str, Survey]:
    """Return every declared survey by name; a broken declaration stops the run with an error that names its module.

    Raises
    ------
    SurveyError
        If a module of `lake.surveys` cannot be imported, holds no ``SURVEY``, or names it differently from its file.
    """
    package = importlib.import_module("lake.surveys")
    found: dict[str, Survey] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        try:
            module = importlib.import_module(f"lake.surveys.{info.name}")
        except Exception as error:
            raise SurveyError(f"lake/surveys/{info.name}.py cannot be imported: {error}") from error
        declared = getattr(module, "SURVEY", None)
        if not isinstance(declared, Survey) or declared.name != info.name:
            raise SurveyError(f"lake/surveys/{info.name}.py must hold SURVEY = Survey(name={info.name!r}, ...)")
        found[declared.name] = declared
    return found


def survey(name: str) -> Survey:
    """Return one survey.

    Raises
    ------
    SurveyError
        If no survey has this name; the message lists those that exist.
    """
    known = surveys()
    if name not in known:
        raise SurveyError(f"no survey {name!r}; declared are: {listing(known, 40)} (see `gaialake surveys`)")
    return known[name]


def table_surveys() -> dict[str, Survey]:
    """Return table name -> the survey that feeds it, extensions included."""
    return {table: declared for declared in surveys().values() for table in declared.tables}
