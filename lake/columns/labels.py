"""Name the labels that spectroscopic surveys measure of a star, each beside its error."""

from collections.abc import Iterator

from lake.columns.column import F32, I32, TEXT, Column

ELEMENTS = (
    *("li", "c", "n", "o", "na", "mg", "al", "si", "p", "s", "k", "ca", "sc", "ti", "v", "cr", "mn", "co", "ni", "cu", "zn"),
    *("rb", "sr", "y", "zr", "mo", "ru", "ba", "la", "ce", "nd", "sm", "eu", "yb"),
)
# Abundances from the lines of one ion only, where a survey gives them beside the element's.
IONS = {"ci": "C I", "sc2": "Sc II", "ti2": "Ti II", "cr2": "Cr II"}


def _with_error(name: str, unit: str, said: str, low: float, high: float, error: float) -> Iterator[Column]:
    """Yield a label and its standard error, which is at most `error`."""
    yield Column(name, F32, unit, said, low, high)
    yield Column(f"{name}_error", F32, unit, f"Standard error of {name}, as its source gives it", 0, error)


def _flag(name: str) -> Column:
    """Name the quality flag of an abundance; each survey has its own bits, and names them in the field's metadata."""
    return Column(f"{name}_flag", I32, "", f"Quality bits of {name}, as the survey numbers them", 0)


def _labels() -> Iterator[Column]:
    yield from _with_error("teff", "K", "Effective temperature", 1000, 100000, 50000)
    yield from _with_error("logg", "dex(cm / s2)", "Surface gravity", -3, 9, 20)
    yield from _with_error("fe_h", "dex", "[Fe/H]", -8, 3, 20)
    yield from _with_error("m_h", "dex", "Overall metallicity [M/H]", -8, 3, 20)
    yield from _with_error("alpha_m", "dex", "Alpha elements over metals [alpha/M]", -3, 3, 30)
    yield from _with_error("alpha_fe", "dex", "Alpha elements over iron [alpha/Fe]", -3, 3, 30)
    for element, said in ({name: name.capitalize() for name in ELEMENTS} | IONS).items():
        yield from _with_error(f"{element}_fe", "dex", f"[{said}/Fe]", -8, 9, 30)
        yield _flag(f"{element}_fe")
    yield _flag("fe_h")
    yield _flag("alpha_fe")
    yield from _with_error("vsini", "km / s", "Projected rotation velocity", 0, 1000, 1000)
    yield from _with_error("vmic", "km / s", "Microturbulence velocity", 0, 50, 50)
    yield from _with_error("age", "Gyr", "Age", 0, 100, 100)
    yield from _with_error("log_age", "dex(Gyr)", "Decimal logarithm of the age", -4, 2, 20)
    yield from _with_error("mass", "solMass", "Mass", 0, 200, 200)


COLUMNS = (
    *_labels(),
    Column("snr", F32, "", "Signal-to-noise ratio of the spectrum, as the survey defines it", 0, 1e5),
    Column("n_visits", I32, "", "Visits combined into the spectrum", 0),
    Column("velocity_scatter", F32, "km / s", "Scatter of the radial velocities of single visits", 0, 2000),
    Column("tmass_id", TEXT, "", "2MASS designation, as the survey writes it"),
    Column("survey_g_mag", F32, "mag", "The survey's own copy of Gaia's G magnitude (Vega)", -5, 30),
    Column("survey_ks_mag", F32, "mag", "The survey's own copy of 2MASS Ks (Vega)", -10, 30),
    Column("survey_j_mag", F32, "mag", "The survey's own copy of 2MASS J (Vega)", -10, 30),
)
