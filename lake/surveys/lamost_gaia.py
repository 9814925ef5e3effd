"""Declare the value-added LAMOST DR8 catalogue with Gaia EDR3 ids: labels learnt from PASTEL and from APOGEE.

File: ``lamost-dr8-gaiaedr3.fits``, one binary table. Teff, logg and [Fe/H] are on the scale of PASTEL; a second logg and [Fe/H],
and [M/H], [alpha/Fe], [C/Fe] and [N/Fe], are on that of APOGEE: other scales, other names. Ids of EDR3 are those of DR3. -9999
and -99999 are null. The spectra are those of `lamost_dr8`: never count both as independent measurements.
Names: programs that read this file. Not verified: whether a star stands in several rows (the smallest error is kept), and the
limits that the authors advise.
"""

from lake.declaration import Raw, Relation
from lake.survey import Survey, beyond

_LABELS = {
    "teff": ("TEFF_PASTEL", "err_teff_pastel"),
    "logg": ("LOGG_PASTEL", "err_logg_pastel"),
    "fe_h": ("FEH_PASTEL", "err_feh_pastel"),
    "m_h": ("MH_APOGEE", "err_mh_apogee"),
    "alpha_fe": ("AFE_APOGEE", "err_afe_apogee"),
    "c_fe": ("CFE_APOGEE", "err_cfe_apogee"),
    "n_fe": ("NFE_APOGEE", "err_nfe_apogee"),
    "logg_apogee_scale": ("LOGG_APOGEE", "err_logg_apogee"),
    "fe_h_apogee_scale": ("FEH_APOGEE", "err_feh_apogee"),
    "radial_velocity": ("rv", "err_rv"),
}
_COLUMNS = {name: Raw(raw) for label, raws in _LABELS.items() for name, raw in zip((label, f"{label}_error"), raws, strict=True)}

SURVEY = Survey(
    name="lamost_gaia",
    title="LAMOST DR8 value-added labels on the scales of PASTEL and APOGEE, with Gaia EDR3 ids",
    release="dr8",
    kind="labels",
    citation="Wang et al. 2022, ApJS 259, 51",
    licence="LAMOST value-added catalogue; acknowledge LAMOST and cite the paper",
    source="http://www.lamost.org/dr8/v1.0/doc/vac",
    patterns=("lamost-dr8-gaiaedr3*", "lamost_dr8_gaiaedr3*"),
    dialects=("fits", "archive_csv"),
    columns={"source_id": Raw("source_id"), "object_ra": Raw("ra_obs"), "object_dec": Raw("dec_obs"), **_COLUMNS},
    required=("source_id", "teff", "logg", "fe_h"),
    missing={"source_id": (0, -9999), **dict.fromkeys(_COLUMNS, (-9999.0, -99999.0))},
    masks=(*(beyond(f"{name}_error") for name in _LABELS), beyond("radial_velocity", "radial_velocity_error")),
    duplicates="best",
    best=("teff_error",),
    # Dust reddens many stars of the disc, hence the share of outliers; a wrong key shows in the scatter.
    relations=(
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.3, scatter=0.8),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=30.0, scatter=0.5),
    ),
)
