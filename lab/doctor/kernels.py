"""Operations whose result torch cannot tell from shapes alone: run on zeros on the CPU, for the shapes of the result.

Fake tensors need a meta function. Where torch has none, it runs the kernel of the tensors' own device, which a machine
without a GPU does not have. Not covered: operations that are a view of their input, and kernels that only a GPU has and
that are not listed here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import UnsupportedOperatorException
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from lab.doctor.fake_device import common_label

_CPU = torch.device("cpu")


class ShapesMode(TorchDispatchMode):
    """Goes around a `FakeTensorMode` that allows no fallback kernels, and gives the shapes that it cannot."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            return func(*args, **kwargs)
        except UnsupportedOperatorException as error:
            if error.func is func:
                return _inferred(error, args, kwargs)
            # In inference mode a whole operation comes here; one of its parts has no meta function.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is NotImplemented:
                raise
            return result


def _inferred(error: UnsupportedOperatorException, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    func: Any = error.func
    device = common_label(func, [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)])
    if func in _GPU_ONLY:
        return _GPU_ONLY[func](*args)
    origins: dict[int, Tensor] = {}
    with no_dispatch():
        zero_args, zero_kwargs = pytree.tree_map(lambda leaf: _zeros(leaf, origins), (args, kwargs))
        try:
            results = func(*zero_args, **zero_kwargs)
        except NotImplementedError as refused:
            raise error from refused
    held = {
        leaf.untyped_storage().data_ptr()
        for leaf in pytree.tree_leaves((zero_args, zero_kwargs))
        if isinstance(leaf, Tensor) and leaf.numel()
    }

    def fake(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) in origins:
            return origins[id(leaf)]
        if leaf.untyped_storage().data_ptr() in held:
            raise error
        return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device=device)

    return pytree.tree_map(fake, results)


def _zeros(leaf: Any, origins: dict[int, Tensor]) -> Any:
    """Zeros on the CPU for a tensor, the CPU for a device."""
    if isinstance(leaf, torch.device):
        return _CPU
    if not isinstance(leaf, Tensor):
        return leaf
    zeros = torch.zeros(leaf.shape, dtype=leaf.dtype)
    origins[id(zeros)] = leaf
    return zeros


def _gru_cell(of_input: Tensor, of_hidden: Tensor, hidden_BH: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    batch, width = hidden_BH.shape
    # The workspace that backward reads: five widths, as the CUDA kernel of torch lays it out.
    return torch.empty_like(hidden_BH), hidden_BH.new_empty(batch, 5 * width)


_GPU_ONLY: dict[Any, Callable[..., Any]] = {torch.ops.aten._thnn_fused_gru_cell.default: _gru_cell}
"""Kernels without a twin on the CPU: what they give for tensors without values."""
