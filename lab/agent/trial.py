"""A change on trial: the changed network against its control copy, on the same samples and the same random numbers.

N held-out samples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.agent.batch import Labelled
from lab.agent.information import discrete_entropy
from lab.agent.measure import evaluate
from lab.agent.reward import MultiObjectiveReward, Reward
from lab.base import require_range
from lab.morph import MorphReport
from lab.nn import train_mode
from lab.state import ModelSnapshot, OptimizerSnapshot, preserved_rng

TrainStep = Callable[[nn.Module, Labelled], None]
"""Takes one optimizer step of a model on a batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvalResult:
    """A network on the held-out samples."""

    losses_N: Tensor
    """Loss of each sample, nats, float64, CPU."""
    hits_N: Tensor
    """Whether each was classified correctly."""
    labels_N: Tensor
    """Class of each."""

    @classmethod
    def of(cls, model: nn.Module, batches: Sequence[Labelled]) -> "EvalResult":
        """In eval mode; nothing of the model changes."""
        losses_N, hits_N, labels_N = evaluate(model, batches)
        return cls(losses_N=losses_N, hits_N=hits_N, labels_N=labels_N)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was measured of a change."""

    mean: float
    """Mean difference of the held-out losses, changed less control copy, nats."""
    error: float
    """Standard error of that mean, over the paired samples."""
    measured: bool
    """Whether the difference says anything: false for an exact change that has not been trained."""
    reward: Reward
    """Of going from the control copy to the changed network."""
    steps: int
    """Training steps that each of the two took."""
    parts: tuple[str, ...] = field(default=())
    """What was changed, for the reader."""

    @property
    def finite(self) -> bool:
        """Whether the changed network's losses are numbers."""
        return math.isfinite(self.mean)


AcceptanceTest = Callable[[Trial], tuple[bool, str]]
"""Whether a change is kept, and why."""


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Keeps a change that did not raise the held-out loss for sure and whose reward is large enough.

    An exact change that has not been trained is kept: the function is what it was.
    """

    z: float = 1.0
    """Standard errors by which the loss must have risen to be worse for sure, >= 0."""
    threshold: float = 0.0
    """Least reward."""

    def __post_init__(self) -> None:
        require_range("z", self.z, 0)

    def __call__(self, trial: Trial) -> tuple[bool, str]:
        """The decision and its reason."""
        message = f"held-out loss {trial.mean:+.2g} +- {trial.error:.1g}, reward {trial.reward.total:+.3f}"
        if not trial.measured:
            return True, "exact and not yet trained"
        if not trial.finite or trial.mean > self.z * trial.error:
            return False, f"worse: {message}"
        if trial.reward.total < self.threshold:
            return False, f"reward below the threshold: {message}"
        return True, message


def paired(before: EvalResult, after: EvalResult) -> tuple[float, float]:
    """Mean and standard error of the paired difference of losses, after less before."""
    difference_N = after.losses_N - before.losses_N
    count = len(difference_N)
    return float(difference_N.mean()), float(difference_N.std()) / math.sqrt(count) if count > 1 else 0.0


@contextmanager
def undone(model: nn.Module, optimizer: Optimizer | None) -> Iterator[None]:
    """Whatever happens to model, optimizer and the global random streams inside the block is undone, bit for bit."""
    kept: list[ModelSnapshot | OptimizerSnapshot] = [ModelSnapshot(model)]
    if optimizer is not None:
        kept.append(OptimizerSnapshot(optimizer))
    with preserved_rng():
        try:
            yield
        finally:
            for snapshot in kept:
                snapshot.restore()


def plain_step(optimizer: Optimizer, grad_clip: float = 5.0) -> TrainStep:
    """A step of `optimizer` on the mean cross entropy, gradients clipped to the norm `grad_clip`.

    A model whose own flag says that it trains keeps every module's mode, so that a frozen BatchNorm stays frozen.
    """

    def step(model: nn.Module, batch: Labelled) -> None:
        train_mode(model)
        optimizer.zero_grad(set_to_none=True)
        losses_B, _ = batch.losses(model)
        loss = losses_B.mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        # A step that is no number changes nothing, and the trial sees that nothing was learnt.
        if torch.isfinite(norm):
            optimizer.step()

    return step


def compare_with_control(
    reports: Sequence[MorphReport], control: EvalResult, after: EvalResult, *, steps: int, reward: MultiObjectiveReward
) -> Trial:
    """The trial of the changes `reports`: the changed network's reading against that of its control copy."""
    mean, error = paired(control, after)
    finite = math.isfinite(mean)
    was = _objectives(control, reports[0].parameters[0], reports[0].flops[0])
    now = _objectives(after, reports[-1].parameters[1], reports[-1].flops[1])
    return Trial(
        mean=mean,
        error=error,
        measured=steps > 0 or not all(report.exact for report in reports),
        reward=reward(was, now) if finite else reward.worst(),
        steps=steps,
        parts=tuple(f"{report.plan.op} {report.plan.arguments}" for report in reports),
    )


def _objectives(reading: EvalResult, parameters: int, flops: int) -> dict[str, float]:
    loss = float(reading.losses_N.mean())
    return {
        "loss": loss,
        "accuracy": float(reading.hits_N.double().mean()),
        "parameters": float(parameters),
        "flops": float(flops),
        # What the output says about the label at least.
        "information": discrete_entropy(reading.labels_N) - loss,
    }


def account(name: str, reports: Sequence[MorphReport], trial: Trial, *, kept: bool, why: str) -> dict[str, Any]:
    """What is told of an action that was tried; JSON data.

    regret is what the decision lost in hindsight against the other choice, nats, as far as the trial saw.
    """
    hindsight = trial.mean if kept else -trial.mean
    payload = {
        "action": name,
        "applied": True,
        "accepted": kept,
        "reason": why,
        "changes": list(trial.parts),
        "exact": all(report.exact for report in reports),
        "measured": trial.measured,
        "max_difference": max(report.max_difference for report in reports),
        "reward": trial.reward.total,
        "reward_parts": dict(trial.reward.parts),
        "loss_change": trial.mean,
        "loss_error": trial.error,
        "probe_steps": trial.steps,
        "parameters": [reports[0].parameters[0], reports[-1].parameters[1]],
        "flops": [reports[0].flops[0], reports[-1].flops[1]],
        "regret": max(hindsight, 0.0) if trial.finite else 0.0,
    }
    return payload if kept else {**payload, "error": f"rolled back: {why}"}
