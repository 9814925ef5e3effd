"""Declare gaia_source of Gaia DR3: astrometry, photometry and astrophysical parameters of 1.8 billion sources.

Files: the 3,386 bulk files ``GaiaSource_LLLLLL-HHHHHH`` (csv.gz with ECSV header, literal ``null``; or HDF5 with one
dataset per column), named by inclusive ranges of HEALPix level-8 pixels; and exports of the archive (CSV with empty
nulls, ECSV, VOTable, FITS) with any subset of the 152 columns.
Data model: Gaia DR3 documentation, chapter 20.1 (main tables). No quality cut is made here.
One column is added: the zero point of the parallax (Lindegren et al. 2021, by the package of its authors), to be subtracted
from a parallax that stays as published. It is null where the model says nothing: two-parameter solutions, and sources outside
6 < G < 21, 1.1 < nu_eff < 1.9 (five parameters) or 1.24 < pseudocolour < 1.72 (six).
Other releases are refused: their ids look alike, but name other sources.
"""

import numpy as np
import pyarrow as pa

from lake.columns import column, gaia_source
from lake.declaration import Http, Mark
from lake.survey import Survey, same

_COLOUR_OF = {31: "nu_eff_used_in_astrometry", 95: "pseudocolour"}


def _parallax_zero_point(table: pa.Table) -> pa.Table:
    """Append the zero point of the parallax [mas]; null where an input is, or the model does not reach."""
    from zero_point import zpt

    names = ("phot_g_mean_mag", *_COLOUR_OF.values(), "ecl_lat", "astrometric_params_solved")
    given = {name: _floats(table, name) for name in names}
    solved = given["astrometric_params_solved"]
    fits = np.isfinite(given["phot_g_mean_mag"]) & np.isfinite(given["ecl_lat"])
    fits &= np.any([(solved == code) & np.isfinite(given[name]) for code, name in _COLOUR_OF.items()], axis=0)
    made = np.full(table.num_rows, np.nan)
    if fits.any():
        zpt.load_tables()
        made[fits] = zpt.get_zpt(*(values[fits] for values in given.values()), _warnings=False)
    values = pa.array(made.astype(np.float32), mask=np.isnan(made))
    return table.append_column(column("parallax_zero_point").field(), values)


def _floats(table: pa.Table, name: str) -> np.ndarray:
    """Return a column, NaN for null; all NaN if the table is without it."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return table[name].to_numpy(zero_copy_only=False).astype(np.float64)


SURVEY = Survey(
    name="gaia_dr3_source",
    title="Gaia DR3 main source table",
    release="dr3",
    kind="astrometry",
    citation="Gaia Collaboration, Vallenari et al. 2023, A&A 674, A1",
    licence="ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://cdn.gea.esac.esa.int/Gaia/gdr3/gaia_source/",
    # The archive names the results of a job by its number.
    patterns=("GaiaSource_*.csv.gz", "GaiaSource_*.hdf5", "gaia_dr3_source*", "[0-9]*-result.*"),
    dialects=("bulk_csv", "hdf5", "archive_csv", "ecsv", "votable", "fits"),
    columns=same("source_id") | same(" ".join(entry.name for entry in gaia_source.COLUMNS)),
    required=("source_id", "ra", "dec", "parallax", "phot_g_mean_mag"),
    marks=(
        Mark("designation", prefix="Gaia DR3 "),
        Mark("solution_id", low=1636148068921376768, high=1636148068921376768),
        Mark("ref_epoch", low=2016.0, high=2016.0),
    ),
    foreign={
        "a_g_val": "Gaia DR2",
        "e_bp_min_rp_val": "Gaia DR2",
        "astrometric_weight_al": "Gaia DR2",
        "mean_varpi_factor_al": "Gaia DR2",
        "priam_flags": "Gaia DR2",
        "dr2_radial_velocity": "Gaia EDR3",
        "astrometric_delta_q": "Gaia DR1",
    },
    made=("parallax_zero_point",),
    clean=_parallax_zero_point,
    fetch=Http(listing="https://cdn.gea.esac.esa.int/Gaia/gdr3/gaia_source/_MD5SUM.txt", names="GaiaSource_*.csv.gz"),
    rows=1_811_709_771,
)
