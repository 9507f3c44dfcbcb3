"""Settings that every kind of training shares: the optimizer of the weights, checkpoints, the device."""

from dataclasses import dataclass

from lab.base import require_choice, require_range

RATE_SCHEDULES = ("cosine", "constant", "plateau", "phase")
RATE_INTERVALS = ("step", "epoch")
LEAST_EPOCHS = 20
"""A width that gets fewer epochs is too large for its compute.

Read off a ladder of widths on two data sets, where the widest network with so many epochs was the best one or within
0.2 points of it (docs/results.md)."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer of the weights: SGD with Nesterov momentum."""

    weight_lr: float = 0.025
    """Initial learning rate of the weights, > 0."""
    weight_schedule: str = "cosine"
    """cosine (to 1 % over the run), phase (to 1 % over each phase), constant, or plateau (halved after rate_patience
    epochs without a better loss on the selection split)."""
    weight_schedule_interval: str = "step"
    """How often the schedule moves the rate: step, or epoch (held from the beginning of an epoch to its end; a
    budget then ends the run with a whole epoch)."""
    rate_patience: int = 3
    """Epochs without improvement before weight_schedule plateau lowers the rate, >= 1."""
    weight_momentum: float = 0.9
    """Nesterov momentum of the weights, in (0, 1)."""
    weight_average: float = 0.0
    """Decay per step of a running average of the weights, in [0, 1); 0 keeps none. What is read (selection and test
    split) and exported is then the averaged network with averaged BatchNorm statistics; a checkpoint holds both. The
    weights train bit for bit as without it: what decides (a plateau, a stop, mutations, trials) reads them, and a
    budget does not count the reading of the average."""
    weight_decay: float = 3e-4
    """Weight decay of the weights, >= 0."""
    grad_clip: float = 5.0
    """Largest norm of the weights' gradient, > 0."""
    max_rollbacks: int = 3
    """Consecutive rollbacks after which the run fails, >= 1."""

    def __post_init__(self) -> None:
        require_range("weight_lr", self.weight_lr, 0, open_low=True)
        require_choice("weight_schedule", self.weight_schedule, RATE_SCHEDULES)
        require_choice("weight_schedule_interval", self.weight_schedule_interval, RATE_INTERVALS)
        require_range("rate_patience", self.rate_patience, 1)
        require_range("weight_momentum", self.weight_momentum, 0, 0.9999, open_low=True)
        require_range("weight_average", self.weight_average, 0, 1, open_high=True)
        require_range("weight_decay", self.weight_decay, 0)
        require_range("grad_clip", self.grad_clip, 0, open_low=True)
        require_range("max_rollbacks", self.max_rollbacks, 1)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written, and how many are kept."""

    save_checkpoints: bool = True
    """Write checkpoints. Without them a run cannot be resumed."""
    checkpoint_frequency: int = 5
    """Epochs between regular checkpoints, >= 1; another one is written before each mutation."""
    max_checkpoints: int = 3
    """Number of checkpoints of each kind to keep, >= 1."""

    def __post_init__(self) -> None:
        require_range("checkpoint_frequency", self.checkpoint_frequency, 1)
        require_range("max_checkpoints", self.max_checkpoints, 1)


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Where a run computes."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    memory_fraction: float | None = None
    """Largest share of a CUDA device's memory that this process may take, in (0, 1]; None for all."""

    def __post_init__(self) -> None:
        if self.memory_fraction is not None:
            require_range("memory_fraction", self.memory_fraction, 0, 1, open_low=True)
