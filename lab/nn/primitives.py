"""The primitives of NAS-Bench-201 as modules that keep the shape of their input.

Source: Dong and Yang 2020, "NAS-Bench-201", section 2.1 (ReLU before the convolution, BatchNorm behind it).
Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn


class Zero(nn.Module):
    """The primitive `none`, and an edge that its node does not take: y = 0, with no gradient to x.

    A cell runs it only where its node gets nothing else.

    Args:
        stride: shortens the map.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Not 0 * x, which is NaN where x is infinite, and would give x a gradient.
        return torch.zeros_like(x_BCHW[:, :, :: self.stride, :: self.stride])


class Skip(nn.Module):
    """The identity edge: y = x."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW


class ConvNorm(nn.Module):
    """y = BatchNorm(conv(ReLU(x))) with an odd square kernel, no bias, same size.

    Args:
        channels: C of input and output, >= 1.
        kernel_size: odd, >= 1.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(torch.relu(x_BCHW)))
        return out


class AveragePool(nn.Module):
    """y = mean over the 3x3 neighbourhood, cells outside the map not counted, same size."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x_BCHW, 3, stride=1, padding=1, count_include_pad=False)


NB201_PRIMITIVES: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels, stride: Zero(),
        "skip_connect": lambda channels, stride: Skip(),
        "nor_conv_1x1": lambda channels, stride: ConvNorm(channels, 1),
        "nor_conv_3x3": lambda channels, stride: ConvNorm(channels, 3),
        "avg_pool_3x3": lambda channels, stride: AveragePool(),
    }
)
"""Name of a primitive -> its module for `channels` channels; the stride is always 1."""
