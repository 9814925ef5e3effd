"""Name the columns of the SpectroTranslator tables: labels of one survey on the base of another, as percentiles."""

from collections.abc import Iterator

from lake.columns.column import BOOL, F32, TEXT, Column

PERCENTILES = (5, 16, 50, 84, 95)

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
        yield Column(f"{name}_input_missing", BOOL, "", f"True is bad: an input of the {said} was missing and taken as the mean")
        for part in ("input", "output"):
            none = "; true in every published row" if (name, part) == ("extrinsic", "output") else ""
            text = f"True is good: every {part} of the {said} lies where the training stars do{none}"
            yield Column(f"{name}_{part}_covered", BOOL, "", text)


COLUMNS = (
    *_percentiles(),
    *_flags(),
    Column("translator_comment", TEXT, "", "Which pairs of inputs or outputs lie outside the training stars", null="no remark"),
    Column("percentiles_ordered", BOOL, "", "Whether no percentile of any label is smaller than a lower one", null="never null"),
)
