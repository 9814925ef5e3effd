"""Make the pretraining table: XP coefficients scaled to one brightness beside photometry and astrometry, one row per XP source.

Coefficients and their errors are multiplied, once and together, by ``10 ** (0.4 * (G - 8.5))``: every star is placed at
G = 8.5. Where G is not known, ``4e5 / rp_coefficients[0]`` takes its place, which puts the star on about the same scale
(4e5 is the typical first RP coefficient at G = 8.5); `flux_state` says which. Column contract of the pretraining table
of McKay & Fabbro, with errors scaled as well.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.columns import column
from lake.errors import LakeError
from lake.join import Join, join
from lake.partition import Ids
from lake.table import Table

ANCHOR = "gaia_dr3_xp"
REFERENCE_MAG = 8.5
REFERENCE_RP = 4e5
_BLOCKS = ("bp_coefficients", "rp_coefficients", "bp_coefficient_errors", "rp_coefficient_errors")
_FLUXES = tuple(f"phot_{band}_mean_flux" for band in ("g", "bp", "rp"))
_OF_XP = ("bp_standard_deviation", "rp_standard_deviation", "bp_n_relevant_bases", "rp_n_relevant_bases")


def _spelled(survey: str, bands: str, theirs: str) -> dict[str, str]:
    """Return magnitude and error of each band under the names of wide tables, such as ``G_PS1`` and ``E_G_PS1``."""
    names: dict[str, str] = {}
    for band in bands.split():
        wide = theirs.format(band=band.upper())
        names |= {f"{survey}_{band}_mag": wide, f"{survey}_{band}_mag_error": f"E_{wide}"}
    return names


_SKYMAPPER = _spelled("skymapper", "u v g r i z", "{band}_SMSS")
_SDSS = _spelled("sdss", "u g r i z", "{band}_SDSS")
_PS1 = _spelled("ps1", "g r i z y", "{band}_PS1")
_TMASS = _spelled("tmass", "j h ks", "{band}")

# Canonical name -> name in wide tables, in the order in which the original tables stored them; what is new comes last.
# Position stands among the SkyMapper columns because it stood there.
WIDE: Mapping[str, str] = {
    "catwise_w1_mag": "W1",
    "catwise_w2_mag": "W2",
    "phot_g_mean_mag": "G",
    "phot_bp_mean_mag": "BP",
    "phot_rp_mean_mag": "RP",
    "bp_coefficients": "bp_",
    "rp_coefficients": "rp_",
    "bp_coefficient_errors": "bpe_",
    "rp_coefficient_errors": "rpe_",
    "skymapper_u_mag": "U_SMSS",
    "ra": "RA",
    "dec": "DEC",
    **_SKYMAPPER,
    **_SDSS,
    **_PS1,
    **_TMASS,
    "parallax": "PARALLAX",
    "ebv_sfd": "EBV",
    "ruwe": "ruwe",
    "pmra": "pmra",
    "pmdec": "pmdec",
    "pmra_error": "e_pmra",
    "pmdec_error": "e_pmdec",
    "pmra_pmdec_corr": "pmradec_corr",
    "phot_g_mean_flux_error": "g_flux_error",
    "phot_bp_mean_flux_error": "bp_flux_error",
    "phot_rp_mean_flux_error": "rp_flux_error",
    "parallax_error": "e_parallax",
    "phot_g_mean_mag_error": "e_G",
    "phot_bp_mean_mag_error": "e_BP",
    "phot_rp_mean_mag_error": "e_RP",
    "flux_state": "flux_state",
    "xp_scale": "xp_scale",
    "bp_standard_deviation": "bp_standard_deviation",
    "rp_standard_deviation": "rp_standard_deviation",
    "bp_n_relevant_bases": "bp_n_relevant_bases",
    "rp_n_relevant_bases": "rp_n_relevant_bases",
}
COLUMNS = tuple(WIDE)
_OF_CATWISE = ("catwise_w1_mag", "catwise_w2_mag")
_COMPUTED = ("phot_g_mean_mag_error", "phot_bp_mean_mag_error", "phot_rp_mean_mag_error", "flux_state", "xp_scale")
_OF_OTHERS: Mapping[str, tuple[str, ...]] = {
    "catwise_andrae2023": _OF_CATWISE,
    "skymapper_dr4": tuple(_SKYMAPPER),
    "sdss_dr13": tuple(_SDSS),
    "panstarrs1_dr1": tuple(_PS1),
    "tmass_psc": tuple(_TMASS),
    "dust_sfd": ("ebv_sfd",),
}
_ELSEWHERE = {*_BLOCKS, *_OF_XP, *_COMPUTED, *(name for names in _OF_OTHERS.values() for name in names)}
_OF_SOURCE = tuple(name for name in COLUMNS if name not in _ELSEWHERE)
SOURCES: Mapping[str, tuple[str, ...]] = {
    ANCHOR: (*_BLOCKS, *_OF_XP),
    "gaia_dr3_source": (*_OF_SOURCE, *_FLUXES),
    **_OF_OTHERS,
}


def pretrain(tables: Mapping[str, Table], *, wide: bool = False) -> Join:
    """Prepare the pretraining table as a lazy join; nothing is read.

    Parameters
    ----------
    tables
        The lake's tables by name. XP is required; where another one is not in the lake, its columns are null.
    wide
        Spell list columns out as bp_1 ... bp_55, rp_1 ..., bpe_1 ..., rpe_1 ..., and use the names W1, W2, G, BP, RP, ...

    Raises
    ------
    LakeError
        If the lake has no XP table.
    """
    if ANCHOR not in tables:
        raise LakeError(
            f"the pretraining table starts from {ANCHOR}, which is not in the lake; `gaialake ingest {ANCHOR} --raw PATH...`"
        )
    present = [name for name in SOURCES if name in tables]
    columns = {name: SOURCES[name] for name in present}
    return join([tables[name] for name in present], columns=columns, how="left", then=_wide if wide else assemble)


def assemble(table: pa.Table) -> pa.Table:
    """Scale the XP block, add magnitude errors and provenance, and order the columns (see `COLUMNS`)."""
    rows = table.num_rows
    have = {name: table[name].combine_chunks() for name in table.column_names}
    scale, state = _scale(have, rows)
    have |= {name: _scaled(have[name], scale) for name in _BLOCKS}
    have["flux_state"] = state
    have["xp_scale"] = pa.array(scale, from_pandas=True)
    for band in ("g", "bp", "rp"):
        flux, error = (have.get(f"phot_{band}_mean_{what}") for what in ("flux", "flux_error"))
        if flux is not None and error is not None:
            have[f"phot_{band}_mean_mag_error"] = magnitude_error(flux, error)
    arrays = {name: have[name] if name in have else pa.nulls(rows, column(name).type) for name in COLUMNS}
    return pa.table({"source_id": have["source_id"], **arrays})


def magnitude_error(flux: pa.Array, error: pa.Array) -> pa.Array:
    """Return the standard error of a magnitude [mag] from a flux and its error; null where the flux is not positive."""
    relative = pc.divide(pc.cast(error, pa.float64()), pc.if_else(pc.greater(flux, 0), flux, pa.scalar(None, flux.type)))
    return pc.cast(pc.multiply(relative, 2.5 / np.log(10)), pa.float32())


def _scale(have: Mapping[str, pa.Array], rows: int) -> tuple[np.ndarray, pa.Array]:
    """Return the factor of every row (NaN where there is none) and the rule it follows."""
    first = np.full(rows, np.nan)
    rp = have["rp_coefficients"]
    there = np.asarray(pc.is_valid(rp))
    if there.any():
        first[there] = rp.filter(pa.array(there)).flatten().to_numpy(zero_copy_only=False)[:: rp.type.list_size]
    with np.errstate(divide="ignore", invalid="ignore"):
        by_rp = np.where(first > 0, REFERENCE_RP / first, np.nan)
    mag = have.get("phot_g_mean_mag")
    g = np.full(rows, np.nan) if mag is None else mag.to_numpy(zero_copy_only=False).astype(np.float64)
    by_g = 10 ** (0.4 * (g - REFERENCE_MAG))
    scale = np.where(np.isfinite(by_g), by_g, by_rp)
    state = np.where(np.isfinite(by_g), "g_8.5", np.where(np.isfinite(by_rp), "rp_1", "unscaled"))
    return scale, pa.array(state.astype(object), pa.string())


def _scaled(block: pa.Array, scale: np.ndarray) -> pa.Array:
    """Multiply a list column row by row; a row without factor becomes null, so that no raw flux passes for a scaled one."""
    size, kind = block.type.list_size, block.type.value_type
    good = np.asarray(pc.is_valid(block)) & np.isfinite(scale)
    values = block.filter(pa.array(good)).flatten()
    product = pc.cast(pc.multiply(pc.cast(values, pa.float64()), pa.array(np.repeat(scale[good], size))), kind, safe=False)
    listed = pa.FixedSizeListArray.from_arrays(product, type=pa.list_(pa.field("element", kind), size))
    if good.all():
        return listed
    index: Ids = np.cumsum(good) - 1
    return listed.take(pa.array(index, mask=~good))


def _wide(table: pa.Table) -> pa.Table:
    return spelled(assemble(table))


def spelled(narrow: pa.Table) -> pa.Table:
    """Return an assembled table under the names of wide tables, with one scalar column per element of a list."""
    columns = {"source_id": narrow["source_id"]}
    for name, theirs in WIDE.items():
        values = narrow[name].combine_chunks()
        if not pa.types.is_fixed_size_list(values.type):
            columns[theirs] = values
            continue
        for k in range(values.type.list_size):
            columns[f"{theirs}{k + 1}"] = pc.list_element(values, k)
    return pa.table(columns)
