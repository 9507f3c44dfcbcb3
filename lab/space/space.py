"""What a search space is: cell types, edges between nodes, and the primitives that an edge can have.

An edge runs from `source` to `target` with `source < target`; the lowest nodes are the cell's inputs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

ABSENT = "absent"
"""Stands on an edge that a genotype does not take, in spaces where a node takes only some of its edges."""


class Edge(NamedTuple):
    """The place of one primitive: in every cell of type `cell`, from node `source` to node `target`."""

    cell: str
    """Cell type."""
    target: int
    """Node that the edge leads to."""
    source: int
    """Node that it comes from, below `target`."""

    def __str__(self) -> str:
        return f"{self.cell} {self.target}<-{self.source}"


@dataclass(frozen=True, kw_only=True)
class Space:
    """The cells that can be built: one primitive on each edge that a node takes."""

    name: str
    """By which `ALL_SPACES` and stored genotypes know it."""
    primitives: tuple[str, ...]
    """What an edge of the supernet can run: the columns of every table of this space."""
    edges: tuple[Edge, ...]
    """The rows of every table of this space."""
    nodes: int
    """Nodes of a cell, the inputs included."""
    outputs: tuple[int, ...]
    """Nodes that the cell's output joins."""
    taken: int | None = None
    """Edges that each node takes of those that lead to it; None for all."""
    excluded: tuple[str, ...] = ()
    """Primitives of the supernet that no genotype has."""

    @property
    def choosable(self) -> tuple[str, ...]:
        """Primitives that a genotype can have."""
        return tuple(primitive for primitive in self.primitives if primitive not in self.excluded)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The rows of the edges that lead to the same node, for each node of each cell type."""
        found: dict[tuple[str, int], list[int]] = {}
        for row, edge in enumerate(self.edges):
            found.setdefault((edge.cell, edge.target), []).append(row)
        return tuple(tuple(rows) for rows in found.values())

    @property
    def size(self) -> int:
        """Number of genotypes."""
        counts = [len(rows) if self.taken is None else self.taken for rows in self.groups]
        subsets = (math.comb(len(rows), count) for rows, count in zip(self.groups, counts, strict=True))
        return int(math.prod(subsets) * len(self.choosable) ** sum(counts))

    def edge_index(self, edge: Edge) -> int:
        """Row of `edge` in every table of this space; `ValueError` where it is none of this space."""
        return self.edges.index(edge)


NB201 = Space(
    name="nb201",
    primitives=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    edges=tuple(Edge("cell", target, source) for target in range(1, 4) for source in range(target)),
    nodes=4,
    outputs=(3,),
)
"""The cell of NAS-Bench-201 (Dong and Yang 2020, section 2.1): 4 nodes, 6 edges, 15,625 cells."""

NB125 = Space(
    name="nb125",
    primitives=NB201.primitives,
    edges=tuple(Edge("cell", target, source) for target in range(1, 3) for source in range(target)),
    nodes=3,
    outputs=(2,),
)
"""NAS-Bench-201's primitives on 3 nodes: 3 edges, 125 cells, few enough to train every one of them."""

DARTS = Space(
    name="darts",
    primitives=(
        "none",
        "avg_pool_3x3",
        "max_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "dil_conv_3x3",
        "dil_conv_5x5",
        "conv_7x1_1x7",
    ),
    edges=tuple(
        Edge(cell, target, source)
        for cell in ("normal", "reduce")
        for target in range(2, 6)
        for source in range(target)
    ),
    nodes=6,
    outputs=(2, 3, 4, 5),
    taken=2,
    excluded=("none",),
)
"""Normal and reduction cell of DARTS (Liu, Simonyan, Yang 2019, section 2.1 and appendix A) with ten primitives.

Nodes 0 and 1 are the outputs of the last but one and of the last cell; each of nodes 2 to 5 takes two of the edges
that lead to it, 14 in a cell; the cell's output is nodes 2 to 5 joined along the channels.
"""

MACRO = Space(
    name="macro",
    primitives=("identity", "mb3_k3", "mb6_k5"),
    edges=tuple(Edge("network", place + 1, place) for place in range(8)),
    nodes=9,
    outputs=(8,),
)
"""The networks of NAS-Bench-Macro: a chain of 8 positions, 6,561 networks.

Each position is the identity or an inverted bottleneck (expansion 3 and kernel 3, or expansion 6 and kernel 5). It
holds the network without any block, from which a network can grow. No supernet is built of it: it is known by its
table alone. Source: Su et al. 2021, "Prioritized Architecture Sampling with Monto-Carlo Tree Search".
"""

SIZES = Space(
    name="sizes",
    primitives=tuple(f"{width}x{depth}" for width in (8, 16, 32, 64, 128) for depth in (1, 2, 3)),
    edges=tuple(Edge("network", stage + 1, stage) for stage in range(3)),
    nodes=4,
    outputs=(3,),
)
"""Width and depth of the small convolutional network: a chain of 3 stages, 3,375 networks.

`32x2` is a stage of two convolutions with 32 channels each; `32x1`, `64x1`, `128x1` is `lab.nn.small_cnn()` itself.
"""

SPACES: Mapping[str, Space] = MappingProxyType({space.name: space for space in (NB201, NB125, DARTS)})
"""Every space of cells by name: what a supernet can be built of."""
ALL_SPACES: Mapping[str, Space] = MappingProxyType({**SPACES, MACRO.name: MACRO, SIZES.name: SIZES})
"""Every space by name, with those that no supernet is built of."""
