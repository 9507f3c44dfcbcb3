"""What a search space is: cell types, edges between nodes, and the primitives that an edge can have.

Node 0 is the cell's input; an edge runs from `source` to `target` with `source < target`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple


class Edge(NamedTuple):
    """The place of one primitive: in every cell of type `cell`, from node `source` to node `target`."""

    cell: str
    target: int
    source: int

    def __str__(self) -> str:
        return f"{self.cell} {self.target}<-{self.source}"


@dataclass(frozen=True, kw_only=True)
class Space:
    """The cells that can be built: one primitive on each edge."""

    name: str
    primitives: tuple[str, ...]
    edges: tuple[Edge, ...]
    nodes: int
    """Nodes of a cell, the input included."""

    @property
    def size(self) -> int:
        """Number of genotypes."""
        return int(len(self.primitives) ** len(self.edges))

    def edge_index(self, edge: Edge) -> int:
        """Row of `edge` in every table of this space; `ValueError` where it is none of this space."""
        return self.edges.index(edge)


NB201 = Space(
    name="nb201",
    primitives=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    edges=tuple(Edge("cell", target, source) for target in range(1, 4) for source in range(target)),
    nodes=4,
)
"""The cell of NAS-Bench-201 (Dong and Yang 2020, section 2.1): 4 nodes, 6 edges, 15,625 cells."""

NB125 = Space(
    name="nb125",
    primitives=NB201.primitives,
    edges=tuple(Edge("cell", target, source) for target in range(1, 3) for source in range(target)),
    nodes=3,
)
"""NAS-Bench-201's primitives on 3 nodes: 3 edges, 125 cells, few enough to train every one of them."""

SPACES: Mapping[str, Space] = MappingProxyType({NB201.name: NB201, NB125.name: NB125})
"""Every space by name."""
