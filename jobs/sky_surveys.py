"""Make SEGUE, RAVE, Gaia-ESO and Pristine of the SYNTHETIC sky.

Nothing here is a measurement. Columns come in the vocabulary's units, with the sentinels of the real files.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from jobs.sky_observed import NULL, Visits, gone, labels, noise, one_file, positions, share, signal, visits
from jobs.sky_plan import File, Plan
from jobs.sky_population import Stars, normals, uniforms
from jobs.sky_xp import Columns

_SEGUE_SHARE, _RAVE_SHARE, _ESO_SHARE, _PRISTINE_SHARE = 0.06, 0.3, 0.05, 0.2
_SEGUE_EPOCH, _ESO_EPOCH = 2004.0, 2000.0
_HOT = 7500.0
# Photometric minus true [Fe/H], and its scatter.
PHOTOMETRIC_OFFSET, PHOTOMETRIC_SCATTER = -0.05, 0.18
_G_PER_EBV, _CAHK_PER_EBV, _EBV_PER_A0 = 2.5, 4.0, 0.32


def segue_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC spectra of faint northern stars; -9999 for all labels of those with a critical flag."""
    faint = (stars.magnitudes[:, 0] > 14.0) & (stars.dec > -20.0) & (stars.teff < _HOT)
    seen = visits(stars, seed, "segue_sspp", faint & (share(stars, seed, "segue_sspp") < _SEGUE_SHARE))
    drawn = noise(stars, seed, "segue_sspp", seen)
    snr = signal(stars, seen, drawn, at_ten=600.0)
    critical = drawn[:, 1] > 1.8
    flag = np.select([critical & (drawn[:, 2] > 0.0), critical, drawn[:, 3] > 1.5], ["Ennnn", "Vnnnn", "nnngn"], "nnnnn")
    made = labels(stars, seed, "segue_sspp", seen, snr)
    colour = stars.magnitudes[seen.star, 1] - stars.magnitudes[seen.star, 2]
    return {
        "segue_spec_id": pa.array([f"{1_000_000 + 8 * star + visit}" for star, visit in zip(seen.star, seen.visit, strict=True)]),
        "segue_plate": 1500 + stars.number[seen.star] // 640 % 2000,
        "segue_mjd": 53_000 + 300 * seen.visit,
        "segue_fiber": 1 + stars.number[seen.star] % 640,
        **positions(stars, seed, "segue_sspp", seen, _SEGUE_EPOCH),
        "sspp_flag": pa.array(flag),
        **{name: gone(values, critical, NULL) for name, values in made.items()},
        "snr": snr,
        "segue_g_mag": gone(stars.magnitudes[seen.star, 0] + 0.35 * colour - 0.1 + 0.02 * drawn[:, 4], drawn[:, 5] > 2.0, NULL),
    }


def rave_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC observations of bright southern stars with RAVE's match to Gaia; some did not converge."""
    bright = (stars.magnitudes[:, 0] < 14.0) & (stars.dec < 2.0) & (stars.teff < _HOT)
    seen = visits(stars, seed, "rave_dr6", bright & (share(stars, seed, "rave_dr6") < _RAVE_SHARE), strays=False)
    drawn = noise(stars, seed, "rave_dr6", seen)
    snr = signal(stars, seen, drawn, at_ten=90.0)
    made = labels(stars, seed, "rave_dr6", seen, snr)
    state = np.select([drawn[:, 1] > 2.2, drawn[:, 1] > 1.7, drawn[:, 1] < -2.0], [1, 2, 3], 0)
    # What does not converge wanders off, so that a cut on the wrong value of the flag shows.
    made["teff"] = np.where(state == 1, 3500.0 + 4000.0 * (drawn[:, 2] > 0.0), made["teff"])
    alpha = np.clip(-0.2 * stars.fe_h[seen.star], -0.1, 0.4)
    measured = (drawn[:, 3] > -1.0) & (snr > 20.0)
    return {
        "source_id": stars.source_id[seen.star],
        "rave_obs_id": pa.array(
            [f"20{4 + visit:02d}0{1 + star % 9}1{star % 10}_{star:07d}_{1 + star % 150:03d}" for star, visit in _pairs(seen)]
        ),
        **positions(stars, seed, "rave_dr6", seen, _ESO_EPOCH),
        **{name: values for name, values in made.items() if not name.startswith("fe_h")},
        "m_h": made["fe_h"],
        "m_h_error": made["fe_h_error"],
        "snr": snr,
        "madera_convergence": state,
        "fe_h": gone(stars.fe_h[seen.star] - 0.05 + 0.1 * drawn[:, 4], ~measured),
        "fe_h_error": gone(np.full(len(seen), 0.1), ~measured),
        "alpha_fe": gone(alpha + 0.1 * drawn[:, 5], ~measured),
        "alpha_fe_error": gone(np.full(len(seen), 0.1), ~measured),
        "survey_g_mag": stars.magnitudes[seen.star, 0] + 0.002 * drawn[:, 6],
    }


def _pairs(seen: Visits) -> list[tuple[int, int]]:
    return list(zip(seen.star.tolist(), seen.visit.tolist(), strict=True))


def gaia_eso_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC Gaia-ESO targets, one row each, some without labels, vsini often a limit."""
    chosen = (stars.dec < 10.0) & (stars.magnitudes[:, 0] < 18.5) & (share(stars, seed, "gaia_eso") < _ESO_SHARE)
    seen = visits(stars, seed, "gaia_eso", chosen)
    seen = seen.take((seen.visit == 0) | seen.stray)
    drawn = noise(stars, seed, "gaia_eso", seen)
    snr = signal(stars, seen, drawn, at_ten=700.0)
    failed, limit = drawn[:, 1] > 1.6, drawn[:, 2] > 0.5
    made = labels(stars, seed, "gaia_eso", seen, snr)
    member = stars.cluster[seen.star] > 0
    return {
        "ges_object": pa.array([f"{star:08d}{visit:d}-0000000" for star, visit in _pairs(seen)]),
        "ges_field": pa.array(np.where(member, "GES_CL", "GES_MW_00_00")),
        "ges_type": pa.array(np.where(member, "GE_CL", "GE_MW")),
        **positions(stars, seed, "gaia_eso", seen, _ESO_EPOCH),
        **{name: values if name.startswith("radial") else gone(values, failed) for name, values in made.items()},
        "vsini": np.exp(2.0 + 0.5 * drawn[:, 3]),
        "vsini_error": np.full(len(seen), 1.0),
        "ges_vsini_limit": limit.astype(np.int16),
        "ges_flags": pa.array(np.where(failed, "SRP", "")),
        "snr": snr,
    }


def pristine_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC photometric metallicities of a fifth of the XP sources, some of them outside the grid."""
    cool = stars.has_xp & (stars.teff > 4000.0) & (stars.teff < 7000.0)
    star = np.flatnonzero(cool & (share(stars, seed, "pristine") < _PRISTINE_SHARE))
    drawn = normals(seed, "pristine", 0, (len(stars), 6))[star]
    ebv = _EBV_PER_A0 * stars.extinction[star] * np.exp(0.1 * drawn[:, 0])
    fe_h = np.clip(stars.fe_h[star] + PHOTOMETRIC_OFFSET + PHOTOMETRIC_SCATTER * drawn[:, 1], -3.999, 0.8)
    width = PHOTOMETRIC_SCATTER * (1.0 - 0.4 * np.minimum(stars.fe_h[star], 0.0))
    outside = uniforms(seed, "pristine grid", 0, (len(stars), 1))[star, 0] < 0.04
    g, bp, rp = stars.magnitudes[star].T
    return {
        "source_id": stars.source_id[star],
        "object_ra": stars.ra[star],
        "object_dec": stars.dec[star],
        "fe_h_photometric": gone(fe_h, outside),
        "fe_h_photometric_lower": gone(np.maximum(fe_h - width, -4.0), outside),
        "fe_h_photometric_upper": gone(fe_h + 0.8 * width, outside),
        "pristine_valid_fraction": np.where(outside, 0.1, 1.0),
        "pristine_ebv": ebv,
        "pristine_g_mag_corrected": g - _G_PER_EBV * ebv,
        "pristine_cahk_mag_corrected": g + 2.5 * (bp - rp) - 0.3 + 0.15 * fe_h - _CAHK_PER_EBV * ebv,
        "pristine_cstar": 0.01 * drawn[:, 2],
        "pristine_cstar_scatter": np.full(len(star), 0.012),
    }


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "segue_sspp": one_file("ssppOut-dr12.fits", "fits", segue_columns),
    "rave_dr6": one_file("rave_dr6.xml", "votable", rave_columns),
    "gaia_eso": one_file("gaia_eso.fits", "fits", gaia_eso_columns),
    "pristine": one_file("PGS_metallicities.csv.gz", "archive_csv", pristine_columns),
}
