"""What an action brought: the trial of `lab.trial` in the agent's terms, and the rule that keeps it or not.

N held-out samples.
"""

import math
from collections.abc import Callable, Sequence
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
from lab.train import compare
from lab.trial import Reading, TrialResult

TrainStep = Callable[[nn.Module, Optimizer, Labelled], None]
"""Takes one step of an optimizer of a model on a batch."""


@dataclass(frozen=True, kw_only=True)
class TriedAction:
    """What was measured of a change."""

    mean: float
    """Mean difference of the held-out losses, changed less control copy, nats."""
    error: float
    """Standard error of that mean: noise between batch orders and between samples."""
    low: float = -math.inf
    """Lower end of the trial's interval of the mean."""
    high: float = math.inf
    """Upper end."""
    verdict: str = "no difference"
    """What the trial says, of `lab.trial.VERDICTS`."""
    measured: bool
    """Whether the difference says anything: false for an exact change that has not been trained."""
    cheaper: bool = False
    """Whether the change lowers parameters or operations, and raises neither."""
    reward: Reward
    """Of going from the control copy to the changed network."""
    steps: int
    """Training steps that each copy took."""
    parts: tuple[str, ...] = field(default=())
    """What was changed, for the reader."""

    @property
    def finite(self) -> bool:
        """Whether the changed network's losses are numbers."""
        return math.isfinite(self.mean)


AcceptanceTest = Callable[[TriedAction], tuple[bool, str]]
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

    def __call__(self, tried: TriedAction) -> tuple[bool, str]:
        """The decision and its reason."""
        message = f"held-out loss {tried.mean:+.2g} +- {tried.error:.1g}, reward {tried.reward.total:+.3f}"
        if not tried.measured:
            return True, "exact and not yet trained"
        if not tried.finite or tried.mean > self.z * tried.error:
            return False, f"worse: {message}"
        if tried.reward.total < self.threshold:
            return False, f"reward below the threshold: {message}"
        return True, message


@dataclass(frozen=True, kw_only=True)
class GainTest(PairedTest):
    """Keeps a change that `PairedTest` keeps and that gains: the trial says better, or it costs less.

    A change that costs as much or more and whose gain the trial does not show is noise, and is not kept.
    """

    def __call__(self, tried: TriedAction) -> tuple[bool, str]:
        """The decision and its reason."""
        kept, why = super().__call__(tried)
        if kept and tried.measured and tried.verdict != "better" and not tried.cheaper:
            return False, f"no gain shown: {why}, interval {tried.low:+.2g} to {tried.high:+.2g}"
        return kept, why


def plain_step(grad_clip: float = 5.0) -> TrainStep:
    """A step on the mean cross entropy, gradients clipped to the norm `grad_clip`.

    A model whose own flag says that it trains keeps every module's mode, so that a frozen BatchNorm stays frozen.
    """

    def step(model: nn.Module, optimizer: Optimizer, batch: Labelled) -> None:
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


def read(model: nn.Module, batches: Sequence[Labelled]) -> Reading:
    """A network on the held-out samples, in eval mode; nothing of the model changes."""
    losses_N, hits_N, _ = evaluate(model, batches)
    return Reading(losses_N=losses_N, hits_N=hits_N)


def untrained(
    reports: Sequence[MorphReport], before: Reading, after: Reading, labels_N: Tensor, reward: MultiObjectiveReward
) -> TriedAction:
    """The action `reports` on a network that is not trained: its losses before and after, sample by sample."""
    comparison = compare(before.losses_N, after.losses_N)
    return TriedAction(
        mean=comparison.mean,
        error=comparison.error,
        measured=not all(report.exact for report in reports),
        steps=0,
        **_told(reports, (before,), (after,), labels_N, reward),
    )


def trained(
    reports: Sequence[MorphReport], result: TrialResult, labels_N: Tensor, reward: MultiObjectiveReward
) -> TriedAction:
    """The action `reports` by the result of its trial, which was made."""
    found = result.estimate
    assert found is not None
    return TriedAction(
        mean=found.mean,
        error=found.error,
        low=found.low,
        high=found.high,
        verdict=result.verdict,
        measured=True,
        steps=result.steps,
        **_told(reports, result.control, result.changed, labels_N, reward),
    )


def _told(
    reports: Sequence[MorphReport],
    control: Sequence[Reading],
    changed: Sequence[Reading],
    labels_N: Tensor,
    reward: MultiObjectiveReward,
) -> dict[str, Any]:
    old, new = ((report.parameters[side], report.flops[side]) for report, side in ((reports[0], 0), (reports[-1], 1)))
    was, now = _objectives(control, *old, labels_N), _objectives(changed, *new, labels_N)
    return {
        "cheaper": new != old and all(after <= before for before, after in zip(old, new, strict=True)),
        "reward": reward(was, now) if math.isfinite(now["loss"] - was["loss"]) else reward.worst(),
        "parts": tuple(f"{report.plan.op} {report.plan.arguments}" for report in reports),
    }


def _objectives(readings: Sequence[Reading], parameters: int, flops: int, labels_N: Tensor) -> dict[str, float]:
    loss = float(torch.stack([reading.losses_N for reading in readings]).mean())
    return {
        "loss": loss,
        "accuracy": float(torch.stack([reading.hits_N for reading in readings]).double().mean()),
        "parameters": float(parameters),
        "flops": float(flops),
        # What the output says about the label at least.
        "information": discrete_entropy(labels_N) - loss,
    }


def account(name: str, reports: Sequence[MorphReport], tried: TriedAction, *, kept: bool, why: str) -> dict[str, Any]:
    """What is told of an action that was tried; JSON data.

    regret is what the decision lost in hindsight against the other choice, nats, as far as the trial saw.
    """
    hindsight = tried.mean if kept else -tried.mean
    payload = {
        "action": name,
        "applied": True,
        "accepted": kept,
        "reason": why,
        "changes": list(tried.parts),
        "exact": all(report.exact for report in reports),
        "measured": tried.measured,
        "max_difference": max(report.max_difference for report in reports),
        "reward": tried.reward.total,
        "reward_parts": dict(tried.reward.parts),
        "loss_change": tried.mean,
        "loss_error": tried.error,
        "verdict": tried.verdict,
        "probe_steps": tried.steps,
        "parameters": [reports[0].parameters[0], reports[-1].parameters[1]],
        "flops": [reports[0].flops[0], reports[-1].flops[1]],
        "regret": max(hindsight, 0.0) if tried.finite else 0.0,
    }
    return payload if kept else {**payload, "error": f"not kept: {why}"}
