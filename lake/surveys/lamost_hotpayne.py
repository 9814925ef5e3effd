"""Declare the Hot Payne catalogue: labels of about 330,000 hot stars (Teff above about 7500 K) from LAMOST DR6 spectra.

File: ``hot_payne.fits.gz``, a binary table of VizieR J/A+A/662/A66. A spectrum's SpecID, padded with blanks, is its LAMOST date,
plan, spectrograph and fibre, as a published pipeline joins it with LAMOST DR8; SpecID, Teff, logg, [Fe/H] and their errors are
verified by that pipeline. Not verified: the names of the position, of vsini and vmic.
Abundances of hot stars suffer from the models' local equilibrium (the paper's section 5); take [Fe/H] as indicative.
"""

from lake.declaration import Position, Raw, Relation
from lake.survey import Survey, beyond

SURVEY = Survey(
    name="lamost_hotpayne",
    title="Hot Payne labels of OBA stars of LAMOST DR6",
    release="2022-06",
    kind="labels",
    citation="Xiang et al. 2022, A&A 662, A66",
    licence="CDS/VizieR: free for scientific use; cite the paper",
    source="https://cdsarc.cds.unistra.fr/viz-bin/cat/J/A+A/662/A66",
    patterns=("hot_payne*", "*662_A66*"),
    dialects=("fits", "votable"),
    columns={
        "lamost_spec_id": Raw("SpecID"),
        "object_ra": Raw("RAdeg"),
        "object_dec": Raw("DEdeg"),
        "teff": Raw("Teff"),
        "teff_error": Raw("e_Teff"),
        "logg": Raw("logg"),
        "logg_error": Raw("e_logg"),
        "fe_h": Raw("[Fe/H]"),
        "fe_h_error": Raw("e_[Fe/H]"),
        "vsini": Raw("vsini"),
        "vsini_error": Raw("e_vsini"),
        "vmic": Raw("vmic"),
        "vmic_error": Raw("e_vmic"),
    },
    required=("lamost_spec_id", "object_ra", "object_dec", "teff", "teff_error"),
    masks=tuple(beyond(f"{name}_error") for name in ("teff", "logg", "fe_h", "vsini", "vmic")),
    match=Position(epoch=2005.0, radius=2.0),
    duplicates="best",
    # No signal-to-noise ratio is verified; of one star's spectra the formal error tells the best.
    best=("teff_error",),
    # Dust changes the colours of hot stars more than their temperature does. GSP-Phot has tried to take it off, with less
    # success the hotter they are: how well it agrees with these labels is our estimate, on the cautious side.
    relations=(Relation("teff", against=("teff_gspphot",), tolerance=5000.0, outliers=0.3, scatter=0.9),),
)
