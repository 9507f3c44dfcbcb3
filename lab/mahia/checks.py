"""Checks of a component's input, before a kernel sees it: the name and the value at fault in one `DataError`."""

import torch
from torch import Tensor

from lab.base import DataError


def require_features(x: Tensor, dim: int, name: str, *, dims: tuple[int, ...]) -> None:
    """Raise `DataError` unless `x` is a floating-point batch (..., dim) with items in it.

    Args:
        name: of the input, for the message.
        dims: numbers of dimensions that are legal.
    """
    shape = tuple(x.shape)
    if x.dim() not in dims or shape[-1] != dim:
        forms = " or ".join(f"({', '.join(['B', 'T'][: count - 1])}, {dim})" for count in dims)
        raise DataError(f"{name} of shape {forms}", f"shape {shape}", f"give it {dim} features in the last dimension")
    if not x.is_floating_point():
        raise DataError(f"{name} of a floating-point type", str(x.dtype), "convert it with .float()")
    if 0 in shape:
        raise DataError(f"{name} with at least one item", f"shape {shape}", "skip empty batches")


def require_ids(ids_BL: Tensor, vocab_size: int, length: int, name: str) -> None:
    """Raise `DataError` unless `ids_BL` are whole numbers in [0, vocab_size), (B, L) with 1 <= L <= length.

    The embedding's own kernel says "index out of range in self" on a CPU, and ends the process on a GPU.
    """
    shape = tuple(ids_BL.shape)
    if ids_BL.dim() != 2 or shape[1] > length:
        raise DataError(f"{name} of shape (B, L), L <= {length}", f"shape {shape}", "cut or reshape them")
    if ids_BL.dtype not in (torch.int64, torch.int32):
        raise DataError(f"{name} of type int64 or int32", str(ids_BL.dtype), "convert them with .long()")
    if 0 in shape:
        raise DataError(f"{name} with at least one item", f"shape {shape}", "skip empty batches")
    # One transfer for both bounds: each waits for a GPU.
    low, high = (int(bound) for bound in torch.stack(torch.aminmax(ids_BL)).tolist())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        row, column = (ids_BL == wrong).nonzero()[0].tolist()
        raise DataError(
            f"{name} from 0 to {vocab_size - 1}",
            f"{wrong} at row {row}, column {column}",
            "use the vocabulary that the model was built for, or a larger vocab_size",
        )
