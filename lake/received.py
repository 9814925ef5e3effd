"""Judge a fetched file before it counts: published checksum, form, and whether a compressed one goes on to its end."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lake.download import FetchError
from lake.errors import RawFileError
from lake.readers.form import DAMAGED, Form, open_bytes, recognise

_BLOCK = 1 << 20
_FORMS = {
    ".fits": Form.FITS,
    ".fit": Form.FITS,
    ".hdf5": Form.HDF5,
    ".h5": Form.HDF5,
    ".parquet": Form.PARQUET,
    ".zip": Form.ZIP,
    ".vot": Form.VOTABLE,
    ".csv": Form.TEXT,
    ".ecsv": Form.TEXT,
    ".dat": Form.TEXT,
    ".txt": Form.TEXT,
    ".tsv": Form.TEXT,
}


class DamagedError(FetchError):
    """Report a file that came whole by its length, but is not what the server was to send; fetching it anew may help."""


@dataclass(frozen=True)
class Content:
    """What a file holds, in numbers."""

    bytes: int
    sha256: str
    md5: str


def content_of(path: Path) -> Content:
    """Return length and checksums of a file, read once."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return Content(size, sha256.hexdigest(), md5.hexdigest())


def judge(path: Path, name: str, *, sha256: str = "", md5: str = "") -> Content:
    """Return length and checksums of a file that is sound as far as can be told without reading its table.

    Parameters
    ----------
    name
        What it is to be called; its ending says which form is expected.
    sha256, md5
        Published checksums; empty where there are none.

    Raises
    ------
    FetchError
        If it holds a page, or another form than its name says.
    DamagedError
        If a checksum differs, or a compressed file ends too early.
    """
    content = content_of(path)
    published = [
        (kind, theirs.lower(), ours) for kind, theirs, ours in (("sha256", sha256, content.sha256), ("md5", md5, content.md5))
    ]
    try:
        form = recognise(path)
    except RawFileError as error:
        said = str(error).removeprefix(f"{path}: ")
        raise (DamagedError if content.bytes == 0 or "compressed" in said else FetchError)(said) from error
    for kind, theirs, ours in published:
        if theirs and theirs != ours:
            raise DamagedError(
                f"its {kind} is {ours}, but {theirs} is published ({content.bytes:,} bytes); it was damaged or replaced"
            )
    wanted = _FORMS.get(Path(name.removesuffix(".gz")).suffix.lower())
    if wanted is not None and form is not wanted:
        raise FetchError(
            f"it holds {form.value}, but {wanted.value} was expected by its name; the server may have answered an error"
        )
    _refuse_json(path, form)
    if not (sha256 or md5):
        _read_to_end(path, content.bytes)
    return content


def _refuse_json(path: Path, form: Form) -> None:
    """Refuse an error told in JSON, which is text like any table."""
    if form is not Form.TEXT:
        return
    with open_bytes(path) as stream:
        start = stream.read(120)
    if start.lstrip()[:1] in (b"{", b"["):
        raise FetchError(f"it holds JSON, not a table; it begins with {start.decode('utf-8', 'replace')!r}")


def _read_to_end(path: Path, size: int) -> None:
    """Decompress a compressed file: only its last bytes say that it is whole."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return
    try:
        with open_bytes(path) as stream:
            while stream.read(_BLOCK):
                pass
    except EOFError as error:
        raise DamagedError(f"the compressed file ends too early, after {size:,} bytes; it is truncated") from error
    except DAMAGED as error:
        raise DamagedError(f"the compressed file is damaged ({error})") from error
