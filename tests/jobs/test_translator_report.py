"""The report of a translation that a lake holds."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from jobs import translator_report
from jobs.product import current_key
from jobs.translator_report import base_of, covered
from lake.errors import LakeError
from lake.root import grid_of, init_lake
from models.translation import TRANSLATIONS
from models.translation_judges import judged
from models.translator_config import debug
from models.translator_fit import train
from tests.models.judges import judges
from tests.models.pairs import pairs

NAME = "galah_dr3_on_apogee_dr17"


@pytest.fixture(scope="module")
def trained():
    """Synthetic common stars and a translator trained on them for a moment."""
    made = pairs(1_500, 3, NAME)
    return made.table, train(made.table, TRANSLATIONS[NAME], debug(), seed=0)


@pytest.fixture
def lake(tmp_path, trained, monkeypatch):
    """A lake without tables, whose current bundle is the translator."""
    table, translator = trained
    lake = init_lake(tmp_path, grid=grid_of("uniform:2", None))
    lake.storage.write_json(current_key(NAME), {"bundle": "f00d", "preset": "debug"})
    held = SimpleNamespace(translator=translator, training_builds={})
    monkeypatch.setattr(translator_report, "loaded_translator", lambda storage, key: {f"models/{NAME}/f00d": held}[key])
    monkeypatch.setattr(translator_report, "overlap", lambda lake, translation: table)
    return lake


def test_a_report_is_a_page_and_its_figures_as_json(lake):
    key = translator_report.translator_report(lake, NAME)
    assert key == "reports/f00d/index.html"
    text = lake.storage.read_bytes(key).decode()
    assert text.count("<img ") == 3
    assert "spectrotranslator_g2a" in text
    assert len(text) < 1_000_000
    figures = json.loads(lake.storage.read_bytes("reports/f00d/report.json"))
    assert figures["counts"]["stars"] == 1_500
    assert set(figures["quality"]) == {"teff", "logg", "metallicity", "mg_fe", "velocity"}
    assert figures["domain"]["intrinsic"]["test split"]["covered"] > 0.9


def test_a_second_report_of_the_same_bundle_has_the_same_bytes(lake):
    first = lake.storage.read_bytes(translator_report.translator_report(lake, NAME))
    assert lake.storage.read_bytes(translator_report.translator_report(lake, NAME)) == first


def test_what_cannot_be_reported_says_what_to_do(lake):
    with pytest.raises(LakeError, match="no translation 'x'; there are .*galah_dr3_on_apogee_dr17"):
        translator_report.translator_report(lake, "x")
    with pytest.raises(LakeError, match="never trained .* run `gaialake --lake .* train apogee_dr17_on_galah_dr3`"):
        translator_report.translator_report(lake, "apogee_dr17_on_galah_dr3")


def test_a_bundle_whose_tables_were_replaced_is_not_judged(lake, monkeypatch):
    held = SimpleNamespace(translator=None, training_builds={"galah_dr3": "old"})
    monkeypatch.setattr(translator_report, "loaded_translator", lambda storage, key: held)
    published = SimpleNamespace(manifest=SimpleNamespace(build="new"))
    monkeypatch.setattr(type(lake), "table", lambda lake, name: published)
    with pytest.raises(LakeError, match="trained on build old of galah_dr3, published is new.* run `gaialake --lake .* train "):
        translator_report.translator_report(lake, NAME)


def test_the_base_of_the_comparison_holds_judges_only_and_nulls_where_a_label_is_not_judged(trained):
    table, translator = trained
    labels = judged(table, translator, realisations=20)
    base = base_of(labels, translator.translation)
    assert base.num_rows < 0.3 * table.num_rows
    for label, one in zip(translator.translation.labels, labels, strict=True):
        column = base[f"to_{label.target}"]
        assert len(column) - column.null_count == len(one)
    teff = dict(zip(base["source_id"].to_pylist(), base["to_teff"].to_pylist(), strict=True))
    assert all(teff[star] == value for star, value in zip(labels[0].source_id.tolist(), labels[0].reference, strict=True))
    assert base.schema.field("source_id").type == pa.int64()


def test_stars_without_a_score_are_counted_apart():
    assert covered(np.array([0.5, 1.0, 1.5, np.nan])) == {"stars": 3, "covered": pytest.approx(2 / 3), "without": 1}
    assert covered(np.array([np.nan])) == {"stars": 0, "covered": None, "without": 1}
    assert covered(judges().score)["stars"] == 4_000
