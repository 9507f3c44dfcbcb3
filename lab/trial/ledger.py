"""`TrialLedger`: what a run's trials have cost and shown, and whether there is another one.

All costs are floating-point operations: three forwards for each sample of a training step, one for each reading.
"""

import math
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lab.base import require_range
from lab.nn.flops import FORWARDS_OF_STEP
from lab.trial.config import TrialConfig
from lab.trial.estimate import TrialNoise


class TrialLedger:
    """The trials of one run.

    Args:
        config: cost, error rate, patience.
        planned: compute of the whole run, > 0, FLOPs; `config.share` of it is what trials may cost.
    """

    def __init__(self, config: TrialConfig, planned: float) -> None:
        require_range("planned compute", planned, 0, open_low=True)
        self.config = config
        self.planned = planned
        self.spent = 0.0
        """Cost of the trials so far, without the steps of the control copy that are the run's own training."""
        self.noise = TrialNoise()
        self.made = 0
        self.gains = 0
        self.idle = 0
        """Trials in a row that gained nothing."""
        self.cannot_tell = ""
        """Why a trial on the samples of the latest `look` could not tell; empty where it can, or before one."""

    @property
    def left(self) -> float:
        """What trials may still cost."""
        return max(self.config.share * self.planned - self.spent, 0.0)

    def cost(self, control: float, changed: float, *, batch: int, samples: int) -> float:
        """Largest cost of a trial beyond the run's own training, BatchNorm statistics included.

        Args:
            control: FLOPs of the control's forward of one sample.
            changed: those of the changed copy.
            batch: samples in a training step.
            samples: held-out samples.
        """
        orders, looks = self.config.orders, self.config.look_steps
        trained = FORWARDS_OF_STEP * self.config.steps * batch * ((orders - 1) * control + orders * changed)
        read = sum(samples + batch * min(look, self.config.statistics_batches) for look in looks)
        # Before it the network is read as it is.
        return trained + read * orders * (control + changed) + samples * control

    def closed(self) -> str:
        """Why no further trial is made whatever the change; empty where one may be."""
        if self.idle >= self.config.patience:
            return f"the last {self.idle} trials gained nothing"
        if self.left <= 0.0:
            return f"trials have cost {self.spent:.3g} FLOPs, their share of {self.planned:.3g}"
        return self.cannot_tell

    def look(self, control_N: Tensor) -> None:
        """Learn from a reading that was made anyway (losses of the network as it is) whether a trial could tell.

        Else the readings that an action needs are paid for only to learn that.
        """
        self.cannot_tell = self.blind(control_N)

    def unaffordable(
        self, control: float, changed: float, *, batch: int, samples: int, remaining: float = math.inf
    ) -> str:
        """Why a trial of a change of this cost is not made; empty where it is.

        Args:
            control: as for `cost`.
            changed: as for `cost`.
            batch: as for `cost`.
            samples: as for `cost`.
            remaining: compute that the run has left; reading the changed copies may cost `reading_share` of it.
        """
        cost = self.cost(control, changed, batch=batch, samples=samples)
        if cost > self.left:
            return f"it would cost {cost:.3g} FLOPs, trials have {self.left:.3g} left"
        if cost > remaining:
            return f"it would cost {cost:.3g} FLOPs, the run has {remaining:.3g} left"
        reading = float(len(self.config.look_steps) * self.config.orders * samples * changed)
        if reading > self.config.reading_share * remaining:
            most = self.config.reading_share * remaining
            return f"reading it costs {reading:.3g} FLOPs, {most:.3g} at most with {remaining:.3g} left"
        return ""

    def blind(self, control_N: Tensor) -> str:
        """Why a trial on these held-out samples (losses of the network as it is) could not tell; empty where it can."""
        if len(control_N) < 2:
            return f"{len(control_N)} held-out samples, two at least"
        loss = float(control_N.mean())
        if not math.isfinite(loss) or loss <= 0.0:
            return f"a held-out loss of {loss:g}"
        least = self.noise.least_difference(self.config, control_N)
        if least > self.config.least_effect * loss:
            return (
                f"{len(control_N)} held-out samples show a difference of {least / loss:.1%} of the loss at the least, "
                f"{self.config.least_effect:.0%} is asked for"
            )
        return ""

    def record(self, *, gained: bool) -> None:
        """Count a trial that was made, and whether its change was kept for a gain."""
        self.made += 1
        self.gains += gained
        self.idle = 0 if gained else self.idle + 1

    def state_dict(self) -> dict[str, Any]:
        """All numbers, and what the latest look said."""
        numbers = ("spent", "made", "gains", "idle", "cannot_tell")
        return {"noise": asdict(self.noise), **{name: getattr(self, name) for name in numbers}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.noise = TrialNoise(**state["noise"])
        for name in ("spent", "made", "gains", "idle"):
            setattr(self, name, state[name])
        # Earlier versions had no look.
        self.cannot_tell = state.get("cannot_tell", "")
