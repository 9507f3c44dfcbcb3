"""The backbone of NAS-Bench-201: cells of one input in three stages.

Source: Dong and Yang 2020, figure 1: stem, three stages of cells at C, 2C, 4C channels with a residual block of
stride 2 between them, BatchNorm, ReLU, global average pool, linear classifier.
Shapes: B batch, C channels, H height, W width, N classes.
"""

import torch
from torch import Tensor, nn

from lab.base import ConfigError
from lab.nn.cell import Backbone, Cell, MakeEdge
from lab.nn.sample import Sample
from lab.space import Space

STAGES = 3
"""Stages of a backbone."""


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
