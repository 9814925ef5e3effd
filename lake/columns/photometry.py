"""Name the columns of photometric surveys, and of the tables published beside their matches."""

from collections.abc import Iterator

from lake.columns.column import BOOL, F32, I16, I32, I64, TEXT, Column


def _magnitudes(survey: str, bands: str, said: str, limits: tuple[float, float], error: float | None = None) -> Iterator[Column]:
    """Yield magnitude and error of each band: ``<survey>_<band>_mag`` and ``<survey>_<band>_mag_error``."""
    for band in bands.split():
        name = f"{survey}_{band}_mag"
        yield Column(name, F32, "mag", said.format(band=band), *limits, "not measured, or condemned by the survey's flags")
        yield Column(f"{name}_error", F32, "mag", f"Standard error of {name}, as published", 0, error)


def _bands(name: str, bands: str, kind: object, said: str, low: float | None = None) -> Iterator[Column]:
    """Yield one column per band; `name` and `said` hold its place."""
    for band in bands.split():
        yield Column(name.format(band=band), kind, "", said.format(band=band), low)


def _matches() -> Iterator[Column]:
    """Yield what the best-neighbour tables of the Gaia archive say of a match beside its separation."""
    yield Column("number_of_neighbours", I16, "", "Objects of the survey that match this Gaia source within position errors", 0)
    yield Column("number_of_mates", I16, "", "Other Gaia sources whose best match is the same object of the survey", 0)
    yield Column("xm_flag", I16, "", "Flag of the Gaia archive's cross-match", 0)


def _panstarrs() -> Iterator[Column]:
    yield Column("ps1_id", I64, "", "Pan-STARRS1 object identifier (objID)")
    yield from _magnitudes("ps1", "g r i z y", "Pan-STARRS1 mean PSF magnitude in {band} (AB)", (5, 30), 1)
    yield Column("ps1_info_flags", I32, "", "Pan-STARRS1 object information flags (objInfoFlag)")
    yield Column("ps1_quality_flags", I16, "", "Pan-STARRS1 object quality flags (qualityFlag)", 0)
    yield Column("ps1_n_detections", I16, "", "Single-epoch detections of the object, all bands", 0)


def _sdss() -> Iterator[Column]:
    yield Column("sdss_id", I64, "", "SDSS object identifier (objID)")
    yield from _magnitudes("sdss", "u g r i z", "SDSS PSF magnitude in {band} (asinh, AB to about 0.04 mag)", (5, 30), 1)
    yield from _bands("sdss_flags_{band}", "u g r i z", I64, "SDSS photo flags of the detection in {band}")


def _skymapper() -> Iterator[Column]:
    yield Column("skymapper_id", I64, "", "SkyMapper object identifier (object_id)")
    yield from _magnitudes("skymapper", "u v g r i z", "SkyMapper mean PSF magnitude in {band} (AB)", (5, 30), 1)
    yield from _bands("skymapper_flags_{band}", "u v g r i z", I32, "Source Extractor flags in {band}, all images together", 0)
    yield from _bands("skymapper_nimaflags_{band}", "u v g r i z", I32, "Flagged pixels (bad, saturated, crosstalk) in {band}", 0)
    yield Column("skymapper_flags", I32, "", "Source Extractor flags, all bands together", 0)
    yield Column("skymapper_nimaflags", I32, "", "Flagged pixels (bad, saturated, crosstalk), all bands together", 0)
    yield Column("skymapper_n_good", I32, "", "Images used in all bands", 0)
    yield Column("skymapper_class_star", F32, "", "Stellarity by Source Extractor: 0 extended, 1 point-like", 0, 1)


def _tmass() -> Iterator[Column]:
    yield from _magnitudes("tmass", "j h ks", "2MASS default magnitude in {band} (Vega)", (-8, 25), 8)
    yield from _bands("tmass_{band}_quality", "j h ks", TEXT, "2MASS photometric quality (ph_qual) in {band}: A best, to X")


def _unwise() -> Iterator[Column]:
    both = "w1 w2"
    yield Column("unwise_id", TEXT, "", "unWISE object identifier (unwise_objid)")
    yield Column("unwise_primary", I16, "", "1 if the object lies in the part of the sky for which its coadd stands", 0, 1)
    for band in both.split():
        none = f"not detected in {band.upper()}"
        flux = f"unwise_{band}_flux"
        yield Column(flux, F32, "", f"unWISE flux in {band.upper()} [Vega nanomaggies: 22.5 mag is 1]", None, None, none)
        yield Column(f"{flux}_error", F32, "", f"Standard error of {flux}, statistical only", 0, None, none)
        yield Column(f"unwise_{band}_fracflux", F32, "", "Share of the object in the flux under its PSF", None, None, none)
        yield Column(f"unwise_{band}_qf", F32, "", "Share of good pixels under the PSF", 0, 1.1, none)
        yield Column(f"unwise_{band}_rchi2", F32, "", "Mean chi squared per pixel under the PSF", 0, None, none)
    yield from _magnitudes("unwise", both, "unWISE magnitude in {band} (Vega), of the flux", (-8, 40), 1)
    yield from _bands("unwise_flags_{band}", both, I32, "unWISE coadd flags at the object's central pixel in {band}")
    yield from _bands("unwise_info_flags_{band}", both, I32, "unWISE informational flags at the central pixel in {band}")


COLUMNS = (
    Column("catwise_w1_mag", F32, "mag", "CatWISE W1 magnitude (Vega)", -5, 30, "no CatWISE counterpart"),
    Column("catwise_w2_mag", F32, "mag", "CatWISE W2 magnitude (Vega)", -5, 30, "no CatWISE counterpart"),
    Column("in_training_sample", BOOL, "", "Used to train the XGBoost labels of Andrae et al. (2023)"),
    Column("teff_xgboost", F32, "K", "Effective temperature, XGBoost on XP (Andrae et al. 2023)", 1000, 60000),
    Column("logg_xgboost", F32, "dex(cm / s2)", "Surface gravity, XGBoost on XP (Andrae et al. 2023)", -3, 9),
    Column("mh_xgboost", F32, "dex", "[M/H], XGBoost on XP (Andrae et al. 2023)", -8, 3),
    *_matches(),
    *_panstarrs(),
    *_sdss(),
    *_skymapper(),
    *_tmass(),
    *_unwise(),
)
