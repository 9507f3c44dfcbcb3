"""Operators that add modules where they promise most: a branch, attention, a shortcut, or what measures best.

Every addition ends in a gate g that is 0 at first, so it changes nothing; |dL/dg|^2 is what a step of gradient descent
on the gate gains to first order, and with it an addition is judged before it is made.
B batch, C channels, P positions.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from lab.agent.operators import ATTEMPTS, ActionContext, MorphOperator, ranked
from lab.agent.scores import LAYER_SCORES
from lab.base import MorphError, require_choice, require_range
from lab.morph import AddBranch, Compose, Deepen, InsertAttention, InsertResidual, Morph, apply
from lab.morph.widths import find_module
from lab.nn import eval_mode

KINDS: Mapping[str, Callable[[str], Morph]] = MappingProxyType(
    {"branch": AddBranch, "attention": InsertAttention, "residual": InsertResidual, "deepen": Deepen}
)
"""What can be added at a module, by name."""
ADDED = ("Branched", "Residual", "Deepened", "TokenAttention")
"""Classes of what was added before: nothing is added inside, so that additions do not nest."""


def open_layers(context: ActionContext, score: str) -> list[str]:
    """The measured layers but the last that are no part of an earlier addition, the largest score first."""
    model = context.model
    added = [name for name, module in model.named_modules() if type(module).__name__ in ADDED]
    return [
        name
        for name in ranked(context, score)
        if not any(name == part or name.startswith(f"{part}.") for part in added)
    ]


def gate_gradient(context: ActionContext, morph: Morph) -> float:
    """|dL/dg|^2 of the gate of an addition, summed over channels, from the measured samples; nothing is changed.

    Raises:
        MorphError: it cannot be added there, or it has no gate.
    """
    plan = morph.plan(context.model, context.example, seed=context.seed)
    model = deepcopy(context.model)
    old = {id(parameter) for parameter in model.parameters()}
    apply(plan, model).release()
    fresh = [parameter for parameter in model.parameters() if id(parameter) not in old]
    # The one factor of 0 in an addition: its gate, or the scale of its shortcut's norm. A bias is no gate.
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    gates = [p for p in fresh if not names[id(p)].endswith("bias") and not bool(p.any())]
    if not gates:
        raise MorphError("an addition with a gate", morph.name, "use another score")
    batch = context.measures.batch
    with eval_mode(model), torch.enable_grad():
        losses_B, _ = batch.losses(model)
        slopes: tuple[Tensor, ...] = torch.autograd.grad(losses_B.mean(), gates)
    return sum(float(slope.square().sum()) for slope in slopes)


@dataclass(frozen=True, kw_only=True)
class LayerTypeSelector:
    """Which kind of addition promises most at a layer: the one with the largest `gate_gradient`."""

    kinds: tuple[str, ...] = ("branch", "attention", "residual")
    """Names of `KINDS` to choose from, at least one; deepen has no gate behind a ReLU."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            require_choice("kinds", kind, KINDS.keys())
        require_range("number of kinds", len(self.kinds), 1)

    def possible(self, context: ActionContext, layer: str) -> tuple[str, ...]:
        """The kinds that can be added at `layer`, as far as they can be worked out without trying."""
        found = []
        for kind in self.kinds:
            with suppress(MorphError):
                KINDS[kind](layer).check_steps(context.model, context.example)
                found.append(kind)
        return tuple(found)

    def rank(self, context: ActionContext, layer: str) -> dict[str, float]:
        """The kinds that are possible at `layer` with their gate gradients, the largest first.

        Raises:
            MorphError: there is no such layer.
        """
        find_module(context.model, layer)
        found: dict[str, float] = {}
        for kind in self.kinds:
            try:
                found[kind] = gate_gradient(context, KINDS[kind](layer))
            except MorphError:
                # Not possible here: the ranking is over what is.
                continue
        return dict(sorted(found.items(), key=lambda item: -item[1]))


@dataclass(frozen=True, kw_only=True)
class _Insert(MorphOperator):
    score: str = "random"
    """Where, by a name of `LAYER_SCORES`; random where `lab experiment scores` finds none that is better."""

    def __post_init__(self) -> None:
        require_choice("score", self.score, LAYER_SCORES.keys())


@dataclass(frozen=True, kw_only=True)
class BranchOperator(_Insert):
    """A gated branch beside a layer."""

    name: ClassVar[str] = "branch"
    score: str = "little_information"
    """Where, by a name of `LAYER_SCORES`; the best that `lab experiment scores` finds."""

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`."""
        return map(AddBranch, open_layers(context, self.score))


@dataclass(frozen=True, kw_only=True)
class AttentionOperator(_Insert):
    """Gated self-attention behind a layer."""

    name: ClassVar[str] = "attention"
    heads: int = 0
    """Number of heads; 0 takes 4, or the largest divisor of the channels below."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range("heads", self.heads, 0)

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`; layers that give vectors are passed over."""
        for layer in open_layers(context, self.score):
            if not _gives_vectors(context.model.get_submodule(layer), context):
                yield InsertAttention(layer, self.heads)


def _gives_vectors(module: nn.Module, context: ActionContext) -> bool:
    """Whether a linear layer is fed with the flattened maps of a convolutional network."""
    convolutional = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in context.model.modules())
    tokens = any(isinstance(m, nn.MultiheadAttention) for m in context.model.modules())
    return isinstance(module, nn.Linear) and convolutional and not tokens


@dataclass(frozen=True, kw_only=True)
class ResidualOperator(_Insert):
    """A shortcut around a layer."""

    name: ClassVar[str] = "residual"

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`."""
        return map(InsertResidual, open_layers(context, self.score))


@dataclass(frozen=True, kw_only=True)
class HybridOperator(_Insert):
    """The two kinds of addition that promise most at a layer, both at once, each with its own gate."""

    name: ClassVar[str] = "hybrid"
    selector: LayerTypeSelector = LayerTypeSelector()
    """Which kinds."""

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`."""
        for layer in open_layers(context, self.score):
            best = list(self.selector.rank(context, layer))[:2]
            if len(best) == 2:
                yield Compose(tuple(KINDS[kind](layer) for kind in best))

    def refusal(self, context: ActionContext) -> str:
        """See `StructuralOperator.refusal`; without a budget no kinds are ranked."""
        if context.budget is not None:
            return super().refusal(context)
        for layer in islice(open_layers(context, self.score), ATTEMPTS):
            if len(self.selector.possible(context, layer)) >= 2:
                return ""
        return "no layer where two kinds of addition are possible"
