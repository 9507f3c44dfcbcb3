"""Why a model does not learn: one real step, watched, with a row for each parameter.

Covered: where values and gradients stop being finite, where the graph is cut, what no operation read, what the
optimizer leaves out, BatchNorm, recomputation. Afterwards the model, the optimizers, their gradients and torch's
random streams are as before, bit for bit. Not covered: faults that raise in backward (`explain_backward`), what shows
only after many steps, and what a step changes elsewhere (iterators, schedulers, gradient scalers): that stays changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lab.base import ConfigError, Report, ReportTable, takes
from lab.doctor.calls import CallWatch, watching_calls
from lab.doctor.diagnosis import Diagnosis
from lab.doctor.kept import KeptStep, kept_step
from lab.doctor.learning import LearningRow, StepFacts
from lab.doctor.training_faults import LearningFinding, some

NO_GRAPH_TEXT = "does not require grad and does not have a grad_fn"
_PLAIN_RATE = 0.1
RESTORED = "put back: parameters, buffers, attributes and modes of the model, gradients, optimizers, random streams"


class UnfilledError(ConfigError):
    """A model whose parameters have no values yet."""


@dataclass(frozen=True, kw_only=True)
class LearningReport(Report):
    """What `explain_training` found."""

    findings: tuple[LearningFinding, ...]
    parameters: tuple[LearningRow, ...]
    """One row for each parameter of the model and of the optimizers."""
    optimizer: str
    """What took the step."""
    loss: float | None
    """Value of the loss; None where the step gave none."""
    operations: int
    """Calls of torch that were watched."""
    notes: tuple[str, ...]
    """What is no fault by itself, what was not judged, and what was put back."""

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return {
            "ok": self.ok,
            "optimizer": self.optimizer,
            "loss": self.loss,
            "operations": self.operations,
            "notes": list(self.notes),
            "findings": [finding.to_dict() for finding in self.findings],
            "parameters": [row.to_dict() for row in self.parameters],
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """A line for the step, a table for each finding, and the parameters, those alike in one row."""
        verdict = "nothing found" if self.ok else f"{len(self.findings)} found"
        loss = "none" if self.loss is None else f"{self.loss:.4g}"
        title = f"Training: {verdict} (one step of {self.optimizer}, loss {loss}, {self.operations} calls)"
        found = [
            ReportTable(title=finding.category, columns=("what", "found"), rows=finding.rows())
            for finding in self.findings
        ]
        alike: dict[tuple[str, str, str], list[str]] = {}
        for row in self.parameters:
            alike.setdefault((row.gradient, row.step, row.because), []).append(row.name)
        rows = tuple((some(tuple(names)), *what) for what, names in alike.items())
        columns = ("parameters", "gradient", "step", "because of")
        head = ReportTable(title=title, columns=(), rows=(), notes=self.notes)
        return (head, *found, ReportTable(title="", columns=columns, rows=rows))


def explain_training(
    model: nn.Module,
    step: Callable[[], Any],
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    judge_mode: bool = True,
) -> LearningReport:
    """Take one step and say of each parameter what gradient it got, whether it moved, and because of which line.

    Args:
        model: its parameters get a row.
        step: computes the loss and gives it. It may also call backward and the optimizer; what it leaves out is done
            for it.
        optimizer: the one that trains the model, or all of them; None: plain SGD, which the report says.
        judge_mode: BatchNorm of a model in eval mode is a fault; False: a note.

    Returns:
        The report. `model`, `optimizer`, gradients and random streams are as before, also where `step` raises.

    Raises:
        UnfilledError: a model with meta or uninitialised parameters.
        ConfigError: a step that neither gives a loss nor calls backward.
        Exception: what `step` raises, but for the error of a loss without a graph, which is explained.
    """
    _require_values(model)
    if isinstance(optimizer, Optimizer):
        optimizers: list[Optimizer] = [optimizer]
    elif optimizer is not None:
        optimizers = list(optimizer)
    else:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizers = [torch.optim.SGD(trained, lr=_PLAIN_RATE)] if trained else []
    with kept_step(model, optimizers) as kept:
        facts = StepFacts(model, optimizers, step)
        loss = _take(model, step, optimizers, facts, kept)
        rows, findings, notes = Diagnosis(facts, judge_mode=judge_mode).run()
    chosen = "plain SGD, no optimizer was given" if optimizer is None else _names(optimizers)
    return LearningReport(
        findings=tuple(findings),
        parameters=tuple(rows),
        optimizer=chosen,
        loss=loss,
        operations=facts.calls,
        notes=(*notes, RESTORED),
    )


def _take(
    model: nn.Module, step: Callable[[], Any], optimizers: list[Optimizer], facts: StepFacts, kept: KeptStep
) -> float | None:
    """The step itself; what was seen goes into `facts`."""
    with watching_calls(frozenset(kept.tensors)) as watch, facts.following(watch):
        try:
            loss = step()
            _complete(loss, step, optimizers, facts, watch)
        except RuntimeError as error:
            if NO_GRAPH_TEXT not in str(error):
                raise
            facts.without_graph = True
        facts.finish(kept)
    return facts.loss


def _complete(
    loss: Any, step: Callable[[], Any], optimizers: list[Optimizer], facts: StepFacts, watch: CallWatch
) -> None:
    """Do what the user's step left out: backward, and the optimizer's step."""
    ran = bool(watch.gradients.roots)
    if not ran and not watch.losses:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ConfigError("a step that gives the loss (one value) or calls backward", got, "return the loss")
        loss.backward()
    if isinstance(loss, Tensor):
        facts.note_loss(loss)
    if facts.steps or facts.watch.scaled:
        return
    for optimizer in optimizers:
        if takes(optimizer.step):
            optimizer.step()
        else:
            optimizer.step(_closure(step))


def _closure(step: Callable[[], Any]) -> Callable[[], float]:
    """For optimizers that compute the loss themselves."""

    def closure() -> float:
        loss = step()
        loss.backward()
        return float(loss.detach())

    return closure


def _names(optimizers: list[Optimizer]) -> str:
    return ", ".join(type(optimizer).__name__ for optimizer in optimizers) or "no optimizer"


def _require_values(model: nn.Module) -> None:
    hollow = [name for name, parameter in model.named_parameters() if parameter.is_meta or is_lazy(parameter)]
    if hollow:
        got = f"{some(tuple(hollow))} on meta or not initialised"
        raise UnfilledError("parameters that have values", got, "fill them first (lab.device.materialize, one forward)")
