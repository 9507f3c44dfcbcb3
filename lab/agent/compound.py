"""Operators made of operators: several in a row, and one whose strength follows a schedule."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from torch.optim import Optimizer

from lab.agent.operators import ActionContext, MorphOperator, StructuralOperator, rollback_all
from lab.base import MorphError, require_choice, require_range
from lab.morph import Morph, MorphReport

SCHEDULES: Mapping[str, Callable[[float, float, float], float]] = MappingProxyType(
    {
        "linear": lambda start, end, share: start + (end - start) * share,
        "exponential": lambda start, end, share: start * (end / start) ** share,
        "cosine": lambda start, end, share: end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0,
    }
)
"""How a strength goes from start to end as progress goes from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class CompoundOperator(StructuralOperator):
    """Every operator of a list that is possible, one after the other."""

    name: ClassVar[str] = "compound"
    operators: tuple[StructuralOperator, ...]
    """In the order in which they act, at least one."""

    def __post_init__(self) -> None:
        require_range("number of operators", len(self.operators), 1)

    def refusal(self, context: ActionContext) -> str:
        """Why none of them is possible; empty where one is."""
        reasons = [operator.refusal(context) for operator in self.operators]
        return "" if "" in reasons else "; ".join(reasons)

    def apply(self, context: ActionContext, optimizer: Optimizer | None = None) -> tuple[MorphReport, ...]:
        """See `StructuralOperator.apply`; a failure that is no refusal leaves the model as it was."""
        reports: list[MorphReport] = []
        reasons: list[str] = []
        done = False
        try:
            for operator in self.operators:
                try:
                    reports += operator.apply(context, optimizer)
                except MorphError as error:
                    reasons.append(f"{operator.name}: {error.got}")
            done = True
        finally:
            if not done:
                rollback_all(reports)
        if not reports:
            raise MorphError("an operator that is possible", "; ".join(reasons), "choose another action")
        return tuple(reports)


@dataclass(frozen=True, kw_only=True)
class AdaptiveOperator(MorphOperator):
    """An operator that changes less and less: its strength follows a schedule over the run's progress."""

    name: ClassVar[str] = "adaptive"
    base: MorphOperator
    """What acts."""
    progress: float = 0.0
    """Share of the run that is done, in [0, 1]; `at` gives the operator of another moment."""
    start: float = 1.0
    """Strength at progress 0, in (0, 1]."""
    end: float = 0.1
    """Strength at progress 1, in (0, 1]."""
    schedule: str = "linear"
    """linear, exponential or cosine."""

    def __post_init__(self) -> None:
        require_range("progress", self.progress, 0, 1)
        require_range("start", self.start, 0, 1, open_low=True)
        require_range("end", self.end, 0, 1, open_low=True)
        require_choice("schedule", self.schedule, SCHEDULES.keys())

    @property
    def strength(self) -> float:
        """The strength now; a function of progress alone."""
        return SCHEDULES[self.schedule](self.start, self.end, self.progress)

    def at(self, progress: float) -> "AdaptiveOperator":
        """The same operator at another progress."""
        return replace(self, progress=progress)

    def candidates(self, context: ActionContext) -> Iterable[Morph]:
        """Those of the base at this strength."""
        return self.base.candidates(replace(context, strength=context.strength * self.strength))
