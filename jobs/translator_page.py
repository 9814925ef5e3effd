"""Write the report of a translation as one HTML page: tables first, figures inside it, nothing from elsewhere."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

# Decimals that a figure of a label deserves, by unit.
_DECIMALS = {"K": 1, "km / s": 3}
_UNITS = {"dex(cm / s2)": "dex"}
_METHODS = {"nothing": "nothing", "ridge": "quadratic ridge", "ours": "networks"}
_NONE = "–"
_COVERED = (
    "Share of the stars whose label on the base lies between two percentiles of the translation, the error of the base added; "
    "in brackets what it should be. Stars without percentiles are not translated, and in no figure of this page."
)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.9rem }
caption { text-align: left; padding-bottom: 0.4rem }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
th { font-weight: 600 } th[scope=row], td:first-child { text-align: left }
tr.best td, tr.best th { background: #e8f1f8 }
figure { margin: 1.2rem 0 } img { max-width: 100%; height: auto } figcaption, .note { color: #444; font-size: 0.9rem }
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a report.

    Parameters
    ----------
    document
        ``title``, ``name``, ``bundle``, ``base_from``, ``base_to``, ``preset``; ``builds`` and ``counts``: name -> value;
        ``quality`` (`models.translation_quality.quality`); ``importance`` (`models.importance.importances`);
        ``domain``: network -> sample -> ``stars``, ``covered``, ``without``; ``comparison`` (`jobs.translator_comparison`), or
        the sentence that says why there is none; ``figures``: ``title``, ``caption`` and ``png`` as bytes.

    Returns
    -------
    str
        HTML in UTF-8. All text is escaped, whatever it is; no script, no font, no picture is loaded.
    """
    base_from, base_to = (str(document[name]) for name in ("base_from", "base_to"))
    note = (
        f"Residuals are what a method says minus what {base_to} says, on stars of the test split, which neither trained nor "
        "chose the networks. Beside them stand doing nothing and a quadratic ridge regression, trained on the same stars as the "
        "networks. Bias is the mean, weighted by inverse variances, ± its standard error; scatter is 1.4826 times the median "
        "absolute deviation; σ is the plain standard deviation, which outliers widen; the slope is that of the residual over "
        f"the label of {base_from}, where a method that shrinks labels to their mean has a negative one. The best scatter of a "
        "label is shaded."
    )
    parts = [
        f"<h1>{escape(str(document['title']))}</h1>",
        f"<p>Table <b>{escape(str(document['name']))}</b>, bundle <code>{escape(str(document['bundle']))}</code>, "
        f"preset {escape(str(document['preset']))}: {escape(base_from)} on the base of {escape(base_to)}.</p>",
        "<h2>Before and after</h2>",
        f"<p class=note>{escape(note)}</p>",
        _overall(document["quality"]),
        f"<p class=note>{escape(_COVERED)}</p>",
        _coverage(document["quality"]),
        "<h2>By metallicity and gravity</h2>",
        f"<p class=note>Bins are cut by what {escape(base_from)} says. Bias ± its standard error; scatter.</p>",
        _binned(document["quality"]),
        "<h2>What it was trained from</h2>",
        _pairs(("table", "build"), document["builds"]),
        _pairs(("common stars", "number"), document["counts"]),
        "<h2>What it lives on</h2>",
        _importance(document["importance"], {label: held["unit"] for label, held in document["quality"].items()}),
        "<h2>Where it may be trusted</h2>",
        _domain(document["domain"]),
        "<h2>Against the authors' table</h2>",
        _comparison(document["comparison"], base_to),
        "<h2>Figures</h2>",
        *map(_figure, document["figures"]),
    ]
    title = f"<title>{escape(str(document['title']))}</title>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}<style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, best: Iterable[int] = ()) -> str:
    """Return a table; the first cell of a row is its heading, rows whose number is in ``best`` are shaded."""
    shaded = set(best)
    lines = ["<tr>" + "".join(f'<th scope="col">{escape(one)}</th>' for one in head) + "</tr>"]
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{escape(one)}</td>" for one in row[1:])
        lines.append(f'<tr{" class=best" if number in shaded else ""}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    return "<table>" + "\n".join(lines) + "</table>"


def _overall(quality: Mapping[str, Any]) -> str:
    rows: list[tuple[str, ...]] = []
    best = []
    for label, held in quality.items():
        unit = held["unit"]
        all_stars = {method: one["bins"]["all"] for method, one in held["methods"].items()}
        known = {method: one["scatter"] for method, one in all_stars.items() if one["scatter"] is not None}
        for method, one in all_stars.items():
            if known and method == min(known, key=lambda name: known[name]):
                best.append(len(rows))
            cells = (_count(one["n"]), _bias(one, unit), _value(one["scatter"], unit), _value(one["sigma"], unit))
            said = _METHODS.get(method, method)
            rows.append((_label(label, unit), said, *cells, _number(held["methods"][method]["slope"], 3)))
    head = ("label", "method", "stars", "bias", "scatter (MAD)", "σ", "slope of the residual")
    return _table(head, rows, best=best)


def _coverage(quality: Mapping[str, Any]) -> str:
    said = {
        "p16_p84": "between p16 and p84 (0.68)",
        "p05_p95": "between p05 and p95 (0.90)",
        "truth_p16_p84": "truth between p16 and p84 (0.68)",
        "truth_p05_p95": "truth between p05 and p95 (0.90)",
    }
    # Only synthetic stars have a truth.
    names = [name for name in said if any(held["coverage"][name] is not None for held in quality.values())]
    rows = [
        (_label(label, held["unit"]), *(_number(held["coverage"][name], 3) for name in names), _count(held["untranslated"]))
        for label, held in quality.items()
    ]
    return _table(("label", *(said[name] for name in names), "not translated"), rows)


def _binned(quality: Mapping[str, Any]) -> str:
    rows, methods = [], next((tuple(held["methods"]) for held in quality.values()), ())
    for label, held in quality.items():
        unit, of = held["unit"], held["methods"]
        for name in (one for one in of[methods[0]]["bins"] if one != "all"):
            found = [of[method]["bins"][name] for method in methods]
            cells = [f"{_bias(one, unit)}; {_value(one['scatter'], unit)}" for one in found]
            rows.append((_label(label, unit), name, _count(found[0]["n"]), *cells))
    return _table(("label", "bin", "stars", *(_METHODS.get(method, method) for method in methods)), rows)


def _importance(found: Mapping[str, Any], units: Mapping[str, str]) -> str:
    text = (
        "Rise of the weighted rms residual when inputs are permuted among the stars of the test split, and its share of all "
        "rises. Inputs that correlate are permuted together. Each star keeps its own label; only what the networks read to "
        "correct it is permuted."
    )
    rows = []
    for one in (networks["correction"] for networks in found.values()):
        for label, held in one["labels"].items():
            for at, group in enumerate(one["groups"]):
                share = held["share"][at]
                percent = _NONE if share is None else f"{100 * share:.1f} %"
                rise = f"{_number(held['rise'][at], 4)} ± {_number(held['rise_error'][at], 4)}"
                rows.append((_label(label, units[label]), " + ".join(group), _number(held["rms"], 4), rise, percent))
    return f"<p class=note>{escape(text)}</p>" + _table(("label", "inputs", "rms", "rise", "share"), rows)


def _domain(found: Mapping[str, Any]) -> str:
    text = "Share of the stars whose distance from the training stars is one that these have among themselves (score up to 1)."
    rows = []
    for network, samples in found.items():
        for sample, one in samples.items():
            share = _NONE if one["covered"] is None else f"{100 * one['covered']:.1f} %"
            rows.append((network, sample, _count(one["stars"]), share, _count(one["without"])))
    return f"<p class=note>{escape(text)}</p>" + _table(("network", "stars", "number", "covered", "an input missing"), rows)


def _comparison(found: Mapping[str, Any] | str, base_to: str) -> str:
    if isinstance(found, str):
        return f"<p>{escape(found)}</p>"
    counts = found["rows"]
    text = (
        f"{counts['common']:,} sources in both tables ({counts['ours']:,} in ours, {counts['authors']:,} in the authors'). "
        f"Against {base_to}, stars are those of our test split; the authors may have trained on them. A value is missing where "
        "a label was not translated, or is one that no star has."
    )
    rows = []
    for label, one in found["labels"].items():
        unit, base = one["unit"], one["base"] or {"ours": None, "authors": None}
        ours, authors = (_against(base[name], unit) for name in ("ours", "authors"))
        difference, missing = one["difference"], (_count(one["ours_null"]), _count(one["authors_null"]))
        cells = (_count(difference["n"]), _value(difference["median"], unit), _value(difference["scatter"], unit))
        rows.append((_label(label, unit), *cells, *missing, ours, authors))
    head = (
        *("label", "rows", "ours − authors': median", "scatter", "missing in ours", "in the authors'"),
        *("ours − base: median; scatter (n)", "authors' − base: median; scatter (n)"),
    )
    flags = [
        (name, *(_count(one[key]) for key in ("both", "only_ours", "only_authors", "neither")), _agreement(one))
        for name, one in found["flags"].items()
    ]
    unordered = found["authors_unordered"]
    tail = "" if unordered is None else f"<p>Rows of the authors' table whose percentiles descend somewhere: {unordered:,}.</p>"
    flag_head = ("flag", "true in both", "only in ours", "only in the authors'", "in neither", "agreement")
    return f"<p class=note>{escape(text)}</p>" + _table(head, rows) + _table(flag_head, flags) + tail


def _against(one: Mapping[str, Any] | None, unit: str) -> str:
    return _NONE if one is None else f"{_value(one['median'], unit)}; {_value(one['scatter'], unit)} ({one['n']:,})"


def _agreement(one: Mapping[str, int]) -> str:
    total = sum(one.values())
    return f"{100 * (one['both'] + one['neither']) / total:.1f} %" if total else _NONE


def _pairs(head: tuple[str, str], values: Mapping[str, Any]) -> str:
    return _table(head, [(str(name), _count(value) if isinstance(value, int) else str(value)) for name, value in values.items()])


def _figure(one: Mapping[str, Any]) -> str:
    picture = b64encode(one["png"]).decode()
    title, caption = escape(str(one["title"])), escape(str(one["caption"]))
    return (
        f'<figure><img alt="{title}" src="data:image/png;base64,{picture}">'
        f"<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
    )


def _label(name: str, unit: str) -> str:
    return f"{name} [{_UNITS.get(unit, unit)}]"


def _bias(one: Mapping[str, Any], unit: str) -> str:
    return f"{_value(one['bias'], unit)} ± {_value(one['bias_error'], unit)}"


def _value(value: float | None, unit: str) -> str:
    return _number(value, _DECIMALS.get(unit, 4))


def _number(value: float | None, decimals: int) -> str:
    # A true minus sign, which is as wide as a plus; none before a number that is rounded to 0.
    return _NONE if value is None else f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")


def _count(value: int) -> str:
    return f"{value:,}"
