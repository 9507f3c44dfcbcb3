"""Copies of a model: with weights of their own, in double precision, or with the model's own memory."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lab.base import MorphError

# What running somebody's model can raise: anything else is a fault of ours or of the machine.
MODEL_ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    AssertionError,
    NotImplementedError,
    ArithmeticError,
)


PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, FunctionType, type)
"""Classes whose objects a copy shares."""
_EMPTY = (dict, set, OrderedDict)
_REGISTRIES = frozenset(name for name, value in vars(nn.Module()).items() if type(value) in _EMPTY)
"""Attributes that every module has for itself: parameters, children, hooks."""


def kept_results(model: nn.Module) -> dict[int, Any]:
    """What `copy.deepcopy` needs to be told of results that modules keep: each one's identity, and a copy of it.

    torch copies no tensor that an operation has made. Old `weight_norm` keeps its weight as one.
    """
    values = [
        value
        for module in model.modules()
        for name, value in vars(module).items()
        if type(value) not in PLAIN
        and name not in ("_parameters", "_modules")
        and not (name in _REGISTRIES and not value)
    ]
    kept = pytree.tree_leaves(values)
    return {id(item): item.detach().clone() for item in kept if isinstance(item, Tensor) and not item.is_leaf}


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model`; what it keeps of earlier forwards, such as an activation, is copied without its graph.

    Raises:
        MorphError: `copy.deepcopy` fails on it.
    """
    return _copied(model, {})


def aliased(model: nn.Module) -> nn.Module:
    """A copy of `model` whose weights and buffers are objects of their own in the memory of the model's.

    For one forward that writes to none of them: nothing is copied but modules.

    Raises:
        MorphError: `copy.deepcopy` fails on it.
    """
    return _copied(model, _replaced(model, lambda tensor: tensor.detach()))


def doubled_copy(model: nn.Module) -> nn.Module:
    """A copy of `model` as `double_model` changes it, made without a copy of another dtype beside it.

    Raises:
        MorphError: `copy.deepcopy` fails on it.
    """

    def converted(tensor: Tensor) -> Tensor:
        found = doubled_tensor(tensor.detach())
        return found if found.dtype != tensor.dtype else found.clone(memory_format=torch.preserve_format)

    # What is left, and whatever a module does of its own when its dtype changes.
    return double_model(_copied(model, _replaced(model, converted)))


def double_model(model: nn.Module) -> nn.Module:
    """The model itself with every floating tensor in float64, every complex one in complex128; off MPS, which has no
    float64."""
    return model._apply(doubled_tensor)


def double(example: Any) -> Any:
    """The example as `double_model` changes a model."""
    return pytree.tree_map(lambda item: doubled_tensor(item) if isinstance(item, Tensor) else item, example)


def doubled_tensor(tensor: Tensor) -> Tensor:
    """In float64 where it is floating, in complex128 where it is complex; off MPS."""
    if tensor.device.type == "mps":
        tensor = tensor.cpu()
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def release(model: nn.Module) -> None:
    """Take the memory of its weights and buffers from a copy that is done with, which a cycle of objects may hold."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.new_empty(0)


def _replaced(model: nn.Module, change: Callable[[Tensor], Tensor]) -> dict[int, Any]:
    """For `copy.deepcopy`: what stands for each weight and buffer of torch's own classes, by identity."""
    found: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor) is nn.Parameter:
            found[id(tensor)] = nn.Parameter(change(tensor), tensor.requires_grad)
        elif type(tensor) is Tensor and tensor.is_leaf:
            found[id(tensor)] = change(tensor)
            vars(found[id(tensor)]).update(vars(tensor))
    return found


def _copied(model: nn.Module, known: dict[int, Any]) -> nn.Module:
    memo = {**kept_results(model), **known}
    try:
        _copy_modules(model, memo)
        return copy.deepcopy(model, memo)
    except MODEL_ERRORS as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise MorphError("a model that copy.deepcopy copies", line, "keep no such object in a module") from error


def _copy_modules(model: nn.Module, memo: dict[int, Any]) -> None:
    """Copies of the modules that are copied attribute by attribute, put into what `copy.deepcopy` knows.

    It gives what that would, ten times as quickly: most of a module's attributes are plain, or empty.
    """
    usual: dict[type, bool] = {}
    twins: list[tuple[nn.Module, nn.Module]] = []
    for module in model.modules():
        cls = type(module)
        if cls not in usual:
            usual[cls] = _is_usual(cls)
        if usual[cls]:
            twins.append((module, cls.__new__(cls)))
    # All are known before the first is filled: one may hold another.
    memo |= {id(module): twin for module, twin in twins}
    # The innermost first: a class with a way of its own may look into what it holds.
    for module, twin in reversed(twins):
        vars(twin).update({name: _copy_value(name, value, memo) for name, value in vars(module).items()})


def _is_usual(cls: type) -> bool:
    """Whether the class leaves to `nn.Module` how it is copied, and keeps all in its attributes."""
    own = ("__deepcopy__", "__getstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__")
    return (
        cls.__setstate__ is nn.Module.__setstate__  # type: ignore[attr-defined]
        and cls.__new__ is object.__new__
        and not any(name in vars(base) for base in cls.__mro__[:-1] for name in own)
        and not any(vars(base).get("__slots__") for base in cls.__mro__)
    )


def _copy_value(name: str, value: Any, memo: dict[int, Any]) -> Any:
    if type(value) in PLAIN:
        return value
    if name in _REGISTRIES and not value:
        return type(value)()
    return copy.deepcopy(value, memo)
