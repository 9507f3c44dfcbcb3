"""Temperature schedules: state in, state out; the state is a record that a checkpoint can store.

Epochs are the scheduled exploration epochs 0 .. epochs-1. Linear, exponential and cosine reach `min_temp` at the last
one; constant stays; adaptive moves by `anneal_rate` with the score, under the linear line.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lab.base import require, require_range


@dataclass(frozen=True, kw_only=True)
class ScheduleState:
    """Where a schedule stands."""

    epoch: int
    """Exploration epochs that have ended."""
    temperature: float
    """Gumbel temperature of the coming exploration epoch, > 0."""
    best: float | None = None
    """Best score told so far; None before the first."""


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """How the temperature goes from `initial_temp` to `min_temp` over `epochs` exploration epochs."""

    initial_temp: float = 5.0
    """Temperature of the first exploration epoch, > 0."""
    min_temp: float = 0.1
    """Lowest temperature, > 0 and <= initial_temp."""
    epochs: int = 1
    """Number of scheduled exploration epochs, >= 1."""
    anneal_rate: float = 0.98
    """Factor of one adaptive step, in (0, 1]; other schedules do not use it."""

    def __post_init__(self) -> None:
        require_range("initial_temp", self.initial_temp, 0.0, open_low=True)
        require_range("min_temp", self.min_temp, 0.0, self.initial_temp, open_low=True)
        require_range("exploration epochs", self.epochs, 1)
        require_range("anneal_rate", self.anneal_rate, 0.0, 1.0, open_low=True)
        require(
            math.isfinite(self.initial_temp),
            expected="a finite initial_temp",
            got=self.initial_temp,
            hint="choose a value in range",
        )

    def progress(self, epoch: int) -> float:
        """Share of the schedule at `epoch`, in [0, 1]: 1 from the last scheduled epoch on."""
        return 1.0 if self.epochs == 1 else min(epoch / (self.epochs - 1), 1.0)

    def start(self) -> ScheduleState:
        """The state before the first exploration epoch."""
        return ScheduleState(epoch=0, temperature=self.advise(0, self.initial_temp, improved=None))

    def advance(self, state: ScheduleState, score: float) -> ScheduleState:
        """The state after one exploration epoch that ended with `score` (higher is better)."""
        improved = state.best is None or score > state.best
        best = score if improved else state.best
        temperature = self.advise(state.epoch + 1, state.temperature, improved=improved)
        return ScheduleState(epoch=state.epoch + 1, temperature=temperature, best=best)

    @abstractmethod
    def advise(self, epoch: int, temperature: float, *, improved: bool | None) -> float:
        """Temperature of `epoch`, given the last one and whether the score improved (None: no score yet)."""


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule(Schedule):
    """tau = tau0."""

    def advise(self, epoch: int, temperature: float, *, improved: bool | None) -> float:
        return self.initial_temp


@dataclass(frozen=True, kw_only=True)
class LinearSchedule(Schedule):
    """tau = tau0 (1 - p) + tau_min p."""

    def advise(self, epoch: int, temperature: float, *, improved: bool | None) -> float:
        share = self.progress(epoch)
        # Exactly `min_temp` at the end: the formula may round to a last bit beside it.
        return self.min_temp if share == 1.0 else self.initial_temp * (1.0 - share) + self.min_temp * share


@dataclass(frozen=True, kw_only=True)
class ExponentialSchedule(Schedule):
    """tau = tau0 (tau_min / tau0)^p."""

    def advise(self, epoch: int, temperature: float, *, improved: bool | None) -> float:
        share = self.progress(epoch)
        return self.min_temp if share == 1.0 else self.initial_temp * (self.min_temp / self.initial_temp) ** share


@dataclass(frozen=True, kw_only=True)
class CosineSchedule(Schedule):
    """tau = tau_min + (tau0 - tau_min) (1 + cos(pi p)) / 2."""

    def advise(self, epoch: int, temperature: float, *, improved: bool | None) -> float:
        share = self.progress(epoch)
        if share == 1.0:
            return self.min_temp
        return self.min_temp + (self.initial_temp - self.min_temp) * (1.0 + math.cos(math.pi * share)) / 2.0


@dataclass(frozen=True, kw_only=True)
class AdaptiveSchedule(Schedule):
    """tau <- tau * rate after a better score, tau / rate otherwise, kept in [tau_min, the linear line]."""

    def advise(self, epoch: int, temperature: float, *, improved: bool | None) -> float:
        share = self.progress(epoch)
        ceiling = self.min_temp if share == 1.0 else self.initial_temp * (1.0 - share) + self.min_temp * share
        if improved is None:
            return ceiling
        moved = temperature * self.anneal_rate if improved else temperature / self.anneal_rate
        return max(self.min_temp, min(moved, ceiling))


SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {
        "constant": ConstantSchedule,
        "linear": LinearSchedule,
        "exponential": ExponentialSchedule,
        "cosine": CosineSchedule,
        "adaptive": AdaptiveSchedule,
    }
)
"""Every schedule by name."""
