"""What the experiments on tables of known accuracies can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import require_choice, require_range
from lab.space import NB125

TABLE_DATASET = "digits"
ENVIRONMENTS = ("CIFAR-10", "CIFAR-100", "Macro", "Macro, one seed", "digits")
"""Tables and columns of them on which the agent is measured."""
METHODS = ("aso-se", "random", "inherited", "gdas", "darts", "parameters", "log_synflow", "naswot")
"""Searches at one budget that `lab search` is held against; the last three climb on one score."""
ARMS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "search": {},
        "prior": {"evidence": False},
        "evidence": {"prior": False},
        "prior-without-skip": {"evidence": False, "scores": ("naswot", "log_synflow")},
        "prior-naswot": {"evidence": False, "scores": ("naswot",)},
        "prior-log_synflow": {"evidence": False, "scores": ("log_synflow",)},
        "prior-skip_length": {"evidence": False, "scores": ("skip_length",)},
    }
)
"""`lab search` and its ablations, by name: what each changes of its settings."""
DATASETS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "nb201": {"CIFAR-10": ("c10_val12", "c10_test200"), "CIFAR-100": ("c100_val12", "c100_test200")},
        "nb125": {"digits": ("digits_validation_half", "digits_test")},
    }
)
"""Space -> data set -> (column that a strategy sees, column that judges it)."""
JUDGES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {space: {name: judge for name, (_, judge) in columns.items()} for space, columns in DATASETS.items()}
)
"""Space -> data set -> what judges a found cell: a column of the table."""


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """The small networks by which cells are judged, and how they are trained."""

    channels: int = 8
    """Channels of the first stage, >= 1."""
    layers: int = 3
    """Cells, >= 1; three are one for each stage."""
    batch_size: int = 32
    """Samples in a training batch, >= 2."""
    weight_lr: float = 0.1
    """Highest learning rate of the weights, > 0; the rate falls along a cosine."""

    def __post_init__(self) -> None:
        require_range("channels", self.channels, 1)
        require_range("layers", self.layers, 1)
        require_range("batch_size", self.batch_size, 2)
        require_range("weight_lr", self.weight_lr, 0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class TableBench(ProxySettings):
    """Settings of `lab experiment table`.

    Every cell of a small space trained on digits: the lab's own tabular benchmark.
    """

    seeds: int = 3
    """Trainings of each cell, >= 1; each seed draws its own division, order, augmentation and weights."""
    epochs: int = 24
    """Epochs of each training, >= 2; the accuracy after half of them is a column as well."""
    train_share: float = 0.3
    """Share of digits' training part that trains weights, in (0, 0.85); a tenth stays unused, the rest validates."""
    cells: int = NB125.size
    """Cells that are trained, 1 to 125, in the order of the table; a table is written only where all are."""
    folder: Path = Path("runs/bench/table")
    """Where the cells that are done are kept, one JSON for each seed; a repeated call goes on."""
    csv: Path | None = None
    """File to which the table is written; None for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range("seeds", self.seeds, 1)
        require_range("epochs", self.epochs, 2)
        require_range("train_share", self.train_share, 0, 0.85, open_low=True)
        require_range("cells", self.cells, 1, NB125.size)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a trained cell's figures depend on."""
        names = ("epochs", "channels", "layers", "batch_size", "weight_lr", "train_share")
        return {"dataset": TABLE_DATASET, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, kw_only=True)
class SearchBench(ProxySettings):
    """Settings of `lab experiment search`.

    Searches on a CPU proxy at equal budget, evaluated on a tabular benchmark.
    """

    data: Path | None = None
    """CIFAR-10 (or other images with even sides) as .npz with x_train, y_train, x_test, y_test; pooled 2x2. Needed."""
    methods: tuple[str, ...] = (*ARMS, *METHODS)
    """Which methods search nb201."""
    seeds: int = 10
    """Searches of each arm of lab search, >= 1."""
    method_seeds: int = 3
    """Searches of each method that it is held against, and of evidence alone, >= 1."""
    budget: float = 60.0
    """CPU seconds of one search, > 0; a zero-cost search ends earlier where it has nothing left to climb."""
    digits_arms: tuple[str, ...] = tuple(ARMS)
    """Which arms of lab search also search nb125 on digits, by the protocol of lab experiment table; none to leave it
    out."""
    digits_budget: float = 120.0
    """CPU seconds of one search of nb125, > 0."""
    warm_up_share: float = 0.8
    """For aso-se: share of the budget that trains the supernet, in (0, 1)."""
    trial_epochs: int = 2
    """For aso-se: epochs that each live cell is trained for before it is compared, >= 1."""
    batch_size: int = 128
    folder: Path = Path("runs/bench/search")
    """Where finished searches are kept, one JSON for each method and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.methods:
            require_choice("method", name, (*ARMS, *METHODS))
        for name in self.digits_arms:
            require_choice("arm", name, ARMS.keys())
        require_range("seeds", self.seeds, 1)
        require_range("method_seeds", self.method_seeds, 1)
        require_range("budget", self.budget, 0, open_low=True)
        require_range("digits_budget", self.digits_budget, 0, open_low=True)
        require_range("warm_up_share", self.warm_up_share, 0, 0.99, open_low=True)
        require_range("trial_epochs", self.trial_epochs, 1)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a finished search depends on."""
        names = ("budget", "warm_up_share", "trial_epochs", "channels", "layers", "batch_size", "weight_lr")
        return {"data": "" if self.data is None else self.data.name, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, kw_only=True)
class StrategiesBench:
    """Settings of `lab experiment strategies`.

    Search strategies on a tabular benchmark, hundreds of seeds in seconds.
    """

    space: str = "nb201"
    """nb201 (its table lies in the folder that LAB_NAS_TABLES names) or nb125 (its table comes with the lab)."""
    table: Path | None = None
    """The table's CSV file; None for the one of LAB_NAS_TABLES, or the lab's own."""
    evaluations: tuple[int, ...] = (20, 50, 100, 200)
    """Numbers of evaluations after which the best cell is judged, each >= 1."""
    seeds: int = 300
    """Independent searches of each strategy, >= 2."""
    seed: int = 0
    """From which all of them are drawn, >= 0."""
    folder: Path = Path("runs/bench/strategies")
    """Where finished strategies are kept, one JSON each with all its seeds; a repeated call goes on."""
    figure: Path | None = None
    """SVG file of the curves, with the noise floor; None for none."""

    def __post_init__(self) -> None:
        require_choice("space", self.space, DATASETS.keys())
        require_range("seeds", self.seeds, 2)
        require_range("seed", self.seed, 0)
        for count in self.evaluations:
            require_range("evaluations", count, 1)


@dataclass(frozen=True, kw_only=True)
class RemediesBench:
    """Settings of `lab experiment remedies`.

    Options against skip collapse on 125 cells, evaluated on the lab's own table.
    """

    seeds: int = 5
    """Searches with each option, >= 1."""
    warmup_epochs: int = 12
    """Epochs that train the supernet first, >= 1."""
    arch_training_epochs: int = 6
    """Epochs of exploration, >= 1."""
    arch_lr: float = 0.01
    """Learning rate of the architecture parameters, > 0."""
    channels: int = 8
    """Channels of the first stage, >= 1."""
    batch_size: int = 32
    """Samples in a training batch, >= 2."""
    folder: Path = Path("runs/bench/remedies")
    """Where finished searches are kept, one JSON for each option and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        for name in ("seeds", "warmup_epochs", "arch_training_epochs", "channels"):
            require_range(name, getattr(self, name), 1)
        require_range("arch_lr", self.arch_lr, 0, open_low=True)
        require_range("batch_size", self.batch_size, 2)


@dataclass(frozen=True, kw_only=True)
class AgentBench:
    """Settings of `lab experiment agent`.

    The agent on tabular benchmarks, compared with searches and with no learning.
    """

    environments: tuple[str, ...] = ("CIFAR-10", "CIFAR-100", "Macro", "Macro, one seed")
    """CIFAR-10, CIFAR-100, Macro, "Macro, one seed" or digits; all but digits need the tables in the folder that
    LAB_NAS_TABLES names."""
    evaluations: tuple[int, ...] = (20, 50, 100, 200)
    """Numbers of evaluations after which the best network is judged, each >= 1."""
    seeds: int = 300
    """Independent searches of each kind, >= 3."""
    seed: int = 0
    """From which all of them are drawn, >= 0."""
    every: int = 2
    """Actions of the agent from one round of learning to the next, >= 1."""
    hindsight: int = 16
    """Transitions that it remembers in a round, >= 0."""
    updates: int = 1
    """Its learning steps in a round, >= 0."""
    teachers: int = 3
    """Agents that learn on the other data set; the seeds of the taught agent begin with their weights in turn, >= 1."""
    lesson: int = 1000
    """Networks that each of them measures there, >= 1."""
    folder: Path = Path("runs/bench/agent")
    """Where finished searches are kept, one JSON for each with all its seeds; a repeated call goes on."""

    def __post_init__(self) -> None:
        for name in self.environments:
            require_choice("environment", name, ENVIRONMENTS)
        for count in self.evaluations:
            require_range("evaluations", count, 1)
        require_range("seeds", self.seeds, 3)
        require_range("seed", self.seed, 0)
        require_range("teachers", self.teachers, 1)
        require_range("lesson", self.lesson, 1)
        require_range("every", self.every, 1)
        require_range("hindsight", self.hindsight, 0)
        require_range("updates", self.updates, 0)
