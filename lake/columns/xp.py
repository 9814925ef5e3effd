"""Name the columns of Gaia's mean BP/RP spectra (Gaia DR3 data model, spectroscopic tables)."""

from collections.abc import Iterator

from lake.columns.column import F32, F32_LIST, F64_LIST, I16, Column

_NO_BAND = "the source has no mean spectrum in this band"


def _band(prefix: str) -> Iterator[Column]:
    band = prefix.upper()
    one = f"mean {band} spectrum"
    yield Column(f"{prefix}_basis_function_id", I16, "", f"Set of basis functions of the {one}", 0, 1000, _NO_BAND)
    yield Column(f"{prefix}_degrees_of_freedom", I16, "", f"Degrees of freedom of the fit of the {one}", 0, None, _NO_BAND)
    yield Column(f"{prefix}_n_parameters", I16, "", f"Number of coefficients of the {one}", 1, 1000, _NO_BAND)
    yield Column(f"{prefix}_n_measurements", I16, "", f"Measurements used for the {one}", 0, None, _NO_BAND)
    yield Column(f"{prefix}_n_rejected_measurements", I16, "", f"Measurements rejected from the {one}", 0, None, _NO_BAND)
    yield Column(
        f"{prefix}_standard_deviation", F32, "", f"Scatter of the fit of the {one}, already in its errors", 0, None, _NO_BAND
    )
    yield Column(f"{prefix}_chi_squared", F32, "", f"Chi squared of the fit of the {one}", 0, None, _NO_BAND)
    yield Column(
        f"{prefix}_coefficients", F64_LIST, "electron / s", f"Coefficients of the {one} on its basis functions", null=_NO_BAND
    )
    yield Column(
        f"{prefix}_coefficient_errors", F32_LIST, "electron / s", f"Standard errors of {prefix}_coefficients", 0, None, _NO_BAND
    )
    yield Column(
        f"{prefix}_coefficient_correlations",
        F32_LIST,
        "",
        f"Correlations of {prefix}_coefficients: upper triangle without diagonal, column by column",
        -1.001,
        1.001,
        _NO_BAND,
    )
    yield Column(
        f"{prefix}_n_relevant_bases", I16, "", f"Coefficients of the {one} that stand above the noise", 0, 1000, _NO_BAND
    )
    yield Column(
        f"{prefix}_relative_shrinking", F32, "", f"Norm kept when the {one} is cut to its relevant bases", 0, 1.001, _NO_BAND
    )


COLUMNS = (
    *_band("bp"),
    *_band("rp"),
    Column("flux", F32_LIST, "W / (m2 nm)", "Sampled mean BP/RP spectrum, 336 to 1020 nm in steps of 2 nm"),
    Column("flux_error", F32_LIST, "W / (m2 nm)", "Standard error of flux", 0),
)
