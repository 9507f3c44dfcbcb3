"""Ways through a space: sampling, neighbours, mutation. All randomness comes from the caller's generator."""

from collections.abc import Sequence
from random import Random

from lab.base import require, require_choice, require_range
from lab.space.genotype import Genotype
from lab.space.space import ABSENT, Space

MUTATION_KINDS = ("random", "guided", "conservative")


def sample(space: Space, rng: Random) -> Genotype:
    """A uniform draw of one genotype.

    Args:
        space: to draw from.
        rng: the only source of chance; it moves on.
    """
    if space.taken is None:
        return Genotype(space, tuple(rng.choice(space.primitives) for _ in space.edges))
    taken = {row for rows in space.groups for row in rng.sample(rows, space.taken)}
    return Genotype(
        space, tuple(rng.choice(space.choosable) if row in taken else ABSENT for row in range(len(space.edges)))
    )


def neighbours(genotype: Genotype) -> tuple[Genotype, ...]:
    """Every genotype that differs in exactly one edge that is taken: in its primitive, or in its source.

    24 in NB201; 344 in DARTS, where a taken edge can have 8 other primitives, or each edge of its node that is not
    taken can take its place with 9.

    Args:
        genotype: of any space; it is not among its neighbours.

    Returns:
        Each once, by edge in the order of the space.
    """
    found = []
    for row in genotype.rows:
        for other, column in _options(genotype, row, set()):
            found.append(_changed(genotype, {row: (other, column)}))
    return tuple(found)


def mutate(
    genotype: Genotype,
    strength: float,
    kind: str,
    rng: Random,
    probabilities: Sequence[Sequence[float]] | None = None,
) -> Genotype:
    """The genotype after changing max(1, round(strength * taken edges)) of its edges.

    Each change gives an edge another primitive. Where a node takes only some of its edges, a change may instead let an
    edge from another source take the place: `neighbours` lists what one change can be, and all are equally likely.

    Args:
        genotype: is not changed.
        strength: share of the taken edges to change, in (0, 1].
        kind: `random` (uniform edges and changes), `guided` (an edge by 1 - p(its primitive), what takes its place by
            p), `conservative` (random at half the strength).
        rng: the only source of chance; it moves on.
        probabilities: for `guided`: one row for each edge, one column for each primitive.

    Raises:
        ConfigError: an unknown kind, a strength outside its range, `guided` without probabilities.
    """
    require_choice("mutation kind", kind, MUTATION_KINDS)
    require_range("mutation strength", strength, 0.0, 1.0, open_low=True)
    space = genotype.space
    if kind == "conservative":
        strength = strength / 2
    count = max(1, round(strength * len(genotype.rows)))
    if kind != "guided":
        rows = rng.sample(genotype.rows, count)
        weights = [[1.0] * len(space.primitives)] * len(space.edges)
    else:
        shape_ok = probabilities is not None and len(probabilities) == len(space.edges)
        require(
            shape_ok,
            expected=f"probabilities with {len(space.edges)} rows for a guided mutation",
            got="none" if probabilities is None else f"{len(probabilities)} rows",
            hint="give softmax(alpha / temperature)",
        )
        assert probabilities is not None
        weights = [list(row) for row in probabilities]
        indices = genotype.indices
        doubts = [1.0 - weights[row][indices[row]] for row in genotype.rows]
        rows = [genotype.rows[place] for place in _draw_without_replacement(doubts, count, rng)]
    changes: dict[int, tuple[int, int]] = {}
    for row in rows:
        options = _options(genotype, row, {other for other, _ in changes.values()})
        # `choices` refuses weights that are all 0, as where a distribution has become certain.
        changes[row] = rng.choices(options, weights=[weights[other][k] + 1e-9 for other, k in options])[0]
    return _changed(genotype, changes)


def _options(genotype: Genotype, row: int, occupied: set[int]) -> list[tuple[int, int]]:
    """(row, column) of what can stand in the place of the taken edge `row`; `occupied` rows are no longer free."""
    space = genotype.space
    columns = [k for k, primitive in enumerate(space.primitives) if primitive in space.choosable]
    group = next(rows for rows in space.groups if row in rows)
    free = [other for other in group if genotype.primitives[other] == ABSENT and other not in occupied]
    own = [(row, k) for k in columns if space.primitives[k] != genotype.primitives[row]]
    return own + [(other, k) for other in free for k in columns]


def _changed(genotype: Genotype, changes: dict[int, tuple[int, int]]) -> Genotype:
    """The genotype in which `changes[row]`, a row and a column, stands in the place of each edge `row`."""
    changed = list(genotype.primitives)
    # First all places empty, then filled: one change may take the place that another leaves.
    for row in changes:
        changed[row] = ABSENT
    for row, column in changes.values():
        changed[row] = genotype.space.primitives[column]
    return Genotype(genotype.space, tuple(changed))


def _draw_without_replacement(weights: Sequence[float], count: int, rng: Random) -> list[int]:
    left = list(range(len(weights)))
    drawn = []
    for _ in range(count):
        pick = rng.choices(left, weights=[max(weights[i], 0.0) + 1e-9 for i in left])[0]
        left.remove(pick)
        drawn.append(pick)
    return drawn
