"""`Sample`: which primitive each edge runs in one forward pass, and the weights that carry the gradient."""

from dataclasses import dataclass

from torch import Tensor

from lab.base import ConfigError
from lab.space import Genotype, Space


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One draw from the architecture distribution. E edges, K primitives.

    A hard sample has `choices` and runs one primitive on each edge, none at all where the choice is -1 (an edge that
    its node does not take), its output multiplied by `weights_E` where given (each 1 in value, so the gradient reaches
    the architecture parameters and the numbers stay as they are).
    A soft sample has `mixture_EK` and runs every primitive.
    Two remedies against searches that collapse onto skip connections change what an edge gives, in the supernet alone.
    """

    choices: tuple[int, ...] | None = None
    """Column of each edge's primitive in `space.primitives`; -1 where the edge is not taken."""
    weights_E: Tensor | None = None
    """Factor of each edge's output (E,), 1 in value; None for none."""
    mixture_EK: Tensor | None = None
    """Weight of each primitive on each edge (E, K), rows of sum 1."""
    skip_dropout: float = 0.0
    """Dropout on the output of the skip connection in train mode, in [0, 1) (Chen et al. 2019, P-DARTS)."""
    auxiliary_skip: float = 0.0
    """Share of a second skip connection that is added to each edge's output, >= 0 (Chu et al. 2021, DARTS-)."""

    def __post_init__(self) -> None:
        if (self.choices is None) == (self.mixture_EK is None):
            raise ConfigError("either choices or a mixture", "both or neither", "make a hard or a soft sample")

    @property
    def hard(self) -> bool:
        """Whether one primitive runs on each edge."""
        return self.choices is not None

    def runs(self, edge_id: int) -> bool:
        """Whether edge `edge_id` runs at all."""
        return self.choices is None or self.choices[edge_id] >= 0

    @classmethod
    def of(cls, genotype: Genotype) -> "Sample":
        """The hard sample of `genotype`, without weights."""
        return cls(choices=genotype.indices)

    def genotype(self, space: Space) -> Genotype:
        """The genotype of a hard sample.

        Raises:
            ConfigError: the sample is soft.
        """
        if self.choices is None:
            raise ConfigError("a hard sample", "a soft one", "ask for hard=True")
        return Genotype.from_indices(space, self.choices)
