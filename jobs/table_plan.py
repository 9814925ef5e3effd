"""Hold what a plan says of a table and of each of its partitions: whether it will be made, why, about how many rows and bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobs.plan import FRESH, STALE
from lake.ledger import RawFile
from lake.manifest import Manifest
from lake.part import file_number, in_part

# A partition that a raw file may touch which nobody has read yet.
OPEN = "open"


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """One partition that a table should have.

    Attributes
    ----------
    number
        Its place in the table's layout, from 0.
    state
        ``fresh``: its file is at hand. ``stale``: to be made. ``open``: one of the two, known when a raw file is read.
    content
        Its fingerprint; None if that is not known before raw files are read.
    rows, bytes
        Of its file, or about those of the file to be made.
    reads
        Bytes of the files of other tables that making it reads, at most.
    """

    number: int
    first: int
    end: int
    state: str
    why: str
    content: str | None
    rows: int
    bytes: int
    reads: int = 0

    @property
    def name(self) -> str:
        """Its range of level-8 pixels, as its file is called."""
        return f"{self.first:06d}-{self.end - 1:06d}"


@dataclass(frozen=True, slots=True)
class Unread:
    """A raw file of which nobody knows where its rows lie, and about how much will be made of it."""

    file: RawFile
    rows: int
    bytes: int


@dataclass(frozen=True)
class TablePlan:
    """One table: its state (see `jobs.plan.Step`), and its partitions in the order of the sky.

    Attributes
    ----------
    build, published
        Id of the build that should be published, and of the one that is.
    partitions
        None if not known before raw files are read.
    files
        Raw files that will be read.
    unread
        Raw files that may touch any partition.
    exact
        Whether the partitions to be made are known exactly: every raw file was read by an earlier build.
    """

    table: str
    state: str
    why: str
    build: str
    published: str | None = None
    partitions: tuple[PartitionPlan, ...] = ()
    files: tuple[RawFile, ...] = ()
    unread: tuple[Unread, ...] = ()
    exact: bool = True

    @property
    def stale(self) -> list[PartitionPlan]:
        """The partitions to be made."""
        return [one for one in self.partitions if one.state == STALE]

    @property
    def open(self) -> list[PartitionPlan]:
        """The partitions of which it is not known yet."""
        return [one for one in self.partitions if one.state == OPEN]

    @property
    def rows(self) -> int:
        """About how many rows will be written."""
        return sum(one.rows for one in self.stale) + sum(one.rows for one in self.unread)

    @property
    def bytes(self) -> int:
        """About how many bytes will be written."""
        return sum(one.bytes for one in self.stale) + sum(one.bytes for one in self.unread)

    @property
    def read_bytes(self) -> int:
        """Bytes of raw files, and about those of other tables, that will be read."""
        return sum(file.bytes for file in self.files) + sum(one.reads for one in self.stale)

    def share(self, part: tuple[int, int] | None) -> "TablePlan":
        """Return what element i of n of a job array would do of it (see `lake.part`)."""
        if part is None:
            return self
        return replace(
            self,
            partitions=tuple(one for one in self.partitions if in_part(part, one.number)),
            files=tuple(file for file in self.files if in_part(part, file_number(file.sha256))),
            unread=tuple(one for one in self.unread if in_part(part, file_number(one.file.sha256))),
        )


def as_built(manifest: Manifest) -> tuple[PartitionPlan, ...]:
    """Return the partitions of a build that is at hand."""
    return tuple(
        PartitionPlan(number, part.first, part.end, FRESH, "", part.content, part.rows, part.bytes)
        for number, part in enumerate(manifest.partitions)
    )


def total_read(plans: Sequence[TablePlan]) -> int:
    """Return the bytes that tables together read; a raw file that feeds two of them is read once."""
    files = {file.name: file.bytes for one in plans for file in one.files}
    return sum(files.values()) + sum(part.reads for one in plans for part in one.stale)
