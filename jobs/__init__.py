"""Orchestration: what is stale, where it runs, and the command line. The only package that starts clusters.

Where do I go for ...?

- a command: `jobs.cli` (its flags), `jobs.commands`, `jobs.fetching`, `jobs.ingesting`, `jobs.modelling` (train, predict,
  report), `jobs.exporting`, `jobs.upkeep` (roll-back, gc); which lake is meant: `jobs.opened`; what people see: `jobs.terminal`
- the whole night: `jobs.nightly` (`jobs.auditing`, `jobs.model_steps`); what it keeps of itself: `jobs.night` (its record),
  `jobs.journal` (its log), `jobs.metrics`; how the lake is: `jobs.status`
- what would run and why: `jobs.plan` by table (`jobs.inventory`, `jobs.why`), `jobs.forecast` by partition (`jobs.table_plan`,
  `jobs.forecast_files`, `jobs.forecast_derived`), shown by `jobs.show_plan`
- where tasks run: `jobs.cluster` (`jobs.profiles`, `jobs.batch`, `jobs.replacing`, `jobs.quiet`), on `jobs.workers`
- one writer at a time: `jobs.lock` (`jobs.lease` on object stores)
- tables made of tables: `jobs.products` lists them, `jobs.product` says what one is, `jobs.training` and `jobs.inference` do
  the work on any of them: the masked autoencoder `jobs.autoencoding`, SpectroTranslators `jobs.translating` (their page
  `jobs.translator_report`: `jobs.translator_page`, `jobs.translator_figures`, `jobs.translator_comparison`), combined labels
  `jobs.homogenising`; tables as files for others: `jobs.exporting`
- the synthetic sky: `jobs.sky` and one `jobs.sky_*` for each group of surveys; the demo: `jobs.demo`;
  survey dialects: `jobs.dialects`
"""
