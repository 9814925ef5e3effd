"""Read and check the profile of a site: plain Dask configuration, and one small section of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import yaml
from dask.utils import parse_timedelta

from lake.errors import LakeError, listing

PROFILES = Path(__file__).resolve().parent.parent / "deploy" / "profiles"
QUEUES = ("slurm", "pbs")

_LOCAL = {"gaialake": {"cluster": "local"}}
_DASK_KEYS = ("resources", "worker-timeout")
_QUEUE_KEYS = ("cluster", "jobs", *_DASK_KEYS)
_KEYS = {
    "local": ("cluster", "workers", "memory-limit", "dashboard", *_DASK_KEYS),
    "none": ("cluster",),
    "slurm": _QUEUE_KEYS,
    "pbs": _QUEUE_KEYS,
    "scheduler": ("scheduler", *_DASK_KEYS),
}
_WORKER_TIMEOUT = "10 minutes"


@dataclass(frozen=True)
class Profile:
    """Where tasks run.

    Attributes
    ----------
    name
        As the user gave it.
    path
        The file; None for the profile `local` of an installation without `deploy`.
    cluster
        ``local``, ``none``, ``slurm``, ``pbs``, or ``scheduler`` for a cluster that runs already.
    own
        The section `gaialake`.
    dask
        All other sections, `DASK_...` variables of the environment included, which come first as always with Dask.
    """

    name: str
    path: Path | None
    cluster: str
    own: Mapping[str, Any]
    dask: Mapping[str, Any]

    @property
    def resources(self) -> dict[str, float]:
        """What each worker offers beside its thread, such as ``{"GPU": 1}``."""
        return dict(self.own.get("resources") or {})

    @property
    def worker_timeout(self) -> float:
        """Seconds that a run waits while there is no worker at all."""
        return float(parse_timedelta(self.own.get("worker-timeout", _WORKER_TIMEOUT)))


def profile(name: str) -> Profile:
    """Return a site profile: the name of a file in ``deploy/profiles``, or a path to one.

    Raises
    ------
    LakeError
        If there is no such profile, or it says what this version does not know.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.exists():
        if name == "local":
            return Profile(name, None, "local", _LOCAL["gaialake"], {})
        if path == Path(name):
            raise LakeError(f"{path}: no such file; --profile takes the path of a YAML file, or a name of {PROFILES}")
        raise LakeError(
            f"no profile {name!r}; there are {listing(p.stem for p in sorted(PROFILES.glob('*.yaml')))}, or give a YAML file"
        )
    try:
        held = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise LakeError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(held, dict) or not isinstance(held.get("gaialake"), dict):
        raise LakeError(f"{path}: no section `gaialake` in this profile; expected for example {yaml.safe_dump(_LOCAL).strip()!r}")
    merged = dask.config.merge(held, dask.config.collect_env())
    own = {key.replace("_", "-"): value for key, value in merged.pop("gaialake").items()}
    return Profile(name, path.resolve(), _checked(path, own), own, merged)


def _checked(path: Path, own: Mapping[str, Any]) -> str:
    """Return the kind of cluster that a section describes, after a look at all of its keys."""
    if "scheduler" in own and "cluster" in own:
        raise LakeError(f"{path}: `cluster` starts a cluster and `scheduler` names one that runs: give one of them")
    kind = "scheduler" if "scheduler" in own else own.get("cluster", "local")
    if kind not in _KEYS:
        kinds = listing(one for one in _KEYS if one != "scheduler")
        raise LakeError(
            f"{path}: cluster {kind!r} is unknown; there are {kinds}, or `scheduler: tcp://HOST:PORT` for a running one"
        )
    unknown = [key for key in own if key not in _KEYS[kind]]
    if unknown:
        raise LakeError(
            f"{path}: gaialake.{unknown[0]} is unknown; cluster {kind!r} takes {listing(_KEYS[kind])}. "
            "All else is Dask's own configuration and stands in sections `distributed` and `jobqueue`"
        )
    wrong = [
        f"gaialake.{key}: {own[key]!r} is not {wanted}"
        for key, wanted in _EXPECTED.items()
        if key in own and not _fits(key, own[key])
    ]
    if wrong:
        raise LakeError(f"{path}: {wrong[0]}")
    return str(kind)


_EXPECTED = {
    "jobs": "a number of jobs, 1 or more",
    "workers": "`auto` or a number of workers, 1 or more",
    "resources": "a mapping of names to numbers, such as {GPU: 1}",
    "worker-timeout": "a time, such as 10 minutes",
    "scheduler": "an address, such as tcp://HOST:PORT or tls://HOST:PORT",
}


def _fits(key: str, value: Any) -> bool:
    if key in ("jobs", "workers"):
        return (value == "auto" and key == "workers") or (isinstance(value, int) and value >= 1)
    if key == "resources":
        return isinstance(value, dict) and all(isinstance(amount, int | float) for amount in value.values())
    if key == "scheduler":
        return isinstance(value, str) and "://" in value
    try:
        return float(parse_timedelta(value)) > 0
    except (TypeError, ValueError, KeyError):
        return False


def protocol() -> str | None:
    """Return the protocol of a cluster of our own: encrypted if Dask's configuration requires it."""
    return "tls://" if dask.config.get("distributed.comm.require-encryption") else None


def spelt(resources: Mapping[str, float]) -> str:
    """Return resources as the command line of a worker takes them."""
    return ",".join(f"{name}={amount:g}" for name, amount in resources.items())


def flat(nested: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested configuration by dotted keys, so that setting it leaves what stands beside alone.

    >>> flat({"distributed": {"worker": {"memory": {"spill": 0.8}}}, "array": {}})
    {'distributed.worker.memory.spill': 0.8}
    """
    found: dict[str, Any] = {}
    for key, value in nested.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found
