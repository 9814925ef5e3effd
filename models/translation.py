"""Declare which label tables are translated onto which base: columns in order, units, and which common stars teach it.

One translation is one pair of tables. Labels stand in the order of the published SpectroTranslator tables; the velocity,
which the others influence but which influences none of them, has a network of its own and comes last. Free of torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Magnitudes of Gaia, whose differences BP - G and G - RP are inputs beside the labels.
MAGNITUDES = ("phot_bp_mean_mag", "phot_g_mean_mag", "phot_rp_mean_mag")
FROM, TO = "from", "to"


@dataclass(frozen=True)
class Label:
    """One label: its name in the translated table, and its column in either table (the error is ``<column>_error``)."""

    name: str
    unit: str
    source: str
    target: str


@dataclass(frozen=True)
class Cut:
    """What a common star must fulfil to teach; a null does not.

    Attributes
    ----------
    side
        ``from`` or ``to``: the table that holds the column.
    low, high
        Inclusive limits.
    bits
        Bits none of which may be set.
    only
        The one word that a column of words may hold.
    labels
        Labels that the cut concerns; all if empty.
    """

    side: str
    column: str
    low: float | None = None
    high: float | None = None
    bits: int = 0
    only: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Translation:
    """A label table on the base of another.

    Attributes
    ----------
    name
        Of the translated table.
    base_from, base_to
        The table translated, and the one whose scale it is brought onto.
    key
        Column by which the translated survey names a row, carried along.
    labels
        In order; the one named ``velocity``, if any, is the last.
    cuts
        Which common stars teach; all stars are translated.
    authors
        Table of the same translation as the method's authors published it, if they did.
    """

    name: str
    base_from: str
    base_to: str
    key: str
    labels: tuple[Label, ...]
    cuts: tuple[Cut, ...]
    authors: str | None = None

    @property
    def title(self) -> str:
        """Return the title of the translated table."""
        return f"Labels of {self.base_from} on the base of {self.base_to}, as SpectroTranslator networks translate them"


def _labels(source: Mapping[str, str], target: Mapping[str, str]) -> tuple[Label, ...]:
    units = {"teff": "K", "logg": "dex(cm / s2)", "metallicity": "dex", "mg_fe": "dex", "velocity": "km / s"}
    return tuple(Label(name, unit, source[name], target[name]) for name, unit in units.items())


_APOGEE = {"teff": "teff", "logg": "logg", "metallicity": "m_h", "mg_fe": "mg_fe", "velocity": "radial_velocity"}
_GALAH = _APOGEE | {"metallicity": "fe_h"}
# LAMOST has no magnesium of its own: its [alpha/M] is what comes closest.
_LAMOST = _GALAH | {"mg_fe": "alpha_m"}


def _good_apogee(side: str) -> tuple[Cut, ...]:
    # Bad stars have no labels in the table; a scatter of velocities betrays binaries.
    return Cut(side, "snr", low=50.0), Cut(side, "velocity_scatter", high=1.0, labels=("velocity",))


def _good_galah(side: str) -> tuple[Cut, ...]:
    # The survey's own advice; abundances with a flag are null in the table.
    return Cut(side, "snr", low=30.0), Cut(side, "galah_flag_sp", low=0, high=0)


TRANSLATIONS: Mapping[str, Translation] = {
    one.name: one
    for one in (
        Translation(
            name="galah_dr3_on_apogee_dr17",
            base_from="galah_dr3",
            base_to="apogee_dr17",
            key="sobject_id",
            labels=_labels(_GALAH, _APOGEE),
            cuts=(*_good_galah(FROM), *_good_apogee(TO)),
            authors="spectrotranslator_g2a",
        ),
        Translation(
            name="galah_dr4_on_apogee_dr17",
            base_from="galah_dr4",
            base_to="apogee_dr17",
            key="sobject_id",
            labels=_labels(_GALAH, _APOGEE),
            cuts=(*_good_galah(FROM), *_good_apogee(TO)),
        ),
        Translation(
            name="apogee_dr17_on_galah_dr3",
            base_from="apogee_dr17",
            base_to="galah_dr3",
            key="apogee_id",
            labels=_labels(_APOGEE, _GALAH),
            cuts=(*_good_apogee(FROM), *_good_galah(TO)),
            authors="spectrotranslator_a2g",
        ),
        Translation(
            name="lamost_dr8_on_apogee_dr17",
            base_from="lamost_dr8",
            base_to="apogee_dr17",
            key="lamost_obsid",
            labels=_labels(_LAMOST, _APOGEE),
            # Labels of hot stars are the Hot Payne's, on another scale than LAMOST's own; velocities are not.
            cuts=(
                Cut(FROM, "lamost_snr_g", low=30.0),
                Cut(FROM, "label_origin", only="lamost_dr8", labels=("teff", "logg", "metallicity", "mg_fe")),
                *_good_apogee(TO),
            ),
        ),
    )
}
