"""Fixed-width tables as CDS keeps them: cells by their bytes, read as astropy reads them; broken records are refused."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import ascii as tables

from jobs.dialects import write
from jobs.dialects_raw import as_raw
from lake.columns import column
from lake.conform import conform
from lake.errors import RawFileError
from lake.readers import read
from lake.survey import Survey, survey

G2A, A2G = survey("spectrotranslator_g2a"), survey("spectrotranslator_a2g")
BOTH = pytest.mark.parametrize("declared", [G2A, A2G], ids=["g2a", "a2g"])
ROWS = 40
README = Path(__file__).resolve().parents[3] / "shared" / "seeds" / "004_7f6e8a003cb0dff6.txt"


def rows_of(declared: Survey, rows: int = ROWS, *, gaps: bool = True) -> pa.Table:
    """Draw random rows within the limits of the vocabulary, under canonical names; every seventh value is missing."""
    rng = np.random.default_rng(len(declared.name) + rows)
    columns = {}
    for k, name in enumerate(declared.columns):
        known, gone = column(name), (np.arange(rows) + k) % 7 == 3
        if pa.types.is_floating(known.type):
            values = pa.array(rng.uniform(known.low, known.high, rows).astype(np.float32))
        elif pa.types.is_boolean(known.type):
            values = pa.array(rng.random(rows) < 0.5)
        elif pa.types.is_string(known.type):
            values = pa.array([f"2M{number:09d} + x" for number in rng.integers(0, 10**9, rows)])
        else:
            values = pa.array(rng.integers(1, 10**15 if name == "sobject_id" else 6 * 10**18, rows))
        gone &= gaps and name != "source_id"
        columns[name] = pc.if_else(pa.array(gone), pa.scalar(None, known.type), values)
    return pa.table(columns)


def found_in(path: Path, declared: Survey) -> pa.Table:
    return pa.concat_tables([conform(batch, declared, path).table for batch in read(path, declared)]).combine_chunks()


def written(declared: Survey, folder: Path, *, rows: int = ROWS, gaps: bool = True, suffix: str = "") -> Path:
    path = folder / (declared.patterns[0] + suffix)
    write(as_raw(declared, rows_of(declared, rows, gaps=gaps)), path, "fixed_width")
    return path


def changed(path: Path, record: int, first: int, text: str) -> Path:
    """Overwrite bytes of one record, both counted from 1."""
    lines = path.read_bytes().split(b"\n")
    line = lines[record - 1]
    lines[record - 1] = line[: first - 1] + text.encode() + line[first - 1 + len(text.encode()) :]
    path.write_bytes(b"\n".join(lines))
    return path


# Cells.


@BOTH
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("chunk", [1, 5_000, 1 << 24])
def test_all_columns_are_read_back_bit_for_bit_whatever_the_chunks(declared, suffix, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fixed_width._CHUNK", chunk)
    found = found_in(written(declared, tmp_path, suffix=suffix), declared)
    wanted = rows_of(declared)
    for name in declared.columns:
        assert found[name].combine_chunks().equals(wanted[name].combine_chunks()), name


@BOTH
def test_a_table_is_read_in_chunks_whose_first_rows_are_numbered(declared, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fixed_width._CHUNK", 12_000)
    batches = list(read(written(declared, tmp_path), declared))
    assert len(batches) == 4
    assert [batch.first_row for batch in batches] == np.cumsum([0, *(len(batch.table) for batch in batches[:-1])]).tolist()


@BOTH
def test_astropy_finds_the_same_in_every_column_through_the_published_readme(declared, tmp_path):
    if not README.exists():
        pytest.skip(f"{README} is not here: seeds are not part of the repository")
    path = written(declared, tmp_path, rows=200, gaps=False)
    theirs = tables.read(path, format="cds", readme=str(README))
    ours = found_in(path, declared)
    assert {raw.name for raw in declared.columns.values()} == set(theirs.colnames)
    assert len(theirs.colnames) == 39
    for name, raw in declared.columns.items():
        held, kind = np.asarray(theirs[raw.name]), ours[name].type
        values = ours[name].to_numpy(zero_copy_only=False)
        if pa.types.is_boolean(kind):
            said = {"true": True, "T": True, "false": False, "F": False}
            assert [said[word] for word in held.tolist()] == values.tolist(), name
        elif pa.types.is_floating(kind):
            assert held.astype(np.float32).tobytes() == values.tobytes(), name
        else:
            assert held.tolist() == values.tolist(), name


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("4873.25", 4873.25),
        ("+4873.25", 4873.25),
        ("4.87325E3", 4873.25),
        ("4873.25000000000000", 4873.25),
        ("48.7325e+02", 4873.25),
        ("4873", 4873.0),
        ("", None),
        ("nan", None),
        ("NaN", None),
    ],
)
@pytest.mark.parametrize("at", ["left", "right"])
def test_numbers_are_free_text_at_any_place_of_their_bytes_and_blanks_are_null(word, value, at, tmp_path):
    path = written(G2A, tmp_path, gaps=False)
    changed(path, 3, 79, word.ljust(21) if at == "left" else word.rjust(21))
    found = found_in(path, G2A)["teff_p50"].to_pylist()
    assert found[2] == value
    assert sum(one is None for one in found) == (value is None)


def test_identifiers_keep_all_their_digits_and_may_carry_a_sign(tmp_path):
    path = changed(written(G2A, tmp_path, gaps=False), 2, 17, "5853498713190525697")
    changed(path, 3, 17, "+853498713190525697")
    assert found_in(path, G2A)["source_id"].to_pylist()[1:3] == [5853498713190525697, 853498713190525697]


def test_a_letter_beyond_ascii_is_kept_in_a_comment(tmp_path):
    path = changed(written(G2A, tmp_path, gaps=False), 4, 742, "Input [Fe/H] … außerhalb".ljust(158))
    assert found_in(path, G2A)["translator_comment"][3].as_py() == "Input [Fe/H] … außerhalb"


def test_an_infinite_value_is_refused_with_row_and_source(refused, tmp_path):
    path = changed(written(G2A, tmp_path, gaps=False), 7, 79, "Infinity".rjust(21))
    with pytest.raises(RawFileError, match=r"column 'Teff50', row 7, source_id \d+: 1 infinite"):
        found_in(path, G2A)


@pytest.mark.parametrize("bad", ["1.2D+03", "---", "null", "4873,25", "48 73"])
def test_a_cell_that_is_no_number_is_refused_with_record_column_bytes_and_value(bad, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fixed_width._CHUNK", 5 * 925)
    path = changed(written(G2A, tmp_path), 23, 79, bad.rjust(21))
    with pytest.raises(RawFileError, match=r"g2a.dat: record 23, column 'Teff50' \(bytes 79-99\).*float.*ReadMe") as caught:
        found_in(path, G2A)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize(
    ("first", "width", "bad", "what"), [(17, 19, "585349871319052569.", "GaiaDR3"), (903, 5, "maybe", "QflagIi")]
)
def test_a_cell_that_is_no_identifier_or_flag_is_refused(first, width, bad, what, tmp_path):
    path = changed(written(G2A, tmp_path, gaps=False), 2, first, bad.ljust(width))
    changed(path, 1, 17, "+853498713190525697")
    with pytest.raises(RawFileError, match=rf"record 2, column '{what}' .*found '{bad}' \(1 such cells"):
        found_in(path, G2A)


# Records.


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("chunk", [3_000, 1 << 24])
def test_line_ends_may_have_a_carriage_return_and_the_last_may_be_missing(end, last, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fixed_width._CHUNK", chunk)
    path = written(G2A, tmp_path)
    data = path.read_bytes().replace(b"\n", end)
    path.write_bytes(data if last else data.removesuffix(end))
    assert found_in(path, G2A)["teff_p50"].combine_chunks().equals(rows_of(G2A)["teff_p50"].combine_chunks())


@pytest.mark.parametrize("record", [1, 2, 17, ROWS])
@pytest.mark.parametrize(("length", "found"), [(-1, 923), (-500, 424), (3, 927)])
@pytest.mark.parametrize("chunk", [3_000, 1 << 24])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_record_of_another_length_is_refused_with_its_number(record, length, found, chunk, end, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.readers.fixed_width._CHUNK", chunk)
    path = written(G2A, tmp_path)
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    lines[record - 1] = lines[record - 1][:length] if length < 0 else lines[record - 1] + b"x" * length
    path.write_bytes(end.join([*lines, b""]))
    with pytest.raises(RawFileError, match=rf"g2a.dat: record {record} has {found} bytes, expected 924 bytes.*fetch"):
        found_in(path, G2A)


def test_two_wrong_lengths_that_add_up_are_found(tmp_path):
    path = written(G2A, tmp_path)
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    lines[4], lines[5] = lines[4] + b"y", lines[5][:-1]
    path.write_bytes(b"\n".join([*lines, b""]))
    with pytest.raises(RawFileError, match=r"record 5 has 925 bytes"):
        found_in(path, G2A)


def test_a_record_that_is_broken_into_two_is_found(tmp_path):
    path = changed(written(G2A, tmp_path), 8, 741, "\n")
    with pytest.raises(RawFileError, match=r"record 8 has 740 bytes"):
        found_in(path, G2A)


def test_a_line_end_unlike_the_first_is_refused(tmp_path):
    path = written(G2A, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n", 3))
    with pytest.raises(RawFileError, match=r"record 4 has another line end than the first"):
        found_in(path, G2A)


@pytest.mark.parametrize("kept", [0.999, 0.49, 0.01])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_truncated_table_is_refused(refused, kept, suffix, tmp_path):
    path = written(G2A, tmp_path, suffix=suffix)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    refused(path, G2A)


def test_a_compressed_table_with_a_wrong_checksum_is_refused(refused, tmp_path):
    path = written(G2A, tmp_path, suffix=".gz")
    held = bytearray(path.read_bytes())
    held[-6] ^= 0xFF
    path.write_bytes(held)
    refused(path, G2A, "damaged")


def test_the_other_table_is_refused_by_its_first_record(tmp_path):
    path = written(A2G, tmp_path).rename(tmp_path / "g2a.dat")
    with pytest.raises(
        RawFileError, match=r"record 1 has 913 bytes, expected 924 bytes; is this the table that \w+_g2a declares"
    ):
        found_in(path, G2A)


def test_a_page_and_an_empty_file_are_refused(refused, tmp_path):
    path = tmp_path / "g2a.dat"
    path.write_bytes(b"<html><body>404</body></html>")
    refused(path, G2A, "page, not a table")
    path.write_bytes(b"")
    refused(path, G2A, "empty")


# The same table with a header.


@pytest.mark.parametrize("dialect", ["archive_csv", "pipe_csv"])
def test_an_export_with_a_line_of_names_is_read_by_names(dialect, tmp_path):
    wanted = rows_of(G2A)
    path = tmp_path / "g2a.dat"
    write(as_raw(G2A, wanted), path, dialect)
    found = found_in(path, G2A)
    assert all(found[name].combine_chunks().equals(wanted[name].combine_chunks()) for name in G2A.columns)


# What the declarations do.


def test_values_that_no_star_has_become_null_and_are_counted_and_labels_with_such_a_median_altogether(tmp_path):
    path = written(G2A, tmp_path, gaps=False)
    changed(path, 5, 79, "3.2e7".rjust(21))
    changed(path, 6, 126, "12000.5".rjust(25))
    held = [conform(batch, G2A, path) for batch in read(path, G2A)]
    assert held[0].masked["teff_p50: teff_p50 below 2500, above 10000"] == 1
    assert held[0].masked["teff_p95: teff_p95 below 2500, above 10000"] == 1
    table = held[0].table
    teff = [name for name in G2A.columns if name.startswith("teff_")]
    assert [table[name].is_null().to_pylist()[3:6] for name in teff] == [[False, True, name == "teff_p95"] for name in teff]
    assert table["logg_p50"].null_count == 0


def test_percentiles_that_descend_are_told(tmp_path):
    wanted = rows_of(A2G, gaps=False)
    columns = {name: wanted[name] for name in wanted.column_names}
    for label in ("teff", "logg", "metallicity", "mg_fe", "velocity"):
        for percent in (5, 16, 50, 84, 95):
            name = f"{label}_p{percent:02d}"
            columns[name] = pa.array(np.full(ROWS, max(column(name).low, 0) + percent / 100, np.float32))
    logg = columns["logg_p16"].to_pylist()
    logg[4], logg[9] = 0.96, None
    path = tmp_path / "a2g.dat"
    write(as_raw(A2G, pa.table(columns | {"logg_p16": pa.array(logg, pa.float32())})), path, "fixed_width")
    assert [row for row, good in enumerate(found_in(path, A2G)["percentiles_ordered"].to_pylist()) if not good] == [4]


def test_bytes_of_both_tables_do_not_overlap_and_leave_one_blank_between():
    for declared in (G2A, A2G):
        at = sorted(raw.at for raw in declared.columns.values())
        assert all(last + 2 == first for (_, last), (first, _) in zip(at[:-1], at[1:], strict=True))


def test_a_compressed_table_is_read_without_unpacking_it_to_disk(tmp_path):
    path = written(G2A, tmp_path, suffix=".gz")
    assert gzip.decompress(path.read_bytes()) == written(G2A, tmp_path).read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["g2a.dat", "g2a.dat.gz"]
    assert found_in(path, G2A).num_rows == ROWS
