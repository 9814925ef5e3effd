"""Draw a translation: residuals before and after, importance of inputs, distance from the training stars. PNG as bytes.

Figures are drawn as objects: no window, no state that another caller could see. Colours are those of Okabe & Ito (2008), which
colour-blind readers can tell apart, and one sequential map that also prints in grey.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.baselines import NOTHING, RIDGE
from models.translation_judges import OURS, Judged

Floats = NDArray[np.float64]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000"),
)
QUANTITIES: Mapping[str, str] = {
    "teff": "Teff",
    "logg": "log g",
    "metallicity": "metallicity",
    "mg_fe": "[Mg/Fe]",
    "velocity": "velocity",
    "bp_g": "BP − G",
    "g_rp": "G − RP",
}
UNITS: Mapping[str, str] = {"K": "K", "dex(cm / s2)": "dex", "dex": "dex", "km / s": "km/s"}
METHOD_TITLES: Mapping[str, str] = {NOTHING: "untranslated", RIDGE: "quadratic ridge", OURS: "translated"}
_DPI, _BINS, _RUNNING, _FEWEST = 100, 60, 15, 10
_WIDTH, _ROW = 9.6, 2.3
_LOWEST_SCORE, _HIGHEST_SCORE = 0.05, 200.0


def residual_panels(labels: Sequence[Judged], bases: tuple[str, str]) -> bytes:
    """Draw residuals against what the first base says, one row per label, before translation and after.

    Shade is the number of stars; lines are the running median and the 16th and 84th percentile. Both columns of a row have the
    same axes, which leave out the outermost stars.
    """
    methods = (NOTHING, OURS)
    figure = _figure(_ROW * len(labels) + 0.5)
    axes = figure.subplots(len(labels), len(methods), sharex="row", sharey="row", squeeze=False)
    for row, one in zip(axes, labels, strict=True):
        ranges = _ranges(one, methods)
        for axis, method in zip(row, methods, strict=True):
            _panel(axis, one, one.estimates[method] - one.reference, ranges)
        unit = UNITS.get(one.unit, one.unit)
        row[0].set_ylabel(f"Δ {_said(one.name)} [{unit}]")
        for axis in row:
            axis.set_xlabel(f"{_said(one.name)} of {bases[0]} [{unit}]")
    for axis, method in zip(axes[0], methods, strict=True):
        axis.set_title(f"{METHOD_TITLES.get(method, method)} − {bases[1]}")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return _png(figure)


def importance_bars(found: Mapping[str, Any], what: str = "correction") -> bytes:
    """Draw the share of each group of inputs, one stacked bar per label (see `models.importance.importances`)."""
    bars = [
        (label, {"\n+ ".join(map(_said, group)): share for group, share in zip(one[what]["groups"], held["share"], strict=True)})
        for one in found.values()
        for label, held in one[what]["labels"].items()
    ]
    names = list(dict.fromkeys(name for _, shares in bars for name in shares))
    colours = dict(zip(names, _cycled((BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, RED), len(names)), strict=True))
    figure = _figure(0.6 * len(bars) + 1.7)
    axis = figure.subplots()
    for at, (_, shares) in enumerate(bars):
        left = 0.0
        for name, share in shares.items():
            width = 100.0 * (share or 0.0)
            axis.barh(at, width, left=left, color=colours[name], edgecolor="white", linewidth=0.8)
            if width >= 6.0:
                dark = colours[name] in (BLUE, GREEN, RED)
                axis.text(left + width / 2, at, f"{width:.0f}", ha="center", va="center", color="white" if dark else BLACK)
            left += width
    axis.set_yticks(range(len(bars)), [_said(label) for label, _ in bars])
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of the rise of the residual when inputs are permuted [%]")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    swatches: list[Any] = [axis.barh([0], [0], color=colours[name]) for name in names]
    figure.legend(swatches, names, loc="outside right center", frameon=False)
    return _png(figure)


def domain_scores(scores: Mapping[str, Mapping[str, Floats]]) -> bytes:
    """Draw the distribution of scores of the domain, one panel per network, one line per sample of stars.

    Scores outside 0.05 to 200 are drawn at these limits; NaN are left out.
    """
    figure = _figure(2.9)
    axes = figure.subplots(1, max(1, len(scores)), sharey=True, squeeze=False)[0]
    edges = np.geomspace(_LOWEST_SCORE, _HIGHEST_SCORE, 61)
    for axis, (network, samples) in zip(axes, scores.items(), strict=False):
        for (name, score), colour in zip(samples.items(), _cycled((BLUE, RED, GREEN), len(samples)), strict=True):
            known = score[np.isfinite(score)]
            if not len(known):
                continue
            held, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
            covered = 100.0 * float((known <= 1.0).mean())
            axis.stairs(100.0 * held / len(known), edges, color=colour, linewidth=1.6, label=f"{name}: {covered:.1f} % covered")
        axis.axvline(1.0, color=BLACK, linestyle="--", linewidth=1.0)
        axis.set_xscale("log")
        axis.set_xlim(edges[0], edges[-1])
        axis.set_title(f"{network} network")
        axis.set_xlabel("score: distance from the training stars (covered up to 1)")
        axis.set_ylim(0, 1.25 * max(axis.get_ylim()[1], 1.0))
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper right", fontsize="small", frameon=False, handlelength=1.0)
    axes[0].set_ylabel("stars per bin [%]")
    return _png(figure)


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    drawn = BytesIO()
    # Without the version of the library, equal figures have equal bytes.
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()


def _panel(axis: Axes, one: Judged, residual: Floats, ranges: tuple[tuple[float, float], tuple[float, float]]) -> None:
    (left, right), (low, high) = ranges
    stars, *edges = np.histogram2d(one.source, residual, bins=_BINS, range=ranges)
    shade = LogNorm(0.5, max(1.0, float(stars.max())))
    axis.pcolormesh(*edges, np.ma.masked_equal(stars.T, 0.0), cmap="Blues", norm=shade, rasterized=True)
    axis.axhline(0.0, color=BLACK, linewidth=0.8)
    x, percentiles = running(one.source, residual, np.linspace(left, right, _RUNNING + 1))
    axis.plot(x, percentiles[:, 1], color=RED, linewidth=1.8, label="median")
    for at, label in ((0, "16 %, 84 %"), (2, None)):
        axis.plot(x, percentiles[:, at], color=RED, linewidth=1.0, linestyle="--", label=label)
    axis.set_xlim(left, right)
    axis.set_ylim(low, high)


def running(x: Floats, y: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Return the middles of bins with enough stars, shape (n,), and the 16th, 50th and 84th percentile of y in them, (n, 3)."""
    number = np.digitize(x, edges) - 1
    filled = [at for at in range(len(edges) - 1) if (number == at).sum() >= _FEWEST]
    middles = (edges[:-1] + edges[1:]) / 2
    percentiles = np.array([np.percentile(y[number == at], (16, 50, 84)) for at in filled]).reshape(-1, 3)
    return middles[filled], percentiles


def _ranges(one: Judged, methods: Sequence[str]) -> tuple[tuple[float, float], tuple[float, float]]:
    if not len(one):
        return (0.0, 1.0), (-1.0, 1.0)
    left, right = np.percentile(one.source, (0.2, 99.8))
    both = np.concatenate([one.estimates[method] - one.reference for method in methods])
    far = float(np.percentile(np.abs(both), 99.2)) or 1.0
    return (float(left), float(max(right, np.nextafter(left, np.inf)))), (-far, far)


def _said(name: str) -> str:
    return QUANTITIES.get(name, name)


def _cycled(colours: Sequence[str], count: int) -> list[str]:
    return [colours[at % len(colours)] for at in range(count)]
