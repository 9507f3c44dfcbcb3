"""The collapse meter: how far a search has narrowed down, and whether onto skip connections.

Source of the symptom: Zela et al. 2020, "Understanding and Robustifying Differentiable Architecture Search",
section 3 (skip connections take over).
"""

from dataclasses import dataclass, field

from torch import Tensor

from lab.explore.choice import best_genotype
from lab.space import Genotype, Space, Table

SKIP = "skip_connect"


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """What the architecture distribution looks like at one moment."""

    entropy: tuple[float, ...]
    """Entropy of each edge's distribution, nats, in [0, ln K]."""
    skip_share: float
    """Share of the most probable genotype's edges that are a skip connection, in [0, 1]."""
    dominance: float
    """Mean over the edges of the largest probability less the second largest, in [0, 1]."""
    rank: dict[str, int] = field(default_factory=dict)
    """True rank of the most probable genotype for each column of the table, 1 the best; empty without a table."""


def measure_collapse(
    space: Space, probabilities_EK: Tensor, table: Table | None = None, argmax_genotype: Genotype | None = None
) -> Collapse:
    """The collapse meter for `probabilities_EK` (E, K), whose rows sum to 1.

    Args:
        space: gives edges and primitives.
        probabilities_EK: one row for each edge, one column for each primitive.
        table: known accuracies of the space, for the true ranks.
        argmax_genotype: the most probable genotype; by default that of the probabilities. Where a node takes some of
            its edges the two differ with the temperature: edges compete by softmax(alpha).
    """
    probabilities_EK = probabilities_EK.detach().double().cpu()
    # 0 log 0 counts as 0, not as NaN.
    entropy_E = -(probabilities_EK * probabilities_EK.clamp_min(1e-300).log()).sum(-1)
    top_E2 = probabilities_EK.topk(2, dim=-1).values
    argmax_genotype = argmax_genotype or best_genotype(space, probabilities_EK)
    skips = sum(argmax_genotype.primitives[row] == SKIP for row in argmax_genotype.rows)
    return Collapse(
        entropy=tuple(entropy_E.tolist()),
        skip_share=skips / len(argmax_genotype.rows),
        dominance=float((top_E2[:, 0] - top_E2[:, 1]).mean()),
        rank={column: table.rank(argmax_genotype, column) for column in table.columns} if table is not None else {},
    )
