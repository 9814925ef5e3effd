"""Translated tables leave in the two published layouts: lengths, values and missing ones are read back by astropy and by us."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import ascii as tables

from lake.cds import comments, readme, write_cds
from lake.columns import column
from lake.columns.spectrotranslator import INPUTS, OUTPUTS, REASONS
from lake.conform import conform
from lake.errors import LakeError
from lake.readers import read
from lake.survey import Survey, survey

G2A, A2G = survey("spectrotranslator_g2a"), survey("spectrotranslator_a2g")
BOTH = pytest.mark.parametrize("declared", [G2A, A2G], ids=["g2a", "a2g"])
LENGTH = {"spectrotranslator_g2a": 924, "spectrotranslator_a2g": 913}
ROWS = 300
README = Path(__file__).resolve().parents[3] / "shared" / "seeds" / "004_7f6e8a003cb0dff6.txt"


def bits(*names: str) -> int:
    return sum(1 << REASONS.index(name) for name in names)


def translated(declared: Survey, rows: int = ROWS, *, gaps: bool = True) -> pa.Table:
    """Draw SYNTHETIC rows of a translated table: any numbers, some missing, and columns that the layout lacks."""
    rng = np.random.default_rng(rows)
    columns = {"intrinsic_domain_score": pa.array(rng.random(rows))}
    for k, name in enumerate(declared.columns):
        kind, gone = column(name).type, (np.arange(rows) + k) % 7 == 3
        if pa.types.is_floating(kind):
            size = np.where(rng.random(rows) < 0.1, 10.0 ** rng.uniform(-30, 30, rows), rng.choice([5000.0, 3.0, 0.3]))
            low = -1.0 if column(name).low < 0 else 0.0
            values = pa.array((size * rng.uniform(low, 1.0, rows)).astype(np.float32))
        elif pa.types.is_boolean(kind):
            values = pa.array(rng.random(rows) < 0.5)
        elif pa.types.is_string(kind):
            values = pa.array([f"2M{number:016d}" for number in rng.integers(0, 10**9, rows)])
        else:
            values = pa.array(rng.integers(1, 10**15 if name == "sobject_id" else 6 * 10**18, rows))
        gone &= gaps and name != "source_id"
        columns[name] = pc.if_else(pa.array(gone), pa.scalar(None, kind), values)
    del columns["translator_comment"]
    reasons = np.where(rng.random(rows) < 0.5, 0, rng.integers(0, 1 << len(REASONS), rows))
    return pa.table(columns | {"translator_reasons": reasons})


def file_of(declared: Survey, folder: Path, table: pa.Table) -> Path:
    path = folder / declared.patterns[0]
    assert write_cds([table.slice(0, 100), table.slice(100)], declared, path) == len(table)
    return path


def through_astropy(declared: Survey, folder: Path, said: str, **options: bool):
    path, beside = file_of(declared, folder, translated(declared, **options)), folder / "ReadMe"
    beside.write_text(said)
    return tables.read(str(path), format="cds", readme=str(beside))


def same(found, wanted: pa.Array) -> bool:
    """Compare a column of astropy with ours: numbers masked where null, else equal bit for bit; words for flags."""
    values, null = wanted.to_numpy(zero_copy_only=False), np.asarray(wanted.is_null())
    held, masked = np.asarray(np.ma.getdata(found)), np.ma.getmaskarray(found)
    if pa.types.is_floating(wanted.type):
        return np.array_equal(masked, null) and held[~null].astype(np.float32).tobytes() == values[~null].tobytes()
    if held.dtype.kind == "U":  # astropy's releases differ in whether a blank text is masked or empty
        held = np.where(masked, "", held)
    if pa.types.is_boolean(wanted.type):
        return held.tolist() == [{True: "true", False: "false", None: ""}[one] for one in wanted.to_pylist()]
    if pa.types.is_integer(wanted.type):
        return np.array_equal(masked, null) and held.dtype == np.int64 and held[~null].tolist() == wanted.drop_null().to_pylist()
    return held.tolist() == pc.fill_null(wanted, "").to_pylist()


@BOTH
def test_every_record_is_as_long_as_the_published_and_fields_are_parted_by_one_blank(declared, tmp_path):
    table = translated(declared)
    lines = file_of(declared, tmp_path, table).read_bytes().split(b"\n")
    assert lines.pop() == b"" and len(lines) == ROWS
    assert {len(line) for line in lines} == {LENGTH[declared.name]}
    places = sorted(raw.at for raw in declared.columns.values())
    assert all(after[0] == before[1] + 2 for before, after in zip(places, places[1:], strict=False))
    assert all(line[last : last + 1] in (b" ", b"") for line in lines for _, last in places)
    assert list(tmp_path.iterdir()) == [tmp_path / declared.patterns[0]]


@BOTH
def test_a_record_is_written_to_the_letter(declared, tmp_path):
    table = translated(declared, 1, gaps=False)
    spelled = {"source_id": 5, "teff_p05": np.float32(4873.25), "logg_p50": np.float32(-1e-7), "velocity_p95": np.float32(0.1)}
    for name, value in spelled.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array([value], table.schema.field(name).type))
    line = file_of(declared, tmp_path, table).read_text()
    found = {name: line[first - 1 : last] for name, (first, last) in ((n, r.at) for n, r in declared.columns.items())}
    assert found["source_id"] == "5".rjust(19)
    assert found["teff_p05"] == "4873.25".rjust(len(found["teff_p05"]))
    assert float(found["logg_p50"]) == pytest.approx(-1e-7, rel=1e-7) and found["logg_p50"].endswith(("e-7", "e-07", "0001"))
    assert found["velocity_p95"].endswith(" 0.1")


@BOTH
def test_astropy_reads_every_number_back_through_our_readme_and_blanks_as_masked(declared, tmp_path):
    found, wanted = through_astropy(declared, tmp_path, readme([G2A, A2G])), translated(declared)
    assert len(found.colnames) == 39 and len(found) == ROWS
    for name, raw in declared.columns.items():
        if name not in ("translator_comment", "extrinsic_output_covered"):
            assert same(found[raw.name], wanted[name].combine_chunks()), name
    assert np.ma.getmaskarray(found["Teff50"]).any()
    assert [str(found[name].unit) for name in ("Teff50", "logg50", "HV50")] == ["K", "dex(cm / s2)", "km / s"]
    said = comments(wanted["translator_reasons"].combine_chunks(), declared)
    assert same(found["Com"], said) and 0 < said.null_count < ROWS


@BOTH
def test_complete_rows_are_read_through_the_published_readme_too_which_announces_the_same_bytes_formats_and_units(
    declared, tmp_path
):
    if not README.exists():
        pytest.skip(f"{README} is not here: seeds are not part of the repository")
    theirs, wanted = through_astropy(declared, tmp_path, README.read_text(), gaps=False), translated(declared, gaps=False)
    ours = through_astropy(declared, tmp_path, readme([declared]), gaps=False)
    for name, raw in declared.columns.items():
        if name not in ("translator_comment", "extrinsic_output_covered"):
            assert same(theirs[raw.name], wanted[name].combine_chunks()), name
        assert theirs[raw.name].unit == ours[raw.name].unit
    assert fields_of(README.read_text(), declared) == fields_of(readme([G2A, A2G]), declared)


def fields_of(said: str, declared: Survey) -> list[list[str]]:
    """Return bytes, format, unit and label of every field that a ReadMe describes."""
    lines = said.split(f"Byte-by-byte Description of file: {declared.patterns[0]}")[1].splitlines()
    words = [line.replace("-", "- ", 1).split() for line in lines[1:]]
    wanted = {raw.name for raw in declared.columns.values()}
    return [[one[0].rstrip("-"), *one[1:5]] for one in words if len(one) > 4 and one[4] in wanted and one[0][0].isdigit()][:39]


@BOTH
def test_our_own_reader_finds_what_was_written(declared, tmp_path):
    table = translated(declared)
    for label in ("teff", "logg", "metallicity", "mg_fe", "velocity"):
        for name in (one for one in table.column_names if one.startswith(f"{label}_")):
            if name in declared.columns:  # within the limits of a star, beyond which the reader masks
                low, high = column(name).low, column(name).high
                values = np.random.default_rng(2).uniform(low, high, ROWS).astype(np.float32)
                mask = np.asarray(table[name].is_null())
                table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, mask=mask))
    path = file_of(declared, tmp_path, table)
    found = pa.concat_tables([conform(batch, declared, path).table for batch in read(path, declared)])
    said = comments(table["translator_reasons"].combine_chunks(), declared)
    for name in declared.columns:
        wanted = said if name == "translator_comment" else table[name].combine_chunks()
        assert found[name].combine_chunks().equals(wanted), name


@BOTH
def test_the_last_flag_holds_true_or_f_and_all_others_words(declared, tmp_path):
    flags = pa.table({name: [True, False, None] for name in declared.columns if column(name).type == pa.bool_()})
    table = translated(declared, 3)
    for name in flags.column_names:
        table = table.set_column(table.schema.get_field_index(name), name, flags[name])
    lines = file_of(declared, tmp_path, table).read_text().splitlines()
    for name in flags.column_names:
        first, last = declared.columns[name].at
        no = "F" if name == "extrinsic_output_covered" else "false"
        assert [line[first - 1 : last].strip() for line in lines] == ["true", no, ""], name


def test_comments_are_in_the_published_words_with_the_names_of_the_table():
    rows = pa.array(
        [
            0,
            bits("input_teff_logg", "output_teff_mg_fe"),
            bits("input_bp_g_velocity", "input_teff_bp_g"),
            bits("output_velocity"),
            bits("intrinsic_domain", "extrinsic_domain", "teff_error_missing"),
            None,
        ]
    )
    end = "outside training range"
    assert comments(rows, G2A).to_pylist() == [
        None,
        f"|Input teff_GALAH_logg_GALAH {end}|Output TEFF_APOGEE_MG_FE_APOGEE {end}|",
        f"|Input teff_GALAH_BP-G {end}||Input BP-G_rv_galah {end}|",
        f"|Output VHELIO_AVG_APOGEE {end}|",
        None,
        None,
    ]
    assert comments(rows, A2G).to_pylist()[1] == f"|Input TEFF_APOGEE_LOGG_APOGEE {end}|Output teff_GALAH_Mg_fe_GALAH {end}|"


@BOTH
def test_a_missing_input_names_all_its_pairs_and_the_comment_ends_with_its_bytes(declared):
    (said,) = comments(pa.array([bits("mg_fe_missing")]), declared).to_pylist()
    first, last = declared.columns["translator_comment"].at
    assert last - first - 5 < len(said) <= last - first + 1 and said.startswith("|Input ")
    pairs = [f"input_{a}_{b}" for a, b in combinations(INPUTS, 2) if "mg_fe" in (a, b)]
    assert comments(pa.array([bits("mg_fe_missing", *pairs)]), declared).to_pylist() == [said]


@pytest.mark.parametrize("name", [name for name in REASONS if name.startswith(("input_", "output_"))])
def test_every_pair_has_a_comment_of_its_own(name):
    every = {one: comments(pa.array([bits(one)]), G2A)[0].as_py() for one in REASONS if one.startswith(("input_", "output_"))}
    assert list(every.values()).count(every[name]) == 1
    assert every[name].startswith("|Input " if name.startswith("input") else "|Output ")
    assert len(every) == len(list(combinations(INPUTS, 2))) + len(list(combinations(OUTPUTS, 2))) + 1


@BOTH
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_number_that_is_not_finite_is_refused_with_column_source_and_value_and_leaves_no_file(declared, value, tmp_path):
    table = translated(declared)
    values = np.full(ROWS, 5000.0, np.float32)
    values[211] = value
    table = table.set_column(table.schema.get_field_index("teff_p50"), "teff_p50", pa.array(values, pa.float32()))
    source_id = table["source_id"][211].as_py()
    with pytest.raises(LakeError, match=rf"'teff_p50', source_id {source_id}: {value} does not fit bytes .*\(Teff50\)"):
        write_cds([table], declared, tmp_path / declared.patterns[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("declared", "name", "value"), [(G2A, "sobject_id", 10**15), (A2G, "apogee_id", "2M" + "1" * 18)])
def test_an_identifier_too_wide_for_its_bytes_is_refused(declared, name, value, tmp_path):
    table = translated(declared, 5, gaps=False)
    held = table[name].to_pylist()
    held[3] = value
    table = table.set_column(table.schema.get_field_index(name), name, pa.array(held))
    with pytest.raises(LakeError, match=f"'{name}', source_id {table['source_id'][3].as_py()}: {value!r} does not fit"):
        write_cds([table], declared, tmp_path / declared.patterns[0])


def test_an_older_file_stays_as_it_was_when_rows_are_refused(tmp_path):
    path = file_of(G2A, tmp_path, translated(G2A))
    held = path.read_bytes()
    with pytest.raises(LakeError, match="lacks the columns teff_p50"):
        write_cds([translated(G2A), translated(G2A).drop_columns(["teff_p50"])], G2A, path)
    assert path.read_bytes() == held and list(tmp_path.iterdir()) == [path]


def test_a_column_of_another_kind_and_a_layout_that_is_none_are_refused(tmp_path):
    table = translated(G2A)
    words = table.set_column(table.schema.get_field_index("logg_p16"), "logg_p16", pa.array(["x"] * ROWS))
    with pytest.raises(LakeError, match=r"'logg_p16' has type string, expected float"):
        write_cds([words], G2A, tmp_path / "g2a.dat")
    with pytest.raises(LakeError, match=r"galah_dr3 is no layout for translated tables; expected spectrotranslator_g2a"):
        write_cds([table], survey("galah_dr3"), tmp_path / "g2a.dat")


def test_no_tables_are_a_file_without_records(tmp_path):
    assert write_cds([], G2A, tmp_path / "g2a.dat") == 0
    assert write_cds([translated(G2A).slice(0, 0)], G2A, tmp_path / "g2a.dat") == 0
    assert (tmp_path / "g2a.dat").read_bytes() == b""


def test_our_readme_says_whose_the_numbers_are_and_how_many_records_there_are():
    said = readme([G2A, A2G], records={"g2a.dat": 12})
    assert "NOT the table of Thomas" in said and "translated by" in said and "gaialake" in said
    assert max(map(len, said.splitlines())) <= 80
    words = [line.split()[:3] for line in said.splitlines()]
    assert ["g2a.dat", "924", "12"] in words and ["a2g.dat", "913", "."] in words
