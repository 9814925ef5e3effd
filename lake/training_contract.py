"""Compare the columns of a training table with those it should have, and name those that may be meant by a missing one."""

import re
from collections.abc import Iterable, Iterator, Sequence

from lake.errors import listing
from lake.finetune import FINETUNE_COLUMNS
from lake.pretrain import COLUMNS as PRETRAIN
from lake.pretrain import WIDE
from lake.training_checks import ERROR, WARNING
from lake.training_columns import STORED, block_element
from lake.training_report import Audit, Finding
from lake.training_rows import ARRAYS
from lake.training_tally import kind_of


def columns(audit: Audit) -> Iterator[Finding]:
    """Report parts that differ, missing columns with their candidates, and another order than the stored one."""
    stored = [set(names) for names in audit.tally.names]
    odd = [part for names, part in audit.tally.names.items() if set(names) != stored[0]]
    if odd:
        differ = listing(sorted(stored[0].symmetric_difference(*stored[1:])))
        advice = f"all parts must have the same columns; {listing(odd, 4)} differ in {differ}"
        yield Finding(ERROR, "columns differ between parts", differ, len(odd), len(audit.tally.spans), advice)
    if not audit.tally.names or audit.form == ARRAYS:
        return
    names = next(iter(audit.tally.names))
    wide, labelled = kind_of(names)
    contract, needed = _contract(wide, labelled)
    held = {block_element(name)[0] if wide else name for name in names}
    lacking = [name for name in contract if name not in held and name != "source_id"]
    for name in lacking:
        near = candidates(name, names)
        advice = f"rename one of {listing(near)}" if near else "write the table again with it, or it cannot be an input"
        level = ERROR if name in needed else WARNING
        yield Finding(level, "column missing", name, 1, len(contract), advice, value=near or None)
    yield from _sequence([block_element(name)[0] if wide else name for name in names], needed)


def _contract(wide: bool, labelled: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that a training table has, and those of them that its readers need, in their stored order."""
    if not wide:
        columns = ("source_id", *(FINETUNE_COLUMNS if labelled else PRETRAIN))
        new = PRETRAIN[PRETRAIN.index("parallax_error") + 1 :]
        provenance = FINETUNE_COLUMNS[FINETUNE_COLUMNS.index(PRETRAIN[-1]) + 1 :]
        return columns, tuple(name for name in columns if name not in (*new, *provenance))
    needed = tuple(name for name in STORED if labelled or name in ("source_id", *WIDE.values()))
    return (*needed, *(name for name in WIDE.values() if name not in needed)), needed


def _sequence(names: Sequence[str], needed: Sequence[str]) -> Iterator[Finding]:
    found = list(dict.fromkeys(name for name in names if name in needed))
    wanted = [name for name in needed if name in found]
    moved = [a for a, b in zip(found, wanted, strict=True) if a != b]
    if moved:
        advice = f"readers by position take one column for another; expected {wanted[found.index(moved[0])]} here"
        yield Finding(WARNING, "column order", moved[0], len(moved), len(wanted), advice)


def candidates(name: str, names: Iterable[str]) -> list[str]:
    """Return which of some columns may be meant by a name that is not among them; of a block's elements, the first.

    >>> candidates("bpe_", ["bp_err_1", "bp_err_2", "rpe_1"]), candidates("E_J", ["J", "e_J", "J_error"])
    (['bp_err_1'], ['e_J', 'J_error'])
    """
    also = [ours for ours, theirs in WIDE.items() if theirs == name] + [theirs for ours, theirs in WIDE.items() if ours == name]
    wanted = {_meaning(one) for one in (name, *also)}
    found: dict[tuple[str, bool, str], str] = {}
    for one in names:
        if _meaning(one) in wanted:
            found.setdefault((*_meaning(one), one.rstrip("0123456789") if _ELEMENT.fullmatch(one.lower()) else one), one)
    return list(found.values())


_ELEMENT = re.compile(r"(e_)?([br]p)(e|_e|_err|_error)?_?(\d*)")
_ERROR_WORD = re.compile(r"^(?:e|err|error)_|_(?:e|err|error)$")


def _meaning(name: str) -> tuple[str, bool]:
    """Return what a column is of, and whether it is the error of that: e_x, E_X, x_err and x_error of x, bpe_1 of bp_1."""
    low = name.lower()
    element = _ELEMENT.fullmatch(low)
    if element and (element[4] or low.endswith("_")):
        return f"{element[2]} element", bool(element[1] or element[3])
    core = _ERROR_WORD.sub("", low)
    return core.replace("_", ""), core != low
