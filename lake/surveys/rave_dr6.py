"""Declare the labels of RAVE DR6: MADERA parameters, GAUGUIN abundances on them, velocities, and RAVE's match to Gaia EDR3.

File: one export of the query below; its tables are ``ravedr6.dr6_madera``, ``dr6_gauguin_madera``, ``dr6_sparv``,
``dr6_obsdata`` and ``dr6_x_gaiaedr3``. Ids of EDR3 are those of DR3. Several observations of a star: the best signal is kept.
MADERA's flag is 0 where it converged and 1 where it did not (documentation of RAVE at AIP): labels of 1 are null. Keeping only 1,
as a published training table did, keeps exactly the failures. 2 to 4 are cautionary and stay.
Names: queries that others published. Not verified: what 2 to 4 mean (taken from the same pipeline's flag in DR4 and DR5), and
that the service answers asynchronous requests, which some users report as refused.
"""

from lake.declaration import Adql, Mask, Raw, Relation, Where
from lake.survey import Survey, beyond

_QUERY = """
SELECT x.source_id, m.rave_obs_id, o.ra_input, o.dec_input, s.hrv_sparv, s.hrv_error_sparv,
       m.teff_cal_madera, m.teff_error_madera, m.logg_cal_madera, m.logg_error_madera, m.m_h_cal_madera, m.m_h_error_madera,
       m.snr_madera, m.algo_conv_madera, g.fe_h_gauguin, g.fe_h_error_gauguin, g.alpha_fe_gauguin, g.alpha_fe_error_gauguin,
       x.phot_g_mean_mag
FROM ravedr6.dr6_madera AS m
JOIN ravedr6.dr6_x_gaiaedr3 AS x ON x.rave_obs_id = m.rave_obs_id
JOIN ravedr6.dr6_obsdata AS o ON o.rave_obs_id = m.rave_obs_id
JOIN ravedr6.dr6_sparv AS s ON s.rave_obs_id = m.rave_obs_id
LEFT JOIN ravedr6.dr6_gauguin_madera AS g ON g.rave_obs_id = m.rave_obs_id
WHERE {column} BETWEEN {low} AND {high}
"""
_LABELS = ("teff", "logg", "m_h", "fe_h", "alpha_fe")

SURVEY = Survey(
    name="rave_dr6",
    title="RAVE DR6 stellar parameters (MADERA) and abundances (GAUGUIN)",
    release="dr6",
    kind="labels",
    citation="Steinmetz et al. 2020, AJ 160, 82 and 83",
    licence="RAVE terms of use: cite the papers and the DOIs of the tables",
    source="https://www.rave-survey.org/",
    patterns=("rave_dr6*", "ravedr6*"),
    dialects=("votable", "archive_csv", "fits"),
    columns={
        "source_id": Raw("source_id"),
        "rave_obs_id": Raw("rave_obs_id"),
        "object_ra": Raw("ra_input"),
        "object_dec": Raw("dec_input"),
        "radial_velocity": Raw("hrv_sparv"),
        "radial_velocity_error": Raw("hrv_error_sparv"),
        "teff": Raw("teff_cal_madera"),
        "teff_error": Raw("teff_error_madera"),
        "logg": Raw("logg_cal_madera"),
        "logg_error": Raw("logg_error_madera"),
        "m_h": Raw("m_h_cal_madera"),
        "m_h_error": Raw("m_h_error_madera"),
        "snr": Raw("snr_madera"),
        "madera_convergence": Raw("algo_conv_madera"),
        "fe_h": Raw("fe_h_gauguin"),
        "fe_h_error": Raw("fe_h_error_gauguin"),
        "alpha_fe": Raw("alpha_fe_gauguin"),
        "alpha_fe_error": Raw("alpha_fe_error_gauguin"),
        "survey_g_mag": Raw("phot_g_mean_mag"),
    },
    required=("source_id", "teff", "logg", "m_h", "madera_convergence"),
    # About 0.2 % of the observations have no Gaia source.
    missing={"source_id": (0,)},
    masks=(
        Mask((*_LABELS, *(f"{label}_error" for label in _LABELS)), Where("madera_convergence", other_than=(0, 2, 3, 4))),
        *(beyond(f"{name}_error") for name in (*_LABELS, "radial_velocity")),
        beyond("radial_velocity", "radial_velocity_error"),
    ),
    duplicates="best",
    best=("-snr",),
    # Dust reddens many stars of the disc, hence the share of outliers; a wrong key shows in the scatter.
    relations=(
        Relation("survey_g_mag", against=("phot_g_mean_mag",), tolerance=0.1, outliers=0.02, scatter=0.1),
        Relation("teff", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.3, scatter=0.8),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=20.0, scatter=0.5),
    ),
    fetch=Adql(_QUERY, column="x.source_id", service="https://www.rave-survey.org/tap", rows=518_387),
    rows=518_387,
)
