"""Give a tensor other data, on another device if need be, without making it another object.

Everyone who holds the tensor (modules that tie it, an optimizer, a list, a weak reference) sees the new data. Torch's
own `swap_tensors` refuses tensors with weak references (every weight of an LSTM) and swaps the Python attributes as
well; here only the data and what autograd knows of it change hands.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy


def replace_data(tensor: Tensor, data: Tensor) -> None:
    """Give `tensor` the data, device and gradient of `data`; class, attributes, identity, requires_grad and hooks stay.

    Args:
        tensor: any tensor; a leaf stays a leaf.
        data: a tensor that nobody else needs: it gets what `tensor` had.
    """
    hooks: dict[str, Any] = {}
    for name in ("_backward_hooks", "_post_accumulate_grad_hooks"):
        registered = getattr(tensor, name)
        if registered:
            hooks[name] = registered
            setattr(tensor, name, None)
    # autograd keeps requires_grad beside the data, so it goes over in the swap: set it before.
    if tensor.is_leaf and data.is_leaf:
        data.requires_grad_(tensor.requires_grad)
    torch._C._swap_tensor_impl(tensor, data)
    # autograd keeps hooks beside the data: they went over with it and are registered anew
    for name, registered in hooks.items():
        setattr(tensor, name, registered)


def view_of(storage: torch.UntypedStorage, like: Tensor) -> Tensor:
    """The tensor that `like` would be, were `storage` its storage: same dtype, offset, shape and strides.

    Args:
        storage: must reach as far as `like` does.
        like: gives dtype, offset, shape and strides; its data are not read.
    """
    bare = torch.empty(0, dtype=like.dtype, device=storage.device)
    with torch.no_grad():
        return bare.set_(storage, like.storage_offset(), like.shape, like.stride())


def move_tensors(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Move tensors with data to `device`, gradients too, each staying the same object.

    Tensors that share a storage share one afterwards; a tensor that is the result of operations keeps its graph.

    Args:
        tensors: each at most once; meta tensors must be filled before.
        device: where they shall be.
    """
    storages: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def moved(tensor: Tensor) -> Tensor:
        old = tensor.untyped_storage()
        if old._cdata not in storages:
            # The whole storage as bytes: views of it, of whatever dtype and strides, then share the moved one.
            flat = torch.empty(0, dtype=torch.uint8, device=old.device).set_(old)
            # the old storage is kept until the end, so that its address stays its own
            storages[old._cdata] = (old, flat.to(device).untyped_storage())
        return view_of(storages[old._cdata][1], tensor)

    for tensor in tensors:
        if tensor.device == device:
            continue
        if tensor.is_leaf and tensor.layout is torch.strided and not is_lazy(tensor):
            data = moved(tensor.detach())
            if tensor.grad is not None:
                data.grad = tensor.grad.to(device)
        else:
            data = tensor.to(device)
        replace_data(tensor, data)
