"""`Morph`: what every operation of surgery is, and how its plan is tried on a copy before it is given out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import nn

from lab.morph.plan import MorphPlan
from lab.morph.steps import Step
from lab.morph.trace import Example, Traces, traces_of
from lab.morph.trial import tried
from lab.state import preserved_rng, structure_digest


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The steps of a plan before it was tried."""

    steps: tuple[Step, ...]
    units: tuple[int, ...] = ()
    old_units: int = 0
    shares: tuple[float, ...] = ()
    note: str = ""
    exact: bool | None = None
    """Whether the function must stay what it is; None: as the operation says."""
    weights: str = ""
    """Digest of the weights, where it is for these only that it stays."""


@dataclass(frozen=True)
class Morph(ABC):
    """One operation of surgery; `plan` says what it would do to a model."""

    name: ClassVar[str]
    exact: ClassVar[bool] = True
    """Whether the function must stay what it is."""

    @abstractmethod
    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """The steps, worked out and not yet tried."""

    def draft_with(self, traces: Traces, model: nn.Module, example: Example, seed: int) -> Draft:
        """As `build_steps`, with the widths that `traces` knows, where the operation needs them."""
        return self.build_steps(model, example, seed)

    def arguments(self) -> dict[str, Any]:
        """What it was asked for, as JSON data."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def check_steps(self, model: nn.Module, example: Example, *, seed: int = 0, traces: Traces | None = None) -> None:
        """Work the change out without trying it on a copy; `plan` may still find that it is not exact.

        Raises:
            MorphError: it is not possible here, with the reason.
        """
        with preserved_rng():
            self.draft_with(traces or traces_of(model), model, example, seed)

    def plan(self, model: nn.Module, example: Example, *, seed: int = 0, traces: Traces | None = None) -> MorphPlan:
        """What this operation does to `model`: worked out, tried on a copy, and measured there in float64.

        Args:
            model: any module; it is not touched, and neither are the global random streams.
            example: an input: a tensor, a tuple of positional or a dict of keyword arguments. Batches of four and more
                let BatchNorm be tried in train mode.
            seed: of everything that is drawn.
            traces: what is known of the model; None for what its earlier plans found.

        Raises:
            MorphError: the operation cannot be exact here, with the reason.
        """
        with preserved_rng():
            draft = self.draft_with(traces or traces_of(model), model, example, seed)
            exact = self.exact if draft.exact is None else draft.exact
            plan = MorphPlan(
                op=self.name,
                arguments=self.arguments(),
                steps=draft.steps,
                units=draft.units,
                old_units=draft.old_units,
                shares=draft.shares,
                seed=seed,
                structure=structure_digest(model),
                weights=draft.weights,
                exact=exact,
                max_difference=0.0,
                parameters=(0, 0),
                flops=(0, 0),
                note=draft.note,
            )
            return tried(plan, model, example, exact)


def _plain(value: Any) -> Any:
    if isinstance(value, Morph):
        return {"op": value.name, **value.arguments()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
