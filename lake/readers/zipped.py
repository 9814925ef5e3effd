"""Read zips of DataLink products, one member per source and product."""

import zipfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from lake.errors import RawFileError, listing
from lake.readers.batch import RawBatch
from lake.readers.text import read_stream
from lake.survey import Survey


def read_zip(path: Path, survey: Survey) -> Iterator[RawBatch]:
    """Yield the rows of the text members that belong to the survey by name; other products in the zip are left alone."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise RawFileError(f"{path}: not a sound zip file ({error}); fetch it again") from error
    with archive:
        members = sorted(archive.namelist())
        ours = [name for name in members if survey.accepts(Path(name).name)]
        if not ours:
            raise RawFileError(
                f"{path}: no product of {survey.name} in the zip (expected {listing(survey.patterns)}); found {listing(members)}"
            )
        for name in ours:
            yield from read_stream(lambda name=name: BufferedReader(archive.open(name)), f"{path}:{name}", survey)  # type: ignore[misc,arg-type,type-var]
