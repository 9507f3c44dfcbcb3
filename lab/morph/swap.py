"""`SwapOp`: another primitive on one edge of a searched cell, handed over instead of swapped."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lab.base import MorphError
from lab.morph.morph import Draft, Morph
from lab.morph.shapes import shapes_of
from lab.morph.steps import Transition
from lab.morph.trace import Example
from lab.nn import Cell, EvolvableNetwork, InterpolatedOp
from lab.space import Edge


@dataclass(frozen=True)
class SwapOp(Morph):
    """The edge runs (1 - beta) * old + beta * new, beta 0 at first, in all cells of its type.

    `EvolvableNetwork.set_beta` moves beta to 1 while the network trains, `finalize` then drops the old primitive. The
    new primitive has weights of its own and a BatchNorm without statistics: call `lab.nn.recalibrate_batchnorm` before
    beta grows. The change itself is `EvolvableNetwork.mutate`, which the search calls with a supernet's weights.
    """

    edge: tuple[str, int, int]
    """Cell type, target node, source node; an edge that the genotype takes."""
    primitive: str
    """Of the network's space."""
    name: ClassVar[str] = "swap_op"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        if not isinstance(model, EvolvableNetwork):
            raise MorphError("an EvolvableNetwork", type(model).__name__, "SwapOp changes edges of searched cells")
        genotype, edge = model.genotype, Edge(*self.edge)
        space = genotype.space
        taken = [space.edges[edge_id] for edge_id in genotype.rows]
        if edge not in taken or self.primitive not in space.choosable:
            expected = f"an edge and a primitive of {space.name}"
            hint = f"edges {', '.join(map(str, taken))}; primitives {', '.join(space.choosable)}"
            raise MorphError(expected, f"{self.edge}, {self.primitive}", hint)
        edge_id = space.edge_index(edge)
        old = genotype.primitives[edge_id]
        cells = {name: module for name, module in model.named_modules() if isinstance(module, Cell)}
        slots = {name: cell.edge_ids.index(edge_id) for name, cell in cells.items() if edge_id in cell.edge_ids}
        paths = [f"{name}.edges.{slot}" for name, slot in slots.items()]
        if old == self.primitive:
            raise MorphError("another primitive than the edge has", old, "choose one of the others")
        if any(isinstance(model.get_submodule(path), InterpolatedOp) for path in paths):
            raise MorphError("an edge that is not in transition", str(edge), "wait until its transition has ended")
        channels = tuple(shapes.into[1] for shapes in shapes_of(model, example, *paths))
        step = Transition(edge=self.edge, primitive=self.primitive, channels=channels)
        return Draft(steps=(step,), note=f"{old} -> {self.primitive}, beta 0")
