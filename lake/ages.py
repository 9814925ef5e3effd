"""Choose the age of a star: by declared rules, the first that holds, each with its cuts and the error its catalogue gives.

Ages without an error take no part, so those of GALAH DR4, which come from isochrones, do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lake.advice import Advice, Bools, Floats, numbers, speaks_against, stored
from lake.columns.homogenised import AGES
from lake.declaration import Where

# Slope of the line by which the astroNN catalogue corrects its ages: age_linear = (age - 0.238) / 0.887. Its smooth correction
# takes off the same bias, so the published error, which is the uncorrected age's, is stretched alike.
_SLOPE = 0.887


@dataclass(frozen=True)
class AgeRule:
    """When an age of one catalogue is taken.

    Attributes
    ----------
    name
        One of `lake.columns.homogenised.AGES`; their order is that of the rules.
    table
        Table that holds ``age`` and ``age_error``, both in Gyr.
    stretch
        Factor of the error, where age is corrected and the error is not.
    relative
        Relative error that an age must stay below.
    oldest
        Largest age that is taken, in Gyr.
    advice
        What else speaks against an age.
    """

    name: str
    table: str
    stretch: float = 1.0
    relative: float = 0.4
    oldest: float = 100.0
    advice: tuple[Advice, ...] = ()

    @property
    def number(self) -> int:
        """Value of ``age_source`` where the rule gives the age."""
        return 1 + tuple(AGES).index(self.name)


RULES = (
    # Cuts of the paper: relative error below 40 %, and neither flag raised (Leung et al. 2023, MNRAS 522, 4577).
    AgeRule(
        "latent",
        "apogee_latent_ages_dr17",
        advice=tuple(
            Advice("apogee_latent_ages_dr17", Where(f"apogee_{flag}", other_than=(0,), absent=True))
            for flag in ("starflag", "aspcapflag")
        ),
    ),
    # The network learnt from giants of APOKASC-2. All cuts are ours: log g of 6,355 of them, from mass and radius, is 1.17 to
    # 3.32, that of 99 % 1.36 to 3.28; 1.6 % of 3,315 Kepler giants with APOGEE spectra (Miglio et al. 2021) have [Fe/H] below
    # -0.5; the relative error is held to what the latent ages must keep; a star of 13.8 Gyr with that error may pass for 19.3.
    AgeRule(
        "astronn",
        "apogee_astronn_dr17",
        stretch=1.0 / _SLOPE,
        oldest=19.3,
        advice=(
            Advice("apogee_dr17", Where("logg", below=1.3, above=3.3, absent=True)),
            Advice("apogee_dr17", Where("m_h", below=-0.5, absent=True)),
        ),
    ),
)


def age_columns() -> tuple[str, ...]:
    """Return the names of the columns that `choose_ages` makes, in order."""
    own = (part for name in AGES for part in (f"age_{name}", f"age_{name}_error"))
    return ("age", "age_error", "age_source", *own)


def ages_read() -> dict[str, tuple[str, ...]]:
    """Return table -> columns that the rules read of it."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in RULES:
        needed = [(rule.table, "age"), (rule.table, "age_error"), *((one.table, one.where.column) for one in rule.advice)]
        for table, column in needed:
            found[table] = tuple(dict.fromkeys((*found.get(table, ()), column)))
    return found


def choose_ages(table: pa.Table) -> dict[str, pa.Array]:
    """Take the age of every star from the first rule that holds.

    Parameters
    ----------
    table
        Joined tables, columns called ``table.column``; of tables that the lake lacks there are none.

    Returns
    -------
    dict
        Name -> array as in `age_columns`, ages and errors float32 in Gyr. The catalogues' own values stand beside, also those
        that a cut refuses; ``age_source`` is 0 where there is no age. An age never has an error that its catalogue does not give.
    """
    age, error = np.full(len(table), np.nan), np.full(len(table), np.nan)
    source = np.zeros(len(table), np.int16)
    beside: dict[str, pa.Array] = {}
    for rule in RULES:
        value, sigma = _measured(table, rule)
        good = (source == 0) & _holds(table, rule, value, sigma)
        age, error = np.where(good, value, age), np.where(good, sigma, error)
        source[good] = rule.number
        beside |= {f"age_{rule.name}": stored(value), f"age_{rule.name}_error": stored(sigma)}
    return {"age": stored(age), "age_error": stored(error), "age_source": pa.array(source)} | beside


def refused_ages(table: pa.Table) -> Mapping[str, int]:
    """Count the ages that are refused, by rule and reason; the first reason counts, and no age is counted for a missing value."""
    counts: dict[str, int] = {}
    for rule in RULES:
        value, sigma = _measured(table, rule)
        left = np.isfinite(value)
        for reason, against in _against(table, rule, value, sigma).items():
            counts |= {f"age {rule.name}: {reason}": lost} if (lost := int((left & against).sum())) else {}
            left &= ~against
    return counts


def _measured(table: pa.Table, rule: AgeRule) -> tuple[Floats, Floats]:
    """Return age and error in Gyr, NaN where there is none."""
    value, sigma = numbers(table, f"{rule.table}.age"), numbers(table, f"{rule.table}.age_error") * rule.stretch
    value = np.where(np.isfinite(value) & (value > 0), value, np.nan)
    return value, np.where(np.isfinite(value) & np.isfinite(sigma) & (sigma > 0), sigma, np.nan)


def _against(table: pa.Table, rule: AgeRule, value: Floats, sigma: Floats) -> dict[str, Bools]:
    """Return what speaks against each age, by reason."""
    return {
        "no error": np.isnan(sigma),
        f"relative error not below {rule.relative:g}": ~(sigma < rule.relative * value),
        f"above {rule.oldest:g} Gyr": ~(value <= rule.oldest),
        **{str(one): speaks_against(table, one) for one in rule.advice},
    }


def _holds(table: pa.Table, rule: AgeRule, value: Floats, sigma: Floats) -> Bools:
    """Tell the rows, shape (rows,), whose age the rule takes."""
    good = np.isfinite(value)
    for against in _against(table, rule, value, sigma).values():
        good &= ~against
    return good
