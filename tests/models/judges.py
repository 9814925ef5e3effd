"""Make the judges of a translation by hand, SYNTHETIC: stars with known residuals, without any network."""

import numpy as np

from models.translation_judges import Judged

UNITS = {"teff": "K", "logg": "dex(cm / s2)", "metallicity": "dex", "mg_fe": "dex", "velocity": "km / s"}
_SIGMAS = np.array([-1.644854, -0.994458, 0.0, 0.994458, 1.644854])
_CENTRES = {"teff": (5_000, 700), "logg": (3.5, 1), "metallicity": (-0.3, 0.4), "mg_fe": (0.1, 0.1), "velocity": (0, 40)}


def judges(name: str = "metallicity", rows: int = 4_000, *, error: float = 0.1, noise: float = 0.05, seed: int = 0) -> Judged:
    """Return SYNTHETIC stars whose label is translated with a true error, on a base with a noise, both in units of the label.

    Doing nothing leaves an offset of 0.3 and a slope of 0.5; the ridge leaves the offset away; ours leaves neither.
    """
    rng = np.random.default_rng(seed)
    centre, width = _CENTRES[name]
    source = centre + width * rng.normal(size=rows)
    ours = source - 0.3 - 0.5 * (source - centre)
    truth = ours + error * rng.normal(size=rows)
    return Judged(
        name,
        UNITS[name],
        np.sort(rng.choice(2**60, rows, replace=False)),
        source,
        truth + noise * rng.normal(size=rows),
        np.full(rows, noise),
        np.full(rows, 1 / (error**2 + noise**2)),
        {"nothing": source, "ridge": source - 0.3, "ours": ours},
        ours[:, np.newaxis] + error * _SIGMAS,
        -0.3 + 0.4 * rng.normal(size=rows),
        np.where(rng.random(rows) < 0.4, 2.5, 4.4),
        np.exp(-0.8 + 0.3 * rng.normal(size=rows)),
        truth,
        7,
    )
