"""The one counter of floating-point operations: what a forward multiplies and adds, whichever kernel would run it.

A product of (M, K) and (K, N) is 2 M K N operations; additions of biases, normalisations and activations are not
counted. Formulas are those of `torch.utils.flop_counter`, and those below for operations that it leaves out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lab.nn.modes import eval_mode, plain_attention

Shape = Sequence[int]
aten = torch.ops.aten
FORWARDS_OF_STEP = 3
"""Forwards whose operations a training step costs, about: one there, two back, by the inputs and by the weights."""


class FlopCount:
    """What was counted inside `count_flops`, so far; `total` grows while the block runs.

    Args:
        counter: of torch, while it is active.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        self._counter = counter

    @property
    def total(self) -> int:
        """Floating-point operations."""
        return int(self._counter.get_total_flops())


@contextmanager
def count_flops() -> Iterator[FlopCount]:
    """Counts every operation of torch inside the block, of this thread, forward and backward.

    Attention runs by its two products inside the block (the math backend, without MultiheadAttention's fused path):
    they are what is counted, and torch has no formula for its fused kernels on the CPU. Both settings are as before
    afterwards. The products of T tokens hold T^2 numbers for each head and sample.

    Source: https://github.com/pytorch/pytorch/issues/195460 (fused attention on the CPU counts as nothing).
    """
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    # Torch's own tracker hooks on every input of a module, and fails on an expanded parameter under no_grad.
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    with plain_attention(), sdpa_kernel(SDPBackend.MATH), counter:
        yield FlopCount(counter)


def measure_flops(model: nn.Module, example: Any) -> int:
    """Floating-point operations of one forward of `model`, in eval mode and without gradients.

    Args:
        model: any module; every module's mode is as before afterwards.
        example: its input: a tensor, a tuple of positional or a mapping of keyword arguments. The count is that of the
            whole batch.

    Returns:
        The number of multiplications and additions; runs one forward.
    """
    args, kwargs = example if isinstance(example, tuple) else (example,), {}
    if isinstance(example, Mapping):
        args, kwargs = (), dict(example)
    with eval_mode(model), torch.no_grad(), count_flops() as count:
        model(*args, **kwargs)
    return count.total


class _NoModules:
    """In the place of `torch.utils.module_tracker.ModuleTracker`: everything belongs to the whole."""

    parents = frozenset({"Global"})

    def __enter__(self) -> "_NoModules":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _products(*sizes: Shape) -> int:
    """A multiplication and an addition for each element of the shape that `sizes` make together."""
    return 2 * prod(size for shape in sizes for size in shape)


def _mv(matrix: Shape, vector: Shape, **_: Any) -> int:
    return _products(matrix)


def _addmv(bias: Shape, matrix: Shape, vector: Shape, **_: Any) -> int:
    return _products(matrix)


def _dot(one: Shape, other: Shape, **_: Any) -> int:
    return _products(one)


def _addbmm(bias: Shape, one: Shape, other: Shape, **_: Any) -> int:
    return _products(one, other[-1:])


def _grouped_mm(rows: Shape, weights: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    # Groups share out the rows of `rows`, the columns of `weights`, or the sum that both are taken over.
    return _products(rows if len(weights) == 3 else rows[-2:], weights[-1:])


def _trilinear(
    one: Shape, two: Shape, three: Shape, new_1: Shape, new_2: Shape, new_3: Shape, *_: Any, **__: Any
) -> int:
    def spread(shape: Shape, new: Shape) -> list[int]:
        left = iter(shape)
        return [1 if position in new else next(left) for position in range(len(shape) + len(new))]

    full = map(max, spread(one, new_1), spread(two, new_2), spread(three, new_3))
    # Two multiplications and an addition.
    return 3 * prod(full)


def _rnn_layer(x: Shape, of_input: Shape, of_hidden: Shape, *_: Any, **__: Any) -> int:
    return _products(x[:-1], of_input) + _products(x[:-1], of_hidden)


def _cudnn_rnn(x: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    # Weights are matrices; what has one dimension is a bias, and additions are not counted.
    return sum(_products(x[:-1], weight) for weight in weights if len(weight) == 2)


_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.mv: _mv,
    aten.addmv: _addmv,
    aten.dot: _dot,
    aten.vdot: _dot,
    aten.addbmm: _addbmm,
    aten._grouped_mm: _grouped_mm,
    aten._trilinear: _trilinear,
    aten.mkldnn_rnn_layer: _rnn_layer,
    aten._cudnn_rnn: _cudnn_rnn,
}
"""Operation: its count from the shapes of its arguments."""
