"""All instruments on one model, as one page."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import ConfigError, LabError, takes
from lab.device import named_tensors
from lab.doctor.audit import audit
from lab.doctor.backward import BackwardReport, explain_backward
from lab.doctor.page import DoctorReport
from lab.doctor.place import traceback_place
from lab.doctor.process import process_check
from lab.doctor.simulate import OK, UNDECIDED, SimulationReport, simulate
from lab.doctor.stand_in import COPY_ERRORS, CopyError
from lab.doctor.training import NO_GRAPH_TEXT, LearningReport, UnfilledError, explain_training
from lab.doctor.untouched import untouched
from lab.state import preserved_rng

Placement = str | torch.device | Mapping[str, torch.device | str]
"""A device for the whole model, or devices by prefix of module names."""


ONE_GPU: tuple[Placement, ...] = ("cuda:0",)
"""Where a model is simulated that was given no placement."""


def examine(
    model: nn.Module,
    batch: Any = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    placements: Sequence[Placement] | None = None,
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
        placements: where to simulate the model; None: on one GPU, where there is a batch; (): nowhere.
        follow_data: simulate with real values.
        step: a step of the user's own training for `explain_training`; default: the loss of the batch.
        optimizer: of the training, or all of them; default: plain SGD.

    Raises:
        ConfigError: placements without a batch, a batch that forward cannot take, a loss that is no function of output
            and batch or gives no scalar tensor, or an output without floating tensors and no loss.
        PlacementError: a placement that names no device or no part.
        Exception: what forward and `loss` raise that is no fault of a backward pass and that no simulation shows.
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
    notes, missing = [], []
    simulations: list[SimulationReport] = []
    backward, training, refused = None, None, []
    shown = False
    if batch is None:
        missing.append("no batch was given: forward and backward were not run")
    elif hollow:
        missing.append("the model has meta tensors: forward and backward were not run")
    else:
        args, kwargs = _arguments(batch)
        for placement in ONE_GPU if placements is None else placements:
            with _Attempt(f"simulation on {placement}") as attempt, _forward_takes(model, args, kwargs):
                simulations.append(_simulate(model, args, kwargs, placement, follow_data))
            refused += attempt.refused
        if placements is not None and not placements:
            notes.append("no placement was given: none was simulated")
        shown = any(report.verdict not in (OK, UNDECIDED) for report in simulations)
        if trainable:
            with _Attempt("backward", errors=shown) as attempt, _forward_takes(model, args, kwargs):
                backward = _backward(model, args, kwargs, batch, loss or _mean)
            if attempt.without_graph:
                notes.append("the loss has no graph: backward was not run")
            refused += attempt.refused
        else:
            notes.append("no parameter requires a gradient: backward was not run")
    raised = backward is not None and not all(finding.silent for finding in backward.findings)
    if raised:
        notes.append("backward raised: training was not checked")
    elif (step is not None or batch is not None) and not hollow and trainable:
        with _Attempt("training", errors=shown or (step is None and backward is None)) as attempt:
            training = _training(model, batch, loss or _mean_and_square, step, optimizer)
        refused += attempt.refused
    return DoctorReport(
        process=process_check(),
        audit=looked_at,
        simulations=tuple(simulations),
        backward=backward,
        training=training,
        refused=tuple(refused),
        missing=tuple(missing),
        notes=tuple(notes),
    )


class _Attempt:
    """Inside, an instrument runs; what cannot be run becomes a line that says why, and the page goes on.

    Args:
        instrument: its name on the page.
        errors: errors of forward become such a line too.
    """

    def __init__(self, instrument: str, *, errors: bool = True) -> None:
        self._instrument = instrument
        self._errors = errors
        self.refused: list[str] = []
        self.without_graph = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, RuntimeError) and NO_GRAPH_TEXT in str(error):
            self.without_graph = True
            return True
        if isinstance(error, CopyError | UnfilledError):
            reason = f"needs {error.expected}; got {error.got}; {error.hint}"
        elif self._errors and isinstance(error, Exception) and not isinstance(error, LabError):
            place, _ = traceback_place(trace)
            reason = f"{type(error).__name__}: {error}" + (f" at {place}" if place is not None else "")
        else:
            return False
        self.refused.append(f"{self._instrument} ({' '.join(reason.split())})")
        return True


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
            hint = (
                "a batch holds forward's arguments alone: a tensor, a tuple with an item for each, or a mapping; "
                "a target belongs into the loss (make_loss) or into your own step (make_step)"
            )
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
) -> SimulationReport:
    by_prefix = placement if isinstance(placement, Mapping) else None
    first = next(iter(placement.values()), "cuda") if isinstance(placement, Mapping) else placement
    return simulate(model, args, kwargs, device=first, placement=by_prefix, follow_data=follow_data)


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
) -> LearningReport:
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
    return (
        mean
        + torch.stack(
            [tensor.float().square().mean() for _, tensor in named_tensors(output) if tensor.is_floating_point()]
        ).sum()
    )
