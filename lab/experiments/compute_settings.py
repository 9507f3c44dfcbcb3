"""What the experiments on networks at a given compute can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import require, require_choice, require_range

EVOLVED_ARMS: Mapping[str, str] = MappingProxyType(
    {
        "evolved": "evolved by ASO-SE",
        "start": "its first cell, never changed",
        "six": "six 3x3 convolutions, same width",
        "six_all": "six 3x3 convolutions, on every training image",
        "six_seconds": "six 3x3 convolutions, equal CPU seconds",
        "final": "its final cell from scratch",
    }
)
"""Arm -> what it is; all but six_seconds at equal operations."""


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """What every experiment has that trains networks of three stages for a given compute."""

    data_dir: str = "data"
    """Folder in which data sets are looked for."""
    cifar: Path | None = None
    """File of CIFAR-10's pixels, an .npz, for cifar-16."""
    layers: int = 3
    """Cells, >= 1."""
    batch_size: int = 32
    """Samples in a training batch, >= 2."""
    weight_lr: float = 0.05
    """First learning rate, > 0, cosine over the run."""
    first_seed: int = 0
    """The first seed, >= 0; seeds from 100 on are for development."""
    threads: int = 1
    """CPU threads, >= 1."""

    def __post_init__(self) -> None:
        require_range("weight_lr", self.weight_lr, 0, open_low=True)
        for name in ("layers", "threads"):
            require_range(name, getattr(self, name), 1)
        require_range("batch_size", self.batch_size, 2)
        require_range("first_seed", self.first_seed, 0)


@dataclass(frozen=True, kw_only=True)
class EvolvedBench(ComputeSettings):
    """Settings of `lab experiment evolved`.

    ASO-SE against fixed networks, at equal operations and at equal CPU seconds.
    """

    images: tuple[str, ...] = ("digits", "fashion-14")
    """Data sets: digits, shapes, fashion-14 (4,000 images of 14x14 pixels), fashion-14-all, fashion-28,
    fashion-28-all, cifar-16."""
    budgets: tuple[float, ...] = (137.0, 447.0)
    """Operations of a run on each, in GFLOP, > 0."""
    channels: int = 8
    """Channels of the first stage, >= 1."""
    seeds: int = 5
    """Seeds of each arm, >= 1."""
    folder: Path = Path("runs/bench/evolved")
    """Where finished runs are kept, one JSON for each data set, arm and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.images) == len(self.budgets),
            expected="one budget for each data set",
            got=f"{len(self.budgets)} for {len(self.images)}",
            hint="give as many --budgets as --images",
        )
        for name in ("channels", "seeds"):
            require_range(name, getattr(self, name), 1)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a run depends on, beside data set, budget, arm and seed."""
        return {name: getattr(self, name) for name in ("channels", "layers", "batch_size", "weight_lr")}


@dataclass(frozen=True, kw_only=True)
class DecidedSetting:
    """Images and space of a search."""

    images: str
    """Name of a set of images."""
    space: str
    """Name of a search space."""
    ranked: bool = False
    """Whether the final cells are looked up in the space's table."""


DECIDED: Mapping[str, DecidedSetting] = MappingProxyType(
    {
        "digits": DecidedSetting(images="digits", space="nb201"),
        "fashion": DecidedSetting(images="fashion-14-1000", space="nb201"),
        "shapes": DecidedSetting(images="shapes-500", space="nb201"),
        "darts": DecidedSetting(images="digits", space="darts"),
        "nb125": DecidedSetting(images="digits", space="nb125", ranked=True),
        "nb201": DecidedSetting(images="cifar-16-1000", space="nb201", ranked=True),
    }
)
"""Name -> setting."""


@dataclass(frozen=True, kw_only=True)
class DecidedBench:
    """Settings of `lab experiment decided`.

    Whether ASO-SE at its defaults decides: final entropy, and rank of the final cell against the prior's.
    """

    settings: tuple[str, ...] = tuple(DECIDED)
    """Data sets and spaces; nb201 (pixels of CIFAR-10, needs --cifar) and nb125 (digits) are judged by tables."""
    data_dir: str = "data"
    """Folder in which data sets are looked for."""
    cifar: Path | None = None
    """File of CIFAR-10's pixels, an .npz, for setting nb201."""
    epochs: int = 20
    """Epochs of a run, >= 8: what a plan gives at least."""
    channels: int = 4
    """Channels of the first stage, >= 1."""
    batch_size: int = 64
    """Samples in a training batch, >= 2."""
    weight_lr: float = 0.05
    """First learning rate, > 0, cosine over the run."""
    seeds: int = 5
    """Seeds of each setting, >= 1."""
    ranked_seeds: int = 10
    """Seeds of the settings that a table judges, >= 1."""
    first_seed: int = 0
    """The first of them, >= 0; seeds from 100 on are for development."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/decided")
    """Where finished runs are kept, one JSON for each setting and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        for name in self.settings:
            require_choice("setting", name, DECIDED.keys())
        require_range("epochs", self.epochs, 8)
        for name in ("channels", "seeds", "ranked_seeds", "threads"):
            require_range(name, getattr(self, name), 1)
        require_range("batch_size", self.batch_size, 2)
        require_range("first_seed", self.first_seed, 0)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a run depends on, beside setting and seed."""
        return {name: getattr(self, name) for name in ("epochs", "channels", "batch_size", "weight_lr")}


@dataclass(frozen=True, kw_only=True)
class LadderBench(ComputeSettings):
    """Settings of `lab experiment ladder`.

    The planned width against a ladder of widths, over budgets a factor of 4 apart.
    """

    images: tuple[str, ...] = ("digits", "fashion-14", "cifar-16")
    """Data sets, as for lab experiment evolved."""
    budgets: tuple[float, ...] = (9.0, 28.0, 60.0)
    """Smallest budget of each, in GFLOP, > 0."""
    steps: int = 4
    """Budgets of each, >= 1."""
    widths: tuple[int, ...] = (2, 4, 8, 16, 32)
    """Channels of the first stage: the ladder."""
    seeds: int = 3
    """Seeds of each width, >= 1."""
    folder: Path = Path("runs/bench/ladder")
    """Where finished runs are kept, one JSON for each setting, width and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.images) == len(self.budgets),
            expected="one smallest budget for each data set",
            got=f"{len(self.budgets)} for {len(self.images)}",
            hint="give as many --budgets as --images",
        )
        require(len(self.widths) >= 1, expected="a width", got="none", hint="give --widths")
        for budget in self.budgets:
            require_range("budgets", budget, 0, open_low=True)
        for name in ("steps", "seeds"):
            require_range(name, getattr(self, name), 1)
        for width in self.widths:
            require_range("widths", width, 1)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a run depends on, beside data set, budget, width and seed."""
        return {name: getattr(self, name) for name in ("layers", "batch_size", "weight_lr")}


@dataclass(frozen=True, kw_only=True)
class AnytimeBench(ComputeSettings):
    """Settings of `lab experiment anytime`.

    The accuracy at every moment of a training: a network that grows by a plan against every fixed width.
    """

    images: str = "fashion-14-all"
    """Data set, as for lab experiment evolved."""
    budget: float = 1600.0
    """Operations of a run, in GFLOP, > 0."""
    widths: tuple[int, ...] = (4, 8, 16)
    """Channels of the first stage, rising, at least two: the fixed networks, and what the growing one goes through."""
    seeds: int = 5
    """Seeds of each network, >= 1."""
    folder: Path = Path("runs/bench/anytime")
    """Where finished runs are kept, one JSON for each network and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = all(low < high for low, high in pairwise(self.widths))
        require(
            rising and len(self.widths) >= 2 and self.widths[0] >= 1,
            expected="widths >= 1, at least two, each larger than the one before",
            got=", ".join(map(str, self.widths)) or "none",
            hint="give --widths 4 8 16",
        )
        require_range("budget", self.budget, 0, open_low=True)
        require_range("seeds", self.seeds, 1)

    @property
    def protocol(self) -> dict[str, Any]:
        """What a run depends on, beside network and seed."""
        names = ("images", "budget", "widths", "layers", "batch_size", "weight_lr")
        return {name: getattr(self, name) for name in names}
