"""Tables of a stellar data lake: files, columns, partitions. Never torch, never a scheduler.

Where do I go for ...?

- a quantity's unit and meaning: `lake.columns`; one survey: `lake.surveys`; the contract of a survey: `lake.survey`
- source_id, HEALPix, partitions: `lake.partition`; names on disk: `lake.storage`
- raw files: `lake.readers`, `lake.conform`, `lake.ledger`; building tables: `lake.ingest` (`lake.runs`, `lake.merge`)
- what a build is: `lake.manifest`; its audit: `lake.validate`; making it public: `lake.catalog` (`lake.plain`)
- reading: `lake.table`, `lake.join`, `lake.pretrain`; tables computed from tables: `lake.derive`
"""

from lake.errors import LakeError
from lake.join import Join
from lake.root import Lake
from lake.root import init_lake as init
from lake.root import open_lake as open  # noqa: A004  (lake.open is the name that analysis code reads best)
from lake.table import Table

__all__ = ["Join", "Lake", "LakeError", "Table", "init", "open"]
