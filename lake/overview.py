"""Say in one table what every declared survey is and how its rows get their source_id; `python -m lake.overview` writes README's.

The table stands between two comment lines of README.md and is made from the declarations alone.
"""

import sys
from pathlib import Path

from lake.declaration import Adql, Keys, Position
from lake.survey import Survey, surveys

BEGIN, END = "<!-- surveys: made by python -m lake.overview -->", "<!-- end of surveys -->"
HEADINGS = ("survey", "what", "release", "rows published", "source_id", "fetch", "forms", "citation", "licence")


def identified(declared: Survey) -> str:
    """Say how a survey's rows get their source_id."""
    if declared.computed:
        return f"computed at {declared.computed.table}"
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
        (
            one.name,
            one.title,
            one.release,
            f"{one.rows:,}" if one.rows else "",
            identified(one),
            fetched(one),
            ", ".join(one.dialects) or ", ".join(one.patterns),
            one.citation,
            one.licence,
        )
        for one in surveys().values()
    ]


def markdown() -> str:
    """Return the table as README shows it."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *((f"`{row[0]}`", *row[1:]) for row in overview())]
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
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    path.write_text(brought_up_to_date(path.read_text()))
