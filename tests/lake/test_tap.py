"""Queries of a TAP service become files: every row once, every job and table deleted, whatever goes wrong between."""

import dataclasses
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import commands, fetching
from jobs.cli import main
from lake.account import Account
from lake.declaration import Adql
from lake.download import FetchError, GaveUpError, Patience, Watch
from lake.errors import LakeError
from lake.fetch import Outcome, fetch, make_plan
from lake.ledger import raw_files
from lake.orders import ROWS, adql_orders, result_name, selected, sources_name
from lake.partition import N_PIXELS, first_id, uniform
from lake.readers import read
from lake.root import Lake
from lake.sources import read_sources
from lake.survey import Survey, same
from tests.lake import servers
from tests.lake.servers import Archive, half, page

QUICK = Patience(tries=3, silence=10.0, pause=0.01, longest_pause=0.02, poll=0.005, longest_poll=0.01, query=10.0, dead=50)
QUERY = "SELECT x.source_id, x.radial_velocity FROM stars AS x WHERE {column} BETWEEN {low} AND {high}"
STARS = Survey(
    name="stars_dr1",
    title="A made-up survey",
    release="1",
    kind="labels",
    citation="nobody",
    licence="CC0",
    source="https://example.org/stars",
    patterns=("stars_dr1_*.fits",),
    dialects=("fits",),
    columns=same("source_id radial_velocity"),
    required=("source_id", "radial_velocity"),
)
# Two stars whose ids are one and the same as floats.
TWINS = (2**62 + 1, 2**62 + 2)
Fetch = Callable[..., Outcome]


@pytest.fixture
def sky(draw_ids) -> pa.Table:
    """Six hundred stars."""
    ids = np.unique(np.concatenate([draw_ids(598, 3), np.array(TWINS)]))
    values = np.random.default_rng(1).normal(0, 30, len(ids)).astype(np.float32)
    return pa.table({"source_id": ids, "radial_velocity": values})


@pytest.fixture
def service(sky: pa.Table, tmp_path: Path) -> Iterator[tuple[str, Archive]]:
    """The service that has them."""
    with servers.tap_server(sky, tmp_path / "service") as (url, archive):
        yield url, archive


@pytest.fixture
def ask(service: tuple[str, Archive], new_lake: Lake) -> Fetch:
    """Return the function that fetches by queries, four unless more or fewer rows are expected."""
    url, _ = service

    def run(
        *,
        rows: int = 4 * ROWS,
        patience: Patience = QUICK,
        ids: np.ndarray | None = None,
        chunk: int = 200,
        login: Path | None = None,
        query: str = QUERY,
        only: tuple[str, ...] = (),
    ) -> Outcome:
        declared = dataclasses.replace(STARS, fetch=Adql(query=query, column="x.source_id", service=url, rows=rows))
        watch = Watch(patience)
        sources = None if ids is None else (ids, chunk)
        plan = make_plan(new_lake.storage, new_lake.grid, declared, watch, sources=sources, only=only)
        return fetch(new_lake.storage, plan, watch, jobs=2, login=login)

    return run


def account(where: Lake) -> dict[str, dict[str, object]]:
    """Return the account of all files."""
    return Account(where.storage, STARS).files


def ids_in(where: Lake) -> list[int]:
    """Return the ids of all rows in all files, in order."""
    folder = where.storage.path("raw/stars_dr1")
    batches = [batch.table["source_id"].to_pylist() for path in folder.iterdir() for batch in read(path, STARS)]
    return sorted(source_id for ids in batches for source_id in ids)


def clean(archive: Archive) -> bool:
    """Tell whether nothing is left at the service."""
    return not archive.jobs and not archive.tables


def errors(where: Lake) -> str:
    """Return all errors of the account."""
    return "; ".join(str(one.get("error", "")) for one in account(where).values())


def test_ranges_cover_the_sky_once_and_are_as_large_as_expected(grid, new_lake: Lake) -> None:
    def ranges(rows: int, cut: tuple[str, ...] = ()) -> list[tuple[int, int]]:
        declared = dataclasses.replace(STARS, fetch=Adql(QUERY, column="x.source_id", rows=rows))
        words = [order.query.split() for order in adql_orders(declared, grid, cut=cut)]
        return [(int(one[-3]), int(one[-1])) for one in words]

    for rows in (0, 1, ROWS, 7 * ROWS, len(grid) * ROWS):
        found = ranges(rows)
        assert len(found) == max(1, rows // ROWS)
        assert (found[0][0], found[-1][1]) == (0, first_id(N_PIXELS) - 1)
        assert all(before[1] + 1 == after[0] for before, after in zip(found[:-1], found[1:], strict=True))
    edges = {first_id(edge) for edge in grid.edges}
    assert all(low in edges for low, _ in ranges(7 * ROWS))
    name = result_name("stars_dr1", 0, N_PIXELS)
    assert len(ranges(0, (name,))) == 2
    assert len(ranges(0, (name, result_name("stars_dr1", 0, N_PIXELS // 2)))) == 3


def test_a_coarse_grid_is_cut_by_pixels() -> None:
    declared = dataclasses.replace(STARS, fetch=Adql(QUERY, column="x.source_id", rows=50 * ROWS))
    names = [order.name for order in adql_orders(declared, uniform(0))]
    assert len(set(names)) == 50
    assert [order.name for order in selected(adql_orders(declared, uniform(0)), ["000000-000001"])] == names[:1]


def test_every_row_is_fetched_once_and_nothing_stays_at_the_service(service, ask, sky: pa.Table, new_lake: Lake) -> None:
    url, archive = service
    outcome = ask()
    assert (outcome.whole, len(outcome.fetched), outcome.rows) == (True, 4, 600)
    assert ids_in(new_lake) == sky["source_id"].to_pylist()
    assert set(TWINS) <= set(ids_in(new_lake))
    assert [file.path.name for file in raw_files(new_lake.storage, STARS)] == list(outcome.fetched)
    assert clean(archive)
    assert len(archive.deleted) == 4
    held = account(new_lake)[outcome.fetched[0]]
    assert {"state", "query", "service", "bytes", "sha256", "rows", "tries", "fetched"} <= set(held)
    assert "job" not in held
    assert held["service"] == url
    assert ask().kept == outcome.fetched
    assert len(archive.launched) == 4


def test_a_query_that_fails_says_why_and_stops_no_other(service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.errors = ["Column <b>radial_velocty</b> not found & more"]
    outcome = ask()
    assert (len(outcome.failed), len(outcome.fetched)) == (1, 3)
    assert "the query ended in ERROR: Column" in errors(new_lake)
    assert "radial_velocty" in errors(new_lake)
    assert clean(archive)
    assert ask().whole


@pytest.mark.parametrize("refusal", [400, "page"])
def test_a_launch_that_is_refused_fails_and_one_that_is_put_off_is_repeated(refusal, service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.refusals = [503, 429]
    assert ask(rows=0).whole
    archive.refusals = [refusal]
    outcome = ask(rows=0, query=QUERY + " AND x.radial_velocity > 0")
    assert len(outcome.failed) == 1
    assert ("no such column" if refusal == 400 else "what no TAP service does") in errors(new_lake)
    assert clean(archive)


def test_a_url_without_a_service_fails_for_good(service, new_lake: Lake) -> None:
    url, archive = service
    declared = dataclasses.replace(STARS, fetch=Adql(QUERY, column="x.source_id", service=url + "s"))
    watch = Watch(QUICK)
    outcome = fetch(new_lake.storage, make_plan(new_lake.storage, new_lake.grid, declared, watch), watch)
    assert len(outcome.failed) == 1
    assert "no TAP service there" in errors(new_lake)


def test_a_job_that_the_service_lost_is_launched_again_once(service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.lost = 1
    assert ask(rows=0).whole
    assert len(archive.launched) == 2
    archive.lost = 2
    assert len(ask(rows=0, query=QUERY + " AND x.radial_velocity > 0").failed) == 1
    assert "does not know its job" in errors(new_lake)


def test_a_service_that_waits_to_be_told_is_told(service, ask) -> None:
    _, archive = service
    archive.lazy = True
    assert ask(rows=0).whole
    assert any(asked.startswith("POST") and asked.endswith("/phase") for asked in archive.asked)


def test_a_page_instead_of_a_phase_is_looked_at_again(service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.phases = ["QUEUED", "page", "EXECUTING", "COMPLETED"]
    assert ask(rows=0).whole
    archive.phases = ["page"]
    assert len(ask(rows=0, query=QUERY + " AND x.radial_velocity > 0").failed) == 1
    assert "answered no phase of a job" in errors(new_lake)


def test_a_result_that_breaks_off_is_resumed_and_a_page_is_no_result(service, ask, sky: pa.Table, new_lake: Lake) -> None:
    _, archive = service
    archive.results = [half]
    assert ask(rows=0).rows == len(sky)
    archive.results = [page]
    outcome = ask(rows=0, query=QUERY + " AND x.radial_velocity > 0")
    assert len(outcome.failed) == 1
    assert "holds a page" in errors(new_lake)
    assert clean(archive)


def test_a_result_without_a_required_column_is_refused(service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.table = archive.table.rename_columns(["source_id", "velocity"])
    assert len(ask(rows=0).failed) == 1
    assert "radial_velocity" in errors(new_lake)
    assert ".part" not in errors(new_lake)
    assert clean(archive)


@pytest.mark.parametrize(("dialect", "declared"), [("fits", True), ("votable", False)])
def test_a_result_that_was_cut_off_is_never_accepted_and_asked_for_in_halves(
    dialect: str, declared: bool, service, ask, sky: pa.Table, new_lake: Lake
) -> None:
    _, archive = service
    archive.limit, archive.declared, archive.dialect = 400, declared, dialect
    archive.suffix = ".fits.gz" if dialect == "fits" else ".vot"
    outcome = ask(rows=0)
    assert (len(outcome.failed), outcome.fetched) == (1, ())
    assert "in two halves" in errors(new_lake)
    assert "400 rows" in errors(new_lake)
    assert not new_lake.storage.path("raw/stars_dr1").exists()
    for _ in range(6):
        outcome = ask(rows=0)
        if outcome.whole:
            break
    assert outcome.rows == len(sky)
    assert ids_in(new_lake) == sky["source_id"].to_pylist()
    assert clean(archive)


def test_a_result_of_exactly_the_limit_is_not_trusted(service, ask, sky: pa.Table, new_lake: Lake) -> None:
    _, archive = service
    archive.limit = len(sky)
    assert len(ask(rows=0).failed) == 1
    assert "probably cut off" in errors(new_lake)


def test_a_query_that_takes_long_is_found_again_by_a_later_run(service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.phases = ["EXECUTING"]
    outcome = ask(rows=0, patience=dataclasses.replace(QUICK, query=0.05))
    assert len(outcome.failed) == 1
    assert "it goes on" in errors(new_lake)
    assert list(archive.jobs) == ["job-1"]
    archive.jobs["job-1"].phases = ["COMPLETED"]
    assert ask(rows=0).whole
    assert len(archive.launched) == 1
    assert clean(archive)


def test_the_job_of_a_query_that_changed_since_is_not_taken_for_the_new_one(service, ask) -> None:
    _, archive = service
    archive.phases = ["EXECUTING"]
    ask(rows=0, patience=dataclasses.replace(QUICK, query=0.05))
    archive.phases = archive.jobs["job-1"].phases = ["COMPLETED"]
    assert ask(rows=0, query=QUERY.replace("stars", "more_stars")).whole
    assert "more_stars" in archive.launched[1].query
    assert clean(archive)


def test_an_inherited_job_that_was_aborted_is_launched_anew(service, ask) -> None:
    _, archive = service
    archive.phases = ["EXECUTING"]
    ask(rows=0, patience=dataclasses.replace(QUICK, query=0.05))
    archive.jobs["job-1"].phases = ["ABORTED"]
    archive.phases = ["COMPLETED"]
    assert ask(rows=0).whole
    assert len(archive.launched) == 2
    assert clean(archive)


def test_a_killed_run_finds_its_jobs_and_launches_none_twice(service, sky: pa.Table, new_lake: Lake, tmp_path: Path) -> None:
    url, archive = service
    archive.phases = ["EXECUTING"]
    request = f"Adql({QUERY!r}, column='x.source_id', service='{url}', rows={3 * ROWS})"
    with servers.processes(tmp_path / "declared", new_lake.storage.root) as start:
        child = start(request, "--jobs", "3")
        servers.wait_until(lambda: len(archive.jobs) == 3 and sum("job" in one for one in account(new_lake).values()) == 3)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        for job in archive.jobs.values():
            job.phases = ["COMPLETED"]
        again = start(request, "--jobs", "3")
        said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "3 of 3 files: 3 fetched, 0 were there" in said
    assert "600 rows so far" in said
    assert len(archive.launched) == 3
    assert ids_in(new_lake) == sky["source_id"].to_pylist()
    assert clean(archive)


def test_a_result_that_has_its_name_but_is_not_accounted_for_is_recognised(service, ask, new_lake: Lake) -> None:
    _, archive = service
    name = ask(rows=0).fetched[0]
    Account(new_lake.storage, STARS).change(name, state="pending", fetched=None)
    assert ask(rows=0).fetched == (name,)
    assert len(archive.launched) == 1


def test_a_file_of_somebody_else_is_not_overwritten(ask, new_lake: Lake) -> None:
    path = new_lake.storage.path("raw/stars_dr1/" + result_name("stars_dr1", 0, N_PIXELS))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert len(ask(rows=0).failed) == 1
    assert "move it away" in errors(new_lake)
    assert len(ask(rows=0).failed) == 1
    assert path.read_bytes() == b"mine"


def test_a_query_that_changed_is_asked_anew(service, ask, new_lake: Lake) -> None:
    _, archive = service
    ask(rows=0)
    archive.table = archive.table.slice(0, 10)
    assert ask(rows=0, query=QUERY.replace("stars", "more_stars")).rows == 10
    assert len(ids_in(new_lake)) == 10
    assert clean(archive)


def test_results_of_other_ranges_beside_new_ones_are_refused(ask, sky: pa.Table, new_lake: Lake) -> None:
    ask(rows=0)
    with pytest.raises(LakeError, match="of other queries.*whose rows would come twice"):
        ask()
    with pytest.raises(LakeError, match="of other queries"):
        ask(ids=sky["source_id"].to_numpy()[:5])
    assert len(ids_in(new_lake)) == len(sky)


@pytest.mark.parametrize("plus", [True, False])
def test_ids_are_uploaded_in_chunks_and_only_they_come_back(plus: bool, service, ask, sky: pa.Table, new_lake: Lake) -> None:
    _, archive = service
    archive.plus = plus
    wanted = np.unique(np.concatenate([sky["source_id"].to_numpy()[::2], np.array([TWINS[1], 77])]))
    outcome = ask(ids=wanted, chunk=120)
    expected = sorted(set(sky["source_id"].to_pylist()) & set(wanted.tolist()))
    assert outcome.whole
    assert sorted(archive.uploads) == [len(wanted) - 240, 120, 120]
    assert ids_in(new_lake) == expected
    assert TWINS[1] in ids_in(new_lake)
    assert (TWINS[0] in ids_in(new_lake)) == (TWINS[0] in expected)
    assert clean(archive)
    assert not any(new_lake.storage.path("raw").glob("*.part/*"))
    assert ask(ids=wanted, chunk=120).fetched == ()
    assert all(name.startswith("stars_dr1_") and STARS.accepts(name) for name in outcome.fetched)
    assert sources_name("stars_dr1", wanted[:120]) in outcome.fetched


@pytest.fixture
def credentials(service: tuple[str, Archive], tmp_path: Path) -> Path:
    """A file with the right user and password for the service."""
    path = tmp_path / "login"
    path.write_text(f"annie\ns3cret\n{service[0]}/\n")
    return path


@pytest.mark.parametrize("takes_time", [False, True])
def test_a_registered_user_gets_tables_which_are_deleted_even_if_the_query_fails(
    takes_time: bool, service, ask, sky: pa.Table, credentials: Path, new_lake: Lake
) -> None:
    _, archive = service
    archive.uploads_as_jobs = takes_time
    archive.errors = ["quota"]
    ids = sky["source_id"].to_numpy()[:100]
    outcome = ask(ids=ids, chunk=50, login=credentials)
    assert (len(outcome.failed), len(outcome.fetched)) == (1, 1)
    assert clean(archive)
    assert all("FROM user_annie.gaialake_" in job.query for job in archive.launched)
    assert ask(ids=ids, chunk=50, login=credentials).whole
    assert ids_in(new_lake) == sky["source_id"].to_pylist()[:100]
    assert clean(archive)
    said = new_lake.storage.read_bytes("raw/stars_dr1.fetch.json").decode()
    assert "s3cret" not in said
    assert "abc123" not in said
    assert "SESSION=abc123" in archive.cookies


def test_a_login_that_is_refused_or_would_travel_in_the_clear_stops_the_fetch(service, ask, tmp_path: Path, credentials) -> None:
    from lake.tap import log_in

    wrong = tmp_path / "wrong"
    wrong.write_text(f"annie\nguess\n{service[0]}\n")
    with pytest.raises(FetchError, match="refuses it"):
        ask(rows=0, login=wrong)
    wrong.write_text("annie\n")
    with pytest.raises(LakeError, match="two lines, user and password; found 1"):
        ask(rows=0, login=wrong)
    with pytest.raises(LakeError, match="two lines"):
        ask(rows=0, login=tmp_path / "absent")
    with pytest.raises(FetchError, match="through https:// only"):
        log_in("http://example.org/tap", credentials, Watch(QUICK))


@pytest.mark.parametrize("third", ["", "https://example.org/tap\n"], ids=["the Gaia archive's", "another service's"])
def test_a_login_is_shown_to_no_service_but_its_own(third: str, service, ask, credentials: Path) -> None:
    url, archive = service
    credentials.write_text(f"annie\ns3cret\n{third}")
    outcome = ask(rows=0, login=credentials)
    assert outcome.whole
    assert f"{url} was asked without a login" in outcome.notes[0]
    assert not any("login" in asked for asked in archive.asked)
    assert set(archive.cookies) == {""}


def test_a_service_that_cannot_be_reached_is_given_up_before_its_first_query(new_lake: Lake) -> None:
    declared = dataclasses.replace(
        STARS, fetch=Adql(QUERY, column="x.source_id", service="http://127.0.0.1:1/tap", rows=9 * ROWS)
    )
    waited: list[str] = []
    watch = Watch(QUICK, waits=lambda why, _seconds: waited.append(why))
    plan = make_plan(new_lake.storage, new_lake.grid, declared, watch)
    with pytest.raises(GaveUpError, match=r"http://127.0.0.1:1/tap: .*Connection refused.*given up after 3 tries"):
        fetch(new_lake.storage, plan, watch)
    assert len(waited) == QUICK.tries - 1
    assert "Connection refused" in waited[0]


def test_what_could_not_be_deleted_is_deleted_by_the_next_run(service, ask, new_lake: Lake) -> None:
    _, archive = service
    archive.lossy_deletes = 1
    outcome = ask(rows=0)
    assert outcome.whole
    assert "the next run tries again" in outcome.notes[0]
    assert list(archive.jobs) == ["job-1"]
    assert ask(rows=0).notes == ()
    assert clean(archive)
    assert len(archive.launched) == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda path, ids: path.write_text("# mine\n" + "\n".join(map(str, ids)) + "\n"),
        lambda path, ids: path.write_text("source_id\n" + "\n".join(map(str, ids)) + "\n\n"),
        lambda path, ids: path.write_text("name,source_id\n" + "\n".join(f"a,{i}" for i in ids)),
        lambda path, ids: pq.write_table(pa.table({"x": [0.5] * len(ids), "source_id": ids}), path),
    ],
    ids=["text", "named", "csv", "parquet"],
)
def test_lists_of_sources_are_read_exactly(write, tmp_path: Path) -> None:
    write(tmp_path / "ids", [TWINS[1], TWINS[0], 5, TWINS[1]])
    ids, repeated = read_sources(tmp_path / "ids")
    assert (ids.tolist(), repeated, ids.dtype) == ([5, *TWINS], 1, np.int64)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_text("5.8e18\n"), "whole numbers"),
        (lambda path: path.write_text("source_id\n12\nGaia DR3 12\n"), "whole numbers"),
        (lambda path: path.write_text("source_id,x\n12,1\n,2\n"), "1 rows have no source_id"),
        (lambda path: path.write_text("ra,dec\n1,2\n"), "no column source_id"),
        (lambda path: path.write_text("-1\n"), "no source_id of Gaia, such as -1"),
        (lambda path: path.write_text("9223372036854775807\n"), "no source_id of Gaia"),
        (lambda path: path.write_text("# nothing\n"), "no source_id in it"),
        (lambda path: pq.write_table(pa.table({"source_id": [1.0, 2.0]}), path), "source_id is double, expected int64"),
        (lambda path: pq.write_table(pa.table({"id": [1]}), path), "no column source_id; found id"),
        (lambda path: None, "No such file"),
    ],
)
def test_lists_that_are_none_of_sources_are_refused(write, said: str, tmp_path: Path) -> None:
    write(tmp_path / "ids")
    with pytest.raises(LakeError, match=said):
        read_sources(tmp_path / "ids")


def test_the_command_restricts_queries_to_a_list_of_sources(
    service, sky: pa.Table, new_lake: Lake, tmp_path, monkeypatch, capsys
) -> None:
    url, archive = service
    declared = dataclasses.replace(STARS, fetch=Adql(QUERY, column="x.source_id", service=url, rows=2 * ROWS))
    monkeypatch.setattr(commands, "declared", lambda name: declared)
    monkeypatch.setattr(fetching, "PATIENCE", QUICK)
    monkeypatch.delenv(fetching.LOGIN, raising=False)
    (tmp_path / "ids.txt").write_text("\n".join(map(str, sky["source_id"].to_pylist()[:30])))
    flags = ["--sources", str(tmp_path / "ids.txt"), "--chunk", "20"]
    command = ["--lake", new_lake.storage.root, "fetch", "stars_dr1", *flags]
    assert main([*command, "--dry-run"]) == 0
    assert "would fetch 2 of 2 queries" in capsys.readouterr().out
    assert archive.asked == []
    archive.errors = ["no more today"]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "stars_dr1: 1 of 2 files" in said
    assert "no more today" in said
    assert main(command) == 0
    assert "30 rows so far" in capsys.readouterr().out
    assert clean(archive)


def test_an_unusable_query_is_refused_before_anything_is_sent(service, ask) -> None:
    _, archive = service
    with pytest.raises(FetchError, match="asks for several ranges"):
        ask(query="SELECT * FROM stars")
    with pytest.raises(FetchError, match="0 times, not once"):
        ask(query="SELECT * FROM stars", rows=0, ids=np.array([5]))
    assert archive.asked == []
