"""What the networks of every space share: the cell as a graph of edges, and the backbone that stacks cells.

Shapes: B batch, C channels, H height, W width, N classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from lab.base import require_range
from lab.nn.primitives import Zero
from lab.nn.sample import Sample
from lab.space import Edge, Space

MakeEdge = Callable[[Edge, int, int], nn.Module]
"""`make_edge(edge, channels, stride)` builds the module of one edge."""


class Cell(nn.Module, ABC):
    """node_t = sum over the edges (t <- s) of edge(node_s); an edge that is not taken is not run.

    A cell that was added to a trained network is handed over: `beta` is then a buffer, and the output is
    (1 - beta) * x + beta * cell(x), exactly x at beta 0.

    Args:
        space: gives nodes and edges.
        kind: cell type, as the space's edges name it.
        edges: one module for each edge of that type; called as `edge(x)`, or `edge(x, sample, row)` under a sample.
        strides: of the edges.
    """

    beta: Tensor | None

    def __init__(self, space: Space, kind: str, edges: list[nn.Module], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.kind = kind
        self.edge_ids = tuple(edge_id for edge_id, edge in enumerate(space.edges) if edge.cell == kind)
        self.strides = strides
        self.edges = nn.ModuleList(edges)
        self.nodes = space.nodes
        self.endpoints = tuple((space.edges[edge_id].target, space.edges[edge_id].source) for edge_id in self.edge_ids)
        # A buffer of None is in no state dict: only a cell that was added has a beta.
        self.register_buffer("beta", None)

    def run_edges(self, inputs: list[Tensor], sample: Sample | None) -> list[Tensor]:
        """Every node, the `inputs` first."""
        states: list[Tensor | None] = [*inputs, *[None] * (self.nodes - len(inputs))]
        # A Zero adds nothing to what other edges give, and gets no gradient from it.
        fed = {
            target for edge, (target, _) in zip(self.edges, self.endpoints, strict=True) if not isinstance(edge, Zero)
        }
        for slot, (target, source) in enumerate(self.endpoints):
            edge, edge_id = self.edges[slot], self.edge_ids[slot]
            idle = isinstance(edge, Zero) and target in fed
            if idle or (sample is not None and not sample.runs(edge_id)):
                continue
            state = states[source]
            assert state is not None
            out = edge(state) if sample is None else edge(state, sample, edge_id)
            before = states[target]
            # No `+=`: a skip connection gives its input itself, which would change with it.
            states[target] = out if before is None else before + out
        return [state for state in states if state is not None]


class Backbone(nn.Module, ABC):
    """Stem, cells, classifier: (B, in_channels, H, W) -> logits (B, N).

    Args:
        space: the cells' graph.
        channels: C of the first cells, >= 1.
        layers: number of cells.
        num_classes: N >= 2.
        in_channels: channels of the input, >= 1.
        make_edge: builds the module of one edge.

    Raises:
        ConfigError: a number outside its range.
    """

    least_layers = 1
    """Cells below which some cell type of the space would be nowhere."""

    def __init__(
        self,
        space: Space,
        *,
        channels: int,
        layers: int,
        num_classes: int,
        in_channels: int,
        make_edge: MakeEdge,
    ) -> None:
        super().__init__()
        require_range("channels", channels, 1)
        require_range("layers", layers, self.least_layers)
        require_range("num_classes", num_classes, 2)
        require_range("in_channels", in_channels, 1)
        width = self.build(space, channels, layers, in_channels, make_edge)
        self.classifier = nn.Linear(width, num_classes)

    @abstractmethod
    def build(self, space: Space, channels: int, layers: int, in_channels: int, make_edge: MakeEdge) -> int:
        """Make stem and `cells`; channels of what the classifier reads."""

    cells: nn.ModuleList

    def cell(self, number: int) -> Cell:
        """Cell `number`."""
        cell = self.cells[number]
        assert isinstance(cell, Cell)
        return cell

    def edges(self, cell: int) -> nn.ModuleList:
        """The edge modules of cell number `cell`, in the order of the space's edges of its type."""
        return self.cell(cell).edges

    def slots(self, edge_id: int) -> list[tuple[nn.ModuleList, int]]:
        """Where edge `edge_id` of the space stands: the edge modules of each cell of its type, and the place there."""
        cells = [self.cell(number) for number in range(len(self.cells))]
        return [(cell.edges, cell.edge_ids.index(edge_id)) for cell in cells if edge_id in cell.edge_ids]
