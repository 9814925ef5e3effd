"""Share a small grid of mixed order, random raw rows made from declarations alone, and one small published lake."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy_healpix import HEALPix

import lake
import lake.surveys
from jobs.dialects import write
from jobs.dialects_raw import as_raw
from lake.catalog import publish
from lake.columns import column
from lake.conform import conform
from lake.declaration import Keys, Position, Where
from lake.errors import RawFileError
from lake.ingest import Outcome, ingest
from lake.keys import Beside
from lake.ledger import RawFile, raw_files, register
from lake.masks import condemned, mask
from lake.partition import BASE_SHIFT, N_PIXELS, Grid, split
from lake.readers import read
from lake.root import Lake, init_lake
from lake.standing import ON_FILES, Reference, Standing
from lake.survey import Survey, survey, surveys
from lake.table import Table
from lake.validate import check
from tests.s3 import s3_server

# Workers and other processes that tests start must find what tests define: Dask's have the search path of this process.
ROOT = str(Path(__file__).parent.parent)
sys.path.append(ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))

ROWS = 120
STAR = 5853498713190525696
# Crowded spots of the small sky: (first level-8 pixel, pixels, rows expected in each).
SPOTS = ((1_000, 4, 300.0), (300_000, 16, 90.0), (555_000, 1, 900.0), (700_000, 256, 6.0))
SUFFIX = {
    "bulk_csv": ".csv.gz",
    "archive_csv": ".csv",
    "ecsv": ".ecsv",
    "datalink_csv": ".csv",
    "pipe_csv": ".csv.gz",
    "sdss_csv": ".csv",
    "fixed_width": ".dat",
    "hdf5": ".hdf5",
    "hdf5_table": ".h5",
    "fits": ".fits.gz",
    "fits_arrays": ".fits",
    "votable": ".xml",
    "parquet": ".parquet",
}


def _crowded_grid() -> Grid:
    density = np.full(N_PIXELS, 1e-3)
    for first, width, rows in SPOTS:
        density[first : first + width] = rows
    return split(density, 200, name="counts")


def random_ids(rows: int, seed: int) -> np.ndarray:
    """Draw ids in random order, two thirds of them in the crowded spots."""
    rng = np.random.default_rng(seed)
    spot = rng.integers(0, len(SPOTS), rows)
    first, width = np.array([s[0] for s in SPOTS])[spot], np.array([s[1] for s in SPOTS])[spot]
    pixels = np.where(rng.random(rows) < 0.67, first + rng.integers(0, width), rng.integers(0, N_PIXELS, rows))
    ids = (pixels << BASE_SHIFT) + rng.integers(1, 1 << BASE_SHIFT, rows)
    assert len(np.unique(ids)) == rows
    return ids


@dataclass(frozen=True)
class Synthetic:
    """Random rows of any survey, from its declaration and the limits of the vocabulary alone."""

    def rows(self, declared: Survey, ids: Sequence[int], seed: int = 1, *, integer_nulls: bool = True) -> pa.Table:
        """Return rows under canonical names and types, as a reader should give them back: masked, nothing to be dropped.

        Parameters
        ----------
        integer_nulls
            False for dialects that have no missing integers, booleans.
        """
        rng = np.random.default_rng(seed)
        fields = [column(name).field(declared.lengths.get(name)).with_nullable(True) for name in declared.columns]
        arrays: list[pa.Array] = []
        placed = _placed(declared, ids)
        for field in fields:
            whole = pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
            gone = rng.random(len(ids)) < 0.15
            if (whole and not integer_nulls) or field.name in _never_null(declared):
                gone[:] = False
            values = placed.get(field.name)
            arrays.append(pa.array(values, field.type) if values is not None else _values(field, declared, gone, rng))
        return _settled(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), declared)

    def raw(self, declared: Survey, rows: pa.Table) -> pa.Table:
        """Return the same rows as the survey's files hold them: raw names, every second null of a column as its sentinel."""
        columns = {}
        for name in declared.columns:
            values = rows[name].combine_chunks()
            for sentinel in declared.missing.get(name, ())[:1]:
                odd = pa.array(np.arange(len(values)) % 2 == 1)
                values = pc.if_else(pc.and_(pc.is_null(values), odd), pa.scalar(sentinel, values.type), values)
            columns[name] = values
        return as_raw(declared, pa.table(columns))

    def standing(self, declared: Survey, rows: pa.Table, ids: Sequence[int], where: Lake, build: "Build") -> Standing:
        """Return what rows made for these ids are matched with: sources at their places, or another survey's raw rows."""
        folder = where.storage.path("..")
        if isinstance(declared.match, Position):
            source = survey(declared.match.table)
            known = self.rows(source, np.sort(ids), 11, integer_nulls=False)
            held = {**_places(np.sort(ids)), "pmra": np.zeros(len(ids)), "pmdec": np.zeros(len(ids))}
            path = self.write(source, _with(known, held), folder / "sources.fits", "fits")
            (manifest,) = build.ingest(where, source.name, path).manifests
            return Standing(reference=Reference(where.storage, where.grid, source.name, manifest.build))
        if isinstance(declared.match, Keys):
            other = survey(declared.match.survey)
            shared = {name: rows[name] for name in (*declared.match.on, *declared.match.agree)}
            known = _with(self.rows(other, ids, 11, integer_nulls=False), shared)
            path = self.write(other, known, folder / f"beside.{other.dialects[0]}", other.dialects[0])
            return Standing({other.name: Beside(other.name, ((path, "synthetic"),))})
        return ON_FILES

    def write(self, declared: Survey, rows: pa.Table, path: Path, dialect: str) -> Path:
        """Write a raw file of these rows in one of the survey's dialects."""
        write(self.raw(declared, rows), path, dialect)
        return path

    def read(self, path: Path, declared: Survey) -> pa.Table:
        """Read a raw file and conform it, all batches in one table."""
        return pa.concat_tables([conform(batch, declared, path).table for batch in read(path, declared)]).combine_chunks()

    def dialect_has_integer_nulls(self, dialect: str) -> bool:
        """Tell whether a dialect can say that an integer or a boolean is missing; an HDF5 dataset cannot."""
        return dialect not in ("hdf5", "hdf5_table")


def _never_null(declared: Survey) -> set[str]:
    """Return the columns that a row needs to be matched, or not to be dropped."""
    match = declared.match
    by = (match.ra, match.dec) if isinstance(match, Position) else (*match.on, *match.agree) if match else ()
    return {*by, *(where.column for where in declared.drops if where.absent)}


def _with(rows: pa.Table, columns: Mapping[str, object]) -> pa.Table:
    for name, values in columns.items():
        field = rows.schema.field(name)
        held = values.combine_chunks().cast(field.type) if isinstance(values, pa.ChunkedArray) else pa.array(values, field.type)
        rows = rows.set_column(rows.column_names.index(name), field, held)
    return rows


def _places(ids: Sequence[int]) -> dict[str, np.ndarray]:
    """Return one position per id, in its level-12 pixel."""
    numbers = np.asarray(ids, dtype=np.int64)
    within = (numbers & ((1 << 35) - 1)) / (1 << 35) - 0.5
    lon, lat = HEALPix(nside=4096, order="nested").healpix_to_lonlat(numbers >> 35)
    return {"ra": lon.to_value("deg"), "dec": np.clip(lat.to_value("deg") + within * 10 / 3600, -90, 90)}


def _placed(declared: Survey, ids: Sequence[int]) -> dict[str, object]:
    """Return the columns that follow from the ids: themselves, or the positions of objects."""
    if isinstance(declared.match, Position):
        places = _places(ids)
        return {declared.match.ra: places["ra"], declared.match.dec: places["dec"]}
    return {"source_id": np.asarray(ids, np.int64)} if declared.has_ids else {}


def _settled(table: pa.Table, declared: Survey) -> pa.Table:
    """Return random rows as conform leaves them: values masked that the survey condemns, and nothing left to drop."""
    for where in declared.drops:
        if where.column in declared.columns:
            values = table[where.column].combine_chunks()
            spared = pc.if_else(condemned(table, where, declared), _spared(where, values.type), values)
            table = table.set_column(table.column_names.index(where.column), table.schema.field(where.column), spared)
    table, _ = mask(table, declared, declared.columns)
    if declared.clean:
        table = declared.clean(table)
        table, _ = mask(table, declared, declared.made)
    names = [*declared.columns, *declared.made]
    fields = [column(name).field(declared.lengths.get(name)) for name in names]
    return table.select(names).cast(pa.schema(fields))


def _spared(where: Where, kind: pa.DataType) -> pa.Scalar:
    """Return a value that a condition does not condemn."""
    if where.other_than:
        return pa.scalar(where.other_than[0], kind)
    if where.below is not None or where.above is not None:
        return pa.scalar(where.below if where.below is not None else where.above, kind)
    return pa.scalar(0, kind)


def _values(field: pa.Field, declared: Survey, gone: np.ndarray, rng: np.random.Generator) -> pa.Array:
    """Draw one column within its limits; a mark gives what the release must hold."""
    known, rows = column(field.name), len(gone)
    mark = next((mark for mark in declared.marks if mark.column == field.name), None)
    low, high = (mark.low, mark.high) if mark and mark.low is not None else (known.low, known.high)
    if pa.types.is_fixed_size_list(field.type):
        size, kind = field.type.list_size, field.type.value_type
        flat = pa.array(_floats(low, high, (rows, size), rng).ravel().astype(kind.to_pandas_dtype()))
        cells = pa.FixedSizeListArray.from_arrays(flat, type=field.type)
        return cells.take(pa.array(np.arange(rows), mask=gone))
    raw = declared.columns[field.name]
    if pa.types.is_string(field.type) and raw.element is not None:
        return pa.array(rng.choice(list("ABCDU"), rows).tolist(), mask=gone)
    if pa.types.is_string(field.type):
        said = [(mark.prefix if mark else "") + f"{number}" for number in rng.integers(10**6, 10**7, rows)]
        return pa.array(said, mask=gone)
    if pa.types.is_boolean(field.type):
        return pa.array(rng.random(rows) < 0.5, mask=gone)
    if pa.types.is_integer(field.type):
        top = {16: 2**15, 32: 2**31, 64: 2**62}[field.type.bit_width] - 1
        top = min(top, 10 ** (raw.at[1] - raw.at[0] + 1) - 1) if raw.at else top
        values = rng.integers(int(low or 0), min(int(high if high is not None else top), top), rows, endpoint=True)
        return pa.array(values.astype(field.type.to_pandas_dtype()), mask=gone)
    return pa.array(_floats(low, high, (rows,), rng).astype(field.type.to_pandas_dtype()), mask=gone)


def _floats(low: float | None, high: float | None, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw numbers of many digits and, without limits, of many sizes."""
    if low is None and high is None:
        return rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 6, shape)
    bottom = -1e3 if low is None else low
    return rng.uniform(bottom, bottom + 1e3 if high is None else high, shape)


@pytest.fixture(scope="session")
def synthetic() -> Synthetic:
    return Synthetic()


@pytest.fixture(scope="session")
def grid() -> Grid:
    """A cut of the sky with more than 40 leaves of mixed order; 10 rows and fewer share a file."""
    return _crowded_grid()


@pytest.fixture
def draw_ids():
    """Return the function that draws ids in random order, most of them in the grid's crowded spots."""
    return random_ids


@pytest.fixture
def new_lake(tmp_path: Path, grid: Grid) -> Lake:
    """An empty lake on the small grid."""
    return init_lake(tmp_path / "lake", grid=grid)


@dataclass(frozen=True)
class Build:
    """Ingest, check, publish and open, as short as tests want it."""

    def ingest(self, where: Lake, name: str, *paths: Path, replace: bool = False, standing: Standing = ON_FILES) -> Outcome:
        """Register raw files and build a survey's tables."""
        register(where.storage, survey(name), paths, replace=replace)
        return ingest(where.storage, where.grid, survey(name), raw_files(where.storage, survey(name)), standing=standing)

    def publish(self, where: Lake, outcome: Outcome) -> list[str]:
        """Check every table of an outcome, then publish them."""
        return publish(where.storage, [check(where.storage, manifest) for manifest in outcome.manifests])

    def files_of(self, where: Lake, name: str, *paths: Path) -> list[RawFile]:
        """Register raw files, and return all that the survey has."""
        register(where.storage, survey(name), paths)
        return raw_files(where.storage, survey(name))

    def table_of(self, where: Lake, outcome: Outcome) -> pa.Table:
        """Read the survey's own table of an outcome as one table."""
        return self.whole(Table(where.storage, outcome.manifests[0], where.grid))

    def whole(self, table: Table) -> pa.Table:
        """Read a table leaf by leaf, as one table."""
        return pa.concat_tables([table.read_leaf(leaf) for leaf in range(len(table.grid))]).combine_chunks()

    def files(self, where: Lake) -> dict[str, bytes]:
        """Return the content of every data file of a lake by key."""
        root = where.storage.path("")
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("tables/*/*/*"))}


@pytest.fixture
def declare(tmp_path: Path, monkeypatch) -> Iterator[Callable[[str, str], Survey]]:
    """Return the function that puts one more module, from its text, into the package of surveys."""
    folder = tmp_path / "declared"
    folder.mkdir()
    monkeypatch.setattr(lake.surveys, "__path__", [*lake.surveys.__path__, str(folder)])
    names = []

    def one_more(name: str, text: str) -> Survey:
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        names.append(name)
        surveys.cache_clear()
        return surveys()[name]

    yield one_more
    surveys.cache_clear()
    for name in names:
        sys.modules.pop(f"lake.surveys.{name}", None)


@pytest.fixture(scope="session")
def build() -> Build:
    return Build()


@pytest.fixture(scope="session")
def stars(synthetic: Synthetic) -> dict[str, pa.Table]:
    """The rows of the small lake by survey; they share some sources and miss others."""
    ids = random_ids(ROWS, 7)
    parts = {"gaia_dr3_source": ids[:100], "gaia_dr3_xp": ids[30:110], "catwise_andrae2023": ids[60:]}
    return {
        name: synthetic.rows(survey(name), own, seed, integer_nulls=name != "gaia_dr3_xp")
        for seed, (name, own) in enumerate(parts.items())
    }


@pytest.fixture(scope="session")
def small_lake(tmp_path_factory, grid: Grid, synthetic: Synthetic, build: Build, stars: dict[str, pa.Table]) -> Iterator[Lake]:
    """A published lake of three surveys, not to be changed by tests; source files come as two bulk files."""
    root = tmp_path_factory.mktemp("small_lake")
    made = init_lake(root / "lake", grid=grid)
    for name, dialect, cuts in (
        ("gaia_dr3_source", "bulk_csv", 2),
        ("gaia_dr3_xp", "hdf5", 1),
        ("catwise_andrae2023", "fits", 1),
    ):
        rows = stars[name]
        step = -(-len(rows) // cuts)
        paths = [
            synthetic.write(survey(name), rows.slice(begin, step), root / f"{name}-{begin}{SUFFIX[dialect]}", dialect)
            for begin in range(0, len(rows), step)
        ]
        build.publish(made, build.ingest(made, name, *paths))
    yield lake.open(root / "lake")


@pytest.fixture(scope="session")
def refused(synthetic: Synthetic) -> Callable[..., None]:
    """Return the function that fails unless reading a file raises an error with its name, all the words, and what to do."""

    def check_refusal(path: Path, declared: Survey, *words: object) -> None:
        with pytest.raises(RawFileError) as caught:
            synthetic.read(path, declared)
        message = str(caught.value)
        for word in (path.name, *words):
            assert str(word) in message, f"{word!r} is not in: {message}"
        advice = ("etch", "Export it", "Remove", "pass files", "expected columns")
        assert any(word in message for word in advice), message

    return check_refusal


@pytest.fixture(scope="session")
def small() -> Callable[..., pa.Table]:
    """Return the function that makes three good raw rows of gaia_source with five columns, some replaced."""

    def three_rows(**columns: object) -> pa.Table:
        good = {"source_id": [STAR, STAR + 1, STAR + 2], "ra": [1.0, 2.0, 3.0], "dec": [0.5, 0.25, 0.125]}
        good |= {"parallax": [1.0, None, 3.0], "phot_g_mean_mag": pa.array([15.0, 16.0, 17.0], pa.float32())}
        return pa.table(good | columns)

    return three_rows


@pytest.fixture(scope="session")
def suffix() -> dict[str, str]:
    """The usual end of a file's name in each dialect."""
    return SUFFIX


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real survey samples beside the repository, or a skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "README.md").exists():
        pytest.skip(f"{folder} is not here: real survey files are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """URL of a bucket of a real S3 server on this machine."""
    with s3_server() as url:
        yield url
