"""Declare the catalogues whose labels are combined: their columns, the advice that speaks against values, their least errors.

A survey's own advice comes from its release; which is whose is said beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lake.advice import Advice
from lake.columns.homogenised import LABELS, SOURCES
from lake.declaration import Where

_TRANSLATED = {"teff": "teff", "logg": "logg", "m_h": "metallicity", "mg_fe": "mg_fe", "radial_velocity": "velocity"}
_FOUR = ("teff", "logg", "m_h", "mg_fe")
_VELOCITY = ("radial_velocity",)


@dataclass(frozen=True)
class Source:
    """One catalogue of labels on the base.

    Attributes
    ----------
    name
        One of `lake.columns.homogenised.SOURCES`; its place there is its bit, and the order in which a family is asked.
    family
        Spectra that the labels come from.
    table
        Table that holds the labels on the base.
    original
        Table that holds what the survey published.
    published
        Label -> column of the original table.
    floors
        Least error of each label, added in quadrature to every error, in the label's unit.
    advice
        What speaks against a value.
    scatter
        Label -> column of the scatter of single measurements, added in quadrature to the published error where there is one.
    """

    name: str
    family: str
    table: str
    original: str
    published: Mapping[str, str]
    floors: Mapping[str, float]
    advice: tuple[Advice, ...] = ()
    scatter: Mapping[str, str] = field(default_factory=dict)

    @property
    def bit(self) -> int:
        """Value that the source adds to ``<label>_sources``."""
        return 1 << tuple(SOURCES).index(self.name)

    @property
    def is_base(self) -> bool:
        """Whether the survey's own scale is the base."""
        return self.table == self.original

    def parts(self, label: str) -> tuple[str, ...]:
        """Return the columns of its table that give value and error of a label."""
        if self.is_base:
            own = self.published[label]
            return (own, f"{own}_error", *([self.scatter[label]] if label in self.scatter else []))
        return tuple(f"{_TRANSLATED[label]}_{part}" for part in ("p50", "p16", "p84", "systematic"))


def _floors(teff: float, logg: float, m_h: float, mg_fe: float, velocity: float) -> dict[str, float]:
    return dict(zip(LABELS, (teff, logg, m_h, mg_fe, velocity), strict=True))


def _good_spectra(table: str) -> tuple[Advice, ...]:
    # GALAH's advice for parameters and abundances; abundances with a flag are null in the table.
    return (
        Advice(table, Where("galah_flag_sp", other_than=(0,), absent=True)),
        Advice(table, Where("snr", below=30, absent=True)),
    )


def _in_domain(table: str) -> tuple[Advice, ...]:
    return (
        Advice(table, Where("intrinsic_in_domain", other_than=(True,), absent=True), _FOUR),
        Advice(table, Where("extrinsic_in_domain", other_than=(True,), absent=True), _VELOCITY),
    )


def _covered(table: str) -> tuple[Advice, ...]:
    # The published tables put the mean of the training stars in the place of a missing input; their flag of the velocity's
    # output is true in every row and says nothing.
    good = (("intrinsic_input_covered", _FOUR), ("intrinsic_output_covered", _FOUR), ("extrinsic_input_covered", _VELOCITY))
    bad = (("intrinsic_input_missing", _FOUR), ("extrinsic_input_missing", _VELOCITY))
    return (
        *(Advice(table, Where(name, other_than=(True,), absent=True), labels) for name, labels in good),
        *(Advice(table, Where(name, other_than=(False,), absent=True), labels) for name, labels in bad),
        Advice(table, Where("percentiles_ordered", other_than=(True,), absent=True)),
    )


_OF_GALAH = {label: label for label in LABELS} | {"m_h": "fe_h"}
# All floors are ours. They stand for what formal errors (12 K, 0.008 dex in APOGEE) leave out, and are chosen from published
# scatters: a model of spectra gives APOGEE's labels back to 18 K, 0.04 and 0.015 dex, elements to below 0.03 (Shen et al.
# 2026); [Fe/H] scatters within clusters by 0.03 dex on the scale of APOGEE and 0.06 on GALAH's (Nandakumar et al. 2022), and
# within ten clusters of APOGEE DR16 by 0.033 dex in the middle, where formal errors say 0.010; GALAH and APOGEE differ by 105
# K, 0.12, 0.10, 0.10 dex and 0.46 km/s, by 89 K, 0.08 and 0.06 dex ([M/H], [Mg/Fe]) once translated (figures released with
# SpectroTranslator), most of which the errors of translated values already say; zero points of velocities are good to 0.16 -
# 0.31 km/s (Tsantaki et al. 2022); LAMOST spectra give APOGEE's labels to 50 K, 0.13, 0.06 dex.
CATALOGUES = (
    Source(
        name="apogee_dr17",
        family="apogee",
        table="apogee_dr17",
        original="apogee_dr17",
        published={label: label for label in LABELS},
        floors=_floors(20.0, 0.04, 0.03, 0.03, 0.2),
        # Labels of bad stars and grid edges are null in the table; these cuts of spoiled spectra and failed velocities are ours.
        advice=(
            Advice("apogee_dr17", Where("apogee_starflag", bits=("BAD_PIXELS", "VERY_BRIGHT_NEIGHBOR"), absent=True)),
            Advice("apogee_dr17", Where("apogee_starflag", bits=("BAD_RV_COMBINATION", "RV_REJECT", "RV_FAIL")), _VELOCITY),
        ),
        # As the published training took the error of velocities; it is what tells binaries.
        scatter={"radial_velocity": "velocity_scatter"},
    ),
    Source(
        name="galah_dr4",
        family="galah",
        table="galah_dr4_on_apogee_dr17",
        original="galah_dr4",
        published=_OF_GALAH,
        floors=_floors(40.0, 0.06, 0.04, 0.04, 0.3),
        advice=(*_good_spectra("galah_dr4"), *_in_domain("galah_dr4_on_apogee_dr17")),
    ),
    Source(
        name="galah_dr3",
        family="galah",
        table="galah_dr3_on_apogee_dr17",
        original="galah_dr3",
        published=_OF_GALAH,
        floors=_floors(40.0, 0.06, 0.04, 0.04, 0.3),
        advice=(*_good_spectra("galah_dr3"), *_in_domain("galah_dr3_on_apogee_dr17")),
    ),
    # Its systematic errors are too small (extremes of the ensemble were dropped before the scatter was taken), and the networks
    # that were released gave velocities worse than their inputs: hence the larger floors.
    Source(
        name="galah_dr3_g2a",
        family="galah",
        table="spectrotranslator_g2a",
        original="galah_dr3",
        published=_OF_GALAH,
        floors=_floors(60.0, 0.08, 0.05, 0.05, 1.0),
        advice=(*_good_spectra("galah_dr3"), *_covered("spectrotranslator_g2a")),
    ),
    # Low resolution; [Mg/Fe] is translated from [alpha/M]. The limit in signal-to-noise is that of the stars that teach the
    # translation, and it is learnt for LAMOST's own labels, not the Hot Payne's.
    Source(
        name="lamost_dr8",
        family="lamost",
        table="lamost_dr8_on_apogee_dr17",
        original="lamost_dr8",
        published=_OF_GALAH | {"mg_fe": "alpha_m"},
        floors=_floors(50.0, 0.10, 0.06, 0.06, 3.0),
        advice=(
            Advice("lamost_dr8", Where("lamost_snr_g", below=30, absent=True)),
            Advice("lamost_dr8", Where("label_origin", other_than=("lamost_dr8",), absent=True), _FOUR),
            *_in_domain("lamost_dr8_on_apogee_dr17"),
        ),
    ),
)
