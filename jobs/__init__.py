"""Orchestration: what is stale, where it runs, and the command line. The only package that starts clusters.

Where do I go for ...?

- a command: `jobs.cli`, `jobs.commands`, `jobs.fetching`; what would run and why: `jobs.plan`; the whole night: `jobs.nightly`
- where tasks run: `jobs.cluster`; one writer at a time: `jobs.lock`; what people see: `jobs.terminal`
- training and predictions: `jobs.training`, `jobs.inference`
- the synthetic sky: `jobs.sky` and one `jobs.sky_*` for each group of surveys; the demo: `jobs.demo`;
  survey dialects: `jobs.dialects`
"""
