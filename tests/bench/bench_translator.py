"""Translate labels with 200 realisations and ensembles of ten, small and as published, against their matrix products alone."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measure import Line, Setting, Usage, contest, measure

from lake.survey import survey
from models.translation import TRANSLATIONS
from models.translator_config import PRESETS
from tests.models.pairs import pairs

_NAME, _PRESETS, _REALISATIONS = "galah_dr3_on_apogee_dr17", ("small", "published"), 200
_STARS, _PROBE, _TAUGHT = 5_000, 500, 600
_SECONDS, _MEMORY = 600.0, 2 << 30
_SIDE, _PASS, _PRODUCTS = 512, 2_560, 40  # what a pass of the widest published layer multiplies
_HELD: dict[str, Any] = {}


def run(setting: Setting) -> list[Line]:
    """Return the lines of this benchmark; every network is taught for one epoch only, for what it says costs no time.

    Each size is tried on 500 stars first, and then on as many of the 5,000 as take ten minutes.
    """
    most = min(_STARS, max(_PROBE, setting.rows // 400))
    made, path = pairs(max(most, _TAUGHT), 0, _NAME).table, setting.folder / "common_stars.parquet"
    pq.write_table(made, path)
    found: dict[str, tuple[Usage, int]] = {}
    fastest = 0.0
    for preset in _PRESETS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            speed, flops = pool.submit(_prepare, path, preset).result()

            def cost(stars: int, by: ProcessPoolExecutor = pool) -> Usage:
                return by.submit(measure, partial(_translate, stars)).result()

            probe = cost(_PROBE)
            stars = min(most, max(1, int(_SECONDS / probe.wall)) * _PROBE)
            rounds = max(1, min(setting.rounds, int(_SECONDS * _PROBE / (probe.wall * stars))))
            usage = contest({preset: partial(cost, stars)}, rounds, by=lambda work: work())[preset]
            # Other work on the machine slows down products as well: the fastest of all is what the core can do.
            fastest = max(fastest, speed, pool.submit(_product_speed).result())
        assert usage.result == stars, usage.result
        found[preset] = usage, flops
    return [_line(preset, usage, flops, fastest) for preset, (usage, flops) in found.items()]


def _line(preset: str, usage: Usage, flops: int, speed: float) -> Line:
    stars, of_all = usage.result, survey("spectrotranslator_g2a").rows or 0
    rate = stars / usage.cpu
    note = (
        f"{rate:,.1f} stars/s/core; {of_all:,} of g2a: {of_all / rate / 3600:.2f} core hours; {flops / 1e6:,.0f} MFLOP a star "
        f"at {speed / 1e9:.0f} GFLOP/s of one core's products"
    )
    return Line(
        "transl",
        f"{preset}: {stars:,} SYNTHETIC stars, {_REALISATIONS} realisations, ensemble of 10",
        usage,
        to_floor=usage.cpu / (stars * flops / speed),
        goal=f"peak < {_MEMORY >> 30} GiB",
        met=usage.peak < _MEMORY,
        note=note,
    )


def _prepare(path: Path, preset: str) -> tuple[float, int]:
    """Teach a translator in this process; return the speed of its products [FLOP/s] and what a star takes of them [FLOP]."""
    import torch

    from models.translator_fit import train

    torch.set_num_threads(1)
    table = pq.read_table(path)
    config = replace(PRESETS[preset](), epochs=1)
    translator = train(table.slice(0, _TAUGHT), TRANSLATIONS[_NAME], config, seed=0)
    _HELD.update(table=table, translator=translator)
    flops = 0
    for network in translator.networks:
        # Each realisation goes through one member, the star itself through all.
        passes = _REALISATIONS + len(network.members)
        flops += passes * sum(
            2 * one.in_features * one.out_features for one in network.members[0].modules() if isinstance(one, torch.nn.Linear)
        )
    return _product_speed(), flops


def _product_speed() -> float:
    """Return how fast this core multiplies matrices of single precision [FLOP/s], the best of some products."""
    import torch

    a, b, out = torch.rand(_PASS, _SIDE), torch.rand(_SIDE, _SIDE), torch.empty(_PASS, _SIDE)
    fastest = min(_seconds(lambda: torch.mm(a, b, out=out)) for _ in range(_PRODUCTS))
    return 2.0 * _PASS * _SIDE * _SIDE / fastest


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _translate(stars: int) -> int:
    from models.translator_predict import translate

    table: pa.Table = _HELD["table"]
    return translate(table.slice(0, stars), _HELD["translator"], realisations=_REALISATIONS).num_rows
