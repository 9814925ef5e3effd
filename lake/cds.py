"""Write translated tables in the fixed-width layouts of CDS catalogue J/A+A/690/A54, byte for byte, with a ReadMe of their own.

Bytes and names come from the declarations of the two published tables (`lake.surveys.spectrotranslator_g2a`, ``_a2g``), types
and meanings from the vocabulary. What only a ReadMe and a comment need, formats and the inputs' names, stands here.
"""

import textwrap
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.columns import column
from lake.columns.spectrotranslator import INPUTS, OUTPUTS, REASONS
from lake.errors import LakeError, listing
from lake.record_cells import blank_records, lengths, place
from lake.survey import Survey
from lake.whole import unwritable

COMMENT, REASON = "translator_comment", "translator_reasons"
_ROWS = 16_384  # written at once
_UNITS = {"": "---", "dex": "---", "dex(cm / s2)": "[cm/s2]", "km / s": "km/s"}
_COLOURS = {"bp_g": "BP-G", "g_rp": "G-RP"}
_LABELS = (*OUTPUTS, "velocity")
_GALAH = dict(zip(_LABELS, ("teff_GALAH", "logg_GALAH", "fe_h_GALAH", "Mg_fe_GALAH", "rv_galah"), strict=True))
_APOGEE = dict(zip(_LABELS, (f"{name}_APOGEE" for name in ("TEFF", "LOGG", "M_H", "MG_FE", "VHELIO_AVG")), strict=True))
# Where the vocabulary tells of the published rows.
_SAID = {
    "intrinsic_input_missing": "True is bad: an input of the network of the first four labels was missing; a label without its "
    "own input is blank",
    "extrinsic_input_missing": "True is bad: an input of the network of the velocity was missing; without "
    "its own input it is blank",
    "extrinsic_output_covered": "True is good: the translated velocity lies in the range of the training stars; F is false, "
    "for which there is no room",
    COMMENT: "Which pairs of inputs or outputs lie outside the training stars, cut where its bytes end",
}


@dataclass(frozen=True)
class _Layout:
    """What a declaration does not say: names of inputs and outputs, and each number's format as letter and decimals."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    formats: Mapping[str, str]


_LAYOUTS = {
    "spectrotranslator_g2a": _Layout(
        _GALAH | _COLOURS,
        _APOGEE,
        {
            "teff": "E14 E17 E17 F15 F16 F18",
            "logg": "E18 E18 F18 F17 F17 E19",
            **dict.fromkeys(("metallicity", "mg_fe", "velocity"), "E19 E19 E19 E19 E19 E19"),
        },
    ),
    "spectrotranslator_a2g": _Layout(
        _APOGEE | _COLOURS,
        _GALAH,
        {
            "teff": "F13 F13 F13 F13 F13 F18",
            **dict.fromkeys(("logg", "metallicity", "mg_fe"), "E19 E19 E19 E19 E19 E18"),
            "velocity": "E19 E19 E18 E19 E19 E18",
        },
    ),
}


def write_cds(tables: Iterable[pa.Table], layout: Survey, path: Path) -> int:
    """Write translated tables one after the other as one file of records, whole or not at all.

    A number stands at the right of its bytes in the shortest text from which its float32 is read back bit for bit; missing
    values are blank. Flags are ``true`` or ``false``, but ``F`` in the last, which has room for four letters. The comment is
    put into the published words from ``translator_reasons``: missing inputs and outputs beyond the training stars; a pair that
    both networks read is told once; what the published guard does not know, the domain, is left out.

    Parameters
    ----------
    tables
        With ``translator_reasons`` and all columns of the layout but the comment; others are ignored.
    layout
        Declaration of the published table whose layout is meant.
    path
        Readers with a ReadMe find the table by its published name, such as ``g2a.dat``.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    LakeError
        If a column is missing or of another kind, or a value does not fit its bytes.
    OutageError
        If the disk is full or the folder not writable.
    """
    _known(layout)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    rows = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as out:
            for table in tables:
                held = _conformed(table, layout)
                for start in range(0, len(held), _ROWS):
                    out.write(_records(held.slice(start, _ROWS), layout).data)
                rows += len(held)
        beside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        beside.unlink(missing_ok=True)
    return rows


def comments(reasons: pa.Array, layout: Survey) -> pa.Array:
    """Return the comment of every row, null where there is nothing to say, cut at the last byte of its field.

    Parameters
    ----------
    reasons
        ``translator_reasons``, int64; bits as in `lake.columns.spectrotranslator.REASONS`.
    """
    words = _known(layout)
    first, last = _at(layout)[COMMENT]
    every = pc.fill_null(reasons, 0).dictionary_encode()
    said = [_comment(bits, words)[: last - first + 1].rstrip() or None for bits in every.dictionary.to_pylist()]
    return pa.array(said, pa.string()).take(every.indices)


def readme(layouts: Sequence[Survey], *, records: Mapping[str, int] | None = None) -> str:
    """Return a ReadMe after the manner of CDS, by which astropy reads the files; blank numbers are marked as missing.

    Parameters
    ----------
    layouts
        Declarations of the published tables whose layouts the files have.
    records
        Number of records by name of the file, where known.
    """
    files = {layout.patterns[0]: layout for layout in layouts}
    rule = "-" * 80
    lines = [
        "SpectroTranslator layouts, filled by gaialake",
        "=" * 80,
        *_paragraph(
            "Origin: stellar labels of one survey on the base of another, translated by networks that gaialake trained. This is "
            "NOT the table of Thomas, Battaglia, Gran et al. (2024, A&A 690, A54; CDS catalogue J/A+A/690/A54): only names, "
            "bytes, formats and units of its files are the same. Cite that article for the method and the layout."
        ),
        "",
        *_paragraph(
            "Numbers are single precision, in the shortest text that gives them back, at the right of their bytes; formats "
            "announce the width, not the decimals. Blank is missing. The metallicity is what the base that a table is on calls "
            "one: [M/H] on APOGEE DR17, [Fe/H] on GALAH DR3, whatever the label says."
        ),
        "",
        "File Summary:",
        rule,
        " FileName   Lrecl  Records  Explanations",
        rule,
        f" {'ReadMe':10s}    80        .  This file",
    ]
    for name, layout in files.items():
        title = layout.title.removeprefix("SpectroTranslator: ")
        lines.append(f" {name:10s} {_length(layout):5d} {(records or {}).get(name, '.'):>8}  {title}, by gaialake")
    lines.append(rule)
    for name, layout in files.items():
        lines += ["", f"Byte-by-byte Description of file: {name}", rule]
        lines += ["   Bytes Format Units   Label       Explanations", rule, *_byte_by_byte(layout), rule]
    return "\n".join([*lines, ""])


def _known(layout: Survey) -> _Layout:
    if layout.name not in _LAYOUTS:
        raise LakeError(f"{layout.name} is no layout for translated tables; expected {listing(_LAYOUTS)}")
    return _LAYOUTS[layout.name]


def _at(layout: Survey) -> dict[str, tuple[int, int]]:
    """Return first and last byte by canonical name, in the order of the record."""
    at = {name: raw.at for name, raw in layout.columns.items() if raw.at}
    return dict(sorted(at.items(), key=lambda one: one[1]))


def _length(layout: Survey) -> int:
    return max(last for _, last in _at(layout).values())


def _conformed(table: pa.Table, layout: Survey) -> pa.Table:
    """Return the columns of the layout with the types of the vocabulary, and the comment."""
    wanted = [*(name for name in _at(layout) if name != COMMENT), REASON]
    absent = [name for name in wanted if name not in table.column_names]
    if absent:
        raise LakeError(
            f"a table to be written in the layout of {layout.name} lacks the columns {listing(absent)}; expected a translated "
            "table with its flags, and the key of the survey that was translated"
        )
    columns = {}
    for name in wanted:
        try:
            columns[name] = table[name].cast(column(name).type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise LakeError(
                f"column {name!r} has type {table[name].type}, expected {column(name).type} for {layout.name}: {error}"
            ) from error
    held = pa.table(columns).combine_chunks()
    said = held[REASON].combine_chunks() if len(held) else pa.array([], pa.int64())
    return held.append_column(COMMENT, comments(said, layout))


# --- records --------------------------------------------------------------------------------------------------------


def _records(table: pa.Table, layout: Survey) -> NDArray[np.uint8]:
    """Return records with their line feeds, (n, length + 1) bytes."""
    records = blank_records(len(table), _length(layout))
    source_id = table["source_id"]
    for name, (first, last) in _at(layout).items():
        held, width = table[name].chunk(0), last - first + 1
        text = _text(held, width)
        bad = lengths(text) > width
        if pa.types.is_floating(held.type):
            bad |= ~np.isfinite(np.asarray(pc.fill_null(held, 0.0)))
        if name == "source_id":
            bad |= np.asarray(held.is_null())
        if bad.any():
            row = int(np.argmax(bad))
            raise LakeError(
                f"column {name!r}, source_id {source_id[row].as_py()}: {held[row].as_py()!r} does not fit bytes {first}-{last} "
                f"({layout.columns[name].name}) of {layout.name}, {int(bad.sum()):,} such values in {len(table):,} rows; make it "
                "null or leave the row out"
            )
        numeric = pa.types.is_integer(held.type) or pa.types.is_floating(held.type)
        place(records[:, first - 1 : last], text, right=numeric)
    return records


def _text(values: pa.Array, width: int) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "true", "false" if width >= len("false") else "F")
    return values.cast(pa.string())


# --- words ----------------------------------------------------------------------------------------------------------


def _comment(bits: int, words: _Layout) -> str:
    """Return what the intrinsic network says, then the extrinsic one, in the published words."""
    reasons = {name for bit, name in enumerate(REASONS) if bits >> bit & 1}
    inputs = [
        ("velocity" in (a, b), f"Input {words.inputs[a]}_{words.inputs[b]}")
        for a, b in combinations(INPUTS, 2)
        if {f"input_{a}_{b}", f"{a}_missing", f"{b}_missing"} & reasons
    ]
    outputs = [
        f"Output {words.outputs[a]}_{words.outputs[b]}" for a, b in combinations(OUTPUTS, 2) if f"output_{a}_{b}" in reasons
    ]
    velocity = [f"Output {words.outputs['velocity']}"] if "output_velocity" in reasons else []
    networks = (
        [*(said for late, said in inputs if not late), *outputs],
        [*(said for late, said in inputs if late), *velocity],
    )
    return "".join(f"|{'|'.join(f'{said} outside training range' for said in network)}|" for network in networks if network)


def _byte_by_byte(layout: Survey) -> list[str]:
    lines = []
    for name, (first, last) in _at(layout).items():
        known, width = column(name), last - first + 1
        # Another column of the record goes by the record's name.
        median = f"{name.rpartition('_')[0]}_p50"
        said = _SAID.get(name, known.description.replace(median, layout.columns[median].name if median in layout.columns else ""))
        numeric = not (pa.types.is_string(known.type) or pa.types.is_boolean(known.type))
        if numeric and name != "source_id":
            said = f"? {said}"
        head = f"{first:4d}-{last:3d} {_format(name, width, layout):6s} {_UNITS.get(known.unit, known.unit):7s} "
        head += f"{layout.columns[name].name:11s} "
        lines += textwrap.wrap(said, 80, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False)
    return lines


def _format(name: str, width: int, layout: Survey) -> str:
    """Return a format such as ``E21.17``."""
    kind = column(name).type
    if not pa.types.is_floating(kind):
        return f"{'I' if pa.types.is_integer(kind) else 'A'}{width}"
    label = name.rpartition("_")[0]
    place = [one for one in _at(layout) if one.rpartition("_")[0] == label].index(name)
    said = _LAYOUTS[layout.name].formats[label].split()[place]
    return f"{said[0]}{width}.{said[1:]}"


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, 80)
