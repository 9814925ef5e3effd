"""Name the columns of the APOGEE catalogues that no other survey has, and those of the catalogues derived from them."""

from collections.abc import Iterator

from lake.columns.column import F32, I16, I32, I64, TEXT, Column

# [X/H] of astroNN; [Fe/H] is in `lake.columns.labels`.
HYDROGEN_SCALE = (*("c", "ci", "n", "o", "na", "mg", "al", "si", "p", "s", "k", "ca", "ti", "ti2", "v", "cr", "mn", "co", "ni"),)
LATENT = 5
_SPELLED = {"ci": "C I", "ti2": "Ti II"}
_ORBIT = (
    ("orbit_eccentricity", "", "Eccentricity of the orbit", 0, 1.001),
    ("orbit_zmax", "kpc", "Largest height of the orbit over the Galactic plane", None, None),
    ("orbit_pericentre", "kpc", "Smallest Galactocentric radius of the orbit", None, None),
    ("orbit_apocentre", "kpc", "Largest Galactocentric radius of the orbit", None, None),
    ("radial_action", "kpc km / s", "Radial action", None, None),
    ("angular_momentum_z", "kpc km / s", "Azimuthal action, which is the angular momentum around the Galactic axis", None, None),
    ("vertical_action", "kpc km / s", "Vertical action", None, None),
    ("orbit_energy", "km2 / s2", "Specific energy of the orbit", None, None),
    ("guiding_radius", "kpc", "Radius of the circular orbit of the same angular momentum", None, None),
    ("galactocentric_r", "kpc", "Galactocentric cylindrical radius", None, None),
    ("galactocentric_phi", "rad", "Galactocentric azimuth", None, None),
    ("galactocentric_z", "kpc", "Height over the Galactic plane", None, None),
    ("galactocentric_vr", "km / s", "Galactocentric radial velocity", None, None),
    ("galactocentric_vt", "km / s", "Galactocentric tangential velocity", None, None),
    ("galactocentric_vz", "km / s", "Galactocentric vertical velocity", None, None),
)


def _identity() -> Iterator[Column]:
    yield Column("apogee_id", TEXT, "", "APOGEE's name of the star: 2M or AP and its position")
    yield Column("apstar_id", TEXT, "", "APOGEE's name of the combined spectrum")
    yield Column("telescope", TEXT, "", "Telescope: apo25m, lco25m or apo1m")
    yield Column("location_id", I32, "", "APOGEE's number of the field; 1 for all fields of apo1m")
    yield Column("field", TEXT, "", "APOGEE's name of the field")


def _quality() -> Iterator[Column]:
    yield Column("apogee_starflag", I64, "", "STARFLAG: bits of the spectrum and its velocity, of any visit", 0)
    yield Column("apogee_aspcapflag", I64, "", "ASPCAPFLAG: bits of the analysis of the spectrum", 0)
    yield Column("apogee_extratarg", I32, "", "EXTRATARG: bits that say how the star was targeted", 0)
    for label in ("teff", "logg", "m_h", "alpha_m"):
        yield Column(f"apogee_{label}_flag", I64, "", f"PARAMFLAG of {label}", 0)
    yield Column(
        "apogee_rank",
        I16,
        "",
        "Order in which rows of one star are preferred: 0 primary, 1 marked as duplicate, 2 and 3 the same of bad stars",
        0,
        3,
        "never null",
    )


def _astronn() -> Iterator[Column]:
    for element in HYDROGEN_SCALE:
        said = f"[{_SPELLED.get(element, element.capitalize())}/H]"
        yield Column(f"{element}_h", F32, "dex", said, -9, 4)
        yield Column(f"{element}_h_error", F32, "dex", f"Standard error of {element}_h, as published", 0, 30)
    yield Column("astronn_source_id", I64, "", "Gaia source that astroNN took for the star", 1)
    for name, said in (
        ("spectroscopic_distance", "Distance from the spectrum by the network"),
        ("weighted_distance", "Distance from spectrum and parallax, weighted by their errors"),
    ):
        yield Column(name, F32, "pc", said, 0)
        yield Column(f"{name}_error", F32, "pc", f"Standard error of {name}, as published", 0)
    yield Column("age_uncorrected", F32, "Gyr", "Age as the network gives it, low for old stars", -10, 100)
    yield Column("age_linear", F32, "Gyr", "Age corrected by a line for the network's bias", -10, 100)
    yield Column("age_model_error", F32, "Gyr", "Part of age_error that comes from the network", 0, 100)
    for name, unit, said, low, high in _ORBIT:
        yield Column(name, F32, unit, said, low, high)
        yield Column(f"{name}_error", F32, unit, f"Standard error of {name}, as published", 0)


COLUMNS = (
    *_identity(),
    *_quality(),
    *_astronn(),
    *(Column(f"latent_z{k}", F32, "", f"Coordinate {k} of the spectrum in the network's latent space") for k in range(LATENT)),
)
