"""The output of a network in eval mode, and how far two outputs are apart.

B batch, C channels, H height, W width.
"""

import math

import torch
from torch import Tensor, nn

from lab.nn import eval_mode


@torch.no_grad()
def outputs(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """The output of `model` in eval mode; the mode is as before afterwards."""
    with eval_mode(model):
        out: Tensor = model(x_BCHW)
    return out


def relative_difference(after: Tensor, before: Tensor) -> float:
    """max|y' - y| / max|y|; infinite where one of the two is not finite.

    Args:
        after: y', of any shape with a value in it.
        before: y, of the same shape and device. Where it is zero everywhere, the result is max|y'|.
    """
    if not (torch.isfinite(after).all() and torch.isfinite(before).all()):
        return math.inf
    scale = float(before.abs().max())
    gap = float((after - before).abs().max())
    return gap / scale if scale > 0 else gap
