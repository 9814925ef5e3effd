"""Test on a sample of a training table what single values do not tell: scaling of spectra, matches, sizes of errors."""

from collections.abc import Iterator, Mapping

import numpy as np

from lake.pretrain import ANCHOR, SOURCES
from lake.relation import LEAST_ROWS, Sample, judge, names_of, said
from lake.survey import surveys
from lake.training_checks import ERROR, WARNING, error_of
from lake.training_report import Audit, Finding
from lake.training_rows import ARRAYS, BLOCKS, Floats
from lake.training_tally import SAMPLED

# Slopes of a decimal logarithm per magnitude of G. Coefficients scaled once do not depend on G; raw ones fall by 0.4, those
# scaled twice rise by it. Over its error the first coefficient falls by 0.16 and 0.17 (BP and RP of 1,257 real spectra,
# G = 12 to 18), whether both are raw or both scaled; where only the coefficients are scaled it rises by 0.24 and 0.23.
SCALE_SLOPE, RATIO_SLOPES = 0.2, (-0.36, 0.04)
_BIN, _LEAST_IN_BIN, _LEAST_SPAN = 0.5, 10, 2.0
# Median errors below these are those of a fit alone: APOGEE's are 12 K, 0.028, 0.008 and 0.008 dex, repeats differ by more.
FORMAL: Mapping[str, float] = {"teff": 15.0, "logg": 0.03, "m_h": 0.015, "mg_fe": 0.015}


def _sampled(audit: Audit, name: str) -> Floats:
    """Return the sampled values of a column, shape (rows,)."""
    return audit.tally.sample[1][:, SAMPLED.index(name)]


def _slope(g: Floats, values: Floats) -> float | None:
    """Return the change of a value per magnitude, from medians in half-magnitude bins; None where G spans too little."""
    good = np.isfinite(g) & np.isfinite(values)
    bins = np.floor(g[good] / _BIN)
    there, counts = np.unique(bins, return_counts=True)
    full = there[counts >= _LEAST_IN_BIN]
    if not len(full) or (full[-1] - full[0]) * _BIN < _LEAST_SPAN:
        return None
    medians = [float(np.median(values[good][bins == one])) for one in full]
    weights = np.sqrt(counts[counts >= _LEAST_IN_BIN])
    return float(np.polyfit(full * _BIN, medians, 1, w=weights)[0])


def _logarithm(values: Floats) -> Floats:
    return np.log10(values, out=np.full(len(values), np.nan), where=values > 0)


def spectra(audit: Audit) -> Iterator[Finding]:
    """Report XP values that were not scaled once to one brightness, or errors that were not scaled with them."""
    g = _sampled(audit, "phot_g_mean_mag")
    bp, rp = _sampled(audit, BLOCKS[0]), _sampled(audit, BLOCKS[1])
    slope = _slope(g, _logarithm(bp + rp))
    n = int((np.isfinite(g) & np.isfinite(bp + rp)).sum())
    if slope is None:
        audit.untested.append(f"scaling of XP spectra: too few rows ({n:,}) or too narrow a range of G")
        return
    # Arrays by split of others hold raw coefficients; ours say by which factor they were scaled.
    raw_is_fine = audit.form == ARRAYS and "xp_scale" not in audit.tally.moments
    if slope > SCALE_SLOPE or (slope < -SCALE_SLOPE and not (raw_is_fine and slope > -3 * SCALE_SLOPE)):
        what = "scaled more than once" if slope > 0 else "not scaled"
        advice = (
            f"first coefficients change by {slope:+.2f} dex per mag of G: {what} to one brightness; scale them once, with errors"
        )
        yield Finding(ERROR, "XP scale", f"{audit.own(BLOCKS[0])}, {audit.own(BLOCKS[1])}", n, n, advice, value=round(slope, 3))
    for values, name in ((bp, BLOCKS[0]), (rp, BLOCKS[1])):
        errors = _sampled(audit, error_of(name))
        ratio = np.divide(np.abs(values), errors, out=np.full(len(values), np.nan), where=errors > 0)
        trend = _slope(g, _logarithm(ratio))
        if trend is not None and not RATIO_SLOPES[0] < trend < RATIO_SLOPES[1]:
            advice = (
                f"coefficient over error changes by {trend:+.2f} dex per mag of G, about -0.16 is right: errors and coefficients "
                "were not scaled by the same factor; multiply both by xp_scale"
            )
            yield Finding(ERROR, "XP errors scale", audit.own(error_of(name)), n, n, advice, value=round(trend, 3))


def relations(audit: Audit) -> Iterator[Finding]:
    """Report magnitudes of other stars, by the relations that the surveys declare."""
    for survey in SOURCES:
        for relation in surveys()[survey].relations if survey != ANCHOR else ():
            named = {*names_of(relation.value), *(name for part in relation.against for name in names_of(part))}
            if not named <= set(SAMPLED):
                continue
            value = _difference(audit, relation.value)
            against = np.stack([_difference(audit, part) for part in relation.against], axis=1)
            good = np.isfinite(value) & np.isfinite(against).all(axis=1)
            record = judge(relation, Sample(audit.tally.sample[0][good], value[good], against[good], int(good.sum())))
            shown = " - ".join(audit.own(name) for name in names_of(relation.value))
            if record["sound"] is None and good.any():
                audit.untested.append(f"whether {shown} belongs to its stars: {good.sum():,} rows are too few")
            if record["sound"] is False:
                advice = (
                    f"{record['outliers']:,} rows are off {said(relation.value)} as {record['against']} predict it by more than "
                    f"{relation.tolerance:g}, scatter {record['scatter']:.2f} of that of other stars: magnitudes of other stars; "
                    f"join {survey} by its right key"
                )
                worst = record["worst"][0]
                star = int(worst.split(":")[0].removeprefix("source_id "))
                yield Finding(ERROR, "other stars", shown, record["outliers"], record["rows"], advice, star, worst)


def _difference(audit: Audit, part: str | tuple[str, str]) -> Floats:
    names = names_of(part)
    first = _sampled(audit, names[0])
    return first if len(names) == 1 else first - _sampled(audit, names[1])


def formal(audit: Audit) -> Iterator[Finding]:
    """Report labels whose errors are those of a fit alone."""
    for label, least in FORMAL.items():
        errors = _sampled(audit, error_of(label))
        good = errors[np.isfinite(errors)]
        if len(good) >= LEAST_ROWS and np.median(good) < least:
            advice = f"half of the errors are below {least:g}, less than repeated observations differ by; add an error floor"
            small, middle = int((good < least).sum()), float(np.median(good))
            yield Finding(WARNING, "formal errors only", audit.own(error_of(label)), small, len(good), advice, value=middle)
