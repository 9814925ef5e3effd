"""The synthetic tables of SpectroTranslator fit the synthetic sky, and hold what makes the published ones hard to use."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.dialects import write
from jobs.dialects_raw import as_raw
from jobs.sky_plan import Part, Plan
from jobs.sky_population import population
from jobs.sky_source import source_columns
from jobs.sky_translator import SURVEYS
from lake.columns import column
from lake.conform import conform
from lake.readers import read
from lake.survey import survey

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:gaiaxpy", "ignore:.*:FutureWarning:gaiaxpy")
NAMES = list(SURVEYS)


@pytest.fixture(scope="module")
def plan() -> Plan:
    stars = population(3000, 0)
    return Plan(stars, (Part(0, "000000-786431", stars),), 0)


def made(plan: Plan, name: str) -> pa.Table:
    (file,) = SURVEYS[name](plan)
    return pa.table({name: pa.array(values).cast(column(name).type) for name, values in file.columns().items()})


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_fixed_width_under_its_published_name_and_read_back_but_for_what_is_masked(name, plan, tmp_path: Path):
    (file,) = SURVEYS[name](plan)
    declared, path = survey(name), tmp_path / file.name
    assert declared.accepts(file.name) and file.dialect in declared.dialects
    rows = made(plan, name)
    write(as_raw(declared, rows), path, file.dialect)
    held = [conform(batch, declared, path) for batch in read(path, declared)]
    found = pa.concat_tables([one.table for one in held]).combine_chunks()
    absurd = pc.greater(rows["teff_p50"].combine_chunks(), 10_000)
    assert pc.sum(absurd).as_py() > 0
    for column_name in declared.columns:
        wanted = rows[column_name].combine_chunks()
        if column_name.startswith("teff_"):
            wanted = pc.if_else(absurd, pa.scalar(None, pa.float32()), wanted)
        assert found[column_name].combine_chunks().equals(wanted), column_name
    assert pc.all(found["percentiles_ordered"]).as_py()


@pytest.mark.parametrize("name", NAMES)
def test_sources_repeat_inputs_miss_flags_are_false_and_comments_say_why(name, plan):
    rows = made(plan, name)
    assert len(rows) > 80
    assert pc.count_distinct(rows["source_id"]).as_py() < len(rows)
    for flag in ("intrinsic_input_covered", "intrinsic_output_covered", "extrinsic_input_covered"):
        assert 0 < pc.sum(pc.invert(rows[flag])).as_py() < len(rows) / 4
    assert pc.any(rows["extrinsic_input_missing"]).as_py()
    assert pc.is_valid(rows["translator_comment"]).to_pylist() == pc.invert(rows["intrinsic_input_covered"]).to_pylist()
    if name.endswith("g2a"):
        assert pc.count_distinct(rows["sobject_id"]).as_py() == len(rows)
    else:
        assert set(pc.utf8_length(rows["apogee_id"]).to_pylist()) == {18}


@pytest.mark.parametrize("name", NAMES)
def test_velocities_and_labels_are_those_of_the_sky(name, plan):
    rows = made(plan, name)
    source = source_columns(plan.stars, plan.seed)
    at = np.searchsorted(plan.stars.source_id, rows["source_id"].to_numpy())
    measured = np.ma.filled(np.ma.asarray(source["radial_velocity"]).astype(float), np.nan)[at]
    good = ~rows["extrinsic_input_missing"].to_numpy() & np.isfinite(measured)
    assert good.sum() > 50
    assert np.median(np.abs(rows["velocity_p50"].to_numpy() - measured)[good]) < 3.0
    assert np.median(np.abs(rows["teff_p50"].to_numpy() - plan.stars.teff[at])) < 60.0


def test_the_rows_are_the_same_every_time(plan):
    assert made(plan, "spectrotranslator_g2a").equals(made(plan, "spectrotranslator_g2a"))
