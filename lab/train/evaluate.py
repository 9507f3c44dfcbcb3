"""Reading a network: evaluation on fixed samples, paired comparison.

N samples, B in a batch, K classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab.nn import eval_mode
from lab.probe import PredictionReader
from lab.train.criterion import Criterion, PerSampleLoss
from lab.train.strategy import Batches, Evaluation


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches, criterion: PerSampleLoss | None = None) -> Evaluation:
    """Loss and accuracy of `model` over `batches` in eval mode; the mode is as before afterwards.

    Args:
        model: on the device of the batches; it computes without gradients.
        batches: inputs and targets, one batch at least; inputs that are a tuple are the model's arguments.
        criterion: losses and hits of each sample; default: cross-entropy.

    Returns:
        Means over all samples, not over batches; the losses of single samples are float64 on the CPU.
    """
    criterion = criterion or Criterion()
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    parts: dict[str, list[Tensor]] = {}
    reader = PredictionReader()
    with eval_mode(model):
        for inputs, targets in batches:
            outputs = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            reader.add(outputs, targets)
            losses.append(criterion.each(outputs, targets))
            hits.append(criterion.hits(outputs, targets))
            for name, part_B in criterion.parts(outputs, targets).items():
                parts.setdefault(name, []).append(part_B)
    losses_N = torch.cat(losses).double().cpu()
    hits_N = torch.cat(hits).double().cpu()
    return Evaluation(
        loss=float(losses_N.mean()),
        accuracy=float(hits_N.mean()),
        losses_N=losses_N,
        hits_N=hits_N,
        parts={name: float(torch.cat(found).double().mean()) for name, found in parts.items()},
        predictions=reader.event(hits_N),
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean paired difference of losses, after less before, with its standard error, nats."""

    mean: float
    error: float

    def worse(self, z: float) -> bool:
        """Whether the loss rose by more than `z` standard errors, z >= 0; a loss that is not finite is worse."""
        return not math.isfinite(self.mean) or self.mean > z * self.error


def compare(before_N: Tensor, after_N: Tensor) -> Comparison:
    """The paired comparison of two evaluations on the same samples in the same order.

    Args:
        before_N: loss of each sample (N,), nats.
        after_N: the same (N,) afterwards.

    Returns:
        Mean of after - before and its standard error, nats; the error of a single sample is 0.
    """
    difference_N = after_N - before_N
    error = float(difference_N.std()) / math.sqrt(len(difference_N)) if len(difference_N) > 1 else 0.0
    return Comparison(mean=float(difference_N.mean()), error=error)
