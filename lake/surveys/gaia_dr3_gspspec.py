"""Declare the parameters and abundances that GSP-Spec (MatisseGauguin) finds from RVS spectra of Gaia DR3.

Table ``gaiadr3.astrophysical_parameters`` of the archive, asked for the columns of GSP-Spec where they are present, or its
bulk files ``AstrophysicalParameters_LLLLLL-HHHHHH.csv.gz``, which hold all modules: rows without a solution of GSP-Spec are
left out. Data model: Gaia DR3 documentation, section 20.2.1; method: Recio-Blanco et al. (2023), A&A 674, A29.
flags_gspspec is a text of 41 digits, each of which becomes a column (table 2 of the paper; 0 is best, 9 filtered out). No
value is masked: which digits matter depends on the label, and the paper's advice (such as the first thirteen zero for the
best parameters, and calibrations of log g and abundances against log g) is left to the user.
"""

import pyarrow as pa
import pyarrow.compute as pc

from lake.columns.gaia_parameters import GSPSPEC_ELEMENTS, GSPSPEC_FLAGS
from lake.declaration import Adql, Relation, Where
from lake.survey import Survey, same

_NAMES = (
    *(f"{name}_gspspec{end}" for name in ("teff", "logg", "mh", "alphafe") for end in ("", "_lower", "_upper")),
    *(f"{element}_gspspec{end}" for element in GSPSPEC_ELEMENTS for end in ("", "_lower", "_upper", "_nlines")),
    *("logchisq_gspspec", "flags_gspspec"),
)


def _take_apart(table: pa.Table) -> pa.Table:
    """Give each digit of the flags a column."""
    for k, flag in enumerate(GSPSPEC_FLAGS):
        digit = pc.utf8_slice_codeunits(table["flags_gspspec"], k, k + 1)
        digit = pc.if_else(pc.equal(digit, ""), pa.scalar(None, pa.string()), digit)
        table = table.append_column(pa.field(f"gspspec_{flag}_flag", pa.int16()), pc.cast(digit, pa.int16()))
    return table


SURVEY = Survey(
    name="gaia_dr3_gspspec",
    title="Gaia DR3 GSP-Spec parameters and abundances",
    release="dr3",
    kind="labels",
    citation="Recio-Blanco et al. 2023, A&A 674, A29; Creevey et al. 2023, A&A 674, A26",
    licence="ESA/Gaia/DPAC, CC BY-SA 3.0 IGO; credit required",
    source="https://cdn.gea.esac.esa.int/Gaia/gdr3/Astrophysical_parameters/astrophysical_parameters/",
    patterns=("AstrophysicalParameters_*.csv.gz", "gaia_dr3_gspspec*", "*gspspec*-result.*"),
    dialects=("bulk_csv", "archive_csv", "ecsv", "votable", "fits"),
    columns=same("source_id") | same(" ".join(_NAMES)),
    made=tuple(f"gspspec_{flag}_flag" for flag in GSPSPEC_FLAGS),
    required=("source_id", "teff_gspspec", "logg_gspspec", "mh_gspspec"),
    drops=(Where("teff_gspspec", absent=True),),
    # Solutions of every quality are here, and dust reddens the colours.
    relations=(
        Relation(
            "teff_gspspec", against=(("phot_bp_mean_mag", "phot_rp_mean_mag"),), tolerance=1500.0, outliers=0.3, scatter=0.8
        ),
    ),
    fetch=Adql(
        query=f"SELECT a.source_id, {', '.join(f'a.{name}' for name in _NAMES)} "
        "FROM gaiadr3.astrophysical_parameters AS a "
        "WHERE a.source_id BETWEEN {low} AND {high} AND a.teff_gspspec IS NOT NULL",
        column="a.source_id",
        rows=5_591_594,
    ),
    clean=_take_apart,
    rows=5_591_594,
)
