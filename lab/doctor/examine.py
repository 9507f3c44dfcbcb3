"""All instruments on one model, as one page."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import ConfigError, Report, ReportTable, takes
from lab.device import named_tensors
from lab.doctor.audit import AuditReport, audit
from lab.doctor.backward import BackwardReport, explain_backward
from lab.doctor.process import ProcessReport, process_check
from lab.doctor.simulate import MISMATCH, RAISES, UNDECIDED, SimulationReport, simulate
from lab.doctor.stand_in import COPY_ERRORS, CopyError
from lab.doctor.training import NO_GRAPH_TEXT, TrainingReport, UnfilledError, explain_training
from lab.doctor.untouched import untouched
from lab.state import preserved_rng

Placement = str | torch.device | Mapping[str, torch.device | str]
"""A device for the whole model, or devices by prefix of module names."""


@dataclass(frozen=True, kw_only=True)
class DoctorReport(Report):
    """The reports of all instruments that ran."""

    process: ProcessReport
    """Of `process_check`."""
    audit: AuditReport
    """Of `audit`."""
    simulations: tuple[SimulationReport, ...]
    """Of `simulate`, in the order of the placements."""
    backward: BackwardReport | None
    """None: not run; `notes` says why."""
    training: TrainingReport | None
    """None: not run; `notes` says why."""
    refused: tuple[str, ...]
    """Instruments that could not be run on this model, and why."""
    notes: tuple[str, ...]
    """What was not asked for, or makes no sense for this model."""

    @property
    def ok(self) -> bool:
        """Nothing was found, no simulation was left undecided and no instrument was refused."""
        simulated = all(simulation.ok for simulation in self.simulations)
        trained = all(report is None or report.ok for report in (self.backward, self.training))
        return self.process.ok and self.audit.ok and simulated and trained and not self.refused

    @property
    def headline(self) -> str:
        """How much each instrument found; what was not run is no part of `nothing found`."""
        if self.ok:
            run = self.simulations or self.backward is not None or self.training is not None
            return "nothing found" if run else "nothing found by looking; nothing was run"
        counts = {
            "process": len(self.process.findings),
            "audit": len(self.audit.findings),
            "simulation": sum(report.verdict in (MISMATCH, RAISES) for report in self.simulations),
            "backward": 0 if self.backward is None else len(self.backward.findings),
            "training": 0 if self.training is None else len(self.training.findings),
        }
        found = ", ".join(f"{count} by {name}" for name, count in counts.items() if count)
        undecided = sum(report.verdict == UNDECIDED for report in self.simulations)
        texts = (
            f"{sum(counts.values())} found ({found})" if found else "",
            f"{undecided} simulated without a verdict" if undecided else "",
            f"{len(self.refused)} not run" if self.refused else "",
        )
        return "; ".join(text for text in texts if text)

    def to_dict(self) -> dict[str, Any]:
        """The reports as JSON-ready data."""
        return {
            "ok": self.ok,
            "process": self.process.to_dict(),
            "audit": self.audit.to_dict(),
            "simulations": [simulation.to_dict() for simulation in self.simulations],
            "backward": None if self.backward is None else self.backward.to_dict(),
            "training": None if self.training is None else self.training.to_dict(),
            "refused": list(self.refused),
            "notes": list(self.notes),
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """The verdict, then each report."""
        refused = tuple(f"not run: {refusal}" for refusal in self.refused)
        head = ReportTable(title=f"Doctor: {self.headline}", columns=(), rows=(), notes=(*refused, *self.notes))
        run = [report for report in (self.backward, self.training) if report is not None]
        reports = (self.process, self.audit, *self.simulations, *run)
        return (head, *(table for report in reports for table in report.tables()))


def examine(
    model: nn.Module,
    batch: Any = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    placements: Sequence[Placement] = (),
    follow_data: bool = False,
    step: Callable[[], Any] | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
) -> DoctorReport:
    """Run `audit`, `process_check`, `simulate` for each placement, `explain_backward` over two backward passes, and
    `explain_training` over one step.

    Args:
        model: any module; it is left as it is. Of one that `copy.deepcopy` cannot copy only what needs no copy is run.
        batch: input of forward: a tensor, a tuple of positional arguments, or a mapping of keyword arguments. None:
            only what needs no forward is run.
        loss: from the output of forward and `batch` to a scalar; default: the means of all floating outputs, added.
        placements: where to simulate the model.
        follow_data: simulate with real values.
        step: a step of the user's own training for `explain_training`; default: the loss of the batch.
        optimizer: of the training, or all of them; default: plain SGD.

    Raises:
        ConfigError: placements without a batch, a batch that forward cannot take, a loss that is no function of output
            and batch or gives no scalar tensor, or an output without floating tensors and no loss.
        PlacementError: a placement that names no device or no part.
        Exception: what forward and `loss` raise that is no fault of a backward pass.
    """
    if placements and batch is None:
        hint = "give a tensor, a tuple of arguments, or a dict of keyword arguments"
        raise ConfigError("a batch to simulate with", "placements without one", hint)
    if loss is not None and not takes(loss, None, batch):
        got = f"{getattr(loss, '__name__', type(loss).__name__)}{inspect.signature(loss)}"
        raise ConfigError("loss(output, batch)", got, "give a function of these two")
    looked_at = audit(model, optimizer)
    hollow = any(finding.kind.startswith("meta ") for finding in looked_at.findings)
    trainable = any(parameter.requires_grad for parameter in model.parameters())
    notes = []
    simulations: tuple[SimulationReport, ...] = ()
    backward, training, refused = None, None, []
    if batch is None:
        notes.append("no batch was given: forward and backward were not run")
    elif hollow:
        notes.append("the model has meta tensors: forward and backward were not run")
    else:
        args, kwargs = _arguments(batch)
        with _forward_takes(model, args, kwargs):
            simulated = [_simulate(model, args, kwargs, placement, follow_data) for placement in placements]
        simulations = tuple(report for report in simulated if isinstance(report, SimulationReport))
        refused = [report for report in simulated if isinstance(report, str)]
        if not placements:
            notes.append("no placement was given: none was simulated")
        if trainable:
            try:
                with _forward_takes(model, args, kwargs):
                    backward = _backward(model, args, kwargs, batch, loss or _mean)
            except CopyError as error:
                refused.append(f"backward ({_in_a_line(error)})")
            except RuntimeError as error:
                if NO_GRAPH_TEXT not in str(error):
                    raise
                notes.append("the loss has no graph: backward was not run")
        else:
            notes.append("no parameter requires a gradient: backward was not run")
    raised = backward is not None and not all(finding.silent for finding in backward.findings)
    if raised:
        notes.append("backward raised: training was not checked")
    elif (step is not None or batch is not None) and not hollow and trainable:
        try:
            training = _training(model, batch, loss or _mean_and_square, step, optimizer)
        except UnfilledError as error:
            refused.append(f"training ({_in_a_line(error)})")
    return DoctorReport(
        process=process_check(),
        audit=looked_at,
        simulations=simulations,
        backward=backward,
        training=training,
        refused=tuple(refused),
        notes=tuple(notes),
    )


def _in_a_line(error: CopyError | UnfilledError) -> str:
    return f"needs {error.expected}; got {error.got}; {error.hint}".replace("\n", " ")


def _arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), dict(batch)
    return (tuple(batch) if isinstance(batch, tuple | list) else (batch,)), {}


@contextmanager
def _forward_takes(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
    """Says of an error of forward that the batch is no input for it, where that is the reason."""
    try:
        yield
    except (TypeError, AttributeError) as error:
        # Asked only now: hooks may change the arguments, and a forward may take strings.
        if not takes(model.forward, *args, **kwargs):
            got = f"{len(args)} by position" + (f", and {', '.join(kwargs)} by name" if kwargs else "")
            hint = "a batch is a tensor, a tuple with an item for each argument, or a mapping of them; a target is none"
            raise ConfigError(f"the arguments of forward{inspect.signature(model.forward)}", got, hint) from error
        if not any(True for _ in named_tensors((args, kwargs))):
            kinds = ", ".join(type(value).__name__ for value in (*args, *kwargs.values())) or "nothing"
            raise ConfigError("a batch with tensors", f"{kinds} ({error})", "give tensors") from error
        raise


def _scalar(value: Any) -> Tensor:
    """`value`, where it is a loss that backward can begin at."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError("a loss that gives a tensor with one value", got, "return for instance its mean()")
    return value


def _simulate(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], placement: Placement, follow_data: bool
) -> SimulationReport | str:
    """The report, or why there is none."""
    by_prefix = placement if isinstance(placement, Mapping) else None
    first = next(iter(placement.values()), "cuda") if isinstance(placement, Mapping) else placement
    try:
        return simulate(model, args, kwargs, device=first, placement=by_prefix, follow_data=follow_data)
    except CopyError as error:
        return f"simulation on {placement} ({_in_a_line(error)})"


def _backward(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], batch: Any, loss: Callable[[Any, Any], Tensor]
) -> BackwardReport:
    """Two passes over a copy: a state that carries its graph shows in the second."""
    try:
        twin = copy.deepcopy(model)
    except COPY_ERRORS as error:
        got = f"{type(model).__name__}, where that fails ({error})"
        hint = "give it a __deepcopy__, or call explain_backward yourself"
        raise CopyError("a model that copy.deepcopy can copy", got, hint) from error

    def two_passes() -> None:
        for _ in range(2):
            _scalar(loss(twin(*args, **kwargs), batch)).backward()

    with preserved_rng(), untouched(model=model, batch=batch, loss=loss):
        return explain_backward(two_passes, model=twin)


def _training(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Any, Any], Tensor],
    step: Callable[[], Any] | None,
    optimizer: Optimizer | Sequence[Optimizer] | None,
) -> TrainingReport:
    """One step of the user's, or one over the batch."""
    args, kwargs = _arguments(batch)

    def over_the_batch() -> Tensor:
        with _forward_takes(model, args, kwargs):
            return _scalar(loss(model(*args, **kwargs), batch))

    with preserved_rng(), untouched(model=model, batch=batch, loss=loss, step=step):
        # a model that came in eval mode is no fault of a step that is not the user's
        return explain_training(model, step or over_the_batch, optimizer, judge_mode=step is not None)


def _mean(output: Any, batch: Any) -> Tensor:
    tensors = [tensor for _, tensor in named_tensors(output) if tensor.is_floating_point()]
    if not tensors:
        hint = "give loss=, a function of the output and the batch"
        raise ConfigError("an output with floating tensors", type(output).__name__, hint)
    return torch.stack([tensor.float().mean() for tensor in tensors]).sum()


def _mean_and_square(output: Any, batch: Any) -> Tensor:
    """A loss that has a gradient also where outputs are zero, and where their sum is constant."""
    mean = _mean(output, batch)
    return mean + torch.stack(
        [tensor.float().square().mean() for _, tensor in named_tensors(output) if tensor.is_floating_point()]
    ).sum()
