"""Name the columns of the LAMOST catalogues, and of those made from its spectra, that no other survey has."""

from lake.columns.column import F32, I16, I32, I64, TEXT, Column

_BANDS = ("u", "g", "r", "i", "z")
_NO_LAMOST = "no LAMOST value published beside"

COLUMNS = (
    Column("lamost_obsid", I64, "", "LAMOST's number of the spectrum, unique within a release", 1),
    Column("lamost_spec_id", TEXT, "", "Spectrum as date, plan, spectrograph and fibre, such as 20111024-F5902-01-001"),
    Column("lamost_designation", TEXT, "", "LAMOST's name of the target, from its position"),
    Column("lamost_obsdate", TEXT, "", "Date of the observation, such as 2011-10-24 (Beijing)"),
    Column("lamost_lmjd", I32, "d", "Local modified Julian day of the observation (Beijing)", 50_000, 100_000),
    Column("lamost_planid", TEXT, "", "Name of the observed plan (field)"),
    Column("lamost_spid", I16, "", "Number of the spectrograph", 1, 99),
    Column("lamost_fiberid", I16, "", "Number of the fibre in its spectrograph", 1, 999),
    *(Column(f"lamost_snr_{band}", F32, "", f"Signal-to-noise ratio of the spectrum in the {band} band") for band in _BANDS),
    Column("spectral_class", TEXT, "", "Class of the best template: STAR, GALAXY, QSO"),
    Column("spectral_subclass", TEXT, "", "Type of the best template, such as G5"),
    Column("redshift", F32, "", "Redshift from the whole spectrum", -0.1, 10),
    Column("redshift_error", F32, "", "Standard error of redshift, as published", 0, 10),
    # Another scale than teff, logg and fe_h of the same row.
    Column("logg_apogee_scale", F32, "dex(cm / s2)", "Surface gravity on the scale of APOGEE", -3, 9),
    Column("logg_apogee_scale_error", F32, "dex(cm / s2)", "Standard error of logg_apogee_scale, as published", 0, 20),
    Column("fe_h_apogee_scale", F32, "dex", "[Fe/H] on the scale of APOGEE", -8, 3),
    Column("fe_h_apogee_scale_error", F32, "dex", "Standard error of fe_h_apogee_scale, as published", 0, 20),
    Column("teff_lamost", F32, "K", "Effective temperature from the LAMOST spectrum", 1000, 100_000, _NO_LAMOST),
    Column("logg_lamost", F32, "dex(cm / s2)", "Surface gravity from the LAMOST spectrum", -3, 9, _NO_LAMOST),
    Column("fe_h_lamost", F32, "dex", "[Fe/H] from the LAMOST spectrum", -8, 3, _NO_LAMOST),
    Column("star_name", TEXT, "", "The survey's name of the star"),
    Column("logg_flag", TEXT, "", "The survey's remark on logg", null="no remark"),
    Column("log_luminosity", F32, "dex(solLum)", "Decimal logarithm of the luminosity", -6, 8),
    Column("log_luminosity_error", F32, "dex(solLum)", "Standard error of log_luminosity, as published", 0, 20),
)
