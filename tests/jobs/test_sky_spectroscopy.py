"""Scales of the synthetic surveys bend against each other as declared, and published errors are those of the noise."""

import numpy as np
import pyarrow as pa
import pytest

from jobs.sky_apogee import SURVEYS as APOGEE
from jobs.sky_galah import SURVEYS as GALAH
from jobs.sky_lamost import dr8_columns
from jobs.sky_observed import SCALES as OBSERVED
from jobs.sky_plan import Part, Plan
from jobs.sky_population import population
from jobs.sky_spectroscopy import SCALES, STRAIGHT, Bends, bent, truth
from models.translation import TRANSLATIONS
from tests.models.pairs import pairs

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:gaiaxpy", "ignore:.*:FutureWarning:gaiaxpy")
BASES = {one.base_from for one in TRANSLATIONS.values()} | {one.base_to for one in TRANSLATIONS.values()}


@pytest.fixture(scope="module")
def plan() -> Plan:
    stars = population(20_000, 0)
    return Plan(stars, (Part(0, "000000-786431", stars),), 0)


def test_surveys_that_are_translated_bend_and_the_reference_does_not():
    bends = {name: scale.bends for name, scale in {**OBSERVED, **SCALES}.items()}
    assert {name for name, one in bends.items() if one != STRAIGHT} == BASES - {"apogee_dr17"}
    assert bends["galah_dr3"] != bends["galah_dr4"]


def test_bends_are_as_high_as_declared_where_they_are_declared_and_nothing_elsewhere(plan):
    stars = plan.stars
    bend = bent(Bends(dwarfs=80.0, giants=-60.0, clump=0.13, cool=-0.12, poor=0.1, wave=0.07, convection=0.3), stars)
    dwarf, giant = stars.logg > 4.3, stars.logg < 3.0
    hot, cold = (stars.teff > 5700.0) & (stars.teff < 7000.0), stars.teff < 4600.0
    assert np.allclose(bend["teff"][dwarf & hot], 80.0, atol=4.0) and np.allclose(bend["teff"][dwarf & cold], -80.0, atol=4.0)
    assert np.allclose(bend["teff"][giant & cold], 60.0, atol=4.0)
    assert np.allclose(bend["logg"][np.abs(stars.logg - 2.45) < 0.02], 0.13, atol=0.002)
    assert np.abs(bend["logg"][(stars.logg < 1.8) | (dwarf & hot)]).max() < 0.001
    assert np.allclose(bend["fe_h"][stars.fe_h < -1.5], 0.1, atol=0.001) and np.abs(bend["fe_h"][stars.fe_h > -0.3]).max() < 0.001
    assert 0.069 < np.abs(bend["alpha"]).max() <= 0.07 and 0.25 < np.abs(bend["velocity"]).max() <= 0.3
    assert all(not np.any(values) for values in bent(STRAIGHT, stars).values())


@pytest.mark.parametrize("name", ["galah_dr3", "galah_dr4", "apogee_dr17"])
def test_published_errors_are_those_of_the_noise(name, plan):
    (file,) = (GALAH | APOGEE)[name](plan)
    columns, scale = file.columns(), SCALES[name]
    at = np.clip(np.searchsorted(plan.stars.source_id, columns["source_id"]), 0, len(plan.stars) - 1)
    good = plan.stars.source_id[at] == columns["source_id"]
    bend = {key: values[at] for key, values in bent(scale.bends, plan.stars).items()}
    true = {"teff": plan.stars.teff, "logg": plan.stars.logg, "alpha": truth(plan.stars, 0).elements["mg"]}
    expected = {key: values[at] + bend[key] for key, values in true.items()}
    expected["teff"] += scale.teff[0] + scale.teff[1] * (true["teff"][at] - 5000.0)
    expected["logg"] += scale.logg[0] + scale.logg[1] * (true["logg"][at] - 3.0)
    expected["alpha"] += scale.alpha
    for key, column in (("teff", "teff"), ("logg", "logg"), ("alpha", "mg_fe")):
        pull = ((columns[column] - expected[key]) / columns[f"{column}_error"])[good]
        low, middle, high = np.nanpercentile(pull, [15.87, 50.0, 84.13])
        assert abs(middle) < 0.15 and 0.85 < (high - low) / 2.0 < 1.15, (column, low, middle, high)


def test_lamosts_alpha_is_the_one_that_other_surveys_measure(plan):
    columns = dr8_columns(plan.stars, 0)
    lamost = {key: np.asarray(columns[key]) for key in ("object_ra", "object_dec", "alpha_m", "radial_velocity", "teff")}
    sky = np.stack([plan.stars.ra, plan.stars.dec], axis=1)
    near = [
        int(np.abs(sky - place).sum(axis=1).argmin()) for place in zip(lamost["object_ra"], lamost["object_dec"], strict=True)
    ]
    near = np.array(near[:300])
    given = lamost["alpha_m"][:300] > -9000.0
    residual = lamost["alpha_m"][:300] - truth(plan.stars, 0).alpha[near]
    assert np.median(np.abs(residual[given])) < 0.08


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_common_stars_lie_about_the_truth_as_their_errors_say_and_a_few_per_cent_lack_something(name):
    made, again, other = pairs(1500, 3, name), pairs(1500, 3, name), pairs(1500, 4, name)
    assert made.table.equals(again.table) and not made.table.equals(other.table)
    assert len(made) == 1500 and made.table.schema.field("source_id").type == pa.int64()
    assert np.all(np.diff(made.table["source_id"].to_numpy()) > 0)
    for label in TRANSLATIONS[name].labels:
        value, error = (made.table[f"to_{label.target}{part}"].to_numpy() for part in ("", "_error"))
        pull = (value - made.truth[label.name]) / error
        low, high = np.nanpercentile(pull, [15.87, 84.13])
        assert 0.9 < (high - low) / 2.0 < 1.2, label.name
        assert 0.005 < np.isnan(value).mean() < np.isnan(error).mean() < 0.06
        assert np.isfinite(made.truth[label.name]).all()
    assert 0.3 < np.mean(made.truth["logg"] < 3.6) < 0.6 and 0.01 < np.mean(made.truth["metallicity"] < -0.9) < 0.1
