"""Real survey files from the archives and from other people's repositories; they lie beside the repository, or the tests skip."""

import csv
import gzip
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from astropy.io import fits

import lake as lakes
from lake.errors import RawFileError
from lake.ingest import ingest
from lake.ledger import raw_files, register
from lake.partition import uniform
from lake.readers import read
from lake.root import init_lake
from lake.survey import survey
from lake.table import Table

SOURCE, XP, SAMPLED = survey("gaia_dr3_source"), survey("gaia_dr3_xp"), survey("gaia_dr3_xp_sampled")
LISTS = [f"{band}_{what}" for band in ("bp", "rp") for what in ("coefficients", "coefficient_errors", "coefficient_correlations")]


@pytest.fixture(scope="module")
def xp(shared_data) -> Path:
    return shared_data / "gaia_xp"


@pytest.fixture(scope="module")
def sources(shared_data) -> Path:
    return shared_data / "gaia_source"


@pytest.fixture(scope="module")
def clusters(shared_data) -> list[Path]:
    return sorted((shared_data / "clusters").glob("*_sel_MS_members_Tarricq.csv.gz"))


def ordered(table: pa.Table) -> pa.Table:
    return table.sort_by("source_id").combine_chunks()


@pytest.mark.parametrize("form", ["ecsv", "fits", "xml"])
def test_all_archive_formats_of_two_spectra_agree_bit_for_bit(form, xp, synthetic):
    wanted = ordered(synthetic.read(xp / "XP_CONTINUOUS_RAW.csv", XP))
    found = ordered(synthetic.read(xp / f"XP_CONTINUOUS_RAW.{form}", XP))
    assert wanted.num_rows == 2
    assert found.equals(wanted)
    assert sum(column.null_count for column in found.columns) == 0


def test_a_spectrum_without_bp_is_null_in_every_column_of_bp_in_every_format(xp, synthetic):
    wanted = ordered(synthetic.read(xp / "XP_CONTINUOUS_RAW_with_missing_BP.csv", XP))
    assert ordered(synthetic.read(xp / "XP_CONTINUOUS_RAW_with_missing_BP.fits", XP)).equals(wanted)
    alone = synthetic.read(xp / "XP_CONTINUOUS_RAW_missing_BP_dr3int6.ecsv", XP)
    without = pc.is_null(wanted["bp_coefficients"]).to_pylist()
    assert sum(without) == 1
    for name in XP.columns:
        if name.startswith("bp_"):
            assert pc.is_null(wanted[name]).to_pylist() == without, name
            assert alone[name].null_count == alone.num_rows == 1
        elif name.startswith("rp_"):
            assert wanted[name].null_count == alone[name].null_count == 0


def test_the_spectrum_of_18_sco_has_its_coefficients_and_packed_correlations(xp, synthetic):
    (batch,) = read(xp / "18Sco-XP-spectra.csv", XP)
    assert batch.ignored == ("phot_g_mean_mag",)
    found = synthetic.read(xp / "18Sco-XP-spectra.csv", XP)
    (row,) = csv.DictReader((xp / "18Sco-XP-spectra.csv").open())
    assert found["source_id"].to_pylist() == [4345775217221821312]
    for name in LISTS:
        kind = found[name].type.value_type.to_pandas_dtype()
        assert found[name][0].as_py() == np.array(row[name].strip("()").split(","), kind).tolist()


def test_sampled_spectra_of_the_archive_agree_in_csv_and_fits(xp, synthetic):
    wanted, found = (ordered(synthetic.read(xp / f"XP_SAMPLED_RAW_dr3int6.{form}", SAMPLED)) for form in ("csv", "fits"))
    assert found["source_id"].to_pylist() == [4, 6]
    # The FITS file of the reference library carries 0 where the CSV has the identifier of the solution.
    assert (wanted["solution_id"].null_count, found["solution_id"].null_count) == (0, 2)
    assert found.drop_columns(["solution_id"]).equals(wanted.drop_columns(["solution_id"]))


@pytest.mark.parametrize(("declared", "product"), [(XP, "XP_CONTINUOUS"), (SAMPLED, "XP_SAMPLED")])
def test_the_zip_of_one_source_gives_its_spectrum_and_leaves_other_products_alone(declared, product, xp, synthetic):
    path = xp / "gaia_dr3_source_id_5937083312263887616_dl_products_csv.zip"
    members = zipfile.ZipFile(path).namelist()
    assert len(members) > 2
    if not any(Path(name).name.startswith(product) for name in members):
        with pytest.raises(RawFileError, match="no product of"):
            synthetic.read(path, declared)
        return
    found = synthetic.read(path, declared)
    assert found["source_id"].to_pylist() == [5937083312263887616]
    assert all(found[name].null_count == 0 for name in declared.required)


def test_the_flattened_bulk_spectra_hold_what_astropy_finds(xp, synthetic):
    path = xp / "xp_continuous_combined_chunk0.shared.fits"
    found = synthetic.read(path, XP)
    assert found.num_rows == 1338
    with fits.open(path) as held:
        data = held[1].data
        assert found["source_id"].to_pylist() == data["source_id"].tolist()
        for name, prefix in (("bp_coefficients", "bp_coeff"), ("rp_coefficient_errors", "e_rp_coeff")):
            flat = found[name].combine_chunks().flatten().to_numpy().reshape(1338, 55)
            for k in (0, 1, 54):
                np.testing.assert_array_equal(flat[:, k], np.asarray(data[f"{prefix}_{k}"], flat.dtype))
    assert found["bp_coefficient_correlations"].null_count == 1338


@pytest.mark.parametrize("name", ["chunk-04759", "chunk-04887", "chunk-05483"])
def test_files_of_the_second_release_are_refused(name, sources, synthetic):
    with pytest.raises(RawFileError, match=rf"{name}.fits.gz: column '\w+' exists only in Gaia DR2.*pass files of dr3"):
        synthetic.read(sources / f"{name}.fits.gz", SOURCE)


def test_a_random_sample_with_all_152_columns_is_read_as_astropy_reads_it(sources, synthetic):
    path = sources / "gdr3_sm.fits.gz"
    (batch,) = read(path, SOURCE)
    assert (len(batch.table.column_names), batch.absent, batch.ignored) == (152, (), ())
    found = synthetic.read(path, SOURCE)
    with fits.open(path) as held:
        data = held[1].data
        assert found["source_id"].to_pylist() == data["source_id"].tolist()
        np.testing.assert_array_equal(found["parallax"].to_numpy(), data["parallax"])
        np.testing.assert_array_equal(found["teff_gspphot"].to_numpy(), data["teff_gspphot"])
        np.testing.assert_array_equal(found["has_xp_continuous"].to_numpy(), data["has_xp_continuous"])
        assert found["designation"].to_pylist() == [text.strip() for text in data["designation"]]


def test_an_archive_export_with_32_columns_is_read_with_nulls_for_the_others(sources, synthetic):
    path = sources / "1662662797548O-result.csv.gz"
    (batch,) = read(path, SOURCE)
    with gzip.open(path, "rt") as file:
        plain = pd.read_csv(file, dtype_backend="pyarrow")
    assert len(batch.table.column_names) + len(batch.ignored) == len(plain.columns) == 32
    found = synthetic.read(path, SOURCE)
    assert found.num_rows == len(plain) == 2000
    for name in batch.table.column_names:
        assert found[name].null_count == plain[name].isna().sum(), name
    np.testing.assert_array_equal(found["ra"].to_numpy(), plain["ra"].to_numpy(float))
    assert found["has_xp_continuous"].to_pylist() == plain["has_xp_continuous"].tolist()
    assert all(found[name].null_count == 2000 for name in batch.absent)


def test_member_lists_with_two_more_columns_are_read_and_the_two_reported(clusters):
    (batch,) = read(clusters[0], SOURCE)
    assert (len(batch.table.column_names), batch.ignored) == (152, ("cluster", "proba"))


def test_a_cone_with_nine_columns_is_read_whole(sources, synthetic):
    path = sources / "pleiades.shared.fits.gz"
    (batch,) = read(path, SOURCE)
    assert len(batch.table.column_names) == 9
    assert batch.table.num_rows == 37271
    assert len(batch.absent) == 143


def test_361_pleiades_stand_in_two_files_and_are_counted_and_the_fuller_rows_stay(sources, clusters, synthetic, build, tmp_path):
    where = init_lake(tmp_path / "lake", grid=uniform(3))
    members = next(path for path in clusters if path.name.startswith("Melotte_22_"))
    outcome = build.ingest(where, SOURCE.name, members, sources / "pleiades.shared.fits.gz")
    (manifest,) = outcome.manifests
    of_members = synthetic.read(members, SOURCE)
    assert manifest.account["dropped"] == {"same source again in another file": 361}
    assert manifest.account["in"] == 37271 + of_members.num_rows == manifest.rows + 361
    build.publish(where, outcome)
    table = lakes.open(where.storage.root).table(SOURCE.name)
    kept = table.select(of_members["source_id"].to_pylist(), ["designation", "ruwe", "parallax"])
    assert kept["designation"].tolist() == of_members["designation"].to_pylist()
    assert kept["ruwe"].tolist() == of_members["ruwe"].to_pylist()


def test_all_real_gaia_sources_are_accounted_for(sources, clusters, tmp_path):
    """Nine columns of them, so that the test is about rows and not about speed."""
    assert len(clusters) == 51
    names = ("source_id", "ra", "dec", "parallax", "pmra", "phot_g_mean_mag")
    few = replace(SOURCE, columns={name: SOURCE.columns[name] for name in names}, marks=())
    where = init_lake(tmp_path / "lake", grid=uniform(1))
    register(where.storage, few, [*clusters, sources / "gdr3_sm.fits.gz", sources / "pleiades.shared.fits.gz"])
    (manifest,) = ingest(where.storage, where.grid, few, raw_files(where.storage, few)).manifests
    account = manifest.account
    assert account["in"] == 21_149 + 1_000 + 37_271
    assert account["in"] == account["out"] + sum(account["dropped"].values())
    ids = [
        Table(where.storage, manifest, where.grid).read_leaf(leaf, [])["source_id"].to_numpy() for leaf in range(len(where.grid))
    ]
    whole = np.concatenate(ids)
    assert len(np.unique(whole)) == len(whole) == account["out"]
