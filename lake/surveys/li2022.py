"""Declare the very metal-poor stars of Li et al. (2022) that have XP spectra: 291 of 385, LAMOST finds followed up with Subaru.

File: ``li_et_al_x_gaiaids.fits``, the paper's table matched by position to Gaia DR3 by its users: source_id as text, the
separation in degrees, Gaia's magnitudes beside. Labels come from high-resolution spectra; Teff-L, logg-L and FeH-L are
LAMOST's own for the same stars. Elemental abundances of the paper are not in this file.
Not verified: the letters of f_logg (a remark on how logg was found).
"""

from lake.declaration import Raw, Relation
from lake.survey import Survey

SURVEY = Survey(
    name="li2022",
    title="Very metal-poor stars of LAMOST and Subaru",
    release="2022-06",
    kind="labels",
    citation="Li et al. 2022, ApJ 931, 147; Aoki et al. 2022, ApJ 931, 146",
    licence="published table, AAS Journals; cite the papers",
    source="https://ui.adsabs.harvard.edu/abs/2022ApJ...931..147L (its table of stars, matched to Gaia DR3 by position)",
    patterns=("li_et_al_x_gaiaids*",),
    dialects=("fits", "archive_csv"),
    columns={
        "source_id": Raw("source_id", text=True),
        "star_name": Raw("ID"),
        "object_ra": Raw("RAdeg"),
        "object_dec": Raw("DEdeg"),
        "radial_velocity": Raw("RVel"),
        "snr": Raw("SNR"),
        "teff": Raw("Teff"),
        "teff_error": Raw("e_Teff"),
        "logg": Raw("logg"),
        "logg_error": Raw("e_logg"),
        "logg_flag": Raw("f_logg"),
        "fe_h": Raw("FeH"),
        "fe_h_error": Raw("e_FeH"),
        "vmic": Raw("vt"),
        "vmic_error": Raw("e_vt"),
        "log_luminosity": Raw("logLum"),
        "log_luminosity_error": Raw("e_logLum"),
        "teff_lamost": Raw("Teff-L"),
        "logg_lamost": Raw("logg-L"),
        "fe_h_lamost": Raw("FeH-L"),
        "has_xp_continuous": Raw("has_xp"),
        "match_separation": Raw("dist", unit="deg"),
        "survey_g_mag": Raw("phot_g_mean_mag"),
    },
    required=("source_id", "teff", "logg", "fe_h"),
    relations=(
        Relation("survey_g_mag", against=("phot_g_mean_mag",), tolerance=0.05, outliers=0.02, scatter=0.1),
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1000.0, outliers=0.3, scatter=0.8),
    ),
    # The paper's stars; a match of one's own may hold them all.
    rows=385,
)
