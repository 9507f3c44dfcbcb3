"""Prove that a model's forward runs on a GPU, on a machine that has none.

The forward of a copy runs on fake tensors, which have a device, a dtype and a shape but no values; where tensors meet
that are on two devices, or of dtypes that an operation does not take together, the module, the line and the operand
are named. With `follow_data=True` it runs on real values under the labels of devices, which goes on where fake tensors
have to stop (a branch on a value), at the cost of a copy of the weights and of a forward on the CPU. Not covered:
backward, memory, kernels that only a real GPU refuses, and what a constructor decided by `torch.cuda.is_available()`.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lab.base import PlacementError, Report, ReportTable
from lab.doctor.dtypes import FIX, DtypeMode, autocast_everywhere, is_dtype_error
from lab.doctor.fake_device import NUMPY, FollowMode, LabelMismatch, common_label, indexed, shadow, shadow_copy
from lab.doctor.kernels import ShapesMode
from lab.doctor.misplaced import FIXES, FailedCall, Operand, cause_of, operands_of
from lab.doctor.place import Place, traceback_place
from lab.doctor.stand_in import Copied, Places, map_tensors, stand_in_copy
from lab.doctor.untouched import untouched
from lab.state import preserved_rng

OK = "ok"
MISMATCH = "mismatch"
RAISES = "raises"
UNDECIDED = "undecided"

_DATA_DEPENDENT = (fake_tensor.DataDependentOutputException, fake_tensor.DynamicOutputShapeException)
_MISMATCHES = tuple(
    kind for kind in (getattr(fake_tensor, "FakeTensorDeviceMismatchError", None), LabelMismatch) if kind is not None
)


@dataclass(frozen=True, kw_only=True)
class SimulationReport(Report):
    """What `simulate` found."""

    verdict: str
    """ok; mismatch: tensors of two devices meet; raises: an operation does not take the dtypes that it gets; undecided:
    the forward could not be followed to its end."""
    devices: tuple[str, ...]
    """Where the model was put."""
    followed: bool
    """Real values were followed."""
    module: str
    """Path of the module whose forward stopped; empty for the model itself, and where it did not stop."""
    place: Place | None
    """The user's line that stopped; inside torch where no line of the user's is between."""
    operation: str
    """The call of torch that stopped."""
    operands: tuple[Operand, ...]
    """Its tensors."""
    cause: str
    """Which kind of mistake it is; empty where there is none or it is unknown."""
    fix: str
    """What to do."""
    reason: str
    """Torch's own words."""
    cached: tuple[str, ...] = ()
    """What had kept tensors of the simulation beyond it (caches, globals, closures); it was put back."""

    @property
    def ok(self) -> bool:
        """The forward ran to its end and every operation found its tensors on one device."""
        return self.verdict == OK

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        data = dict(vars(self))
        data["ok"] = self.ok
        data["devices"] = list(self.devices)
        data["cached"] = list(self.cached)
        data["place"] = None if self.place is None else self.place.to_dict()
        data["operands"] = [vars(operand) for operand in self.operands]
        return data

    def tables(self) -> tuple[ReportTable, ...]:
        """One table of facts."""
        how = "real values under device labels" if self.followed else "fake tensors"
        title = f"Simulation on {', '.join(self.devices)}: {self.verdict} ({how})"
        facts = (
            ("cause", self.cause),
            ("module", self.module or ("" if self.ok else "(the model)")),
            ("line", str(self.place or "")),
            ("operation", self.operation),
            (
                "operands",
                "; ".join(f"{one} {one.dtype}" if self.verdict == RAISES else str(one) for one in self.operands),
            ),
            ("fix", self.fix),
            ("reason", self.reason),
            ("cached by", f"{', '.join(self.cached)} (put back)" if self.cached else ""),
        )
        return (ReportTable(title=title, columns=("what", "found"), rows=tuple(fact for fact in facts if fact[1])),)


def simulate(
    model: nn.Module,
    args: Sequence[Any] | Tensor = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: torch.device | str = "cuda",
    placement: Mapping[str, torch.device | str] | None = None,
    input_device: torch.device | str | None = None,
    follow_data: bool = False,
) -> SimulationReport:
    """Run the forward of `model` as if it were on `device`.

    Args:
        model: any module that `copy.deepcopy` can copy; it is run in the mode in which it is (train or eval).
        args: positional arguments of forward (one tensor stands for a tuple of one).
        kwargs: keyword arguments of forward.
        device: where `to()` brings the model.
        placement: devices of parts, by prefix of module names (the longest counts); the rest is on `device`.
        input_device: where the arguments are; default: `device`.
        follow_data: run real values on the CPU under device labels.

    Returns:
        The verdict. Parameters, buffers, plain attributes, random streams, and what the user's modules keep (globals,
        class attributes, closures, caches) are as before.

    Raises:
        PlacementError: no such device or prefix, a model with meta tensors, or one that cannot be copied.
        Exception: what forward itself raises, unless it is a `RuntimeError` (that makes the verdict undecided).
    """
    places = _places(model, device, placement)
    arguments = ((args,) if isinstance(args, Tensor) else tuple(args), dict(kwargs or {}))
    at = places.default if input_device is None else _device(input_device)
    with untouched(model=model, args=arguments[0], kwargs=arguments[1]) as cached:
        report = _run(model, arguments, places, at, follow_data)
    return dataclasses.replace(report, cached=tuple(cached))


def _run(model: nn.Module, arguments: Any, places: Places, at: torch.device, follow_data: bool) -> SimulationReport:
    """The forward of a copy; what it leaves in caches stays there."""
    calls = _SimulatedCalls()
    with _unchanged_streams(), ExitStack() as stack:
        if follow_data:
            copied = stand_in_copy(model, places, shadow_copy)
            placed = map_tensors(arguments, lambda _, tensor: shadow(tensor.detach().to("cpu", copy=True), at))
            stack.enter_context(FollowMode())
        else:
            mode = FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
            copied = stand_in_copy(model, places, lambda tensor, where: _fake(mode, tensor, where))
            placed = map_tensors(arguments, lambda _, tensor: _fake(mode, tensor, at))
            stack.enter_context(mode)
            stack.enter_context(ShapesMode())
        stack.enter_context(DtypeMode())
        stack.enter_context(autocast_everywhere())
        stack.enter_context(calls)
        try:
            copied.model(*placed[0], **placed[1])
        except RuntimeError as error:
            return _stopped(error, copied, places, calls.failed, pytree.tree_leaves(placed), follow_data)
    return SimulationReport(
        verdict=OK,
        devices=tuple(map(str, places.devices)),
        followed=follow_data,
        module="",
        place=None,
        operation="",
        operands=(),
        cause="",
        fix="",
        reason="",
    )


class _SimulatedCalls(TorchFunctionMode):
    """Keeps the call of torch that failed last, and looks at calls that fake tensors let pass."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: FailedCall | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            if func is Tensor.__getitem__ or func in NUMPY:
                common_label(func, [leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, Tensor)])
            return func(*args, **kwargs)
        except RuntimeError:
            self.failed = FailedCall(func=func, args=args, kwargs=kwargs)
            raise


def _stopped(
    error: RuntimeError,
    copied: Copied,
    places: Places,
    call: FailedCall | None,
    inputs: list[Any],
    followed: bool,
) -> SimulationReport:
    place, _ = traceback_place(error.__traceback__)
    module = _module_of(error, copied)
    operands = operands_of(call, copied, inputs) if call is not None else ()
    by_value = isinstance(error, _DATA_DEPENDENT)
    if call is not None and call.func in NUMPY and not isinstance(error, LabelMismatch):
        by_value = True
    raises = not by_value and is_dtype_error(error, [operand.dtype for operand in operands])
    mismatch = not by_value and not raises and (isinstance(error, _MISMATCHES) or _spread(operands))
    cause = cause_of(operands, copied, places, module) if mismatch else ""
    operation = str(getattr(error, "func", "")) or (call.name if call is not None else "")
    if by_value:
        reason = f"the result of {operation} depends on values, and fake tensors have none"
        fix = "simulate(..., follow_data=True) follows real values"
    else:
        reason, fix = str(error).strip().split("\n")[0], FIX if raises else FIXES.get(cause, "")
    return SimulationReport(
        verdict=RAISES if raises else MISMATCH if mismatch else UNDECIDED,
        devices=tuple(map(str, places.devices)),
        followed=followed,
        module=module,
        place=place,
        operation=operation,
        operands=operands,
        cause=cause,
        fix=fix,
        reason=reason,
    )


def _spread(operands: Sequence[Operand]) -> bool:
    """Tensors on two devices; a single number on the CPU may stand beside tensors of any device."""
    return len({operand.device for operand in operands if operand.device != "cpu" or operand.shape}) > 1


def _module_of(error: BaseException, copied: Copied) -> str:
    """Path of the innermost module of the model whose method was running."""
    path = ""
    traceback = error.__traceback__
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        path = copied.modules.get(id(owner), path)
        traceback = traceback.tb_next
    return path


def _fake(mode: FakeTensorMode, tensor: Tensor, device: torch.device) -> Tensor:
    # Static shapes: a branch on a size can then be followed.
    bare = mode.from_tensor(tensor.detach(), static_shapes=True)
    with mode:
        moved = bare.to(device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(moved, tensor.requires_grad)
    return moved.requires_grad_(tensor.requires_grad) if tensor.requires_grad else moved


def _places(model: nn.Module, device: torch.device | str, placement: Mapping[str, torch.device | str] | None) -> Places:
    names = [name for name, _ in model.named_modules()]
    for prefix in placement or {}:
        if prefix not in names:
            hint = "take prefixes from model.named_modules()"
            raise PlacementError("names of modules in placement", repr(prefix), hint)
    by_prefix = {prefix: _device(where) for prefix, where in (placement or {}).items()}
    return Places(default=_device(device), by_prefix=by_prefix)


def _device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise PlacementError("a device such as 'cuda:0'", repr(device), "name one that torch knows") from error
    if found.type == "meta":
        raise PlacementError("a device that computes", "'meta'", "name the device that the model is for")
    return indexed(found)


@contextmanager
def _unchanged_streams() -> Iterator[None]:
    """Random streams come out as they went in; cuDNN, which a machine without a GPU cannot ask, is off inside.

    Torch's log of operations that fail is off inside, too: the report tells of them.
    """
    cudnn, silent = torch.backends.cudnn.enabled, fake_tensor.log.disabled
    with preserved_rng():
        try:
            torch.backends.cudnn.enabled = False
            fake_tensor.log.disabled = True
            yield
        finally:
            torch.backends.cudnn.enabled = cudnn
            fake_tensor.log.disabled = silent
