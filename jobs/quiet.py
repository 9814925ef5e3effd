"""Let a run that is stopped end in few words: workers leave Ctrl-C to the process that started them, which stops them in order.

A Dask preload module (see `jobs.cluster`).
"""

import logging
import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore the keyboard's interrupt in a worker process; Dask calls this when the worker starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def passes(record: logging.LogRecord) -> bool:
    """Tell whether a record of the driver's log is worth printing: not Dask's stumble over a wait that a signal ended at once."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, NameError) and "'future'" in str(error))
