"""Declare the stellar parameters of A, F, G and K stars of LAMOST DR8 v2.0 (low resolution), one row per spectrum.

Files: ``dr8_v2.0_LRS_stellar.csv.gz`` (text with ``|`` or ``,`` between cells) or ``.fits.gz``; -9999 is null, in errors as
well. Names: the schema under which SDSS-V loaded DR8; `ra`, `dec` are the input catalogue's position, `ra_obs`, `dec_obs`
that of the fibre. The catalogue's gaia_source_id is Gaia DR2's (data description of DR8), which names other sources in DR3
and is left alone: rows are matched by position. Input positions come from several catalogues: those of 1,300 real rows agree
with Gaia to 0.07 arcsec at any epoch from 2000 to 2010, and are off by their proper motion at 2016.
Labels of hot stars, which the LAMOST pipeline cannot fit, are replaced by the Hot Payne's for the same spectrum. No cut is
made: label errors and the signal-to-noise ratio of each band stand beside.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Http, Override, Position, Raw, Relation
from lake.survey import Survey, beyond

_LABELS = ("teff", "teff_error", "logg", "logg_error", "fe_h", "fe_h_error")
_FILE = "dr8_v2.0_LRS_stellar.csv.gz"
_URL = f"http://www.lamost.org/dr8/v2.0/catdl?name={_FILE}"
_BANDS = tuple(f"lamost_snr_{band}" for band in "ugriz")
_MEASURED = ("redshift", "redshift_error", "radial_velocity", "radial_velocity_error", "alpha_m", "alpha_m_error", "survey_g_mag")


def _name_spectra(table: pa.Table) -> pa.Table:
    """Name each spectrum as Xiang et al. (2022) do: date without dashes, plan, spectrograph (2 digits), fibre (3)."""
    date = pc.replace_substring(table["lamost_obsdate"], "-", "")
    spectrograph = pc.utf8_lpad(table["lamost_spid"].cast(pa.string()), 2, "0")
    fibre = pc.utf8_lpad(table["lamost_fiberid"].cast(pa.string()), 3, "0")
    return table.append_column(
        "lamost_spec_id", pc.binary_join_element_wise(date, table["lamost_planid"], spectrograph, fibre, "-")
    )


SURVEY = Survey(
    name="lamost_dr8",
    title="LAMOST DR8 v2.0 low-resolution stellar parameters, hot stars from the Hot Payne",
    release="dr8 v2.0",
    kind="labels",
    citation="Luo et al. 2015, RAA 15, 1095; Wu et al. 2014, IAU Symp. 306, 340; hot stars: Xiang et al. 2022, A&A 662, A66",
    licence="LAMOST data policy; acknowledge LAMOST (National Astronomical Observatories, CAS)",
    source=_URL,
    patterns=("*dr8_v2.0_LRS_stellar*",),
    dialects=("pipe_csv", "archive_csv", "fits"),
    columns={
        "lamost_obsid": Raw("obsid"),
        "lamost_designation": Raw("designation"),
        "lamost_obsdate": Raw("obsdate"),
        "lamost_lmjd": Raw("lmjd"),
        "lamost_planid": Raw("planid"),
        "lamost_spid": Raw("spid"),
        "lamost_fiberid": Raw("fiberid"),
        "object_ra": Raw("ra"),
        "object_dec": Raw("dec"),
        **{name: Raw(f"snr{name[-1]}") for name in _BANDS},
        "spectral_class": Raw("class"),
        "spectral_subclass": Raw("subclass"),
        "redshift": Raw("z"),
        "redshift_error": Raw("z_err"),
        "teff": Raw("teff"),
        "teff_error": Raw("teff_err"),
        "logg": Raw("logg"),
        "logg_error": Raw("logg_err"),
        "fe_h": Raw("feh"),
        "fe_h_error": Raw("feh_err"),
        "radial_velocity": Raw("rv"),
        "radial_velocity_error": Raw("rv_err"),
        "alpha_m": Raw("alpha_m"),
        "alpha_m_error": Raw("alpha_m_err"),
        "survey_g_mag": Raw("gaia_g_mean_mag"),
    },
    # Without date, plan, spectrograph and fibre no spectrum would find its Hot Payne labels.
    required=(
        "lamost_obsid",
        "lamost_obsdate",
        "lamost_planid",
        "lamost_spid",
        "lamost_fiberid",
        "object_ra",
        "object_dec",
        "teff",
        "logg",
        "fe_h",
    ),
    missing=dict.fromkeys((*_LABELS, *_BANDS, *_MEASURED), (-9999.0,)),
    masks=(
        *(beyond(f"{name}_error") for name in ("teff", "logg", "fe_h", "alpha_m", "redshift", "radial_velocity")),
        beyond("radial_velocity", "radial_velocity_error"),
    ),
    made=("lamost_spec_id",),
    clean=_name_spectra,
    match=Position(epoch=2005.0, radius=2.0),
    override=Override("lamost_hotpayne", on=("lamost_spec_id",), columns=_LABELS),
    duplicates="best",
    best=("-lamost_snr_g",),
    fetch=Http(urls=(f"{_URL}#{_FILE}",)),
    # Dust reddens many stars of the disc, hence the share of outliers; a wrong key shows in the scatter.
    relations=(
        Relation("survey_g_mag", against=("phot_g_mean_mag",), tolerance=0.3, outliers=0.05, scatter=0.3),
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.3, scatter=0.8),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=30.0, scatter=0.5),
    ),
)
