"""Say what every declared survey is, and all that is to be known of one; `python -m lake.overview` writes README's table.

The table stands between two comment lines of README.md and is made from the declarations alone.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lake.columns import COLUMNS
from lake.declaration import Adql, Http, Keys, Position, Raw
from lake.errors import listing
from lake.survey import OBSERVATIONS, Survey, surveys

BEGIN, END = "<!-- surveys: made by python -m lake.overview -->", "<!-- end of surveys -->"
HEADINGS = ("survey", "what", "release", "rows published", "source_id", "fetch")
CREDIT_HEADINGS = ("survey", "citation", "licence")
COLUMN_HEADINGS = ("column", "type", "unit", "in the files", "what")
_MADE = "-"


def identified(declared: Survey) -> str:
    """Say how a survey's rows get their source_id."""
    if declared.computed:
        return "computed"
    if isinstance(declared.match, Position):
        return f"position, {declared.match.radius:g} arcsec at {declared.match.epoch:g}"
    if isinstance(declared.match, Keys):
        return f"keys of {declared.match.survey}"
    return "in its files"


def fetched(declared: Survey) -> str:
    """Say how a survey's files are had."""
    if declared.fetch is None:
        return "by hand"
    return "ADQL" if isinstance(declared.fetch, Adql) else "HTTP"


def overview() -> list[tuple[str, ...]]:
    """Return one row of `HEADINGS` per survey."""
    return [
        (one.name, one.title, one.release, f"{one.rows:,}" if one.rows else "", identified(one), fetched(one))
        for one in surveys().values()
    ]


def acknowledged() -> list[tuple[str, ...]]:
    """Return one row of `CREDIT_HEADINGS` per survey: whom to cite, and on what terms the data come."""
    return [(one.name, one.citation, one.licence) for one in surveys().values()]


def details(declared: Survey) -> list[tuple[str, str]]:
    """Return all that is to be known of one survey but its columns, as pairs of heading and text."""
    request = declared.fetch
    where = list([request.listing] if request.listing else request.urls) if isinstance(request, Http) else []
    where += [f"queries at {request.service}"] if isinstance(request, Adql) else []
    rows = f"{declared.rows:,} rows published" if declared.rows else "number of rows not published"
    several = {
        "best": f"the best by {', '.join(declared.ranking)} of any number, which {OBSERVATIONS} counts",
        "most_complete": "the most complete one; others are dropped and counted",
        "error": "the only one; a second one in a file is refused",
    }
    return [
        ("release", f"{declared.release}; {rows}"),
        ("tables", ", ".join(declared.tables)),
        ("source", declared.source),
        ("fetch", f"gaialake fetch {declared.name}: {listing(where, 2)}" if where else "by hand"),
        ("files", f"{listing(declared.patterns)}{f' ({listing(declared.dialects)})' if declared.dialects else ''}"),
        ("source_id", identified(declared) + (f" at every row of {declared.stands_on}" if declared.computed else "")),
        ("row of a source", several[declared.duplicates]),
        *(("left out", str(where)) for where in declared.drops),
        *(("null where", text) for text in _grouped((str(one.where), one.where.column, one.columns) for one in declared.masks)),
        *(("bits", text) for text in _grouped((f"{name} {_bits(bits)}", name, ()) for name, bits in declared.flags.items())),
        *(
            ("verified", f"{_said(one.value)} against {', '.join(map(_said, one.against))} of {one.table}")
            for one in declared.relations
        ),
        ("citation", declared.citation),
        ("licence", declared.licence),
    ]


def _grouped(said: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[str]:
    """Say once what is said of several columns: texts that begin with a column's name, that name, and what follows from it."""
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for text, name, others in said:
        names, ends = groups.setdefault(text.removeprefix(name), ([], []))
        names.append(name)
        ends.extend(others)
    return [f"{listing(names)}{rest}{f': {listing(ends)}' if ends else ''}" for rest, (names, ends) in groups.items()]


def _bits(bits: Mapping[str, int]) -> str:
    return "= " + ", ".join(f"{at} {bit}" for bit, at in sorted(bits.items(), key=lambda one: one[1]))


def _said(value: str | tuple[str, str]) -> str:
    return value if isinstance(value, str) else " - ".join(value)


def columns(declared: Survey) -> list[tuple[str, ...]]:
    """Return one row of `COLUMN_HEADINGS` per column of a survey's tables."""
    return [
        (name, str(COLUMNS[name].type), COLUMNS[name].unit, _raw(declared.columns.get(name)), COLUMNS[name].description)
        for name in declared.every_column
    ]


def _raw(raw: Raw | None) -> str:
    """Say where a column comes from: its name in the files, with the unit if it is converted, and the element if it is one."""
    if raw is None:
        return _MADE
    return f"{raw.name}{'' if raw.element is None else f'[{raw.element}]'}{f' [{raw.unit}]' if raw.unit else ''}"


def markdown() -> str:
    """Return the table as README shows it."""
    return _table(HEADINGS, overview())


def _table(headings: tuple[str, ...], found: list[tuple[str, ...]]) -> str:
    rows = [headings, ("---",) * len(headings), *((f"`{row[0]}`", *row[1:]) for row in found)]
    return "\n".join(f"| {' | '.join(cell.replace('|', ',') for cell in row)} |" for row in rows)


def brought_up_to_date(readme: str) -> str:
    """Return README with the table of now.

    Raises
    ------
    ValueError
        If the comment lines between which the table stands are not there.
    """
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"README lacks the lines {BEGIN!r} and {END!r}, between which the table of surveys stands")
    credit = f"<details><summary>Citations and licences</summary>\n\n{_table(CREDIT_HEADINGS, acknowledged())}\n\n</details>"
    return f"{before}{BEGIN}\n{markdown()}\n\n{credit}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    path.write_text(brought_up_to_date(path.read_text()))
