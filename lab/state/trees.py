"""Nested state: copies that share no storage with what they were taken from."""

from typing import Any

from torch import Tensor

from lab.base import sequence_like


def clone_state(value: Any) -> Any:
    """A copy of nested dicts, lists and tuples, named ones too, in which every tensor has its own storage.

    Args:
        value: nested to any depth; what is neither a container nor a tensor is the same object in the copy.

    Returns:
        The copy, detached from every graph, on the same devices.
    """
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: clone_state(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return sequence_like(value, map(clone_state, value))
    return value
