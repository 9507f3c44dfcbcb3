"""Real values on the CPU under the label of another device, so that a forward can be followed where values decide.

A shadow is a CPU tensor that says it is on its label's device. Before each call of torch the labels of its arguments
must agree as devices must on a real machine; a device that is asked for becomes the label of the result; the work is
done on the CPU. Not covered: operations that torch itself calls inside one call.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

_CPU = torch.device("cpu")
_MOVES = (Tensor.to, Tensor.type_as)
_SIZES_ONLY = (Tensor.expand_as, Tensor.view_as, Tensor.reshape_as)
_ANYWHERE = (*_MOVES, *_SIZES_ONLY, Tensor.cpu, Tensor.cuda, Tensor.copy_, Tensor.__setitem__)
NUMPY = (Tensor.numpy, Tensor.__array__)
_PROPERTY = ("__get__", "__set__", "__delete__")


class LabelMismatch(RuntimeError):
    """Labels that do not agree in one call."""


class FakeDeviceTensor(Tensor):
    """A CPU tensor with the label of another device."""

    label: torch.device
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The label; to torch's own code the CPU."""
        return self.label if _users_code_asks() else _CPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """The label is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """The label is another device."""
        return self.device == _CPU

    def get_device(self) -> int:
        """Number of the label's device."""
        return self.label.index or 0


def shadow(tensor: Tensor, label: torch.device) -> Tensor:
    """A view of `tensor` under `label`; for the CPU a plain tensor."""
    if label == _CPU:
        return tensor.as_subclass(Tensor) if isinstance(tensor, FakeDeviceTensor) else tensor
    result = tensor.as_subclass(FakeDeviceTensor)
    result.label = label
    return result


def shadow_copy(tensor: Tensor, label: torch.device) -> Tensor:
    """A copy of `tensor`'s values under `label`; a parameter stays one."""
    values, label = tensor.detach().to("cpu", copy=True), indexed(label)
    if label == _CPU:
        return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values
    result = Tensor._make_subclass(FakeDeviceTensor, values, tensor.requires_grad)
    assert isinstance(result, FakeDeviceTensor)
    result.label = label
    if isinstance(tensor, nn.Parameter):
        result._is_param = True
    return result


def indexed(device: torch.device) -> torch.device:
    """The device with its number: `cuda` is `cuda:0`."""
    return device if device.index is not None or device.type == "cpu" else torch.device(device.type, 0)


def label_of(tensor: Tensor) -> torch.device:
    """The label of a shadow, the device of any other tensor."""
    return tensor.label if isinstance(tensor, FakeDeviceTensor) else tensor.device


class FollowMode(TorchFunctionMode):
    """Runs every call on the CPU and carries the labels along."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        label = _CPU
        if getattr(func, "__name__", "") in _PROPERTY:
            label = label_of(leaves[0]) if leaves else _CPU
        else:
            label = common_label(func, leaves)
        call, args, kwargs, wanted = _on_cpu(func, args, kwargs or {})
        with _autocast(label):
            result = call(*args, **kwargs)
        return pytree.tree_map(lambda leaf: _labelled(leaf, wanted or label, leaves), result)


def _autocast(label: torch.device) -> AbstractContextManager[Any]:
    """The autocast of the label's device, for the CPU that does the work."""
    if label == _CPU or not torch.is_autocast_enabled(label.type):
        return nullcontext()
    return torch.autocast("cpu", dtype=torch.get_autocast_dtype(label.type))


def common_label(func: Callable[..., Any], leaves: list[Tensor]) -> torch.device:
    """The device of the call's result, where `leaves` are the tensors among its arguments.

    Raises:
        LabelMismatch: a GPU would not take these tensors in one call.
    """
    labels = [label_of(leaf) for leaf in leaves]
    first = labels[0] if labels else _CPU
    if func in NUMPY and first != _CPU:
        raise LabelMismatch(f"numpy needs a tensor on the CPU, not on {first}")
    if func in _ANYWHERE:
        return first
    if func is Tensor.__getitem__:
        wrong = [label for label in labels[1:] if label not in (first, _CPU)]
        if wrong:
            raise LabelMismatch(f"indices on {wrong[0]} for a tensor on {first}")
        return first
    # single numbers on the CPU may stand beside tensors of any device
    pairs = zip(leaves, labels, strict=True)
    devices = dict.fromkeys(label for leaf, label in pairs if leaf.dim() > 0 or label != _CPU)
    if len(devices) > 1:
        raise LabelMismatch(f"tensors on {' and '.join(map(str, devices))} in one call")
    return next(iter(devices), first)


def _users_code_asks() -> bool:
    """Torch runs its own code with the mode taken off the stack."""
    return bool(torch._C._len_torch_function_stack())


def _on_cpu(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any], torch.device | None]:
    """The call with the CPU in the place of any device, and the device that was asked for."""
    if func is Tensor.cpu:
        return func, args, kwargs, _CPU
    if func is Tensor.cuda:
        asked = args[1] if len(args) > 1 else kwargs.get("device")
        return Tensor.cpu, args[:1], {}, _as_device("cuda" if asked is None else asked)
    if kwargs.get("device") is not None:
        return func, args, {**kwargs, "device": _CPU}, _as_device(kwargs["device"])
    if func in _MOVES:
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if isinstance(other, Tensor):
            return func, args, kwargs, label_of(other)
        if isinstance(other, torch.device | str | int):
            return func, (args[0], _CPU, *args[2:]), kwargs, _as_device(other)
    return func, args, kwargs, None


def _as_device(asked: torch.device | str | int) -> torch.device:
    return torch.device("cuda", asked) if isinstance(asked, int) else indexed(torch.device(asked))


def _labelled(leaf: Any, label: torch.device, arguments: list[Tensor]) -> Any:
    """The result under its label; an argument that came back (an in-place call) stays itself."""
    if not isinstance(leaf, Tensor):
        return leaf
    if any(leaf is argument for argument in arguments):
        if label_of(leaf) == label:
            return leaf
        # on a real machine the move to another device is a copy
        return shadow(leaf.clone(), label)
    return leaf if isinstance(leaf, FakeDeviceTensor) and leaf.label == label else shadow(leaf, label)
