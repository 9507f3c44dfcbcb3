"""`Stopping`: when a search ends before its plan does."""

import math
from collections.abc import Mapping
from typing import Any

from lab.asose.config import ASOSEConfig
from lab.train import Evaluation


class Stopping:
    """Ends a run where its goal is reached, or where nothing has become better for long enough.

    Args:
        config: target, patience, and what counts as better.
    """

    def __init__(self, config: ASOSEConfig) -> None:
        self.config = config
        self.best_loss = math.inf
        """Best selection loss so far, nats."""
        self.waited = 0
        """Epochs since then."""

    def observe(self, evaluation: Evaluation, *, may_stop: bool) -> str:
        """Take an epoch's reading; why the run ends, empty where it goes on.

        Args:
            evaluation: of the live network on the selection split.
            may_stop: whether it may end now: no mutation is undecided.
        """
        target = self.config.target_accuracy
        if target is not None and evaluation.accuracy >= target and may_stop:
            return f"decision accuracy {evaluation.accuracy:.2%} has reached {target:.2%}"
        if evaluation.loss < self.best_loss * (1.0 - self.config.performance_threshold):
            self.best_loss, self.waited = evaluation.loss, 0
            return ""
        self.waited += 1
        patience = self.config.early_stopping_patience
        if patience and self.waited >= patience and may_stop:
            return f"no better decision loss than {self.best_loss:.4f} for {self.waited} epochs"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Best loss and epochs since then."""
        return {"best_loss": self.best_loss, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.best_loss, self.waited = state["best_loss"], state["waited"]
