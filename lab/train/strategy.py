"""What plugs into the one training loop, and the records that pass between them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lab.store import PredictionsEvent, Record
from lab.train.commands import Offers
from lab.train.step import StepReport

Batches = Iterator[tuple[Any, Any]]
"""Inputs and targets of one batch each: two tensors, or a tuple of a network's arguments and its targets by name."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network on a fixed set of samples, in eval mode."""

    loss: float
    """Mean loss, nats."""
    accuracy: float
    """Share classified correctly, in [0, 1]."""
    losses_N: Tensor
    """Loss of each sample (N,), on the CPU, for paired comparison."""
    hits_N: Tensor = field(default_factory=lambda: torch.zeros(0))
    """1 where a sample was classified correctly, else 0, (N,), on the CPU; empty where that is not known."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Mean of each loss by its name, where there are several."""
    predictions: PredictionsEvent | None = None
    """What it says of the fixed samples, and which classes it confuses."""


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One epoch."""

    epoch: int
    phase: str
    steps: int
    loss: float
    """Mean training loss over the epoch's steps, nats."""
    accuracy: float
    """Mean training accuracy over the epoch's steps."""
    decision_loss: float | None = None
    """Loss on the selection split after the epoch; None where it was not read."""
    decision_accuracy: float | None = None
    """Accuracy on the selection split after the epoch; None where it was not read."""

    @classmethod
    def of(
        cls, epoch: int, phase: str, steps: int, sums: Sequence[float], evaluation: Evaluation | None
    ) -> "EpochReport":
        """The report of `steps` steps whose losses and accuracies have these `sums`, and what was read after them."""
        return cls(
            epoch=epoch,
            phase=phase,
            steps=steps,
            loss=sums[0] / max(steps, 1),
            accuracy=sums[1] / max(steps, 1),
            decision_loss=None if evaluation is None else evaluation.loss,
            decision_accuracy=None if evaluation is None else evaluation.accuracy,
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return asdict(self)

    def scalars(self) -> dict[str, float]:
        """Name -> number, for the store."""
        name = "arch" if self.phase == "arch_training" else "train"
        values = {"epoch": float(self.epoch), f"{name}/loss": self.loss, f"{name}/accuracy": self.accuracy}
        if self.decision_loss is not None and self.decision_accuracy is not None:
            values |= {"decision/loss": self.decision_loss, "decision/accuracy": self.decision_accuracy}
        return values


class Split(StrEnum):
    """The split whose batches an epoch trains on."""

    TRAIN = "train"
    """Trains weights."""
    SEARCH = "search"
    """Trains architecture parameters."""


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """What the epoch that begins will do."""

    split: Split
    segment: str
    """Changes where losses before and after are different quantities."""


@dataclass(frozen=True, kw_only=True)
class StrategyState:
    """All of a strategy that a checkpoint keeps, what a report says of it, and what holds its memory.

    The loop asks for `roots` at each epoch, for the rest at checkpoints alone: so the rest is gathered when it is read,
    and is of that moment.
    """

    plans: tuple[dict[str, Any], ...] = ()
    """What changed the structure since it was built, in order; JSON data."""
    read_tensors: Callable[[], dict[str, Any]]
    """Gathers `tensors`."""
    read_summary: Callable[[], dict[str, Any]] = dict
    """Gathers `summary`."""
    roots: tuple[object, ...] = ()
    """Modules and optimizers whose tensors count as the run's memory; never stored."""
    averaged: nn.Module | None = None
    """The running average of the network, which is evaluated and exported in its place; None where none is kept."""

    @classmethod
    def saved(cls, tensors: dict[str, Any], plans: tuple[dict[str, Any], ...] = ()) -> "StrategyState":
        """The state as a checkpoint has it."""
        return cls(plans=plans, read_tensors=lambda: tensors)

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """Everything else that the next step depends on, as nested state; tensors are not copied."""
        return self.read_tensors()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What the run report says about the network; JSON data, never read back."""
        return self.read_summary()


class EpochData(Protocol):
    """Where a run's batches come from."""

    def length(self, split: Split) -> int:
        """Batches in one epoch of `split`."""

    def batches(self, split: Split, epoch: int, start: int = 0) -> Batches:
        """The batches of `split` in `epoch` from number `start` on."""

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """Inputs of the train split from which BatchNorm statistics are estimated."""

    def selection(self) -> Batches:
        """The selection split in fixed order."""


class Strategy(Protocol):
    """A way to train that the loop drives, an epoch and a step at a time."""

    records: list[Record]
    """Events for the store; the loop takes them out."""

    @property
    def phase(self) -> str:
        """Name of the phase now running; finished at the end; mutation where the next epoch begins with one."""

    @property
    def network(self) -> nn.Module | None:
        """The network that is trained, and evaluated where the state has no average; None before there is one."""

    @property
    def offers(self) -> Offers:
        """What it can be asked now; `Rollback` always."""

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> EpochPlan | None:
        """Prepare `epoch`; None where there is none left to train."""

    def step(self, inputs: Any, targets: Any, /) -> StepReport:
        """One optimizer step. A loss or gradient that is not finite changes no parameter."""

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation | None:
        """Finish `epoch`: change phase where one ends; the evaluation on the selection split where there is one."""

    def finish(self, epoch: int, data: EpochData) -> None:
        """The run ends: leave a network that can be evaluated."""

    def state(self) -> StrategyState:
        """All that `restore` needs to go on exactly here."""

    def restore(self, state: StrategyState) -> None:
        """Go on exactly where `state` was taken, from a freshly built strategy.

        Raises:
            CheckpointError: the state belongs to another architecture or recipe.
            MorphError: its plans do not fit the network.
        """
