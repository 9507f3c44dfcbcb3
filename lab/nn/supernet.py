"""`SuperNet`: all cells of a space in one set of weights.

A hard sample runs only the chosen primitive of each edge, so a step costs what one network costs; a soft sample runs
the full mixture (DARTS) and is there for comparison.
"""

import torch
from torch import Tensor, nn

from lab.base import ConfigError
from lab.nn.cell import StageCell, staged
from lab.nn.families import family, make_primitive
from lab.nn.primitives import Zero
from lab.nn.sample import Sample
from lab.nn.sharing import copy_sharing_parameters
from lab.space import ABSENT, Edge, Space

SKIP = "skip_connect"


class MixedEdge(nn.Module):
    """Every primitive of a space on one edge; runs the chosen one, or all of them weighted.

    Args:
        space: gives the primitives.
        channels: C of input and output, >= 1.
        stride: of the edge; 1, or 2 in a reduction cell of DARTS.
    """

    def __init__(self, space: Space, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.primitives = nn.ModuleDict(
            {name: make_primitive(name, channels, stride, space) for name in space.primitives}
        )
        # A tuple, since a second registration would put each weight into the state dict twice.
        self.order = tuple(self.primitives.values())

    def extract_op(self, name: str) -> nn.Module:
        """The primitive `name` with the same parameters and statistics of its own; a `Zero` for `ABSENT`."""
        return Zero(self.stride) if name == ABSENT else copy_sharing_parameters(self.primitives[name])

    def forward(self, x_BCHW: Tensor, sample: Sample, edge_id: int) -> Tensor:
        if sample.choices is not None:
            out = self._run(sample.choices[edge_id], x_BCHW, sample)
            out = out if sample.weights_E is None else out * sample.weights_E[edge_id]
        else:
            assert sample.mixture_EK is not None
            weights_K = sample.mixture_EK[edge_id]
            out = self._run(0, x_BCHW, sample) * weights_K[0]
            for column in range(1, len(self.order)):
                out = out + self._run(column, x_BCHW, sample) * weights_K[column]
        if sample.auxiliary_skip:
            out = out + sample.auxiliary_skip * self.primitives[SKIP](x_BCHW)
        return out

    def _run(self, column: int, x_BCHW: Tensor, sample: Sample) -> Tensor:
        out: Tensor = self.order[column](x_BCHW)
        if sample.skip_dropout and self.order[column] is self.primitives[SKIP]:
            out = nn.functional.dropout(out, sample.skip_dropout, self.training)
        return out


class SuperNet(nn.Module):
    """The weights of every cell of `space`, stacked `layers` times: (B, in_channels, H, W), sample -> logits (B, N).

    Args:
        space: cell graph and primitives; one of `lab.nn.FAMILIES`.
        channels: channels of the first cells, >= 1.
        layers: number of searched cells, >= 1, split over three stages; for DARTS >= 3, two of which reduce.
        num_classes: N >= 2.
        in_channels: channels of the input, >= 1.

    Raises:
        ConfigError: a number outside its range, or a space whose primitives have no module here.
    """

    def __init__(self, space: Space, channels: int, layers: int, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.space = space
        self.num_classes = num_classes
        self.backbone = family(space).backbone(
            space,
            channels=channels,
            layers=layers,
            num_classes=num_classes,
            in_channels=in_channels,
            make_edge=lambda edge, width, stride: MixedEdge(space, width, stride),
        )

    def forward(self, x_BCHW: Tensor, sample: Sample) -> Tensor:
        """Logits (B, N) under `sample`.

        Raises:
            ConfigError: the sample has another number of edges than the space.
        """
        rows = len(sample.choices) if sample.choices is not None else len(sample.mixture_EK)  # type: ignore[arg-type]
        if rows != len(self.space.edges):
            raise ConfigError(f"a sample with {len(self.space.edges)} edges", f"{rows}", "sample from the same space")
        logits_BN: Tensor = self.backbone(x_BCHW, sample)
        return logits_BN

    def add_cell(self, stage: int) -> int:
        """Put a fresh cell at the end of a stage, beta 0, on the device and dtype of the others; its number.

        Raises:
            ConfigError: the network has no stages.
        """
        backbone = staged(self.backbone)
        width = backbone.width(stage)
        cell = StageCell(self.space, [MixedEdge(self.space, width) for _ in self.space.edges])
        reference = backbone.stem.weight
        cell.beta = torch.zeros(())
        cell.to(reference.device, reference.dtype).train(self.training)
        return backbone.add_cell(stage, cell)

    def extract(self, edge: Edge, number: int, name: str) -> nn.Module:
        """The primitive `name` on `edge` in the `number`-th cell of its type, with the same parameters.

        Args:
            edge: of the space.
            number: of the cell among those of the edge's type, from 0.
            name: a primitive of the space, or `ABSENT`.
        """
        edges, place = self.backbone.slots(self.space.edge_index(edge))[number]
        mixed = edges[place]
        assert isinstance(mixed, MixedEdge)
        return mixed.extract_op(name)

    def edge(self, cell: int, edge_id: int) -> MixedEdge:
        """All primitives on the space's edge `edge_id` in cell number `cell`, which must be of the edge's cell type."""
        edge = self.backbone.edges(cell)[self.backbone.cell(cell).edge_ids.index(edge_id)]
        assert isinstance(edge, MixedEdge)
        return edge
