"""Declare the parameters that GSP-Phot finds from BP/RP spectra, parallax and G of Gaia DR3.

Table ``gaiadr3.astrophysical_parameters`` of the archive, asked for the columns of GSP-Phot where they are present, or its
bulk files ``AstrophysicalParameters_LLLLLL-HHHHHH.csv.gz``, which hold all modules: rows without a solution of GSP-Phot are
left out. Data model: Gaia DR3 documentation, section 20.2.1; method: Andrae et al. (2023), A&A 674, A27.
The values are those of gaia_source, with absolute magnitude, radius and the quality of the fit beside them. Known limits,
left to the user: [M/H] is biased low and of qualitative use only; temperature and extinction are degenerate.
"""

from lake.declaration import Adql, Relation, Where
from lake.survey import Survey, same

_BOUNDED = ("teff", "logg", "mh", "distance", "azero", "ag", "abp", "arp", "ebpminrp", "mg", "radius")
_NAMES = (
    *(f"{name}_gspphot{end}" for name in _BOUNDED for end in ("", "_lower", "_upper")),
    *("logposterior_gspphot", "mcmcaccept_gspphot", "libname_gspphot"),
)


SURVEY = Survey(
    name="gaia_dr3_gspphot",
    title="Gaia DR3 GSP-Phot parameters",
    release="dr3",
    kind="labels",
    citation="Andrae et al. 2023, A&A 674, A27; Creevey et al. 2023, A&A 674, A26",
    licence="ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://cdn.gea.esac.esa.int/Gaia/gdr3/Astrophysical_parameters/astrophysical_parameters/",
    patterns=("AstrophysicalParameters_*.csv.gz", "gaia_dr3_gspphot*", "*gspphot*-result.*"),
    dialects=("bulk_csv", "archive_csv", "ecsv", "votable", "fits"),
    columns=same("source_id") | same(" ".join(_NAMES)),
    required=("source_id", "teff_gspphot", "logg_gspphot", "mh_gspphot"),
    drops=(Where("teff_gspphot", absent=True),),
    relations=(Relation("teff_gspphot", against=("teff_gspphot",), tolerance=1.0, outliers=0.03, scatter=0.01),),
    fetch=Adql(
        query=f"SELECT a.source_id, {', '.join(f'a.{name}' for name in _NAMES)} "
        "FROM gaiadr3.astrophysical_parameters AS a "
        "WHERE a.source_id BETWEEN {low} AND {high} AND a.teff_gspphot IS NOT NULL",
        column="a.source_id",
        rows=470_759_263,
    ),
    rows=470_759_263,
)
