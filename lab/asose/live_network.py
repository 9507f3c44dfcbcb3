"""`LiveNetwork`: supernet, child, their one weight optimizer and the child's average, changed and restored as a whole.

B batch, C channels, H height, W width.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import CheckpointError, TrainingError
from lab.morph import NetworkAverage
from lab.nn import EvolvableNetwork, InterpolatedOp, Sample, SuperNet, recalibrate_batchnorm
from lab.probe import outputs, relative_difference
from lab.space import Edge, Genotype
from lab.state import clone_state
from lab.train.optimizer import make_weight_optimizer

TOLERANCE = 1e-5
"""Largest relative output difference of a change that counts as none (float32, eval mode)."""


class LiveNetwork:
    """The supernet's weights, the child that runs on them, and the optimizer that trains both.

    The optimizer holds the supernet's parameters, of which the child's are a part: what did not run has no gradient
    and is not stepped.

    Args:
        supernet: on the device that the batches come on.
        lr: learning rate of the optimizer.
        momentum: Nesterov momentum of the optimizer.
        weight_decay: weight decay of the optimizer.
        average: decay of the child's average, in [0, 1); 0 for none.
    """

    def __init__(
        self, supernet: SuperNet, *, lr: float, momentum: float, weight_decay: float, average: float = 0.0
    ) -> None:
        self.supernet = supernet
        self.child: EvolvableNetwork | None = None
        self.optimizer = make_weight_optimizer(
            supernet.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
        )
        self.average = NetworkAverage(average) if average else None
        """Of the child's weights, from its extraction on."""

    @property
    def averaged(self) -> nn.Module | None:
        """The averaged child; None where no average is kept, or before there is a child."""
        return None if self.average is None else self.average.network

    def update_average(self) -> None:
        """Count the training step that the child has just taken."""
        if self.average is not None and self.child is not None:
            self.average.update(self.child)

    def extract(
        self,
        genotype: Genotype,
        statistics: Iterable[Tensor],
        probe_BCHW: Tensor,
        watch: Callable[[nn.Module, nn.Module], None] = lambda path, child: None,
    ) -> float:
        """Make the child of `genotype` and give it statistics of its own.

        Args:
            genotype: of the child.
            statistics: inputs for its BatchNorm statistics.
            probe_BCHW: inputs on which the output is compared.
            watch: called with the supernet's own path and the child while both have the same statistics.

        Returns:
            The relative output difference between child and supernet under equal statistics, eval mode.

        Raises:
            TrainingError: the two differ by more than `TOLERANCE`; there is then no child.
        """
        child = EvolvableNetwork.from_supernet(self.supernet, genotype)
        path = Discrete(self.supernet, genotype)
        expected = outputs(path, probe_BCHW)
        difference = relative_difference(outputs(child, probe_BCHW), expected)
        if not difference <= TOLERANCE:
            raise TrainingError(
                f"a child within {TOLERANCE:g} of the supernet's own path",
                f"a difference of {difference:g}",
                "report this: the extraction is at fault",
            )
        watch(path, child)
        recalibrate_batchnorm(child, statistics)
        self.child = child
        if self.average is not None:
            self.average.begin(child)
        return difference

    def mutate(self, genotype: Genotype, statistics: Iterable[Tensor], probe_BCHW: Tensor) -> float:
        """Begin the transition of the child to `genotype`.

        Returns:
            The relative output difference on `probe_BCHW` that the change made, statistics estimated, beta 0.

        Raises:
            TrainingError: there is no child, or the output moved by more than `TOLERANCE`; nothing has then changed.
        """
        if self.child is None:
            raise TrainingError("a live network", "none yet", "wait until the first exploration phase has ended")
        kept = clone_state(self.state_dict())
        before = outputs(self.child, probe_BCHW)
        layers = self.child.mutate(genotype, self.supernet)
        recalibrate_batchnorm(self.child, statistics, layers)
        difference = relative_difference(outputs(self.child, probe_BCHW), before)
        if not difference <= TOLERANCE:
            self.load_state_dict(kept)
            raise TrainingError(
                f"a mutation that changes the output by at most {TOLERANCE:g}",
                f"a difference of {difference:g}",
                "report this: the transition is at fault",
            )
        if self.average is not None:
            mutate_average(self.average, self.child)
        return difference

    def set_beta(self, beta: float, edges: Iterable[Edge]) -> None:
        """As `EvolvableNetwork.set_beta`, of the child and of its average."""
        chosen = list(edges)
        for network in self._children():
            network.set_beta(beta, chosen)

    def finalize(self, edges: Iterable[Edge]) -> None:
        """As `EvolvableNetwork.finalize`, of the child and of its average."""
        chosen = list(edges)
        for network in self._children():
            network.finalize(chosen)

    def _children(self) -> list[EvolvableNetwork]:
        return [network for network in (self.child, self.averaged) if isinstance(network, EvolvableNetwork)]

    def state_dict(self) -> dict[str, Any]:
        """Supernet, optimizer, the child's structure and buffers, and its average where one is kept.

        The child's parameters are the supernet's.
        """
        child = self.child
        return {
            **({} if self.average is None else {"average": self.average.state_dict()}),
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "child": None
            if child is None
            else {
                "genotype": child.genotype.to_json(),
                "transitions": [[*edge, name] for edge, name in child.transitions.items()],
                "buffers": dict(child.named_buffers()),
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, keeping every `Parameter` object.

        Raises:
            CheckpointError: the state belongs to another architecture; nothing has then changed.
        """
        # Compared first: torch copies the tensors that fit before it raises for the others.
        own = {name: tuple(tensor.shape) for name, tensor in self.supernet.state_dict().items()}
        theirs = {name: tuple(tensor.shape) for name, tensor in state["supernet"].items()}
        wrong = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        if wrong:
            raise CheckpointError(
                f"a checkpoint of this architecture ({len(own)} tensors)",
                f"{len(wrong)} tensors that differ, {wrong[0]} {theirs.get(wrong[0])} for {own.get(wrong[0])}",
                "use the space, channels and layers that it was saved with",
            )
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.child = None
        if state["child"] is not None:
            genotype = Genotype.from_json(state["child"]["genotype"])
            transitions = {
                Edge(cell, target, source): name for cell, target, source, name in state["child"]["transitions"]
            }
            self.child = EvolvableNetwork.from_supernet(self.supernet, genotype, transitions)
            with torch.no_grad():
                for name, buffer in self.child.named_buffers():
                    buffer.copy_(state["child"]["buffers"][name])
        if self.average is not None:
            # Earlier versions kept none.
            self.average.load_state_dict(state.get("average"), self.child)


def mutate_average(average: NetworkAverage, child: EvolvableNetwork) -> None:
    """Begin the transition that `child` has just begun; what is new begins with the child's own values."""
    averaged = average.network
    assert isinstance(averaged, EvolvableNetwork)
    averaged.mutate(child.genotype, _Copies(child))


class _Copies:
    """Copies of the new primitives of a child in transition."""

    def __init__(self, child: EvolvableNetwork) -> None:
        self.child = child

    def extract(self, edge: Edge, number: int, name: str) -> nn.Module:
        edges, slot = self.child.backbone.slots(self.child.genotype.space.edge_index(edge))[number]
        op = edges[slot]
        assert isinstance(op, InterpolatedOp)
        return copy.deepcopy(op.new)


class Discrete(nn.Module):
    """The supernet under the hard sample of one genotype, called as `model(x)`."""

    def __init__(self, supernet: SuperNet, genotype: Genotype) -> None:
        super().__init__()
        self.supernet = supernet
        self.sample = Sample.of(genotype)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.supernet(x_BCHW, self.sample)
        return logits

    def extra_repr(self) -> str:
        return f"choices={self.sample.choices}"
