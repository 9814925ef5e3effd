"""Declare the three-dimensional map Bayestar2019 at the place in space of every Gaia source.

File: ``bayestar2019.h5`` (Dataverse doi:10.7910/DVN/2EJ9TX), north of declination -30 degrees. The unit is the map's own, close
to E(B-V) but not it: Table 1 of Green et al. (2019) turns it into extinction in a band.
Distance is 1 / (parallax - zero point), with a flat prior and at most 10 Mpc (negative parallaxes see the whole column). The
value is the mean, and its error the standard deviation, over the map's samples at distances of 16 parallaxes: the middles of
equally probable slices of the Gaussian that the parallax and its error describe, cut at 5 sigma. The slices are the same for
every star, so no draw depends on how stars share partitions. The whole map is in memory once per process (several GB).
"""

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.declaration import Computed, Http
from lake.dust import bayestar, floats, galactic
from lake.survey import Survey, same

_SLICES, _CUT = 16, 5.0  # of the parallax's Gaussian; sigma
_LEAST_PARALLAX = 1e-4  # mas


def _reddening(rows: pa.Table, files: tuple[Path, ...]) -> pa.Table:
    """Return mean and standard deviation of the reddening over parallax and samples, and the map's own two flags."""
    parallax, error = (_column(rows, name) for name in ("parallax", "parallax_error"))
    parallax = parallax - np.nan_to_num(_column(rows, "parallax_zero_point"))
    known = np.isfinite(parallax) & np.isfinite(error)
    ids = rows["source_id"].to_numpy()
    found, flags = _mean_and_scatter(rows.filter(pa.array(known)), parallax[known], error[known], files)
    inside = np.isfinite(found[0])
    made: dict[str, pa.Array] = {"source_id": pa.array(ids)}
    for name, values in zip(("reddening_bayestar2019", "reddening_bayestar2019_error"), found, strict=True):
        made[name] = floats(_spread(values, known, np.nan), name)
    for name, values in zip(("bayestar2019_converged", "bayestar2019_reliable"), flags, strict=True):
        made[name] = pa.array(_spread(values, known, False), mask=~_spread(inside, known, False))
    return pa.table(made)


def _mean_and_scatter(
    rows: pa.Table, parallax: NDArray[np.float64], error: NDArray[np.float64], files: tuple[Path, ...]
) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Return mean and standard deviation, and whether the map converged and is reliable there, of rows with parallaxes."""
    query, where = bayestar(files), galactic(rows)
    total, squares, count = np.zeros(len(parallax)), np.zeros(len(parallax)), 0
    for sigma in _slices():
        samples = np.asarray(query(_at(where, parallax + sigma * error), mode="samples"), dtype=np.float64)
        total, squares, count = total + samples.sum(axis=1), squares + (samples**2).sum(axis=1), count + samples.shape[1]
    mean = total / count
    _, flags = query(_at(where, parallax), mode="best", return_flags=True)
    scatter = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return (mean, scatter), (flags["converged"], flags["reliable_dist"])


def _slices() -> NDArray[np.float64]:
    """Return the middles of equally probable slices of a unit Gaussian that is cut at both sides."""
    unit = NormalDist()
    tail = unit.cdf(-_CUT)
    return np.array([unit.inv_cdf(tail + (1.0 - 2.0 * tail) * (k + 0.5) / _SLICES) for k in range(_SLICES)])


def _at(where: object, parallax: NDArray[np.float64]) -> object:
    """Return directions with the distances [kpc] of parallaxes [mas]."""
    import astropy.units as u
    from astropy.coordinates import Galactic, SkyCoord

    distance = 1.0 / np.maximum(parallax, _LEAST_PARALLAX)
    return SkyCoord(Galactic(where.l, where.b, distance * u.kpc))  # type: ignore[attr-defined]


def _spread(values: NDArray, known: NDArray[np.bool_], other: float | bool) -> NDArray:
    """Put the values of some rows back in their places."""
    whole = np.full(len(known), other, dtype=values.dtype)
    whole[known] = values
    return whole


def _column(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return rows[name].to_numpy(zero_copy_only=False).astype(np.float64)


SURVEY = Survey(
    name="dust_bayestar2019",
    title="Bayestar2019 reddening in three dimensions [mag, unit of the map] at Gaia DR3 sources",
    release="2019",
    kind="extinction",
    citation="Green, Schlafly, Zucker, Speagle & Finkbeiner 2019, ApJ 887, 93",
    licence="CC0 1.0 (Harvard Dataverse)",
    source="https://doi.org/10.7910/DVN/2EJ9TX",
    patterns=("bayestar2019.h5",),
    dialects=(),
    columns=same("source_id reddening_bayestar2019 reddening_bayestar2019_error bayestar2019_converged bayestar2019_reliable"),
    computed=Computed(
        table="gaia_dr3_source",
        needs=("ra", "dec", "parallax", "parallax_error", "parallax_zero_point"),
        function=_reddening,
    ),
    fetch=Http(
        urls=("https://dataverse.harvard.edu/api/access/datafile/3424724#bayestar2019.h5",),
        md5=(("bayestar2019.h5", "ab815d2fd3068d1b81a1bd61fb18a722"),),
    ),
)
