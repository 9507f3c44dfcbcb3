"""Apply a plan, verify it on a batch of one's own, take it back.

Changes of one model are rolled back last in, first out. `rollback` restores the very objects and every bit: structure,
weights, buffers, gradients, optimizer, and the global random streams that training consumes.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import MorphError, Report, ReportTable
from lab.morph.edit import execute
from lab.morph.moments import check_optimizer
from lab.morph.plan import MorphPlan
from lab.morph.trace import Example
from lab.morph.trial import compare, measured
from lab.morph.twins import MODEL_ERRORS, copied, double, double_model, kept_results
from lab.state import (
    ModelSnapshot,
    OptimizerSnapshot,
    preserved_rng,
    rng_state,
    set_rng_state,
    structure_digest,
    weight_digest,
)

DEPTH = "_morphs"
"""Attribute of a changed model: how many changes stand."""


@dataclass(frozen=True, kw_only=True)
class Digests:
    """Digests of structure and weights before and after."""

    structure: tuple[str, str]
    """Of `lab.state.structure_digest`."""
    weights: tuple[str, str]
    """Of `lab.state.weight_digest`."""

    @property
    def changed(self) -> bool:
        """Whether anything is different at all."""
        return self.structure[0] != self.structure[1] or self.weights[0] != self.weights[1]


@dataclass
class _Undo:
    model: ModelSnapshot
    optimizer: OptimizerSnapshot | None
    random: dict[str, Any]
    depth: int


@dataclass(kw_only=True)
class MorphReport(Report):
    """What a change did."""

    model: nn.Module
    """The changed model, the same object as before."""
    plan: MorphPlan
    """What was carried out."""
    applied: bool
    """Whether structure or weights are other than before."""
    exact: bool
    """Whether the function is what it was."""
    max_difference: float
    """As measured when the change was planned; `verify` measures again, on a batch of one's own."""
    digests: Digests
    """Of the model before and after."""
    parameters: tuple[int, int]
    """Numbers of parameters before and after."""
    flops: tuple[int, int]
    """Floating-point operations of a forward on the plan's example, before and after."""
    seconds: float
    """Of `apply`."""
    moment_difference: float = 0.0
    """How far moments of copies may be off, relative: 0 unless the optimizer adds weight decay to the gradient."""
    undo: _Undo | None = field(default=None, repr=False)

    def release(self) -> None:
        """Free the snapshot; the change can then not be rolled back."""
        self.undo = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model and the snapshot."""
        return {
            "op": self.plan.op,
            "arguments": self.plan.arguments,
            "applied": self.applied,
            "exact": self.exact,
            "max_difference": self.max_difference,
            "structure": list(self.digests.structure),
            "weights": list(self.digests.weights),
            "parameters": list(self.parameters),
            "flops": list(self.flops),
            "seconds": self.seconds,
            "moment_difference": self.moment_difference,
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """What was done and what it cost."""
        state = "applied" if self.applied else "NOT applied: nothing is different"
        rows = [
            ("change", f"{self.plan.op} {self.plan.arguments}: {state}"),
            ("function", f"{'exact' if self.exact else 'changed'}, relative difference {self.max_difference:.1e}"),
            ("parameters", f"{self.parameters[0]:,} -> {self.parameters[1]:,}"),
            ("FLOPs", f"{self.flops[0]:,} -> {self.flops[1]:,}"),
            ("structure", " -> ".join(digest[:8] for digest in self.digests.structure)),
            ("weights", " -> ".join(digest[:8] for digest in self.digests.weights)),
            ("seconds", f"{self.seconds:.3f}"),
        ]
        if self.moment_difference:
            text = f"moments of copies off by up to {self.moment_difference:.1e}: it adds weight decay to the gradient"
            rows.append(("optimizer", f"{text}; AdamW does not"))
        if self.plan.note:
            rows.append(("note", self.plan.note))
        return (ReportTable(title="Change", columns=("what", "value"), rows=tuple(rows)),)


def apply(
    plan: MorphPlan, model: nn.Module, optimizer: Optimizer | None = None, *, replayed: bool = False
) -> MorphReport:
    """Change `model` in place as `plan` says, and its optimizer with it.

    Args:
        plan: made for a model of this structure.
        model: is changed. A parameter that gets another shape becomes another object, everywhere in the model and in
            the optimizer; whoever else holds the old one, such as an average of the weights, must fetch it again.
        optimizer: holds every trainable parameter. Its state is carried, new parameters join their neighbour's group.
        replayed: the change stood in an earlier run, and the weights that it is exact for come later, with its state.

    Raises:
        MorphError: the plan was made for another structure, or is exact for other weights only, or the optimizer cannot
            be carried; nothing is changed.
    """
    began = time.perf_counter()
    before, weights = structure_digest(model), weight_digest(model)
    _check_digests(plan, before, "" if replayed else weights)
    if optimizer is not None:
        check_optimizer(plan, model, optimizer)
    undo = _Undo(
        model=ModelSnapshot(model),
        optimizer=None if optimizer is None else OptimizerSnapshot(optimizer),
        random=rng_state(),
        depth=vars(model).get(DEPTH, 0) + 1,
    )
    done = False
    try:
        moments = execute(plan, model, optimizer)
        done = True
    finally:
        # In `finally`, so that an interrupt leaves no half-made change either.
        if not done:
            _restore(undo)
    vars(model)[DEPTH] = undo.depth
    digests = Digests(structure=(before, structure_digest(model)), weights=(weights, weight_digest(model)))
    return MorphReport(
        model=model,
        plan=plan,
        applied=digests.changed,
        exact=plan.exact,
        max_difference=plan.max_difference,
        digests=digests,
        parameters=plan.parameters,
        flops=plan.flops,
        seconds=time.perf_counter() - began,
        moment_difference=moments,
        undo=undo,
    )


def _check_digests(plan: MorphPlan, structure: str, weights: str) -> None:
    hint = "make a plan for the model as it is now"
    if structure != plan.structure:
        expected = f"a model of the structure {plan.structure[:8]} that the plan was made for"
        raise MorphError(expected, f"one of {structure[:8]}", hint)
    if plan.weights and weights and weights != plan.weights:
        expected = f"the weights {plan.weights[:8]} that the change is exact for"
        raise MorphError(expected, f"others, {weights[:8]}", hint)


def _restore(undo: _Undo) -> None:
    undo.model.restore()
    if undo.optimizer is not None:
        undo.optimizer.restore()
    set_rng_state(undo.random)


def rollback(report: MorphReport) -> nn.Module:
    """Put `report.model` back to the moment of `apply`, also after training; the model.

    Args:
        report: of the last change of the model; its snapshot is used up.

    Raises:
        MorphError: the snapshot was released or used, a later change stands, or a parametrization was added or removed
            since; nothing is put back then.
    """
    if report.undo is None:
        raise MorphError("a change with its snapshot", "one released or rolled back", "keep the report until then")
    depth = vars(report.model).get(DEPTH, 0)
    if depth != report.undo.depth:
        got = f"change {report.undo.depth} of {depth}"
        raise MorphError("the last change of the model", got, "roll back the later ones first")
    if others := report.undo.model.other_classes():
        hint = "register the parametrization again, or load a checkpoint from before the change"
        raise MorphError("modules of the classes that they had when the change was made", "; ".join(others), hint)
    _restore(report.undo)
    report.release()
    return report.model


def verify(report: MorphReport, batch: Example) -> float:
    """Largest relative difference on `batch` between the model now and at the moment before `apply`.

    In float64, or in the model's own dtype where the forward does not run in that. It is
    max|y' - y| / max|y|, the larger of eval mode and train mode without chance. The old function comes from the
    snapshot; neither the model nor a random stream is touched. Straight after `apply` this is the change's own
    difference; after training it is what training did.

    Args:
        report: of a change whose snapshot is kept.
        batch: an input, as `Morph.plan` takes it.

    Raises:
        MorphError: the snapshot was released, or the forward fails on the batch.
    """
    with preserved_rng():
        try:
            before, after = _both(report)
            return compare(measured(double_model(before), double(batch)), double_model(after), double(batch))[1]
        except MODEL_ERRORS:
            # A forward that does not run in float64 is compared in its own dtype.
            try:
                before, after = _both(report)
                return compare(measured(before, batch), after, batch)[1]
            except MODEL_ERRORS as error:
                line = (str(error).splitlines() or [type(error).__name__])[0]
                raise MorphError("a batch that both models take", line, "give one like the plan's example") from error


def loss_change(report: MorphReport, loss_fn: Callable[[nn.Module, Any], Tensor], batch: Any) -> tuple[float, float]:
    """The loss on `batch` before the change and now, in eval mode, neither model touched.

    Args:
        report: of a change whose snapshot is kept.
        loss_fn: `loss_fn(model, batch)` gives the mean loss.
        batch: what `loss_fn` takes.

    Raises:
        MorphError: the snapshot was released.
    """
    with preserved_rng(), torch.no_grad():
        before, after = _both(report)
        return float(loss_fn(before.eval(), batch)), float(loss_fn(after.eval(), batch))


def _both(report: MorphReport) -> tuple[nn.Module, nn.Module]:
    """Copies of the model as it was at the moment before `apply`, and as it is."""
    if report.undo is None:
        raise MorphError("a change with its snapshot", "one released or rolled back", "keep the report until then")
    # With one memo: the snapshot's copy is of the copy's own modules and tensors.
    memo = kept_results(report.model)
    before, snapshot = copy.deepcopy((report.model, report.undo.model), memo)
    snapshot.restore()
    return before, copied(report.model)


def rebuild(model: nn.Module, plans: tuple[MorphPlan, ...]) -> nn.Module:
    """Apply `plans` in order to a fresh `model`; the structure of a checkpoint comes back this way.

    Args:
        model: of the structure that the first plan was made for; is changed in place.
        plans: in the order in which they were applied.

    Raises:
        MorphError: a plan does not fit.
    """
    for plan in plans:
        apply(plan, model, replayed=True).release()
    return model
