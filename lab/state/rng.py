"""The random streams that a training step may draw from: the one coverage of them.

Covered: torch's default generators on the CPU, on every CUDA device and on MPS, Python's and numpy's global ones. Not
covered: generators that somebody made, which are their owner's to restore. A state holds tensors, numbers and lists
only, so that a checkpoint can keep it.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def rng_state() -> dict[str, Any]:
    """The states of all covered streams, for `set_rng_state`; a device that was never used has none.

    Returns:
        By stream (torch, python, numpy, and where they are in use cuda and mps): tensors, numbers and lists.
    """
    version, words, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, list(words), gauss],
        # int64, since torch supports uint32 only in part.
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
    }
    # To ask a CUDA that was never used would start it: memory and seconds, and no fork afterwards.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the streams back to where they were when `rng_state` gave `state`; streams that it lacks stay.

    Args:
        state: as `rng_state` gave it; torch's CPU stream must be in it. It is not changed and can be used again.
    """
    torch.set_rng_state(state["torch"].clone())
    if "python" in state:
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
    if "numpy" in state:
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if "cuda" in state:
        torch.cuda.set_rng_state_all([each.clone() for each in state["cuda"]])
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"].clone())


def seed_rng(seed: int) -> None:
    """Start every covered stream from `seed`, >= 0.

    Args:
        seed: whole number >= 0; numpy's stream gets it modulo 2^32.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    # numpy takes seeds of 32 bits, torch of 64.
    np.random.seed(seed % 2**32)


@contextmanager
def preserved_rng(seed: int | None = None) -> Iterator[None]:
    """The streams inside the block: torch's from `seed` where one is given; all as before the block afterwards.

    Args:
        seed: of torch's streams inside, >= 0; None: they go on from where they are. Python's and numpy's streams are
            not seeded, only put back.
    """
    kept = rng_state()
    try:
        if seed is not None:
            # torch.manual_seed would also leave a seed behind for a CUDA that is not there yet.
            torch.default_generator.manual_seed(seed)
            if torch.cuda.is_initialized():
                torch.cuda.manual_seed_all(seed)
        yield
    finally:
        set_rng_state(kept)
