"""What a node of the autograd graph saved for its backward, read by torch's own checks."""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

_RAW = "_raw_saved_"
_CUSTOM = "saved_tensors"
_WRAPPED = "_wrapped_node"


def saved_attributes(node: Any) -> tuple[str, ...]:
    """The attributes of `node` that hold tensors which its backward reads.

    Running statistics of a BatchNorm in training are left out: they are saved, rewritten by the next forward, and not
    read. A node that wraps another (a write through a view) has the other's attributes.
    """
    inner = _inner(node)
    kind: Any = type(inner)
    names = _tensor_attributes(kind)
    if "BatchNorm" in kind.__name__ and getattr(inner, "_saved_training", False):
        return tuple(name for name in names if "running" not in name)
    return names


def read_saved(node: Any, attribute: str) -> list[Tensor]:
    """The tensors in `attribute`.

    Raises:
        RuntimeError: torch's own, where the tensor was modified in place or is freed.
    """
    value = getattr(_inner(node), attribute)
    found = value if isinstance(value, tuple | list) else [value]
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def storage_of(tensor: Tensor) -> torch.UntypedStorage | None:
    """The tensor's storage; None for layouts that have none and for parameters without a shape yet."""
    return tensor.untyped_storage() if torch._C._has_storage(tensor) and not is_lazy(tensor) else None


def is_leaf_node(node: Any) -> bool:
    """The node only adds up the gradient of a leaf: it saves nothing and is reused."""
    return type(node).__name__ == "AccumulateGrad"


def has_hooks(leaf: Tensor) -> bool:
    """Python code runs when the gradient of `leaf` is there."""
    return bool(leaf._backward_hooks) or bool(leaf._post_accumulate_grad_hooks)


def hides_its_operation(node: Any) -> bool:
    """The node is a write through a view of a torch that does not show which operation wrote, and what it saved."""
    kind: Any = type(node)
    return kind.__name__ == "CopySlices" and not _wraps(kind)


def hooks_are_on() -> bool:
    """Saved-tensor hooks are on in this thread: to read what a node saved would run them."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None


def _inner(node: Any) -> Any:
    kind: Any = type(node)
    return getattr(node, _WRAPPED) if _wraps(kind) else node


@functools.lru_cache(maxsize=1024)
def _wraps(kind: Any) -> bool:
    return hasattr(kind, _WRAPPED)


@functools.lru_cache(maxsize=1024)
def _tensor_attributes(kind: Any) -> tuple[str, ...]:
    if issubclass(kind, torch.autograd.function.BackwardCFunction):
        return (_CUSTOM,)
    names = dir(kind)
    return tuple("_saved_" + name.removeprefix(_RAW) for name in names if name.startswith(_RAW))
