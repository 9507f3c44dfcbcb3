"""`TrialConfig`: how a change is tried, how sure an answer must be, what all trials of a run may cost."""

from dataclasses import dataclass

from lab.base import require_range

VERDICTS = ("better", "worse", "no difference", "cannot tell")
"""What a trial may say of a change; `cannot tell` where none was made."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """How a change is tried: horizon, looks, error rate, cost."""

    steps: int = 64
    """Optimizer steps of each copy, >= 1."""
    orders: int = 2
    """Batch orders, >= 2: what differs between them is noise of the training."""
    looks: int = 2
    """Readings of a trial, >= 1: after all steps, after half of them, after a quarter, ... Each but the last ends the
    trial where the answer is clear."""
    statistics_batches: int = 10
    """Training batches before a reading from which BatchNorm statistics are taken, >= 1."""
    error_rate: float = 0.05
    """Chance that a change without effect is called better or worse, over all looks of a trial, in (0, 0.5]."""
    power: float = 0.8
    """Chance with which a difference of `least_effect` must be seen; else no trial is made, in [0.5, 1)."""
    least_effect: float = 0.05
    """Smallest difference worth a trial, as a share of the held-out loss, > 0."""
    noise: float = 0.02
    """Standard deviation between batch orders that is expected before a trial has been made, as a share of the held-out
    loss, >= 0; measured by `lab experiment trials`."""
    noise_weight: int = 4
    """Degrees of freedom that the expected noise counts beside what is measured, >= 0; 0: what is measured alone."""
    pair_ratio: float = 0.3
    """Standard deviation of paired differences over that of the losses, as expected before a trial has been made, > 0;
    measured by `lab experiment trials`."""
    share: float = 0.1
    """Share of the planned compute that all trials together may cost, readings included, >= 0; 0: no trial."""
    reading_share: float = 0.01
    """Share of the compute left that reading the changed copies may cost, in (0, 1]: a size that is too large to be
    read is not tried."""
    patience: int = 6
    """Trials in a row without a gain after which none is made any more, >= 1."""

    def __post_init__(self) -> None:
        require_range("steps", self.steps, 1)
        require_range("orders", self.orders, 2)
        require_range("looks", self.looks, 1)
        require_range("statistics_batches", self.statistics_batches, 1)
        require_range("error_rate", self.error_rate, 0, 0.5, open_low=True)
        require_range("power", self.power, 0.5, 0.999)
        require_range("least_effect", self.least_effect, 0, open_low=True)
        require_range("noise", self.noise, 0)
        require_range("noise_weight", self.noise_weight, 0)
        require_range("pair_ratio", self.pair_ratio, 0, open_low=True)
        require_range("share", self.share, 0)
        require_range("reading_share", self.reading_share, 0, 1, open_low=True)
        require_range("patience", self.patience, 1)

    @property
    def look_steps(self) -> tuple[int, ...]:
        """Numbers of steps after which a trial is read, ascending; the last one is `steps`."""
        return tuple(sorted({self.steps >> halvings for halvings in range(self.looks)} - {0}))
