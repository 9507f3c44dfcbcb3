"""The search as an event: live cell, most probable cell, probabilities, collapse meter."""

from lab.explore import GumbelExplorer, measure_collapse
from lab.space import Genotype, Table
from lab.store import GenotypeEvent


def describe_search(explorer: GumbelExplorer, live: Genotype, table: Table | None, reason: str) -> GenotypeEvent:
    """What the search believes now; `reason` says why it is told."""
    space = explorer.space
    probabilities_EK = explorer.probabilities()
    collapse = measure_collapse(space, probabilities_EK, table, explorer.likeliest)
    draws = explorer.draws
    return GenotypeEvent(
        genotype=live.to_json(),
        likeliest=explorer.likeliest.to_json(),
        edges=[list(edge) for edge in space.edges],
        primitives=list(space.primitives),
        probabilities=[[round(p, 6) for p in row] for row in probabilities_EK.tolist()],
        entropy=list(collapse.entropy),
        skip_share=collapse.skip_share,
        dominance=collapse.dominance,
        rank=collapse.rank,
        diversity=draws.diversity,
        distance=draws.distance,
        strength=draws.strength,
        reason=reason,
    )
