"""Model the spectra of the SYNTHETIC sky: a flux from stellar labels, and its coefficients on GaiaXPy's BP and RP bases.

Nothing here is a measurement. Legend of shapes: N stars, W = 343 published wavelengths, V = 396 of the model (wider than
both bands), K = 55 coefficients of one band.
"""

import contextlib
import io
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lake.errors import LakeError

Floats = NDArray[np.float64]

WAVELENGTHS: Floats = np.arange(336.0, 1021.0, 2.0)
MODEL_WAVELENGTHS: Floats = np.arange(310.0, 1101.0, 2.0)
SAMPLED = slice(13, 13 + len(WAVELENGTHS))
N_COEFFICIENTS = 55
_SECOND_RADIATION = 1.438777e7  # h c / k [nm K]
_CHUNK = 4096


@dataclass(frozen=True)
class _Feature:
    """One absorption feature, ln depth = strength exp(-((log10 Teff - at) / over)^2 / 2) 10^(metal [Fe/H] + gravity (logg - 4)).

    Attributes
    ----------
    centre, width
        Wavelength and Gaussian width before the spectrograph's own [nm].
    """

    centre: float
    width: float
    strength: float
    at: float
    over: float
    metal: float = 0.0
    gravity: float = 0.0


def _balmer(centre: float, strength: float) -> _Feature:
    return _Feature(centre, 2.0, strength, 3.96, 0.085, 0.0, 0.10)


def _band(centre: float, width: float, strength: float, *, at: float = 3.47, over: float = 0.045) -> _Feature:
    return _Feature(centre, width, strength, at, over, 0.15, 0.0)


# Strengths are set by eye on real XP spectra; only their order of magnitude and trends matter.
_FEATURES = (
    *(_balmer(*line) for line in ((656.3, 0.55), (486.1, 0.60), (434.0, 0.60), (410.2, 0.55), (397.0, 0.5), (388.9, 0.45))),
    _Feature(350.0, 11.0, 0.9, 3.97, 0.08, 0.0, -0.10),  # Balmer jump
    _Feature(366.0, 9.0, 0.9, 3.70, 0.12, 0.30, 0.0),  # iron blanketing
    _Feature(395.0, 4.0, 1.1, 3.70, 0.11, 0.25, 0.0),  # Ca H and K
    _Feature(385.0, 4.0, 0.5, 3.66, 0.07, 0.30, -0.08),  # CN
    _Feature(422.7, 2.0, 0.5, 3.58, 0.06, 0.25, 0.10),  # Ca I
    _Feature(430.5, 3.0, 0.40, 3.70, 0.08, 0.25, 0.0),  # CH, the G band
    _Feature(438.0, 14.0, 0.25, 3.66, 0.10, 0.35, 0.0),  # iron blanketing
    _Feature(517.5, 5.0, 0.35, 3.63, 0.09, 0.25, 0.12),  # Mg b and MgH
    _Feature(527.0, 4.0, 0.12, 3.65, 0.10, 0.30, 0.0),  # Fe I
    _Feature(589.3, 2.0, 0.35, 3.56, 0.07, 0.20, 0.12),  # Na D
    _Feature(819.0, 3.0, 0.12, 3.52, 0.05, 0.20, 0.15),  # Na I
    *(_Feature(centre, 2.0, depth, 3.66, 0.12, 0.25, -0.10) for centre, depth in ((849.8, 0.12), (854.2, 0.22), (866.2, 0.18))),
    *(_Feature(centre, 4.0, 0.12, 3.98, 0.08, 0.0, 0.05) for centre in (875.0, 886.3, 901.5, 922.9)),  # Paschen
    *(_band(*band) for band in ((458.0, 6.0, 0.5), (476.0, 7.0, 0.8), (496.0, 7.0, 0.9), (520.0, 8.0, 0.7), (545.0, 7.0, 0.8))),
    *(_band(*band) for band in ((562.0, 7.0, 0.5), (590.0, 8.0, 0.8), (618.0, 9.0, 1.0), (668.0, 9.0, 0.9), (712.0, 10.0, 1.1))),
    *(_band(*band) for band in ((768.0, 8.0, 0.9), (848.0, 9.0, 0.7), (885.0, 8.0, 0.5), (935.0, 12.0, 0.5))),
    *(_band(*band, at=3.42, over=0.03) for band in ((740.0, 8.0, 0.8), (790.0, 8.0, 0.7))),  # VO
)


def product(left: Floats, right: Floats) -> Floats:
    """Multiply matrices without BLAS, whose last bits change with its number of threads (and the sky with them)."""
    return np.asarray(np.einsum("ij,jk->ik", left, right))


def model_flux(teff: Floats, logg: Floats, fe_h: Floats, extinction: Floats) -> Floats:
    """Compute SYNTHETIC spectra: Planck curve times absorption features times an extinction curve, (N, V).

    Parameters
    ----------
    extinction
        At 541.4 nm [mag].

    Returns
    -------
    flux
        Per wavelength, in an arbitrary unit of its own for each star (mean 1 over `WAVELENGTHS`); never missing.
    """
    log_teff = np.log10(teff)[:, None]
    at = np.array([feature.at for feature in _FEATURES])
    over = np.array([feature.over for feature in _FEATURES])
    strength = np.log([feature.strength for feature in _FEATURES])
    metal = np.array([feature.metal for feature in _FEATURES])
    gravity = np.array([feature.gravity for feature in _FEATURES])
    metallicity, surface = np.clip(fe_h, -3.0, 0.6)[:, None], (logg - 4.0)[:, None]
    depth = np.exp(strength - 0.5 * ((log_teff - at) / over) ** 2 + np.log(10.0) * (metal * metallicity + gravity * surface))
    exponent = _SECOND_RADIATION / (MODEL_WAVELENGTHS * teff[:, None])
    log_planck = -5.0 * np.log(MODEL_WAVELENGTHS / 600.0) - exponent - np.log1p(-np.exp(-exponent))
    # A power law is a fair optical extinction curve; its bumps are below what XP resolves.
    reddening = 0.4 * np.log(10.0) * (MODEL_WAVELENGTHS / 541.4) ** -1.5
    log_flux = log_planck - product(depth, _profiles()) - extinction[:, None] * reddening
    flux = np.exp(log_flux - log_flux.max(axis=1, keepdims=True))
    return flux / flux[:, SAMPLED].mean(axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _profiles() -> Floats:
    """Return the profiles of the features, peak 1, widened by the line spread of BP and RP, (features, V)."""
    centre = np.array([feature.centre for feature in _FEATURES])[:, None]
    width = np.array([feature.width for feature in _FEATURES])[:, None]
    blue = centre < 640.0
    # Resolution R = 100 to 30 in BP and 100 to 70 in RP (Carrasco et al. 2021).
    resolution = np.where(blue, np.interp(centre, [330, 680], [100, 30]), np.interp(centre, [640, 1050], [100, 70]))
    sigma = np.hypot(width, centre / resolution / 2.355)
    shape = np.exp(-0.5 * ((MODEL_WAVELENGTHS - centre) / sigma) ** 2)
    return np.asarray(shape * width / sigma)


@dataclass(frozen=True)
class Bases:
    """GaiaXPy's bases, and the linear map that projects a flux on them.

    Attributes
    ----------
    design
        Flux [W m-2 nm-1] at each published wavelength per unit coefficient, BP then RP, as GaiaXPy merges them: (2 K, W).
    projection
        Model flux to coefficients, BP then RP: (V, 2 K).
    passbands
        Mean flux in G, BP and RP per unit coefficient: (2 K, 3).
    zero_points
        Vega magnitudes of unit flux in G, BP and RP: (3,).
    """

    design: Floats
    projection: Floats
    passbands: Floats
    zero_points: Floats


@lru_cache(maxsize=1)
def load_bases() -> Bases:
    """Read the bases of BP and RP and Gaia's passbands from GaiaXPy's own files.

    Raises
    ------
    LakeError
        If GaiaXPy is not installed, or its grid of wavelengths has changed.
    """
    try:
        import matplotlib

        # Imported here because GaiaXPy is an optional extra. Its import leaves a file of its own open to the collector, and
        # switches all plots of the process to LaTeX: the one is not ours to hear of, the other is undone.
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
            from gaiaxpy.core.config import get_file, load_xpmerge_from_xml, load_xpsampling_from_xml
    except ImportError as error:
        raise LakeError(
            f"the synthetic sky needs GaiaXPy for the bases of BP and RP ({error}); run pip install 'gaialake[demo]'"
        ) from error
    grid, merge = load_xpmerge_from_xml()
    if not np.array_equal(grid, WAVELENGTHS):
        raise LakeError(f"GaiaXPy samples spectra from {grid[0]} to {grid[-1]} nm, not from 336 to 1020; use gaiaxpy 2.1")
    sampled = load_xpsampling_from_xml()
    bands = load_xpsampling_from_xml(system="GaiaDr3Vega")
    points = ElementTree.parse(get_file("filter", "filter", "GaiaDr3Vega", "v375wi", "v142r")).getroot().find("zeropoints")
    return Bases(
        design=np.concatenate([sampled[band] * merge[band] for band in ("bp", "rp")]),
        projection=np.concatenate([_projection("bpC03_v375wi", (326, 690)), _projection("rpC03_v142r", (610, 1100))], axis=1),
        passbands=np.concatenate([bands["bp"], bands["rp"]]),
        zero_points=np.array([float(point.text or "nan") for point in (points if points is not None else [])]),
    )


# Amplitude of coefficient k over coefficient 0 in bright sources of the bulk sample, to a factor of two.
_PRIOR_AT = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 54)
_PRIOR = (1.0, 0.3, 0.03, 0.012, 0.009, 0.008, 0.003, 0.0008, 0.0004, 0.0004, 0.0002, 0.00004)
_PRIOR_SCALE, _TOLERANCE = 1.5, 0.003


def _projection(model: str, band: tuple[int, int]) -> Floats:
    """Solve min |T^t c - r flux|^2 / s^2 + sum (c_k / a_k)^2 for c, as a matrix (V, K); T holds photons per coefficient.

    The fit is made in photons, where the noise is even, on the whole band: in flux the blind ends of the response would
    dominate, and on the published grid the part of BP beyond 640 nm would be free. The ridge is the prior knowledge that
    coefficients shrink with their order (a_k); without it the inverse of the line spread fills the high orders.
    """
    from gaiaxpy.calibrator.external_instrument_model import ExternalInstrumentModel
    from gaiaxpy.config.paths import config_path
    from gaiaxpy.spectrum.sampled_basis_functions import SampledBasisFunctions

    files = [str(Path(config_path) / f"{model}_{what}.csv") for what in ("dispersion", "response", "bases")]
    with contextlib.redirect_stdout(io.StringIO()):  # the parser announces itself
        instrument = ExternalInstrumentModel.from_config_csv(*files)
    known = instrument.response["wavelength"]
    inside = (max(band[0], known[0]) <= MODEL_WAVELENGTHS) & (min(band[1], known[-1]) >= MODEL_WAVELENGTHS)
    response = np.where(inside, np.clip(instrument.get_response(MODEL_WAVELENGTHS), 0.0, None), 0.0)
    # With a response of 1 the design matrix is photons over wavelength, defined also where the instrument is blind.
    instrument.response = {"wavelength": np.linspace(200.0, 1200.0, 6), "response": np.ones(6)}
    photons = SampledBasisFunctions.from_external_instrument_model(MODEL_WAVELENGTHS, np.ones(len(MODEL_WAVELENGTHS)), instrument)
    # Six digits, as in GaiaXPy's own tables: its last bits change with the number of BLAS threads.
    unit = 10.0 ** np.floor(np.log10(np.abs(photons.get_design_matrix()).max(axis=1, keepdims=True)))
    design: Floats = np.round(photons.get_design_matrix() / unit, 6) * unit
    position = instrument.wl_to_pwl(MODEL_WAVELENGTHS)
    on_detector = (position > 0) & (position < instrument.bases["pwlRangeMax"])
    weight = np.where(on_detector, MODEL_WAVELENGTHS / 600.0 * np.sqrt(np.abs(np.gradient(position, MODEL_WAVELENGTHS))), 0.0)
    amplitude = np.exp(np.interp(np.arange(N_COEFFICIENTS), _PRIOR_AT, np.log(_PRIOR))) * _PRIOR_SCALE / np.abs(design[0]).max()
    scaled = (design * amplitude[:, None] * weight).T
    normal = product(scaled.T, scaled) + _TOLERANCE**2 * np.eye(N_COEFFICIENTS)
    solved = product(np.asarray(np.linalg.inv(normal), dtype=np.float64), scaled.T) * amplitude[:, None]
    return np.asarray((solved * (weight * response)).T)


@dataclass(frozen=True)
class Spectra:
    """SYNTHETIC noise-free spectra of N stars.

    Attributes
    ----------
    coefficients
        BP then RP [electron / s]: (N, 2 K).
    magnitudes
        G, BP, RP [mag, Vega] that GaiaXPy's passbands give for the coefficients: (N, 3).
    scale
        Flux [W m-2 nm-1] of a model flux of 1: (N,).
    """

    coefficients: Floats
    magnitudes: Floats
    scale: Floats


def spectra(teff: Floats, logg: Floats, fe_h: Floats, extinction: Floats, g_mag: Floats) -> Spectra:
    """Project the SYNTHETIC model fluxes of stars (see `model_flux`) on the bases, scaled to the G magnitudes asked for."""
    bases = load_bases()
    coefficients = np.empty((len(g_mag), 2 * N_COEFFICIENTS))
    for start in range(0, len(g_mag), _CHUNK):
        part = slice(start, start + _CHUNK)
        coefficients[part] = product(model_flux(teff[part], logg[part], fe_h[part], extinction[part]), bases.projection)
    unscaled = _vega(product(coefficients, bases.passbands), bases)
    scale = 10 ** (-0.4 * (g_mag - unscaled[:, 0]))
    return Spectra(coefficients * scale[:, None], unscaled + (g_mag - unscaled[:, 0])[:, None], scale)


def _vega(bands: Floats, bases: Bases) -> Floats:
    """Return magnitudes of mean fluxes (N, 3)."""
    return np.asarray(bases.zero_points - 2.5 * np.log10(bands))
