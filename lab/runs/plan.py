"""What a run may spend, and what it does with that: width, depth, epochs, with the reason for each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.base import ConfigError, Report, ReportTable, require_range
from lab.store import PlanEvent
from lab.train.settings import LEAST_EPOCHS

MOST_EPOCHS = 300
"""Epochs after which a run ends although the budget would allow more."""
WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Channels of the first stage that a plan chooses from."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may spend: operations, or seconds that are measured once and kept as operations."""

    operations: float | None = None
    """Floating-point operations of training, 3 times those of a forward for each image, > 0."""
    seconds: float | None = None
    """Seconds of training on this machine, > 0."""

    def __post_init__(self) -> None:
        given = [value for value in (self.operations, self.seconds) if value is not None]
        if len(given) != 1:
            raise ConfigError("a budget of operations or of seconds", f"{len(given)} of the two", "give one")
        require_range("budget", given[0], 0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A width, and how far the budget reaches with it."""

    channels: int
    """Of the first stage."""
    operations: float
    """Of one epoch of training."""
    seconds: float | None
    """Of one epoch of training, measured; None where the budget is one of operations."""
    epochs: float
    """That the budget pays for."""


@dataclass(frozen=True, kw_only=True)
class RunPlan(Report):
    """A run's size and length for a budget, chosen before it begins."""

    operations: float
    """Floating-point operations that the run may spend."""
    seconds: float | None
    """Seconds that were asked for; None where operations were."""
    samples: int
    """Images of an epoch."""
    channels: int
    """Of the first stage."""
    layers: int
    """Cells."""
    epochs: int
    batch_size: int
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    """Why each of these, one sentence each."""

    @property
    def steps(self) -> int:
        """Training steps, were every epoch one on the train split."""
        return self.epochs * max(self.samples // self.batch_size, 1)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON data."""
        return {**asdict(self), "steps": self.steps}

    def event(self) -> PlanEvent:
        """The plan as the store and the page hold it."""
        return PlanEvent(
            operations=self.operations,
            seconds=self.seconds,
            channels=self.channels,
            layers=self.layers,
            epochs=self.epochs,
            steps=self.steps,
            candidates=[asdict(each) for each in self.candidates],
            reasons=list(self.reasons),
        )

    def tables(self) -> tuple[ReportTable, ...]:
        """The widths that were weighed; the reasons are its notes."""
        rows = tuple(
            (
                f"{each.channels}{' *' if each.channels == self.channels else ''}",
                f"{each.operations / 1e9:,.2f}",
                "-" if each.seconds is None else f"{each.seconds:.2f} s",
                f"{each.epochs:,.1f}",
            )
            for each in self.candidates
        )
        columns = ("channels", "GFLOP an epoch", "time of an epoch", "epochs in the budget")
        title = f"plan: {self.operations / 1e9:,.0f} GFLOP"
        return (ReportTable(title=title, columns=columns, rows=rows, notes=self.reasons),)


def choose_width(candidates: Sequence[Candidate], least_epochs: float = LEAST_EPOCHS) -> Candidate:
    """The widest candidate that gets `least_epochs`; where none does, the one that gets most epochs.

    Args:
        candidates: at least one.
        least_epochs: that a network needs, > 0.
    """
    fitting = [each for each in candidates if each.epochs >= least_epochs]
    if fitting:
        return max(fitting, key=lambda each: each.channels)
    return max(candidates, key=lambda each: each.epochs)
