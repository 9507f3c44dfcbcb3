"""How each tool is asked about a faulty program: as its user would, fixed before anything was compared.

A program is that of a folder of cases (`model`, `step`, `batch`, `optimizer`, `source`, `options`, what of them there
is). Every tool prints, warns or raises; what it says is one text. None is told what or where the fault is; `lab` is
told which of its instruments to ask, as a reader of docs/doctor.md knows by the symptom.
"""

import contextlib
import functools
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from lab.device import measure_leak, transfer_state
from lab.doctor import audit, explain_backward, explain_training, process_check, simulate

_HERE = os.path.dirname(__file__) + os.sep
_QUIET = (os.path.dirname(torch.__file__) + os.sep, _HERE)
_LEAK_CALLS = 6
Say = Callable[[object], object]
Tool = Callable[[Any, str, Say], None]
"""Asks about a program; gets the name of the doctor's instrument for it, and a function that takes its words."""


def said_of(tool: Tool, case: Any) -> str:
    """What a tool prints, warns of or raises about a case's program."""
    program = case.build()
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            with _Raised(text):
                tool(program, case.instrument, lambda words: text.write(f"{words}\n"))
        finally:
            if program.clean_up is not None:
                program.clean_up()
    return text.getvalue()


class _Raised:
    """Inside, an error is written down as a traceback prints it, without the frames that lie in this folder."""

    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        told = traceback.TracebackException.from_exception(error)
        _drop_own_frames(told)
        self._text.write("".join(told.format()))
        return True


def _drop_own_frames(told: traceback.TracebackException) -> None:
    kept = [frame for frame in told.stack if not frame.filename.startswith(_HERE)]
    told.stack = traceback.StackSummary.from_list(kept)
    for earlier in (told.__cause__, told.__context__):
        if earlier is not None:
            _drop_own_frames(earlier)


def _exercise(program: Any, instrument: str, say: Say, backward: Callable[[Tensor], object] = Tensor.backward) -> None:
    """Do with a program what its user does: load, move, run or train it."""
    if program.source is not None:
        program.model.load_state_dict(program.source.state_dict())
    elif program.step is not None:
        with _count_backward() as done:
            for _ in range(_LEAK_CALLS if instrument == "measure_leak" else 1):
                loss = program.step()
            if instrument == "explain_training" and not done:
                backward(loss)
        if instrument == "explain_training" and program.optimizer is not None:
            program.optimizer.step()
    elif program.batch is not None:
        output = program.model(*_arguments(program.batch))
        if output.requires_grad:
            backward(output.sum())
    else:
        program.model.to("cpu")


def _arguments(batch: Any) -> tuple[Any, ...]:
    return batch if isinstance(batch, tuple) else (batch,)


@contextlib.contextmanager
def _count_backward() -> Iterator[list[None]]:
    """Inside, each backward is an item of the list: what a step of its own leaves out is done for it."""
    original, done = torch.autograd.backward, list[None]()

    def counted(*args: Any, **kwargs: Any) -> None:
        done.append(None)
        original(*args, **kwargs)

    torch.autograd.backward = counted
    try:
        yield done
    finally:
        torch.autograd.backward = original


def _by_anomaly_mode(program: Any, instrument: str, say: Say) -> None:
    with torch.autograd.set_detect_anomaly(True):
        _exercise(program, instrument, say)


def _by_hooks(program: Any, instrument: str, say: Say) -> None:
    """What a user writes by hand: saved tensors that change or are not finite, gradients that are none, zero or NaN.

    With the node whose backward made the first gradient that is not finite.
    """

    def pack(tensor: Tensor) -> tuple[Tensor, int, str]:
        place = _user_line()
        if not tensor.is_meta and not tensor.isfinite().all():
            say(f"a tensor that is not finite is saved at {place}")
        return tensor, tensor._version, place

    def unpack(saved: tuple[Tensor, int, str]) -> Tensor:
        tensor, version, place = saved
        if tensor._version != version:
            say(f"the tensor that was saved at {place} was written since: version {version} to {tensor._version}")
        return tensor

    parameters = dict(program.model.named_parameters()) if program.model is not None else {}
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    for name, parameter in trained.items():
        parameter.register_hook(functools.partial(_say_of_gradient, say, name))
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        _exercise(program, instrument, say, functools.partial(_hooked_backward, say))
    if program.step is not None:
        for name, parameter in trained.items():
            if parameter.grad is None:
                say(f"{name} has no gradient")


def _hooked_backward(say: Say, loss: Tensor) -> None:
    """Backward, with a hook on every node of the graph."""
    seen, left = set[Any](), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [following for following, _ in node.next_functions]
            node.register_hook(functools.partial(_say_of_node, say, node.name()))
    loss.backward()


def _say_of_node(say: Say, name: str, after: tuple[Tensor | None, ...], before: tuple[Tensor | None, ...]) -> None:
    if _are_finite(before) and not _are_finite(after):
        say(f"{name} makes a gradient that is not finite")


def _are_finite(gradients: tuple[Tensor | None, ...]) -> bool:
    return all(gradient is None or gradient.is_meta or gradient.isfinite().all() for gradient in gradients)


def _say_of_gradient(say: Say, name: str, gradient: Tensor) -> None:
    if not gradient.is_meta and not gradient.isfinite().all():
        say(f"the gradient of {name} is not finite")
    elif not gradient.is_meta and not gradient.any():
        say(f"the gradient of {name} is zero")


def _user_line() -> str:
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_QUIET):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown line"


def _by_torchlens(program: Any, instrument: str, say: Say) -> None:
    import torchlens

    model, inputs = program.model, list[list[Any]]()
    if program.step is not None:
        model, inputs = _Step(program), [[]]
    elif program.batch is not None:
        inputs = [list(_arguments(program.batch))]
    options = torchlens.options.CaptureOptions(save_grads=True)
    try:
        trace = torchlens.trace(model, *inputs, capture=options)
    finally:
        partial = getattr(sys.exception(), "partial_log", None)
        if partial is not None:
            say(torchlens.debug.audit_trace(partial))
    say(trace.summary())
    with _Reported(say):
        trace.log_backward(trace[trace.output_layers[0]].out.sum())
    say(torchlens.debug.audit_trace(trace))


class _Step(nn.Module):
    """A module whose forward is the user's step: a frame of our own would be the line that torchlens names."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.model = program.model
        self.forward = program.step


class _Reported:
    """Inside, an error is printed by its last line, and the tool's report goes on."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self._say(f"{type(error).__name__}: {error}")
        return True


def _by_torchinfo(program: Any, instrument: str, say: Say) -> None:
    import torchinfo

    if program.model is not None:
        inputs = {} if program.batch is None else {"input_data": _arguments(program.batch)}
        say(torchinfo.summary(program.model, row_settings=("var_names", "depth"), verbose=2, **inputs))


def _by_accelerate(program: Any, instrument: str, say: Say) -> None:
    import accelerate

    accelerator = accelerate.Accelerator(cpu=True)
    if program.model is not None:
        say(f"tied parameters: {accelerate.utils.find_tied_parameters(program.model)}")
        if "placement" in program.options:
            accelerate.dispatch_model(program.model, device_map=dict(program.options["placement"]))
        accelerator.prepare(program.model)
    if isinstance(program.optimizer, torch.optim.Optimizer):
        accelerator.prepare(program.optimizer)
    _exercise(program, instrument, say, accelerator.backward)


def _by_lab(program: Any, instrument: str, say: Say) -> None:
    match instrument:
        case "audit":
            say(audit(program.model, program.optimizer, **program.options))
        case "simulate":
            say(simulate(program.model, _arguments(program.batch), **program.options))
        case "explain_backward":
            say(explain_backward(program.loop or program.step, model=program.model))
        case "explain_training":
            say(explain_training(program.model, program.step, program.optimizer))
        case "measure_leak":
            say(measure_leak(program.step, calls=_LEAK_CALLS, warm_up=2))
        case "transfer_state":
            transfer_state(program.source, program.model)
        case "process_check":
            program.step()
            say(process_check())


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "torch alone": _exercise,
        "anomaly mode": _by_anomaly_mode,
        "graph hooks": _by_hooks,
        "torchlens": _by_torchlens,
        "torchinfo": _by_torchinfo,
        "accelerate": _by_accelerate,
        "lab.doctor": _by_lab,
    }
)
"""Name in the table -> how it is asked."""
PACKAGES = ("torchlens", "torchinfo", "accelerate")
"""Those that are packages of their own (extra `peers`)."""
