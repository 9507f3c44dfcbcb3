"""`EvolvableNetwork`: the live network of one genotype, changed in place without a jump of its output."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.base import ConfigError, require_range
from lab.nn.blend import Blend
from lab.nn.families import family, make_primitive
from lab.nn.share import share
from lab.nn.stages import staged
from lab.nn.statistics import norm_layers
from lab.nn.supernet import SuperNet
from lab.space import Edge, Genotype


class OpSource(Protocol):
    """Gives the new primitives of a mutation."""

    def extract(self, edge: Edge, number: int, name: str) -> nn.Module:
        """The primitive `name` for the `number`-th cell of the edge's type."""


class EvolvableNetwork(nn.Module):
    """The network of `genotype`: (B, in_channels, H, W) -> logits (B, N).

    Built alone it has parameters of its own; `from_supernet` gives a child that holds the supernet's `Parameter`
    objects, so that what one learns the other has, and BatchNorm statistics of its own. `mutate` moves the live child
    to another genotype: each changed edge runs a `Blend` whose beta is 0 at first, so the output is the same bits;
    `set_beta` moves it on; `settle` drops the old primitives once beta is 1.

    Args:
        genotype: the cell.
        channels, layers, num_classes, in_channels: as for `SuperNet`.
    """

    def __init__(
        self, genotype: Genotype, *, channels: int, layers: int, num_classes: int, in_channels: int = 3
    ) -> None:
        super().__init__()
        self.genotype = genotype
        space = genotype.space
        primitives = dict(zip(space.edges, genotype.primitives, strict=True))
        self.backbone = family(space).backbone(
            space,
            channels=channels,
            layers=layers,
            num_classes=num_classes,
            in_channels=in_channels,
            make_edge=lambda edge, width, stride: make_primitive(primitives[edge], width, stride, space),
        )

    @classmethod
    def from_supernet(
        cls, supernet: SuperNet, genotype: Genotype, blends: Mapping[Edge, str] | None = None
    ) -> "EvolvableNetwork":
        """The child of `genotype` with the supernet's parameters.

        BatchNorm statistics are copied from the supernet; before the child is used in eval mode give it statistics
        of its own with `lab.nn.estimate_statistics`.

        Args:
            blends: edges under hand-over and the primitive that each comes from; `genotype` is the one it goes to.

        Raises:
            ConfigError: the genotype belongs to another space.
        """
        if genotype.space != supernet.space:
            raise ConfigError(
                f"a genotype of space {supernet.space.name}", genotype.space.name, "build it in the supernet's space"
            )
        replaced: dict[nn.Module, nn.Module] = {}
        for number in range(len(supernet.backbone.cells)):
            for row in supernet.backbone.cell(number).rows:
                mixed, name = supernet.edge(number, row), genotype.primitives[row]
                new = mixed.take(name)
                old_name = (blends or {}).get(genotype.space.edges[row])
                if old_name is not None:
                    new = Blend(mixed.take(old_name), new, old_name, name, like=supernet.backbone.classifier.weight)
                replaced[mixed] = new
        child = cls.__new__(cls)
        nn.Module.__init__(child)
        child.genotype = genotype
        child.backbone = share(supernet.backbone, replaced)
        return child

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BN: Tensor = self.backbone(x_BCHW)
        return logits_BN

    def mutate(self, genotype: Genotype, source: OpSource) -> tuple[_BatchNorm, ...]:
        """Begin the hand-over to `genotype`; the output does not change by one bit.

        Where a node takes another source, the edge that leaves goes from its primitive to 0 and the edge that comes
        from 0 to its primitive, with the same beta.

        Args:
            genotype: the next one.
            source: of the new primitives, such as the supernet, whose parameters they then have.

        Returns:
            The BatchNorm layers of the new primitives, whose statistics are to be estimated before beta grows.

        Raises:
            ConfigError: nothing would change, or a changed edge is still being handed over.
        """
        edits = self.genotype.diff(genotype)
        if not edits:
            raise ConfigError("another genotype than the live one", str(genotype), "change at least one edge")
        busy = [edit.edge for edit in edits if edit.edge in self.blends]
        if busy:
            raise ConfigError(
                "edges that are not under hand-over",
                ", ".join(map(str, busy)),
                "wait until their hand-over has ended, or change other edges",
            )
        layers: list[_BatchNorm] = []
        like = self.backbone.classifier.weight
        for edit in edits:
            for number, (edges, place) in enumerate(self.backbone.places(genotype.space.edge_index(edit.edge))):
                new = source.extract(edit.edge, number, edit.new)
                layers += norm_layers(new)
                edges[place] = Blend(edges[place], new, edit.old, edit.new, like=like).train(self.training)
        self.genotype = genotype
        return tuple(layers)

    def add_cell(self, stage: int, supernet: SuperNet, number: int) -> tuple[_BatchNorm, ...]:
        """Follow the supernet, which has a further cell `number` at the end of `stage`; the output stays, at beta 0.

        Returns:
            The BatchNorm layers of the new cell, whose statistics are to be estimated before beta grows.

        Raises:
            ConfigError: the network has no stages.
        """
        backbone = staged(self.backbone)
        replaced: dict[nn.Module, nn.Module] = {}
        for row, name in enumerate(self.genotype.primitives):
            mixed = supernet.edge(number, row)
            replaced[mixed] = mixed.take(name)
        cell = share(supernet.backbone.cell(number), replaced).train(self.training)
        backbone.add_cell(stage, cell)
        return norm_layers(cell)

    @property
    def blends(self) -> dict[Edge, str]:
        """Edges under hand-over and the primitive that each comes from."""
        found: dict[Edge, str] = {}
        for row, edge in enumerate(self.genotype.space.edges):
            edges, place = self.backbone.places(row)[0]
            module = edges[place]
            if isinstance(module, Blend):
                found[edge] = module.old_name
        return found

    def set_beta(self, beta: float, edges: Iterable[Edge] | None = None) -> None:
        """Set the share of the new primitive, in [0, 1], on `edges` (default: all under hand-over)."""
        require_range("beta", beta, 0.0, 1.0)
        for module in self._blend_modules(edges):
            module.beta.fill_(beta)

    def settle(self, edges: Iterable[Edge] | None = None) -> None:
        """Drop the old primitives of `edges` (default: all under hand-over), whose beta must be 1.

        Raises:
            ConfigError: a beta below 1: dropping the old primitive would change the output.
        """
        chosen = [place for row in self._rows(edges) for place in self.backbone.places(row)]
        for module in self._blend_modules(edges):
            if float(module.beta) != 1.0:
                raise ConfigError("beta = 1 before the old primitive is dropped", f"{module!r}", "set_beta(1.0) first")
        for modules, place in chosen:
            blend = modules[place]
            if isinstance(blend, Blend):
                modules[place] = blend.new

    def _rows(self, edges: Iterable[Edge] | None) -> list[int]:
        return [self.genotype.space.edge_index(edge) for edge in (self.blends if edges is None else edges)]

    def _blend_modules(self, edges: Iterable[Edge] | None) -> list[Blend]:
        found = [modules[place] for row in self._rows(edges) for modules, place in self.backbone.places(row)]
        return [module for module in found if isinstance(module, Blend)]
