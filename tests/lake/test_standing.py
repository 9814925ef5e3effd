"""Rows without source_id get theirs by position or by keys, the best observation stays, and every other row is counted."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.dialects import write
from lake.errors import LakeError, RawFileError
from lake.ingest import ingest
from lake.keys import Beside
from lake.ledger import raw_files, register
from lake.partition import BASE_SHIFT
from lake.standing import Reference, Standing
from lake.survey import Survey, survey
from lake.table import Table

BY_POSITION = '''
    """Declare made-up photometry without source_id, matched by position."""
    from lake.declaration import Position, Raw
    from lake.survey import Survey

    SURVEY = Survey(
        name="madeup_sky",
        title="Made-up photometry",
        release="1",
        kind="photometry",
        citation="nobody",
        licence="CC0",
        source="https://example.org",
        patterns=("sky_*",),
        dialects=("archive_csv", "fits"),
        columns={"object_ra": Raw("RA"), "object_dec": Raw("DEC"), "snr": Raw("SNR")},
        required=("object_ra", "object_dec"),
        match=Position(epoch=2016.0, radius=1.0),
        duplicates="best",
    )
'''
LABELS = '''
    """Declare made-up labels that know their source_id."""
    from lake.declaration import Raw
    from lake.survey import Survey

    SURVEY = Survey(
        name="madeup_labels",
        title="Made-up labels",
        release="1",
        kind="labels",
        citation="nobody",
        licence="CC0",
        source="https://example.org",
        patterns=("labels_*",),
        dialects=("archive_csv", "fits"),
        columns={
            "source_id": Raw("GAIA"), "designation": Raw("NAME"), "random_index": Raw("FLAG"),
            "teff": Raw("TEFF"), "snr": Raw("SNR"),
        },
        missing={"source_id": (0, -1)},
        duplicates="best",
        best=("-snr",),
    )
'''
AGES = '''
    """Declare made-up ages, row by row those of the labels, with their names and flags."""
    from lake.declaration import Keys, Raw
    from lake.survey import Survey

    SURVEY = Survey(
        name="madeup_ages",
        title="Made-up ages",
        release="1",
        kind="labels",
        citation="nobody",
        licence="CC0",
        source="https://example.org",
        patterns=("ages_*",),
        dialects=("archive_csv", "fits"),
        columns={"designation": Raw("NAME"), "random_index": Raw("FLAG"), "age": Raw("AGE")},
        match=Keys("madeup_labels", on=("designation",), agree=("random_index",)),
        duplicates="best",
        best=("designation",),
    )
'''
TEFFS = '''
    """Declare made-up hot stars, whose temperatures replace those of others."""
    from lake.declaration import Override, Raw
    from lake.survey import Survey

    SURVEY = Survey(
        name="madeup_mixed",
        title="Made-up labels, better ones for hot stars",
        release="1",
        kind="labels",
        citation="nobody",
        licence="CC0",
        source="https://example.org",
        patterns=("mixed_*",),
        dialects=("archive_csv", "fits"),
        columns={"source_id": Raw("GAIA"), "designation": Raw("NAME"), "teff": Raw("TEFF")},
        override=Override("madeup_labels", on=("designation",), columns=("teff",)),
    )
'''


def built(where, declared: Survey, columns: dict[str, object], standing: Standing, name: str = "") -> Table:
    """Write a raw file of a survey, and build its table."""
    path = where.storage.path(f"{name or declared.patterns[0][:-2]}_1.csv")
    write(pa.table(columns), path, "archive_csv")
    register(where.storage, declared, [path])
    files = raw_files(where.storage, declared)
    (manifest,) = ingest(where.storage, where.grid, declared, files, standing=standing).manifests
    return Table(where.storage, manifest, where.grid)


def beside(where, name: str) -> Standing:
    files = raw_files(where.storage, survey(name))
    return Standing({name: Beside(name, tuple((file.path, file.sha256) for file in files))})


@pytest.fixture
def sources(new_lake, synthetic, build, tmp_path: Path) -> Table:
    """Three Gaia sources in a row, 0.6 arcsec apart, and one far away."""
    dec = np.array([0.0, 0.6 / 3600, 1.2 / 3600, 20.0])
    ids = (np.array([300_000, 300_000, 300_000, 555_000]) << BASE_SHIFT) + np.arange(1, 5)
    from astropy import units as u
    from astropy_healpix import HEALPix

    lon, lat = HEALPix(nside=256, order="nested").healpix_to_lonlat(ids >> BASE_SHIFT)
    declared = survey("gaia_dr3_source")
    rows = synthetic.rows(declared, ids, integer_nulls=False)
    held = {
        "ra": lon.to_value(u.deg),
        "dec": lat.to_value(u.deg) + np.where(dec < 1, dec, 0),
        "pmra": np.zeros(4),
        "pmdec": np.zeros(4),
    }
    for name, values in held.items():
        at = rows.column_names.index(name)
        rows = rows.set_column(at, rows.schema.field(name), pa.array(values))
    path = synthetic.write(declared, rows, tmp_path / "sources.fits", "fits")
    (manifest,) = build.ingest(new_lake, "gaia_dr3_source", path).manifests
    return Table(new_lake.storage, manifest, new_lake.grid)


def test_objects_go_to_the_nearest_source_and_a_source_keeps_the_nearest_object(declare, new_lake, sources, build):
    declared = declare("madeup_sky", BY_POSITION)
    known = build.whole(sources)
    ra, dec = known["ra"].to_numpy(), known["dec"].to_numpy()
    arcsec = 1 / 3600
    standing = Standing(reference=Reference(new_lake.storage, new_lake.grid, sources.name, sources.manifest.build))
    table = built(
        new_lake,
        declared,
        {
            "RA": [ra[0], ra[0], ra[3], ra[3], None],
            "DEC": [dec[0] + 0.1 * arcsec, dec[0] - 0.2 * arcsec, dec[3] + 0.5 * arcsec, dec[3] + 5 * arcsec, 1.0],
            "SNR": [1.0, 2.0, 3.0, 4.0, 5.0],
        },
        standing,
    )
    found = build.whole(table)
    assert found["source_id"].to_pylist() == [known["source_id"][0].as_py(), known["source_id"][3].as_py()]
    assert found["snr"].to_pylist() == [1.0, 3.0]
    assert found["match_separation"].to_pylist() == pytest.approx([0.1, 0.5], abs=1e-4)
    assert found["match_candidates"].to_pylist() == [2, 1]
    assert found["n_observations"].to_pylist() == [2, 1]
    assert table.manifest.account == {
        "in": 5,
        "out": 2,
        "dropped": {
            "no Gaia source within 1 arcsec": 1,
            "not the best observation of its source": 1,
            "without a position": 1,
        },
    }


def test_a_match_by_position_without_sources_says_what_is_missing(declare, new_lake):
    declared = declare("madeup_sky", BY_POSITION)
    with pytest.raises(LakeError, match="gaia_dr3_source, which is not in this lake"):
        built(new_lake, declared, {"RA": [1.0], "DEC": [1.0], "SNR": [1.0]}, Standing())


LABEL_ROWS = {
    "GAIA": ["5853498713190525696", "5853498713190525696", "0", "4345775217221821312", "4345775217221821313"],
    "NAME": ["a", "b", "c", "d", "d"],
    "FLAG": [1, 2, 4, 8, 8],
    "TEFF": [5000.0, 5050.0, 6000.0, 9000.0, 9100.0],
    "SNR": [50.0, 80.0, 100.0, None, 10.0],
}


def test_several_observations_of_a_star_keep_the_best_and_are_counted_and_ids_may_be_text(declare, new_lake, build):
    declared = declare("madeup_labels", LABELS)
    table = built(new_lake, declared, LABEL_ROWS, Standing())
    found = build.whole(table)
    assert found["source_id"].to_pylist() == [4345775217221821312, 4345775217221821313, 5853498713190525696]
    assert found["teff"].to_pylist() == [9000.0, 9100.0, 5050.0]
    assert found["n_observations"].to_pylist() == [1, 1, 2]
    assert table.manifest.account["dropped"] == {"no source_id": 1, "not the best observation of its source": 1}


def test_the_best_observation_does_not_depend_on_files_or_their_order(declare, new_lake, build):
    declared = declare("madeup_labels", LABELS)
    star = 5853498713190525696
    for name, snr, flag in (("labels_2", 30.0, 1), ("labels_3", 90.0, 2), ("labels_4", 60.0, 3), ("labels_5", 90.0, 2)):
        rows = {"GAIA": [star], "NAME": ["a"], "FLAG": [flag], "TEFF": [snr * 100], "SNR": [snr]}
        extra = {"GAIA": [star + flag], "NAME": [name], "FLAG": [flag], "TEFF": [None], "SNR": [None]}
        table = built(new_lake, declared, {key: rows[key] + extra[key] for key in rows}, Standing(), name)
    found = build.whole(table)
    assert found["teff"].to_pylist()[0] == 9000.0
    assert found["n_observations"].to_pylist() == [3, 1, 2, 1]
    assert table.manifest.account["dropped"] == {"not the best observation of its source": 3, "same row again": 1}


def test_rows_find_their_source_by_keys_whatever_their_order(declare, new_lake, build):
    declare("madeup_labels", LABELS)
    declared = declare("madeup_ages", AGES)
    built(new_lake, survey("madeup_labels"), LABEL_ROWS, Standing())
    rows = {"NAME": ["c", "b", "x", "a", "d", None], "FLAG": [4, 2, 9, 1, 8, 1], "AGE": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    table = built(new_lake, declared, rows, beside(new_lake, "madeup_labels"))
    found = build.whole(table)
    assert found["source_id"].to_pylist() == [5853498713190525696]
    assert found["age"].to_pylist() == [4.0]
    assert table.manifest.account == {
        "in": 6,
        "out": 1,
        "dropped": {
            "keys name several sources in madeup_labels": 1,
            "not in madeup_labels, or without source_id there": 3,
            "not the best observation of its source": 1,
        },
    }


def test_rows_shifted_against_their_keys_are_refused(declare, new_lake):
    declare("madeup_labels", LABELS)
    declared = declare("madeup_ages", AGES)
    built(new_lake, survey("madeup_labels"), LABEL_ROWS, Standing())
    with pytest.raises(
        RawFileError, match=r"ages_1.csv: column 'random_index': row with designation a has 2.*has 1.*moved against"
    ):
        built(new_lake, declared, {"NAME": ["a", "b"], "FLAG": [2, 1], "AGE": [1.0, 2.0]}, beside(new_lake, "madeup_labels"))


def test_a_table_is_built_again_when_the_files_it_is_matched_with_change(declare, new_lake, build):
    declare("madeup_labels", LABELS)
    declared = declare("madeup_ages", AGES)
    built(new_lake, survey("madeup_labels"), LABEL_ROWS, Standing())
    rows = {"NAME": ["a", "b"], "FLAG": [1, 2], "AGE": [1.0, 2.0]}
    first = built(new_lake, declared, rows, beside(new_lake, "madeup_labels"))
    built(new_lake, survey("madeup_labels"), LABEL_ROWS | {"GAIA": [str(10**15), *LABEL_ROWS["GAIA"][1:]]}, Standing())
    second = built(new_lake, declared, rows, beside(new_lake, "madeup_labels"))
    assert first.manifest.build != second.manifest.build
    assert build.whole(first)["source_id"].to_pylist() == [5853498713190525696]
    assert build.whole(second)["source_id"].to_pylist() == [10**15, 5853498713190525696]


def test_an_override_replaces_values_by_key_and_says_where_each_row_comes_from(declare, new_lake, build):
    declare("madeup_labels", LABELS)
    declared = declare("madeup_mixed", TEFFS)
    built(new_lake, survey("madeup_labels"), LABEL_ROWS, Standing())
    rows = {"GAIA": [1 << 40, 2 << 40, 3 << 40], "NAME": ["c", "y", None], "TEFF": [1500.0, 1600.0, 1700.0]}
    found = build.whole(built(new_lake, declared, rows, beside(new_lake, "madeup_labels")))
    assert found["teff"].to_pylist() == [1500.0, 1600.0, 1700.0]
    rows["NAME"] = ["d", "y", None]
    found = build.whole(built(new_lake, declared, rows, beside(new_lake, "madeup_labels")))
    # Of two rows of d, the one with the larger signal-to-noise ratio is the better one.
    assert found["teff"].to_pylist() == [9100.0, 1600.0, 1700.0]
    assert found["label_origin"].to_pylist() == ["madeup_labels", "madeup_mixed", "madeup_mixed"]


def test_without_files_of_the_other_survey_nothing_is_overridden(declare, new_lake, build):
    declare("madeup_labels", LABELS)
    declared = declare("madeup_mixed", TEFFS)
    found = build.whole(built(new_lake, declared, {"GAIA": [1 << 40], "NAME": ["d"], "TEFF": [1500.0]}, Standing()))
    assert found["teff"].to_pylist() == [1500.0]
    assert found["label_origin"].to_pylist() == ["madeup_mixed"]


def test_a_position_that_is_no_angle_is_counted_and_not_wrapped_around_the_sky(declare, new_lake, sources, build):
    declared = declare("madeup_sky", BY_POSITION)
    known = build.whole(sources)
    ra, dec = known["ra"][3].as_py(), known["dec"][3].as_py()
    standing = Standing(reference=Reference(new_lake.storage, new_lake.grid, sources.name, sources.manifest.build))
    rows = {"RA": [ra, ra + 180.0, -9999.0, None], "DEC": [dec, 180.0 - dec, dec, -9999.0], "SNR": [1.0, 2.0, 3.0, 4.0]}
    table = built(new_lake, declared, rows, standing)
    assert build.whole(table)["snr"].to_pylist() == [1.0]
    lost = {"object_ra or object_dec is no angle on the sky": 2, "without a position": 1}
    assert table.manifest.account == {"in": 4, "out": 1, "dropped": lost}


@pytest.mark.parametrize("teffs", [(5000.0, 6000.0, 5000.0), (6000.0, 5000.0, 5000.0), (5000.0, 5000.0, 6000.0)])
def test_of_observations_that_rank_alike_the_order_of_rows_neither_chooses_nor_counts(teffs, declare, new_lake, build):
    declared = declare("madeup_labels", LABELS)
    rows = {"GAIA": [1 << 40] * 3, "NAME": ["a"] * 3, "FLAG": [1] * 3, "TEFF": list(teffs), "SNR": [50.0] * 3}
    table = built(new_lake, declared, rows, Standing())
    found = build.whole(table)
    assert (found["teff"].to_pylist(), found["n_observations"].to_pylist()) == ([5000.0], [2])
    assert table.manifest.account["dropped"] == {"not the best observation of its source": 1, "same row again": 1}


def test_of_several_rows_with_the_same_keys_the_one_that_agrees_is_meant(declare, new_lake, build):
    declare("madeup_labels", LABELS)
    declared = declare("madeup_ages", AGES)
    rows = {"GAIA": ["4345775217221821312"] * 2, "NAME": ["a"] * 2, "FLAG": [1, 2], "TEFF": [1.0] * 2, "SNR": [1.0] * 2}
    built(new_lake, survey("madeup_labels"), rows, Standing())
    ages = {"NAME": ["a", "a"], "FLAG": [2, 1], "AGE": [1.0, 2.0]}
    table = built(new_lake, declared, ages, beside(new_lake, "madeup_labels"))
    assert build.whole(table)["source_id"].to_pylist() == [4345775217221821312]
    assert table.manifest.account["dropped"] == {"not the best observation of its source": 1}


def test_what_rows_are_matched_with_is_told_by_contents_and_not_by_names(declare):
    declare("madeup_labels", LABELS)
    one, other = (
        Standing({"madeup_labels": Beside("madeup_labels", files)})
        for files in (((Path("a"), "1"), (Path("b"), "2")), ((Path("a"), "2"), (Path("b"), "1")))
    )
    assert one.id == other.id != Standing({"madeup_labels": Beside("madeup_labels", ((Path("a"), "1"),))}).id


def test_a_survey_beside_without_rows_gives_no_ids_and_replaces_nothing(declare, new_lake, build):
    declare("madeup_labels", LABELS)
    kinds = {"GAIA": pa.int64(), "NAME": pa.string(), "FLAG": pa.int64(), "TEFF": pa.float32(), "SNR": pa.float32()}
    built(new_lake, survey("madeup_labels"), {name: pa.array([], kind) for name, kind in kinds.items()}, Standing())
    ages = built(
        new_lake, declare("madeup_ages", AGES), {"NAME": ["a"], "FLAG": [1], "AGE": [1.0]}, beside(new_lake, "madeup_labels")
    )
    assert ages.manifest.account == {
        "in": 1,
        "out": 0,
        "dropped": {"not in madeup_labels, or without source_id there": 1},
    }
    mixed = {"GAIA": [1 << 40], "NAME": ["d"], "TEFF": [1500.0]}
    found = build.whole(built(new_lake, declare("madeup_mixed", TEFFS), mixed, beside(new_lake, "madeup_labels")))
    assert found["label_origin"].to_pylist() == ["madeup_mixed"]
