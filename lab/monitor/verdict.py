"""What the stability monitor says of a run."""

from dataclasses import asdict, dataclass
from typing import Any

from lab.base import Report, ReportTable
from lab.monitor.config import MonitorConfig
from lab.monitor.signals import FEWEST_FOR_LEVEL

STATES = ("improving", "plateau", "oscillating", "degraded", "diverging", "failed")
# A loss that rises by a tenth of a decade, 1.26 times, is no harm.
_UNSEEN = 0.1
# What would be written as 0 % or 0.00 is no reason.
_TOLD_FROM = 0.005
ADVICE = ("none", "reduce_lr", "reduce_mutation_strength", "rollback")


@dataclass(frozen=True, kw_only=True)
class Verdict(Report):
    """The health of a training run at one step, why, and what to do."""

    step: int
    """Step of the observation that it was made from."""
    segment: str
    """Name that `begin` gave to the present segment."""
    health: float
    """In [0, 1]: 1 nothing wrong, 0 the loss is not a number."""
    oscillation: float
    """Regular swinging of the loss about its trend, in [0, 1]."""
    degradation: float
    """What is certainly lost against the best recent level, in [0, 1]: a share of the accuracy, decades of the loss."""
    divergence: float
    """Decades (powers of ten) by which the loss certainly stands above its best recent level."""
    trend: float
    """Change of the loss over the window relative to its mean there; negative is falling."""
    state: str
    """One of `STATES`."""
    reasons: tuple[str, ...]
    """Sentences, the weightiest first."""
    advice: str
    """One of `ADVICE`."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready data."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Verdict":
        """The verdict that `to_dict` gave."""
        return cls(**{**data, "reasons": tuple(data["reasons"])})

    def tables(self) -> tuple[ReportTable, ...]:
        """One table: the numbers; its notes are the reasons."""
        numbers = ("health", "oscillation", "degradation", "divergence", "trend")
        rows = tuple([(name, f"{getattr(self, name):.3f}") for name in numbers])
        title = f"Step {self.step}: {self.state}, advice: {self.advice}"
        return (ReportTable(title=title, columns=("signal", "value"), rows=rows, notes=self.reasons),)


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What was measured, before it is judged."""

    oscillation: float
    """In [0, 1]."""
    divergence: float
    """Decades by which the loss has risen, >= 0."""
    fall: float
    """Share of the best accuracy that is lost, in [0, 1]."""
    gradient: float
    """Decades beyond the first one by which the gradient norm exceeds its usual size, >= 0."""
    trend: float
    """Change of the loss over the window relative to its mean there."""
    falling: bool
    """Whether the loss falls by more than chance would have it."""
    observations: int
    """How many the segment has, at most the window."""


def judge(signals: Signals, config: MonitorConfig, step: int, segment: str) -> Verdict:
    """The verdict on `signals`.

    health = (1 - 0.6 oscillation)(1 - 0.9 degradation)(1 - 0.2 gradient), with degradation the larger of `fall` and
    (`divergence` - 0.1) / 0.9, and each factor's signal in [0, 1]: no signal that grows ever raises the health.
    """
    degradation = min(max(0.0, signals.fall, (signals.divergence - _UNSEEN) / (1.0 - _UNSEEN)), 1.0)
    gradient = min(signals.gradient, 1.0)
    state, advice = _state(signals, degradation, config, segment)
    return Verdict(
        step=step,
        segment=segment,
        health=(1 - 0.6 * signals.oscillation) * (1 - 0.9 * degradation) * (1 - 0.2 * gradient),
        oscillation=signals.oscillation,
        degradation=degradation,
        divergence=signals.divergence,
        trend=signals.trend,
        state=state,
        reasons=_reasons(signals),
        advice=advice,
    )


def failure(step: int, segment: str, name: str, value: float) -> Verdict:
    """The verdict on an observation that is no finite number: health 0, roll back."""
    return Verdict(
        step=step,
        segment=segment,
        health=0.0,
        oscillation=0.0,
        degradation=1.0,
        divergence=0.0,
        trend=0.0,
        state="failed",
        reasons=(f"The {name} is {value:g}: no finite number that training can go on from.",),
        advice="rollback",
    )


def _state(signals: Signals, degradation: float, config: MonitorConfig, segment: str) -> tuple[str, str]:
    if signals.divergence >= config.diverging_at:
        return "diverging", "rollback"
    if degradation >= config.degraded_at:
        if degradation >= config.rollback_at:
            return "degraded", "rollback"
        return "degraded", "reduce_mutation_strength" if segment in config.gentle_segments else "reduce_lr"
    if signals.oscillation >= config.oscillating_at:
        return "oscillating", "reduce_lr"
    return "improving" if signals.falling else "plateau", "none"


def _reasons(signals: Signals) -> tuple[str, ...]:
    found = []
    if signals.divergence > _UNSEEN:
        text = f"The loss is {10**signals.divergence:.3g} times its best recent level, chance allowed for."
        found.append((signals.divergence, text))
    if signals.fall >= _TOLD_FROM:
        text = f"The accuracy lost {signals.fall:.0%} of its best recent level, chance allowed for."
        found.append((signals.fall, text))
    if signals.oscillation >= _TOLD_FROM:
        text = f"The loss swings regularly about its trend (oscillation {signals.oscillation:.2f})."
        found.append((signals.oscillation, text))
    if signals.gradient > 0:
        text = f"The gradient norm is {10 ** (1 + signals.gradient):.0f} times its usual size."
        found.append((signals.gradient * 0.2, text))
    sentences = [text for _, text in sorted(found, reverse=True)]
    if signals.observations < FEWEST_FOR_LEVEL:
        sentences.append(f"Only {signals.observations} observations so far.")
    elif signals.falling:
        sentences.append(
            f"The loss falls over the last {signals.observations} observations (trend {signals.trend:+.2f})."
        )
    elif not found:
        sentences.append(f"The loss does not fall over the last {signals.observations} observations.")
    return tuple(sentences)
