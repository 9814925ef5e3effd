"""Measure on a SYNTHETIC sky what combining labels does to open clusters, whose stars have one [Fe/H] each.

    python tests/clusters.py --stars 200000

It makes the sky, ingests APOGEE, GALAH and LAMOST, trains the translators, and prints per cluster the spread of metallicity
before (the plain mean of what the surveys publish) and after (the combined label on APOGEE's base), and offsets from the truth.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import lake
from jobs.cli import main
from jobs.sky import make_sky
from jobs.sky_population import CLUSTERS
from jobs.sky_spectroscopy import SCALES

SURVEYS = ("gaia_dr3_source", "apogee_dr17", "galah_dr3", "galah_dr4", "lamost_dr8")
TRANSLATIONS = ("galah_dr4_on_apogee_dr17", "galah_dr3_on_apogee_dr17", "lamost_dr8_on_apogee_dr17")
_LABEL = "m_h"


def build(folder: Path, stars: int) -> None:
    """Make the sky and the lake, and train the translators that have enough stars in common."""
    sky = make_sky(folder / "raw", stars=stars, names=SURVEYS)
    lines = [
        ["init", str(folder), "--counts", str(sky.counts), "--leaf-rows", str(max(1, stars // 30))],
        ["--lake", str(folder), "nightly", "--profile", "serial"],
        *(["--lake", str(folder), "train", name, "--profile", "serial"] for name in TRANSLATIONS),
        ["--lake", str(folder), "nightly", "--profile", "serial"],
    ]
    for line in lines:
        main(line)


def members(folder: Path) -> pd.DataFrame:
    """Return the labelled members of clusters: combined and per-survey metallicity, corrections, cluster, truth."""
    truth = pq.read_table(folder / "raw" / "truth.parquet").to_pandas().set_index("source_id")
    frame = lake.open(folder).table("homogenised_labels").to_dask().compute()
    held = frame.join(truth["cluster"])
    return held[held["cluster"].notna() & held[_LABEL].notna()]


def figures(held: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cluster: stars, spread before and after, offset from the truth and from the truth on APOGEE's base."""
    sources = [name.removeprefix(f"{_LABEL}_").removesuffix("_correction") for name in held if name.endswith("_correction")]
    sources = [name for name in dict.fromkeys(sources) if f"{_LABEL}_{name}_correction" in held]
    published = [(held[f"{_LABEL}_{name}"] - held[f"{_LABEL}_{name}_correction"]).astype(float) for name in sources]
    before = pd.concat(published, axis=1).mean(axis=1)
    after = held[_LABEL].astype(float)
    zero, tilt = SCALES["apogee_dr17"].fe_h
    rows = []
    for number, group in held.groupby("cluster"):
        true = CLUSTERS[int(number) - 1][3]
        base = true + zero + tilt * true
        old, new = before[group.index].dropna(), after[group.index]
        rows.append(
            {
                "cluster": int(number),
                "stars": len(new),
                "[Fe/H]": true,
                "spread before": old.std(),
                "after": new.std(),
                "MAD before": _mad(old),
                "MAD after": _mad(new),
                "offset before": old.mean() - true,
                "offset after": new.mean() - true,
                "from the base": new.mean() - base,
                "error": new.std() / np.sqrt(len(new)),
            }
        )
    return pd.DataFrame(rows)


def _mad(values: "pd.Series[float]") -> float:
    return 1.4826 * float((values - values.median()).abs().median())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=200_000, help="stars of the synthetic sky")
    parser.add_argument("--lake", type=Path, help="a lake that an earlier run made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaialake-clusters-") as place:
        if options.lake is None:
            build(Path(place), options.stars)
        print(figures(members(options.lake or Path(place))).round(4).to_string(index=False))
