"""The random streams that a training step may draw from, to put them back.

Covered: torch's default generators on all devices, Python's and numpy's global ones. Not covered: generators that
somebody made, which are their owner's to restore.
"""

import random
from typing import Any

import numpy as np
import torch


def random_streams() -> dict[str, Any]:
    """The states of the global random streams, for `restore_streams`."""
    streams = {"torch": torch.get_rng_state(), "python": random.getstate(), "numpy": np.random.get_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        streams["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        streams["mps"] = torch.mps.get_rng_state()
    return streams


def restore_streams(streams: dict[str, Any]) -> None:
    """Put the global random streams back to where they were when `streams` was taken."""
    torch.set_rng_state(streams["torch"])
    random.setstate(streams["python"])
    np.random.set_state(streams["numpy"])
    if "cuda" in streams:
        torch.cuda.set_rng_state_all(streams["cuda"])
    if "mps" in streams:
        torch.mps.set_rng_state(streams["mps"])
