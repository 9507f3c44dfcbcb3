"""The backbone of DARTS: normal and reduction cells that read the outputs of the two cells before them.

Source: Liu, Simonyan, Yang 2019, section 3.1 and appendix A: a stem of 3C channels, cells whose output joins their four
nodes, reduction cells at a third and at two thirds of the depth, where C doubles; global average pool, linear
classifier. Shapes: B batch, C channels, H height, W width, N classes.
"""

import torch
from torch import Tensor, nn

from lab.nn.cell import Backbone, Cell, MakeEdge
from lab.nn.darts_primitives import FactorizedReduce, PointConv
from lab.nn.sample import Sample
from lab.space import Space

STEM_MULTIPLIER = 3
"""Channels of the stem for each channel of the first cell's nodes."""
INPUTS = 2
"""Input nodes of a cell."""


class DARTSCell(Cell):
    """Two inputs, brought to C channels and to one size; the output joins the four other nodes: 4C channels.

    Args:
        space: gives nodes and edges.
        kind: normal, or reduce: its edges from the two inputs have stride 2.
        into: channels of the last but one cell's output and of the last one's.
        channels: C of every node.
        behind_reduction: whether the last cell reduced, so that the last but one's output is twice as large.
        make_edge: builds the module of one edge.
    """

    def __init__(
        self,
        space: Space,
        kind: str,
        into: tuple[int, int],
        channels: int,
        *,
        behind_reduction: bool,
        make_edge: MakeEdge,
    ) -> None:
        own = [edge for edge in space.edges if edge.cell == kind]
        strides = tuple(2 if kind == "reduce" and edge.source < INPUTS else 1 for edge in own)
        modules = [make_edge(edge, channels, stride) for edge, stride in zip(own, strides, strict=True)]
        super().__init__(space, kind, modules, strides)
        self.preprocess0 = (FactorizedReduce if behind_reduction else PointConv)(into[0], channels)
        self.preprocess1 = PointConv(into[1], channels)
        self.outputs = space.outputs

    def forward(self, before_BCHW: Tensor, last_BCHW: Tensor, sample: Sample | None = None) -> Tensor:
        states = self.run_edges([self.preprocess0(before_BCHW), self.preprocess1(last_BCHW)], sample)
        return torch.cat([states[node] for node in self.outputs], dim=1)


class DARTSBackbone(Backbone):
    """Stem, `layers` cells, classifier: (B, in_channels, H, W) -> logits (B, N).

    Cells number layers // 3 and 2 * layers // 3 reduce. Args and errors: as for `Backbone`; `layers` >= 3.
    """

    least_layers = 3

    def build(self, space: Space, channels: int, layers: int, in_channels: int, make_edge: MakeEdge) -> int:
        """See `Backbone.build`."""
        wide = STEM_MULTIPLIER * channels
        self.stem = nn.Conv2d(in_channels, wide, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(wide)
        self.cells = nn.ModuleList()
        into, reduced = (wide, wide), False
        for number in range(layers):
            reduces = number in (layers // 3, 2 * layers // 3)
            channels *= 1 + reduces
            cell = DARTSCell(
                space,
                "reduce" if reduces else "normal",
                into,
                channels,
                behind_reduction=reduced,
                make_edge=make_edge,
            )
            self.cells.append(cell)
            into, reduced = (into[1], len(space.outputs) * channels), reduces
        return into[1]

    def forward(self, x_BCHW: Tensor, sample: Sample | None = None) -> Tensor:
        before_BCHW = last_BCHW = self.stem_norm(self.stem(x_BCHW))
        for cell in self.cells:
            before_BCHW, last_BCHW = last_BCHW, cell(before_BCHW, last_BCHW, sample)
        logits_BN: Tensor = self.classifier(last_BCHW.mean((2, 3)))
        return logits_BN
