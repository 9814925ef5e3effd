"""Name the columns of the SpectroTranslator tables: labels of one survey on the base of another, as percentiles."""

from collections.abc import Iterator
from itertools import combinations

from lake.columns.column import BOOL, F32, I64, TEXT, Column

PERCENTILES = (5, 16, 50, 84, 95)

# What the networks read, the extrinsic one the velocity as well, and what the intrinsic one gives, in their order.
INPUTS = ("teff", "logg", "metallicity", "mg_fe", "bp_g", "g_rp", "velocity")
OUTPUTS = ("teff", "logg", "metallicity", "mg_fe")
# Bits of translator_reasons from 0: what is missing, which pairs lie where no training star does, what is out of the domain.
REASONS = (
    *(f"{name}_missing" for name in INPUTS),
    *(f"{name}_error_missing" for name in INPUTS),
    *(f"input_{a}_{b}" for a, b in combinations(INPUTS, 2)),
    *(f"output_{a}_{b}" for a, b in combinations(OUTPUTS, 2)),
    "output_velocity",
    "intrinsic_domain",
    "extrinsic_domain",
)

# Unit, meaning and limits; the published tables hold extrapolated values beyond them, which no star has.
_QUANTITIES = {
    "teff": ("K", "effective temperature", 2_500, 10_000),
    "logg": ("dex(cm / s2)", "surface gravity", -1, 6),
    "metallicity": ("dex", "metallicity, as the base that the table is on defines it: [M/H] or [Fe/H]", -6, 2),
    "mg_fe": ("dex", "[Mg/Fe]", -3, 3),
    "velocity": ("km / s", "heliocentric radial velocity", -1_500, 1_500),
}
_NETWORKS = {
    "intrinsic": "network of temperature, gravity, metallicity and [Mg/Fe]",
    "extrinsic": "network of the velocity",
}
_MASKED = "outside the limits of a star, or not translated"


def _percentiles() -> Iterator[Column]:
    for name, (unit, said, low, high) in _QUANTITIES.items():
        for percent in PERCENTILES:
            yield Column(
                f"{name}_p{percent:02d}", F32, unit, f"Percentile {percent} of the translated {said}", low, high, _MASKED
            )
        yield Column(
            f"{name}_systematic",
            F32,
            unit,
            f"Scatter of {name}_p50 over the ensemble of networks; the spread of the percentiles comes on top",
            0,
            high - low,
            _MASKED,
        )


def _flags() -> Iterator[Column]:
    for name, said in _NETWORKS.items():
        text = f"True is bad: an input of the {said} was missing; the published tables took the mean in its place"
        yield Column(f"{name}_input_missing", BOOL, "", text)
        for part in ("input", "output"):
            none = "; true in every published row" if (name, part) == ("extrinsic", "output") else ""
            text = f"True is good: every {part} of the {said} lies where the training stars do{none}"
            yield Column(f"{name}_{part}_covered", BOOL, "", text)


def _domain() -> Iterator[Column]:
    for name, said in _NETWORKS.items():
        text = f"Distance of the inputs of the {said} from training stars, over the largest that counts as covered"
        yield Column(f"{name}_domain_score", F32, "", text, 0, None, "an input is missing")
        text = f"True is good: {name}_domain_score is at most 1, and no input is missing"
        yield Column(f"{name}_in_domain", BOOL, "", text, null="never null")
    said = ", ".join(f"{bit} {name}" for bit, name in enumerate(REASONS))
    yield Column("translator_reasons", I64, "", f"Bits of what speaks against the translation: {said}", 0, None, "never null")


COLUMNS = (
    *_percentiles(),
    *_flags(),
    *_domain(),
    Column("translator_comment", TEXT, "", "Which pairs of inputs or outputs lie outside the training stars", null="no remark"),
    Column("percentiles_ordered", BOOL, "", "Whether no percentile of any label is smaller than a lower one", null="never null"),
)
