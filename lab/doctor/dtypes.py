"""Dtypes that an operation does not take together, which fake tensors let pass; and autocast without a GPU.

Covered: products, convolutions, norms, losses with weights and indexed writes: where their real kernels, on the CPU and
on a GPU, refuse two dtypes, so does the simulation. Not covered: dtypes that only a GPU's kernel refuses, and kernels
that are not listed here. The list was compared with the real kernels of the CPU, not with those of a GPU.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.cuda.amp.common
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_OF_ONE_DTYPE = frozenset(
    [
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "addbmm",
        "mv",
        "addmv",
        "dot",
        "vdot",
        "linear",
        "matmul",
        "addr",
        "_addmm_activation",
        "convolution",
        "_convolution",
        "conv1d",
        "conv2d",
        "conv3d",
        "convolution_overrideable",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "linalg_cross",
        "grid_sampler",
        "grid_sampler_2d",
        "grid_sampler_3d",
        "_scaled_dot_product_attention_math",
    ]
)
"""All tensors of the call have one dtype."""
_PAIRS = {
    **dict.fromkeys(["index_add", "index_add_", "scatter", "scatter_", "scatter_add", "scatter_add_"], (0, 3)),
    **dict.fromkeys(["index_copy", "index_copy_"], (0, 3)),
    **dict.fromkeys(["index_put", "index_put_", "_index_put_impl_"], (0, 2)),
    **dict.fromkeys(["nll_loss_forward", "nll_loss2d_forward", "nll_loss", "nll_loss_nd"], (0, 2)),
    "binary_cross_entropy": (0, 1),
    **dict.fromkeys(["_embedding_bag", "_embedding_bag_forward_only", "embedding_bag"], (0, 6)),
}
"""Positions of the two tensors that have one dtype."""
_NORMS = frozenset(
    [
        "native_batch_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "batch_norm",
        "_batch_norm_with_update",
        "cudnn_batch_norm",
        "native_group_norm",
        "group_norm",
    ]
)
"""Weights have the input's dtype, or are float32 beside a half input."""
_HALF = (torch.float16, torch.bfloat16)
_TEXT = re.compile(
    r"(have|be of|to have) the same (scalar |data)?d?type|expected scalar type|same dtype|dtypes? .*match|"
    r"Found dtype|mixed dtype|type .* should be the same|have the same type",
)

FIX = "bring both to one dtype: x.to(layer.weight.dtype), model.to(dtype), or run the model under torch.autocast"


class DtypeMismatch(RuntimeError):
    """Tensors of dtypes that the operation does not take together."""


class DtypeMode(TorchDispatchMode):
    """Refuses what the real kernels refuse."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        dtypes = _disagreeing(_name(func), args, kwargs or {})
        if dtypes:
            names = " and ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            raise DtypeMismatch(f"{_name(func)} takes tensors of one dtype, not {names}")
        return func(*args, **(kwargs or {}))


def is_dtype_error(error: RuntimeError, dtypes: Sequence[str]) -> bool:
    """The error says that these dtypes do not go together."""
    return isinstance(error, DtypeMismatch) or (len(set(dtypes)) > 1 and _TEXT.search(str(error)) is not None)


@contextmanager
def autocast_everywhere() -> Iterator[None]:
    """Inside, `torch.autocast("cuda")` is on where the code asks for it, also on a machine without a GPU."""
    if torch.cuda.is_available():
        yield
        return
    common: Any = torch.cuda.amp.common
    before = common.amp_definitely_not_available, torch.cuda.is_bf16_supported
    common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda including_emulation=True: True
    try:
        yield
    finally:
        common.amp_definitely_not_available, torch.cuda.is_bf16_supported = before


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", func)).partition(".")[0]


def _disagreeing(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.dtype]:
    """Two dtypes that the operation does not take together; empty where it takes them."""
    if name in _OF_ONE_DTYPE:
        found = [value.dtype for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        return _distinct(found)
    if name in _PAIRS:
        found = [args[place].dtype for place in _PAIRS[name] if place < len(args) and isinstance(args[place], Tensor)]
        return _distinct(found)
    if name in _NORMS and args and isinstance(args[0], Tensor):
        of_input = args[0].dtype
        rest = [value.dtype for value in args[1:] if isinstance(value, Tensor) and value.is_floating_point()]
        taken = (of_input, torch.float32) if of_input in _HALF else (of_input,)
        wrong = [dtype for dtype in rest if dtype not in taken]
        return [of_input, wrong[0]] if wrong else []
    return []


def _distinct(dtypes: list[torch.dtype]) -> list[torch.dtype]:
    found = list(dict.fromkeys(dtypes))
    return found[:2] if len(found) > 1 else []
