"""`StructuralOperator`: one kind of action on a network, which really changes it or says why it does not.

An operator chooses where to act and asks `lab.morph` for the change; what cannot be done there is refused with the
reason, and the next place is tried.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import ClassVar, TypeVar

from torch import nn
from torch.optim import Optimizer

from lab.agent.measure import LayerMeasure, Measures
from lab.agent.scores import LAYER_SCORES, UNIT_SCORES
from lab.base import MorphError, require_choice, require_range
from lab.morph import Morph, MorphPlan, MorphReport, Prune, Widen, apply, rollback
from lab.morph.trace import Example, Traces

ATTEMPTS = 64
"""Places that are tried before an action counts as impossible: more than are coupled to one refused width, such as the
residual stream of a transformer."""
TOLD = 3
"""Reasons that a refusal names."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionContext:
    """What an operator sees when it is asked for a change."""

    model: nn.Module
    example: Example
    """An input on which plans are tried, at least four samples where there is a BatchNorm."""
    measures: Measures
    seed: int = 0
    """Of everything that the operator draws."""
    strength: float = 1.0
    """Factor on how much is changed, in (0, 1]."""
    excluded: frozenset[str] = frozenset()
    """Places, as `target_of` names them, where a change was rolled back of late."""
    max_growth: float = 4.0
    """Factor by which one change may at most multiply parameters or operations, > 1."""
    budget: Callable[[MorphPlan], str] | None = None
    """Why a plan costs too much; empty where it does not. None where nothing is limited."""
    traces: Traces = field(default_factory=Traces)
    """Shared by everything that is worked out on this model and example."""

    @property
    def layers(self) -> dict[str, LayerMeasure]:
        """The measured layers that the model still has."""
        names = {name for name, _ in self.model.named_modules()}
        return {name: layer for name, layer in self.measures.layers.items() if name in names}


def target_of(change: Morph | MorphPlan) -> str:
    """The kind of a change and where it is made: its name and its first argument."""
    name, asked = (change.op, change.arguments) if isinstance(change, MorphPlan) else (change.name, change.arguments())
    return f"{name} {next(iter(asked.values()))}"


class StructuralOperator(ABC):
    """One kind of action."""

    name: ClassVar[str]

    @abstractmethod
    def refusal(self, context: ActionContext) -> str:
        """Why nothing can be done now; empty where something can. The model is not touched."""

    @abstractmethod
    def apply(self, context: ActionContext, optimizer: Optimizer | None = None) -> tuple[MorphReport, ...]:
        """Change the model in place, and the optimizer with it; the changes in order, to be rolled back from the last.

        Raises:
            MorphError: nothing can be done, with the reason; the model is untouched.
        """


class MorphOperator(StructuralOperator):
    """An action that is one change at the best place where it is possible."""

    @abstractmethod
    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """The changes that it would make, best first."""

    def plan(self, context: ActionContext) -> MorphPlan:
        """The best candidate that is possible and allowed; at most `ATTEMPTS` are tried.

        Raises:
            MorphError: none is, with the first places and their reasons.
        """

        def plan(morph: Morph) -> MorphPlan:
            made = morph.plan(context.model, context.example, seed=context.seed, traces=context.traces)
            reason = "" if context.budget is None else context.budget(made)
            growth = max(new / max(old, 1) for old, new in (made.parameters, made.flops))
            if growth > context.max_growth:
                reason = f"{growth:.1f} times the cost at once, over the limit of {context.max_growth:g}"
            if reason:
                raise MorphError("a change within the limits", reason, "raise the limits")
            return made

        return self._first(context, plan)

    def _first(self, context: ActionContext, attempt: Callable[[Morph], T]) -> T:
        """What `attempt` gives for the first candidate that it takes.

        Raises:
            MorphError: it takes none, with the first places and their reasons.
        """
        reasons: dict[str, str] = {}
        free = (morph for morph in self.candidates(context) if target_of(morph) not in context.excluded)
        for morph in islice(free, ATTEMPTS):
            try:
                return attempt(morph)
            except MorphError as error:
                reasons.setdefault(error.got, target_of(morph))
        told = [f"{place}: {reason}" for reason, place in list(reasons.items())[:TOLD]]
        raise MorphError(f"a place for {self.name}", "; ".join(told) or "no layer to act on", "choose another action")

    def refusal(self, context: ActionContext) -> str:
        """See `StructuralOperator.refusal`.

        Where there is a budget the change is planned, for its cost; else it is only worked out, which a large network
        allows twenty times as often. A plan that then fails is a refusal of `apply`.
        """
        try:
            if context.budget is None:
                self._first(context, lambda morph: _try_draft(context, morph))
            else:
                self.plan(context)
        except MorphError as error:
            return error.got
        return ""

    def apply(self, context: ActionContext, optimizer: Optimizer | None = None) -> tuple[MorphReport, ...]:
        """See `StructuralOperator.apply`."""
        return (apply(self.plan(context), context.model, optimizer),)


def _try_draft(context: ActionContext, morph: Morph) -> None:
    morph.check_steps(context.model, context.example, traces=context.traces)


def rollback_all(reports: Iterable[MorphReport]) -> None:
    """Roll back changes, the last one first."""
    for report in reversed(tuple(reports)):
        rollback(report)


def ranked(context: ActionContext, score: str) -> list[str]:
    """Names of the measured layers but the last, the largest score first; equal ones in the order of the forward.

    The units of the last layer are the logits.
    """
    random = Random(context.seed)
    found = {name: LAYER_SCORES[score](layer, random) for name, layer in list(context.layers.items())[:-1]}
    return sorted(found, key=lambda name: -found[name])


@dataclass(frozen=True, kw_only=True)
class PruneByEntropy(MorphOperator):
    """Fewer units in one layer: the units that say least.

    The layer with the largest `score` loses the `ratio` of its units, at least one, with the smallest `units` score.
    """

    name: ClassVar[str] = "prune"
    ratio: float = 0.25
    """Share of the layer's units, in (0, 1]."""
    least: int = 4
    """Units that a layer keeps at least, >= 1."""
    score: str = "information"
    """Which layer, by a name of `LAYER_SCORES`."""
    units: str = "taylor"
    """Which units stay, by a name of `UNIT_SCORES`; entropy is the documented choice, `lab experiment scores` prefers
    this one."""

    def __post_init__(self) -> None:
        require_range("ratio", self.ratio, 0, 1, open_low=True)
        require_range("least", self.least, 1)
        require_choice("score", self.score, LAYER_SCORES.keys())
        require_choice("units", self.units, UNIT_SCORES.keys())

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`."""
        for layer in ranked(context, self.score):
            found = context.layers[layer]
            keep = max(self.least, found.width - max(1, round(found.width * self.ratio * context.strength)))
            if keep < found.width:
                worth_C = UNIT_SCORES[self.units](found, Random(context.seed))
                kept = sorted(worth_C.argsort(descending=True)[:keep].tolist())
                yield Prune(layer, tuple(kept))


@dataclass(frozen=True, kw_only=True)
class ExpandWithMI(MorphOperator):
    """More units in one layer, without change of the function (Net2Net): the layer with the largest `score`."""

    name: ClassVar[str] = "expand"
    ratio: float = 0.5
    """Share by which its units grow, > 0; at least one is added."""
    score: str = "little_redundancy"
    """Which layer, by a name of `LAYER_SCORES`; information is the documented choice, and says nothing (`lab experiment
    scores`)."""

    def __post_init__(self) -> None:
        require_range("ratio", self.ratio, 0, open_low=True)
        require_choice("score", self.score, LAYER_SCORES.keys())

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """See `MorphOperator.candidates`; where only certain widths are legal, the next one."""
        for layer in ranked(context, self.score):
            width = context.layers[layer].width
            wanted = width + max(1, round(width * self.ratio * context.strength))
            yield Widen(layer, wanted)
            yield Widen(layer, 2 * width)
