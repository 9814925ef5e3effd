"""Declare table 1 of Andrae, Rix & Chandra (2023): CatWISE photometry matched to Gaia XP sources, and XGBoost labels.

File: ``table_1_catwise.fits.gz`` of Zenodo record 7945154, one binary table of 174,922,161 rows. Magnitudes are Vega
and NaN where a source has no CatWISE counterpart; the labels come from XP spectra and are no independent measurement.
The match was made by the authors, so no crossmatch of ours is involved and no magnitude errors are given.
"""

from lake.declaration import Http, Raw, Relation
from lake.survey import Survey, same

SURVEY = Survey(
    name="catwise_andrae2023",
    title="CatWISE W1 and W2 of Gaia XP sources",
    release="2023-05",
    kind="photometry",
    citation="Andrae, Rix & Chandra 2023, ApJS 267, 8; Marocco et al. 2021, ApJS 253, 8",
    licence="CC BY 4.0 (Zenodo 7945154)",
    source="https://zenodo.org/records/7945154",
    patterns=("table_1_catwise.fits", "table_1_catwise.fits.gz"),
    dialects=("fits",),
    columns=same("source_id")
    | {"catwise_w1_mag": Raw("catwise_w1"), "catwise_w2_mag": Raw("catwise_w2")}
    | same("in_training_sample mh_xgboost teff_xgboost logg_xgboost"),
    required=("source_id", "catwise_w1_mag", "catwise_w2_mag"),
    relations=(Relation("catwise_w1_mag", against=("phot_g_mean_mag", ("phot_bp_mean_mag", "phot_rp_mean_mag")), tolerance=1.0),),
    fetch=Http(urls=("https://zenodo.org/records/7945154/files/table_1_catwise.fits.gz?download=1",)),
    rows=174_922_161,
)
