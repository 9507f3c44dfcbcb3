"""The search as an event: live cell, most probable cell, probabilities, collapse meter."""

from lab.explore import GumbelExplorer, measure_collapse
from lab.space import Genotype, Table
from lab.store import GenotypeEvent


def describe_edits(old: Genotype, new: Genotype) -> str:
    """What makes `new` of `old`, an edge each: `cell 0->1: skip_connect -> nor_conv_3x3`."""
    edits = old.diff(new)
    return "; ".join(f"{e.edge.cell} {e.edge.source}->{e.edge.target}: {e.old} -> {e.new}" for e in edits)


def describe_search(explorer: GumbelExplorer, live: Genotype, table: Table | None, reason: str) -> GenotypeEvent:
    """What the search believes now; `reason` says why it is told."""
    space = explorer.space
    probabilities_EK = explorer.probabilities()
    collapse = measure_collapse(space, probabilities_EK, table, explorer.argmax_genotype)
    stats = explorer.sample_stats
    return GenotypeEvent(
        genotype=live.to_json(),
        argmax_genotype=explorer.argmax_genotype.to_json(),
        edges=[list(edge) for edge in space.edges],
        primitives=list(space.primitives),
        probabilities=[[round(p, 6) for p in row] for row in probabilities_EK.tolist()],
        entropy=list(collapse.entropy),
        drawable=[[space.primitives.index(name) for name in explorer.left(row)] for row in range(len(space.edges))],
        skip_share=collapse.skip_share,
        dominance=collapse.dominance,
        rank=collapse.rank,
        diversity=stats.diversity,
        distance=stats.distance,
        strength=stats.strength,
        reason=reason,
    )
