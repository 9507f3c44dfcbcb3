"""The stability monitor: observes every step, says how healthy the training is and what to do.

What it stands on is in `signals`, what follows from them in `verdict`. Observations of different phases are different
quantities: `begin` starts a segment, and no signal straddles two. The monitor reads no clock and draws no random
number: the same observations give the same verdicts.
"""

import math
from collections import deque
from collections.abc import Callable
from operator import eq
from typing import Any

from lab.base import ConfigError
from lab.monitor.config import MonitorConfig
from lab.monitor.signals import (
    FEWEST_FOR_LEVEL,
    decades,
    from_decades,
    levels,
    margins,
    median,
    noise,
    oscillation,
    relative_fall,
    trend,
)
from lab.monitor.verdict import Signals, Verdict, failure, judge

# The range of the float32 that a loss is computed in: beyond it is infinity, below it zero.
_LARGEST, _SMALLEST = 1e38, 1e-38
_OPENING = 9
_FEWEST_FOR_GRADIENT = 16
# Decades from which one loss alone counts: a small last batch with a wrong label reaches one or two.
_SUDDEN = 2.0


class StabilityMonitor:
    """Watches one training run.

    The first verdicts of a segment rest on few observations and are mild: a level is judged from 8 observations on,
    oscillation from 12. NaN and infinity count from the first. `observe` costs a few microseconds on average.

    Args:
        config: windows and limits; None for the defaults.
    """

    def __init__(self, config: MonitorConfig | None = None) -> None:
        self.config = config or MonitorConfig()
        self.begin("start")

    def begin(self, name: str) -> None:
        """Start a segment: a new phase, or the same one after a rollback. Nothing observed before counts any more."""
        window, memory = self.config.window, self.config.memory
        self._segment = name
        self._count = 0
        self._losses: deque[float] = deque(maxlen=window)
        self._best_losses: deque[list[float]] = deque(maxlen=memory)
        self._lowest: list[float] = []
        self._accuracy_count = 0
        self._accuracies: deque[float] = deque(maxlen=window)
        self._best_accuracies: deque[list[float]] = deque(maxlen=memory)
        self._highest: list[float] = []
        self._had_accuracy = False
        self._gradients: deque[float] = deque(maxlen=window)
        self._opening = 0.0
        self._alarm = math.inf
        self._verdict: Verdict | None = None

    def observe(
        self, *, step: int, loss: float, accuracy: float | None = None, grad_norm: float | None = None
    ) -> Verdict:
        """Take in one step; the verdict of this step, or of the latest full one.

        Arguments:
            step: number of the optimizer step; it only labels the verdict.
            loss: of the step's batch, before the step.
            accuracy: of one kind throughout a segment, per batch or per epoch; None where there is none at this step.
            grad_norm: before clipping and after unscaling; None where there is none.

        Raises:
            ConfigError: something that is no number, or a gradient norm below zero.
        """
        try:
            loss = float(loss)
            accuracy = None if accuracy is None else float(accuracy)
            grad_norm = None if grad_norm is None else float(grad_norm)
        except (TypeError, ValueError) as error:
            raise ConfigError("numbers as loss, accuracy, grad_norm", str(error), "pass floats") from error
        for name, value in (("loss", loss), ("accuracy", accuracy), ("gradient norm", grad_norm)):
            # So written that NaN, which compares as false, is caught as well.
            if value is not None and not -_LARGEST <= value <= _LARGEST:
                self._verdict = failure(step, self._segment, name, value)
                return self._verdict
        if grad_norm is not None and grad_norm < 0.0:
            raise ConfigError("grad_norm >= 0", f"grad_norm = {grad_norm}", "pass the norm of the gradient")
        self._count += 1
        self._losses.append(loss if abs(loss) >= _SMALLEST else 0.0)
        if grad_norm is not None:
            self._gradients.append(grad_norm if grad_norm >= _SMALLEST else 0.0)
        due = self._count <= self.config.window or self._count % self.config.every == 0 or loss > self._alarm
        if accuracy is not None:
            self._accuracy_count += 1
            self._accuracies.append(accuracy)
            due = due or not self._had_accuracy
        self._had_accuracy = accuracy is not None
        if due or self._verdict is None or self._verdict.state == "failed":
            self._verdict = self._judge(step)
        return self._verdict

    def state_dict(self) -> dict[str, Any]:
        """All that the next verdicts depend on, JSON-ready."""
        return {
            "window": self.config.window,
            "memory": self.config.memory,
            "segment": self._segment,
            "count": self._count,
            "losses": list(self._losses),
            "best_losses": list(self._best_losses),
            "accuracy_count": self._accuracy_count,
            "accuracies": list(self._accuracies),
            "best_accuracies": list(self._best_accuracies),
            "had_accuracy": self._had_accuracy,
            "gradients": list(self._gradients),
            "opening": self._opening,
            "alarm": None if math.isinf(self._alarm) else self._alarm,
            "verdict": None if self._verdict is None else self._verdict.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where the monitor stood that gave `state`.

        Raises:
            ConfigError: a state of another window or memory, or one that lacks a field; the monitor is then unchanged.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ConfigError("a state of a stability monitor", f"one without {', '.join(missing)}", "load another")
        for name in ("window", "memory"):
            if state[name] != getattr(self.config, name):
                got = f"{name} = {state[name]}"
                raise ConfigError(f"{name} = {getattr(self.config, name)}", got, "use the settings of that run")
        self.begin(state["segment"])
        self._count = state["count"]
        self._losses.extend(state["losses"])
        self._best_losses.extend(state["best_losses"])
        self._accuracy_count = state["accuracy_count"]
        self._accuracies.extend(state["accuracies"])
        self._best_accuracies.extend(state["best_accuracies"])
        self._had_accuracy = state["had_accuracy"]
        self._gradients.extend(state["gradients"])
        self._opening = state["opening"]
        self._alarm = math.inf if state["alarm"] is None else state["alarm"]
        self._verdict = None if state["verdict"] is None else Verdict.from_dict(state["verdict"])

    def _judge(self, step: int) -> Verdict:
        losses = list(self._losses)
        if self._count <= _OPENING:
            self._opening = median([abs(loss) for loss in losses])
        change, significance = trend(losses)
        signals = Signals(
            oscillation=oscillation(losses, self.config.floor * self._opening),
            divergence=self._divergence(losses),
            fall=self._accuracy_fall(),
            gradient=self._gradient_excess(),
            trend=change,
            falling=significance < -2.0 and change < 0.0,
            observations=len(losses),
        )
        return judge(signals, self.config, step, self._segment)

    def _divergence(self, losses: list[float]) -> float:
        if len(losses) < FEWEST_FOR_LEVEL:
            return 0.0
        # Ratios mean nothing within the noise and far below the opening loss: there the scale is linear.
        scale = max(self.config.floor * self._opening, noise(losses))
        if scale == 0.0:
            return 0.0
        series = [decades(loss, scale) for loss in losses]
        margin = margins(noise(series), len(series), self._count)
        level = levels(series)
        high = [from_decades(at + off, scale) for at, off in zip(level, margin, strict=True)]
        self._lowest = _remember(self._best_losses, high, self._lowest, min)
        best = [decades(lowest, scale) for lowest in self._lowest]
        risen = max([at - off - low for at, off, low in zip(level, margin, best, strict=True)])
        # The margin of one value is sqrt(3) times that of the median of three.
        sudden = series[-1] - margin[0] * math.sqrt(3.0) - best[0]
        self._alarm = from_decades(best[0] + self.config.diverging_at, scale)
        return max(0.0, risen, sudden if sudden >= _SUDDEN else 0.0)

    def _accuracy_fall(self) -> float:
        if len(self._accuracies) < FEWEST_FOR_LEVEL:
            return 0.0
        series = list(self._accuracies)
        margin = margins(noise(series), len(series), self._accuracy_count)
        level = levels(series)
        low = [at - off for at, off in zip(level, margin, strict=True)]
        self._highest = best = _remember(self._best_accuracies, low, self._highest, max)
        return max(relative_fall(high, at + off) for at, off, high in zip(level, margin, best, strict=True))

    def _gradient_excess(self) -> float:
        if len(self._gradients) < _FEWEST_FOR_GRADIENT:
            return 0.0
        norms = list(self._gradients)
        usual, now = median(norms), median(norms[-3:])
        return math.log10(now / usual) - 1.0 if now > 10.0 * usual > 0.0 else 0.0


def _remember(
    rows: deque[list[float]], row: list[float], best: list[float], choose: Callable[..., float]
) -> list[float]:
    """Append `row` to `rows`, which then may lose its oldest; the best of each column.

    Args:
        best: of the columns before; empty where it is not known.
        choose: `min` or `max`, whichever is better.
    """
    oldest = rows[0] if len(rows) == rows.maxlen else ()
    rows.append(row)
    # A search of all rows is needed only where one of the best falls out.
    if not best or any(map(eq, oldest, best)):
        return [choose(column) for column in zip(*rows, strict=True)]
    return list(map(choose, best, row))
