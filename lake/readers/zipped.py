"""Read zips of DataLink products, one member per source and product."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lake.errors import RawFileError, listing
from lake.readers.batch import RawBatch
from lake.survey import Survey


def read_zip(path: Path, survey: Survey, read_member: Callable[[Path, Survey], Iterator[RawBatch]]) -> Iterator[RawBatch]:
    """Yield the rows of the members that belong to the survey by name, in any form; other products are left alone."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise RawFileError(f"{path}: not a sound zip file ({error}); fetch it again") from error
    with archive, tempfile.TemporaryDirectory() as folder:
        members = sorted(archive.namelist())
        ours = [name for name in members if survey.accepts(Path(name).name)]
        if not ours:
            raise RawFileError(
                f"{path}: no product of {survey.name} in the zip (expected {listing(survey.patterns)}); found {listing(members)}"
            )
        for name in ours:
            # Under its own plain name in a folder of ours: what a zip says of folders is not followed.
            member = Path(folder) / Path(name).name
            with archive.open(name) as packed, member.open("wb") as file:
                shutil.copyfileobj(packed, file)
            try:
                yield from read_member(member, survey)
            except RawFileError as error:
                raise RawFileError(str(error).replace(str(member), f"{path}:{name}")) from error
            member.unlink()
