"""Snapshots of a model, its optimizer and the random streams, that put back every object and every bit.

Each is taken when it is made; `restore` brings that moment back as often as wanted.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class _Kept:
    """One tensor object: its storage at the time, and a copy of the values."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
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
            self.tensor.grad = None if self.grad is None else self.grad.clone()


class ModelSnapshot:
    """Modules, their attributes and registries, tensors as objects and as values, gradients."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [(module, _copy_attributes(vars(module))) for module in model.modules()]
        self._tensors = [_Kept(tensor) for tensor in _held(self._modules)]

    def restore(self) -> None:
        """Put everything back."""
        for module, attributes in self._modules:
            vars(module).clear()
            vars(module).update(_copy_attributes(attributes))
        for kept in self._tensors:
            kept.restore()


class OptimizerSnapshot:
    """Groups and state of an optimizer."""

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


class RandomSnapshot:
    """The global random states of Python, numpy and torch, CPU and CUDA."""

    def __init__(self) -> None:
        self._states = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def restore(self) -> None:
        """Put the states back."""
        python, numpy, torch_state = self._states
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """The global random streams inside the block: from `seed` where one is given; as before the block afterwards."""
    # torch.manual_seed would also leave a seed behind for a CUDA that is not there yet.
    kept = RandomSnapshot()
    try:
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if torch.cuda.is_initialized():
                torch.cuda.manual_seed_all(seed)
        yield
    finally:
        kept.restore()


def _copy_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """One level deep: registries and plain containers are copied, what they hold is the same object."""
    copied = {}
    for name, value in attributes.items():
        copied[name] = value.copy() if type(value) in _CONTAINERS or name in _REGISTRIES else value
    return copied


_CONTAINERS = (dict, list, set)
_REGISTRIES = frozenset(name for name, value in vars(nn.Module()).items() if hasattr(value, "copy"))


def _held(modules: list[tuple[nn.Module, dict[str, Any]]]) -> list[Tensor]:
    found: dict[int, Tensor] = {}
    for _, attributes in modules:
        registered = [*attributes["_parameters"].values(), *attributes["_buffers"].values()]
        for value in (*registered, *attributes.values()):
            if isinstance(value, Tensor):
                found[id(value)] = value
    return list(found.values())
