"""Declare the labels of GALAH DR3 on the base of APOGEE DR17, as SpectroTranslator translates them.

File: ``g2a.dat`` of CDS catalogue J/A+A/690/A54, 588,464 records of 924 bytes; bytes, formats and labels are those of its
ReadMe. Formats are the widest text seen, not what Fortran would write, so numbers are read as free text.
Every star is translated, good or bad; the ReadMe's flags say how far to trust it, and their polarity differs: ``Flagmi*``
true is bad, ``Qflag*`` true is good. The table calls its metallicity [Fe/H], though the base that it is on has [M/H].
Temperatures are printed with exponents and eight places before the point: there are extrapolated values that no star
has. Values outside the limits of the vocabulary are masked, all of a label where its median is outside.
Neither identifier is promised to be unique: of several rows of a source, the one without missing inputs, then inside the
training stars, then with the smallest systematic error of the temperature is kept.
Not verified: whether a missing source_id occurs, and as what (0, -1 and -9999 are taken for one); the URL, which follows
the pattern of other tables there. Read on synthetic rows only, which astropy reads alike through the ReadMe.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.columns import column
from lake.columns.spectrotranslator import PERCENTILES
from lake.declaration import Http, Mask, Raw, Relation, Where
from lake.survey import Survey

LABELS = ("teff", "logg", "metallicity", "mg_fe", "velocity")
_FLAGS = {
    "intrinsic_input_missing": "Flagmii",
    "extrinsic_input_missing": "Flagmie",
    "translator_comment": "Com",
    "intrinsic_input_covered": "QflagIi",
    "intrinsic_output_covered": "QflagOi",
    "extrinsic_input_covered": "QflagIe",
    "extrinsic_output_covered": "QflagOe",
}
BEST = (
    *("intrinsic_input_missing", "-intrinsic_input_covered", "-intrinsic_output_covered", "-extrinsic_input_covered"),
    *("extrinsic_input_missing", "teff_systematic"),
)


def label_columns(raw: str, canonical: str, *at: tuple[int, int]) -> dict[str, Raw]:
    """Return the five percentiles of a label and its systematic error at their bytes."""
    names = [f"{canonical}_p{percent:02d}" for percent in PERCENTILES]
    spelled = [f"{raw}{percent}" for percent in PERCENTILES]
    pairs = zip((*names, f"{canonical}_systematic"), (*spelled, f"e_{raw}50"), at, strict=True)
    return {name: Raw(said, at=place) for name, said, place in pairs}


def flag_columns(*at: tuple[int, int]) -> dict[str, Raw]:
    """Return the flags and the comment, which end every record, at their bytes."""
    return {name: Raw(said, at=place) for (name, said), place in zip(_FLAGS.items(), at, strict=True)}


def limits() -> tuple[Mask, ...]:
    """Return the masks of every value outside the limits of the vocabulary, and of every label with such a median."""
    masks = []
    for label in LABELS:
        names = (*(f"{label}_p{percent:02d}" for percent in PERCENTILES), f"{label}_systematic")
        for name in names:
            known = column(name)
            beyond = Where(name, below=None if name.endswith("systematic") else known.low, above=known.high)
            masks.append(Mask(names if name == f"{label}_p50" else (name,), beyond))
    return tuple(masks)


def tell_order(table: pa.Table) -> pa.Table:
    """Append whether the percentiles of every label ascend; pairs with a null say nothing."""
    ordered = pa.array([True] * len(table), pa.bool_())
    for label in LABELS:
        names = [f"{label}_p{percent:02d}" for percent in PERCENTILES]
        held = [table[name].combine_chunks() for name in names if table[name].null_count < len(table)]
        for lower, higher in zip(held[:-1], held[1:], strict=True):
            ordered = pc.and_(ordered, pc.fill_null(pc.less_equal(lower, higher), True))
    return table.append_column("percentiles_ordered", ordered)


SURVEY = Survey(
    name="spectrotranslator_g2a",
    title="SpectroTranslator: GALAH DR3 on the base of APOGEE DR17",
    release="2024-08",
    kind="labels",
    citation="Thomas, Battaglia, Gran et al. 2024, A&A 690, A54",
    licence="CC BY 4.0 (article); CDS catalogue J/A+A/690/A54, credit required",
    source="https://cdsarc.cds.unistra.fr/viz-bin/cat/J/A+A/690/A54",
    patterns=("g2a.dat", "g2a.dat.gz"),
    dialects=("fixed_width",),
    columns={"source_id": Raw("GaiaDR3", at=(17, 35)), "sobject_id": Raw("GALAH", at=(1, 15))}
    | label_columns("Teff", "teff", (37, 55), (57, 77), (79, 99), (101, 124), (126, 150), (152, 177))
    | label_columns("logg", "logg", (179, 199), (201, 222), (224, 247), (249, 271), (273, 295), (297, 317))
    | label_columns("[Fe/H]", "metallicity", (319, 340), (342, 363), (365, 386), (388, 409), (411, 432), (434, 454))
    | label_columns("[Mg/Fe]", "mg_fe", (456, 477), (479, 500), (502, 523), (525, 546), (548, 569), (571, 591))
    | label_columns("HV", "velocity", (593, 614), (616, 637), (639, 660), (662, 683), (685, 706), (708, 728))
    | flag_columns((730, 734), (736, 740), (742, 901), (903, 907), (909, 913), (915, 919), (921, 924)),
    required=("source_id", "sobject_id", "teff_p50"),
    missing={"source_id": (0, -1, -9999)},
    masks=limits(),
    made=("percentiles_ordered",),
    clean=tell_order,
    duplicates="best",
    best=BEST,
    relations=(
        Relation("teff_p50", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=800.0, outliers=0.15),
        Relation("velocity_p50", against=("radial_velocity",), tolerance=20.0, outliers=0.2, scatter=0.6),
    ),
    fetch=Http(urls=("https://cdsarc.cds.unistra.fr/ftp/J/A+A/690/A54/g2a.dat.gz",)),
    rows=588_464,
)
