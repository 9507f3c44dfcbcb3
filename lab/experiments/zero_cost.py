"""Local search on a score of the untrained network: what the evolution of `lab.search` is held against."""

from random import Random

from lab.base import derive_seed
from lab.experiments.one_shot import Found
from lab.experiments.proxy import Proxy
from lab.explore import Score
from lab.results.record import Clock
from lab.space import Genotype, neighbours, sample
from lab.train import Split

CLIMBS = 3
"""Local searches from random cells; the best end counts."""


def local_search(score: Score, proxy: Proxy, clock: Clock) -> Found:
    """From random cells to the neighbour with the best score while there is a better one; the best end of all."""
    x_BCHW = next(proxy.data.batches(Split.TRAIN, 0))[0]
    known: dict[Genotype, float] = {}

    def value(genotype: Genotype) -> float:
        if genotype not in known:
            known[genotype] = score(proxy.network(genotype, *genotype.indices), x_BCHW)
        return known[genotype]

    rng = Random(derive_seed(proxy.seed, "local search"))
    for _ in range(CLIMBS):
        here = sample(proxy.space, rng)
        value(here)
        while not clock.over:
            steps = list(neighbours(here))
            rng.shuffle(steps)
            best = here
            for step in steps:
                if clock.over:
                    break
                best = max(best, step, key=value)
            if best == here:
                break
            here = best
    found = max(known, key=known.__getitem__)
    return Found(genotype=found, evaluations=len(known), details={"score": known[found]})
