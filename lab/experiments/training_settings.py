"""What the experiments on networks in training can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lab.base import require, require_choice, require_range
from lab.space import Genotype

ABLATION_ARMS: Mapping[str, str] = MappingProxyType(
    {
        "whole": "the whole search",
        "no_warmup": "no warmup: the search begins on fresh weights",
        "no_arch_training": "no arch_training: alpha stays as it was drawn",
        "no_mutation": "no mutation: the first cell is kept",
        "no_weight_retraining": "no weight_retraining: cells run on the supernet's weights",
        "swap_at_once": "no transition: the new primitives at once, beta 1",
        "fresh_child": "no transition: all weights of the new network drawn again",
    }
)
"""Arm -> what it is."""
GROWTH_ARMS: Mapping[str, str] = MappingProxyType(
    {
        "grown": "grown while it trained",
        "scratch": "final architecture from scratch, equal compute",
        "start": "first architecture, never grown, equal compute",
        "longer": "final architecture from scratch, equal epochs",
    }
)
"""Arm -> what it is."""
POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "agent": "the agent, which learns",
        "unfitted": "the agent, without the fit to the compute at first",
        "random": "random actions on trial",
        "schedule": "wider at each round, no trial",
        "none": "never changed",
    }
)
"""Policy -> what it is."""


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The images of an experiment that trains networks."""

    dataset: str = "digits"
    """Data set."""
    data_dir: str = "data"
    """Folder in which it is looked for."""
    train_limit: int | None = None
    """Use about this many training samples, >= 30; None for all."""


@dataclass(frozen=True, kw_only=True)
class AblationBench(ImageSettings):
    """Settings of `lab experiment ablation`.

    Ablation: the search without one phase, or without the transition, at equal time.
    """

    arms: tuple[str, ...] = tuple(ABLATION_ARMS)
    """Arms that are run."""
    seeds: int = 8
    """Seeds of each arm, >= 1."""
    channels: int = 8
    """Channels of the first stage, >= 1."""
    batch_size: int = 32
    """Samples in a training batch, >= 2."""
    cycles: int = 4
    """Cycles of the search, >= 1."""
    warmup_epochs: int = 8
    """Epochs of warmup, >= 1."""
    arch_training_epochs: int = 3
    """Epochs of arch_training in a cycle, >= 1."""
    weight_training_epochs: int = 8
    """Epochs of weight_retraining in a cycle, >= 1."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/ablation")
    """Where the runs that are done are kept, one JSON for each arm and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        for arm in self.arms:
            require_choice("arm", arm, ABLATION_ARMS.keys())
        phases = ("warmup_epochs", "arch_training_epochs", "weight_training_epochs")
        for name in ("seeds", "channels", "cycles", "threads", *phases):
            require_range(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class GrowthBench(ImageSettings):
    """Settings of `lab experiment growth`.

    A network that grows while it trains, against the final network trained from scratch.
    """

    dataset: str = "fashion-mnist"
    train_limit: int | None = 3000
    selection_share: float = 0.28
    """Share of them on which the curves are read, in (0, 0.9); five per cent are unused, the rest trains."""
    cell: str = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    """The cell, in NAS-Bench-201's notation."""
    channels: int = 8
    """Channels of the first stage at first, >= 1."""
    layers: int = 3
    """Cells at first, >= 1."""
    growth: str = "depth,width"
    """What grows, as in `lab train --growth`."""
    growth_factor: float = 1.5
    """Factor of a stage's width at a growth, in (1, 4]."""
    cycles: int = 7
    """Cycles, >= 2; the network grows before each but the first."""
    cycle_epochs: int = 3
    """Epochs of a cycle, >= 1."""
    batch_size: int = 32
    """Samples in a training batch, >= 2."""
    weight_lr: float = 0.05
    """First learning rate, > 0, cosine over the run."""
    arms: tuple[str, ...] = tuple(GROWTH_ARMS)
    """Arms that are run; grown is always one."""
    seeds: int = 3
    """Seeds of each arm, >= 1."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/growth")
    """Where the runs that are done are kept, one JSON for each arm and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        require_range("selection_share", self.selection_share, 0, 0.9, open_low=True)
        require_range("cycles", self.cycles, 2)
        for name in ("channels", "layers", "cycle_epochs", "seeds", "threads"):
            require_range(name, getattr(self, name), 1)
        Genotype.from_arch_str(self.cell)
        for arm in self.arms:
            require_choice("arm", arm, GROWTH_ARMS.keys())
        require("grown" in self.arms, expected="grown among the arms", got=", ".join(self.arms), hint="add it")


@dataclass(frozen=True, kw_only=True)
class EvolveBench(ImageSettings):
    """Settings of `lab experiment evolve`.

    The agent on a live network, against random actions, a schedule and no change.
    """

    dataset: str = "fashion-mnist"
    train_limit: int | None = 4000
    model: str = "small_cnn"
    """The network at first, as `lab train agent --model`."""
    channels: int = 4
    """Units of its first layer, >= 1."""
    start_epochs: int = 40
    """Compute of a run: that of so many epochs of the network as it is at first, >= 1."""
    evolve_every: int = 4
    """Epochs between rounds of actions, >= 1."""
    evolve_actions: int = 2
    """Actions in a round, >= 1."""
    probe_steps: int = 12
    """Training steps in a trial, >= 0."""
    trial_share: float = 0.1
    """Share of the compute that trials may cost, >= 0."""
    least_effect: float = 0.05
    """Smallest difference worth a trial, as a share of the held-out loss, > 0."""
    batch_size: int = 32
    """Samples in a training batch, >= 2."""
    weight_lr: float = 0.05
    """First learning rate, > 0."""
    policies: tuple[str, ...] = tuple(POLICIES)
    """Policies that are run."""
    seeds: int = 5
    """Seeds of each, >= 2."""
    first_seed: int = 0
    """The first of them, >= 0."""
    threads: int = 1
    """CPU threads, >= 1."""
    folder: Path = Path("runs/bench/evolve")
    """Where finished runs are kept, one JSON for each policy and seed; a repeated call goes on."""

    def __post_init__(self) -> None:
        for name in ("channels", "start_epochs", "evolve_every", "evolve_actions", "threads"):
            require_range(name, getattr(self, name), 1)
        require_range("seeds", self.seeds, 2)
        require_range("first_seed", self.first_seed, 0)
        for policy in self.policies:
            require_choice("policy", policy, POLICIES.keys())


@dataclass(frozen=True, kw_only=True)
class ScoresBench(ImageSettings):
    """Settings of `lab experiment scores`.

    Whether information scores predict where a change helps, compared with trivial scores.
    """

    depth: int = 6
    """Convolutions of a network, >= 3."""
    epochs: tuple[int, ...] = (2, 8)
    """Epochs of training after which the layers are judged, each >= 1, rising."""
    probe_steps: int = 40
    """Training steps after a change, >= 1."""
    ratio: float = 0.5
    """Share of its units that a layer loses or gains, in (0, 1)."""
    networks: int = 6
    """Networks, each of its own widths, >= 2."""
    lr: float = 0.05
    """Learning rate, > 0."""
    folder: Path = Path("runs/bench/scores")
    """Where finished networks are kept, one JSON each; a repeated call goes on."""

    def __post_init__(self) -> None:
        require_range("depth", self.depth, 3)
        require_range("probe_steps", self.probe_steps, 1)
        require_range("networks", self.networks, 2)
        require_range("ratio", self.ratio, 0, 0.9, open_low=True)
