"""Declare the mean BP/RP (XP) spectra of Gaia DR3 as coefficients on their basis functions.

Files: bulk ``XpContinuousMeanSpectrum_LLLLLL-HHHHHH`` (csv.gz with ECSV header, arrays as JSON text; or HDF5 with
(N, 55) and (N, 1485) datasets), archive exports and DataLink products (arrays in brackets or parentheses, FITS with
variable-length cells, zip), and flattened tables with one scalar column per coefficient and error.
Data model: Gaia DR3 documentation, chapter 20.12. A source may lack BP: its integers, floats and arrays are then null.
Correlations are 12 kB a row, nine tenths of all bytes, and live in a table of their own on the same partitions.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.declaration import Http, Mark, Raw, Relation
from lake.survey import Survey, same

_BAND = (
    "{0}_basis_function_id {0}_degrees_of_freedom {0}_n_parameters {0}_n_measurements {0}_n_rejected_measurements "
    "{0}_standard_deviation {0}_chi_squared {0}_coefficients {0}_coefficient_errors {0}_coefficient_correlations "
    "{0}_n_relevant_bases {0}_relative_shrinking"
)
_FLAT = {
    f"{band}_{ours}": Raw(f"{band}_{ours}", flat=(f"{theirs}{band}_coeff_{{}}", f"{theirs}{band}_coefficient_{{}}"))
    for band in ("bp", "rp")
    for ours, theirs in (("coefficients", ""), ("coefficient_errors", "e_"))
}


def _forget_absent_bands(table: pa.Table) -> pa.Table:
    """Make every column of a band null where the band has no coefficients (HDF5 writes fill values there)."""
    for band in ("bp", "rp"):
        there = pc.is_valid(table[f"{band}_coefficients"])
        if pc.all(there).as_py():
            continue
        for i, field in enumerate(table.schema):
            if field.name.startswith(f"{band}_"):
                kept = table[field.name].combine_chunks()
                # if_else has no kernel for fixed-size lists; taking a null index gives a null row.
                index = pc.if_else(there, pa.array(range(len(kept)), pa.int64()), pa.scalar(None, pa.int64()))
                table = table.set_column(i, field, kept.take(index))
    return table


SURVEY = Survey(
    name="gaia_dr3_xp",
    title="Gaia DR3 mean BP/RP spectra, continuous representation",
    release="dr3",
    kind="spectra",
    citation="De Angeli et al. 2023, A&A 674, A2; Montegriffo et al. 2023, A&A 674, A3",
    licence="ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://cdn.gea.esac.esa.int/Gaia/gdr3/Spectroscopy/xp_continuous_mean_spectrum/",
    patterns=("XpContinuousMeanSpectrum_*.csv.gz", "XpContinuousMeanSpectrum_*.hdf5", "XP_CONTINUOUS*", "xp_continuous*"),
    dialects=("bulk_csv", "hdf5", "archive_csv", "ecsv", "datalink_csv", "votable", "fits_arrays"),
    columns=same(f"source_id solution_id {_BAND.format('bp')} {_BAND.format('rp')}") | _FLAT,
    required=("source_id", "bp_coefficients", "bp_coefficient_errors", "rp_coefficients", "rp_coefficient_errors"),
    lengths={f"{band}_{what}": 55 for band in ("bp", "rp") for what in ("coefficients", "coefficient_errors")}
    | {"bp_coefficient_correlations": 1485, "rp_coefficient_correlations": 1485},
    extensions={"gaia_dr3_xp_correlations": ("bp_coefficient_correlations", "rp_coefficient_correlations")},
    marks=(Mark("solution_id", low=4545469030156206080, high=4545469030156271615),),
    clean=_forget_absent_bands,
    # The first coefficient is nearly the flux in the band.
    relations=(
        Relation(
            "rp_coefficients",
            against=("phot_rp_mean_mag", ("phot_bp_mean_mag", "phot_rp_mean_mag")),
            tolerance=0.2,
            scatter=0.5,
        ),
    ),
    fetch=Http(
        listing="https://cdn.gea.esac.esa.int/Gaia/gdr3/Spectroscopy/xp_continuous_mean_spectrum/_MD5SUM.txt",
        names="XpContinuousMeanSpectrum_*.csv.gz",
    ),
    rows=219_197_643,
)
