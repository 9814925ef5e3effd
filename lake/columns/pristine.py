"""Name the columns of photometric metallicities, which are no spectroscopic [Fe/H] and never stand under its name."""

from lake.columns.column import F32, Column

_CIRCULAR = "photometric: from CaHK of Gaia's own BP/RP spectra, so no independent label of a model that sees them"

COLUMNS = (
    Column("fe_h_photometric", F32, "dex", f"[Fe/H], {_CIRCULAR}", -8, 3, "outside the grid of the calibration"),
    Column("fe_h_photometric_error", F32, "dex", "Half the difference of the two percentiles of fe_h_photometric", 0, 10),
    Column("fe_h_photometric_lower", F32, "dex", "16th percentile of fe_h_photometric", -8, 3),
    Column("fe_h_photometric_upper", F32, "dex", "84th percentile of fe_h_photometric", -8, 3),
    Column("pristine_valid_fraction", F32, "", "Share of Monte Carlo draws that fell inside the calibration's grid", 0, 1.001),
    Column("pristine_ebv", F32, "mag", "Reddening E(B - V) that was corrected", -0.1, 100),
    Column("pristine_cahk_mag_corrected", F32, "mag", "CaHK magnitude (Vega), corrected for extinction", None, 30),
    Column("pristine_g_mag_corrected", F32, "mag", "Gaia G magnitude (Vega), corrected for extinction", None, 30),
    Column("pristine_cstar", F32, "", "Corrected BP and RP flux excess C* (Riello et al. 2021)", -1000, 1000),
    Column("pristine_cstar_scatter", F32, "", "Scatter of C* of well-behaved sources of this brightness", 0, 1000),
)
