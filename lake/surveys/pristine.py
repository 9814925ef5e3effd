"""Declare the photometric metallicities of the Pristine-Gaia synthetic catalogue: about 30 million FGK stars.

File: the table of metallicities (CSV or FITS), one row per Gaia DR3 source, from CaHK magnitudes synthesised of BP/RP spectra. So
the metallicity is a function of the very spectra that models here learn from: it has a name of its own and is no [Fe/H] label.
No cut is made. The authors advise (their section 7.3): fraction of draws inside the grid above 0.8, half width of the percentiles
below 0.5, and C* within three of its scatter; a lower percentile at -4 is the border of the grid.
Names: programs that read the table and the authors' own that writes it (giant solution; theirs for dwarfs ends in ``_dw``).
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Raw, Relation
from lake.survey import Survey


def _half_width(table: pa.Table) -> pa.Table:
    """Make one error of the percentiles."""
    width = pc.subtract(table["fe_h_photometric_upper"], table["fe_h_photometric_lower"])
    return table.append_column("fe_h_photometric_error", pc.multiply(width, pa.scalar(0.5, pa.float32())))


SURVEY = Survey(
    name="pristine",
    title="Pristine-Gaia synthetic catalogue: photometric metallicities",
    release="2024-12",
    kind="labels",
    citation="Martin, Starkenburg et al. 2024, A&A 692, A115",
    licence="CDS/VizieR: free for scientific use; cite the paper",
    source="https://cdsarc.cds.unistra.fr/viz-bin/cat/J/A+A/692/A115",
    patterns=("PGS*", "*Pristine*", "*692_A115*"),
    dialects=("archive_csv", "fits"),
    columns={
        "source_id": Raw("source_id"),
        "object_ra": Raw("RA"),
        "object_dec": Raw("Dec"),
        "fe_h_photometric": Raw("FeH_CaHKsyn"),
        "fe_h_photometric_lower": Raw("FeH_CaHKsyn_16th"),
        "fe_h_photometric_upper": Raw("FeH_CaHKsyn_84th"),
        "pristine_valid_fraction": Raw("mcfrac_CaHKsyn"),
        "pristine_ebv": Raw("E(B-V)"),
        "pristine_g_mag_corrected": Raw("G_0"),
        "pristine_cahk_mag_corrected": Raw("CaHK_0"),
        "pristine_cstar": Raw("Cstar"),
        "pristine_cstar_scatter": Raw("Cstar_1sigma"),
    },
    required=("source_id", "fe_h_photometric", "pristine_g_mag_corrected"),
    made=("fe_h_photometric_error",),
    clean=_half_width,
    # Extinction by the whole line of sight parts the corrected brightness from the observed one.
    relations=(
        Relation(
            "pristine_g_mag_corrected",
            against=("phot_g_mean_mag", ("phot_bp_mean_mag", "phot_rp_mean_mag")),
            tolerance=1.5,
            outliers=0.15,
            scatter=0.6,
        ),
    ),
)
