"""Define a product: a table that is made of published tables by what was learnt from them, or by declared rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lake.derive import Derivation
from lake.errors import LakeError
from lake.ingest import Runner
from lake.join import Join
from lake.root import Lake
from lake.storage import Storage
from lake.table import Table
from lake.verify import Verdict

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True)
class Learning:
    """How a product is learnt.

    Attributes
    ----------
    presets
        Name -> what decides the outcome of a training with that preset.
    default
        Preset that is taken if none is named.
    needs
        Tables without which nothing can be learnt.
    bundle_id
        Id of the bundle that a preset makes of the published tables: equal inputs, equal id.
    fit
        Trains with a preset and a bundle id; returns what writes the bundle into a folder.
    load
        Loads the bundle at a key; a LakeError says what damaged it.
    requires
        Libraries that must be installed.
    """

    presets: Mapping[str, Any]
    default: str
    needs: tuple[str, ...]
    bundle_id: Callable[[Lake, str], str]
    fit: Callable[[Lake, str, str, Runner], Callable[[Path], None]]
    load: Callable[[Storage, str], object]
    requires: tuple[str, ...]


@dataclass(frozen=True)
class Product:
    """A table made of other tables of the lake, partition by partition.

    Attributes
    ----------
    name
        What a user types.
    table
        The table that is published.
    inputs
        Tables that it reads where they are published, in the order of its join; others may come and go without making it
        stale. The first is the anchor, without which there is none.
    join
        Prepares the join of what is published.
    derivation
        Describes the table for a version: a bundle's id, or that of the rules.
    width
        Bytes of a row about, for estimates, given a version if it is known.
    every
        Whether it has the sources of any of its inputs, not of the anchor alone.
    rules
        Version of the rules, where nothing is learnt.
    learning
        How it is learnt; None where rules decide.
    verify
        What a build must pass beside the audit of its files.
    released
        What is to be done when a build was published; doing it again changes nothing.
    """

    name: str
    table: str
    inputs: tuple[str, ...]
    join: Callable[[Lake], Join]
    derivation: Callable[[Lake, str], Derivation]
    width: Callable[[Storage, str | None], float]
    every: bool = False
    rules: str | None = None
    learning: Learning | None = None
    verify: Callable[[Lake, Table], Verdict] | None = None
    released: Callable[[Lake, Table], None] | None = None

    @property
    def anchor(self) -> str:
        """The table on whose files it is made."""
        return self.inputs[0]


def bundle_key(product: str, bundle: str) -> str:
    """Return the key of a bundle's folder."""
    return f"models/{product}/{bundle}"


def opened_bundle(storage: Storage, key: str, load: Callable[[Path], _Loaded]) -> _Loaded:
    """Return what a model's own `load` makes of the bundle at a key.

    Raises
    ------
    LakeError
        If its files are missing, damaged or of another version.
    """
    from models.document import BundleError

    try:
        return load(storage.local_copy(key))
    except BundleError as error:
        raise LakeError(str(error)) from error


def has_bundle(storage: Storage, product: str, bundle: str) -> bool:
    """Tell whether a bundle is there; it appears whole."""
    return storage.exists(f"{bundle_key(product, bundle)}/bundle.json")


def current_key(product: str) -> str:
    """Return the key of what names a product's current bundle, and the preset that it was trained with."""
    return f"models/{product}/current.json"


def current_bundle(storage: Storage, product: str) -> str | None:
    """Return the id of a product's current bundle: the one trained last. None if it was never trained."""
    held = storage.find_json(current_key(product))
    return str(held["bundle"]) if held else None


def current_version(storage: Storage, product: Product) -> str | None:
    """Return what the product is to be made with: its rules, or its current bundle; None if it was never trained."""
    return product.rules or current_bundle(storage, product.name)


def current_preset(storage: Storage, product: Product) -> str:
    """Return the preset of the current bundle; the default one if it was never trained, or nothing is learnt."""
    default = product.learning.default if product.learning else ""
    return str((storage.find_json(current_key(product.name)) or {}).get("preset", default))
