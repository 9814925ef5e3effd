"""Map a product over all partitions: predictions, translations and combinations become tables of the same lake."""

from jobs.product import current_version, has_bundle
from jobs.products import product
from lake.derive import Derivation, derive, derived_build
from lake.errors import LakeError, listing
from lake.ingest import Outcome, Runner
from lake.root import Lake


def derivation(lake: Lake, name: str, bundle: str | None = None) -> Derivation:
    """Describe a product, made with a bundle (the current one if not named) or with its rules, as a derived table.

    Raises
    ------
    LakeError
        If its model was never trained here, there is no such bundle, or the table that it starts from is not published.
    """
    wanted = product(name)
    if bundle is not None and wanted.rules:
        raise LakeError(f"{name} follows declared rules and has no bundles; leave --bundle out")
    chosen = bundle or current_version(lake.storage, wanted)
    if chosen is None:
        raise LakeError(f"{name} was never trained in this lake; run `gaialake --lake {lake.storage.root} train {name}` first")
    if not wanted.rules and not has_bundle(lake.storage, name, chosen):
        there = [one for one in lake.storage.names(f"models/{name}") if one != "current.json"]
        raise LakeError(f"{name} has no bundle {chosen!r}; there are {listing(there)}")
    if wanted.anchor not in lake.published:
        raise LakeError(
            f"{name} starts from {wanted.anchor}, which is not published in this lake; "
            f"`gaialake --lake {lake.storage.root} ingest {wanted.anchor} --raw PATH...`, then `nightly`"
        )
    return wanted.derivation(lake, chosen)


def predict(lake: Lake, name: str, *, bundle: str | None = None, run: Runner, part: tuple[int, int] | None = None) -> Outcome:
    """Build a product from all that is published (or a share of its partitions); unchanged partitions are kept."""
    wanted = derivation(lake, name, bundle)
    return derive(lake.storage, product(name).join(lake), wanted, run=run, part=part)


def wanted_build(lake: Lake, name: str) -> str | None:
    """Return the build that a product should have with what is published; None if it was never trained or lacks its anchor."""
    wanted = product(name)
    version = current_version(lake.storage, wanted)
    if version is None or wanted.anchor not in lake.published:
        return None
    return derived_build(wanted.join(lake), wanted.table, version)
