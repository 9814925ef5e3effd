"""A table whose rows belong to other stars is not published, whichever survey it is: scrambled, or shifted by a row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.auditing import audited
from jobs.dialects import write
from jobs.dialects_raw import as_raw
from jobs.plan import plan_survey
from jobs.sky import Sky, make_sky
from lake.build import build_survey
from lake.catalog import publish
from lake.conform import conform
from lake.declaration import Keys, Position
from lake.errors import CheckError
from lake.ledger import register
from lake.readers import read
from lake.root import Lake, grid_of, init_lake, open_lake
from lake.survey import Survey, survey, surveys

STARS = 8_000
VERIFIED = [name for name, declared in surveys().items() if declared.relations]
FOUNDATIONS = ("gaia_dr3_source", "apogee_dr17", "gaia_dr3_gspspec")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Sky:
    """A SYNTHETIC sky with enough stars in common for every relation to be judged."""
    return make_sky(tmp_path_factory.mktemp("crowd") / "raw", stars=STARS)


@pytest.fixture(scope="module")
def where(tmp_path_factory, crowd: Sky) -> Lake:
    """A lake in which the tables that others are compared with are published."""
    folder = tmp_path_factory.mktemp("scrambled") / "lake"
    made = init_lake(folder, release="dr3", grid=grid_of(None, crowd.counts, leaf_rows=STARS // 30))
    for name in FOUNDATIONS:
        if name in crowd.files:
            ingested(made, survey(name), *crowd.files[name])
    return open_lake(folder)


def ingested(where: Lake, declared: Survey, *paths: Path) -> None:
    """Build, check and publish a survey."""
    register(where.storage, declared, paths, replace=True)
    plan = plan_survey(where, declared)
    outcome = build_survey(where.storage, where.grid, declared, plan.files, plan.standing)
    publish(where.storage, [audited(open_lake(where.storage.root), manifest, _serial) for manifest in outcome.manifests])


def _serial(_label, function, tasks):
    return map(function, tasks)


def _names(declared: Survey) -> list[str]:
    """Return the columns that tie a row to its star."""
    if isinstance(declared.match, Position):
        return [declared.match.ra, declared.match.dec]
    if isinstance(declared.match, Keys):
        return [*declared.match.on, *declared.match.agree]
    return ["source_id"]


def damaged(declared: Survey, files: tuple[Path, ...], damage: str, path: Path) -> Path:
    """Write one raw file of a survey whose rows name other stars than they measured."""
    rows = pa.concat_tables([conform(batch, declared, file).table for file in files for batch in read(file, declared)])
    rows = rows.take(pa.array(np.random.default_rng(1).permutation(len(rows))))
    order = np.random.default_rng(2).permutation(len(rows)) if damage == "scrambled" else np.roll(np.arange(len(rows)), 1)
    for name in _names(declared):
        moved = rows[name].take(pa.array(order)).combine_chunks()
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), moved)
    write(as_raw(declared, rows.combine_chunks()), path, declared.dialects[0])
    return path


@pytest.mark.parametrize("name", VERIFIED)
def test_right_matches_are_verified_and_published(name, where, crowd):
    ingested(where, survey(name), *crowd.files[name])
    opened = open_lake(where.storage.root)
    checks = opened.table(name).manifest.checks
    assert checks["unverified"] == []
    assert [record["sound"] for record in checks["relations"]] == [True] * len(survey(name).relations), checks["relations"]


@pytest.mark.parametrize("damage", ["scrambled", "shifted by a row"])
@pytest.mark.parametrize("name", VERIFIED)
def test_rows_of_other_stars_are_not_published(name, damage, where, crowd, tmp_path):
    declared = survey(name)
    before = open_lake(where.storage.root).published
    path = damaged(declared, crowd.files[name], damage, tmp_path / f"damaged.{declared.dialects[0]}")
    with pytest.raises(CheckError, match=f"{name}: its rows do not belong to their sources.*fetch them again"):
        ingested(where, declared, path)
    assert open_lake(where.storage.root).published == before
    register(where.storage, declared, crowd.files[name], replace=True)
