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


def _source(function: Callable[..., object], seen: frozenset[str] = frozenset()) -> str:
    """Return the source of a function and of all of its own module that it uses: functions and constants."""
    parts = [inspect.getsource(function)]
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes.extend(part for part in code.co_consts if inspect.iscode(part))
        for name in sorted(set(code.co_names) - seen):
            held = function.__globals__.get(name)
            if inspect.isfunction(held) and held.__module__ == function.__module__:
                parts.append(_source(held, seen | {name, function.__name__}))
            elif isinstance(held, str | int | float | tuple | frozenset | dict | list):
                parts.append(f"{name} = {held!r}")
    return "\n".join(parts)


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
        self._refuse_clashes()
        self._refuse_odd_values()
        if self.kind not in KINDS or not self.dialects or set(self.dialects) - set(DIALECTS):
            raise SurveyError(
                f"survey {self.name}: kind {self.kind!r} or dialects {listing(self.dialects)} unknown; "
                f"kinds: {listing(KINDS)}; dialects: {listing(DIALECTS)}"
            )

    def _refuse_clashes(self) -> None:
        """Refuse two columns of one raw name, and tables that are no plain names."""
        raws = [raw.name.lower() for raw in self.columns.values()]
        twice = sorted({name for name in raws if raws.count(name) > 1})
        if twice:
            raise SurveyError(
                f"survey {self.name}: raw column {listing(twice)} is declared twice; a file's column has one meaning"
            )
        odd = [table for table in (self.name, *self.extensions) if not table.isidentifier()]
        if odd:
            raise SurveyError(f"survey {self.name}: {listing(odd)} is no name for a table; use letters, digits and _")

    def _refuse_odd_values(self) -> None:
        """Refuse sentinels and units that cannot occur in their columns, and a `clean` whose source cannot be hashed."""
        for name, sentinels in self.missing.items():
            kind = COLUMNS[name].type
            text = pa.types.is_string(kind)
            if pa.types.is_list(kind) or any(isinstance(sentinel, str) != text for sentinel in sentinels):
                raise SurveyError(f"survey {self.name}: sentinels {sentinels} do not fit {name}, which is {kind}")
        for name, raw in self.columns.items():
            if raw.unit and not _converts(raw.unit, COLUMNS[name].unit):
                raise SurveyError(
                    f"survey {self.name}: {raw.unit!r} of {raw.name} does not convert to {COLUMNS[name].unit!r} of {name}"
                )
        if self.clean is not None and not inspect.isfunction(self.clean):
            raise SurveyError(f"survey {self.name}: clean must be a function of the survey's module, not {self.clean!r}")

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
        telling = ("required", "lengths", "extensions", "missing", "marks", "foreign", "long", "duplicates")
        held = dataclasses.asdict(self)
        content = {name: held[name] for name in (*telling, "tolerance", "release", "name")}
        # Order counts: columns are stored in it.
        content["columns"] = [[name, dataclasses.asdict(raw)] for name, raw in self.columns.items()]
        content["tables"] = list(self.tables.items())
        content["types"] = {name: [str(COLUMNS[name].type), COLUMNS[name].unit] for name in self.columns}
        content["clean"] = _source(self.clean) if self.clean else None
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _converts(raw: str, unit: str) -> bool:
    """Tell whether values in one unit can be converted to another."""
    from astropy import units

    try:
        return bool(units.Unit(raw).is_equivalent(units.Unit(unit)))
    except ValueError:
        return False


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
