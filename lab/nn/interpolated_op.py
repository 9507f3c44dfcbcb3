"""`InterpolatedOp`: the transition from one primitive to another without a jump."""

import torch
from torch import Tensor, nn


class InterpolatedOp(nn.Module):
    """y = (1 - beta) * old(x) + beta * new(x), exactly old at beta 0 and exactly new at beta 1.

    `beta` is a buffer, so that it is saved with the network; `torch.lerp` makes both ends exact in floating point.

    Args:
        old, new: modules that keep the shape alike.
        old_name, new_name: of their primitives.
        like: gives device and dtype of beta; by default the first parameter of the two does.
    """

    beta: Tensor

    def __init__(
        self, old: nn.Module, new: nn.Module, old_name: str, new_name: str, like: Tensor | None = None
    ) -> None:
        super().__init__()
        self.old = old
        self.new = new
        self.old_name = old_name
        self.new_name = new_name
        reference = next(iter([*old.parameters(), *new.parameters()]), torch.zeros(())) if like is None else like
        self.register_buffer("beta", torch.zeros((), dtype=reference.dtype, device=reference.device))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.lerp(self.old(x_BCHW), self.new(x_BCHW), self.beta)

    def extra_repr(self) -> str:
        return f"{self.old_name} -> {self.new_name}, beta={float(self.beta):.3f}"
