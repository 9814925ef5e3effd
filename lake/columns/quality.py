"""Name the columns that tell how far the astrometry of a source can be trusted, and what corrects it."""

from collections.abc import Iterator

from lake.columns.column import F32, Column

# Magnitude differences of the published columns, as their names spell them.
_BRIGHTER = {"m2": "fainter by no more than 2 mag", "0": "at least as bright"} | {
    f"{dm}": f"brighter by at least {dm} mag" for dm in (2, 4, 6, 10)
}


def _spurious() -> Iterator[Column]:
    none = "no neighbour that could disturb"
    said = "Probability that the astrometric solution is good (Rybizki et al. 2022, version 2)"
    yield Column("fidelity_v2", F32, "", said, 0, 1.001, "no parallax")
    said = "Disturbance of the colours by the neighbour that disturbs most; larger is worse (Rybizki et al. 2022)"
    yield Column("norm_dg", F32, "", said, null=none)
    yield Column("theta_arcsec_worst_source", F32, "arcsec", "Separation of the neighbour that disturbs most", 0, None, none)
    for spelled, meant in _BRIGHTER.items():
        name = f"dist_nearest_neighbor_at_least_{spelled}_brighter"
        yield Column(name, F32, "arcsec", f"Separation of the nearest neighbour that is {meant}", 0, None, "no such neighbour")


COLUMNS = (
    Column(
        "parallax_zero_point",
        F32,
        "mas",
        "Zero point of the parallax, to be subtracted from it (Lindegren et al. 2021)",
        -1,
        1,
        "no five- or six-parameter solution, or outside the range of the model (6 < G < 21 mag and its colours)",
    ),
    *_spurious(),
)
