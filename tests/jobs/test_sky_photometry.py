"""The synthetic files of photometric surveys and dust maps: they hold what they are meant to, and pass what real ones must."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from jobs import sky_photometry, sky_unwise
from jobs.dialects import write
from jobs.sky import raw_table
from jobs.sky_dust import SURVEYS as MAPS
from jobs.sky_photometry import true_magnitudes
from jobs.sky_plan import Part, Plan
from jobs.sky_population import population
from jobs.sky_source import source_columns
from lake.build import build_survey
from lake.ledger import raw_files, register
from lake.partition import uniform
from lake.root import init_lake
from lake.standing import ON_FILES, Reference, Standing
from lake.survey import survey
from lake.table import Table
from lake.validate import check
from lake.verify import verify

STARS = 2500
SURVEYS = {**sky_photometry.SURVEYS, **sky_unwise.SURVEYS}
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:gaiaxpy", "ignore:.*:FutureWarning:gaiaxpy")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two ranges of the sky, the second without stars."""
    stars = population(STARS, 1)
    return Plan(stars, (Part(0, "000000-786430", stars), Part(1, "786431-786431", stars.take(slice(0, 0)))), 1)


@pytest.fixture(scope="module")
def built(plan, tmp_path_factory) -> dict[str, Table]:
    """Return the tables of all these surveys, and of their Gaia sources, audited."""
    folder = tmp_path_factory.mktemp("photometry")
    where = init_lake(folder / "lake", grid=uniform(1))

    def build(name: str, paths, standing: Standing) -> Table:
        register(where.storage, survey(name), paths)
        outcome = build_survey(where.storage, where.grid, survey(name), raw_files(where.storage, survey(name)), standing)
        return Table(where.storage, check(where.storage, outcome.manifests[0]), where.grid)

    source = folder / "GaiaSource_000000-786431.hdf5"
    write(raw_table(survey("gaia_dr3_source"), source_columns(plan.stars, plan.seed), every_column=False), source, "hdf5")
    tables = {"gaia_dr3_source": build("gaia_dr3_source", [source], ON_FILES)}
    gaia = Reference(where.storage, where.grid, "gaia_dr3_source", tables["gaia_dr3_source"].manifest.build)
    for name, files in {**SURVEYS, **MAPS}.items():
        paths = []
        for file in files(plan):
            path = folder / file.name
            make = file.make or partial(_written, name, file)
            make(path)
            paths.append(path)
        tables[name] = build(name, paths, Standing(reference=gaia) if survey(name).stands_on else ON_FILES)
    return tables


def _written(name: str, file, path) -> None:
    write(raw_table(survey(name), file.columns(), every_column=False), path, file.dialect)


def column(table: Table, name: str) -> np.ndarray:
    whole = pa.concat_tables([table.read_leaf(leaf, [name]) for leaf in range(len(table.grid))])
    return whole[name].to_numpy()


@pytest.mark.parametrize("name", list(SURVEYS))
def test_the_files_of_a_survey_pass_its_checks_and_relations(name, built):
    verdict = verify(built[name], survey(name), {"gaia_dr3_source": built["gaia_dr3_source"]})
    assert verdict.problems == ()
    assert [record["sound"] for record in verdict.records] == [True] * len(survey(name).relations)


def test_what_ingest_must_find_is_there_to_be_found(built):
    dropped = {name: built[name].manifest.account["dropped"] for name in SURVEYS}
    assert set(dropped["skymapper_dr4"]) == {"no source_id", "match_separation above 2", "not the best observation of its source"}
    assert set(dropped["unwise_neo6"]) == {"unwise_primary below 1", "no Gaia source within 0.5 arcsec"}
    masked = {name: {reason for one in built[name].manifest.inputs for reason in one.masked} for name in SURVEYS}
    for name, reason in (
        ("panstarrs1_dr1", "ps1_r_mag: ps1_r_mag below 13.5"),
        ("panstarrs1_dr1", "ps1_r_mag: ps1_r_mag_error below 1e-06"),
        ("tmass_psc", "tmass_ks_mag: tmass_ks_quality not A or B or C or D"),
        ("skymapper_dr4", "skymapper_g_mag: skymapper_flags_g above 3"),
        ("unwise_neo6", "unwise_w2_flux: unwise_w2_flux below 1e-06"),
    ):
        assert reason in masked[name], masked[name]
    assert any("SATURATED" in reason for reason in masked["sdss_dr13"])
    assert (column(built["panstarrs1_dr1"], "number_of_mates") > 0).sum() > 2


def test_mates_share_one_object(built):
    ids, mates = (column(built["panstarrs1_dr1"], name) for name in ("ps1_id", "number_of_mates"))
    twice, count = np.unique(ids, return_counts=True)
    assert set(twice[count > 1]) <= set(ids[mates > 0])
    assert (count > 1).any()


def test_the_dust_of_the_maps_reddens_every_source(built):
    for name, first in (("dust_sfd", "ebv_sfd"), ("dust_planck", "ebv_planck")):
        assert built[name].manifest.rows == STARS
        assert (column(built[name], first) > 0).all()
    value = column(built["dust_bayestar2019"], "reddening_bayestar2019")
    assert 0 < np.isnan(value).sum() < STARS / 2
    assert (value[np.isfinite(value)] <= 1.6 * column(built["dust_sfd"], "ebv_sfd").max()).all()


@pytest.mark.parametrize("name", list(SURVEYS))
def test_equal_seeds_give_equal_rows_and_other_seeds_others(name, plan):
    def rows(seed: int) -> pa.Table:
        file = next(iter(SURVEYS[name](Plan(plan.stars, plan.parts, seed))))
        return raw_table(survey(name), file.columns(), every_column=False)

    assert rows(1).equals(rows(1))
    assert not rows(1).equals(rows(2))


def test_a_star_like_the_sun_has_the_colours_of_the_sun():
    stars = population(STARS, 2)
    colour = stars.magnitudes[:, 1] - stars.magnitudes[:, 2]
    alike = np.abs(colour - 0.82) < 0.02
    true = true_magnitudes(stars)
    for first, second, wanted in (
        ("sdss g", "sdss r", 0.44),
        ("sdss r", "sdss i", 0.12),
        ("j", "ks", 0.36),
        ("sdss u", "sdss g", 1.43),
    ):
        assert np.median((true[first] - true[second])[alike]) == pytest.approx(wanted, abs=0.08), (first, second)
