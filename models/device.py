"""Choose where a network runs, and how many threads it may take."""

import torch


def best_device() -> str:
    """Return the torch device to train on: a GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def one_thread() -> None:
    """Make torch use one thread in this process: workers share the cores, and sums then run in one order."""
    torch.set_num_threads(1)
