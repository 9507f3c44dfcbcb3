"""The primitives of NAS-Bench-201 as modules that keep the shape of their input.

Source: Dong and Yang 2020, "NAS-Bench-201", section 2.1 (ReLU before the convolution, BatchNorm behind it).
Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lab.base import require_choice, require_range


class Zero(nn.Module):
    """The absent edge: y = 0, with no gradient to x."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.zeros_like(x_BCHW)


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


PRIMITIVES: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels: Zero(),
        "skip_connect": lambda channels: Skip(),
        "nor_conv_1x1": lambda channels: ConvNorm(channels, 1),
        "nor_conv_3x3": lambda channels: ConvNorm(channels, 3),
        "avg_pool_3x3": lambda channels: AveragePool(),
    }
)
"""Name of a primitive -> its module for `channels` channels."""


def make_primitive(name: str, channels: int) -> nn.Module:
    """A new module of the primitive `name`, (B, C, H, W) -> (B, C, H, W).

    Raises:
        ConfigError: an unknown name, or channels below 1.
    """
    require_choice("primitive", name, PRIMITIVES.keys())
    require_range("channels", channels, 1)
    return PRIMITIVES[name](channels)
