"""Define the parts of a survey's declaration: raw columns, marks, matches, flags, masks, relations, requests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

GAIA_TAP = "https://gea.esac.esa.int/tap-server/tap"


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
    element
        Which element (from 0) of an array column, or which letter of a text column, is meant; several canonical
        columns may take theirs from one raw column.
    text
        Whether the files write an integer, such as an identifier, as text.
    at
        First and last byte (from 1, inclusive) in fixed-width files, as a CDS ReadMe gives them.
    """

    name: str
    unit: str = ""
    flat: tuple[str, ...] = ()
    flat_from: int = 0
    element: int | None = None
    text: bool = False
    at: tuple[int, int] | None = None


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


@dataclass(frozen=True)
class Position:
    """Match by position: every object goes to the nearest Gaia source, seen at the object's own epoch.

    Attributes
    ----------
    ra, dec
        Canonical columns of the object's position [deg, ICRS].
    epoch
        Julian year of the positions.
    radius
        Largest separation [arcsec]; objects without a source so near are dropped and counted.
    table
        Table of the Gaia sources.
    """

    ra: str = "object_ra"
    dec: str = "object_dec"
    epoch: float = 2000.0
    radius: float = 1.0
    table: str = "gaia_dr3_source"


@dataclass(frozen=True)
class Keys:
    """Match through columns shared with the raw rows of another survey, which know the source_id.

    Attributes
    ----------
    survey
        That survey; its raw files are read beside.
    on
        Canonical columns of both that name a row together.
    agree
        Canonical columns that both hold: rows in which they differ were moved against their keys, and are refused.
    """

    survey: str
    on: tuple[str, ...]
    agree: tuple[str, ...] = ()


@dataclass(frozen=True)
class Override:
    """Values of another survey's raw rows that replace this one's where they name the same row.

    Attributes
    ----------
    on
        Canonical columns of both that name a row together.
    columns
        Canonical columns that are replaced, all together, null included.
    origin
        Canonical text column that says where a row's values come from: this survey's name or the other's.
    """

    survey: str
    on: tuple[str, ...]
    columns: tuple[str, ...]
    origin: str = "label_origin"


@dataclass(frozen=True)
class Where:
    """Rows condemned by the value of one column; a null condemns nothing unless `absent` says so.

    Attributes
    ----------
    column
        Canonical column that decides.
    bits
        Names of its bits (see `Survey.flags`), any of which condemns.
    below, above
        Values smaller or larger than these condemn.
    other_than
        Values other than these condemn.
    absent
        Whether null condemns.
    """

    column: str
    bits: tuple[str, ...] = ()
    below: float | None = None
    above: float | None = None
    other_than: tuple[str | int, ...] = ()
    absent: bool = False

    def __str__(self) -> str:
        """Say the condition as it is counted: ``sdss_flags_u has SATURATED or EDGE``."""
        said = [f"has {' or '.join(self.bits)}"] if self.bits else []
        said += [f"below {self.below:g}"] if self.below is not None else []
        said += [f"above {self.above:g}"] if self.above is not None else []
        said += [f"not {' or '.join(map(str, self.other_than))}"] if self.other_than else []
        said += ["absent"] if self.absent else []
        return f"{self.column} {', '.join(said)}"


@dataclass(frozen=True)
class Mask:
    """Values that become null in condemned rows; the rows stay, and the values are counted by reason.

    Masks work in the order in which they are declared: what one has forgotten condemns nothing in a later one.
    """

    columns: tuple[str, ...]
    where: Where


@dataclass(frozen=True)
class Relation:
    """A physical relation that right matches obey and wrong ones break, tested when a table is checked.

    The value is fitted by a smooth function of the other columns; rows far from it are outliers.

    Attributes
    ----------
    value
        Column of the survey's table, or two of them whose difference is meant. Of a list column, such as the coefficients of
        a spectrum, the decimal logarithm of the first element is meant, where it is positive.
    against
        Columns of `table`; a pair stands for their difference.
    tolerance
        Residual beyond which a row is an outlier, in the value's unit.
    outliers
        Largest share of outliers that right matches have (binaries, variables, crowded fields).
    scatter
        Largest ratio of the residuals' scatter to the scatter that rows matched to other stars would have. The nearer to 1,
        the more rows it takes to tell right from wrong: ``16 / (1 - scatter**2)``.
    table
        Where the other columns are.
    """

    value: str | tuple[str, str]
    against: tuple[str | tuple[str, str], ...]
    tolerance: float
    outliers: float = 0.1
    scatter: float = 0.7
    table: str = "gaia_dr3_source"


@dataclass(frozen=True)
class Computed:
    """Values computed at every source of another table, with the survey's raw files (such as maps) at hand.

    Attributes
    ----------
    table, needs
        That table, and the columns of it that the function takes.
    function
        Rows (``source_id`` and `needs`) and the survey's raw files in, the same ``source_id`` and the survey's columns
        out. Must be a function of the survey's module.
    """

    table: str
    needs: tuple[str, ...]
    function: Callable[[pa.Table, tuple[Path, ...]], pa.Table]


@dataclass(frozen=True)
class Http:
    """Files to be fetched by HTTP.

    Attributes
    ----------
    urls
        One per file; ``{part}`` with a format, such as ``{part:03d}``, stands for the numbers in `parts`. A file is called
        as the last part of the URL's path, or as its fragment says (``.../get?id=7#map.fits``).
    parts
        First and last number.
    listing
        URL of a list of checksums (``MD5  name`` a line) of files that lie beside it, and names them all; or, ending in
        ``/``, of a folder whose index page links to its files.
    names
        Which names of the listing are wanted (fnmatch).
    sha256, md5
        Published checksums by file name.
    absent
        Names (fnmatch) that the server is known to lack, such as gaps in `parts`: their absence is no failure.
    """

    urls: tuple[str, ...] = ()
    parts: tuple[int, int] | None = None
    listing: str = ""
    names: str = "*"
    sha256: tuple[tuple[str, str], ...] = ()
    md5: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adql:
    """An asynchronous query of a TAP service, one request per range of source_id.

    Attributes
    ----------
    query
        ADQL; ``{low}`` and ``{high}`` stand for the range of ids (inclusive), ``{id}`` is not allowed. The condition
        that holds them is written ``{column} BETWEEN {low} AND {high}`` with `column`.
    column
        Column that the ranges, or the uploaded ids, restrict, such as ``g.source_id``.
    service
        Base URL of the service.
    rows
        About how many rows of the whole sky to expect, so that requests are cut to a bearable size; 0 for one request.
    """

    query: str
    column: str = "source_id"
    service: str = GAIA_TAP
    rows: int = 0
