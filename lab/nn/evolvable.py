"""`EvolvableNetwork`: the live network of one genotype, changed in place without a jump of its output."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.base import ConfigError, require_range
from lab.nn.batchnorm import norm_layers
from lab.nn.cell import staged
from lab.nn.families import family, make_primitive
from lab.nn.interpolated_op import InterpolatedOp
from lab.nn.sharing import copy_sharing_parameters
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
    to another genotype: each changed edge runs an `InterpolatedOp` whose beta is 0 at first, so the output is
    bit-identical; `set_beta` raises beta; `finalize` drops the old primitives once beta is 1.

    Args:
        genotype: the cell.
        channels: of the first stage, as for `SuperNet`.
        layers: number of searched cells, as for `SuperNet`.
        num_classes: N.
        in_channels: of the input.
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
        cls, supernet: SuperNet, genotype: Genotype, transitions: Mapping[Edge, str] | None = None
    ) -> "EvolvableNetwork":
        """The child of `genotype` with the supernet's parameters.

        BatchNorm statistics are copied from the supernet; before the child is used in eval mode give it statistics
        of its own with `lab.nn.recalibrate_batchnorm`.

        Args:
            transitions: edges in transition and the primitive that each comes from; `genotype` is the one it goes to.

        Raises:
            ConfigError: the genotype belongs to another space.
        """
        if genotype.space != supernet.space:
            raise ConfigError(
                f"a genotype of space {supernet.space.name}", genotype.space.name, "build it in the supernet's space"
            )
        replaced: dict[nn.Module, nn.Module] = {}
        for number in range(len(supernet.backbone.cells)):
            for edge_id in supernet.backbone.cell(number).edge_ids:
                mixed, name = supernet.edge(number, edge_id), genotype.primitives[edge_id]
                new = mixed.extract_op(name)
                old_name = (transitions or {}).get(genotype.space.edges[edge_id])
                if old_name is not None:
                    new = InterpolatedOp(
                        mixed.extract_op(old_name), new, old_name, name, like=supernet.backbone.classifier.weight
                    )
                replaced[mixed] = new
        # Not through __init__, which would draw weights only to drop them and move the global random stream.
        child = cls.__new__(cls)
        nn.Module.__init__(child)
        child.genotype = genotype
        child.backbone = copy_sharing_parameters(supernet.backbone, replaced)
        return child

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BN: Tensor = self.backbone(x_BCHW)
        return logits_BN

    def mutate(self, genotype: Genotype, source: OpSource) -> tuple[_BatchNorm, ...]:
        """Begin the transition to `genotype`; the output does not change by one bit.

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
        busy = [edit.edge for edit in edits if edit.edge in self.transitions]
        if busy:
            raise ConfigError(
                "edges that are not in transition",
                ", ".join(map(str, busy)),
                "wait until their transition has ended, or change other edges",
            )
        layers: list[_BatchNorm] = []
        # A primitive without parameters, such as a pooling, cannot say on which device and in which dtype beta is.
        like = self.backbone.classifier.weight
        for edit in edits:
            for number, (edges, slot) in enumerate(self.backbone.slots(genotype.space.edge_index(edit.edge))):
                new = source.extract(edit.edge, number, edit.new)
                layers += norm_layers(new)
                edges[slot] = InterpolatedOp(edges[slot], new, edit.old, edit.new, like=like).train(self.training)
        self.genotype = genotype
        return tuple(layers)

    def add_cell(self, stage: int, supernet: SuperNet, number: int) -> tuple[_BatchNorm, ...]:
        """Follow the supernet, which has a further cell `number` at the end of `stage`; the output stays, at beta 0.

        Args:
            stage: 0 to `STAGES` - 1; the same that the supernet grew in.
            supernet: gives the cell's parameters, which both then share.
            number: of the supernet's new cell, as its `add_cell` gave it.

        Returns:
            The BatchNorm layers of the new cell, whose statistics are to be estimated before beta grows.

        Raises:
            ConfigError: the network has no stages.
        """
        backbone = staged(self.backbone)
        replaced: dict[nn.Module, nn.Module] = {}
        for edge_id, name in enumerate(self.genotype.primitives):
            mixed = supernet.edge(number, edge_id)
            replaced[mixed] = mixed.extract_op(name)
        cell = copy_sharing_parameters(supernet.backbone.cell(number), replaced).train(self.training)
        backbone.add_cell(stage, cell)
        return norm_layers(cell)

    @property
    def transitions(self) -> dict[Edge, str]:
        """Edges in transition and the primitive that each comes from."""
        found: dict[Edge, str] = {}
        for edge_id, edge in enumerate(self.genotype.space.edges):
            edges, slot = self.backbone.slots(edge_id)[0]
            module = edges[slot]
            if isinstance(module, InterpolatedOp):
                found[edge] = module.old_name
        return found

    def set_beta(self, beta: float, edges: Iterable[Edge] | None = None) -> None:
        """Set the share of the new primitive, in [0, 1], on `edges` (default: all in transition).

        Args:
            beta: 0 runs the old primitive, 1 the new one.
            edges: edges of the space; those that are not in transition are passed over.

        Raises:
            ConfigError: beta outside [0, 1].
        """
        require_range("beta", beta, 0.0, 1.0)
        for module in self._interpolated_ops(edges):
            module.beta.fill_(beta)

    def finalize(self, edges: Iterable[Edge] | None = None) -> None:
        """Drop the old primitives of `edges` (default: all in transition), whose beta must be 1.

        Args:
            edges: edges of the space; those that are not in transition are passed over.

        Raises:
            ConfigError: a beta below 1: dropping the old primitive would change the output.
        """
        chosen = [slot for edge_id in self._edge_ids(edges) for slot in self.backbone.slots(edge_id)]
        for module in self._interpolated_ops(edges):
            # All are checked before the first one is dropped.
            if float(module.beta) != 1.0:
                raise ConfigError("beta = 1 to drop the old primitive", f"{module!r}", "call set_beta(1.0) first")
        for modules, slot in chosen:
            op = modules[slot]
            if isinstance(op, InterpolatedOp):
                modules[slot] = op.new

    def _edge_ids(self, edges: Iterable[Edge] | None) -> list[int]:
        return [self.genotype.space.edge_index(edge) for edge in (self.transitions if edges is None else edges)]

    def _interpolated_ops(self, edges: Iterable[Edge] | None) -> list[InterpolatedOp]:
        found = [modules[slot] for edge_id in self._edge_ids(edges) for modules, slot in self.backbone.slots(edge_id)]
        return [module for module in found if isinstance(module, InterpolatedOp)]
