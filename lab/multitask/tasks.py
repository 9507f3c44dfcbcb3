"""Several losses of one encoding: how they are read, how they are weighed against each other.

B samples, F features, K losses, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from lab.base import ConfigError
from lab.datasets import Task
from lab.mahia import DynamicWeightAveraging, GradNorm, PCGrad, backward_by_loss
from lab.multitask.config import MultitaskConfig


class TaskLosses:
    """The losses of `tasks`: cross-entropy (nats) of classes, squared error of a standardised number.

    A squared error of 1 is that of the mean. Accuracy is that of the first task with classes.

    Args:
        tasks: K >= 1, of which one at least has classes.

    Raises:
        ConfigError: no task has classes.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        with_classes = [task.name for task in tasks if task.classes]
        if not with_classes:
            raise ConfigError("a task with classes", "none", "add one: its accuracy is the run's")
        self.accuracy_of = with_classes[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K tasks."""
        return tuple(task.name for task in self.tasks)

    def parts(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each task's loss of each sample (B,), from outputs (B, C) or (B, 1) and targets (B,) by task."""
        return {task.name: _each(task, outputs[task.name], targets[task.name]) for task in self.tasks}

    def each(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Sum of the tasks' losses of each sample (B,)."""
        return torch.stack(list(self.parts(outputs, targets).values())).sum(0)

    def hits(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Whether each sample (B,) was classified correctly."""
        return outputs[self.accuracy_of].argmax(-1) == targets[self.accuracy_of]


def _each(task: Task, output: Tensor, target_B: Tensor) -> Tensor:
    if task.classes:
        return cross_entropy(output, target_B, reduction="none")
    return mse_loss(output.squeeze(-1), target_B.to(output.dtype), reduction="none")


@dataclass(frozen=True, kw_only=True)
class BackwardResult:
    """What one backward pass of several losses saw; everything is detached."""

    losses_K: Tensor
    """The losses as they are, unweighted."""
    norms_K: Tensor
    """Norm of each loss's own, unweighted gradient at the shared features."""
    conflict: Tensor
    """Share of the pairs of losses whose gradients point against each other, in [0, 1]; 0 for one loss."""


class LossWeights:
    """Weighs K losses by the rule that `config` names.

    Gradients that a rule looks at are those at the shared features: as many numbers as features, where the shared
    parameters' would need one walk through the encoder for each loss.

    Args:
        config: rule and its numbers.
        names: of the K losses.
        seed: run seed; the order in which pcgrad projects follows from it.
    """

    def __init__(self, config: MultitaskConfig, names: Sequence[str], *, seed: int) -> None:
        self.names = tuple(names)
        self.rule: DynamicWeightAveraging | GradNorm | PCGrad | None = None
        count = len(self.names)
        if config.weighting == "dwa":
            self.rule = DynamicWeightAveraging(count, config.dwa_temperature)
        elif config.weighting == "gradnorm":
            self.rule = GradNorm(count, config.gradnorm_alpha, lr=config.gradnorm_rate)
        elif config.weighting == "pcgrad":
            self.rule = PCGrad(seed)
        self.sums = [0.0] * count
        self.steps = 0

    @property
    def weights(self) -> list[float]:
        """The K weights of the coming step; their sum is K."""
        if isinstance(self.rule, DynamicWeightAveraging | GradNorm):
            return [float(weight) for weight in self.rule.weights]
        return [1.0] * len(self.names)

    def backward(
        self,
        features_BF: Tensor,
        losses_of: Callable[[Tensor], Sequence[Tensor]],
        *,
        of_encoder: Sequence[Tensor] = (),
        scale: float = 1.0,
    ) -> BackwardResult:
        """Add the gradients of `scale` times the weighted losses to `.grad`: one walk through the encoder in all.

        Args:
            features_BF: the encoder's output, with its graph.
            losses_of: features -> K means over the batch, unweighted.
            of_encoder: losses that the encoder has by itself, scaled already.
            scale: of the loss, for fp16.
        """
        factors = [scale * weight for weight in self.weights]
        found: list[Tensor] = []

        def weighted(leaf_BF: Tensor) -> list[Tensor]:
            losses = losses_of(leaf_BF)
            found.extend(loss.detach() for loss in losses)
            return [factor * loss for factor, loss in zip(factors, losses, strict=True)]

        combine = self.rule.combine if isinstance(self.rule, PCGrad) else None
        _, gradients_KBF = backward_by_loss(features_BF, weighted, combine, of_encoder=of_encoder)
        # Weight and loss scale are taken out again: rules compare the losses as they are.
        own_KP = gradients_KBF.flatten(1).float() / torch.tensor(factors, device=features_BF.device).unsqueeze(1)
        return BackwardResult(losses_K=torch.stack(found), norms_K=own_KP.norm(dim=1), conflict=_conflict(own_KP))

    def end_step(self, losses: Sequence[float], norms: Sequence[float]) -> None:
        """Take the numbers of a step that changed the weights of the network."""
        self.sums = [before + loss for before, loss in zip(self.sums, losses, strict=True)]
        self.steps += 1
        if isinstance(self.rule, GradNorm):
            self.rule.update(losses, norms)

    def begin_epoch(self) -> None:
        """Forget the losses of the epoch before."""
        self.sums, self.steps = [0.0] * len(self.names), 0

    def end_epoch(self) -> None:
        """Take the mean losses of the epoch, where it had a step."""
        if self.steps and isinstance(self.rule, DynamicWeightAveraging):
            self.rule.update([total / self.steps for total in self.sums])

    def state_dict(self) -> dict[str, Any]:
        """What the rule remembers, and the epoch's losses so far."""
        rule = {} if self.rule is None else self.rule.state_dict()
        return {"rule": rule, "sums": list(self.sums), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it was taken with another number of losses.
        """
        if self.rule is not None:
            self.rule.load_state_dict(state["rule"])
        self.sums, self.steps = list(state["sums"]), state["steps"]


def _conflict(own_KP: Tensor) -> Tensor:
    count = len(own_KP)
    if count < 2:
        return own_KP.new_zeros(())
    above = torch.triu_indices(count, count, 1, device=own_KP.device)
    return ((own_KP @ own_KP.T)[above[0], above[1]] < 0).to(own_KP.dtype).mean()
