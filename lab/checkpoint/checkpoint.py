"""What a checkpoint holds."""

from dataclasses import dataclass, field
from typing import Any

from lab.base import require, require_range

SCHEMA = 3
"""Number of this form; a file with a higher one is refused. In form 1 `plans` had another name; forms 1 and 2 have no
digest of the head."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a run needs to continue bit-identically.

    `base` and `plans` rebuild the structure, `state` fills it: nested dicts, lists and tuples of tensors, numbers,
    strings and None, nothing that runs code when it is read.
    """

    base: dict[str, Any]
    """Configuration and genotype that the structure is built from; JSON data."""
    state: dict[str, Any]
    """Tensors and numbers of networks, optimizers, schedules, monitor and random streams."""
    epoch: int
    """Epoch that the run goes on with, >= 0."""
    step: int
    """Training steps done, >= 0."""
    reason: str
    """epoch, pre_mutation, best, interrupt, control, last, or restored: a copy that begins another run."""
    plans: tuple[dict[str, Any], ...] = ()
    """Plans of structural surgery in the order in which they were applied; JSON data."""
    training_history: tuple[dict[str, Any], ...] = ()
    """One JSON record for each epoch."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Versions, threads and machine that the bits depend on; JSON data."""
    parent: str = ""
    """Digest of the checkpoint that this run last came from; empty for none."""

    def __post_init__(self) -> None:
        require_range("epoch", self.epoch, 0)
        require_range("step", self.step, 0)
        require(
            self.reason.isidentifier(),
            expected="a reason of letters and underscores",
            got=repr(self.reason),
            hint="name the reason in one word",
        )
