"""Say which files a survey's declaration asks for: names, and the URL or query that gives each."""

import fnmatch
import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

import numpy as np

from lake.declaration import Adql, Http
from lake.download import FetchError, checked_url, plain_url
from lake.errors import LakeError, listing
from lake.partition import BASE_SHIFT, N_PIXELS, Grid, Ids, first_id, pixel_range
from lake.storage import checked_key
from lake.survey import Survey

# A third of a million rows is minutes of an archive's time and some 100 MB; anonymous users of the Gaia archive get at most
# 3 million rows, which leaves room for a sky that is not spread as the grid is.
ROWS = 500_000
IDS = 2_000_000
_DIGEST = re.compile(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{32})[ \t]+\*?(?:\./)?(\S.*)")
_CONDITION = r"{column}\s+BETWEEN\s+\{{low\}}\s+AND\s+\{{high\}}"
UPLOADED = "TAP_UPLOAD.sources"


@dataclass(frozen=True)
class Order:
    """One file to be fetched.

    Attributes
    ----------
    name
        What it is called in the lake.
    url, md5, sha256
        Where it is, and its published checksums, if any.
    query, service
        ADQL that gives it instead, and the TAP service.
    ids
        Ids that the query refers to as the uploaded table.
    divisible
        Whether the query can be cut in two if its result overflows.
    may_be_absent
        Whether its absence is no failure.
    """

    name: str
    url: str = ""
    md5: str = ""
    sha256: str = ""
    query: str = ""
    service: str = ""
    ids: Ids | None = field(default=None, compare=False, repr=False)
    divisible: bool = False
    may_be_absent: bool = False


def result_name(survey: str, first: int, end: int) -> str:
    """Return the name of the result of one range of level-8 pixels, as Gaia names its bulk files.

    >>> result_name("gaia_dr3_tmass", 0, 3112)
    'gaia_dr3_tmass_000000-003111.fits'
    """
    return f"{survey}_{first:06d}-{end - 1:06d}.fits"


def sources_name(survey: str, ids: Ids) -> str:
    """Return the name of the result for uploaded ids (ascending): the pixels that they span, and a hash of the ids."""
    digest = hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes()).hexdigest()[:12]
    return f"{survey}_{ids[0] >> BASE_SHIFT:06d}-{ids[-1] >> BASE_SHIFT:06d}_sources_{digest}.fits"


def http_orders(survey: Survey, text: str = "") -> list[Order]:
    """Return the files of a survey that lie on a server, by name.

    Parameters
    ----------
    text
        Content of the declared listing.

    Raises
    ------
    FetchError
        If the listing names none, or a file whose name does not stay inside a folder.
    """
    request = survey.fetch
    if not isinstance(request, Http):
        raise TypeError(f"{survey.name} is not fetched by HTTP")
    sums = {"md5": dict(request.md5), "sha256": dict(request.sha256)}
    urls = {name: url for url in _urls(request) for name in [_name_in(url)]}
    if request.listing:
        for name, digest in _listed(text, request):
            urls[name] = urljoin(request.listing, quote(name))
            if digest:
                sums["sha256" if len(digest) == 64 else "md5"][name] = digest
    unknown = sorted({*sums["md5"], *sums["sha256"]} - set(urls))
    if unknown:
        raise FetchError(f"{survey.name}: checksums of {listing(unknown)}, which none of its URLs give; correct its declaration")
    orders = [
        Order(
            name=name,
            url=checked_url(url),
            md5=sums["md5"].get(name, ""),
            sha256=sums["sha256"].get(name, ""),
            may_be_absent=any(fnmatch.fnmatch(name, pattern) for pattern in request.absent),
        )
        for name, url in sorted(urls.items())
    ]
    return _accepted(survey, orders)


def _urls(request: Http) -> Iterator[str]:
    first, last = request.parts or (0, 0)
    for url in request.urls:
        yield from [url] if request.parts is None else (url.format(part=part) for part in range(first, last + 1))


def _name_in(url: str) -> str:
    """Return what a URL's fragment calls the file, or the last part of its path.

    >>> _name_in("https://example.org/get?id=7#map.fits"), _name_in("https://example.org/dr1/table.csv.gz?download=1")
    ('map.fits', 'table.csv.gz')
    """
    parts = urlsplit(url)
    return parts.fragment or unquote(parts.path.rsplit("/", 1)[-1])


class _Links(HTMLParser):
    """Collect where the links of a page lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _listed(text: str, request: Http) -> list[tuple[str, str]]:
    """Return name and checksum of the wanted files of a listing: one ``checksum  name`` a line, or the index page of a folder."""
    if request.listing.endswith("/"):
        found, held = [(name, "") for name in _linked(text, request.listing)], "links to files beside it"
    else:
        found = [(said[2].strip(), said[1]) for line in text.splitlines() if (said := _DIGEST.fullmatch(line.strip()))]
        held = "lines of a checksum and a name"
    wanted = [(name, digest) for name, digest in found if fnmatch.fnmatchcase(name, request.names)]
    if not wanted:
        raise FetchError(
            f"{plain_url(request.listing)}: no {request.names} in this listing ({len(found)} {held}); "
            "it is another file, or the archive was rearranged: correct the survey's `fetch`"
        )
    return wanted


def _linked(page: str, folder: str) -> list[str]:
    """Return the names of the files in a folder to which its index page links; links to anywhere else are none of them."""
    try:
        targets = [urljoin(folder, link) for link in _Links(page).found]
    except ValueError as error:
        raise FetchError(f"{plain_url(folder)}: its index holds a link that is none ({error})") from error
    inside = [unquote(target.removeprefix(folder)) for target in targets if target.startswith(folder)]
    return sorted({name for name in inside if name and not set("/?#") & set(name)})


def _accepted(survey: Survey, orders: list[Order]) -> list[Order]:
    """Refuse names that leave the survey's folder, or that ingest would not find."""
    for order in orders:
        try:
            checked_key(order.name)
        except LakeError as error:
            raise FetchError(
                f"{survey.name}: the server names a file {order.name!r}, which is no plain name; not fetched"
            ) from error
        if "/" in order.name or not survey.accepts(order.name):
            raise FetchError(
                f"{survey.name}: a file is called {order.name!r}, but its files are {listing(survey.patterns)}; add a pattern "
                "to its declaration"
            )
    return orders


def adql_orders(
    survey: Survey, grid: Grid, ids: Ids | None = None, *, chunk: int = IDS, cut: Collection[str] = ()
) -> list[Order]:
    """Return the queries of a survey: one per range of the sky, or per chunk of ids.

    Parameters
    ----------
    ids
        Ids to which the queries are restricted, ascending.
    chunk
        Most ids of one query.
    cut
        Names of results that overflowed: they are asked for in two halves.

    Raises
    ------
    FetchError
        If the query has no condition on the range of ids, which the cuts need.
    """
    request = survey.fetch
    if not isinstance(request, Adql):
        raise TypeError(f"{survey.name} is not fetched by ADQL")
    checked_url(request.service)
    if ids is not None:
        parts = [ids[begin : begin + chunk] for begin in range(0, len(ids), chunk)]
        return _accepted(survey, [order for part in parts for order in _of_ids(survey, request, part, cut)])
    edges = _edges(grid, request.rows)
    ranges = zip(edges[:-1], edges[1:], strict=True)
    return _accepted(survey, [order for first, end in ranges for order in _of_range(survey, request, (first, end), cut)])


def _edges(grid: Grid, rows: int) -> list[int]:
    """Return the pixels at which queries are cut: as many leaves together as are expected to give `ROWS` rows.

    Every leaf counts the same, as the grid is cut to equal numbers of gaia_source rows; a leaf that is expected to give
    more is cut by its pixels.
    """
    n = min(max(1, -(-rows // ROWS)), N_PIXELS)
    at = np.linspace(0, len(grid), n + 1)
    at = np.round(at) if n <= len(grid) else at
    return [int(edge) for edge in np.unique(np.floor(np.interp(at, np.arange(len(grid) + 1), grid.array)).astype(np.int64))]


def _query(request: Adql) -> str:
    return request.query.replace("{column}", request.column).strip()


def _of_range(survey: Survey, request: Adql, pixels: tuple[int, int], cut: Collection[str]) -> list[Order]:
    first, end = pixels
    name, text = result_name(survey.name, first, end), _query(request)
    ranged = "{low}" in text and "{high}" in text
    if request.rows and not ranged:
        raise FetchError(
            f"{survey.name}: its query has no {request.column} BETWEEN {{low}} AND {{high}}, but rows={request.rows:,} asks for "
            "several ranges; correct its declaration"
        )
    divisible = ranged and end - first > 1
    if name in cut and divisible:
        middle = (first + end) // 2
        return [order for half in ((first, middle), (middle, end)) for order in _of_range(survey, request, half, cut)]
    text = text.replace("{low}", str(first_id(first))).replace("{high}", str(first_id(end) - 1))
    return [Order(name=name, query=text, service=request.service, divisible=divisible)]


def _of_ids(survey: Survey, request: Adql, ids: Ids, cut: Collection[str]) -> list[Order]:
    name, divisible = sources_name(survey.name, ids), len(ids) > 1
    if name in cut and divisible:
        middle = len(ids) // 2
        return [order for half in (ids[:middle], ids[middle:]) for order in _of_ids(survey, request, half, cut)]
    condition = re.compile(_CONDITION.format(column=re.escape(request.column)), re.IGNORECASE)
    within = f"({request.column} BETWEEN {ids[0]} AND {ids[-1]} AND {request.column} IN (SELECT source_id FROM {UPLOADED}))"
    text, found = condition.subn(within, _query(request))
    if found != 1:
        raise FetchError(
            f"{survey.name}: --sources takes the place of {request.column} BETWEEN {{low}} AND {{high}}, which its query says "
            f"{found} times, not once; fetch it without --sources"
        )
    return [Order(name=name, query=text, service=request.service, ids=ids, divisible=divisible)]


def selected(orders: Sequence[Order], only: Sequence[str]) -> list[Order]:
    """Return the orders that fit one of the patterns: names (fnmatch), or ``LLLLLL-HHHHHH`` for files that touch these pixels.

    Raises
    ------
    LakeError
        If a pattern fits none.
    """
    if not only:
        return list(orders)
    hits = {pattern: {order.name for order in orders if _fits(order.name, pattern)} for pattern in only}
    idle = [pattern for pattern, names in hits.items() if not names]
    if idle:
        raise LakeError(
            f"--only {idle[0]}: fits none of {len(orders)} files, such as {listing([order.name for order in orders], 3)}; give a "
            "file's name with * and ?, or a range of level-8 pixels LLLLLL-HHHHHH"
        )
    return [order for order in orders if any(order.name in names for names in hits.values())]


def _fits(name: str, pattern: str) -> bool:
    asked, held = pixel_range(pattern), pixel_range(name)
    if asked and held and re.fullmatch(r"\d+-\d+", pattern):
        return held[0] <= asked[1] and asked[0] <= held[1]
    return fnmatch.fnmatch(name, pattern)
