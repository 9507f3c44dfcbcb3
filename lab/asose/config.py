"""`ASOSEConfig`: the settings of the alternating search."""

from dataclasses import dataclass

from lab.base import require, require_choice, require_range
from lab.explore import SAMPLING_KINDS, SCHEDULES
from lab.space import MUTATION_KINDS

GROWTH_KINDS = ("none", "depth", "width", "depth,width")
SELECTIONS = ("argmax", "perturbation")
MUTATION_TESTS = ("before", "restart")


@dataclass(frozen=True, kw_only=True)
class ASOSEConfig:
    """Alternating search: phases, exploration, mutation, stopping."""

    warmup_epochs: int = 10
    """Epochs that train the supernet on uniformly drawn cells, >= 0."""
    arch_training_epochs: int = 3
    """Epochs of each cycle that train architecture parameters with the weights frozen, >= 0."""
    weight_training_epochs: int = 8
    """Epochs of each cycle that train the live network, >= 0."""
    total_cycles: int = 5
    """Cycles of arch_training, mutation, weight_retraining, >= 1."""
    initial_temp: float = 5.0
    """Gumbel temperature of the first exploration epoch, > 0."""
    min_temp: float = 0.1
    """Lowest Gumbel temperature, > 0 and <= initial_temp."""
    anneal_rate: float = 0.98
    """Factor of one step of the adaptive schedule, in (0, 1]."""
    temperature_schedule: str = "cosine"
    """constant, linear, exponential, cosine or adaptive."""
    sampling: str = "gumbel"
    """gumbel (temperature shapes the draw and the gradient), gdas (the gradient alone) or mixture (every primitive
    runs, in warm-up as well: four to five times the cost of a step)."""
    exploration_factor: float = 1.0
    """Scale of the Gumbel noise, >= 0; 0 draws the most probable cell always."""
    allow_none: bool = False
    """Whether the absent edge may be drawn and chosen. False, the default by measurement, leaves it out of the whole
    search (docs/results.md, options of exploration); in a space whose cells never have it (darts) it stays in the
    distribution, where it says what an edge is worth."""
    beta_decay: float = 0.0
    """Against skip collapse: weight of mean logsumexp(alpha) in the loss of alpha, growing linearly over exploration to
    this, >= 0 (Ye et al. 2022, beta-DARTS: up to 50)."""
    skip_dropout: float = 0.0
    """Against skip collapse: dropout on skip connections of the supernet while it is searched, falling linearly over
    exploration to 0, in [0, 1) (Chen et al. 2019, P-DARTS: 0.3)."""
    auxiliary_skip: float = 0.0
    """Against skip collapse: share of a second skip connection on every edge of the supernet, falling linearly over
    exploration to 0, >= 0 (Chu et al. 2021, DARTS-: 1)."""
    max_skips: int = 0
    """Exploration ends where the most probable cell has this many skip connections, >= 0; 0 never (Liang et al. 2019,
    DARTS+: 2)."""
    stable_epochs: int = 0
    """Exploration ends where the order of alpha on every edge has stayed for this many exploration epochs, >= 0; 0
    never (Liang et al. 2019, DARTS+: 10)."""
    selection: str = "argmax"
    """How the first live cell is chosen: argmax (of alpha), or perturbation (the primitive that the decision loss
    misses most when it is taken away; Wang et al. 2021), which guides mutations as well."""
    mutation_frequency: int = 1
    """Cycles from one change of the live cell to the next, >= 1; the cycles between train it further as it is."""
    mutation_test: str = "before"
    """What a mutation is held against: before (the loss before it; training alone can make up for a bad one), or
    restart (old and new cell each trained for weight_training_epochs from the weights that exploration left, so that
    only the cell differs; there is no transition then, and nothing grows)."""
    preserve_function: bool = True
    """Hand over from the old cell to the new one gradually, from the same output on; False puts the new primitives in
    at once, with whatever output they give."""
    mutation_strength: float = 0.3
    """Share of the edges that one mutation changes, in (0, 1]."""
    growth: str = "none"
    """What grows at each mutation phase after the first: none, depth, width, or both in turn (depth,width), one stage
    after the other."""
    enable_gradual_growth: bool = True
    """Whether the network grows as `growth` says; False keeps its size."""
    growth_schedule: tuple[int, ...] = ()
    """Cycles, from 2, at whose mutation phase the network grows; none given: every one."""
    growth_factor: float = 1.25
    """Factor of a stage's width at a growth, in (1, 4]; at least one channel is added."""
    mutation_kind: str = "guided"
    """random, guided (by the architecture probabilities) or conservative (half the strength)."""
    reject_z: float = 1.64
    """A mutation is taken back when the mean paired loss difference on the decision split is above this many standard
    errors, >= 0; 1.64 is one-sided 95 %."""
    arch_lr: float = 3e-4
    """Learning rate of the architecture parameters (Adam), > 0."""
    arch_weight_decay: float = 1e-3
    """Weight decay of the architecture parameters, >= 0."""
    early_stopping_patience: int = 0
    """Weight-retraining epochs without a better decision loss after which the run ends, >= 0; 0 never stops early."""
    performance_threshold: float = 0.0
    """Share by which the decision loss must fall to count as better, in [0, 1)."""
    target_accuracy: float | None = None
    """Decision accuracy, in (0, 1], at which the run ends; None trains on."""

    @property
    def growth_kinds(self) -> tuple[str, ...]:
        """`depth` and `width` in the order of their turns; none of them where nothing grows."""
        return () if self.growth == "none" or not self.enable_gradual_growth else tuple(self.growth.split(","))

    def __post_init__(self) -> None:
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
            self.mutation_test == "before" or not self.growth_kinds,
            expected="growth none with mutation_test restart, which goes back to weights of the first size",
            got=f"growth {self.growth}",
            hint="leave one of the two away",
        )
        require_range("mutation_frequency", self.mutation_frequency, 1)
        require_range("mutation_strength", self.mutation_strength, 0, 1, open_low=True)
        require_choice("growth", self.growth, GROWTH_KINDS)
        for cycle in self.growth_schedule:
            require_range("growth_schedule", cycle, 2, self.total_cycles)
        require_range("growth_factor", self.growth_factor, 1, 4, open_low=True)
        require_choice("mutation_kind", self.mutation_kind, MUTATION_KINDS)
        require_range("reject_z", self.reject_z, 0)
        require_range("arch_lr", self.arch_lr, 0, open_low=True)
        require_range("arch_weight_decay", self.arch_weight_decay, 0)
        require_range("early_stopping_patience", self.early_stopping_patience, 0)
        require_range("performance_threshold", self.performance_threshold, 0, 0.9999)
        if self.target_accuracy is not None:
            require_range("target_accuracy", self.target_accuracy, 0, 1, open_low=True)

    @property
    def planned_epochs(self) -> int:
        """Epochs of the whole plan: warm-up and all cycles; a mutation takes none."""
        return self.warmup_epochs + self.total_cycles * (self.arch_training_epochs + self.weight_training_epochs)
