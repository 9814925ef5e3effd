"""Open dust maps through the package dustmaps: once per process, and without its warnings, prints and configuration file.

dustmaps looks for maps in a folder that a file in the user's home names; here every map is given by its path instead. This is
the only module that imports it. What is asked of a map stands in the survey's declaration.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.errors import LakeError

Query = Callable[..., Any]


def galactic(rows: pa.Table) -> Any:
    """Return the Galactic directions of rows with ``ra`` and ``dec`` [deg, ICRS], as an astropy `SkyCoord`."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    return SkyCoord(rows["ra"].to_numpy() * u.deg, rows["dec"].to_numpy() * u.deg, frame="icrs").galactic


def sfd(files: tuple[Path, ...]) -> Query:
    """Return the query of the SFD98 map.

    Raises
    ------
    LakeError
        If the maps of both hemispheres do not lie in one folder under their published names, or dustmaps is not installed.
    """
    names = {f"SFD_dust_4096_{pole}.fits" for pole in ("ngp", "sgp")}
    folders = {path.parent for path in files if path.name in names}
    if len(folders) != 1 or {path.name for path in files} != names:
        raise LakeError(
            f"SFD98 needs {' and '.join(sorted(names))} in one folder, unpacked; found: "
            f"{', '.join(map(str, files)) or 'none'}. `gaialake fetch dust_sfd`, or register the two files with --raw"
        )
    return _opened("sfd", tuple((str(path), path.stat().st_mtime_ns) for path in sorted(files)))


def bayestar(files: tuple[Path, ...]) -> Query:
    """Return the query of a Bayestar map; it holds all samples of the map in memory.

    Raises
    ------
    LakeError
        If there is not exactly one file, or dustmaps is not installed.
    """
    return _opened("bayestar", (_only(files, "Bayestar"),))


def planck(files: tuple[Path, ...], component: str) -> Query:
    """Return the query of one component (``tau``, ``extragalactic``) of the Planck 2013 dust model.

    Raises
    ------
    LakeError
        If there is not exactly one file, or dustmaps is not installed.
    """
    return _opened(f"planck {component}", (_only(files, "Planck"),))


def floats(values: NDArray[Any], name: str) -> pa.Array:
    """Return what a map gave for the column `name` as Arrow, null where it gave nothing (NaN, or a HEALPix blank)."""
    from lake.columns import column

    held = np.asarray(values, dtype=np.float64)
    return pa.array(held, column(name).type, mask=~(np.isfinite(held) & (held > -1e20)))


def _only(files: tuple[Path, ...], map_name: str) -> tuple[str, int]:
    if len(files) != 1:
        raise LakeError(
            f"the {map_name} map is one file, but {len(files)} are registered: {', '.join(map(str, files)) or 'none'}; "
            "name the right one with --replace --raw PATH"
        )
    return str(files[0]), files[0].stat().st_mtime_ns


@lru_cache(maxsize=4)
def _opened(kind: str, files: tuple[tuple[str, int], ...]) -> Query:
    """Open a map; files are named with their times, so that a changed file is opened again."""
    path = files[0][0]
    with _quiet():
        try:
            if kind == "sfd":
                from dustmaps.sfd import SFDQuery

                return SFDQuery(map_dir=str(Path(path).parent))
            if kind == "bayestar":
                from dustmaps.bayestar import BayestarQuery

                return BayestarQuery(map_fname=path)
            from dustmaps.planck import PlanckQuery

            return PlanckQuery(map_fname=path, component=kind.removeprefix("planck "))
        except ModuleNotFoundError as error:
            raise LakeError(f"dust maps need the package {error.name}: pip install 'gaialake[dust]'") from error
        except (OSError, KeyError, ValueError) as error:
            raise LakeError(f"{path}: no {kind.split()[0]} dust map ({error}); fetch it again") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warning about a missing configuration file, and what maps print while they load."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
