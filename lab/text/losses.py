"""`TextLoss`: how class and span are read against what a sentence is labelled with.

B sentences, L tokens, K classes. Targets y (B, 3): class, first and last token of the span.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lab.base import require_choice, require_range
from lab.text.config import TASKS
from lab.text.models import Outputs


class TextLoss:
    """Cross-entropy, nats: of the class; of the span the mean of its two ends; of both w * class + (1 - w) * span.

    A hit is the right class, or both ends of the span where there is no class.

    Args:
        task: criteria, evidence, share or joint.
        criteria_weight: w in [0, 1], for share and joint.

    Raises:
        ConfigError: another task, or a weight outside its range.
    """

    def __init__(self, task: str, criteria_weight: float = 0.5) -> None:
        require_choice("task", task, TASKS)
        require_range("criteria_weight", criteria_weight, 0, 1)
        self.task = task
        self.criteria_weight = criteria_weight

    @property
    def mean(self) -> Callable[[Outputs, Tensor], Tensor]:
        """Outputs and targets (B, 3) -> the mean loss of the batch."""
        return lambda outputs, y_B3: self.each(outputs, y_B3).mean()

    def each(self, outputs: Outputs, y_B3: Tensor) -> Tensor:
        """Loss of each sentence (B,)."""
        parts = self._losses(outputs, y_B3)
        if len(parts) == 1:
            return next(iter(parts.values()))
        return self.criteria_weight * parts["criteria"] + (1 - self.criteria_weight) * parts["evidence"]

    def hits(self, outputs: Outputs, y_B3: Tensor) -> Tensor:
        """Whether each sentence (B,) has the right class, or the right span where there is no class."""
        outputs = outputs if isinstance(outputs, dict) else {self.task: outputs}
        if "criteria" in outputs:
            return outputs["criteria"].argmax(-1) == y_B3[:, 0]
        return (outputs["evidence"].argmax(-1) == y_B3[:, 1:]).all(-1)

    def parts(self, outputs: Outputs, y_B3: Tensor) -> Mapping[str, Tensor]:
        """Loss of class and span of each sentence (B,); none where there is but one."""
        parts = self._losses(outputs, y_B3)
        return parts if len(parts) > 1 else {}

    def _losses(self, outputs: Outputs, y_B3: Tensor) -> dict[str, Tensor]:
        found = outputs if isinstance(outputs, dict) else {self.task: outputs}
        losses = {}
        if "criteria" in found:
            losses["criteria"] = cross_entropy(found["criteria"], y_B3[:, 0], reduction="none")
        if "evidence" in found:
            ends = [cross_entropy(found["evidence"][:, k], y_B3[:, 1 + k], reduction="none") for k in (0, 1)]
            losses["evidence"] = torch.stack(ends).mean(0)
        return losses
