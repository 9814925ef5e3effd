"""Tables of a stellar data lake: files, columns, partitions. Never torch, never a scheduler.

Where do I go for ...?

- a quantity's unit and meaning: `lake.columns`; one survey: `lake.surveys`; the contract of a survey: `lake.survey`,
  its parts: `lake.declaration` (`lake.best_neighbour`, `lake.fingerprint`); what all of them are: `lake.overview`
- fetching: `lake.fetch` (`lake.orders`, `lake.sources`, `lake.download`, `lake.received`, `lake.query`, `lake.tap`,
  `lake.account`)
- source_id, HEALPix, partitions: `lake.partition`; names on disk: `lake.storage` (`lake.whole`), conditional writes on object
  stores: `lake.exchange`; opening a lake: `lake.root`
- raw files: `lake.readers`, `lake.conform` (`lake.masks`), `lake.ledger`; building tables: `lake.build`, `lake.ingest`
  (`lake.layout`, `lake.runs`, `lake.merge`; shares of a job array: `lake.part`)
- rows without source_id: `lake.standing` (`lake.crossmatch` by position, `lake.keys`); maps of dust: `lake.dust`
- what a build is: `lake.manifest`; its audit: `lake.validate`, `lake.verify` (`lake.relation`); making it public: `lake.catalog`
  (`lake.plain`), and earlier catalogues: `lake.history`; deleting what none names: `lake.gc`
- reading: `lake.table` (`lake.parquet`), `lake.join`; tables computed from tables: `lake.derive`; what goes wrong: `lake.errors`
- labels of all surveys combined: `lake.homogenise` (`lake.label_sources`, `lake.advice`, `lake.ages`); translated labels in the
  layout of their authors: `lake.cds` (`lake.record_cells`)
- training tables: `lake.pretrain`, `lake.finetune`; which stars are trained or tested on: `lake.split`; as files:
  `lake.training_files` (`lake.training_columns`, `lake.hdf5_files`, `lake.hub_files`); what may be wrong with them:
  `lake.training_audit` (`lake.training_rows`, `lake.training_checks`, `lake.training_tally`, `lake.training_spectra`,
  `lake.training_contract`, `lake.training_repeats`, `lake.training_report`)
"""

from lake.errors import LakeError
from lake.join import Join
from lake.root import Lake
from lake.root import init_lake as init
from lake.root import open_lake as open  # noqa: A004  (lake.open is the name that analysis code reads best)
from lake.table import Table

__all__ = ["Join", "Lake", "LakeError", "Table", "init", "open"]
