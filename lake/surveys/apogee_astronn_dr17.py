"""Declare the astroNN catalogue of APOGEE DR17: labels, distances, ages and orbits by a neural network.

File: ``apogee_astroNN-DR17.fits``, 733,901 rows in the order of allStar, NaN for null. Rows are joined by their keys,
never by position; APOGEE's own id, telescope and location name a row (fields of apo1m share one location, but there a
star is the same star). The catalogue's own copy of the source_id is kept as ``astronn_source_id``.
Abundances are [X/H], another scale than the [X/Fe] of allStar. Distances are in pc.
Ages: ``age`` is age_lowess_correct, the one corrected for the network's bias to the mean, as most users take it;
``age_uncorrected`` is the column that the file calls age, and ``age_linear`` age_linear_correct = (age - 0.238) / 0.887.
``age_error`` is age_total_error, which belongs to the uncorrected age. Ages of dwarfs are there but not to be trusted, for the
network learnt from giants. Network and correction extrapolate: values outside the vocabulary's limits are masked.
Units of the orbits are those of the code that made them (henrysky/astroNN_APOGEE_VAC: R0 and v0 scaled MWPotential2014).
Not verified: that the catalogue marks failures by NaN only; -9999 is taken for null too.
"""

from lake.columns.apogee import HYDROGEN_SCALE
from lake.declaration import Http, Keys, Raw, Relation
from lake.survey import Survey, beyond

_URL = "https://data.sdss.org/sas/dr17/env/APOGEE_ASTRO_NN/apogee_astroNN-DR17.fits"
_SPELLED = {"ti2": "tiii"}
_DISTANCES = {"spectroscopic_distance": "dist", "weighted_distance": "weighted_dist"}
_ORBIT = {
    "orbit_eccentricity": "e",
    "orbit_zmax": "zmax",
    "orbit_pericentre": "rperi",
    "orbit_apocentre": "rap",
    "radial_action": "jr",
    "angular_momentum_z": "Lz",
    "vertical_action": "jz",
    "orbit_energy": "Energy",
    "guiding_radius": "rl",
    "galactocentric_r": "galr",
    "galactocentric_phi": "galphi",
    "galactocentric_z": "galz",
    "galactocentric_vr": "galvr",
    "galactocentric_vt": "galvt",
    "galactocentric_vz": "galvz",
}
_NAMES = ("teff", "logg", "fe_h", *(f"{element}_h" for element in HYDROGEN_SCALE))
_AGES = {
    "age": "age_lowess_correct",
    "age_error": "age_total_error",
    "age_uncorrected": "age",
    "age_linear": "age_linear_correct",
    "age_model_error": "age_model_error",
}


def _raw(name: str) -> str:
    element, _, rest = name.partition("_")
    return (f"{_SPELLED.get(element, element)}_{rest}" if rest else name).upper()


SURVEY = Survey(
    name="apogee_astronn_dr17",
    title="astroNN labels, distances, ages and orbits of APOGEE DR17",
    release="dr17",
    kind="labels",
    citation="Leung & Bovy 2019, MNRAS 483, 3255 and 489, 2079; Mackereth et al. 2019, MNRAS 489, 176",
    licence="SDSS DR17 value-added catalogue, public; acknowledgement required",
    source=_URL,
    patterns=("apogee_astroNN-DR17.fits", "apogee_astroNN-DR17.fits.gz"),
    dialects=("fits",),
    match=Keys("apogee_dr17", on=("apogee_id", "telescope", "location_id")),
    columns={name: Raw(name.upper()) for name in ("apogee_id", "telescope", "location_id")}
    | {"astronn_source_id": Raw("source_id"), "survey_g_mag": Raw("phot_g_mean_mag"), "radial_velocity": Raw("VHELIO_AVG")}
    | {part: Raw(_raw(name) + suffix) for name in _NAMES for part, suffix in ((name, ""), (f"{name}_error", "_ERR"))}
    | {part: Raw(raw + end) for name, raw in _DISTANCES.items() for part, end in ((name, ""), (f"{name}_error", "_error"))}
    | {name: Raw(raw) for name, raw in _AGES.items()}
    | {part: Raw(raw + suffix) for name, raw in _ORBIT.items() for part, suffix in ((name, ""), (f"{name}_error", "_err"))},
    required=("apogee_id", "telescope", "location_id", "teff", "age", "weighted_distance"),
    missing={
        "astronn_source_id": (0, -1),
        "radial_velocity": (999999.0, -9999.0),
        **{part: (-9999.0,) for name in (*_NAMES, *_DISTANCES, *_ORBIT) for part in (name, f"{name}_error")},
        **{name: (-9999.0,) for name in _AGES},
    },
    masks=(
        *(beyond(name, f"{name}_error") for name in (*_NAMES, *_DISTANCES, "age", "orbit_eccentricity")),
        *(beyond(f"{name}_error") for name in (*_NAMES, *_DISTANCES, *_ORBIT, "age")),
        *(beyond(name) for name in ("age_uncorrected", "age_linear", "age_model_error", "survey_g_mag", "radial_velocity")),
    ),
    duplicates="best",
    best=("teff_error", "weighted_distance_error"),
    relations=(
        Relation("survey_g_mag", against=("phot_g_mean_mag",), tolerance=0.1, outliers=0.03, scatter=0.1),
        Relation("teff", against=("teff",), tolerance=400.0, outliers=0.2, table="apogee_dr17"),
        Relation("radial_velocity", against=("radial_velocity",), tolerance=5.0, outliers=0.1, scatter=0.3, table="apogee_dr17"),
    ),
    fetch=Http(urls=(_URL,)),
    rows=733_901,
)
