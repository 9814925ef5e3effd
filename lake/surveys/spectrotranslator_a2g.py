"""Declare the labels of APOGEE DR17 on the base of GALAH DR3, as SpectroTranslator translates them.

File: ``a2g.dat`` of CDS catalogue J/A+A/690/A54, 675,857 records of 913 bytes; bytes, formats and labels are those of its
ReadMe. All else is as in `lake.surveys.spectrotranslator_g2a`: flags, masks, order of percentiles, choice among rows. Here
the table calls its metallicity [M/H], though the base that it is on has [Fe/H]. APOGEE observed some stars more than once,
so its names and source_ids repeat. Not verified: as in the other table.
"""

from lake.declaration import Http, Raw, Relation
from lake.survey import Survey
from lake.surveys.spectrotranslator_g2a import BEST, flag_columns, label_columns, limits, tell_order

SURVEY = Survey(
    name="spectrotranslator_a2g",
    title="SpectroTranslator: APOGEE DR17 on the base of GALAH DR3",
    release="2024-08",
    kind="labels",
    citation="Thomas, Battaglia, Gran et al. 2024, A&A 690, A54",
    licence="CC BY 4.0 (article); CDS catalogue J/A+A/690/A54, credit required",
    source="https://cdsarc.cds.unistra.fr/viz-bin/cat/J/A+A/690/A54",
    patterns=("a2g.dat", "a2g.dat.gz"),
    dialects=("fixed_width",),
    columns={"source_id": Raw("GaiaDR3", at=(21, 39)), "apogee_id": Raw("APOGEE", at=(1, 19))}
    | label_columns("Teff", "teff", (41, 60), (62, 81), (83, 102), (104, 123), (125, 144), (146, 169))
    | label_columns("logg", "logg", (171, 192), (194, 215), (217, 238), (240, 261), (263, 284), (286, 306))
    | label_columns("[M/H]", "metallicity", (308, 329), (331, 352), (354, 375), (377, 398), (400, 421), (423, 443))
    | label_columns("[Mg/Fe]", "mg_fe", (445, 466), (468, 489), (491, 512), (514, 535), (537, 558), (560, 580))
    | label_columns("HV", "velocity", (582, 603), (605, 626), (628, 648), (650, 671), (673, 694), (696, 716))
    | flag_columns((718, 722), (724, 728), (730, 890), (892, 896), (898, 902), (904, 908), (910, 913)),
    required=("source_id", "apogee_id", "teff_p50"),
    missing={"source_id": (0, -1, -9999)},
    masks=limits(),
    made=("percentiles_ordered",),
    clean=tell_order,
    duplicates="best",
    best=BEST,
    relations=(
        # Most of these stars lie in the plane, where dust reddens them.
        Relation("teff_p50", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1000.0, outliers=0.3, scatter=0.9),
        Relation("velocity_p50", against=("radial_velocity",), tolerance=20.0, outliers=0.2, scatter=0.6),
    ),
    fetch=Http(urls=("https://cdsarc.cds.unistra.fr/ftp/J/A+A/690/A54/a2g.dat.gz",)),
    rows=675_857,
)
