"""Measure on SYNTHETIC pairs how good a translator is: beside doing nothing and a quadratic ridge, and against the truth.

    python tests/translators.py galah_dr3_on_apogee_dr17 --stars 12000 --seed 1

Percentiles must cover the noise-free truth as often as they promise; that is counted on the test split, and on a second draw of
stars that neither trained nor chose anything, without those that the cuts reject: flagged stars are worse than their errors say.
"""

import argparse
import time
from dataclasses import replace

import numpy as np

from jobs.terminal import say, table
from jobs.translating import REALISATIONS, show_quality
from models.translation import TRANSLATIONS
from models.translation_judges import judged
from models.translation_quality import quality
from models.translator import Translator
from models.translator_config import PRESETS
from models.translator_fit import train
from models.translator_predict import translate
from models.translator_stars import common_stars
from tests.models.pairs import pairs


def covered(translator: Translator, name: str, stars: int, seed: int) -> list[tuple[str, ...]]:
    """Return label, stars, offset from the truth and its error, scatter about it, and coverages, on a draw of its own."""
    held = pairs(stars, seed, name)
    said = translate(held.table, translator, realisations=REALISATIONS)
    stars_used = common_stars(held.table, translator.translation, translator.config, seed=translator.seed)
    ids = stars_used.measured.source_id
    rows = []
    for label in translator.translation.labels:
        low, mid, high, p05, p95 = (
            said[f"{label.name}_{end}"].to_numpy().astype(float) for end in ("p16", "p50", "p84", "p05", "p95")
        )
        usable = ids[stars_used.usable[:, stars_used.measured.columns.index(label.name)]]
        good = np.isfinite(mid) & np.isin(held.table["source_id"].to_numpy(), usable)
        off = (mid - held.truth[label.name])[good]
        inside = ((held.truth[label.name] >= low) & (held.truth[label.name] <= high))[good].mean()
        wide = ((held.truth[label.name] >= p05) & (held.truth[label.name] <= p95))[good].mean()
        figures = (np.median(off), off.std() / np.sqrt(len(off)), 1.4826 * np.median(np.abs(off - np.median(off))), inside, wide)
        rows.append((label.name, f"{good.sum():,}", *(f"{value:.4g}" for value in figures)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="galah_dr3_on_apogee_dr17", choices=list(TRANSLATIONS))
    parser.add_argument("--stars", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", default="small", choices=list(PRESETS))
    parser.add_argument("--ensemble", type=int, help="networks, if not those of the preset")
    options = parser.parse_args()
    config = PRESETS[options.preset]()
    if options.ensemble:
        config = replace(config, ensemble=options.ensemble)
    sample, begun, cpu = pairs(options.stars, options.seed, options.name), time.monotonic(), time.process_time()
    made = train(sample.table, TRANSLATIONS[options.name], config, seed=0)
    spent, used = time.monotonic() - begun, time.process_time() - cpu
    say(f"trained on {len(sample):,} synthetic pairs in {spent:.0f} s, {used:.0f} s of CPU")
    labels = judged(sample.table, made, realisations=REALISATIONS, truth=sample.truth)
    metrics = quality(labels)
    show_quality(metrics)
    say("share of the test split whose truth lies within percentiles:")
    shares = [
        (name, *(f"{held['coverage'][f'truth_{what}']:.3f}" for what in ("p16_p84", "p05_p95"))) for name, held in metrics.items()
    ]
    table(("label", "16 to 84", "5 to 95"), shares, right=(1, 2))
    say("against the truth of other synthetic stars, that nothing was learnt from:")
    heads = ("label", "stars", "median offset", "+-", "scatter (MAD)", "in 16-84", "in 5-95")
    table(heads, covered(made, options.name, 20_000, options.seed + 76), right=(1, 2, 3, 4, 5, 6))
