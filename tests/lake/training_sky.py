"""Make a small SYNTHETIC fine-tune table in which nothing is wrong, for tests that plant one defect in it."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from astropy_healpix import HEALPix

from lake.columns import column
from lake.finetune import FINETUNE_COLUMNS, LABEL_PAIRS, PROVENANCE, WIDE_LABELS
from lake.join import Join
from lake.partition import Grid
from lake.pretrain import COLUMNS as PRETRAIN
from lake.pretrain import spelled
from lake.split import split_of

N_COEFFICIENTS = 55
# Brightest magnitudes that SDSS and Pan-STARRS measure well; what is brighter is null.
_LIMITS = {"sdss": 14.1, "ps1": 13.5, "skymapper": 9.0}
_BANDS = {"catwise": "w1 w2", "skymapper": "u v g r i z", "sdss": "u g r i z", "ps1": "g r i z y", "tmass": "j h ks"}
_COLOUR = {
    "u": 1.6,
    "v": 1.3,
    "g": 0.6,
    "r": 0.05,
    "i": -0.3,
    "z": -0.45,
    "y": -0.55,
    "j": -1.1,
    "h": -1.5,
    "ks": -1.7,
    "w1": -1.75,
}
_ERROR_AT, _ERROR = (1.9, 2.27, 2.7, 3.25, 4.48, 7.0), (0.55, 0.74, 1.2, 2.8, 18.0, 800.0)


def good_table(leaf_ids: np.ndarray, seed: int = 5) -> pa.Table:
    """Return rows under canonical names for some ids (ascending): magnitudes follow colours, errors follow brightness."""
    rng = np.random.default_rng(seed)
    n = len(leaf_ids)
    g, colour = rng.uniform(9, 18.5, n), rng.uniform(0.5, 2.2, n)
    held = {"phot_g_mean_mag": g, "phot_bp_mean_mag": g + 0.45 * colour, "phot_rp_mean_mag": g - 0.55 * colour}
    for survey, bands in _BANDS.items():
        for band in bands.split():
            mag = g + _COLOUR.get(band, -1.8) * colour + 0.1 + 0.03 * rng.normal(size=n)
            error = 0.01 + 0.02 * 10 ** (0.2 * (g - 18)) * rng.uniform(0.8, 1.2, n)
            gone = (rng.random(n) < 0.1) | (mag < _LIMITS.get(survey, -10)) | (mag > 20.5)
            held |= {
                f"{survey}_{band}_mag": np.where(gone, np.nan, mag),
                f"{survey}_{band}_mag_error": np.where(gone, np.nan, error),
            }
    lon, lat = HEALPix(nside=4096, order="nested").healpix_to_lonlat(leaf_ids >> 35)
    held |= {"ra": lon.to_value("deg"), "dec": lat.to_value("deg"), "ebv_sfd": rng.uniform(0.01, 0.5, n)}
    held |= {"pmra_pmdec_corr": rng.uniform(-0.3, 0.3, n), "xp_scale": 10 ** (0.4 * (g - 8.5))}
    held |= _labels(rng, n)
    columns: dict[str, pa.Array] = {"source_id": pa.array(leaf_ids, pa.int64())} | _spectra(rng, g)
    columns |= {"flux_state": pa.array(["g_8.5"] * n), "split": split_of(leaf_ids)}
    for name in (*FINETUNE_COLUMNS,):
        if name not in columns:
            kind = column(name).type
            values = held.get(name, rng.uniform(0.5, 1.5, n) if pa.types.is_floating(kind) else rng.integers(1, 3, n))
            columns[name] = pa.array(values, from_pandas=True).cast(kind)
    return pa.table({name: columns[name] for name in ("source_id", *FINETUNE_COLUMNS)})


def _labels(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    teff, logg = rng.uniform(3800, 6800, n), rng.uniform(0.5, 4.9, n)
    held = {
        "teff": teff,
        "logg": logg,
        "m_h": rng.normal(-0.3, 0.4, n),
        "mg_fe": rng.normal(0.1, 0.1, n),
        "age": rng.uniform(0.5, 13, n),
    }
    held |= {"teff_error": 40, "logg_error": 0.06, "m_h_error": 0.05, "mg_fe_error": 0.04, "age_error": 0.2 * held["age"] + 0.3}
    for name in WIDE_LABELS:
        gone = rng.random(n) < 0.05
        error = held[f"{name}_error"] * rng.uniform(0.8, 1.3, n)
        held |= {name: np.where(gone, np.nan, held[name]), f"{name}_error": np.where(gone, np.nan, error)}
    return held


def _spectra(rng: np.random.Generator, g: np.ndarray) -> dict[str, pa.Array]:
    """XP values scaled to G = 8.5: errors are those of real spectra (see jobs.sky_xp), before scaling."""
    n = len(g)
    scale = 10 ** (0.4 * (g - 8.5))
    order = 0.8 ** np.arange(N_COEFFICIENTS)
    made = {}
    for band in ("bp", "rp"):
        first = 4e5 / scale * rng.uniform(0.8, 1.2, n)
        error = 10 ** np.interp(np.log10(first), _ERROR_AT, np.log10(_ERROR))
        values = first[:, None] * order * np.where(np.arange(N_COEFFICIENTS) == 0, 1, rng.normal(size=(n, N_COEFFICIENTS)))
        errors = error[:, None] * order * rng.uniform(0.8, 1.2, (n, N_COEFFICIENTS))
        for name, block, kind in (("coefficients", values, pa.float64()), ("coefficient_errors", errors, pa.float32())):
            flat = pa.array((block * scale[:, None]).ravel()).cast(kind)
            made[f"{band}_{name}"] = pa.FixedSizeListArray.from_arrays(
                flat, type=pa.list_(pa.field("element", kind), N_COEFFICIENTS)
            )
    return made


def widened(table: pa.Table) -> pa.Table:
    """Return the same rows under wide names, in the order of the lake's wide fine-tune table."""
    features = spelled(table.select(["source_id", *PRETRAIN]))
    held = {"source_id": table["source_id"]} | {LABEL_PAIRS[name]: table[name] for name in LABEL_PAIRS}
    held |= {name: features[name] for name in features.column_names if name != "source_id"}
    held["spec_source"] = pa.array(["apogee_dr17"] * table.num_rows)
    return pa.table(held | {name: table[name] for name in PROVENANCE})


@dataclass(frozen=True, eq=False)
class Sky:
    """The function of a join that gives the rows of a good table instead of what was read, leaf by leaf."""

    table: pa.Table
    grid: Grid
    wide: bool = False

    def __call__(self, read: pa.Table) -> pa.Table:
        """Return the rows of the leaf in which the rows lie that were read."""
        rows = self.table.slice(0, 0)
        if read.num_rows:
            leaf = int(self.grid.leaf(read["source_id"].to_numpy()[:1])[0])
            low, high = np.searchsorted(self.table["source_id"].to_numpy(), self.grid.id_edges[leaf : leaf + 2])
            rows = self.table.slice(low, high - low)
        return widened(rows) if self.wide else rows


def ids_in(join: Join, n: int, seed: int = 8) -> np.ndarray:
    """Return ascending ids in the leaves where a join has rows, and in the same patches of the sky."""
    rng = np.random.default_rng(seed)
    leaves = [k for k, piece in enumerate(join.tables[0].pieces) if piece.key is not None]
    edges = join.grid.id_edges
    own = rng.choice(leaves, n)
    return np.unique(edges[own] + (rng.random(n) * (edges[own + 1] - edges[own] - 1)).astype(np.int64) + 1)


def sky_join(join: Join, table: pa.Table, *, wide: bool = False) -> Join:
    """Return a join that reads as before, and gives the rows of a good table."""
    return replace(join, then=Sky(table, join.grid, wide))


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    """Replace a column."""
    made = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, from_pandas=True)
    return table.set_column(table.column_names.index(name), name, made)
