"""Name the 152 columns of gaia_source in the archive's order (Gaia DR3 data model, main tables)."""

from collections.abc import Iterator

from lake.columns.column import BOOL, F32, F64, I16, I64, TEXT, Column

_ASTROMETRY = {"ra": "right ascension", "dec": "declination", "parallax": "parallax", "pmra": "pmra", "pmdec": "pmdec"}
_COLOUR = "astrometric pseudocolour"


def _identity() -> Iterator[Column]:
    yield Column("solution_id", I64, "", "Version of the data and of the processing that made the row")
    yield Column("designation", TEXT, "", "Name of the source, unique over all Gaia releases")
    yield Column("source_id", I64, "", "Gaia source identifier; its top bits are the HEALPix level-12 nested pixel", 1)
    yield Column("random_index", I64, "", "Random number for drawing subsets of gaia_source", 0)
    yield Column("ref_epoch", F64, "yr", "Reference epoch of the astrometry (Julian year, TCB)", 1990, 2100)


def _astrometry() -> Iterator[Column]:
    yield Column("ra", F64, "deg", "Right ascension at ref_epoch (ICRS)", 0, 360)
    yield Column("ra_error", F32, "mas", "Standard error of ra * cos(dec)", 0)
    yield Column("dec", F64, "deg", "Declination at ref_epoch (ICRS)", -90, 90)
    yield Column("dec_error", F32, "mas", "Standard error of dec", 0)
    two = "two-parameter astrometric solution"
    yield Column("parallax", F64, "mas", "Absolute parallax at ref_epoch, zero point not corrected", -1000, 1000, two)
    yield Column("parallax_error", F32, "mas", "Standard error of parallax", 0, None, two)
    yield Column("parallax_over_error", F32, "", "Parallax divided by its error", null=two)
    yield Column("pm", F32, "mas / yr", "Total proper motion", 0, 20000, two)
    yield Column("pmra", F64, "mas / yr", "Proper motion in right ascension, times cos(dec)", -20000, 20000, two)
    yield Column("pmra_error", F32, "mas / yr", "Standard error of pmra", 0, None, two)
    yield Column("pmdec", F64, "mas / yr", "Proper motion in declination", -20000, 20000, two)
    yield Column("pmdec_error", F32, "mas / yr", "Standard error of pmdec", 0, None, two)
    names = list(_ASTROMETRY)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            said = f"Correlation of {_ASTROMETRY[first]} and {_ASTROMETRY[second]}"
            yield Column(f"{first}_{second}_corr", F32, "", said, -1.001, 1.001, two)


def _astrometric_fit() -> Iterator[Column]:
    yield Column("astrometric_n_obs_al", I16, "", "Observations along scan", 0)
    yield Column("astrometric_n_obs_ac", I16, "", "Observations across scan", 0)
    yield Column("astrometric_n_good_obs_al", I16, "", "Good observations along scan", 0)
    yield Column("astrometric_n_bad_obs_al", I16, "", "Bad observations along scan", 0)
    yield Column("astrometric_gof_al", F32, "", "Goodness of fit along scan")
    yield Column("astrometric_chi2_al", F32, "", "Chi squared along scan", 0)
    yield Column("astrometric_excess_noise", F32, "mas", "Excess noise of the source", 0)
    yield Column("astrometric_excess_noise_sig", F32, "", "Significance of the excess noise", 0)
    yield Column("astrometric_params_solved", I16, "", "Which astrometric parameters were solved: 3, 31 or 95", 0, 127)
    yield Column("astrometric_primary_flag", BOOL, "", "Primary source of the astrometric solution")
    yield Column("nu_eff_used_in_astrometry", F32, "um-1", "Effective wavenumber used in the solution", 0, 10)
    yield Column("pseudocolour", F32, "um-1", "Effective wavenumber solved with the astrometry")
    yield Column("pseudocolour_error", F32, "um-1", "Standard error of pseudocolour", 0)
    for name, said in _ASTROMETRY.items():
        yield Column(f"{name}_pseudocolour_corr", F32, "", f"Correlation of {said} and {_COLOUR}", -1.001, 1.001)
    yield Column("astrometric_matched_transits", I16, "", "Field-of-view transits used in the solution", 0)
    yield Column("visibility_periods_used", I16, "", "Visibility periods used in the solution", 0)
    yield Column("astrometric_sigma5d_max", F32, "mas", "Longest semi-axis of the five-parameter error ellipsoid", 0)
    yield Column("matched_transits", I16, "", "Field-of-view transits matched to the source", 0)
    yield Column("new_matched_transits", I16, "", "Transits newly matched in this processing cycle", 0)
    yield Column("matched_transits_removed", I16, "", "Transits removed from the source in this cycle", 0)


def _image() -> Iterator[Column]:
    yield Column("ipd_gof_harmonic_amplitude", F32, "", "Amplitude of the image fit quality over position angle", 0)
    yield Column("ipd_gof_harmonic_phase", F32, "deg", "Phase of the image fit quality over position angle", -360, 360)
    yield Column("ipd_frac_multi_peak", I16, "%", "Windows with more than one peak", 0, 100)
    yield Column("ipd_frac_odd_win", I16, "%", "Transits with truncated or multiple windows", 0, 100)
    yield Column("ruwe", F32, "", "Renormalised unit weight error of the astrometry", 0)
    for k in "1234":
        yield Column(f"scan_direction_strength_k{k}", F32, "", f"Concentration of scan directions, degree {k}", 0, 1.001)
    for k in "1234":
        yield Column(f"scan_direction_mean_k{k}", F32, "deg", f"Mean scan position angle, degree {k}", -360, 360)
    yield Column("duplicated_source", BOOL, "", "Another source was merged or removed here by duplication")


def _photometry() -> Iterator[Column]:
    for band in ("g", "bp", "rp"):
        name = band.upper()
        yield Column(f"phot_{band}_n_obs", I16, "", f"Observations in {name}", 0)
        yield Column(f"phot_{band}_mean_flux", F64, "electron / s", f"Mean {name} flux")
        yield Column(f"phot_{band}_mean_flux_error", F32, "electron / s", f"Standard error of phot_{band}_mean_flux", 0)
        yield Column(f"phot_{band}_mean_flux_over_error", F32, "", f"Mean {name} flux divided by its error")
        yield Column(f"phot_{band}_mean_mag", F32, "mag", f"Mean {name} magnitude (Vega)", -5, 30)
    yield Column("phot_bp_rp_excess_factor", F32, "", "Sum of the BP and RP fluxes over the G flux")
    for band in ("bp", "rp"):
        yield Column(f"phot_{band}_n_contaminated_transits", I16, "", f"Contaminated {band.upper()} transits", 0)
        yield Column(f"phot_{band}_n_blended_transits", I16, "", f"Blended {band.upper()} transits", 0)
    yield Column("phot_proc_mode", I16, "", "Calibration of the photometry: 0 gold, 1 silver, 2 bronze", 0, 3)
    yield Column("bp_rp", F32, "mag", "BP - RP colour", -15, 20)
    yield Column("bp_g", F32, "mag", "BP - G colour", -15, 20)
    yield Column("g_rp", F32, "mag", "G - RP colour", -15, 20)


def _velocity() -> Iterator[Column]:
    none = "no radial velocity published"
    yield Column("radial_velocity", F32, "km / s", "Radial velocity in the solar barycentric frame", -2000, 2000, none)
    yield Column("radial_velocity_error", F32, "km / s", "Standard error of radial_velocity", 0, None, none)
    yield Column("rv_method_used", I16, "", "How the velocity was obtained: 1 bright, 2 faint", 0, 10, none)
    yield Column("rv_nb_transits", I16, "", "Transits used for the velocity", 0, None, none)
    yield Column("rv_nb_deblended_transits", I16, "", "Deblended transits among them", 0, None, none)
    yield Column("rv_visibility_periods_used", I16, "", "Visibility periods used for the velocity", 0, None, none)
    yield Column("rv_expected_sig_to_noise", F32, "", "Expected signal to noise of the combined RVS spectrum", 0, None, none)
    yield Column("rv_renormalised_gof", F32, "", "Renormalised goodness of fit of the velocity", null=none)
    yield Column("rv_chisq_pvalue", F32, "", "P-value of constancy of the velocity", 0, 1, none)
    yield Column("rv_time_duration", F32, "d", "Time covered by the velocity series", 0, None, none)
    yield Column("rv_amplitude_robust", F32, "km / s", "Peak-to-peak velocity after removal of outliers", 0, None, none)
    yield Column("rv_template_teff", F32, "K", "Effective temperature of the velocity template", 1000, 60000, none)
    yield Column("rv_template_logg", F32, "dex(cm / s2)", "Surface gravity of the velocity template", -2, 9, none)
    yield Column("rv_template_fe_h", F32, "dex", "[Fe/H] of the velocity template", -8, 3, none)
    yield Column("rv_atm_param_origin", I16, "", "Origin of the template's parameters", 0, None, none)
    yield Column("vbroad", F32, "km / s", "Line broadening", 0, None, none)
    yield Column("vbroad_error", F32, "km / s", "Standard error of vbroad", 0, None, none)
    yield Column("vbroad_nb_transits", I16, "", "Transits used for vbroad", 0, None, none)
    yield Column("grvs_mag", F32, "mag", "Integrated RVS magnitude", -5, 30, none)
    yield Column("grvs_mag_error", F32, "mag", "Standard error of grvs_mag", 0, None, none)
    yield Column("grvs_mag_nb_transits", I16, "", "Transits used for grvs_mag", 0, None, none)
    yield Column("rvs_spec_sig_to_noise", F32, "", "Signal to noise of the mean RVS spectrum", 0, None, none)


def _position_and_products() -> Iterator[Column]:
    yield Column("phot_variable_flag", TEXT, "", "NOT_AVAILABLE, CONSTANT or VARIABLE")
    yield Column("l", F64, "deg", "Galactic longitude", 0, 360)
    yield Column("b", F64, "deg", "Galactic latitude", -90, 90)
    yield Column("ecl_lon", F64, "deg", "Ecliptic longitude", 0, 360)
    yield Column("ecl_lat", F64, "deg", "Ecliptic latitude", -90, 90)
    yield Column("in_qso_candidates", BOOL, "", "In the table of quasar candidates")
    yield Column("in_galaxy_candidates", BOOL, "", "In the table of galaxy candidates")
    yield Column("non_single_star", I16, "", "Bits: 1 astrometric, 2 spectroscopic, 4 eclipsing binary", 0, 7)
    yield Column("has_xp_continuous", BOOL, "", "Mean BP/RP spectrum published as coefficients")
    yield Column("has_xp_sampled", BOOL, "", "Mean BP/RP spectrum published as sampled flux")
    yield Column("has_rvs", BOOL, "", "Mean RVS spectrum published")
    yield Column("has_epoch_photometry", BOOL, "", "Epoch photometry published")
    yield Column("has_epoch_rv", BOOL, "", "Epoch radial velocities published")
    yield Column("has_mcmc_gspphot", BOOL, "", "Samples of GSP-Phot published")
    yield Column("has_mcmc_msc", BOOL, "", "Samples of MSC published")
    yield Column("in_andromeda_survey", BOOL, "", "In the photometric survey around Andromeda")
    for kind in ("quasar", "galaxy", "star"):
        yield Column(f"classprob_dsc_combmod_{kind}", F32, "", f"Probability of being a {kind} (DSC Combmod)", 0, 1.001)


def _gspphot() -> Iterator[Column]:
    none = "no GSP-Phot solution"
    for name, unit, said, low, high in (
        ("teff", "K", "Effective temperature", 1000, 60000),
        ("logg", "dex(cm / s2)", "Surface gravity", -3, 9),
        ("mh", "dex", "[M/H]", -8, 3),
        ("distance", "pc", "Distance", 0, 1e6),
        ("azero", "mag", "Extinction at 541.4 nm", -0.1, 100),
        ("ag", "mag", "Extinction in G", -0.1, 100),
        ("ebpminrp", "mag", "Reddening E(BP - RP)", -0.1, 100),
    ):
        yield Column(f"{name}_gspphot", F32, unit, f"{said} from GSP-Phot on BP/RP spectra", low, high, none)
        yield Column(f"{name}_gspphot_lower", F32, unit, f"16th percentile of {name}_gspphot", low, high, none)
        yield Column(f"{name}_gspphot_upper", F32, unit, f"84th percentile of {name}_gspphot", low, high, none)
    yield Column("libname_gspphot", TEXT, "", "Library of model spectra that GSP-Phot found best", null=none)


COLUMNS = (
    *_identity(),
    *_astrometry(),
    *_astrometric_fit(),
    *_image(),
    *_photometry(),
    *_velocity(),
    *_position_and_products(),
    *_gspphot(),
)
