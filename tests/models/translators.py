"""Train a translation for a moment on SYNTHETIC common stars, for tests of what comes before and after."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
from torch import nn

from models.spectro_translator import network as new_network
from models.translation import TRANSLATIONS, Translation
from models.translator import Translator
from models.translator_config import debug
from models.translator_fit import train
from tests.models.pairs import pairs

NAME = "galah_dr3_on_apogee_dr17"
LABELS = ("teff", "logg", "metallicity", "mg_fe", "velocity")


def translation() -> Translation:
    """The translation that is trained."""
    return TRANSLATIONS[NAME]


@cache
def common() -> pa.Table:
    """800 SYNTHETIC common stars."""
    return pairs(800, 3, NAME).table


@cache
def trained() -> Translator:
    """Two networks of either kind after four epochs."""
    return train(common(), translation(), debug(), seed=5)


@cache
def inference() -> pa.Table:
    """300 of the stars as the other survey does not know them, none of them with anything missing."""
    table = common().select([name for name in common().column_names if not name.startswith("to_")])
    complete = np.all([table[name].is_valid().to_numpy() for name in table.column_names], axis=0)
    return table.filter(pa.array(complete)).slice(0, 300)


def put(table: pa.Table, column: str, values: object) -> pa.Table:
    """Replace a column, keeping its type."""
    at = table.schema.get_field_index(column)
    return table.set_column(at, column, pa.array(values, type=table.schema.field(at).type))


def emptied(table: pa.Table, *columns: str, rows: slice = slice(None)) -> pa.Table:
    """Make some rows of columns null."""
    for column in columns:
        values = table[column].to_pylist()
        values[rows] = [None] * len(values[rows])
        table = put(table, column, values)
    return table


def untrained(translator: Translator) -> Translator:
    """Put back what the networks were before training."""
    networks = [
        replace(
            one,
            offsets=np.zeros_like(one.offsets),
            quadratic=np.zeros_like(one.quadratic),
            members=nn.ModuleList(new_network(translator.config, len(one.inputs), len(one.outputs)).eval() for _ in one.members),
        )
        for one in translator.networks
    ]
    return replace(translator, networks=tuple(networks))


def numbers(table: pa.Table, column: str) -> np.ndarray:
    """A column as float64, NaN where null."""
    return table[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
