"""Report a translation: judge its current bundle on the test split, compare with the authors' table, write page and figures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.product import bundle_key, current_bundle
from jobs.translating import loaded_translator, overlap
from jobs.translator_page import page
from lake.errors import LakeError, listing
from lake.root import Lake
from lake.table import Table
from models.translation import TO, TRANSLATIONS, Translation

if TYPE_CHECKING:
    from models.translation_judges import Judged


def report_key(bundle: str) -> str:
    """Return the key of the page of a bundle; the figures in it lie beside, as JSON.

    >>> report_key("0a1b")
    'reports/0a1b/index.html'
    """
    return f"reports/{bundle}/index.html"


def translator_report(lake: Lake, name: str) -> str:
    """Write the report of the current bundle of a translation, and return the key of its page.

    Beside the page lies ``report.json`` with all figures but the drawn ones.

    Raises
    ------
    LakeError
        If there is no such translation, it was never trained, or its tables were replaced since: then nobody knows any more which
        stars it was not trained on.
    """
    translation = _translation(name)
    bundle = current_bundle(lake.storage, name)
    if bundle is None:
        raise LakeError(
            f"{name} was never trained in {lake.storage.root}; run `gaialake --lake {lake.storage.root} train {name}`"
        )
    held = loaded_translator(lake.storage, bundle_key(name, bundle))
    _require_same_builds(lake, name, held.training_builds)
    document = report(lake, translation, held.translator, builds=held.training_builds, bundle=bundle)
    lake.storage.write_json(f"reports/{bundle}/report.json", {key: value for key, value in document.items() if key != "figures"})
    lake.storage.write_bytes(report_key(bundle), page(document).encode())
    return report_key(bundle)


def report(lake: Lake, translation: Translation, translator: Any, *, builds: Mapping[str, str], bundle: str) -> dict[str, Any]:
    """Return what `jobs.translator_page.page` shows of a trained translator."""
    from jobs.translator_figures import domain_scores, importance_bars, residual_panels
    from models.importance import importances
    from models.translation_judges import judged
    from models.translation_quality import quality

    rows = overlap(lake, translation)
    try:
        labels = judged(rows, translator)
        importance = importances(labels, rows, translator)
    except (ValueError, FloatingPointError) as error:
        raise LakeError(f"report of {translation.name}: {error}") from error
    scores = _scores(lake, translation, labels, translator)
    pictures = (
        (
            "Residuals before and after translation",
            "Shade is the number of stars of the test split on a logarithmic scale; lines are running percentiles. The outermost "
            "stars lie beyond the axes.",
            residual_panels(labels, (translation.base_from, translation.base_to)),
        ),
        ("Importance of the inputs", "Shares below 6 % carry no number.", importance_bars(importance)),
        (
            "Distance from the training stars",
            "Scores beyond the axis are drawn at its ends, on the left the training stars themselves.",
            domain_scores(scores),
        ),
    )
    return {
        "title": translation.title,
        "name": translation.name,
        "bundle": bundle,
        "base_from": translation.base_from,
        "base_to": translation.base_to,
        "preset": translator.config.preset,
        "builds": dict(builds),
        "counts": dict(translator.counts),
        "quality": quality(labels),
        "importance": importance,
        "domain": {network: {name: covered(score) for name, score in of.items()} for network, of in scores.items()},
        "comparison": _comparison(lake, translation, labels),
        "figures": [dict(zip(("title", "caption", "png"), one, strict=True)) for one in pictures],
    }


def covered(score: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, Any]:
    """Return how many ``stars`` have a score, which share of them is ``covered``, and how many are ``without`` one."""
    known = score[np.isfinite(score)]
    share = float((known <= 1.0).mean()) if len(known) else None
    return {"stars": len(known), "covered": share, "without": len(score) - len(known)}


def _translation(name: str) -> Translation:
    if name not in TRANSLATIONS:
        raise LakeError(f"no translation {name!r}; there are {listing(TRANSLATIONS)}")
    return TRANSLATIONS[name]


def _require_same_builds(lake: Lake, name: str, trained: Mapping[str, str]) -> None:
    for table, build in trained.items():
        now = lake.table(table).manifest.build
        if now != build:
            raise LakeError(
                f"{name} was trained on build {build} of {table}, published is {now}: which stars it was not trained on is no "
                f"longer known; run `gaialake --lake {lake.storage.root} train {name}`, then report again"
            )


def _scores(lake: Lake, translation: Translation, labels: Sequence["Judged"], translator: Any) -> dict[str, dict[str, Any]]:
    """Return network -> sample -> scores: of the test split, and of all rows if the translated table is published."""
    by_name = {one.name: one.score for one in labels}
    scores = {one.name: {"test split": by_name[one.outputs[0]]} for one in translator.networks}
    if translation.name in lake.published:
        table = _read(lake.table(translation.name), [f"{network}_domain_score" for network in scores])
        for network, samples in scores.items():
            samples["all translated stars"] = table[f"{network}_domain_score"].cast(pa.float64()).to_numpy()
    return scores


def _comparison(lake: Lake, translation: Translation, labels: Sequence["Judged"]) -> dict[str, Any] | str:
    from jobs.translator_comparison import FLAGS, comparison

    authors = translation.authors
    if authors is None:
        return f"The authors publish no table of {translation.base_from} on the base of {translation.base_to}."
    missing = [name for name in (translation.name, authors) if name not in lake.published]
    if missing:
        return f"Not compared: {listing(missing)} is not published in this lake."
    wanted = [*(f"{label.name}_p50" for label in translation.labels), *FLAGS, "percentiles_ordered"]
    ours, theirs = (_read(lake.table(name), wanted) for name in (translation.name, authors))
    return comparison(ours, theirs, base_of(labels, translation), translation.labels)


def base_of(labels: Sequence["Judged"], translation: Translation) -> pa.Table:
    """Return what the base says of the stars that judge: ``source_id`` ascending, ``to_<target>``, null where one does not."""
    ids = np.unique(np.concatenate([one.source_id for one in labels]))
    columns = {"source_id": pa.array(ids, pa.int64())}
    for label, one in zip(translation.labels, labels, strict=True):
        values = np.full(len(ids), np.nan)
        values[np.searchsorted(ids, one.source_id)] = one.reference
        columns[f"{TO}_{label.target}"] = pa.array(values, mask=np.isnan(values))
    return pa.table(columns)


def _read(table: Table, columns: Sequence[str]) -> pa.Table:
    """Read columns of a whole table of labels, those that it has; its rows are millions at most."""
    names = [name for name in columns if name in table.columns]
    leaves = [table.read_leaf(leaf, names) for leaf, piece in enumerate(table.pieces) if piece.key]
    return pa.concat_tables([table.spec(names).schema().empty_table(), *leaves]).combine_chunks()
