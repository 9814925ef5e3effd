"""Name the columns of labels combined across surveys: which sources are in a mean, how far they agree, what each of them says."""

from collections.abc import Iterator

from lake.columns import gaia_source, labels
from lake.columns.column import F32, I16, I32, Column

# Bits of `<label>_sources` from 0, and parts of the names of columns; a new source comes last, for tables hold the bits.
SOURCES = {
    "apogee_dr17": "APOGEE DR17, which is the base",
    "galah_dr4": "GALAH DR4, translated",
    "galah_dr3": "GALAH DR3, translated",
    "galah_dr3_g2a": "GALAH DR3, as translated by the authors of SpectroTranslator",
    "lamost_dr8": "LAMOST DR8, translated",
}
LABELS = ("teff", "logg", "m_h", "mg_fe", "radial_velocity")
# Values of age_source from 1.
AGES = {
    "latent": "latent-space ages of APOGEE DR17 (Leung et al. 2023)",
    "astronn": "astroNN ages of APOGEE DR17, corrected for bias",
}
_KNOWN = {known.name: known for known in (*gaia_source.COLUMNS, *labels.COLUMNS)}


def _combined(label: str) -> Iterator[Column]:
    said = ", ".join(f"{bit} {name}" for bit, name in enumerate(SOURCES))
    text = f"Sources in the combined {label}; releases of one survey count once"
    yield Column(f"{label}_n_sources", I16, "", text, 0, len(SOURCES), "never null")
    text = f"Bits of the sources in the combined {label}: {said}"
    yield Column(f"{label}_sources", I32, "", text, 0, 2 ** len(SOURCES) - 1, "never null")
    text = f"Sum over the sources of ((their {label} - the combined one) / error) squared"
    yield Column(f"{label}_chi2", F32, "", text, 0, None, "fewer than two sources")


def _of_source(label: str, name: str) -> Iterator[Column]:
    known, said = _KNOWN[label], SOURCES[name]
    none = "not measured, or not translated"
    text = f"{label} of {said}; also where it is not in the combined {label} (see {label}_sources)"
    yield Column(f"{label}_{name}", F32, known.unit, text, known.low, known.high, none)
    text = f"Standard error of {label}_{name}, the least error of its source added in quadrature"
    yield Column(f"{label}_{name}_error", F32, known.unit, text, 0, None, "no valid error, so not in the mean")
    text = f"What the translation added: {label}_{name} less the value that the survey publishes; 0 on the base"
    yield Column(f"{label}_{name}_correction", F32, known.unit, text, null=none)


def _ages() -> Iterator[Column]:
    said = ", ".join(f"{number} {text}" for number, text in enumerate(AGES.values(), start=1))
    yield Column("age_source", I16, "", f"Where the chosen age comes from: 0 no age, {said}", 0, len(AGES), "never null")
    for name, text in AGES.items():
        yield Column(f"age_{name}", F32, "Gyr", f"Age from the {text}; also where it is not chosen", 0, 100)
        yield Column(f"age_{name}_error", F32, "Gyr", f"Standard error of age_{name} on the scale of the corrected age", 0)


COLUMNS = (
    *(one for label in LABELS for one in _combined(label)),
    *(one for label in LABELS for name in SOURCES for one in _of_source(label, name)),
    *_ages(),
)
