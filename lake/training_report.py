"""Hold what an audit of a training table found: findings, each with a count, an example and what to do, in one report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lake.training_checks import ERROR, WARNING
from lake.training_rows import Part
from lake.training_tally import Tally


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    level
        ``error`` or ``warning``.
    count, of
        Bad values (or rows, ids, columns), and how many were looked at.
    source_id, value
        The first of them, where one can be named.
    advice
        What to do.
    """

    level: str
    check: str
    column: str
    count: int
    of: int
    advice: str
    source_id: int | None = None
    value: Any = None

    @property
    def text(self) -> str:
        """Say it in a line or two."""
        first = f", first: source_id {self.source_id}" if self.source_id is not None else ""
        value = f" ({self.value!r})" if self.value is not None else ""
        return f"{self.level}: {self.check}: {self.column}: {self.count:,} of {self.of:,}{first}{value}\n    {self.advice}"


@dataclass(frozen=True)
class Report:
    """What an audit found.

    Attributes
    ----------
    missing
        Column -> share of missing values.
    coverage
        Split -> label -> rows with that label; ``rows`` counts all.
    untested
        What could not be tested, and why.
    """

    name: str
    form: str
    rows: int
    parts: int
    findings: tuple[Finding, ...] = ()
    missing: Mapping[str, float] = field(default_factory=dict)
    coverage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    untested: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that must be mended."""
        return tuple(one for one in self.findings if one.level == ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that ask for a look."""
        return tuple(one for one in self.findings if one.level == WARNING)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)

    def text(self) -> str:
        """Return the report for people, errors first."""
        found = [one.text for one in (*self.errors, *self.warnings)]
        splits = [
            f"{split}: {held['rows']:,} rows" + "".join(f", {label} {n:,}" for label, n in held.items() if label != "rows")
            for split, held in self.coverage.items()
        ]
        untested = [f"not tested: {one}" for one in self.untested]
        verdict = f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        head = f"{self.name}: {self.form}, {self.rows:,} rows in {self.parts:,} parts: {verdict}"
        return "\n".join([head, *found, *splits, *untested])


@dataclass
class Audit:
    """What the checks of a whole table look at."""

    form: str
    tally: Tally
    parts: tuple[Part, ...] = ()
    untested: list[str] = field(default_factory=list)

    def own(self, name: str) -> str:
        """Return the table's own name of a column."""
        return self.tally.shown.get(name, name)
