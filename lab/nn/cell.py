"""The cell as a graph of edges, and the backbone that stacks cells in three stages.

Source: Dong and Yang 2020, figure 1: stem, three stages of cells at C, 2C, 4C channels with a residual block of
stride 2 between them, BatchNorm, ReLU, global average pool, linear classifier.
Shapes: B batch, C channels, H height, W width, N classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab.base import require_range
from lab.nn.sample import Sample
from lab.space import Edge, Space

STAGES = 3
"""Stages of a backbone."""


class Cell(nn.Module):
    """node_t = sum over the edges (t <- s) of edge(node_s); node 0 is the input, the last node the output.

    A cell that was added to a trained network is handed over: `beta` is then a buffer, and the output is
    (1 - beta) * x + beta * cell(x), exactly x at beta 0.

    Args:
        space: gives nodes and edges.
        edges: one module for each edge of the space; called as `edge(x)`, or `edge(x, sample, row)` under a sample.
    """

    beta: Tensor | None

    def __init__(self, space: Space, edges: list[nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)
        self.nodes = space.nodes
        self.routes = tuple((edge.target, edge.source) for edge in space.edges)
        self.register_buffer("beta", None)

    def forward(self, x_BCHW: Tensor, sample: Sample | None = None) -> Tensor:
        states: list[Tensor | None] = [x_BCHW] + [None] * (self.nodes - 1)
        for row, (target, source) in enumerate(self.routes):
            state = states[source]
            assert state is not None
            edge = self.edges[row]
            out = edge(state) if sample is None else edge(state, sample, row)
            before = states[target]
            states[target] = out if before is None else before + out
        last = states[-1]
        assert last is not None
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
        pooled = nn.functional.avg_pool2d(x_BCHW, 2, stride=2, ceil_mode=True)
        out: Tensor = inner + self.shortcut(pooled)
        return out


class Backbone(nn.Module):
    """Stem, three stages of cells, classifier: (B, in_channels, H, W) -> logits (B, N).

    Args:
        space: the cell's graph.
        channels: C of the first stage, >= 1; the stages have C, 2C, 4C.
        layers: number of cells, >= 1, split over the stages with the rest in the earlier ones.
        num_classes: N >= 2.
        in_channels: channels of the input, >= 1.
        make_edge: `make_edge(edge, channels)` builds the module of one edge.

    Raises:
        ConfigError: a number outside its range.
    """

    def __init__(
        self,
        space: Space,
        *,
        channels: int,
        layers: int,
        num_classes: int,
        in_channels: int,
        make_edge: Callable[[Edge, int], nn.Module],
    ) -> None:
        super().__init__()
        require_range("channels", channels, 1)
        require_range("layers", layers, 1)
        require_range("num_classes", num_classes, 2)
        require_range("in_channels", in_channels, 1)
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.cells = nn.ModuleList()
        self.reductions = nn.ModuleList()
        self.stage_lengths = tuple(layers // STAGES + (stage < layers % STAGES) for stage in range(STAGES))
        for stage, length in enumerate(self.stage_lengths):
            width = channels * 2**stage
            for _ in range(length):
                self.cells.append(Cell(space, [make_edge(edge, width) for edge in space.edges]))
            if stage < STAGES - 1:
                self.reductions.append(Reduction(width))
        self.head_norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, num_classes)

    def edges(self, cell: int) -> nn.ModuleList:
        """The edge modules of cell number `cell`, in the order of the space's edges."""
        edges = self.cells[cell].edges
        assert isinstance(edges, nn.ModuleList)
        return edges

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

    def cell(self, number: int) -> Cell:
        """Cell `number`."""
        cell = self.cells[number]
        assert isinstance(cell, Cell)
        return cell

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
