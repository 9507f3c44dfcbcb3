"""The primitives of DARTS as modules: (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)).

Source: Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", section 3.1.1 and appendix A: ReLU before
the convolutions and BatchNorm behind them, separable convolutions twice, pools followed by a BatchNorm without affine
parameters. The convolutions' BatchNorm has affine parameters: the child trains on with the supernet's weights.
Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lab.nn.primitives import Skip, Zero


class PoolNorm(nn.Module):
    """y = BatchNorm(3x3 pool), padding 1; no parameters.

    Args:
        kind: `avg` (what lies outside the map is not counted) or `max`.
    """

    def __init__(self, kind: str, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = (
            nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
            if kind == "avg"
            else nn.MaxPool2d(3, stride=stride, padding=1)
        )
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.norm(self.pool(x_BCHW))
        return out


class PointConv(nn.Module):
    """y = BatchNorm(1x1 convolution(ReLU(x))): (B, into, H, W) -> (B, out, H, W)."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(torch.relu(x_BCHW)))
        return out


class FactorizedReduce(nn.Module):
    """The skip connection of stride 2: (B, into, H, W) -> (B, out, ceil(H/2), ceil(W/2)).

    y = BatchNorm(two 1x1 convolutions of stride 2 on ReLU(x), side by side), the second of which reads the map shifted
    by one pixel, so that together they see every pixel of a diagonal. A map of odd size is read as if a line of zeros
    followed it.

    Args:
        into: channels of the input, >= 1.
        out: channels of the output, >= 1; with one channel there is no second convolution.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out - out // 2, 1, stride=2, bias=False)
        self.conv2 = nn.Conv2d(into, out // 2, 1, stride=2, bias=False) if out > 1 else None
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = torch.relu(x_BCHW)
        halves = [self.conv1(x_BCHW)]
        if self.conv2 is not None:
            shifted_BCHW = nn.functional.pad(x_BCHW, (0, 1, 0, 1))[:, :, 1:, 1:]
            halves.append(self.conv2(shifted_BCHW))
        out: Tensor = self.norm(torch.cat(halves, dim=1))
        return out


def _separable(channels: int, kernel_size: int, stride: int, dilation: int) -> list[nn.Module]:
    """ReLU, depthwise convolution, pointwise convolution, BatchNorm."""
    padding = dilation * (kernel_size - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size, stride, padding, dilation=dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


class SeparableConv(nn.Module):
    """(ReLU, depthwise, pointwise, BatchNorm) twice; the stride is in the first depthwise convolution."""

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_separable(channels, kernel_size, stride, 1), *_separable(channels, kernel_size, 1, 1)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.layers(x_BCHW)
        return out


class DilatedConv(nn.Module):
    """ReLU, depthwise convolution of dilation 2, pointwise convolution, BatchNorm."""

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_separable(channels, kernel_size, stride, 2))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.layers(x_BCHW)
        return out


class CrossConv(nn.Module):
    """y = BatchNorm(7x1 convolution(1x7 convolution(ReLU(x)))), each with the stride along its own length."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.row = nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False)
        self.column = nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.norm(self.column(self.row(torch.relu(x_BCHW))))
        return out


def _skip(channels: int, stride: int) -> nn.Module:
    return Skip() if stride == 1 else FactorizedReduce(channels, channels)


DARTS_PRIMITIVES: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels, stride: Zero(stride),
        "avg_pool_3x3": lambda channels, stride: PoolNorm("avg", channels, stride),
        "max_pool_3x3": lambda channels, stride: PoolNorm("max", channels, stride),
        "skip_connect": _skip,
        "sep_conv_3x3": lambda channels, stride: SeparableConv(channels, 3, stride),
        "sep_conv_5x5": lambda channels, stride: SeparableConv(channels, 5, stride),
        "sep_conv_7x7": lambda channels, stride: SeparableConv(channels, 7, stride),
        "dil_conv_3x3": lambda channels, stride: DilatedConv(channels, 3, stride),
        "dil_conv_5x5": lambda channels, stride: DilatedConv(channels, 5, stride),
        "conv_7x1_1x7": CrossConv,
    }
)
"""Name of a primitive -> its module for `channels` channels and a stride of 1 or 2."""
