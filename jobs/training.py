"""Train a product's model on the published tables, once for equal inputs, and make its bundle the current one."""

from jobs.product import bundle_key, current_key, has_bundle
from jobs.products import learning
from jobs.terminal import say
from lake.errors import BusyError, LakeError, OutageError, listing
from lake.exchange import read_version, write_version
from lake.ingest import Runner
from lake.root import Lake
from lake.storage import json_bytes


def training_id(lake: Lake, name: str, preset: str | None = None) -> str:
    """Return the id of the bundle that a preset (the default one if None) makes of what is published.

    Raises
    ------
    LakeError
        If there is no such preset, or a table that it needs is not published.
    """
    how = learning(name)
    chosen = how.default if preset is None else preset
    if chosen not in how.presets:
        raise LakeError(f"{name} has no preset {chosen!r}; there are {listing(how.presets)}")
    lacking = [table for table in how.needs if table not in lake.published]
    if lacking:
        raise LakeError(
            f"{name} is trained on {listing(how.needs)}; not published in this lake: {listing(lacking)}; "
            f"`gaialake --lake {lake.storage.root} ingest {lacking[0]} --raw PATH...`, then `nightly`"
        )
    return how.bundle_id(lake, chosen)


def train(lake: Lake, name: str, *, preset: str | None = None, run: Runner) -> tuple[str, bool]:
    """Train a product's model on the published tables and make its bundle the current one.

    Returns
    -------
    bundle
        Its id.
    trained
        False if that bundle was there already, and sound, so that nothing was done.

    Raises
    ------
    LakeError
        If the product or preset does not exist, its libraries are missing, a table that it needs is not published, or the
        tables do not allow of it.
    BusyError
        If another writer of a lake on an object store made a bundle the current one meanwhile; that one stays.
    """
    how = learning(name)
    # A training takes hours: whoever made another bundle the current one meanwhile is the later writer.
    _, tag = read_version(lake.storage, current_key(name))
    bundle = training_id(lake, name, preset)
    chosen = how.default if preset is None else preset
    trained = not _there(lake, name, bundle)
    if trained:
        try:
            save = how.fit(lake, chosen, bundle, run)
        except (ValueError, FloatingPointError) as error:
            raise LakeError(f"training of {name} failed: {error}") from error
        if has_bundle(lake.storage, name, bundle):
            # One that is damaged makes room.
            lake.storage.remove_tree(bundle_key(name, bundle))
        with lake.storage.staged(bundle_key(name, bundle)) as folder:
            save(folder)
    write_version(lake.storage, current_key(name), json_bytes({"bundle": bundle, "preset": chosen}), tag)
    return bundle, trained


def _there(lake: Lake, name: str, bundle: str) -> bool:
    """Tell whether a bundle is there and sound; what damaged one is told."""
    if not has_bundle(lake.storage, name, bundle):
        return False
    try:
        learning(name).load(lake.storage, bundle_key(name, bundle))
    except (BusyError, OutageError):
        raise
    except LakeError as error:
        say(f"  {name}: its bundle is damaged, so it is trained anew: {error}")
        return False
    return True
