"""Build a survey's tables, whatever it stands on: its own files, files of others beside, or the sources of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lake.derive import Derivation, build_of, derive
from lake.errors import LakeError
from lake.ingest import Outcome, Runner, build_id, builds, ingest, serial
from lake.join import join
from lake.ledger import RawFile
from lake.manifest import digest
from lake.partition import Grid
from lake.standing import Standing
from lake.storage import Storage
from lake.survey import Survey, table_surveys

# A map in three dimensions is looked up at many distances per row, and a leaf of the largest table holds a million rows.
_ROWS_AT_ONCE = 65_536


def wanted_builds(survey: Survey, grid: Grid, files: Sequence[RawFile], standing: Standing) -> dict[str, str]:
    """Return table -> id of the build that the current files, declaration and what the survey stands on ask for."""
    if survey.computed and standing.reference:
        made_of = {standing.reference.table: standing.reference.build}
        return {survey.name: build_of(survey.name, _version(survey, files), grid, made_of)}
    hashes = [file.sha256 for file in files]
    return {table: build_id(table, survey, grid, hashes, standing.id) for table in survey.tables}


def build_survey(  # noqa: PLR0913
    storage: Storage,
    grid: Grid,
    survey: Survey,
    files: Sequence[RawFile],
    standing: Standing,
    *,
    run: Runner = serial,
    part: tuple[int, int] | None = None,
) -> Outcome:
    """Build what `wanted_builds` names, or a share of it (see `lake.ingest.ingest`); do only what no earlier run has done.

    Raises
    ------
    LakeError
        If there are no files, they are not what the survey declares, what it stands on is not in the lake, or the lake
        cannot be written.
    """
    order = derivation(survey, files) if survey.computed else None
    reference = standing.reference
    if reference and reference.build not in builds(storage, reference.table):
        raise LakeError(
            f"{survey.name} stands on {reference.table}, whose build {reference.build} is not finished; "
            f"`gaialake ingest {table_surveys()[reference.table].name}` first, or `gaialake nightly`, which does both"
        )
    if order is None or survey.computed is None:
        return ingest(storage, grid, survey, files, standing=standing, run=run, part=part)
    if reference is None:
        raise LakeError(f"{survey.name} is computed at the sources of {survey.computed.table}; ingest that first")
    anchor = reference.open()
    return derive(storage, join([anchor], columns={anchor.name: survey.computed.needs}), order, run=run, part=part)


@dataclass(frozen=True)
class _AtSources:
    """Call a survey's function with its raw files; a class so that tasks can carry it."""

    survey: Survey
    files: tuple[Path, ...]

    def __call__(self, rows: pa.Table) -> pa.Table:
        assert self.survey.computed is not None
        pieces = [rows.slice(at, _ROWS_AT_ONCE) for at in range(0, max(1, rows.num_rows), _ROWS_AT_ONCE)]
        return pa.concat_tables([self.survey.computed.function(piece, self.files) for piece in pieces])


def derivation(survey: Survey, files: Sequence[RawFile]) -> Derivation:
    """Return the order to compute a survey at the sources of the table it stands on."""
    assert survey.computed is not None
    if survey.patterns and not files:
        way = f"`gaialake fetch {survey.name}`" if survey.fetch else f"get them from {survey.source}"
        raise LakeError(f"{survey.name}: its files ({', '.join(survey.patterns)}) are not in this lake; {way}")
    return Derivation(
        name=survey.name,
        title=survey.title,
        release=survey.release,
        kind=survey.kind,
        citation=survey.citation,
        licence=survey.licence,
        function=_AtSources(survey, tuple(file.path for file in files)),
        columns=tuple(survey.every_column[1:]),
        lengths=survey.lengths,
        version=_version(survey, files),
        made_of={Path(file.name).name: file.sha256[:16] for file in files},
    )


def _version(survey: Survey, files: Sequence[RawFile]) -> str:
    return digest([survey.fingerprint, sorted(file.sha256 for file in files)])[:16]
