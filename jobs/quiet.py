"""Let workers leave Ctrl-C to the process that started them: it stops them in order, without seventy lines of traceback.

A Dask preload module (see `jobs.cluster`).
"""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore the keyboard's interrupt in a worker process; Dask calls this when the worker starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
