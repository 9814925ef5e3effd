"""The page of a translation's report: complete, escaped, readable without pictures and without a network."""

from html.parser import HTMLParser

import pytest

from jobs.translator_page import page
from models.translation_quality import quality
from tests.models.judges import judges

PNG = b"\x89PNG\r\n\x1a\nnot really"
GROUPS = {"groups": [["teff", "bp_g"], ["logg"]]}
SHARES = {"rms": 0.1, "rise": [0.5, None], "rise_error": [0.01, None], "share": [0.975, None]}
FIGURES = {"n": 950, "bias": 0.2, "bias_error": 0.01, "median": -0.2125, "scatter": 0.0375, "sigma": 0.1, "rms": 0.3}
COMPARISON = {
    "rows": {"ours": 588_000, "authors": 588_464, "common": 587_999},
    "labels": {
        "metallicity": {
            "unit": "dex",
            "ours_null": 12,
            "authors_null": 3_456,
            "difference": FIGURES,
            "base": {"ours": FIGURES | {"median": 0.0111}, "authors": FIGURES | {"n": 1, "median": None, "scatter": None}},
        }
    },
    "flags": {"intrinsic_input_covered": {"both": 90, "only_ours": 6, "only_authors": 2, "neither": 2}},
    "authors_unordered": 42,
}


def document(**changes):
    """Return what a page is made of."""
    return {
        "title": "Labels of a & b on <the base>",
        "name": "galah_dr3_on_apogee_dr17",
        "bundle": "f00d",
        "base_from": "galah_dr3",
        "base_to": "apogee_dr17",
        "preset": "small",
        "builds": {"galah_dr3": "b0b0", "apogee_dr17": "c0c0"},
        "counts": {"stars": 12_345, "fail from_snr >= 30": 94},
        "quality": quality([judges(), judges("teff", rows=1)]),
        "importance": {"intrinsic": {"correction": GROUPS | {"labels": {"metallicity": SHARES}}}},
        "domain": {
            "intrinsic": {
                "test split": {"stars": 1_500, "covered": 0.9951, "without": 7},
                "all translated stars": {"stars": 0, "covered": None, "without": 3},
            }
        },
        "comparison": COMPARISON,
        "figures": [{"title": "Residuals", "caption": 'said "so"', "png": PNG}],
    } | changes


class Reader(HTMLParser):
    """Collect tags, attributes and text, and check that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] != "style":
            self.words += data


@pytest.fixture(scope="module")
def read():
    return Reader(page(document()))


def test_the_page_says_what_was_trained_from_what(read):
    assert "galah_dr3 on the base of apogee_dr17" in read.words
    for row in (["galah_dr3", "b0b0"], ["stars", "12,345"], ["fail from_snr >= 30", "94"]):
        assert row in read.rows


def test_ours_stands_beside_the_baselines_and_the_best_is_shaded(read):
    rows = [row for row in read.rows if row[0] == "metallicity [dex]" and row[1] in ("nothing", "quadratic ridge", "networks")]
    assert [row[1] for row in rows] == ["nothing", "quadratic ridge", "networks"]
    assert all(row[2] == "4,000" and " ± " in row[3] for row in rows)
    page_of_one = page(document(quality=quality([judges()])))
    shaded = page_of_one.split("<tr class=best>")[1].split("</tr>")[0]
    assert page_of_one.count("<tr class=best>") == 1
    assert "<td>networks</td>" in shaded


def test_bins_coverage_importance_and_domain_are_tables(read):
    assert ["metallicity [dex]", "metallicity <= -1"] in [row[:2] for row in read.rows]
    assert ["metallicity [dex]", "teff + bp_g", "0.1000", "0.5000 ± 0.0100", "97.5 %"] in read.rows
    assert ["intrinsic", "test split", "1,500", "99.5 %", "7"] in read.rows
    assert any(row[0] == "metallicity [dex]" and row[-1] == "7" and row[1].startswith("0.6") for row in read.rows)


def test_the_authors_table_is_compared_or_it_is_said_why_not(read):
    found = next(row for row in read.rows if row[0] == "metallicity [dex]" and row[1] == "950")
    assert found[2:6] == ["−0.2125", "0.0375", "12", "3,456"]
    assert found[6:] == ["0.0111; 0.0375 (950)", "–; – (1)"]
    assert ["intrinsic_input_covered", "90", "6", "2", "2", "92.0 %"] in read.rows
    assert "percentiles descend somewhere: 42" in read.words
    why = "Not compared: <spectrotranslator_g2a> is not published"
    assert why in Reader(page(document(comparison=why))).words


def test_what_is_not_known_is_a_dash_and_no_nan_is_shown(read):
    assert ["metallicity [dex]", "logg", "0.1000", "– ± –", "–"] in read.rows
    assert ["teff [K]", "nothing", "1", "– ± –", "–", "–", "–"] in read.rows
    assert "nan" not in read.words.lower().replace("nance", "")
    assert "None" not in read.words


def test_all_text_is_escaped_and_nothing_is_loaded_from_elsewhere(read):
    text = page(document(name="<script>alert(1)</script>", counts={"<img src=x>": "<b>"}, builds={"a": '"><i>'}))
    assert "<script>" not in text
    assert "<img src=x>" not in text
    assert "<i>" not in text
    for tag, attributes in read.tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href"):
            assert str(attributes.get(name) or "data:").startswith("data:")
    assert "http" not in page(document())
    assert "url(" not in page(document())


def test_pictures_come_after_all_tables(read):
    tags = [tag for tag, _ in read.tags]
    assert tags.index("img") > max(at for at, tag in enumerate(tags) if tag == "table")
    assert dict(read.tags)["img"]["alt"] == "Residuals"
