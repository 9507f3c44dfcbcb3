"""Cut a batch into parts along its items.

Covered: tensors whose first dimension counts the items, lists of other things with one entry for each item, and tuples,
lists, dicts and dataclasses of such. Numbers and tensors without dimensions go into every part. Not covered: packed
sequences, graphs.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lab.base import DataError, sequence_like

T = TypeVar("T")


def batch_length(batch: object) -> int:
    """The number of items in a batch: the first dimension that all of its tensors have in common.

    Args:
        batch: tensors (B, ...) in containers; numbers and tensors without dimensions have no say.

    Raises:
        DataError: the tensors differ in it, or there is none.
    """
    sizes = sorted(set(_sizes(batch)))
    if len(sizes) == 1:
        return sizes[0]
    got = f"first dimensions {', '.join(map(str, sizes))}" if sizes else f"no tensor in {type(batch).__name__}"
    raise DataError("a batch whose tensors have one first dimension", got, "put the items first in every tensor")


def batch_part(batch: T, start: int, stop: int) -> T:
    """The items `start` to `stop` (not included) of a batch, in containers of the same types; tensors are views.

    Args:
        batch: tensors (B, ...) in containers.
        start: first item, >= 0.
        stop: item behind the last one, at most B.

    Raises:
        DataError: as `batch_length` does.
    """
    return _part(batch, start, stop, batch_length(batch))


def _sizes(batch: Any) -> Iterator[int]:
    if isinstance(batch, PackedSequence):
        return
    if isinstance(batch, Tensor):
        if batch.dim():
            yield batch.shape[0]
    else:
        for item in _items(batch):
            yield from _sizes(item)


def _items(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    if isinstance(batch, list | tuple):
        return list(batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return []


def _part(batch: Any, start: int, stop: int, length: int) -> Any:
    if isinstance(batch, Tensor):
        return batch[start:stop] if batch.dim() else batch
    if isinstance(batch, MutableMapping):
        mapping = copy.copy(batch)
        for key, value in batch.items():
            mapping[key] = _part(value, start, stop, length)
        return mapping
    if isinstance(batch, list | tuple):
        # A list without tensors (texts, labels) has one entry an item; one of tensors holds fields of the batch, and so
        # does a named tuple.
        if len(batch) == length and not hasattr(batch, "_fields") and not list(_sizes(batch)):
            return type(batch)(batch[start:stop])
        return sequence_like(batch, [_part(item, start, stop, length) for item in batch])
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        result = copy.copy(batch)
        for field in dataclasses.fields(batch):
            # object's own, as the dataclass may be frozen
            object.__setattr__(result, field.name, _part(getattr(batch, field.name), start, stop, length))
        return result
    return batch
