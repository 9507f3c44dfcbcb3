"""The cell as a graph of edges, the backbone that stacks cells, and the backbone of NAS-Bench-201 in three stages.

Source of the latter: Dong and Yang 2020, figure 1: stem, three stages of cells at C, 2C, 4C channels with a residual
block of stride 2 between them, BatchNorm, ReLU, global average pool, linear classifier.
Shapes: B batch, C channels, H height, W width, N classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab.base import ConfigError, require_range
from lab.nn.primitives import Zero
from lab.nn.sample import Sample
from lab.space import Edge, Space

STAGES = 3
"""Stages of a backbone of NAS-Bench-201."""
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


class StageCell(Cell):
    """Node 0 is the input, the last node the output: (B, C, H, W) -> (B, C, H, W).

    Args:
        space: of one input node, whose edges all have stride 1.
        edges: a module for each edge of `space`, in its order, (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, space: Space, edges: list[nn.Module]) -> None:
        super().__init__(space, "cell", edges, (1,) * len(edges))

    def forward(self, x_BCHW: Tensor, sample: Sample | None = None) -> Tensor:
        last = self.run_edges([x_BCHW], sample)[-1]
        return last if self.beta is None else torch.lerp(x_BCHW, last, self.beta)


class Reduction(nn.Module):
    """A residual block of stride 2: (B, C, H, W) -> (B, 2C, ceil(H/2), ceil(W/2))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.conv1 = nn.Conv2d(channels, wide, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.shortcut = nn.Conv2d(channels, wide, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = self.norm1(self.conv1(torch.relu(x_BCHW)))
        inner = self.norm2(self.conv2(torch.relu(inner)))
        # ceil: on maps of odd size the 3x3 convolution of stride 2 gives ceil(H / 2) as well.
        pooled = nn.functional.avg_pool2d(x_BCHW, 2, stride=2, ceil_mode=True)
        out: Tensor = inner + self.shortcut(pooled)
        return out


class StageBackbone(Backbone):
    """Stem, three stages of cells at C, 2C, 4C, classifier: (B, in_channels, H, W) -> logits (B, N).

    Args and errors: as for `Backbone`; `layers` >= 1 cells are split over the stages with the rest in the earlier ones.
    """

    def build(self, space: Space, channels: int, layers: int, in_channels: int, make_edge: MakeEdge) -> int:
        """See `Backbone.build`."""
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.cells = nn.ModuleList()
        self.reductions = nn.ModuleList()
        self.stage_lengths = tuple(layers // STAGES + (stage < layers % STAGES) for stage in range(STAGES))
        for stage, length in enumerate(self.stage_lengths):
            width = channels * 2**stage
            for _ in range(length):
                self.cells.append(StageCell(space, [make_edge(edge, width, 1) for edge in space.edges]))
            if stage < STAGES - 1:
                self.reductions.append(Reduction(width))
        self.head_norm = nn.BatchNorm2d(width)
        return width

    def width(self, stage: int) -> int:
        """Channels of a stage's maps as they are now."""
        source = self.stem if stage == 0 else self.reductions[stage - 1].conv2
        assert isinstance(source, nn.Conv2d)
        return source.out_channels

    def add_cell(self, stage: int, cell: Cell) -> int:
        """Put `cell` at the end of a stage; the number that it has now, which later cells no longer have."""
        number = sum(self.stage_lengths[: stage + 1])
        self.cells.insert(number, cell)
        lengths = list(self.stage_lengths)
        lengths[stage] += 1
        self.stage_lengths = tuple(lengths)
        return number

    def forward(self, x_BCHW: Tensor, sample: Sample | None = None) -> Tensor:
        x_BCHW = self.stem_norm(self.stem(x_BCHW))
        first = 0
        for stage, length in enumerate(self.stage_lengths):
            for cell in self.cells[first : first + length]:
                x_BCHW = cell(x_BCHW, sample)
            first += length
            if stage < STAGES - 1:
                x_BCHW = self.reductions[stage](x_BCHW)
        x_BC = torch.relu(self.head_norm(x_BCHW)).mean((2, 3))
        logits_BN: Tensor = self.classifier(x_BC)
        return logits_BN


def staged(backbone: Backbone) -> StageBackbone:
    """`backbone`, which has stages: only such a network grows.

    Args:
        backbone: of a supernet or of a live network.

    Raises:
        ConfigError: it has none.
    """
    if not isinstance(backbone, StageBackbone):
        raise ConfigError(
            "a network of three stages to grow (space nb201)",
            f"a {type(backbone).__name__}",
            "set growth none, or choose space nb201",
        )
    return backbone
