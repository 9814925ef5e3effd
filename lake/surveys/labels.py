"""Declare a table of labels of the user's own: parameters and errors from whatever survey, one row per measurement.

File: an astropy table written as HDF5 (one compound dataset), or as FITS or Parquet, with ``gdr3_source_id``,
``params_est`` and ``params_err``, three numbers a row: effective temperature in units of 1000 K, [Fe/H], log g. Ids may
repeat: the measurement with the smallest error of the temperature, then of [Fe/H], then of log g is kept, and their number
counted. Ids of 0, -1, -9999 and 999999 stand for stars without a Gaia source. Nothing is masked: the table is as good as its
maker.
"""

from lake.declaration import Raw, Relation
from lake.survey import Survey

_ORDER = (("teff", "kK"), ("fe_h", ""), ("logg", ""))

SURVEY = Survey(
    name="labels",
    title="Labels of the user's own",
    release="user",
    kind="labels",
    citation="the surveys that the labels were taken from",
    licence="that of the surveys that the labels were taken from",
    source="written by the user: an astropy table with gdr3_source_id, params_est and params_err",
    patterns=("*training_params*", "*stellar_params*", "*labels*.h5", "*labels*.hdf5", "*labels*.fits*", "*labels*.parquet"),
    dialects=("hdf5_table", "fits", "parquet"),
    columns={"source_id": Raw("gdr3_source_id")}
    | {name: Raw("params_est", unit=unit, element=k) for k, (name, unit) in enumerate(_ORDER)}
    | {f"{name}_error": Raw("params_err", unit=unit, element=k) for k, (name, unit) in enumerate(_ORDER)},
    required=("source_id", "teff", "fe_h", "logg"),
    missing={"source_id": (0, -1, -9999, 999999)},
    duplicates="best",
    best=("teff_error", "fe_h_error", "logg_error"),
    relations=(
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.2, scatter=0.9),
    ),
)
