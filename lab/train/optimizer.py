"""The weight optimizer and its learning-rate schedule."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

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
    """The learning rate of `optimizer`: a schedule over the run's epochs, and a scale that only falls.

    With f = `FINAL_RATE`, lr(e) = scale * base * (f + (1 - f) (1 + cos(pi e / E)) / 2) for cosine, scale * base for
    constant and plateau: a function of the epoch e, which grows with each step. In a run of few epochs a rate that is
    held over the last of them would end far above f. Plateau halves the scale where `observe` saw no gain. Phase is the
    cosine over each phase alone (Loshchilov and Hutter 2017, "SGDR", warm restarts).

    Args:
        base: rate of epoch 0, > 0.
        epochs: E >= 1.
        schedule: cosine, constant, plateau or phase.
        patience: for plateau: observations without gain, >= 1.
        interval: step, or epoch to hold the rate over each epoch.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        base: float,
        epochs: int,
        *,
        schedule: str = "cosine",
        patience: int = 3,
        interval: str = "step",
    ) -> None:
        self.optimizer = optimizer
        self.base = base
        self.epochs = epochs
        self.schedule = schedule
        self.patience = patience
        self.interval = interval
        self.scale = 1.0
        self.value = base
        self.best = math.inf
        self.waited = 0
        self._position = (0.0, 0.0, 0.0, 0.0)
        """Where the epoch began and what a step adds, in epochs and in shares of the phase."""
        self._done = 0
        """Steps since then."""

    def begin(self, epoch: float, phase_share: float = 0.0, *, step: float = 0.0, phase_step: float = 0.0) -> None:
        """Set the rate of `epoch`, which begins when `phase_share` of its phase is done, in [0, 1].

        Args:
            epoch: >= 0; between whole numbers where the run is measured by what it spends.
            step: what each training step adds to `epoch`, >= 0.
            phase_step: what it adds to `phase_share`, >= 0.
        """
        self._position, self._done = (epoch, phase_share, step, phase_step), 0
        self._schedule()

    def advance(self) -> None:
        """Set the rate of the next training step."""
        if self._done and self.interval == "step":
            self._schedule()
        self._done += 1

    def _schedule(self) -> None:
        epoch, phase_share, step, phase_step = self._position
        share = (epoch + self._done * step) / max(self.epochs, 1)
        if self.schedule == "phase":
            share = phase_share + self._done * phase_step
        cosine = FINAL_RATE + (1.0 - FINAL_RATE) * (1.0 + math.cos(math.pi * min(share, 1.0))) / 2.0
        self._set(self.base * (cosine if self.schedule in ("cosine", "phase") else 1.0) * self.scale)

    def observe(self, loss: float) -> tuple[float, float] | None:
        """Take an epoch's loss; the rate before and after where a plateau has lowered it."""
        if self.schedule != "plateau":
            return None
        if loss < self.best:
            self.best, self.waited = loss, 0
            return None
        self.waited += 1
        if self.waited < self.patience:
            return None
        self.waited = 0
        return self.lower(0.5)

    def lower(self, factor: float) -> tuple[float, float] | None:
        """Multiply the rate by `factor` for good; before and after, None where the scale would fall below the floor."""
        if self.scale * factor < RATE_FLOOR:
            return None
        before = self.value
        self.scale *= factor
        self._set(before * factor)
        return before, self.value

    def state_dict(self) -> dict[str, Any]:
        """Scale, present value, what a plateau is told by, and where in the epoch the schedule is."""
        state = {"scale": self.scale, "value": self.value, "best": self.best, "waited": self.waited}
        return state if self.interval == "epoch" else {**state, "position": [*self._position, self._done]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.scale, self.best, self.waited = state["scale"], state["best"], state["waited"]
        if self.interval == "step":
            *position, self._done = state["position"]
            self._position = tuple(position)
        self._set(state["value"])

    def _set(self, value: float) -> None:
        self.value = value
        for group in self.optimizer.param_groups:
            group["lr"] = value
