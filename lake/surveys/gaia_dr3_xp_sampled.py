"""Declare the mean BP/RP spectra of Gaia DR3 as sampled flux.

Files: bulk ``XpSampledMeanSpectrum_LLLLLL-HHHHHH`` (csv.gz with ECSV header), archive exports, and DataLink products:
raw ones with one row and two arrays per source, individual ones with one row per wavelength.
Data model: Gaia DR3 documentation, chapter 20.12; 343 samples from 336 to 1020 nm in steps of 2 nm, W m-2 nm-1.
"""

from lake.declaration import Http, Long, Mark
from lake.survey import Survey, same

SURVEY = Survey(
    name="gaia_dr3_xp_sampled",
    title="Gaia DR3 mean BP/RP spectra, sampled representation",
    release="dr3",
    kind="spectra",
    citation="De Angeli et al. 2023, A&A 674, A2; Montegriffo et al. 2023, A&A 674, A3",
    licence="ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://cdn.gea.esac.esa.int/Gaia/gdr3/Spectroscopy/xp_sampled_mean_spectrum/",
    patterns=("XpSampledMeanSpectrum_*.csv.gz", "XpSampledMeanSpectrum_*.hdf5", "XP_SAMPLED*", "xp_sampled*"),
    dialects=("bulk_csv", "hdf5", "archive_csv", "ecsv", "datalink_csv", "votable", "fits_arrays"),
    columns=same("source_id solution_id ra dec flux flux_error"),
    required=("source_id", "flux", "flux_error"),
    lengths={"flux": 343, "flux_error": 343},
    # Some products of the reference library carry 0 here.
    missing={"solution_id": (0,)},
    marks=(Mark("solution_id", low=4545469030156206080, high=4545469030156271615),),
    long=Long(by="wavelength", grid=(336.0, 2.0, 343)),
    fetch=Http(
        listing="https://cdn.gea.esac.esa.int/Gaia/gdr3/Spectroscopy/xp_sampled_mean_spectrum/_MD5SUM.txt",
        names="XpSampledMeanSpectrum_*.csv.gz",
    ),
    rows=34_468_373,
)
