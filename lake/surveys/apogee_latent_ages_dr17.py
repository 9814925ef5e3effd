"""Declare the latent-space ages of APOGEE DR17 giants (Leung et al. 2023).

File: ``nn_latent_age_dr17.csv.gz``, 733,901 rows in the order of allStar, empty cells where nothing is predicted. One row
filtered from either file would give every later star the age of another, so rows are joined by id, telescope and field,
and refused where the flags beside them are not those of allStar. Age is the mean and Age_Error the scatter of the samples
of the age; LogAge is the decimal logarithm in Gyr.
Advice of the paper, left to the user: flags of allStar zero, relative error below 40 %.
Verified against the paper's repository: names, rows, address. Not verified: a real row.
"""

from lake.columns.apogee import LATENT
from lake.declaration import Http, Keys, Mask, Raw, Relation, Where
from lake.survey import Survey

_LATENT = [f"latent_z{k}" for k in range(LATENT)]

SURVEY = Survey(
    name="apogee_latent_ages_dr17",
    title="Latent-space ages of APOGEE DR17 giants",
    release="dr17",
    kind="labels",
    citation="Leung, Bovy, Mackereth & Miglio 2023, MNRAS 522, 4577",
    licence="MIT (repository of the paper)",
    source="https://github.com/henrysky/astroNN_ages",
    patterns=("nn_latent_age_dr17.csv", "nn_latent_age_dr17.csv.gz"),
    dialects=("archive_csv",),
    match=Keys("apogee_dr17", on=("apogee_id", "telescope", "field"), agree=("apogee_starflag", "apogee_aspcapflag")),
    columns={name: Raw(name.upper()) for name in ("apogee_id", "telescope", "field")}
    | {"apogee_starflag": Raw("STARFLAG"), "apogee_aspcapflag": Raw("ASPCAPFLAG")}
    | {name: Raw(name.removeprefix("latent_")) for name in _LATENT}
    | {"age": Raw("Age"), "age_error": Raw("Age_Error"), "log_age": Raw("LogAge"), "log_age_error": Raw("LogAge_Error")},
    required=("apogee_id", "telescope", "field", "apogee_starflag", "apogee_aspcapflag", "age", "age_error"),
    masks=(Mask(("age", "age_error"), Where("age", below=0.0, above=100.0)),),
    duplicates="best",
    best=("log_age_error", "age_error"),
    # [C/N] and [alpha/M] of giants follow their age, loosely; values moved against their keys have no relation at all.
    relations=(
        Relation(
            "log_age",
            against=(("c_fe", "n_fe"), "alpha_m", "logg"),
            tolerance=0.6,
            outliers=0.25,
            scatter=0.9,
            table="apogee_dr17",
        ),
    ),
    fetch=Http(urls=("https://raw.githubusercontent.com/henrysky/astroNN_ages/main/nn_latent_age_dr17.csv.gz",)),
    rows=733_901,
)
