"""Make the LAMOST catalogues of the SYNTHETIC sky: spectra of DR8, the Hot Payne, metal-poor stars, the value-added table.

Nothing here is a measurement. Columns come in the vocabulary's units, with the sentinels of the real files.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from jobs.sky_observed import NULL, SCALES, Visits, gone, labels, noise, one_file, positions, share, signal, visits
from jobs.sky_plan import File, Plan
from jobs.sky_population import Floats, Stars
from jobs.sky_spectroscopy import bent, truth
from jobs.sky_xp import Columns

_SHARE = 0.05
_SOUTHERN_LIMIT = -10.0
_HOT = 7500.0  # Teff from which the Hot Payne fits [K]
_LASP_LIMIT = 8400.0  # and which the LAMOST pipeline never gives more than [K]
_HOT_PAYNE_SHARE = 0.9
_FAINTEST = 18.0  # G [mag]
_ID_WIDTH = 36
_METAL_POOR, _LI_ROWS = -1.5, 291
_FIBRES, _SPECTROGRAPHS = 250, 16
ALPHA_ERROR = 0.05


def _seen(stars: Stars, seed: int) -> Visits:
    """Observe the north: one star in twenty, and every hot star bright enough."""
    seen = (stars.dec > _SOUTHERN_LIMIT) & (stars.magnitudes[:, 0] < _FAINTEST)
    wanted = (share(stars, seed, "lamost_dr8") < _SHARE) | (stars.teff > _HOT)
    return visits(stars, seed, "lamost_dr8", seen & wanted)


def _identity(stars: Stars, seen: Visits) -> dict[str, pa.Array]:
    """Name each spectrum by plan, spectrograph and fibre, so that no two are alike."""
    number = stars.number[seen.star]
    plan, place = number // (_FIBRES * _SPECTROGRAPHS), number % (_FIBRES * _SPECTROGRAPHS)
    days = 15_271 + (7 * plan + 397 * seen.visit + 31 * seen.stray) % 2800
    return {
        "lamost_obsid": pa.array(101_000_000 + 8 * number + 2 * seen.visit + seen.stray),
        "lamost_obsdate": pa.array(np.datetime_as_string(days.astype("datetime64[D]"))),
        "lamost_lmjd": pa.array(40_588 + days),
        "lamost_planid": pa.array(np.char.add("GAC", np.char.zfill((100 + plan).astype(str), 4))),
        "lamost_spid": pa.array(1 + place // _FIBRES),
        "lamost_fiberid": pa.array(1 + place % _FIBRES),
    }


def _spec_ids(identity: Mapping[str, pa.Array]) -> list[str]:
    rows = zip(*(identity[f"lamost_{part}"].to_pylist() for part in ("obsdate", "planid", "spid", "fiberid")), strict=True)
    return [f"{date.replace('-', '')}-{plan}-{spid:02d}-{fibre:03d}".ljust(_ID_WIDTH) for date, plan, spid, fibre in rows]


def _designations(place: Mapping[str, Floats]) -> pa.Array:
    """Return names such as J080507.74+003043.5 for positions [deg]."""
    time = np.floor(place["object_ra"] / 15.0 * 360_000.0 + 0.5).astype(np.int64) % 8_640_000
    arc = np.floor(np.abs(place["object_dec"]) * 36_000.0 + 0.5).astype(np.int64)
    sign = np.where(place["object_dec"] < 0, "-", "+")
    hours = [f"{t // 360_000:02d}{t // 6000 % 60:02d}{t % 6000 / 100:05.2f}" for t in time.tolist()]
    degrees = [f"{a // 36_000:02d}{a // 600 % 60:02d}{a % 600 / 10:04.1f}" for a in arc.tolist()]
    return pa.array([f"J{h}{s}{d}" for h, s, d in zip(hours, sign.tolist(), degrees, strict=True)], pa.string())


def _places(stars: Stars, seed: int, seen: Visits) -> dict[str, Floats]:
    """Take input positions from catalogues of two epochs."""
    return positions(stars, seed, "lamost_dr8", seen, np.where(stars.number[seen.star] % 2, 2000.0, 2010.0))


def alpha(stars: Stars, true: Floats) -> Floats:
    """Return [alpha/M] [dex] on the scale of DR8, without noise, of stars whose true one is given."""
    return true + bent(SCALES["lamost_dr8"].bends, stars)["alpha"]


def dr8_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC spectra of DR8: hot stars at the limit of its pipeline, -9999 where something is missing."""
    seen = _seen(stars, seed)
    drawn = noise(stars, seed, "lamost_dr8", seen)
    snr = signal(stars, seen, drawn, at_ten=350.0)
    made = labels(stars, seed, "lamost_dr8", seen, snr)
    made["teff"] = np.where(made["teff"] > _LASP_LIMIT, _LASP_LIMIT + 10.0 * drawn[:, 1], made["teff"])
    made["radial_velocity_error"] = gone(made["radial_velocity_error"], drawn[:, 2] < -2.0, NULL)
    subclass = np.array(["M0", "K5", "G5", "F5", "A5"])[np.searchsorted([4000.0, 5200.0, 6000.0, 7300.0], stars.teff[seen.star])]
    place = _places(stars, seed, seen)
    alpha_m = alpha(stars, truth(stars, seed).alpha)[seen.star] + ALPHA_ERROR * drawn[:, 3]
    return {
        **_identity(stars, seen),
        "lamost_designation": _designations(place),
        **place,
        **{f"lamost_snr_{band}": snr * factor for band, factor in zip("ugriz", (0.2, 0.7, 1.0, 1.1, 0.8), strict=True)},
        "spectral_class": pa.array(["STAR"] * len(seen)),
        "spectral_subclass": pa.array(subclass),
        "redshift": made["radial_velocity"] / 299_792.458,
        "redshift_error": np.full(len(seen), 2e-5),
        **made,
        "alpha_m": gone(alpha_m, drawn[:, 4] < -1.3, NULL),
        "alpha_m_error": gone(np.full(len(seen), ALPHA_ERROR), drawn[:, 4] < -1.3, NULL),
        # A copy of Gaia DR2's magnitude, which some targets lack.
        "survey_g_mag": gone(stars.magnitudes[seen.star, 0] + 0.01 * drawn[:, 5], drawn[:, 6] < -1.8, NULL),
    }


def hotpayne_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC Hot Payne labels of nine in ten hot spectra of DR8, under the same names, blanks behind."""
    seen = _seen(stars, seed)
    seen = seen.take((stars.teff[seen.star] > _HOT) & (share(stars, seed, "lamost_hotpayne")[seen.star] < _HOT_PAYNE_SHARE))
    drawn = noise(stars, seed, "lamost_hotpayne", seen)
    made = labels(stars, seed, "lamost_hotpayne", seen, signal(stars, seen, drawn, at_ten=350.0))
    return {
        "lamost_spec_id": pa.array(_spec_ids(_identity(stars, seen)), pa.string()),
        **_places(stars, seed, seen),
        **{name: values for name, values in made.items() if not name.startswith("radial")},
        "vsini": np.exp(4.5 + 0.6 * drawn[:, 1]).clip(5.0, 450.0),
        "vsini_error": np.full(len(seen), 8.0),
        "vmic": (2.0 + 0.5 * drawn[:, 2]).clip(0.1, 10.0),
        "vmic_error": np.full(len(seen), 0.3),
    }


def li_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC metal-poor stars with XP spectra, at most as many as the real file holds."""
    draw = share(stars, seed, "li2022")
    metal_poor = np.flatnonzero((stars.fe_h < _METAL_POOR) & stars.has_xp & (stars.teff < _HOT))
    star = np.sort(metal_poor[np.argsort(draw[metal_poor], kind="stable")[:_LI_ROWS]])
    seen = Visits(star, np.zeros_like(star), np.zeros(len(star), dtype=bool))
    drawn = noise(stars, seed, "li2022", seen)
    snr = signal(stars, seen, drawn, at_ten=250.0)
    made = labels(stars, seed, "li2022", seen, snr)
    place = positions(stars, seed, "li2022", seen, 2015.5)
    east = ((place["object_ra"] - stars.ra[star] + 180.0) % 360.0 - 180.0) * np.cos(np.radians(stars.dec[star]))
    return {
        "source_id": stars.source_id[star],
        "star_name": pa.array([f"LAMOST J{number:06d}" for number in star.tolist()], pa.string()),
        **place,
        "snr": snr,
        **{name: values for name, values in made.items() if name != "radial_velocity_error"},
        "logg_flag": pa.array(np.where(drawn[:, 1] > 1.0, "s", "p")),
        "vmic": (1.5 + 0.2 * drawn[:, 2]).clip(0.1, 10.0),
        "vmic_error": np.full(len(star), 0.2),
        "log_luminosity": 10.0 - 0.4 * stars.magnitudes[star, 0],
        "log_luminosity_error": np.full(len(star), 0.1),
        "teff_lamost": stars.teff[star] + 100.0 * drawn[:, 3],
        "logg_lamost": stars.logg[star] + 0.3 * drawn[:, 4],
        "fe_h_lamost": stars.fe_h[star] + 0.2 * drawn[:, 5],
        "has_xp_continuous": np.ones(len(star), dtype=bool),
        "match_separation": 3600.0 * np.hypot(east, place["object_dec"] - stars.dec[star]),
        "survey_g_mag": stars.magnitudes[star, 0] + 0.001 * drawn[:, 6],
    }


def value_added_columns(stars: Stars, seed: int) -> Columns:
    """Return SYNTHETIC labels of the same spectra on the scales of PASTEL and APOGEE, -9999 and -99999 where missing."""
    seen = _seen(stars, seed)
    seen = seen.take(~seen.stray & (stars.teff[seen.star] < _HOT))
    drawn = noise(stars, seed, "lamost_gaia", seen)
    made = labels(stars, seed, "lamost_gaia", seen, signal(stars, seen, drawn, at_ten=350.0))
    giant = stars.logg[seen.star] < 3.5
    place = _places(stars, seed, seen)
    metal = stars.fe_h[seen.star] + 0.02
    on_apogee = {
        "m_h": (metal, 0.05),
        "alpha_fe": (truth(stars, seed).alpha[seen.star], 0.03),
        "c_fe": (np.full(len(seen), -0.1), 0.08),
        "n_fe": (np.full(len(seen), 0.2), 0.08),
        "logg_apogee_scale": (stars.logg[seen.star] - 0.04, 0.06),
        "fe_h_apogee_scale": (metal, 0.05),
    }
    columns = {"source_id": stars.source_id[seen.star], **place, **made}
    for i, (name, (value, error)) in enumerate(on_apogee.items()):
        columns[name] = gone(value + error * drawn[:, i], ~giant & (drawn[:, 6] > 0.5), NULL)
        columns[f"{name}_error"] = gone(np.full(len(seen), error), ~giant & (drawn[:, 6] > 0.5), -99999.0)
    return columns


SURVEYS: Mapping[str, Callable[[Plan], Iterator[File]]] = {
    "lamost_dr8": one_file("dr8_v2.0_LRS_stellar.csv.gz", "pipe_csv", dr8_columns),
    "lamost_hotpayne": one_file("hot_payne.fits.gz", "fits", hotpayne_columns),
    "li2022": one_file("li_et_al_x_gaiaids.fits", "fits", li_columns),
    "lamost_gaia": one_file("lamost-dr8-gaiaedr3.fits", "fits", value_added_columns),
}
