"""Names for tensors: those of the model, else those of the user's variables.

Covered: parameters, buffers, plain attributes, tensors in containers and in modules hidden there, gradients; local and
global variables that the frames above use, numpy arrays among them. Not covered: tensors that only a closure or an
object of another kind holds.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.device import inventory, named_tensors
from lab.device.inventory import PARAMETER, PLAIN_ATTRIBUTE
from lab.doctor.place import is_users, user_frames
from lab.doctor.records import Holder
from lab.doctor.saved import storage_of

VARIABLE = "variable"
GRADIENT = "gradient"
ARRAY = "numpy array"


class Names:
    """Looks tensors up by name, when asked and not before: names move while a network trains.

    Args:
        model: its names come first; None: modules that the user's variables hold are searched.
        entry: code of the function that runs the user's; frames from there up are not searched.
    """

    def __init__(self, model: nn.Module | None, entry: CodeType) -> None:
        self._model = model
        self._entry = entry
        self._past: list[FrameType] = []
        self.waiting: FrameType | None = None
        """Frame that waits for a backward in another thread."""

    @contextmanager
    def with_traceback(self, traceback: TracebackType | None) -> Iterator[None]:
        """Inside, the variables of the frames in `traceback` are searched as well."""
        while traceback is not None:
            self._past.insert(0, traceback.tb_frame)
            traceback = traceback.tb_next
        try:
            yield
        finally:
            self._past.clear()

    def of_storage(self, key: int) -> Holder:
        """Who holds the storage of identity `key`."""
        for holder, tensor in self._all():
            storage = storage_of(tensor)
            if storage is not None and storage._cdata == key:
                return holder
        memory = torch.UntypedStorage._new_with_weak_ptr(key)
        for name, value in self._variables():
            if memory is not None and isinstance(value, np.ndarray) and _inside(value, memory):
                return Holder(name, ARRAY)
        return Holder()

    def of_graph(self, reaches: Callable[[Tensor], bool], is_root: Callable[[Tensor], bool]) -> Holder:
        """Who carries a graph that `reaches` it; the loss itself (`is_root`) does not count."""
        for holder, tensor in self._all():
            if not is_root(tensor) and reaches(tensor):
                return holder
        return Holder()

    def _all(self) -> Iterator[tuple[Holder, Tensor]]:
        if self._model is not None:
            yield from model_tensors(self._model)
        variables = self._variables()
        for name, value in variables:
            if not isinstance(value, nn.Module | Optimizer):
                for path, tensor in named_tensors(value, name):
                    yield Holder(path, PARAMETER if isinstance(tensor, nn.Parameter) else VARIABLE), tensor
        for name, value in variables:
            if isinstance(value, nn.Module) and value is not self._model:
                yield from model_tensors(value, f"{name}.")

    def _variables(self) -> list[tuple[str, object]]:
        past = (frame for frame in self._past if is_users(frame.f_code.co_filename))
        here = list(user_frames(sys._getframe(1), self._entry))
        if not here and self.waiting is not None:
            here = list(user_frames(self.waiting, self._entry))
        frames = (*here, *past)
        return [item for frame in frames for item in _variables(frame)]


def model_tensors(model: nn.Module, prefix: str = "") -> Iterator[tuple[Holder, Tensor]]:
    """Every tensor of `model` with its full name: registered ones, plain ones, those of hidden modules, gradients."""
    held = inventory(model)
    for item in held:
        yield Holder(prefix + item.name, item.kind), item.tensor
    registered = {item.name for item in held}
    for path, tensor in named_tensors(model):
        if path not in registered:
            yield Holder(prefix + path, PLAIN_ATTRIBUTE), tensor
    for item in held:
        if item.tensor.is_leaf and item.tensor.grad is not None:
            yield Holder(f"{prefix}{item.name}.grad", GRADIENT), item.tensor.grad


def _inside(array: np.ndarray, memory: torch.UntypedStorage) -> bool:
    start = memory.data_ptr()
    return memory.device.type == "cpu" and start <= array.ctypes.data < start + memory.nbytes()


def _variables(frame: FrameType) -> Iterator[tuple[str, object]]:
    yield from list(frame.f_locals.items())
    # At the top level of a module the locals are the globals.
    if frame.f_code.co_name != "<module>":
        for name in frame.f_code.co_names:
            if name in frame.f_globals:
                yield name, frame.f_globals[name]
