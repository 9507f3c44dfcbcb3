"""What a run is: one frozen record that the checkpoint and the store hold as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from lab.base import ConfigError, require_choice, require_range
from lab.datasets import DataConfig
from lab.monitor import MonitorConfig
from lab.space import SPACES
from lab.train.search import ASOSEConfig

RECIPES = ("aso-se", "fixed")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run, whole."""

    recipe: str = "aso-se"
    """aso-se, or fixed: one network of a fixed cell on the same data and epochs, the baseline."""
    data: DataConfig = field(default_factory=DataConfig)
    """What it trains on; its seed is the run's seed."""
    space: str = "nb201"
    """Search space."""
    init_channels: int = 16
    """Channels of the first stage, >= 1."""
    layers: int = 3
    """Searched cells, >= 1, split over three stages."""
    fixed_cell: str = ""
    """For recipe fixed: the cell in NAS-Bench-201's notation; empty for six 3x3 convolutions."""
    batch_size: int = 64
    """Samples in a training batch, >= 2."""
    epochs: int | None = None
    """Epochs at which the run ends if the plan is longer, >= 1; None for the whole plan."""
    seed: int = 0
    """Run seed, >= 0; every random stream follows from it."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    memory_fraction: float | None = None
    """Largest share of a CUDA device's memory that this process may take, in (0, 1]; None for all."""
    threads: int = 0
    """CPU threads of torch, >= 0; 0 leaves one core free for the page. The bits of a run depend on it."""
    search: ASOSEConfig = field(default_factory=ASOSEConfig)
    """Phases, exploration, mutation, optimizers."""
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    """Stability signals."""
    checkpoint_frequency: int = 5
    """Epochs between regular checkpoints, >= 1; one before each mutation comes on top."""
    max_checkpoints: int = 3
    """Checkpoints of each kind that are kept, >= 1."""
    save_checkpoints: bool = True
    """Write checkpoints; without them a run cannot be resumed."""
    detect_anomaly: bool = False
    """Run under torch's anomaly detection, several times slower."""

    def __post_init__(self) -> None:
        require_choice("recipe", self.recipe, RECIPES)
        require_choice("space", self.space, SPACES.keys())
        require_range("init_channels", self.init_channels, 1)
        require_range("layers", self.layers, 1)
        require_range("batch_size", self.batch_size, 2)
        if self.epochs is not None:
            require_range("epochs", self.epochs, 1)
        require_range("seed", self.seed, 0)
        require_range("threads", self.threads, 0)
        if self.memory_fraction is not None:
            require_range("memory_fraction", self.memory_fraction, 0, 1, open_low=True)
        require_range("checkpoint_frequency", self.checkpoint_frequency, 1)
        require_range("max_checkpoints", self.max_checkpoints, 1)

    @property
    def total_epochs(self) -> int:
        """Epochs that this run has."""
        planned = self.search.planned_epochs
        return planned if self.epochs is None else min(self.epochs, planned)

    def to_json(self) -> dict[str, Any]:
        """The whole record as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "RunConfig":
        """The record that `to_json` wrote.

        Raises:
            ConfigError: unknown or missing fields, or a value outside its range.
        """
        try:
            parts = {
                "data": DataConfig(**data["data"]),
                "search": ASOSEConfig(**data["search"]),
                "monitor": MonitorConfig(**{name: _frozen(value) for name, value in data["monitor"].items()}),
            }
            return cls(**{**data, **parts})
        except (TypeError, KeyError) as error:
            raise ConfigError("the settings of a run as saved by lab train", str(error), "check the file") from error


def _frozen(value: Any) -> Any:
    """JSON knows no tuples; a record's sequences are tuples."""
    return tuple(value) if isinstance(value, list) else value
