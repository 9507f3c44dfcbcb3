"""Search strategies that see nothing but a table: what they find after so many evaluations, for many seeds at once.

A cell is a number: the digits of its primitives in the base of their count, the first edge first. Each strategy asks
for validation accuracies and is judged by the cell with the best one so far, never by what it would say itself.
S seeds, N cells, E edges, K primitives, Q evaluations, P members of a population, T of a tournament.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lab.space import Genotype, Space

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Validation accuracies of all cells of a space, by number."""

    space: Space
    validation_N: Floats
    """Accuracy that a strategy sees, percent."""

    @property
    def shape(self) -> tuple[int, int]:
        """(E, K)."""
        return len(self.space.edges), len(self.space.primitives)

    @property
    def powers(self) -> Ints:
        """What one step of each edge's digit adds to a cell's number (E,)."""
        edges, kinds = self.shape
        return kinds ** np.arange(edges - 1, -1, -1, dtype=np.int64)

    def number(self, genotype: Genotype) -> int:
        """The number of a cell of this space."""
        return int(np.array(genotype.indices) @ self.powers)

    def measure(self, genotype: Genotype) -> float:
        """The accuracy that a strategy sees, percent."""
        return float(self.validation_N[self.number(genotype)])


Strategy = Callable[[Landscape, int, int, np.random.Generator], Ints]
"""(landscape, seeds S, evaluations Q, generator) -> numbers of the evaluated cells (S, Q), in order."""


def random_search(landscape: Landscape, seeds: int, evaluations: int, rng: np.random.Generator) -> Ints:
    """Uniform draws, with repetition."""
    return rng.integers(landscape.validation_N.size, size=(seeds, evaluations))


def regularised_evolution(
    landscape: Landscape,
    seeds: int,
    evaluations: int,
    rng: np.random.Generator,
    *,
    population: int = 10,
    tournament: int = 3,
) -> Ints:
    """The best of a tournament has a child with one other primitive; the oldest member dies.

    Source: Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search", algorithm 1; population
    and tournament as in NAS-Bench-201's own runs.
    """
    edges, kinds = landscape.shape
    asked_SQ = np.empty((seeds, evaluations), dtype=np.int64)
    start = min(population, evaluations)
    asked_SQ[:, :start] = random_search(landscape, seeds, start, rng)
    rows_S1 = np.arange(seeds)[:, None]
    for query in range(start, evaluations):
        members_SP = asked_SQ[:, query - population : query]
        # Members are drawn without repetition: the first T of a random order.
        chosen_ST = rng.random((seeds, population)).argsort(axis=1)[:, :tournament]
        fitness_ST = landscape.validation_N[members_SP[rows_S1, chosen_ST]]
        parents_S = members_SP[rows_S1[:, 0], chosen_ST[rows_S1[:, 0], fitness_ST.argmax(axis=1)]]
        powers_S = landscape.powers[rng.integers(edges, size=seeds)]
        digits_S = parents_S // powers_S % kinds
        others_S = (digits_S + rng.integers(1, kinds, size=seeds)) % kinds
        asked_SQ[:, query] = parents_S + (others_S - digits_S) * powers_S
    return asked_SQ


def reinforce(
    landscape: Landscape,
    seeds: int,
    evaluations: int,
    rng: np.random.Generator,
    *,
    rate: float = 0.01,
    decay: float = 0.9,
) -> Ints:
    """One softmax for each edge, moved by Adam along (reward - moving average) * grad log p of each drawn cell.

    Source: Williams 1992; the settings are those of NATS-Bench's runs (rate 0.01, average 0.9, best visited cell).
    """
    edges, kinds = landscape.shape
    logits_SEK = 1e-3 * rng.standard_normal((seeds, edges, kinds))
    first_SEK, second_SEK = np.zeros_like(logits_SEK), np.zeros_like(logits_SEK)
    average_S = np.zeros(seeds)
    asked_SQ = np.empty((seeds, evaluations), dtype=np.int64)
    for query in range(evaluations):
        # The largest logit is taken off so that exp cannot overflow.
        raised_SEK = np.exp(logits_SEK - logits_SEK.max(axis=-1, keepdims=True))
        chance_SEK = raised_SEK / raised_SEK.sum(axis=-1, keepdims=True)
        noise_SEK = rng.gumbel(size=logits_SEK.shape)
        # The argmax under Gumbel noise is a draw of the softmax, of all seeds and edges at once.
        digits_SE = (logits_SEK + noise_SEK).argmax(axis=-1)
        asked_SQ[:, query] = digits_SE @ landscape.powers
        reward_S = landscape.validation_N[asked_SQ[:, query]]
        average_S = decay * average_S + (1 - decay) * reward_S
        # Signs are turned: Adam below goes down.
        gradient_SEK = (np.eye(kinds)[digits_SE] - chance_SEK) * (average_S - reward_S)[:, None, None]
        first_SEK = 0.9 * first_SEK + 0.1 * gradient_SEK
        second_SEK = 0.999 * second_SEK + 0.001 * gradient_SEK**2
        step = query + 1
        corrected_SEK = np.sqrt(second_SEK / (1 - 0.999**step)) + 1e-8
        logits_SEK = logits_SEK - rate * first_SEK / (1 - 0.9**step) / corrected_SEK
    return asked_SQ


def local_search(landscape: Landscape, seeds: int, evaluations: int, rng: np.random.Generator) -> Ints:
    """From a random cell to its best neighbour while that is better; then from another random cell.

    Source: White, Nolen, Savani 2021, "Exploring the Loss Landscape in Neural Architecture Search", algorithm 1. A cell
    is asked for once; what is known already costs nothing.
    """
    return np.stack([_climb(landscape, evaluations, rng) for _ in range(seeds)])


def _climb(landscape: Landscape, evaluations: int, rng: np.random.Generator) -> Ints:
    kinds = len(landscape.space.primitives)
    total = landscape.validation_N.size
    asked: dict[int, None] = {}
    while len(asked) < min(evaluations, total):
        best = int(rng.integers(total))
        asked.setdefault(best)
        while True:
            steps = [
                best + (other - best // power % kinds) * power
                for power in landscape.powers.tolist()
                for other in range(kinds)
                if other != best // power % kinds
            ]
            rng.shuffle(steps)
            for cell in steps:
                asked.setdefault(cell)
            top = max(steps, key=lambda cell: landscape.validation_N[cell])
            if landscape.validation_N[top] <= landscape.validation_N[best] or len(asked) >= evaluations:
                break
            best = top
    order = np.fromiter(asked, dtype=np.int64)[:evaluations]
    return np.pad(order, (0, evaluations - len(order)), mode="edge")


def greedy_growth(landscape: Landscape, seeds: int, evaluations: int, rng: np.random.Generator) -> Ints:
    """From the first cell (all digits 0): place after place, in random order, takes the best choice if it is better.

    After a round over all places without gain it grows from the first cell again, in another order; after a growth
    that asked for nothing new, from a random cell. What is known already costs nothing.
    """
    return np.stack([_grow(landscape, evaluations, rng) for _ in range(seeds)])


def _grow(landscape: Landscape, evaluations: int, rng: np.random.Generator) -> Ints:
    kinds, total = len(landscape.space.primitives), landscape.validation_N.size
    asked: dict[int, None] = {0: None}
    start = 0
    while len(asked) < min(evaluations, total):
        best, before = start, len(asked)
        asked.setdefault(best)
        gained = True
        while gained and len(asked) < evaluations:
            gained = False
            for power in rng.permutation(landscape.powers).tolist():
                digit = best // power % kinds
                steps = [best + (other - digit) * power for other in range(kinds) if other != digit]
                asked.update(dict.fromkeys(steps))
                top = max(steps, key=lambda cell: landscape.validation_N[cell])
                if landscape.validation_N[top] > landscape.validation_N[best]:
                    best, gained = top, True
        start = 0 if len(asked) > before else int(rng.integers(total))
    order = np.fromiter(asked, dtype=np.int64)[:evaluations]
    return np.pad(order, (0, evaluations - len(order)), mode="edge")


def copied_prior(
    landscape: Landscape,
    seeds: int,
    evaluations: int,
    rng: np.random.Generator,
    *,
    prior_N: Floats,
    share: float = 0.01,
) -> Ints:
    """Each place is drawn by how often each choice stands there in the best `share` of the cells by `prior_N`.

    `prior_N` comes from elsewhere, such as another data set; each choice counts once more than it was seen. No cell is
    asked for twice: a repeated draw gives way to the next.
    """
    edges, kinds = landscape.shape
    count = max(1, round(share * landscape.validation_N.size))
    best_C = np.argsort(-prior_N, kind="stable")[:count]
    digits_CE = best_C[:, None] // landscape.powers % kinds
    seen_EK = np.stack([np.bincount(digits_CE[:, edge], minlength=kinds) for edge in range(edges)])
    bounds_EK = np.cumsum((seen_EK + 1) / (count + kinds), axis=1)
    rows = []
    for _ in range(seeds):
        asked: dict[int, None] = {}
        while len(asked) < min(evaluations, landscape.validation_N.size):
            drawn_DE = (rng.random((evaluations, edges, 1)) > bounds_EK[:, :-1]).sum(-1)
            asked.update(dict.fromkeys((drawn_DE @ landscape.powers).tolist()))
        order = np.fromiter(asked, dtype=np.int64)[:evaluations]
        rows.append(np.pad(order, (0, evaluations - len(order)), mode="edge"))
    return np.stack(rows)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "random": random_search,
        "regularised_evolution": regularised_evolution,
        "reinforce": reinforce,
        "local_search": local_search,
    }
)
"""Every strategy by name that needs no more than a landscape."""


def best_so_far(landscape: Landscape, asked_SQ: Ints) -> Ints:
    """The cell with the best validation accuracy among the first q evaluations, for each q: (S, Q)."""
    values_SQ = landscape.validation_N[asked_SQ]
    running_SQ = np.maximum.accumulate(values_SQ, axis=1)
    fresh_SQ = np.concatenate([np.ones((len(asked_SQ), 1), bool), running_SQ[:, 1:] > running_SQ[:, :-1]], axis=1)
    latest_SQ = np.maximum.accumulate(np.where(fresh_SQ, np.arange(asked_SQ.shape[1]), 0), axis=1)
    return np.take_along_axis(asked_SQ, latest_SQ, axis=1)


def canonical(space: Space, digits: tuple[int, ...]) -> str:
    """The same text for cells that are the same network: what the order of nodes and absent edges hide is removed.

    A node is the sorted sum of its inputs; a skip hands its source's sum on, an absent edge and an edge from a node
    without inputs vanish.
    """
    sums: dict[int, list[str]] = {0: ["x"]}
    for target in range(1, space.nodes):
        terms: list[str] = []
        for edge, digit in zip(space.edges, digits, strict=True):
            source = sums.get(edge.source, []) if edge.target == target else []
            if space.primitives[digit] == "skip_connect":
                terms += source
            elif source and space.primitives[digit] != "none":
                terms.append(f"{digit}({'+'.join(source)})")
        sums[target] = sorted(terms)
    return "+".join(sums[space.nodes - 1])


def noise_floor(space: Space, accuracy_N: Floats) -> float:
    """Standard deviation in percent points between cells of the upper half that are the same network, pooled.

    Such copies were trained from different initial weights and nothing else sets them apart: smaller differences
    between two cells say nothing.
    """
    edges, kinds = len(space.edges), len(space.primitives)
    groups: dict[str, list[float]] = {}
    median = np.median(accuracy_N)
    for number, accuracy in enumerate(accuracy_N.tolist()):
        if accuracy >= median:
            digits = tuple(number // kinds**power % kinds for power in range(edges - 1, -1, -1))
            groups.setdefault(canonical(space, digits), []).append(accuracy)
    copies = [np.array(group) for group in groups.values() if len(group) > 1]
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in copies)
    freedom = sum(len(group) - 1 for group in copies)
    return float(np.sqrt(squares / freedom)) if freedom else 0.0
