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
from lake.declaration import Adql, Computed, Http, Keys, Long, Mark, Mask, Override, Position, Raw, Relation, Where
from lake.errors import SurveyError, listing
from lake.fingerprint import plain, source_of

KINDS = ("astrometry", "spectra", "photometry", "labels", "extinction", "light_curves")
OBSERVATIONS = "n_observations"
DIALECTS = (
    "bulk_csv",
    "archive_csv",
    "pipe_csv",
    "sdss_csv",
    "ecsv",
    "datalink_csv",
    "hdf5",
    "hdf5_table",
    "fits",
    "fits_arrays",
    "votable",
    "parquet",
    "fixed_width",
)


def same(names: str) -> dict[str, Raw]:
    """Return columns whose raw names are the canonical ones, from names separated by white space."""
    return {name: Raw(name) for name in names.split()}


def beyond(name: str, *also: str) -> Mask:
    """Return the mask of values that the vocabulary calls impossible, which forgets `also` with them.

    For columns that real files are known, or must be feared, to hold nonsense in; elsewhere such values fail the check.
    """
    known = COLUMNS[name]
    return Mask((name, *also), Where(name, below=known.low, above=known.high))


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
        Canonical name -> raw column, in stored order; ``source_id`` first, or not at all where `match` finds it.
    match
        How rows without ``source_id`` get theirs: by position, or by keys shared with another survey.
    made
        Further canonical columns, which `clean` makes of the others.
    required
        Canonical columns without which a file is refused; all others become null where a file lacks them. What a match
        needs is required without saying.
    lengths
        Fixed length of each list column.
    extensions
        Further tables fed by the same pass over the raw files: name -> its columns. They share the partitions of the
        survey's own table and hold only rows in which one of their columns is present.
    missing
        Canonical name -> raw values that stand for null, beside null and NaN themselves.
    marks, foreign
        How another release is told: values of marked columns, and columns (name -> release) that only it has.
    flags
        Canonical integer column -> name of each bit -> its number, from 0; they travel in the field's metadata.
    masks
        Values that become null where something condemns them; the rows stay.
    drops
        Rows that are left out, counted by reason.
    override
        Values of another survey that replace this one's.
    duplicates
        What two rows of one source mean. ``error``: a mistake inside one file, and the same measurement in two files;
        the most complete is kept. ``most_complete``: likewise, inside one file as well. ``best``: separate observations,
        of which the first by `best` is kept; ``n_observations`` counts them.
    best
        Canonical columns by which observations are ranked, smallest first; a minus sign before the name means largest
        first. Nulls come last; ties go to the more complete row, then to the smaller values. Objects matched by position are
        ranked by separation where nothing is said.
    relations
        Physical relations to known tables that right matches obey.
    computed
        How the values are computed at every source of another table; the raw files, if any, are what it takes.
    fetch
        Where the raw files can be had; None if by hand only, as `source` says.
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
    match: Position | Keys | None = None
    made: tuple[str, ...] = ()
    flags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    masks: tuple[Mask, ...] = ()
    drops: tuple[Where, ...] = ()
    override: Override | None = None
    duplicates: str = "error"
    best: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()
    computed: Computed | None = None
    fetch: Http | Adql | None = None
    tolerance: float = 1e-5
    clean: Callable[[pa.Table], pa.Table] | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself or the vocabulary."""
        if self.match:
            by = (self.match.ra, self.match.dec) if isinstance(self.match, Position) else (*self.match.on, *self.match.agree)
            needed = dict.fromkeys([*by, *(name for name in self.required if name != "source_id")])
            object.__setattr__(self, "required", tuple(name for name in needed if name not in self.made))
        unknown = [name for name in self.every_column if name not in COLUMNS]
        if unknown:
            raise SurveyError(f"survey {self.name}: {listing(unknown)} not in the vocabulary; add them in lake/columns/")
        if self.has_ids and (next(iter(self.columns)) != "source_id" or "source_id" not in self.required):
            raise SurveyError(f"survey {self.name}: source_id must be the first column and required")
        if not self.has_ids and "source_id" in self.columns:
            raise SurveyError(f"survey {self.name}: source_id is found by the match, so it is no column of the files")
        named = [*self.required, *self.lengths, *self.missing, *(mark.column for mark in self.marks)]
        named += [name for names in self.extensions.values() for name in names]
        self._refuse_strays(named, tuple(self.columns))
        self._refuse_strays(self._named_later(), self.every_column)
        loose = [name for name in self.columns if pa.types.is_list(COLUMNS[name].type) and name not in self.lengths]
        if loose:
            raise SurveyError(f"survey {self.name}: list columns {listing(loose)} need a length in `lengths`")
        if self.duplicates not in ("error", "most_complete", "best"):
            raise SurveyError(f"survey {self.name}: duplicates {self.duplicates!r} unknown; choose error, most_complete or best")
        if isinstance(self.match, Position) and self.duplicates != "best":
            raise SurveyError(f"survey {self.name}: several objects may match one source by position; say duplicates='best'")
        if self.duplicates == "best" and not self.ranking:
            raise SurveyError(f"survey {self.name}: duplicates='best' needs `best`, the columns that rank observations")
        self._refuse_clashes()
        self._refuse_odd_values()
        if self.kind not in KINDS or not (self.dialects or self.computed) or set(self.dialects) - set(DIALECTS):
            raise SurveyError(
                f"survey {self.name}: kind {self.kind!r} or dialects {listing(self.dialects)} unknown; "
                f"kinds: {listing(KINDS)}; dialects: {listing(DIALECTS)}"
            )

    def _named_later(self) -> list[str]:
        """Return the canonical columns that flags, masks, drops, matches, ranks and relations name."""
        conditions = [*self.drops, *(mask.where for mask in self.masks)]
        early = [*(where.column for where in conditions), *(name for mask in self.masks for name in mask.columns)]
        # Masks and drops work on what files hold and `clean` makes; what match and merge add comes after them.
        self._refuse_strays(early, (*self.columns, *self.made))
        named = [*self.flags]
        named += [name for one in self.relations for name in ([one.value] if isinstance(one.value, str) else one.value)]
        named += list(self.ranking_columns)
        if isinstance(self.match, Position):
            named += [self.match.ra, self.match.dec]
        if isinstance(self.match, Keys):
            named += [*self.match.on, *self.match.agree]
        if self.override:
            named += [*self.override.on, *self.override.columns]
        unknown = [f"{where.column}.{bit}" for where in conditions for bit in where.bits if bit not in self._bits(where.column)]
        if unknown:
            raise SurveyError(f"survey {self.name}: {listing(unknown)} is no bit that `flags` names")
        return named

    def _bits(self, column: str) -> Mapping[str, int]:
        return self.flags.get(column, {})

    def _refuse_strays(self, named: list[str], known: tuple[str, ...]) -> None:
        stray = sorted({name for name in named if name not in known})
        if stray:
            raise SurveyError(f"survey {self.name}: {listing(stray)} named in the declaration but not among its columns")

    def _refuse_clashes(self) -> None:
        """Refuse two columns of one raw name, and tables that are no plain names."""
        raws = [(raw.name.lower(), raw.element) for raw in self.columns.values()]
        twice = sorted({name for name, element in raws if raws.count((name, element)) > 1})
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
        if self.made and self.clean is None:
            raise SurveyError(f"survey {self.name}: {listing(self.made)} in `made`, but there is no `clean` that makes them")
        if self.clean is not None and not inspect.isfunction(self.clean):
            raise SurveyError(f"survey {self.name}: clean must be a function of the survey's module, not {self.clean!r}")

    @property
    def has_ids(self) -> bool:
        """Whether the files themselves hold ``source_id``."""
        return self.match is None

    @cached_property
    def every_column(self) -> tuple[str, ...]:
        """Every column of the survey's tables, in stored order: what files hold, what `clean`, match and merge add."""
        added = [*self.made]
        added += [self.override.origin] if self.override else []
        added += ["match_separation", "match_candidates"] if isinstance(self.match, Position) else []
        added += [OBSERVATIONS] if self.duplicates == "best" else []
        return (*(() if self.has_ids else ("source_id",)), *self.columns, *added)

    @property
    def ranking(self) -> tuple[str, ...]:
        """Return `best`, or separation for objects matched by position."""
        return self.best or (("match_separation",) if isinstance(self.match, Position) else ())

    @property
    def ranking_columns(self) -> tuple[str, ...]:
        """Columns of `ranking`, without signs."""
        return tuple(name.removeprefix("-") for name in self.ranking)

    @property
    def beside(self) -> tuple[str, ...]:
        """Surveys whose raw files are read beside this one's."""
        keys = (self.match.survey,) if isinstance(self.match, Keys) else ()
        return (*keys, *((self.override.survey,) if self.override else ()))

    @property
    def stands_on(self) -> str | None:
        """Table whose rows this survey is matched to, or computed at; None if it stands on files alone."""
        if isinstance(self.match, Position):
            return self.match.table
        return self.computed.table if self.computed else None

    @cached_property
    def tables(self) -> dict[str, tuple[str, ...]]:
        """Every table that the survey feeds, its own first: name -> canonical columns with ``source_id`` first."""
        extended = {name for names in self.extensions.values() for name in names}
        own = tuple(name for name in self.every_column if name not in extended)
        return {self.name: own} | {table: ("source_id", *names) for table, names in self.extensions.items()}

    def schema(self, table: str | None = None) -> pa.Schema:
        """Return the Arrow schema of one of the survey's tables (its own if not named), with the names of bits."""
        made = schema(self.tables[table or self.name], lengths=self.lengths)
        for name, bits in self.flags.items():
            at = made.get_field_index(name)
            if at >= 0:
                said = ", ".join(f"{number} {bit}" for bit, number in sorted(bits.items(), key=lambda one: one[1]))
                held = made.field(at)
                made = made.set(at, held.with_metadata({**(held.metadata or {}), b"bits": said.encode()}))
        return made

    def accepts(self, file_name: str) -> bool:
        """Tell whether a file found in a folder is one of the survey's by its name."""
        return any(fnmatch.fnmatch(file_name, pattern) for pattern in self.patterns)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides the survey's rows; titles, citations and descriptions do not count."""
        telling = ("required", "lengths", "extensions", "missing", "marks", "foreign", "long", "duplicates")
        held = {name: plain(getattr(self, name)) for name in telling}
        content: dict[str, object] = {**held, "tolerance": self.tolerance, "release": self.release, "name": self.name}
        # Order counts: columns are stored in it.
        content["columns"] = [[name, dataclasses.asdict(raw)] for name, raw in self.columns.items()]
        content["tables"] = list(self.tables.items())
        content["types"] = {name: [str(COLUMNS[name].type), COLUMNS[name].unit] for name in self.every_column}
        content["bits"] = {name: dict(bits) for name, bits in self.flags.items()}
        content["rules"] = [plain(one) for one in (self.match, self.masks, self.drops, self.override, self.ranking)]
        if self.computed:
            content["computed"] = [self.computed.table, self.computed.needs, source_of(self.computed.function)]
        content["clean"] = source_of(self.clean) if self.clean else None
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
