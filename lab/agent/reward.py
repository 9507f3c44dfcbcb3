"""`MultiObjectiveReward`: one number for a change, from what was measured before and after it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.base import DataError, require_range


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """What counts, and at which difference it counts in full."""

    accuracy: float = 0.2
    """Weight of accuracy, >= 0; its noise on a few hundred samples drowns small gains that the loss shows."""
    efficiency: float = 0.1
    """Weight of costing less, >= 0."""
    information: float = 0.6
    """Weight of what the output says about the label, H(Y) - loss, >= 0."""
    stability: float = 0.1
    """Weight of not raising the loss, >= 0."""
    accuracy_scale: float = 0.02
    """Difference of accuracy, as a share, that counts tanh(1) = 0.76, > 0."""
    efficiency_scale: float = 1.0
    """Relative difference of the cost that counts as much, > 0."""
    information_scale: float = 0.05
    """Difference of information, nats, that counts as much, > 0."""
    stability_scale: float = 0.1
    """Relative rise of the loss that counts as much, > 0."""

    def __post_init__(self) -> None:
        for name in ("accuracy", "efficiency", "information", "stability"):
            require_range(name, getattr(self, name), 0)
            require_range(f"{name}_scale", getattr(self, f"{name}_scale"), 0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A reward and what it is made of."""

    total: float
    """Sum of the parts, each weighted."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Objective -> its value in (-1, 1) before weighting; those whose weight is 0 are left out."""


class MultiObjectiveReward:
    """sum_o w_o tanh(d_o / s_o) over accuracy, efficiency, information and stability.

    d is, in this order: the gain of accuracy (a share, not percent); 1 less the ratio after / before of the parameters,
    or of the operations of a forward where these are given and their ratio is the larger one; the gain of information
    in nats; minus the relative rise of the loss, 0 where it fell. A change that changed nothing earns exactly 0.
    """

    def __init__(self, config: RewardConfig | None = None) -> None:
        self.config = config or RewardConfig()

    def __call__(self, before: Mapping[str, float], after: Mapping[str, float]) -> Reward:
        """The reward of going from `before` to `after`.

        Args:
            before, after: accuracy in [0, 1], parameters > 0, information (nats), loss > 0; only what has a weight.
                flops > 0 where they are known.

        Raises:
            DataError: something that counts was not measured, or is not finite.
        """
        parts: dict[str, float] = {}
        config = self.config
        if config.accuracy:
            gain = _read(after, "accuracy") - _read(before, "accuracy")
            parts["accuracy"] = math.tanh(gain / config.accuracy_scale)
        if config.efficiency:
            ratio = _read(after, "parameters") / _read(before, "parameters")
            if before.get("flops") and after.get("flops"):
                ratio = max(ratio, _read(after, "flops") / _read(before, "flops"))
            parts["efficiency"] = math.tanh((1.0 - ratio) / config.efficiency_scale)
        if config.information:
            gain = _read(after, "information") - _read(before, "information")
            parts["information"] = math.tanh(gain / config.information_scale)
        if config.stability:
            rise = max(_read(after, "loss") / _read(before, "loss") - 1.0, 0.0)
            parts["stability"] = -math.tanh(rise / config.stability_scale)
        return Reward(total=sum(getattr(config, name) * value for name, value in parts.items()), parts=parts)

    def worst(self) -> Reward:
        """The reward of a network whose loss is no number: every objective at -1."""
        config = self.config
        names = [name for name in ("accuracy", "efficiency", "information", "stability") if getattr(config, name)]
        parts = dict.fromkeys(names, -1.0)
        return Reward(total=-sum(getattr(config, name) for name in names), parts=parts)


class ParetoFront:
    """The measurements that no other one beats in accuracy and parameters at once."""

    def __init__(self) -> None:
        self.points: tuple[tuple[float, float], ...] = ()
        """(accuracy, parameters), best accuracy first."""

    def add(self, accuracy: float, parameters: float) -> bool:
        """Take a measurement; whether it belongs to the front."""
        point = (accuracy, parameters)
        if any(_beats(other, point) or other == point for other in self.points):
            return False
        kept = [other for other in self.points if not _beats(point, other)]
        self.points = tuple(sorted([*kept, point], reverse=True))
        return True


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def _read(metrics: Mapping[str, float], name: str) -> float:
    value = metrics.get(name)
    if value is None or not math.isfinite(value):
        got = "nothing" if value is None else f"{value}"
        raise DataError(f"a finite {name} among the metrics", got, "measure it, or give that objective weight 0")
    return value
