"""Put back a model and its optimizers after a real step: every object and every bit.

Covered: parameters, buffers, tensors and containers that are attributes of modules, the modules' modes and hooks,
gradients (as objects), groups, state and attributes of the optimizers. The values lie in a temporary file meanwhile.
Not covered: what a step changes elsewhere, such as iterators, schedulers and gradient scalers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.doctor.spill import Spill
from lab.state import preserved_rng

_CONTAINERS = (dict, list, set)


class KeptTensor:
    """A tensor with its memory, its values and its gradient.

    Args:
        tensor: any strided or sparse one.
        spill: where its values are kept.
    """

    def __init__(self, tensor: Tensor, spill: Spill) -> None:
        self.tensor = tensor
        # an alias: it stays this memory if the step assigns to tensor.data
        self._data = tensor.data
        self._values = spill.keep(tensor)
        self._requires_grad = tensor.requires_grad
        self._gradient = tensor.grad if tensor.is_leaf else None

    @property
    def changed(self) -> bool:
        """The values are other ones than at first."""
        now = self.tensor.data
        alike = now.shape == self._data.shape and now.dtype == self._data.dtype
        return not alike or self._values.differs(now)

    def restore(self) -> None:
        """Memory, values, gradient and whether one is asked for are as at first."""
        if self.tensor.data_ptr() != self._data.data_ptr() or self.tensor.shape != self._data.shape:
            self.tensor.data = self._data
        self._values.read_into(self._data)
        if self.tensor.is_leaf:
            self.tensor.requires_grad_(self._requires_grad)
            self.tensor.grad = self._gradient


class KeptOptimizer:
    """Groups, state and attributes of an optimizer; the parameters are kept elsewhere.

    Args:
        optimizer: any of torch's kind.
        spill: where the values of its state are kept.
    """

    def __init__(self, optimizer: Optimizer, spill: Spill) -> None:
        self._optimizer = optimizer
        self._groups = [(group, {**group, "params": list(group["params"])}) for group in optimizer.param_groups]
        self._state = [(key, value, dict(value)) for key, value in optimizer.state.items()]
        tensors = [item for *_, value in self._state for item in value.values() if isinstance(item, Tensor)]
        self.tensors = [KeptTensor(tensor, spill) for tensor in tensors]

    def restore(self) -> None:
        """Put everything back; groups and states stay the objects that a scheduler holds."""
        self._optimizer.param_groups[:] = [group for group, _ in self._groups]
        for group, values in self._groups:
            group.clear()
            group.update({**values, "params": list(values["params"])})
        self._optimizer.state.clear()
        for key, value, content in self._state:
            value.clear()
            value.update(content)
            self._optimizer.state[key] = value
        for kept in self.tensors:
            kept.restore()


class KeptStep:
    """What a step may change.

    Args:
        model: its modules' tensors and attributes are kept; gradients are laid aside (they are None inside).
        optimizers: with the parameters that they step.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self.spill = Spill()
        stepped = [item for optimizer in optimizers for group in optimizer.param_groups for item in group["params"]]
        held = {id(tensor): tensor for tensor in (*_tensors(model), *stepped)}
        self.tensors = {key: KeptTensor(tensor, self.spill) for key, tensor in held.items()}
        self._optimizers = [KeptOptimizer(optimizer, self.spill) for optimizer in optimizers]
        self._attributes = [(owner, dict(owner)) for owner in _attributes(model, optimizers)]
        self._contents = [
            (value, value.copy() if value else None)
            for _, attributes in self._attributes
            for value in attributes.values()
            if isinstance(value, _CONTAINERS)
        ]
        for tensor in held.values():
            if tensor.is_leaf:
                tensor.grad = None

    @property
    def written(self) -> list[Tensor]:
        """Every tensor that is put back."""
        states = [kept.tensor for optimizer in self._optimizers for kept in optimizer.tensors]
        return [*(kept.tensor for kept in self.tensors.values()), *states]

    def restore(self) -> None:
        """Put everything back."""
        for owner, attributes in self._attributes:
            _refill(owner, attributes)
        for value, content in self._contents:
            _refill(value, content)
        for kept in self.tensors.values():
            kept.restore()
        for optimizer in self._optimizers:
            optimizer.restore()
        self.spill.close()


@contextmanager
def kept_step(model: nn.Module, optimizers: Sequence[Optimizer]) -> Iterator[KeptStep]:
    """Inside, a step may be taken; afterwards model, optimizers and random streams are as before."""
    with preserved_rng():
        kept = KeptStep(model, optimizers)
        written = tuple(tensor for tensor in kept.written if not tensor.is_inference())
        # the counts too: a graph from before is still to find its tensors unchanged
        with torch.autograd.grad_mode._unsafe_preserve_version_counter(written):
            try:
                yield kept
            finally:
                kept.restore()


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        for value in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
            if isinstance(value, Tensor):
                yield value


def _attributes(model: nn.Module, optimizers: Sequence[Optimizer]) -> Iterator[dict[str, Any]]:
    for owner in (*model.modules(), *optimizers):
        yield vars(owner)


def _refill(value: Any, content: Any) -> None:
    """Give the container its former content, where it has another one; None: it was empty."""
    if content is None:
        if value:
            value.clear()
    elif not _same(value, content):
        value.clear()
        if isinstance(value, list):
            value.extend(content)
        else:
            value.update(content)


def _same(value: Any, content: Any) -> bool:
    if len(value) != len(content):
        return False
    if isinstance(value, dict):
        keys = all(mine is other for mine, other in zip(value, content, strict=True))
        return keys and all(mine is other for mine, other in zip(value.values(), content.values(), strict=True))
    return isinstance(value, list) and all(mine is other for mine, other in zip(value, content, strict=True))
