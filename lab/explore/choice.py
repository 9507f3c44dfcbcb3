"""The genotype that scores say is best: the one rule behind the argmax of a distribution and other ways to choose."""

import math

from torch import Tensor

from lab.space import Genotype, Space

NONE = "none"


def best_genotype(space: Space, scores_EK: Tensor) -> Genotype:
    """The primitive with the largest score on each edge; of a node's edges the `space.taken` with the largest ones.

    Primitives that no genotype of the space has are left out. Ties go to the first.

    Args:
        space: gives edges and primitives.
        scores_EK: one row for each edge, one column for each primitive; minus infinity bars a primitive.

    Source: Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", section 2.4, for nodes that take two.
    """
    left_out = [k for k, name in enumerate(space.primitives) if name in space.excluded]
    scores_EK = scores_EK.clone()
    scores_EK[:, left_out] = -math.inf
    best, chosen = (values_E.tolist() for values_E in scores_EK.max(dim=-1))
    if space.taken is None:
        return Genotype.from_indices(space, chosen)
    indices = [-1] * len(space.edges)
    for rows in space.groups:
        # The sort is stable: of equal edges the first is taken.
        for row in sorted(rows, key=lambda row: -best[row])[: space.taken]:
            indices[row] = chosen[row]
    return Genotype.from_indices(space, indices)
