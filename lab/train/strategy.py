"""What plugs into the one training loop, and the records that pass between them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from torch import Tensor, nn

from lab.store import Record

Batches = Iterator[tuple[Any, Any]]
"""Inputs and targets of one batch each: two tensors, or a tuple of a network's arguments and its targets by name."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One training step."""

    loss: float
    """Mean loss of the batch, nats."""
    accuracy: float
    """Share of the batch that was classified right, in [0, 1]."""
    grad_norm: float | None
    """Norm of the gradient before clipping; None where the loss scale of fp16 was too large and nothing changed."""
    lr: float
    """Learning rate of the parameters that were trained."""
    temperature: float | None = None
    """Gumbel temperature; None where nothing is sampled."""
    beta: float | None = None
    """Share of the new primitives in the latest hand-over; None where none is live."""
    more: Mapping[str, float] = field(default_factory=dict)
    """What only this kind of training has, by name."""

    def scalars(self) -> dict[str, float]:
        """Name -> number, for the store."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "more"}
        return {name: value for name, value in {**own, **self.more}.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network on a fixed set of samples, in eval mode."""

    loss: float
    """Mean loss, nats."""
    accuracy: float
    """Share classified right, in [0, 1]."""
    losses_N: Tensor
    """Loss of each sample (N,), on the CPU, for paired comparison."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Mean of each loss by its name, where there are several."""


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
    """Loss on the decision split after the epoch; None where it was not read."""
    decision_accuracy: float | None = None
    """Accuracy on the decision split after the epoch; None where it was not read."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return asdict(self)


class EpochData(Protocol):
    """Where a run's batches come from. Parts: weights, architecture."""

    def length(self, part: str) -> int:
        """Batches in one epoch of `part`."""

    def batches(self, part: str, epoch: int, start: int = 0) -> Batches:
        """The batches of `part` in `epoch` from number `start` on."""

    def statistics(self, epoch: int) -> Iterator[Tensor]:
        """Inputs of the weights part from which BatchNorm statistics are estimated."""

    def decisions(self) -> Batches:
        """The decision split in fixed order."""


class Strategy(Protocol):
    """A way to train that the loop drives, an epoch and a step at a time.

    Records that it wants in the store wait in `records` until the loop takes them.
    """

    records: list[Record]

    @property
    def phase(self) -> str:
        """Name of the phase now running; finished at the end; mutation where the next epoch begins with one."""

    @property
    def segment(self) -> str:
        """Changes where losses before and after are different quantities."""

    @property
    def network(self) -> nn.Module | None:
        """The network that is evaluated; None before there is one."""

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> str:
        """Prepare `epoch`; the part whose batches it wants."""

    def step(self, inputs: Any, targets: Any, /) -> StepReport:
        """One optimizer step. A loss or gradient that is not finite changes no parameter."""

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation | None:
        """Finish `epoch`: change phase where one ends; the reading of the decision split where there is one."""

    def finish(self, epoch: int, data: EpochData) -> None:
        """The run ends: leave a network that can be evaluated."""

    def lower_rate(self, factor: float) -> tuple[float, float] | None:
        """Multiply the learning rate; before and after, None where it is at its floor."""

    def gentler_mutation(self, factor: float) -> tuple[float, float] | None:
        """Multiply the mutation strength; before and after, None where it is at its floor."""

    def rollback(self, reason: str) -> None:
        """Restore the last restore point, bit for bit."""

    def mutate_now(self, epoch: int, step: int, data: EpochData) -> str:
        """Change the live network at a person's wish; what was done.

        Raises:
            LabError: it cannot be done now.
        """

    def set_temperature(self, temperature: float) -> None:
        """Set the Gumbel temperature until its schedule's next step.

        Raises:
            LabError: nothing is sampled.
        """

    @property
    def morphs(self) -> tuple[dict[str, Any], ...]:
        """What changed the structure since it was built, in order; a checkpoint keeps it."""

    def rebuild(self, morphs: tuple[dict[str, Any], ...]) -> None:
        """Give the freshly built networks the structure that had these `morphs`, before their state is loaded."""

    def modules(self) -> tuple[object, ...]:
        """Modules and optimizers whose tensors count as the run's memory."""

    def state_dict(self) -> dict[str, Any]:
        """All state, as a tree that a checkpoint can hold; tensors are not copied."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture.
        """

    def summary(self) -> dict[str, Any]:
        """What the run report says about the network; JSON data."""
