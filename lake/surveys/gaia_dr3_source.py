"""Declare gaia_source of Gaia DR3: astrometry, photometry and astrophysical parameters of 1.8 billion sources.

Files: the 3,386 bulk files ``GaiaSource_LLLLLL-HHHHHH`` (csv.gz with ECSV header, literal ``null``; or HDF5 with one
dataset per column), named by inclusive ranges of HEALPix level-8 pixels; and exports of the archive (CSV with empty
nulls, ECSV, VOTable, FITS) with any subset of the 152 columns.
Data model: Gaia DR3 documentation, chapter 20.1 (main tables). No quality cut is made here.
Other releases are refused: their ids look alike, but name other sources.
"""

from lake.columns import gaia_source
from lake.declaration import Mark
from lake.survey import Survey, same

SURVEY = Survey(
    name="gaia_dr3_source",
    title="Gaia DR3 main source table",
    release="dr3",
    kind="astrometry",
    citation="Gaia Collaboration, Vallenari et al. 2023, A&A 674, A1",
    licence="ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://cdn.gea.esac.esa.int/Gaia/gdr3/gaia_source/",
    patterns=("GaiaSource_*.csv.gz", "GaiaSource_*.hdf5", "*-result.csv", "*-result.csv.gz", "*-result.fits", "*-result.vot*"),
    dialects=("bulk_csv", "hdf5", "archive_csv", "ecsv", "votable", "fits"),
    columns=same("source_id") | same(" ".join(column.name for column in gaia_source.COLUMNS)),
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
    rows=1_811_709_771,
)
