"""The weight optimizer, its learning-rate schedule, and the one optimizer step that every strategy takes.

B batch, C channels, H height, W width.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

FINAL_RATE = 0.01
"""Learning rate at the end of the run as a share of the first one."""
RATE_FLOOR = 1 / 64
"""Smallest scale that lowering the rate may reach."""


def make_weight_optimizer(
    parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    """SGD with Nesterov momentum."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay)


class LearningRate:
    """The learning rate of `optimizer`: a cosine over the run's epochs, and a scale that only falls.

    lr(e) = scale * base * (f + (1 - f) (1 + cos(pi e / E)) / 2) with f = `FINAL_RATE`: a function of the epoch.

    Args:
        base: rate of epoch 0, > 0.
        epochs: E >= 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, base: float, epochs: int) -> None:
        self.optimizer = optimizer
        self.base = base
        self.epochs = epochs
        self.scale = 1.0
        self.value = base

    def begin(self, epoch: int) -> None:
        """Set the rate of `epoch`."""
        share = min(epoch / max(self.epochs, 1), 1.0)
        cosine = FINAL_RATE + (1.0 - FINAL_RATE) * (1.0 + math.cos(math.pi * share)) / 2.0
        self._set(self.base * cosine * self.scale)

    def lower(self, factor: float) -> tuple[float, float] | None:
        """Multiply the rate by `factor` for good; before and after, None where the scale would fall below the floor."""
        if self.scale * factor < RATE_FLOOR:
            return None
        before = self.value
        self.scale *= factor
        self._set(before * factor)
        return before, self.value

    def state_dict(self) -> dict[str, float]:
        """Scale and present value."""
        return {"scale": self.scale, "value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on where `state_dict` was taken."""
        self.scale = state["scale"]
        self._set(state["value"])

    def _set(self, value: float) -> None:
        self.value = value
        for group in self.optimizer.param_groups:
            group["lr"] = value


def weight_step(
    forward: Callable[[Tensor], Tensor],
    x_BCHW: Tensor,
    y_B: Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    grad_clip: float,
) -> tuple[float, float, float]:
    """One clipped step on the mean cross-entropy; (loss, accuracy, gradient norm before clipping).

    Where loss or gradient is not finite no parameter changes.
    """
    optimizer.zero_grad(set_to_none=True)
    logits_BK = forward(x_BCHW)
    loss = nn.functional.cross_entropy(logits_BK, y_B)
    loss.backward()
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = nn.utils.clip_grad_norm_([p for p in trained if p.grad is not None], grad_clip)
    numbers = read_numbers(loss, logits_BK, y_B, norm)
    if math.isfinite(numbers[0]) and math.isfinite(numbers[2]):
        optimizer.step()
    return numbers


@torch.no_grad()
def read_numbers(loss: Tensor, logits_BK: Tensor, y_B: Tensor, norm: Tensor) -> tuple[float, float, float]:
    """(loss, accuracy, norm) as numbers, with one wait for the device."""
    accuracy = (logits_BK.argmax(-1) == y_B).float().mean()
    loss_value, accuracy_value, norm_value = torch.stack([loss.detach(), accuracy, norm]).tolist()
    return loss_value, accuracy_value, norm_value
