"""The product of each row with the matrix of its expert, by torch's grouped product.

Shapes: P rows sorted by expert, E experts, D inputs, N outputs of an expert.

Torch's grouped product takes only rows that lie in one piece, 16 bytes apart or a multiple; this holds for `x` and for
the gradient of the output. What `expand`, a transposition or a slice left otherwise is copied here.

The meta function of torch's grouped product makes the checks of the CUDA kernel. So it refuses float32 and float16 on
the CPU, which the CPU kernel takes. There a trace sees the operator `lab::grouped_product`: it has a meta function of
its own and runs the same kernel. A program that was exported with it needs `import lab.mahia` before it is loaded.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

ALIGNMENT = 16
"""Bytes of which a row must be a multiple in torch's grouped product."""
UNTRACED = (torch.float32, torch.float16)
"""Dtypes that torch's grouped product takes on the CPU, and that its meta function refuses there (torch 2.14)."""


def grouped_product(x_PD: Tensor, weight_END: Tensor, offsets_E: Tensor) -> Tensor:
    """Row p of expert e times the transpose of `weight_END[e]`.

    Args:
        x_PD: rows, those of expert 0 first; any strides.
        weight_END: contiguous.
        offsets_E: where the rows of each expert end, int32.

    Returns:
        (P, N), differentiable for rows and weights; its gradient may have any strides.
    """
    x_PD = _fitting(x_PD)
    if x_PD.dtype in UNTRACED and x_PD.device.type == "cpu" and (torch.compiler.is_compiling() or is_fake(x_PD)):
        traced: Tensor = _product(x_PD, weight_END, offsets_E)
        return traced
    y_PN: Tensor = _FittingGradient.apply(functional.grouped_mm(x_PD, weight_END.transpose(1, 2), offs=offsets_E))
    return y_PN


def _fitting(x_PD: Tensor) -> Tensor:
    """`x_PD` with strides that the kernel takes, itself where it has them; P may be 0 or 1 with any stride."""
    row, column = x_PD.stride()
    # A row stride below the width is that of rows which were expanded or overlap.
    if column == 1 and row >= x_PD.shape[1] and row * x_PD.element_size() % ALIGNMENT == 0:
        return x_PD
    return x_PD.clone(memory_format=torch.contiguous_format)


class _FittingGradient(torch.autograd.Function):
    """The identity, whose gradient has strides that the kernel takes: `y.sum()` hands down one number, expanded."""

    @staticmethod
    def forward(y_PN: Tensor) -> Tensor:
        return y_PN.view_as(y_PN)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient_PN: Tensor) -> Tensor:
        return _fitting(gradient_PN)


@torch.library.custom_op("lab::grouped_product", mutates_args=())
def _product(x_PD: Tensor, weight_END: Tensor, offsets_E: Tensor) -> Tensor:
    return functional.grouped_mm(x_PD, weight_END.transpose(1, 2), offs=offsets_E)


@_product.register_fake
def _product_shape(x_PD: Tensor, weight_END: Tensor, offsets_E: Tensor) -> Tensor:
    return x_PD.new_empty(x_PD.shape[0], weight_END.shape[1])


@torch.library.custom_op("lab::grouped_product_backward", mutates_args=())
def _gradients(gradient_PN: Tensor, x_PD: Tensor, weight_END: Tensor, offsets_E: Tensor) -> tuple[Tensor, Tensor]:
    fitting_PN = _fitting(gradient_PN)
    of_x_PD = functional.grouped_mm(fitting_PN, weight_END, offs=offsets_E)
    return of_x_PD, functional.grouped_mm(fitting_PN.t(), x_PD, offs=offsets_E)


@_gradients.register_fake
def _gradient_shapes(gradient_PN: Tensor, x_PD: Tensor, weight_END: Tensor, offsets_E: Tensor) -> tuple[Tensor, Tensor]:
    return x_PD.new_empty(x_PD.shape), weight_END.new_empty(weight_END.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient_PN: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_gradients(gradient_PN, *ctx.saved_tensors), None


_product.register_autograd(_backward, setup_context=_keep)


@register_flop_formula(torch.ops.lab.grouped_product)
def _flops(x_PD: torch.Size, weight_END: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * x_PD[0] * prod(weight_END[1:])
