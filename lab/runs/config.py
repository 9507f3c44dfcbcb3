"""What a run is: one frozen record that the checkpoint and the store hold as JSON."""

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from lab.agent import EvolveConfig
from lab.asose import ASOSEConfig
from lab.base import ConfigError, require, require_choice, require_range
from lab.datasets import MULTITASK, DataConfig
from lab.mahia import PRECISIONS
from lab.monitor import MonitorConfig
from lab.multitask import MultitaskConfig
from lab.space import SPACES
from lab.store import translate_config
from lab.text import HIGHEST_RATE, TextConfig
from lab.train import CheckpointConfig, DeviceConfig, OptimizerConfig

RECORDS: Mapping[str, type] = MappingProxyType(
    {
        "data": DataConfig,
        "search": ASOSEConfig,
        "optimizer": OptimizerConfig,
        "checkpoints": CheckpointConfig,
        "devices": DeviceConfig,
        "evolve": EvolveConfig,
        "multitask": MultitaskConfig,
        "text": TextConfig,
        "monitor": MonitorConfig,
    }
)
"""Field of `RunConfig` -> the record that it is."""
RECIPES = ("aso-se", "fixed", "agent", "multitask", "text")
TEXT_UNUSED: Mapping[str, Any] = MappingProxyType({"compile": False, "workers": 0, "on_oom": "stop"})
"""Setting of the recipes on images that recipe text has no use for -> its default."""
MULTITASK_UNUSED: Mapping[str, Any] = MappingProxyType({"grad_accum_steps": 1, **TEXT_UNUSED})
"""The same for recipe multitask."""
ADAPTIVE = ("auto", "on", "off")
ON_OOM = ("stop", "smaller", "cpu")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run, whole."""

    recipe: str = "aso-se"
    """aso-se; fixed: one network of a fixed cell on the same data and epochs, the baseline; agent: the evolution
    agent changes a live network; multitask: a model of text and a table learns several tasks at once; or text: a
    classifier on a pretrained encoder learns from labelled sentences."""
    data: DataConfig = field(default_factory=DataConfig)
    """What it trains on; its seed is the run's seed."""
    space: str = "nb201"
    """Search space: nb201, nb125 or darts."""
    init_channels: int = 16
    """Channels of the first stage, >= 1."""
    layers: int = 3
    """Searched cells, >= 1, split over three stages; for darts >= 3."""
    fixed_cell: str = ""
    """For recipe fixed: the cell as `lab.space.parse_genotype` reads it; empty for the baseline of its space."""
    batch_size: int = 64
    """Samples in a training batch, >= 2."""
    epochs: int | None = None
    """Epochs at which the run ends, >= 1, of recipe aso-se if its plan is longer; None for as many as that plan has."""
    budget: float | None = None
    """Floating-point operations that the run was planned for, > 0; None for a run whose length was given."""
    extended_to: int | None = None
    """Epoch at which a run ends that went on after its end; schedules stay where they had ended. None for any other."""
    seed: int = 0
    """Run seed, >= 0; every random stream follows from it."""
    threads: int = 0
    """CPU threads of torch, >= 0; 0 leaves one core free for the page. Results depend on it in the last bits."""
    search: ASOSEConfig = field(default_factory=ASOSEConfig)
    """For recipe aso-se: phases, exploration, mutation. Other recipes without `epochs` have as many as its plan."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer of the weights."""
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When checkpoints are written."""
    devices: DeviceConfig = field(default_factory=DeviceConfig)
    """Where the run computes."""
    evolve: EvolveConfig = field(default_factory=EvolveConfig)
    """For recipe agent: the network, when the agent acts, what it may spend."""
    multitask: MultitaskConfig = field(default_factory=MultitaskConfig)
    """For recipe multitask: the model, and how its losses are weighed."""
    text: TextConfig = field(default_factory=TextConfig)
    """For recipe text: the table, the encoder, the model on it."""
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    """Stability signals."""
    precision: str = "float32"
    """float32, bf16 or fp16 (with a gradient scaler) for the forward pass of the weights' steps; weights stay
    float32."""
    grad_accum_steps: int = 1
    """Number of micro-batches of a batch, >= 1. Their gradients are summed before the optimizer step, which always sees
    batch_size samples."""
    adaptive_batch: str = "auto"
    """If memory runs out in a step, repeat it in smaller micro-batches with the same gradient: on, off, or auto (on for
    CUDA). A CPU rarely reports a shortage as an error, and the check costs 5 % of a short step."""
    compile: bool = False
    """Compile the live network with torch.compile, again after each change of its structure."""
    workers: int = 0
    """Processes that prepare batches, >= 0; 0 prepares them in the training process."""
    on_oom: str = "stop"
    """What to do if memory runs out when the networks are created: stop, smaller (halve the channels until they fit)
    or cpu."""
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
        if self.budget is not None:
            require_range("budget", self.budget, 0, open_low=True)
        require_range("seed", self.seed, 0)
        require_range("threads", self.threads, 0)
        require_choice("precision", self.precision, PRECISIONS)
        require_range("grad_accum_steps", self.grad_accum_steps, 1)
        require_range("workers", self.workers, 0)
        require_choice("adaptive_batch", self.adaptive_batch, ADAPTIVE)
        require_choice("on_oom", self.on_oom, ON_OOM)
        require(
            self.batch_size >= 2 * self.grad_accum_steps,
            expected="micro-batches of at least two samples, for BatchNorm",
            got=f"batch_size {self.batch_size} in {self.grad_accum_steps} micro-batches",
            hint="raise --batch-size or lower --grad-accum-steps",
        )
        if (self.recipe == "multitask") != (self.data.name == MULTITASK):
            wanted = "recipe multitask and data set multitask together"
            raise ConfigError(wanted, f"{self.recipe} and {self.data.name}", "give both, or neither")
        if self.recipe == "multitask":
            self._check_plain(MULTITASK_UNUSED)
            require(
                not self.optimizer.weight_average,
                expected="weight_average 0 with recipe multitask, which keeps no average of its weights",
                got=str(self.optimizer.weight_average),
                hint="remove --weight-average",
            )
        if self.recipe == "text":
            self._check_plain(TEXT_UNUSED)
            require(
                self.optimizer.weight_lr <= HIGHEST_RATE,
                expected=f"weight_lr <= {HIGHEST_RATE} with recipe text, whose optimizer is AdamW",
                got=str(self.optimizer.weight_lr),
                hint="give --weight-lr 5e-4 for a fresh encoder, 5e-5 for a pretrained one",
            )

    def extended(self, epoch: int, epochs: int) -> "RunConfig":
        """This run, which ended at `epoch`, with `epochs` more.

        Raises:
            ConfigError: epochs are below 1, or are not what this run is measured by.
        """
        require_range("extend", epochs, 1)
        require(
            self.recipe != "agent" or self.evolve.compute is None,
            expected="a run whose length is a number of epochs",
            got=f"compute {self.evolve.compute}",
            hint="start a new run with more --compute",
        )
        require(
            self.recipe != "aso-se" or self.search.weight_training_epochs > 0,
            expected="weight_training_epochs >= 1 in a run that goes on",
            got="0",
            hint="start a new run",
        )
        return replace(self, extended_to=epoch + epochs)

    def _check_plain(self, plain: Mapping[str, Any]) -> None:
        """Raise `ConfigError` for a setting of the image recipes that this recipe has no use for."""
        for name, value in plain.items():
            require(
                getattr(self, name) == value,
                expected=f"{name} {value} with recipe {self.recipe}",
                got=str(getattr(self, name)),
                hint=f"remove --{name.replace('_', '-')}",
            )
        require(
            self.recipe != "multitask" or self.adaptive_batch != "on",
            expected="adaptive_batch auto or off with recipe multitask",
            got="on",
            hint="lower --batch-size if memory runs out",
        )
        require(
            self.data.train_limit is None,
            expected=f"all records of {self.data.name}",
            got=f"train_limit {self.data.train_limit}",
            hint="remove --train-limit",
        )

    @property
    def total_epochs(self) -> int:
        """Epochs that this run has."""
        return self.scheduled_epochs if self.extended_to is None else self.extended_to

    @property
    def scheduled_epochs(self) -> int:
        """Epochs over which the learning rate falls: those of the run as it was started."""
        planned = self.search.planned_epochs
        if self.epochs is None:
            return planned
        # Only a plan of phases has an end of its own.
        return min(self.epochs, planned) if self.recipe == "aso-se" else self.epochs

    def to_json(self) -> dict[str, Any]:
        """The whole record as JSON data."""
        return asdict(self)

    @classmethod
    def from_fields(cls, **fields: Any) -> "RunConfig":
        """A run by the fields of all its records, without their nesting; a name that two records have goes to both.

        Raises:
            ConfigError: an unknown field, or a value outside its range.
        """
        own = {item.name for item in dataclasses.fields(cls)} - RECORDS.keys()
        names = {name: {item.name for item in dataclasses.fields(record)} for name, record in RECORDS.items()}
        known = own.union(*names.values()) | RECORDS.keys()
        unknown = sorted(fields.keys() - known)
        if unknown:
            raise ConfigError(f"settings among {', '.join(sorted(known))}", ", ".join(unknown), "check the spelling")
        records = {
            name: record(**{key: fields[key] for key in fields.keys() & names[name]})
            for name, record in RECORDS.items()
            if name not in fields
        }
        return cls(**records, **{key: value for key, value in fields.items() if key in own or key in RECORDS})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "RunConfig":
        """The record that `to_json` wrote.

        Raises:
            ConfigError: unknown or missing fields, or a value outside its range.
        """
        try:
            data = translate_config(data)
            records = {
                name: record(**{key: _frozen(value) for key, value in data.get(name, {}).items()})
                for name, record in RECORDS.items()
            }
            return cls(**{**data, **records})
        except (TypeError, KeyError) as error:
            raise ConfigError("the settings of a run as saved by lab train", str(error), "check the file") from error


def _frozen(value: Any) -> Any:
    """JSON knows no tuples; a record's sequences are tuples."""
    return tuple(value) if isinstance(value, list) else value
