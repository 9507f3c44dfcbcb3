"""Snapshots of a model and its optimizer, that put back every object and every bit.

Each is taken when it is made; `restore` brings that moment back as often as wanted.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class _Kept:
    """One tensor object: its storage at the time, and a copy of the values."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        # An alias, no copy: `restore` gives back this very memory, which views share, after `tensor.data = other`.
        self.data = tensor.data
        self.values = tensor.detach().clone()
        self.requires_grad = tensor.requires_grad
        self.grad = None if not tensor.is_leaf or tensor.grad is None else tensor.grad.detach().clone()

    def restore(self) -> None:
        with torch.no_grad():
            self.data.copy_(self.values)
        self.tensor.data = self.data
        if self.tensor.is_leaf:
            self.tensor.requires_grad_(self.requires_grad)
            # A copy: the next backward adds to it, and `restore` may be asked again.
            self.tensor.grad = None if self.grad is None else self.grad.clone()


class ModelSnapshot:
    """Modules, their attributes and registries, tensors as objects and as values, gradients.

    Takes as much memory again as the model's tensors and gradients.

    Args:
        model: any module; the snapshot is taken now and holds the model's objects.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [(module, _copy_attributes(vars(module))) for module in model.modules()]
        self._classes = [(name, module, type(module)) for name, module in model.named_modules()]
        self._tensors = [_Kept(tensor) for tensor in _held(self._modules)]

    def other_classes(self) -> list[str]:
        """What has become of modules that are of another class now, which `restore` cannot bring back.

        torch makes a class for a module with a parametrization, and takes the weight from it when that is removed.
        """
        return [
            f"{name or 'the model'}: {kind.__name__} -> {type(module).__name__}"
            for name, module, kind in self._classes
            if type(module) is not kind
        ]

    def restore(self) -> None:
        """Put everything back."""
        for module, attributes in self._modules:
            vars(module).clear()
            vars(module).update(_copy_attributes(attributes))
        for kept in self._tensors:
            kept.restore()


class OptimizerSnapshot:
    """Groups and state of an optimizer; the parameters' own values belong to `ModelSnapshot`.

    Args:
        optimizer: the snapshot is taken now; takes as much memory again as the optimizer's state.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._groups = [(group, {**group, "params": list(group["params"])}) for group in optimizer.param_groups]
        self._state = [(key, dict(value)) for key, value in optimizer.state.items()]
        tensors = [item for _, value in self._state for item in value.values() if isinstance(item, Tensor)]
        self._tensors = [_Kept(tensor) for tensor in tensors]

    def restore(self) -> None:
        """Put everything back; the groups stay the objects that a scheduler holds."""
        del self._optimizer.param_groups[len(self._groups) :]
        for group, values in self._groups:
            group.clear()
            group.update({**values, "params": list(values["params"])})
        self._optimizer.state.clear()
        for key, value in self._state:
            self._optimizer.state[key] = dict(value)
        for kept in self._tensors:
            kept.restore()


def _copy_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """One level deep: registries and plain containers are copied, what they hold is the same object."""
    copied = {}
    for name, value in attributes.items():
        copied[name] = value.copy() if type(value) in _CONTAINERS or name in _REGISTRIES else value
    return copied


_CONTAINERS = (dict, list, set)
# By name as well: registries of hooks are OrderedDicts, which the exact types above leave out.
_REGISTRIES = frozenset(name for name, value in vars(nn.Module()).items() if hasattr(value, "copy"))


def _held(modules: list[tuple[nn.Module, dict[str, Any]]]) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    for _, attributes in modules:
        registered = [*attributes["_parameters"].values(), *attributes["_buffers"].values()]
        for value in (*registered, *attributes.values()):
            if isinstance(value, Tensor):
                found[id(value)] = value
    return list(found.values())
