"""What a search can be set to; without torch, for help pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lab.base import require, require_choice, require_range
from lab.datasets import DataConfig
from lab.space import ALL_SPACES, SIZES, SPACES, Space

SEARCH_SPACES: Mapping[str, Space] = MappingProxyType({**SPACES, SIZES.name: ALL_SPACES[SIZES.name]})
"""Every space that can be searched, by name."""
SEARCH_SCORES = ("naswot", "log_synflow", "skip_length")
"""The published sum of scores."""
OTHER_SCORES = ("parameters", "flops")


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """A search: where, on which data, for how long.

    The budget becomes numbers of evaluations and trainings once, after the first population was scored and ten steps
    were timed; from then on nothing reads the clock.
    """

    space: str = "nb201"
    """nb201, nb125, darts or sizes (width and depth of the small convolutional network)."""
    data: DataConfig = field(default_factory=DataConfig)
    """The data set; the test part is never read."""
    budget: float = 60.0
    """CPU seconds of this process, > 0."""
    seed: int = 0
    """Of all draws, weights and batches, >= 0."""
    channels: int = 8
    """Channels of the first stage, >= 1; not used by sizes."""
    layers: int = 3
    """Cells, >= 1; not used by sizes."""
    batch_size: int = 32
    """Samples in the batch that is scored and in a training batch, >= 2."""
    scores: tuple[str, ...] = SEARCH_SCORES
    """Scores whose sum makes the prior: naswot, log_synflow, skip_length, parameters, flops."""
    evaluations: int = 250
    """Cells that are scored at most, >= 1."""
    prior: bool = True
    """Score cells without training. Without: evidence alone, on cells drawn uniformly."""
    evidence: bool = True
    """Train a shortlist for a short while where the budget allows it."""
    weight_lr: float = 0.1
    """Highest learning rate of a short training, > 0."""
    max_flops: float | None = None
    """Largest FLOPs of one forward for one sample, > 0; default: none, for sizes those of small_cnn."""

    def __post_init__(self) -> None:
        require_choice("space", self.space, SEARCH_SPACES.keys())
        require_range("budget", self.budget, 0, open_low=True)
        require_range("seed", self.seed, 0)
        require_range("channels", self.channels, 1)
        require_range("layers", self.layers, 1)
        require_range("batch_size", self.batch_size, 2)
        require_range("evaluations", self.evaluations, 1)
        require_range("weight_lr", self.weight_lr, 0, open_low=True)
        if self.max_flops is not None:
            require_range("max_flops", self.max_flops, 0, open_low=True)
        require(bool(self.scores), expected="at least one score", got="none", hint="give --scores")
        for name in self.scores:
            require_choice("score", name, (*SEARCH_SCORES, *OTHER_SCORES))
        require(
            self.prior or self.evidence,
            expected="prior or evidence",
            got="neither",
            hint="leave one of the two on",
        )
