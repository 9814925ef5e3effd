"""Real LAMOST rows that others matched to Gaia DR3; they lie beside the repository, or the tests skip.

The two files are tables of an analysis, not LAMOST's own catalogue: they hold Gaia's columns beside, and some of LAMOST's
under other names, which are put back here. One was matched by id, the other by position.
"""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lake.build import build_survey
from lake.columns import COLUMNS
from lake.crossmatch import crossmatch
from lake.ledger import raw_files, register
from lake.partition import uniform
from lake.root import init_lake
from lake.standing import Reference, Standing
from lake.survey import survey
from lake.table import Table
from lake.verify import Sample, judge

LAMOST, SOURCE = survey("lamost_dr8"), survey("gaia_dr3_source")
GAIA_NAMES = {"source_id": "source_id", "ra_gaia": "ra", "dec_gaia": "dec", "parallax": "parallax", "pmra": "pmra"}
GAIA_NAMES |= {"pmdec": "pmdec", "phot_g_mean_mag": "phot_g_mean_mag"}
LAMOST_NAMES = {"ra_lamost": "ra", "dec_lamost": "dec"}
LAMOST_NAMES |= {f"combined_{name}": name for name in ("obsid", "obsdate", "lmjd", "planid", "spid", "fiberid")}
LAMOST_NAMES |= {f"combined_{name}": name for name in ("class", "subclass", "z")}


@pytest.fixture(scope="module")
def by_id(shared_data) -> Path:
    """93 stars with errors, without date, plan, spectrograph and fibre."""
    return shared_data / "lamost" / "gaia_lamost_chemo_kinematic_features.shared.csv"


@pytest.fixture(scope="module")
def by_position(shared_data) -> Path:
    """1,226 stars with all that names a spectrum, without errors and velocity errors."""
    return shared_data / "lamost" / "gaia_lamost_larger_velocity_features.shared.csv.gz"


def rewritten(path: Path, out: Path, names: dict[str, str], delimiter: str) -> Path:
    """Write some columns of a CSV file under other names, every cell to the letter."""
    held = path.read_bytes()
    text = (gzip.decompress(held) if path.suffix == ".gz" else held).decode()
    header, *lines = (line.split(",") for line in text.splitlines())
    kept = [i for i, name in enumerate(header) if name in names]
    rows = [[names[header[i]] for i in kept], *([line[i] for i in kept] for line in lines)]
    out.write_text("\n".join(delimiter.join(row) for row in rows) + "\n")
    return out


def lamost_names(path: Path) -> dict[str, str]:
    """Return LAMOST's own columns of a file -> their names in LAMOST's catalogue."""
    own = {raw.name for raw in LAMOST.columns.values()} - {"ra", "dec"}
    return {name: LAMOST_NAMES.get(name, name) for name in pd.read_csv(path, nrows=0) if name in {*LAMOST_NAMES, *own}}


@pytest.fixture(scope="module")
def spectra(by_position, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("lamost") / "dr8_v2.0_LRS_stellar.csv"
    return rewritten(by_position, out, lamost_names(by_position), "|")


def test_rows_that_name_no_spectrum_are_refused_with_the_columns_that_they_lack(by_id, refused, tmp_path):
    path = rewritten(by_id, tmp_path / "dr8_v2.0_LRS_stellar.csv", lamost_names(by_id), "|")
    refused(path, LAMOST, "obsdate", "planid", "spid", "fiberid")


def test_labels_and_their_errors_are_those_of_the_file(by_id, synthetic, tmp_path):
    named = ("lamost_obsdate", "lamost_planid", "lamost_spid", "lamost_fiberid")
    loose = replace(LAMOST, required=tuple(name for name in LAMOST.required if name not in named))
    path = rewritten(by_id, tmp_path / "dr8_v2.0_LRS_stellar.csv", lamost_names(by_id), "|")
    found, wanted = synthetic.read(path, loose), pd.read_csv(by_id)
    assert found.num_rows == len(wanted) == 93
    assert found["lamost_obsid"].to_pylist() == wanted["obsid"].tolist()
    assert found["lamost_designation"].to_pylist() == wanted["designation"].tolist()
    for canonical in (
        "teff",
        "teff_error",
        "logg",
        "logg_error",
        "fe_h",
        "fe_h_error",
        "radial_velocity",
        "radial_velocity_error",
    ):
        raw = LAMOST.columns[canonical].name
        assert found[canonical].to_pylist() == wanted[raw].astype(np.float32).tolist(), canonical
    # Nothing names these spectra, so none could be replaced by the Hot Payne's labels.
    assert found["lamost_spec_id"].null_count == 93


def test_spectra_are_named_as_the_hot_payne_names_them(spectra, by_position, synthetic):
    found, wanted = synthetic.read(spectra, LAMOST), pd.read_csv(by_position)
    assert found.num_rows == len(wanted) == 1226
    names = found["lamost_spec_id"].to_pylist()
    assert names[0] == "20201219-HD080547N020954B01-04-081"
    assert len(set(names)) == 1226
    assert found["lamost_lmjd"].to_pylist() == wanted["combined_lmjd"].tolist()
    assert found["redshift"].to_pylist() == wanted["combined_z"].astype(np.float32).tolist()
    assert found["teff_error"].null_count == found["survey_g_mag"].null_count == 1226


def test_real_values_lie_within_the_limits_of_the_vocabulary(spectra, synthetic):
    found = synthetic.read(spectra, LAMOST)
    for name in found.column_names:
        low, high = COLUMNS[name].low, COLUMNS[name].high
        values = [value for value in found[name].to_pylist() if value is not None]
        assert low is None or min(values, default=low) >= low, name
        assert high is None or max(values, default=high) <= high, name


@pytest.fixture(scope="module")
def gaia(by_position, tmp_path_factory):
    """A lake with the real Gaia rows beside."""
    folder = tmp_path_factory.mktemp("gaia")
    where = init_lake(folder / "lake", grid=uniform(1))
    path = rewritten(by_position, folder / "sources-result.csv", GAIA_NAMES, ",")
    register(where.storage, SOURCE, [path])
    outcome = build_survey(where.storage, where.grid, SOURCE, raw_files(where.storage, SOURCE), Standing())
    return where, outcome.manifests[0]


def test_every_spectrum_is_matched_to_the_source_that_others_found(gaia, spectra, by_position):
    where, sources = gaia
    register(where.storage, LAMOST, [spectra])
    standing = Standing({}, Reference(where.storage, where.grid, SOURCE.name, sources.build))
    (manifest,) = build_survey(where.storage, where.grid, LAMOST, raw_files(where.storage, LAMOST), standing).manifests
    table = Table(where.storage, manifest, where.grid)
    wanted = pd.read_csv(by_position).set_index("source_id")
    found = table.select(wanted.index.tolist(), ["lamost_obsid", "match_separation", "label_origin"])
    assert manifest.account["in"] == manifest.rows == len(wanted)
    assert found["lamost_obsid"].tolist() == wanted.loc[found.index, "combined_obsid"].tolist()
    assert found["match_separation"].max() < 1.0
    assert set(found["label_origin"]) == {"lamost_dr8"}


def test_positions_are_of_the_declared_epoch_and_not_of_gaias(gaia, by_position):
    """The faster the star, the more it shows; 20 of these move more than 40 mas a year."""
    where, sources = gaia
    rows = pd.read_csv(by_position)
    fast = rows[np.hypot(rows.pmra, rows.pmdec) > 40.0]
    table = Table(where.storage, sources, where.grid)
    median = {
        epoch: np.median(
            crossmatch(fast.ra_lamost.to_numpy(), fast.dec_lamost.to_numpy(), table, epoch=epoch, radius=2.0).separation
        )
        for epoch in (LAMOST.match.epoch, 2016.0)
    }
    assert len(fast) == 20
    assert median[LAMOST.match.epoch] < 0.3 < 0.45 < median[2016.0]


@pytest.mark.parametrize("shift", [0, 1, 100])
def test_real_temperatures_follow_colours_and_those_of_shifted_rows_do_not(shift, by_position):
    relation = next(one for one in LAMOST.relations if one.value == "teff")
    rows = pd.read_csv(by_position).sort_values("source_id")
    teff = np.roll(rows["teff"].to_numpy(), shift)
    record = judge(relation, Sample(rows["source_id"].to_numpy(), teff, rows[["bp_rp"]].to_numpy(), len(rows)))
    assert record["sound"] is (shift == 0), record
