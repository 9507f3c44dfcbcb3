"""Copies of nested state keep every container's type, and share no storage."""

from typing import Any, NamedTuple

import pytest
import torch

from lab.state import clone_state


class Pair(NamedTuple):
    first: Any
    second: Any


class Single(NamedTuple):
    only: Any


class Row(list):
    pass


@pytest.mark.parametrize(
    "state",
    [
        Pair(torch.ones(2), torch.zeros(2)),
        Single(torch.ones(2)),
        {"inner": [Pair(torch.ones(1), Single([torch.ones(1)]))]},
        (torch.ones(1), [torch.ones(1)], Row([torch.ones(1)])),
        torch.Size([2, 3]),
        torch.max(torch.ones(2, 2), dim=0),
    ],
)
def test_a_copy_has_the_containers_of_the_original_and_tensors_of_its_own(state: Any) -> None:
    copy = clone_state(state)
    assert shape_of(copy) == shape_of(state)
    own, theirs = list(leaves(copy)), list(leaves(state))
    assert all(torch.equal(one, two) and one.data_ptr() != two.data_ptr() for one, two in zip(own, theirs, strict=True))


def shape_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    return (type(value), [shape_of(item) for item in value]) if isinstance(value, list | tuple) else type(value)


def leaves(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
