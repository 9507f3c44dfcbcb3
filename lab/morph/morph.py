"""`Morph`: what every operation of surgery is, and how its plan is tried on a copy before it is given out."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lab.base import MorphError
from lab.morph.edit import execute
from lab.morph.plan import MorphPlan
from lab.morph.steps import Step
from lab.morph.trace import MODEL_ERRORS, Example, Traces, run
from lab.nn import count_flops
from lab.state import preserved_rng, structure_digest

EXACT = 1e-10
"""Largest relative difference in float64 of an exact change."""
STOCHASTIC = ("Dropout", "DropPath", "StochasticDepth", "DropBlock")


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
            self.draft_with(traces or Traces(), model, example, seed)

    def plan(self, model: nn.Module, example: Example, *, seed: int = 0, traces: Traces | None = None) -> MorphPlan:
        """What this operation does to `model`: worked out, tried on a copy, and measured there in float64.

        Args:
            model: any module; it is not touched, and neither are the global random streams.
            example: an input: a tensor, a tuple of positional or a dict of keyword arguments. Batches of four and more
                let BatchNorm be tried in train mode.
            seed: of everything that is drawn.
            traces: shared by the changes of one model that are weighed against each other.

        Raises:
            MorphError: the operation cannot be exact here, with the reason.
        """
        with preserved_rng():
            draft = self.draft_with(traces or Traces(), model, example, seed)
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
            return _tried(plan, model, example, exact)


def _plain(value: Any) -> Any:
    if isinstance(value, Morph):
        return {"op": value.name, **value.arguments()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tried(plan: MorphPlan, model: nn.Module, example: Example, exact: bool) -> MorphPlan:
    example = double(example)
    try:
        before = copy.deepcopy(model).double()
        after = copy.deepcopy(before)
    except MODEL_ERRORS as error:
        raise MorphError("a model that can be copied", _line(error), "make copy.deepcopy work on it") from error
    execute(plan, after, None)
    try:
        flops, difference = compare(before, after, example)
    except MODEL_ERRORS as error:
        raise MorphError("a forward that runs", _line(error), "look for a size written into the forward") from error
    # Not `>`: a difference that is NaN must not pass.
    if exact and not difference <= EXACT:
        got = f"a relative difference of {difference:.1e}"
        hint = "something in the forward depends on the width; leave it or choose another layer"
        raise MorphError(f"an output that stays within {EXACT:g}", got, hint)
    sizes = tuple(sum(p.numel() for p in changed.parameters()) for changed in (before, after))
    return replace(plan, exact=exact, max_difference=difference, parameters=(sizes[0], sizes[1]), flops=flops)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def double(example: Example) -> Example:
    """The example with every floating tensor in float64."""

    def convert(item: Any) -> Any:
        return item.double() if isinstance(item, Tensor) and item.is_floating_point() else item

    converted: Example = pytree.tree_map(convert, example)
    return converted


def compare(before: nn.Module, after: nn.Module, example: Example) -> tuple[tuple[int, int], float]:
    """FLOPs of both models, and the largest max|y' - y| / max|y| over all outputs, eval and train mode without chance.

    Both models are changed: modes, statistics, dropout. Train mode is left out where `before` cannot run in it, as
    BatchNorm of a single value.
    """
    # Eval mode first: a forward in train mode moves the statistics of BatchNorm.
    with count_flops() as old:
        expected = _outputs(before, example, training=False)
    with count_flops() as new:
        worst = max(map(_relative, _outputs(after, example, training=False), expected), default=0.0)
    flops = old.total, new.total
    try:
        expected = _outputs(before, example, training=True)
    except ValueError:
        return flops, worst
    return flops, max([worst, *map(_relative, _outputs(after, example, training=True), expected)])


def _outputs(model: nn.Module, example: Example, training: bool) -> list[Tensor]:
    model.train(training)
    for module in model.modules():
        stochastic = any(word in type(module).__name__ for word in STOCHASTIC)
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in name.lower() or (stochastic and name == "p")):
                setattr(module, name, 0.0)
    # What is random beyond that draws the same for both.
    with torch.no_grad(), preserved_rng(0):
        leaves = pytree.tree_leaves(run(model, example))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _relative(after: Tensor, before: Tensor) -> float:
    if after.shape != before.shape:
        return float("inf")
    if before.numel() == 0:
        return 0.0
    gap = float((after.double() - before.double()).abs().max())
    largest = float(before.abs().max())
    if gap == 0.0:
        return 0.0
    # A gap that is no number is no small one.
    return gap / largest if largest > 0.0 and isfinite(gap) else float("inf")
