"""`ASOSEConfig`: the settings of ASO-SE, alternating stable optimization with stochastic exploration."""

import math
from dataclasses import dataclass, replace

from lab.base import require, require_choice, require_range
from lab.explore import SAMPLING_KINDS, SCHEDULES
from lab.space import MUTATION_KINDS

GROWTH_KINDS = ("none", "depth", "width", "depth,width")
GROWTH_UNITS = ("drawn", "copies")
SELECTIONS = ("argmax", "perturbation")
MUTATION_TESTS = ("trial", "before", "restart")
PRIORS = ("scores", "none")
WINDOW = 0.4
"""Share of a run in which its structure may change, where `retraining_epochs` is left to the plan.

Later changes cost accuracy: their new weights are never trained at a useful rate (docs/results.md)."""


@dataclass(frozen=True, kw_only=True)
class ASOSEConfig:
    """ASO-SE: prior, phases, exploration, mutation, growth, stopping."""

    prior: str = "scores"
    """Where the first cell, the start of alpha and the proposals of mutations come from: scores (a search on scores of
    untrained networks, seconds long), or none (alpha starts uniform)."""
    prior_evaluations: int = 250
    """Cells that the search on scores looks at, >= 25."""
    prior_strength: float = 3.0
    """How far alpha starts from uniform, in standard deviations of the scores of an edge's primitives, >= 0."""
    warmup_epochs: int = 0
    """Epochs that train the supernet on uniformly sampled cells, >= 0. With a prior they have not paid."""
    arch_training_epochs: int = 1
    """Epochs of each cycle that train architecture parameters with the weights frozen, >= 0."""
    weight_training_epochs: int = 3
    """Epochs of each cycle that train the live network, >= 0."""
    total_cycles: int = 4
    """Cycles of arch_training, mutation, weight_retraining, >= 1."""
    retraining_epochs: int | None = None
    """Epochs that train the network after the last cycle, its structure unchanged, >= 0; None for as many as make the
    phases before it 40 % of the run."""
    initial_temp: float = 5.0
    """Gumbel temperature of the first exploration epoch, > 0."""
    min_temp: float = 0.1
    """Lowest Gumbel temperature, > 0 and <= initial_temp."""
    anneal_rate: float = 0.98
    """Factor of one step of the adaptive schedule, in (0, 1]."""
    temperature_schedule: str = "cosine"
    """constant, linear, exponential, cosine or adaptive."""
    sampling: str = "gumbel"
    """gumbel (the temperature changes samples and gradient), gdas (the gradient only) or mixture (every primitive runs,
    in warm-up too: a step costs four to five times as much)."""
    exploration_factor: float = 1.0
    """Scale of the Gumbel noise, >= 0; 0 always samples the most probable cell."""
    allow_none: bool = False
    """Whether the primitive `none` may be sampled and selected. False (better by measurement) excludes it from the
    whole search (docs/results.md, options of exploration). In spaces whose cells never have it (darts) it stays in the
    distribution, as a threshold for the other primitives of its edge."""
    beta_decay: float = 0.0
    """Against skip collapse: final weight of mean logsumexp(alpha) in the loss of alpha, reached linearly over
    exploration, >= 0 (Ye et al. 2022, beta-DARTS: up to 50)."""
    skip_dropout: float = 0.0
    """Against skip collapse: initial dropout on the supernet's skip connections, decreasing linearly to 0 over
    exploration, in [0, 1) (Chen et al. 2019, P-DARTS: 0.3)."""
    auxiliary_skip: float = 0.0
    """Against skip collapse: initial weight of a second skip connection on every edge of the supernet, decreasing
    linearly to 0 over exploration, >= 0 (Chu et al. 2021, DARTS-: 1)."""
    max_skips: int = 0
    """Exploration ends when the most probable cell has this many skip connections, >= 0; 0 disables the rule (Liang et
    al. 2019, DARTS+: 2)."""
    stable_epochs: int = 0
    """Exploration ends when the ranking of alpha on every edge has not changed for this many exploration epochs, >= 0;
    0 disables the rule (Liang et al. 2019, DARTS+: 10)."""
    selection: str = "argmax"
    """How the first live cell is selected: argmax (of alpha), or perturbation (the primitive whose removal raises the
    selection loss most; Wang et al. 2021), which also guides mutations."""
    mutation_frequency: int = 1
    """Cycles between two mutations of the live cell, >= 1; the other cycles train it unchanged."""
    mutation_test: str = "trial"
    """What a mutation is compared with: trial (an unchanged control copy on the same batches, on two batch orders; one
    edge at a time, kept only where it is better), before (the loss before it; further training can hide a bad
    mutation), or restart (old and new cell are both trained for weight_training_epochs from the weights at the end of
    exploration, so that only the cell differs; without a transition and without growth)."""
    trial_steps: int = 64
    """Optimizer steps of a trial, >= 2; they are training of the network that was not changed."""
    trial_share: float = 0.1
    """Share of the run's compute that all its trials may cost, readings included, in [0, 1]; 0 makes none."""
    reading_share: float = 0.02
    """In a run with a budget: share of the compute so far that readings after an epoch may take, in [0, 1]. A reading
    that decides is made all the same: for a mutation, at the end of a phase, for a plateau or a rule that stops."""
    preserve_function: bool = True
    """Change from the old cell to the new one gradually, beginning with an unchanged output (the transition). False
    inserts the new primitives at once, which changes the output."""
    mutation_strength: float = 0.3
    """Share of the edges that one mutation changes, in (0, 1]."""
    growth: str = "none"
    """What grows at each mutation phase after the first: none, depth, width, or both alternately (depth,width); one
    stage at a time."""
    enable_gradual_growth: bool = True
    """Whether `growth` is applied; False keeps the network's size."""
    growth_schedule: tuple[int, ...] = ()
    """Cycles, from 2, in whose mutation phase the network grows; empty: every cycle from 2."""
    growth_factor: float = 1.25
    """Factor by which a stage's width grows, in (1, 4]; at least one channel is added."""
    growth_units: str = "drawn"
    """What new channels are: drawn (weights of their own, read with 0 at first) or copies of old ones, which stay alike
    for long."""
    mutation_kind: str = "guided"
    """random, guided (by the architecture probabilities) or conservative (half the strength)."""
    reject_z: float = 1.64
    """A mutation is rolled back when the mean paired loss difference on the selection split exceeds this many standard
    errors (a z-score), >= 0; 1.64 is one-sided 95 %."""
    arch_lr: float | None = None
    """Learning rate of the architecture parameters (Adam), > 0; None for one that follows from the number of their
    steps, so that a run of any length decides."""
    arch_weight_decay: float = 1e-3
    """Weight decay of the architecture parameters, >= 0."""
    early_stopping_patience: int = 0
    """Epochs of weight_retraining without a better selection loss after which the run ends, >= 0; 0 disables it."""
    performance_threshold: float = 0.0
    """Relative decrease of the selection loss that counts as better, in [0, 1)."""
    target_accuracy: float | None = None
    """Accuracy on the selection split at which the run ends, in (0, 1]; None for no target."""

    @property
    def may_stop(self) -> bool:
        """Whether a rule may end the run before its plan does."""
        return self.target_accuracy is not None or self.early_stopping_patience > 0

    @property
    def growth_kinds(self) -> tuple[str, ...]:
        """`depth` and `width` in the order in which they alternate; empty without growth."""
        return () if self.growth == "none" or not self.enable_gradual_growth else tuple(self.growth.split(","))

    def __post_init__(self) -> None:
        require_choice("prior", self.prior, PRIORS)
        require_range("prior_evaluations", self.prior_evaluations, 25)
        require_range("prior_strength", self.prior_strength, 0)
        if self.retraining_epochs is not None:
            require_range("retraining_epochs", self.retraining_epochs, 0)
        for name in ("warmup_epochs", "arch_training_epochs", "weight_training_epochs"):
            require_range(name, getattr(self, name), 0)
        require_range("total_cycles", self.total_cycles, 1)
        require_range("epochs of the whole plan", self.planned_epochs, 1)
        require_range("initial_temp", self.initial_temp, 0, open_low=True)
        require_range("min_temp", self.min_temp, 0, self.initial_temp, open_low=True)
        require_range("anneal_rate", self.anneal_rate, 0, 1, open_low=True)
        require_choice("temperature_schedule", self.temperature_schedule, SCHEDULES.keys())
        require_choice("sampling", self.sampling, SAMPLING_KINDS)
        require_range("exploration_factor", self.exploration_factor, 0)
        for name in ("beta_decay", "auxiliary_skip", "max_skips", "stable_epochs"):
            require_range(name, getattr(self, name), 0)
        require_range("skip_dropout", self.skip_dropout, 0, 0.9999)
        require_choice("selection", self.selection, SELECTIONS)
        require_choice("mutation_test", self.mutation_test, MUTATION_TESTS)
        require(
            self.mutation_test != "restart" or not self.growth_kinds,
            expected="growth none with mutation_test restart, which restores weights of the first size",
            got=f"growth {self.growth}",
            hint="remove one of the two",
        )
        require_range("trial_steps", self.trial_steps, 2)
        require_range("trial_share", self.trial_share, 0, 1)
        require_range("reading_share", self.reading_share, 0, 1)
        require_range("mutation_frequency", self.mutation_frequency, 1)
        require_range("mutation_strength", self.mutation_strength, 0, 1, open_low=True)
        require_choice("growth", self.growth, GROWTH_KINDS)
        for cycle in self.growth_schedule:
            require_range("growth_schedule", cycle, 2, self.total_cycles)
        require_range("growth_factor", self.growth_factor, 1, 4, open_low=True)
        require_choice("growth_units", self.growth_units, GROWTH_UNITS)
        require_choice("mutation_kind", self.mutation_kind, MUTATION_KINDS)
        require_range("reject_z", self.reject_z, 0)
        if self.arch_lr is not None:
            require_range("arch_lr", self.arch_lr, 0, open_low=True)
        require_range("arch_weight_decay", self.arch_weight_decay, 0)
        require_range("early_stopping_patience", self.early_stopping_patience, 0)
        require_range("performance_threshold", self.performance_threshold, 0, 0.9999)
        if self.target_accuracy is not None:
            require_range("target_accuracy", self.target_accuracy, 0, 1, open_low=True)

    @property
    def begins_with_cell(self) -> bool:
        """Whether there is a live network from the first step: the prior names its cell, and nothing warms up."""
        return self.prior != "none" and self.warmup_epochs == 0

    @property
    def exploration_phases(self) -> int:
        """Phases of arch_training: one in each cycle, but for the first one of a run that begins with its cell."""
        return self.total_cycles - self.begins_with_cell

    @property
    def window_epochs(self) -> int:
        """Epochs in which the structure may change: warm-up and all cycles; a mutation takes none."""
        exploration = self.exploration_phases * self.arch_training_epochs
        return self.warmup_epochs + exploration + self.total_cycles * self.weight_training_epochs

    @property
    def final_epochs(self) -> int:
        """Epochs of the retraining after the last cycle."""
        if self.retraining_epochs is not None:
            return self.retraining_epochs
        return math.ceil(self.window_epochs * (1.0 - WINDOW) / WINDOW - 1e-9)

    @property
    def planned_epochs(self) -> int:
        """Epochs of the whole plan."""
        return self.window_epochs + self.final_epochs

    def fitted(self, epochs: int, *, budgeted: bool = False) -> "ASOSEConfig":
        """These settings with phases for a run of `epochs` >= 1: as many cycles as its first 40 % have room for.

        A cycle has one epoch of arch_training and at least two on the weights. A run too short for two cycles trains
        its first cell.

        Args:
            epochs: of the whole run.
            budgeted: whether a budget ends the run, which pays for so many epochs on the weights and a part of one
                more. Those of arch_training, which cost little, then come on top.
        """
        require_range("epochs", epochs, 1)
        window = max(round(WINDOW * epochs) - self.warmup_epochs, 1)
        cycles = max(min(4, (window + 1) // 3), 1)
        weights = max((window - (cycles - self.begins_with_cell)) // cycles, 1)
        fitted = replace(
            self,
            arch_training_epochs=1 if cycles > 1 or not self.begins_with_cell else 0,
            total_cycles=cycles,
            weight_training_epochs=weights,
            retraining_epochs=0,
        )
        more = 1 + fitted.exploration_phases * fitted.arch_training_epochs if budgeted else 0
        return replace(fitted, retraining_epochs=max(epochs - fitted.window_epochs, 0) + more)
