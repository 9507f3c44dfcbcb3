"""Ways through a space: sampling, neighbours, mutation. All randomness comes from the caller's generator."""

from collections.abc import Sequence
from random import Random

from lab.base import require, require_choice, require_range
from lab.space.genotype import Genotype
from lab.space.space import Space

MUTATION_KINDS = ("random", "guided", "conservative")


def sample(space: Space, rng: Random) -> Genotype:
    """A uniform draw of one genotype."""
    return Genotype(space, tuple(rng.choice(space.primitives) for _ in space.edges))


def neighbours(genotype: Genotype) -> tuple[Genotype, ...]:
    """Every genotype that differs on exactly one edge (24 in NB201)."""
    found = []
    for edge, current in zip(genotype.space.edges, genotype.primitives, strict=True):
        found += [genotype.replace(edge, other) for other in genotype.space.primitives if other != current]
    return tuple(found)


def mutate(
    genotype: Genotype,
    strength: float,
    kind: str,
    rng: Random,
    probabilities: Sequence[Sequence[float]] | None = None,
) -> Genotype:
    """The genotype after max(1, round(strength * edges)) edits, each to a different primitive.

    Args:
        strength: share of the edges to change, in (0, 1].
        kind: `random` (uniform edges and primitives), `guided` (an edge by 1 - p(its primitive), the new primitive
            by p), `conservative` (random at half the strength).
        probabilities: for `guided`: one row for each edge, one column for each primitive.

    Raises:
        ConfigError: an unknown kind, a strength outside its range, `guided` without probabilities.
    """
    require_choice("mutation kind", kind, MUTATION_KINDS)
    require_range("mutation strength", strength, 0.0, 1.0, open_low=True)
    space = genotype.space
    if kind == "conservative":
        strength = strength / 2
    count = max(1, round(strength * len(space.edges)))
    if kind != "guided":
        rows = rng.sample(range(len(space.edges)), count)
        weights = [[1.0] * len(space.primitives)] * len(space.edges)
    else:
        shape_ok = probabilities is not None and len(probabilities) == len(space.edges)
        require(
            shape_ok,
            expected=f"probabilities with {len(space.edges)} rows for a guided mutation",
            came="none" if probabilities is None else f"{len(probabilities)} rows",
            todo="give softmax(alpha / temperature)",
        )
        assert probabilities is not None
        weights = [list(row) for row in probabilities]
        rows = _draw_without_replacement([1.0 - weights[i][k] for i, k in enumerate(genotype.indices)], count, rng)
    changed = list(genotype.primitives)
    for row in rows:
        others = [k for k in range(len(space.primitives)) if space.primitives[k] != genotype.primitives[row]]
        changed[row] = space.primitives[rng.choices(others, weights=[weights[row][k] + 1e-9 for k in others])[0]]
    return Genotype(space, tuple(changed))


def _draw_without_replacement(weights: Sequence[float], count: int, rng: Random) -> list[int]:
    left = list(range(len(weights)))
    drawn = []
    for _ in range(count):
        pick = rng.choices(left, weights=[max(weights[i], 0.0) + 1e-9 for i in left])[0]
        left.remove(pick)
        drawn.append(pick)
    return drawn
