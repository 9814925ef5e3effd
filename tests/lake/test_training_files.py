"""Training tables in files: every form holds the same stars and values, whole or not at all, and every row is accounted for."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake.columns import COLUMNS as VOCABULARY
from lake.errors import LakeError
from lake.finetune import FINETUNE_COLUMNS, LABEL_PAIRS, PROVENANCE
from lake.hdf5_files import DATA_ROWS, GROUPS, export_hdf5, export_split_hdf5, records
from lake.hub_files import export_hub
from lake.join import Join
from lake.pretrain import assemble, spelled
from lake.split import SPLITS, split_of
from lake.training_columns import STORED, block_element, described, stored_first
from lake.training_files import export_parquet


def labelled(table: pa.Table, *, wide: bool = False) -> pa.Table:
    """The fine-tune contract on synthetic labels that follow from the id alone; every 9th lacks its alpha."""
    features = assemble(table)
    ids = table["source_id"].to_numpy()
    unit = (ids % 1000) / 1000
    values = {"teff": 4000 + 2000 * unit, "logg": 1 + 3 * unit, "m_h": unit - 1, "mg_fe": 0.3 * unit, "age": 1 + 9 * unit}
    held: dict[str, pa.Array] = {}
    for name, value in values.items():
        gone = (ids % 9 == 0) if name == "mg_fe" else np.zeros(len(ids), bool)
        held[name] = pa.array(value.astype(np.float32), mask=gone)
        held[f"{name}_error"] = pa.array((0.01 * np.abs(value) + 0.05).astype(np.float32), mask=gone)
    split = pc.if_else(pa.array(ids % 50 == 7), "reserve", split_of(ids))
    kinds = {"radial_velocity": pa.float32(), "radial_velocity_error": pa.float32(), "age_source": pa.int16()}
    rest = {name: pa.nulls(len(ids), kinds.get(name, VOCABULARY[name].type)) for name in PROVENANCE}
    rest |= {"split": split, "age_source": pa.array(np.where(ids % 3, 1, 2), pa.int16())}
    if wide:
        features = spelled(features)
        held = {LABEL_PAIRS[name]: values for name, values in held.items()}
        rest = {"spec_source": pa.array(["apogee_dr17"] * len(ids), pa.string()), **rest}
    columns = {name: features[name] for name in features.column_names if name != "source_id"}
    return pa.table({"source_id": table["source_id"], **held, **columns, **rest})


def labelled_wide(table: pa.Table) -> pa.Table:
    return labelled(table, wide=True)


@pytest.fixture
def pretraining(small_lake) -> Join:
    return small_lake.pretrain()


@pytest.fixture
def pretraining_wide(small_lake) -> Join:
    return small_lake.pretrain(wide=True)


@pytest.fixture
def finetuning(pretraining) -> Join:
    return replace(pretraining, then=labelled)


@pytest.fixture
def finetuning_wide(pretraining) -> Join:
    return replace(pretraining, then=labelled_wide)


def whole(join: Join) -> pa.Table:
    return pa.concat_tables([join.read_leaf(leaf) for leaf in range(len(join.grid))]).combine_chunks()


def equal(found: np.ndarray, wanted: pa.ChunkedArray) -> None:
    np.testing.assert_array_equal(found, pc.cast(wanted, pa.float64()).to_numpy())


def test_the_contract_of_the_labels_is_that_of_the_fine_tune_table(finetuning, finetuning_wide):
    assert tuple(finetuning.schema().names) == ("source_id", *FINETUNE_COLUMNS)
    ordered = stored_first(finetuning_wide.schema().names)
    assert ordered[:12] == ["source_id", *LABEL_PAIRS.values(), "W1"]
    spelled_out = [f"{name}{k}" for name in STORED for k in range(1, 56) if name.endswith("_")]
    assert len(STORED) - 4 + len(spelled_out) == 289
    assert ordered[288] == "spec_source"
    assert [name for name in ordered[:289] if block_element(name)[0] not in STORED] == []
    assert ordered[289:] == [name for name in finetuning_wide.schema().names if block_element(name)[0] not in STORED]


def test_the_stored_order_of_the_pretraining_table_is_the_order_of_the_lake(pretraining_wide):
    names = pretraining_wide.schema().names
    assert stored_first(names) == names
    assert names.index("e_parallax") == 277


@pytest.mark.parametrize("which", ["pretraining", "pretraining_wide", "finetuning", "finetuning_wide"])
def test_parquet_has_one_file_per_leaf_with_rows_the_same_values_and_units(which, request, tmp_path):
    join = request.getfixturevalue(which)
    account = export_parquet(join, tmp_path / "out")
    wanted = whole(join)
    paths = sorted((tmp_path / "out").iterdir())
    assert {path.name: pq.read_metadata(path).num_rows for path in paths} == account.files
    edges = {f"{a:06d}-{b - 1:06d}.parquet" for a, b in zip(join.grid.edges[:-1], join.grid.edges[1:], strict=True)}
    assert set(account.files) <= edges
    held = pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths]).combine_chunks()
    assert held.cast(wanted.schema).equals(wanted)
    assert account.rows == wanted.num_rows > 0
    known = held.schema.field("G" if "wide" in which else "phot_g_mean_mag").metadata
    assert known[b"unit"] == b"mag"
    block = held.schema.field("bp_7" if "wide" in which else "bp_coefficients").metadata
    assert b"flux_state" in block[b"description"]
    assert [one["table"] for one in json.loads(held.schema.metadata[b"gaialake"])] == [one.name for one in join.tables]


def test_in_wide_tables_the_words_of_the_original_are_described_as_what_they_hold(finetuning_wide):
    described_fields = described(finetuning_wide.schema())
    assert b"[M/H]" in described_fields.field("fe_h").metadata[b"description"]
    assert b"[Mg/Fe]" in described_fields.field("alpha").metadata[b"description"]
    assert described_fields.field("e_teff").metadata[b"unit"] == b"K"


def test_partitions_may_be_written_anywhere_and_in_any_order(pretraining, tmp_path):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        account = export_parquet(
            pretraining, tmp_path / "out", run=lambda label, function, tasks: pool.map(function, list(tasks)[::-1])
        )
    assert account.files == export_parquet(pretraining, tmp_path / "serial").files
    assert list(account.files) == sorted(account.files)


def test_hdf5_records_of_the_pretraining_table_are_cut_by_the_sky_and_by_rows(pretraining_wide, tmp_path):
    account = export_hdf5(pretraining_wide, tmp_path / "out", portions=5, part_rows=20)
    wanted = whole(pretraining_wide)
    with h5py.File(tmp_path / "out" / "pretrain.h5") as file:
        assert {name: len(file[name]) for name in file} == account.files
        assert all(len(file[name]) <= 20 for name in file)
        ordered = sorted(file, key=lambda name: [int(n) for n in name.removeprefix("sslset").split("_part")])
        assert "sslset0_part0" in ordered
        assert any(name.endswith("_part1") for name in ordered)
        assert len({name.split("_")[0] for name in ordered}) > 1
        held = np.concatenate([file[name][:] for name in ordered])
        assert json.loads(file.attrs["units"])["PARALLAX"] == "mas"
        assert json.loads(file.attrs["made_of"])[0]["table"] == "gaia_dr3_xp"
    assert list(held.dtype.names) == wanted.column_names
    assert held["source_id"].dtype == np.int64
    assert held["source_id"].tolist() == wanted["source_id"].to_pylist()
    for name in ("G", "bp_1", "rpe_55", "PARALLAX", "bp_n_relevant_bases"):
        equal(held[name], wanted[name])
    assert np.isnan(held["W1"]).sum() == wanted["W1"].null_count > 0
    assert [word.decode() for word in held["flux_state"]] == wanted["flux_state"].to_pylist()


def test_hdf5_records_of_the_fine_tune_table_begin_with_the_289_columns(finetuning_wide, tmp_path):
    account = export_hdf5(finetuning_wide, tmp_path / "out")
    wanted = whole(finetuning_wide)
    assert account.files == {"finetune": wanted.num_rows}
    with h5py.File(tmp_path / "out" / "finetune.h5") as file:
        held = file["finetune"][:]
    assert list(held.dtype.names) == stored_first(wanted.column_names)
    assert held.dtype.names[288] == "spec_source"
    for name in ("teff", "e_alpha", "alpha", "teff_n_sources", "age_source"):
        equal(held[name], wanted[name])
    assert set(held["spec_source"]) == {b"apogee_dr17"}


def test_a_text_or_an_integer_that_does_not_fit_into_a_record_is_refused_not_cut():
    with pytest.raises(LakeError, match="a text of 80 bytes"):
        records(pa.table({"source_id": [1], "spec_source": ["x" * 80]}))
    with pytest.raises(LakeError, match="loses digits as float64"):
        records(pa.table({"source_id": [1], "other_id": [2**60 + 1]}))


def test_arrays_by_split_hold_whole_stars_and_count_the_others(finetuning, tmp_path):
    account = export_split_hdf5(finetuning, tmp_path / "out")
    wanted = whole(finetuning)
    rows = dict(zip(wanted["source_id"].to_pylist(), wanted.to_pylist(), strict=True))
    seen: list[int] = []
    with h5py.File(tmp_path / "out" / "finetune-split.h5") as file:
        assert sorted(file) == sorted(GROUPS)
        for name, split in GROUPS.items():
            group = file[name]
            ids = group["source_id"][:]
            n = len(ids)
            assert group["data"].shape == group["e_data"].shape == (len(DATA_ROWS), n)
            assert group["label"].shape == group["e_label"].shape == (110, n)
            assert group["gmag"].shape == (n,)
            assert account.files[name] == n
            for k, star in enumerate(ids.tolist()):
                row = rows[star]
                assert row["split"] == split
                assert group["data"][:, k].tolist() == [row["m_h"], row["logg"], row["teff"], row["mg_fe"]]
                assert group["label"][:, k].tolist() == row["bp_coefficients"] + row["rp_coefficients"]
                assert group["e_label"][:, k].tolist() == row["bp_coefficient_errors"] + row["rp_coefficient_errors"]
                assert group["e_data"][2, k] == row["teff_error"]
                assert group["gmag"][k] == row["phot_g_mean_mag"]
                assert group["xp_scale"][k] == row["xp_scale"]
            seen.extend(ids.tolist())
    assert len(seen) == account.rows > 0
    assert account.rows + sum(account.left_out.values()) == len(rows)
    assert account.left_out["reserve"] == sum(row["split"] == "reserve" for row in rows.values())
    assert {"reserve", "label missing", "XP missing", "G missing"} >= set(account.left_out) >= {"label missing", "XP missing"}
    assert "left out:" in account.text


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    datasets.disable_progress_bars()
    return lambda folder: datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_the_folder_for_the_hub_is_loaded_by_datasets_with_ids_and_nulls_kept(finetuning, tmp_path, offline):
    account = export_hub(finetuning, tmp_path / "out", shard_bytes=30_000)
    wanted = whole(finetuning)
    kept = wanted.filter(pc.not_equal(wanted["split"], "reserve"))
    assert account.left_out == {"reserve": wanted.num_rows - kept.num_rows}
    assert any("-00001-of-" in name for name in account.files)
    found = offline(tmp_path / "out")
    assert set(found) == {split for split in SPLITS if split in kept["split"].to_pylist()}
    for split, rows in found.items():
        own = kept.filter(pc.equal(kept["split"], split))
        held = rows.with_format("arrow")[:]
        assert held.schema.field("source_id").type == pa.int64()
        assert held["source_id"].to_pylist() == own["source_id"].to_pylist()
        for name in ("mg_fe", "catwise_w1_mag", "bp_coefficients", "split", "teff_n_sources"):
            assert held[name].to_pylist() == own[name].to_pylist(), name
    assert any(None in rows["mg_fe"][:] for rows in found.values())


def test_the_card_names_splits_licences_citations_and_units(finetuning, tmp_path):
    import yaml

    export_hub(finetuning, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train-*.parquet"}
    assert front["size_categories"] == ["n<1K"]
    for table in finetuning.tables:
        assert table.manifest.licence in text
        assert table.manifest.citation in text
        assert table.manifest.build in text
    assert "| parallax | double | mas |" in text


def test_a_pretraining_table_for_the_hub_is_one_split(pretraining, tmp_path, offline):
    export_hub(pretraining, tmp_path / "out")
    found = offline(tmp_path / "out")
    assert list(found) == ["train"]
    assert found["train"]["source_id"][:] == whole(pretraining)["source_id"].to_pylist()


FORMS = {
    "parquet": (export_parquet, "pretraining"),
    "hdf5": (export_hdf5, "pretraining_wide"),
    "split": (export_split_hdf5, "finetuning"),
    "hub": (export_hub, "pretraining"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_taken(form, request, tmp_path):
    export, which = FORMS[form]
    join = request.getfixturevalue(which)
    full, empty, file = tmp_path / "full", tmp_path / "empty", tmp_path / "file"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    empty.mkdir()
    file.write_text("mine")
    for taken, what in ((full, "not empty"), (file, "no folder")):
        with pytest.raises(LakeError, match=f"is there and {what}; nothing was written"):
            export(join, taken)
    assert [path.name for path in full.iterdir()] == ["notes.txt"]
    assert export(join, empty).rows > 0
    assert any(empty.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_fails_half_way_leaves_nothing(form, request, tmp_path, monkeypatch):
    export, which = FORMS[form]
    join = request.getfixturevalue(which)
    calls = []

    def breaks(table: pa.Table) -> pa.Table:
        calls.append(table.num_rows)
        if len([rows for rows in calls if rows]) > 3:
            raise LakeError("synthetic failure")
        return join.then(table)

    with pytest.raises(LakeError, match="synthetic failure"):
        export(replace(join, then=breaks), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_has_its_name_only_when_it_is_whole(pretraining, tmp_path):
    seen = []

    def watching(label, function, tasks):
        for task in tasks:
            yield function(task)
            seen.append((tmp_path / "out").exists())

    export_parquet(pretraining, tmp_path / "out", run=watching)
    assert seen
    assert not any(seen)
    assert (tmp_path / "out").is_dir()


def test_forms_that_do_not_fit_a_table_are_refused_with_the_way_out(pretraining, finetuning_wide, tmp_path):
    with pytest.raises(LakeError, match="wide=True"):
        export_hdf5(pretraining, tmp_path / "out")
    with pytest.raises(LakeError, match="export `lake.finetune\\(\\)`"):
        export_split_hdf5(pretraining, tmp_path / "out")
    with pytest.raises(LakeError, match="not wide"):
        export_split_hdf5(finetuning_wide, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_one_leaf_at_a_time(pretraining_wide, tmp_path):
    import weakref

    alive: list[weakref.ref] = []
    most = []

    def watched(table: pa.Table) -> pa.Table:
        made = pretraining_wide.then(table)
        if made.num_rows:
            most.append(sum(ref() is not None for ref in alive))
            alive.append(weakref.ref(made))
        return made

    export_hdf5(replace(pretraining_wide, then=watched), tmp_path / "out")
    assert len(most) > 10
    assert max(most) <= 2
