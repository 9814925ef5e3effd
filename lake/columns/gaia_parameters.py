"""Name the columns of Gaia's table of astrophysical parameters beyond those in gaia_source (Gaia DR3, section 20.2.1)."""

from collections.abc import Iterator

from lake.columns.column import F32, I16, TEXT, Column

# Abundances of GSP-Spec: iron over metals, the others over iron.
GSPSPEC_ELEMENTS = {
    "fem": "[Fe/M] from Fe I",
    "feiim": "[Fe/M] from Fe II",
    "nfe": "[N/Fe]",
    "mgfe": "[Mg/Fe]",
    "sife": "[Si/Fe]",
    "sfe": "[S/Fe]",
    "cafe": "[Ca/Fe]",
    "tife": "[Ti/Fe]",
    "crfe": "[Cr/Fe]",
    "nife": "[Ni/Fe]",
    "zrfe": "[Zr/Fe]",
    "cefe": "[Ce/Fe]",
    "ndfe": "[Nd/Fe]",
}
# Letters of flags_gspspec in order (Recio-Blanco et al. 2023, table 2): 0 is best, 9 is filtered out.
GSPSPEC_FLAGS = (
    *("vbroad_teff", "vbroad_logg", "vbroad_mh", "vrad_teff", "vrad_logg", "vrad_mh", "flux_noise", "extrapolation"),
    *("negative_flux", "nan_flux", "emission", "null_flux_error", "km_giant"),
    *(f"{element}_{what}" for element in ("n", "mg", "si", "s", "ca", "ti", "cr") for what in ("upper_limit", "uncertainty")),
    *(f"{element}_{what}" for element in ("fe", "fe2", "ni", "zr", "ce", "nd") for what in ("upper_limit", "uncertainty")),
    *("cn", "dib"),
)


def _with_bounds(name: str, unit: str, said: str, low: float | None, high: float | None) -> Iterator[Column]:
    none = f"no solution of {name.rpartition('_')[2]}"
    yield Column(name, F32, unit, said, low, high, none)
    yield Column(f"{name}_lower", F32, unit, f"16th percentile of {name}", low, high, none)
    yield Column(f"{name}_upper", F32, unit, f"84th percentile of {name}", low, high, none)


def _gspphot() -> Iterator[Column]:
    yield from _with_bounds("mg_gspphot", "mag", "Absolute G magnitude from GSP-Phot on BP/RP spectra", -20, 40)
    yield from _with_bounds("radius_gspphot", "solRad", "Radius from GSP-Phot on BP/RP spectra", 0, 1e5)
    yield from _with_bounds("abp_gspphot", "mag", "Extinction in BP from GSP-Phot on BP/RP spectra", -0.1, 100)
    yield from _with_bounds("arp_gspphot", "mag", "Extinction in RP from GSP-Phot on BP/RP spectra", -0.1, 100)
    none = "no GSP-Phot solution"
    yield Column("logposterior_gspphot", F32, "", "Goodness of fit of GSP-Phot: mean log-posterior", null=none)
    yield Column("mcmcaccept_gspphot", F32, "", "Acceptance rate of GSP-Phot's Markov chain", 0, 1.001, none)


def _gspspec() -> Iterator[Column]:
    yield from _with_bounds("teff_gspspec", "K", "Effective temperature from GSP-Spec on RVS spectra", 1000, 60000)
    yield from _with_bounds("logg_gspspec", "dex(cm / s2)", "Surface gravity from GSP-Spec on RVS spectra", -3, 9)
    yield from _with_bounds("mh_gspspec", "dex", "[M/H] from GSP-Spec on RVS spectra", -8, 3)
    yield from _with_bounds("alphafe_gspspec", "dex", "[alpha/Fe] from GSP-Spec on RVS spectra", -5, 5)
    for element, said in GSPSPEC_ELEMENTS.items():
        yield from _with_bounds(f"{element}_gspspec", "dex", f"{said} from GSP-Spec on RVS spectra", -20, 20)
        yield Column(f"{element}_gspspec_nlines", I16, "", f"Lines used for {element}_gspspec", 0)
    yield Column("flags_gspspec", TEXT, "", "Quality of GSP-Spec, one digit each for 41 aspects, 0 best, 9 filtered out")
    for flag in GSPSPEC_FLAGS:
        yield Column(f"gspspec_{flag}_flag", I16, "", f"Quality of GSP-Spec: {flag.replace('_', ' ')}, 0 best", 0, 9)
    yield Column("logchisq_gspspec", F32, "", "Decimal logarithm of the goodness of fit of GSP-Spec")


COLUMNS = (*_gspphot(), *_gspspec())
