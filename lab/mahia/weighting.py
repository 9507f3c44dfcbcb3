"""Weights of several losses, from the losses or the gradients that training has seen.

Weights are plain numbers outside every graph, of sum K: 1 each at first. Nothing is written while a graph is alive, and
what a rule remembers is in its `state_dict`.

K losses.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lab.base import ConfigError, TrainingError, require_range


def _numbers(values: Sequence[float] | Tensor, count: int, what: str) -> list[float]:
    """The values as finite numbers, whether they came from a graph or not."""
    numbers = [float(value.detach() if isinstance(value, Tensor) else value) for value in values]
    if len(numbers) != count:
        raise TrainingError(f"{count} {what}", f"{len(numbers)}", "give one for each loss, in the same order")
    for position, number in enumerate(numbers):
        if not math.isfinite(number):
            raise TrainingError(f"finite {what}", f"{number} at position {position}", "skip that step")
    return numbers


def weighted_sum(losses: Sequence[Tensor], weights_K: Tensor | None = None) -> Tensor:
    """sum_k w_k L_k, for one backward; the plain sum without weights.

    Args:
        losses: K scalars of one graph.
        weights_K: numbers; they get no gradient.

    Raises:
        TrainingError: no loss, one that is no scalar, or another number of weights.
    """
    if not losses:
        raise TrainingError("at least one loss", "none", "give the losses of one forward")
    for position, loss in enumerate(losses):
        if loss.numel() != 1:
            got = f"shape {tuple(loss.shape)} at position {position}"
            raise TrainingError("scalar losses", got, "take the mean of each")
    losses_K = torch.stack([loss.reshape(()) for loss in losses])
    if weights_K is None:
        return losses_K.sum()
    if tuple(weights_K.shape) != (len(losses),):
        got = f"shape {tuple(weights_K.shape)}"
        raise TrainingError(f"{len(losses)} weights", got, "give one for each loss, in the same order")
    return (weights_K.detach().to(losses_K) * losses_K).sum()


class DynamicWeightAveraging:
    """w_k = K softmax_k(r_k / T), r_k = L_k(t - 1) / L_k(t - 2): a loss that falls more slowly weighs more.

    L_k(t) is the mean of loss k over epoch t. The weights of the first two epochs are 1. A loss in other units has the
    same ratio, so the weights do not depend on its scale.

    Args:
        num_losses: K >= 1.
        temperature: T > 0; the larger, the more even the weights.

    Raises:
        ConfigError: a number outside its range.

    Source: Liu, Johns and Davison 2019, "End-to-End Multi-Task Learning with Attention", section 3.3, equation 7.
    """

    def __init__(self, num_losses: int, temperature: float = 2.0) -> None:
        require_range("num_losses", num_losses, 1)
        require_range("temperature", temperature, 0, open_low=True)
        self.num_losses = num_losses
        self.temperature = temperature
        self._epochs: list[list[float]] = []

    @property
    def weights(self) -> Tensor:
        """The weights (K,) of the coming epoch, sum K."""
        if len(self._epochs) < 2:
            return torch.ones(self.num_losses)
        before, last = self._epochs
        ratios_K = torch.tensor([new / old for new, old in zip(last, before, strict=True)], dtype=torch.float64)
        return (self.num_losses * (ratios_K / self.temperature).softmax(0)).float()

    def update(self, epoch_losses: Sequence[float] | Tensor) -> Tensor:
        """Take the mean losses of the epoch that ended; the weights (K,) of the next one.

        Raises:
            TrainingError: another number of losses, or one that is not finite or not positive (a ratio of such losses
                says nothing); nothing is remembered then.
        """
        numbers = _numbers(epoch_losses, self.num_losses, "losses")
        for position, number in enumerate(numbers):
            if number <= 0:
                got = f"{number} at position {position}"
                raise TrainingError("losses > 0", got, "add a constant to that loss, or weigh it by hand")
        self._epochs = [*self._epochs[-1:], numbers]
        return self.weights

    def state_dict(self) -> dict[str, Any]:
        """The mean losses of the last two epochs."""
        return {"epochs": [list(losses) for losses in self._epochs]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it was taken with another number of losses.
        """
        for losses in state["epochs"]:
            _require_count(losses, self.num_losses)
        self._epochs = [list(losses) for losses in state["epochs"]]


class GradNorm:
    """Weights by which all losses train at a similar rate: a step of gradient descent on them after each batch.

    With G_k = w_k g_k, where g_k is the norm of loss k's gradient in the last shared layer, and the relative rate
    r_k = (L_k / L_k(0)) / mean, the target is mean(G) r_k^alpha, a constant, and
    w_k <- w_k - lr sign(G_k - target_k) g_k, kept above `least` and scaled to sum K.

    Args:
        num_losses: K >= 1.
        alpha: pull towards equal rates, >= 0; 0 makes the norms equal.
        lr: step size, > 0.
        least: smallest weight before scaling, > 0.

    Raises:
        ConfigError: a number outside its range.

    Source: Chen et al. 2018, "GradNorm", section 3, equations 1 and 2, algorithm 1.
    """

    def __init__(self, num_losses: int, alpha: float = 1.5, *, lr: float = 0.025, least: float = 1e-3) -> None:
        require_range("num_losses", num_losses, 1)
        require_range("alpha", alpha, 0)
        require_range("lr", lr, 0, open_low=True)
        require_range("least", least, 0, 1, open_low=True)
        self.num_losses, self.alpha, self.lr, self.least = num_losses, alpha, lr, least
        self._weights = [1.0] * num_losses
        self._first: list[float] = []

    @property
    def weights(self) -> Tensor:
        """The weights (K,), sum K."""
        return torch.tensor(self._weights)

    def update(self, losses: Sequence[float] | Tensor, gradient_norms: Sequence[float] | Tensor) -> Tensor:
        """Take one batch's losses and the norms g_k of their own, unweighted gradients; the next weights (K,).

        The losses of the first call are L_k(0).

        Raises:
            TrainingError: another number, a value that is not finite, or a first loss that is not positive.
        """
        now = _numbers(losses, self.num_losses, "losses")
        norms = _numbers(gradient_norms, self.num_losses, "gradient norms")
        first = self._first or now
        if min(first) <= 0:
            raise TrainingError("first losses > 0", f"{min(first)}", "add a constant to that loss")
        # A negative rate has no real power alpha.
        rates = [max(loss, 0.0) / start for loss, start in zip(now, first, strict=True)]
        mean_rate = sum(rates) / self.num_losses
        sizes = [weight * norm for weight, norm in zip(self._weights, norms, strict=True)]
        mean_size = sum(sizes) / self.num_losses
        moved = []
        for weight, norm, size, rate in zip(self._weights, norms, sizes, rates, strict=True):
            target = mean_size * (rate / mean_rate) ** self.alpha if mean_rate else mean_size
            sign = (size > target) - (size < target)
            moved.append(max(weight - self.lr * sign * norm, self.least))
        scale = self.num_losses / sum(moved)
        self._weights, self._first = [weight * scale for weight in moved], first
        return self.weights

    def state_dict(self) -> dict[str, Any]:
        """The weights and the first losses."""
        return {"weights": list(self._weights), "first": list(self._first)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it was taken with another number of losses.
        """
        _require_count(state["weights"], self.num_losses)
        self._weights, self._first = list(state["weights"]), list(state["first"])


def _require_count(values: Sequence[float], count: int) -> None:
    if len(values) != count:
        raise ConfigError(f"the state of {count} losses", f"one of {len(values)}", "load it into a rule for as many")
