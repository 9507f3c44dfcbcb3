"""Settings of the stability monitor."""

from dataclasses import dataclass

from lab.base import require_range


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """Settings of `StabilityMonitor`."""

    window: int = 64
    """Observations behind the signals, >= 32; a shorter segment is used whole."""
    every: int = 8
    """Steps between two full verdicts once the window is full, >= 1. NaN, infinity and divergence do not wait."""
    memory: int = 128
    """Full verdicts over which the best recent level is kept, >= 8; with `every` 8, 1024 steps."""
    floor: float = 0.02
    """Share of the segment's first loss below which changes of the loss are weighted down, in [0, 1]."""
    oscillating_at: float = 0.25
    """Oscillation from which the state is oscillating, in (0, 1]."""
    degraded_at: float = 0.15
    """Degradation from which the state is degraded, in (0, 1]."""
    rollback_at: float = 0.5
    """Degradation from which the advice is rollback, in [degraded_at, 1]."""
    diverging_at: float = 1.0
    """Factors of ten above the best recent loss from which the state is diverging, > 0."""
    gentle_segments: tuple[str, ...] = ("mutation", "weight_retraining")
    """Segments that follow a mutation: degradation there advises reduce_mutation_strength instead of reduce_lr."""

    def __post_init__(self) -> None:
        require_range("window", self.window, 32)
        require_range("every", self.every, 1)
        require_range("memory", self.memory, 8)
        require_range("floor", self.floor, 0, 1)
        require_range("oscillating_at", self.oscillating_at, 0, 1, open_low=True)
        require_range("degraded_at", self.degraded_at, 0, 1, open_low=True)
        require_range("rollback_at", self.rollback_at, self.degraded_at, 1)
        require_range("diverging_at", self.diverging_at, 0, open_low=True)
