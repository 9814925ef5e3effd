"""List the products of a lake in the order in which they are made: predictions, translated labels, combined labels."""

import importlib.util
from collections.abc import Mapping, Sequence

from jobs import autoencoding, homogenising, translating
from jobs.product import Learning, Product
from lake.errors import LakeError, listing

# What reads another product comes after it.
PRODUCTS: Mapping[str, Product] = {
    one.name: one for one in (autoencoding.PRODUCT, *translating.PRODUCTS.values(), homogenising.PRODUCT)
}
# A word for several, before which their names may be left out.
TRANSLATOR = "translator"


def product(name: str) -> Product:
    """Return a product by its name.

    Raises
    ------
    LakeError
        If there is none; the message lists those that there are. Or if a library that it needs is not installed.
    """
    if name not in PRODUCTS:
        raise LakeError(f"no model {name!r}; there are {listing(PRODUCTS, 20)}")
    found = PRODUCTS[name]
    missing = [one for one in (found.learning.requires if found.learning else ()) if importlib.util.find_spec(one) is None]
    if missing:
        raise LakeError(f"{name} needs {listing(missing)}; pip install -c constraints.txt 'gaialake[models]'")
    return found


def by_table(table: str) -> Product | None:
    """Return the product whose table this is; None for a survey's."""
    return next((one for one in PRODUCTS.values() if one.table == table), None)


def learning(name: str) -> Learning:
    """Return how a product is learnt.

    Raises
    ------
    LakeError
        If there is no such product, or nothing is learnt of it.
    """
    found = product(name).learning
    if found is None:
        learnt = listing([one.name for one in PRODUCTS.values() if one.learning], 20)
        raise LakeError(f"{name} follows declared rules, so there is nothing to train; trained are {learnt}")
    return found


def named(words: Sequence[str]) -> list[str]:
    """Return the products that words of the command line name: ``translator`` alone stands for every translation.

    >>> named(["translator", "galah_dr3_on_apogee_dr17"])
    ['galah_dr3_on_apogee_dr17']
    """
    if words[:1] != [TRANSLATOR]:
        chosen = list(words)
    else:
        chosen = list(words[1:]) or list(translating.PRODUCTS)
        stray = [name for name in chosen if name not in translating.PRODUCTS]
        if stray:
            raise LakeError(f"no translation {stray[0]!r}; there are {listing(translating.PRODUCTS, 20)}")
    return [product(name).name for name in dict.fromkeys(chosen)]
