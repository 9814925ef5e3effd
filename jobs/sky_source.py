"""Make the 152 columns of gaia_source for the SYNTHETIC sky. Nothing here is a measurement.

Every number follows from the star's labels, or is drawn to look like the column of 1,000 real rows: size, spread, and where
it is null.
"""

from collections.abc import Mapping
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import BarycentricTrueEcliptic, SkyCoord
from numpy.typing import NDArray

from jobs.sky_population import Flags, Floats, Stars, normals, uniforms
from jobs.sky_xp import has_sampled, masked

_SOLUTION = 1636148068921376768
_ZERO_POINTS = {"g": 25.6874, "bp": 25.3385, "rp": 24.7479}  # Vega magnitude of one electron / s (Riello et al. 2021)
_KM_S = 4.74047  # km/s of one au a year
_CORRELATED = ("ra", "dec", "parallax", "pmra", "pmdec")


def source_columns(stars: Stars, seed: int) -> Mapping[str, Any]:
    """Return the SYNTHETIC rows of gaia_source as canonical name -> values; masked values are null in the archive."""
    first = int(stars.number[0]) if len(stars) else 0
    draw = uniforms(seed, "source", first, (len(stars), 48))
    noise = normals(seed, "source noise", first, (len(stars), 64))
    two = (stars.magnitudes[:, 0] > 18.0) & (draw[:, 0] < 0.06)
    five = (stars.magnitudes[:, 0] < 18.4) & (draw[:, 1] < 0.93) & ~two
    columns: dict[str, Any] = _identity(stars, seed)
    columns |= _astrometry(stars, noise, two)
    columns |= _fit(stars, draw, noise, two, five)
    columns |= _image(draw, noise)
    columns |= _photometry(stars, draw, noise)
    columns |= _velocity(stars, draw, noise)
    columns |= _products(stars, seed, draw)
    return columns | _gspphot(stars, draw, noise)


def _identity(stars: Stars, seed: int) -> dict[str, Any]:
    shuffle = np.uint64(0x9E3779B97F4A7C15) * (stars.source_id.astype(np.uint64) ^ np.uint64(seed))
    return {
        "solution_id": np.full(len(stars), _SOLUTION),
        "designation": pa.array(np.char.add("Gaia DR3 ", stars.source_id.astype(str))),
        "source_id": stars.source_id,
        "random_index": (shuffle >> np.uint64(33)).astype(np.int64),
        "ref_epoch": np.full(len(stars), 2016.0),
    }


def _f4(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _i2(values: Any) -> NDArray[np.int16]:
    return np.asarray(np.clip(values, 0, 32000), dtype=np.int16)


def _astrometry(stars: Stars, noise: Floats, two: Flags) -> dict[str, Any]:
    """Return position, parallax and motion; parallax and motion are null in two-parameter solutions."""
    bright = np.maximum(stars.magnitudes[:, 0], 13.0)
    level = 0.018 * 10.0 ** (0.2 * (bright - 13.0)) * (1.0 + 0.02 * (bright - 13.0) ** 2) * np.exp(0.2 * noise[:, 0])
    error = {name: _f4(level * size) for name, size in zip(_CORRELATED, (0.85, 0.78, 1.0, 1.08, 0.98), strict=True)}
    parallax = 1000.0 / stars.distance - 0.03 + error["parallax"] * noise[:, 1]
    speed = np.select([stars.fe_h < -1.0, stars.fe_h < -0.4], [150.0, 60.0], 30.0)
    own = np.where(stars.cluster > 0, 1.0, speed)  # members of a cluster move together
    pmra, pmdec = (
        (own * noise[:, i] - 8.0 * i + 15.0) / (_KM_S * stars.distance / 1000.0) + level * noise[:, i + 2] for i in (2, 3)
    )
    columns: dict[str, Any] = {"ra": stars.ra, "dec": stars.dec, "ra_error": error["ra"], "dec_error": error["dec"]}
    solved: dict[str, Any] = {
        "parallax": parallax,
        "parallax_error": error["parallax"],
        "parallax_over_error": _f4(parallax / error["parallax"]),
        "pm": _f4(np.hypot(pmra, pmdec)),
        "pmra": pmra,
        "pmra_error": error["pmra"],
        "pmdec": pmdec,
        "pmdec_error": error["pmdec"],
    }
    pairs = [(a, b) for i, a in enumerate(_CORRELATED) for b in _CORRELATED[i + 1 :]]
    for i, (a, b) in enumerate(pairs):
        corr = _f4(np.tanh(0.28 * noise[:, 8 + i]))
        (columns if (a, b) == ("ra", "dec") else solved)[f"{a}_{b}_corr"] = corr
    return columns | {name: masked(values, two) for name, values in solved.items()}


def _fit(stars: Stars, draw: Floats, noise: Floats, two: Flags, five: Flags) -> dict[str, Any]:
    transits = np.clip(36.0 * np.exp(0.35 * noise[:, 18]), 10, 120).astype(int)
    along = transits * 9 - (9 * draw[:, 2]).astype(int)
    bad = (3 * draw[:, 3] ** 4).astype(int)
    excess = np.where(draw[:, 4] < 0.5, 0.0, 0.12 * draw[:, 5] * 10.0 ** (0.12 * np.maximum(stars.magnitudes[:, 0] - 14.0, 0.0)))
    colour = 1.76 - 0.22 * np.clip(stars.magnitudes[:, 1] - stars.magnitudes[:, 2], -0.5, 3.0)
    six = ~two & ~five
    columns: dict[str, Any] = {
        "astrometric_n_obs_al": _i2(along),
        "astrometric_n_obs_ac": _i2(np.where(stars.magnitudes[:, 0] < 13.0, along, 0)),
        "astrometric_n_good_obs_al": _i2(along - bad),
        "astrometric_n_bad_obs_al": _i2(bad),
        "astrometric_gof_al": _f4(0.6 + 1.4 * noise[:, 19]),
        "astrometric_chi2_al": _f4(along * 1.1 * np.exp(0.1 * noise[:, 20])),
        "astrometric_excess_noise": _f4(excess),
        "astrometric_excess_noise_sig": _f4(excess * 8.0),
        "astrometric_params_solved": np.where(two, 3, np.where(five, 31, 95)).astype(np.int16),
        "astrometric_primary_flag": five & (draw[:, 6] < 0.02),
        "nu_eff_used_in_astrometry": masked(_f4(colour), ~five),
        "pseudocolour": masked(_f4(colour + 0.08 * noise[:, 21]), ~six),
        "pseudocolour_error": masked(_f4(0.08 * np.exp(0.5 * noise[:, 22])), ~six),
        "astrometric_matched_transits": _i2(transits),
        "visibility_periods_used": _i2(np.clip(0.45 * transits + 2, 8, 31)),
        "astrometric_sigma5d_max": _f4(0.03 * 10.0 ** (0.2 * np.maximum(stars.magnitudes[:, 0] - 13.0, 0.0))),
        "matched_transits": _i2(transits + 3 * draw[:, 7]),
        "new_matched_transits": _i2(0.4 * transits),
        "matched_transits_removed": _i2(2.2 * draw[:, 8] ** 6),
    }
    corrs = {
        f"{name}_pseudocolour_corr": masked(_f4(np.tanh(0.16 * noise[:, 23 + i])), ~six) for i, name in enumerate(_CORRELATED)
    }
    return columns | corrs


def _image(draw: Floats, noise: Floats) -> dict[str, Any]:
    unknown = draw[:, 9] < 0.018
    strengths = {f"scan_direction_strength_k{k}": masked(_f4(draw[:, 9 + k] ** 1.5 * 0.9), unknown) for k in (1, 2, 3, 4)}
    means = {f"scan_direction_mean_k{k}": masked(_f4(360.0 / k * (draw[:, 13 + k] - 0.5)), unknown) for k in (1, 2, 3, 4)}
    doubled = draw[:, 18] < 0.06
    return {
        "ipd_gof_harmonic_amplitude": _f4(0.027 * np.exp(0.9 * noise[:, 28])),
        "ipd_gof_harmonic_phase": _f4(180.0 * draw[:, 19]),
        "ipd_frac_multi_peak": _i2(np.where(doubled, 60.0 * draw[:, 20], 0.0)),
        "ipd_frac_odd_win": _i2(np.where(draw[:, 21] < 0.04, 70.0 * draw[:, 22], 0.0)),
        "ruwe": _f4(np.where(doubled, 1.1 + 3.0 * draw[:, 20] ** 3, 1.02 * np.exp(0.05 * noise[:, 29]))),
        **strengths,
        **means,
        "duplicated_source": draw[:, 23] < 0.005,
    }


def _photometry(stars: Stars, draw: Floats, noise: Floats) -> dict[str, Any]:
    """Return fluxes and magnitudes; BP and RP are null for some faint sources."""
    columns: dict[str, Any] = {}
    mag: dict[str, NDArray[np.float32]] = {}
    absent = (stars.magnitudes[:, 0] > 19.0) & (draw[:, 24] < 0.12)
    observed = np.clip(300.0 * np.exp(0.4 * noise[:, 30]), 60, 900)
    for i, (band, zero) in enumerate(_ZERO_POINTS.items()):
        flux = 10.0 ** (0.4 * (zero - stars.magnitudes[:, i]))
        transits = observed if band == "g" else observed / 9.0
        error = _f4(np.hypot(np.sqrt(flux + (25.0 if band == "g" else 400.0)) / np.sqrt(transits) * 1.3, 3e-4 * flux))
        flux = np.maximum(flux + error * noise[:, 31 + i], error.astype(np.float64))
        mag[band] = _f4(zero - 2.5 * np.log10(flux))
        none = np.zeros_like(absent) if band == "g" else absent
        columns[f"phot_{band}_n_obs"] = _i2(np.where(none, 0, transits))
        made: dict[str, Any] = {
            "mean_flux": flux,
            "mean_flux_error": error,
            "mean_flux_over_error": _f4(flux / error),
            "mean_mag": mag[band],
        }
        columns |= {f"phot_{band}_{name}": masked(values, none) for name, values in made.items()}
    colour = mag["bp"] - mag["rp"]
    columns["phot_bp_rp_excess_factor"] = masked(_f4(1.16 + 0.06 * colour + 0.01 * noise[:, 34]), absent)
    for i, band in enumerate(("bp", "rp")):
        columns[f"phot_{band}_n_contaminated_transits"] = masked(_i2(1.05 * draw[:, 25 + i] ** 3), absent)
        columns[f"phot_{band}_n_blended_transits"] = masked(_i2(8.0 * draw[:, 27 + i] ** 3), absent)
    columns["phot_proc_mode"] = np.where(draw[:, 29] < 0.95, 0, 1).astype(np.int16)
    pairs: dict[str, Any] = {"bp_rp": colour, "bp_g": mag["bp"] - mag["g"], "g_rp": mag["g"] - mag["rp"]}
    return columns | {name: masked(_f4(values), absent) for name, values in pairs.items()}


def _velocity(stars: Stars, draw: Floats, noise: Floats) -> dict[str, Any]:
    """Return radial velocities of the brighter 41 %, and the columns that only brighter ones of them have."""
    grvs = stars.magnitudes[:, 0] - 0.9 * (stars.magnitudes[:, 0] - stars.magnitudes[:, 2])
    have = (grvs < 15.5) & (stars.teff < 14_000.0) & (draw[:, 30] < 0.97)
    bright, spread = have & (grvs < 12.0), np.select([stars.fe_h < -1.0, stars.fe_h < -0.4], [120.0, 55.0], 30.0)
    error = _f4(0.15 * 10.0 ** (0.2 * np.maximum(grvs - 9.0, 0.0)))
    transits = _i2(np.clip(18.0 * np.exp(0.4 * noise[:, 35]), 3, 60))
    members = np.where(stars.cluster > 0, 6.0 * stars.cluster + noise[:, 36], spread * noise[:, 36])
    for_all: dict[str, Any] = {
        "radial_velocity": _f4(members + error * noise[:, 37]),
        "radial_velocity_error": error,
        "rv_method_used": np.where(grvs < 12.0, 1, 2).astype(np.int16),
        "rv_nb_transits": transits,
        "rv_nb_deblended_transits": _i2(transits * 0.3 * draw[:, 31]),
        "rv_visibility_periods_used": _i2(transits * 0.6 + 1),
        "rv_expected_sig_to_noise": _f4(200.0 * 10.0 ** (-0.3 * np.maximum(grvs - 8.0, 0.0))),
        "rv_time_duration": _f4(700.0 + 240.0 * draw[:, 32]),
        "rv_template_teff": _f4(np.round(np.clip(stars.teff, 3100, 14500) / 250.0) * 250.0),
        "rv_template_logg": _f4(np.round(stars.logg * 2.0) / 2.0),
        "rv_template_fe_h": _f4(np.round(np.clip(stars.fe_h, -3, 0.5) * 4.0) / 4.0),
        "rv_atm_param_origin": np.where(draw[:, 33] < 0.7, 111, 0).astype(np.int16),
        "grvs_mag": _f4(grvs + 0.02 * noise[:, 38]),
        "grvs_mag_error": _f4(0.005 * 10.0 ** (0.25 * np.maximum(grvs - 8.0, 0.0))),
        "grvs_mag_nb_transits": transits,
    }
    for_bright: dict[str, Any] = {
        "rv_renormalised_gof": _f4(0.5 + 1.5 * noise[:, 39]),
        "rv_chisq_pvalue": _f4(draw[:, 34]),
        "rv_amplitude_robust": _f4(error * 8.0),
        "vbroad": _f4(12.0 * np.exp(0.4 * noise[:, 40])),
        "vbroad_error": _f4(3.0 * np.exp(0.5 * noise[:, 41])),
        "vbroad_nb_transits": transits,
        "rvs_spec_sig_to_noise": _f4(150.0 * 10.0 ** (-0.3 * np.maximum(grvs - 8.0, 0.0))),
    }
    return {name: masked(values, ~have) for name, values in for_all.items()} | {
        name: masked(values, ~bright) for name, values in for_bright.items()
    }


def _products(stars: Stars, seed: int, draw: Floats) -> dict[str, Any]:
    sky = SkyCoord(stars.ra * u.deg, stars.dec * u.deg)
    ecliptic = sky.transform_to(BarycentricTrueEcliptic())
    variable = draw[:, 35] < 0.011
    none = np.zeros(len(stars), dtype=bool)
    unclassified = draw[:, 36] < 0.03
    other = 1e-13 * 10.0 ** (5.0 * draw[:, 37])
    return {
        "phot_variable_flag": pa.array(np.where(variable, "VARIABLE", "NOT_AVAILABLE")),
        "l": np.array(sky.galactic.l.deg),
        "b": np.array(sky.galactic.b.deg),
        "ecl_lon": np.array(ecliptic.lon.deg),
        "ecl_lat": np.array(ecliptic.lat.deg),
        "in_qso_candidates": none,
        "in_galaxy_candidates": none,
        "non_single_star": np.where(draw[:, 38] < 0.004, 1, 0).astype(np.int16),
        "has_xp_continuous": stars.has_xp,
        "has_xp_sampled": has_sampled(stars, seed),
        "has_rvs": none,
        "has_epoch_photometry": variable,
        "has_epoch_rv": none,
        "has_mcmc_gspphot": _parametrised(stars, draw),
        "has_mcmc_msc": stars.magnitudes[:, 0] < 18.25,
        "in_andromeda_survey": none,
        "classprob_dsc_combmod_quasar": masked(_f4(other), unclassified),
        "classprob_dsc_combmod_galaxy": masked(_f4(5.0 * other), unclassified),
        "classprob_dsc_combmod_star": masked(_f4(1.0 - 1e-4 * draw[:, 39]), unclassified),
    }


def _parametrised(stars: Stars, draw: Floats) -> Flags:
    return np.asarray((stars.magnitudes[:, 0] < 18.9) & (draw[:, 40] < 0.965))


def _gspphot(stars: Stars, draw: Floats, noise: Floats) -> dict[str, Any]:
    """Return GSP-Phot labels: the true ones with its kind of scatter, [M/H] low and extinction never negative."""
    absent = ~_parametrised(stars, draw)
    scale = 1.0 + np.maximum(stars.magnitudes[:, 0] - 15.0, 0.0) * 0.4
    a0 = np.abs(stars.extinction + 0.06 * scale * noise[:, 45])
    made = {
        "teff": (stars.teff * (1.0 + 0.012 * scale * noise[:, 42]), 8.0 * scale),
        "logg": (stars.logg + 0.07 * scale * noise[:, 43], 0.02 * scale),
        "mh": (np.clip(stars.fe_h - 0.2 + 0.2 * scale * noise[:, 44], -4.1, 0.8), 0.06 * scale),
        "distance": (stars.distance * np.exp(0.05 * scale * noise[:, 46]), 0.03 * scale * stars.distance),
        "azero": (a0, 0.02 * scale),
        "ag": (0.79 * a0, 0.015 * scale),
        "ebpminrp": (0.42 * a0, 0.01 * scale),
    }
    columns: dict[str, Any] = {}
    for name, (value, error) in made.items():
        lowest = 1.0 if name == "distance" else -10.0 if name in ("logg", "mh") else 0.0
        parts = {"": value, "_lower": np.maximum(value - error, lowest), "_upper": value + error}
        columns |= {f"{name}_gspphot{suffix}": masked(_f4(part), absent) for suffix, part in parts.items()}
    library = np.select([stars.teff < 4600.0, stars.teff < 7500.0, stars.teff < 10000.0], ["PHOENIX", "MARCS", "A"], "OB")
    return columns | {"libname_gspphot": pa.array(library, mask=absent)}
