"""Declare the 2MASS point sources: JHKs (Vega) of the objects that the Gaia archive matched to DR3 sources.

Files: results of the query below. The path from a Gaia source to its 2MASS row is the designation: best neighbour ->
``tmass_psc_xsc_join`` (``clean_tmass_psc_xsc_oid``) -> ``tmass_original_valid``. Its ``tmass_oid`` counts other rows, and a
join on it gives every star some other star's magnitudes. Extended sources (``ext_key``) are left out.
``ph_qual`` has one letter a band (Gaia DR1 documentation, 3.18): magnitudes of A to D are measurements; U is an upper limit,
E a poor fit, F has no error (values above 8), X no brightness. One band's letter says nothing of the others.
"""

from lake import best_neighbour
from lake.declaration import Adql, Mask, Raw, Relation, Where
from lake.survey import Survey, same

_BANDS = ("j", "h", "ks")
_MEASURED = ("A", "B", "C", "D")
_COLOUR = ("phot_bp_mean_mag", "phot_rp_mean_mag")

SURVEY = Survey(
    name="tmass_psc",
    title="2MASS photometry of Gaia DR3 sources",
    release="all-sky (Gaia DR3 match)",
    kind="photometry",
    citation="Skrutskie et al. 2006, AJ 131, 1163; Marrese et al. 2022, Gaia DR3 documentation, chapter 15",
    licence="2MASS (University of Massachusetts and IPAC/Caltech), public; ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://gea.esac.esa.int/archive/",
    patterns=("tmass_psc*", "twomass*"),
    dialects=("fits", "archive_csv", "votable"),
    columns=same("source_id")
    | {"tmass_id": Raw("designation")}
    | {f"tmass_{band}_mag": Raw(f"{band}_m") for band in _BANDS}
    | {f"tmass_{band}_mag_error": Raw(f"{band}_msigcom") for band in _BANDS}
    | {f"tmass_{band}_quality": Raw("ph_qual", element=k) for k, band in enumerate(_BANDS)}
    | best_neighbour.COLUMNS,
    required=("source_id", *(f"tmass_{band}_{what}" for band in _BANDS for what in ("mag", "mag_error", "quality"))),
    foreign=best_neighbour.FOREIGN,
    masks=tuple(
        Mask((f"tmass_{band}_mag", f"tmass_{band}_mag_error"), Where(f"tmass_{band}_quality", other_than=_MEASURED))
        for band in _BANDS
    ),
    # The join names suspected duplicates of the 2MASS row as well, all at the one separation of the match.
    duplicates="best",
    best=("match_separation", "tmass_ks_mag_error", "tmass_j_mag_error"),
    relations=(
        Relation("tmass_ks_mag", against=("phot_g_mean_mag", _COLOUR), tolerance=0.5),
        Relation(("tmass_j_mag", "tmass_ks_mag"), against=(_COLOUR,), tolerance=0.4),
    ),
    fetch=Adql(
        "SELECT x.source_id, t.designation, t.j_m, t.j_msigcom, t.h_m, t.h_msigcom, t.ks_m, t.ks_msigcom, t.ph_qual, "
        + best_neighbour.SELECTED
        + " FROM gaiadr3.tmass_psc_xsc_best_neighbour AS x "
        "JOIN gaiadr3.tmass_psc_xsc_join AS j USING (clean_tmass_psc_xsc_oid) "
        "JOIN gaiadr1.tmass_original_valid AS t ON j.original_psc_source_id = t.designation "
        "WHERE t.ext_key IS NULL AND x.source_id BETWEEN {low} AND {high}",
        column="x.source_id",
        rows=470_000_000,
    ),
)
