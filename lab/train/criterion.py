"""`Criterion`: the loss that a run trains on, as a batch's mean and for each sample.

B batch, K classes.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lab.base import ConfigError


class PerSampleLoss(Protocol):
    """How a network's outputs are read against the targets of a batch, sample by sample."""

    def each(self, outputs: Any, targets: Any, /) -> Tensor:
        """Loss of each sample (B,)."""

    def hits(self, outputs: Any, targets: Any, /) -> Tensor:
        """Whether each sample (B,) was classified correctly."""

    def parts(self, outputs: Any, targets: Any, /) -> Mapping[str, Tensor]:
        """Each loss of each sample (B,) by its name; none where there is but one."""


class BatchLoss(PerSampleLoss, Protocol):
    """A loss that a step can train on."""

    @property
    def mean(self) -> Callable[[Any, Any], Tensor]:
        """Outputs and targets -> the mean loss of the batch."""


class Criterion:
    """A loss function of logits (B, K) and labels (B,) that gives the mean; by default the cross-entropy, nats.

    Args:
        function: for example `nn.CrossEntropyLoss(label_smoothing=0.1)`.

    Raises:
        ConfigError: it can be called, but says `reduction` other than mean.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        self.function = function or nn.functional.cross_entropy
        reduction = getattr(self.function, "reduction", "mean")
        if reduction != "mean":
            raise ConfigError("a criterion that gives the mean", f"reduction {reduction!r}", "remove reduction")
        self.mean = self.function
        """Logits (B, K) and labels (B,) -> the mean loss of the batch."""

    def hits(self, logits_BK: Tensor, y_B: Tensor) -> Tensor:
        """Whether the largest logit of each sample (B,) is its label's."""
        return logits_BK.argmax(-1) == y_B

    def parts(self, logits_BK: Tensor, y_B: Tensor) -> Mapping[str, Tensor]:
        """None: there is one loss."""
        return {}

    def each(self, logits_BK: Tensor, y_B: Tensor) -> Tensor:
        """Loss of each sample, (B,)."""
        if self.function is nn.functional.cross_entropy:
            return nn.functional.cross_entropy(logits_BK, y_B, reduction="none")
        # With class weights the mean is divided by the weights: what reduction none gives would not average to it.
        if isinstance(self.function, nn.modules.loss._Loss) and getattr(self.function, "weight", None) is None:
            # A copy, since the function is the caller's and trains with its mean.
            alone = copy.copy(self.function)
            alone.reduction = "none"
            each_B: Tensor = alone(logits_BK, y_B)
            return each_B
        pairs = zip(logits_BK.split(1), y_B.split(1), strict=True)
        return torch.stack([self.function(logits, y) for logits, y in pairs])
