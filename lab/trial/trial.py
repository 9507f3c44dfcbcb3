"""`Trial`: a change against its absence, while the run goes on with the network that was not changed.

In each of R batch orders a changed copy and a control copy take the same steps on the same batches, with the same
random numbers. The control copy of the first order is the run's own network: its steps are the run's training, with the
bits that they would have without a trial. N held-out samples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lab.base import TrainingError, derive_seed
from lab.nn.flops import FORWARDS_OF_STEP
from lab.state import preserved_rng, rng_state, set_rng_state
from lab.trial.arm import Arm, Reading
from lab.trial.estimate import Estimate, estimate, spending
from lab.trial.ledger import TrialLedger


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """What a trial is told about the training that it is part of."""

    step: Callable[[Arm, Any], None]
    """Takes one optimizer step of an arm on a batch; of the run's own network exactly the run's step."""
    read: Callable[[nn.Module], Reading]
    """Reads a network on the held-out samples, in eval mode, without gradients."""
    samples: int
    """Held-out samples."""
    flops: Callable[[nn.Module], float]
    """Operations of a network's forward of one sample."""
    forward: Callable[[nn.Module, Any], Any] | None = None
    """Runs a network on a training batch, for BatchNorm statistics; None where no layer keeps any."""
    before_step: Callable[[Arm, int], None] = lambda arm, number: None
    """Called before step `number` (from 0) of each changed copy, such as to move a gradual transition on; a function of
    its arguments alone, so that a trial that is taken up again repeats it. At the last step a transition is over."""
    remaining: float = math.inf
    """Compute that the run has left, FLOPs."""
    ranks: int = 1
    """Processes that share each batch."""
    agree: Callable[[Any], Any] = lambda value: value
    """The first process's value, for all that train together."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a trial says of a change."""

    verdict: str
    """better, worse, no difference, or cannot tell."""
    reason: str
    """The figures, or why no trial was made."""
    estimate: Estimate | None = None
    """The effect at the last look; None where no trial was made."""
    steps: int = 0
    """Steps that each copy took."""
    cost: float = 0.0
    """Operations beyond the run's own training."""
    control: tuple[Reading, ...] = ()
    """The control copies at the last look, by order."""
    changed: tuple[Reading, ...] = ()
    """The changed copies."""

    @property
    def made(self) -> bool:
        """Whether a trial was made."""
        return self.estimate is not None

    def to_dict(self) -> dict[str, Any]:
        """JSON data, without the samples."""
        found = None if self.estimate is None else self.estimate.to_dict()
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "estimate": found,
            "steps": self.steps,
            "cost": self.cost,
        }


class Trial:
    """One change on trial, a step at a time.

    Args:
        control: the run's own network and optimizer; trained in place by `advance`.
        change: changes a copy and its optimizer; its random draws do not move the run's streams.
        task: how a step is taken and a network is read.
        ledger: the run's trials so far: cost, noise; this one is counted in it.
        batch: samples in a training step, for the cost.
        seed: of the random numbers of the further orders.

    `result` is there at once, with the reason, where no trial is made. What `change` raises is raised, and the run's
    network is untouched.

    Raises:
        TrainingError: the network cannot be copied.
    """

    def __init__(
        self,
        control: Arm,
        change: Callable[[Arm], None],
        task: TrialTask,
        ledger: TrialLedger,
        *,
        batch: int,
        seed: int = 0,
    ) -> None:
        self.task = task
        self.ledger = ledger
        self.config = ledger.config
        self.seed = seed
        self.steps = 0
        self.cost = 0.0
        self.result: TrialResult | None = None
        self.control: list[Arm] = [control]
        self.changed: list[Arm] = []
        self.recent: list[list[Any]] = [[] for _ in range(self.config.orders)]
        """The last batches of each order."""
        self._flops = (0.0, 0.0)
        control.begin_window()
        closed = ledger.closed()
        if closed:
            self.result = TrialResult(verdict="cannot tell", reason=closed)
            return
        with preserved_rng():
            first = control.copy()
            change(first)
            self._flops = task.flops(control.model), task.flops(first.model)
            refused = self._refusal(batch)
            if not refused:
                self.control += [control.copy() for _ in range(self.config.orders - 1)]
                self.changed = [first, *(first.copy() for _ in range(self.config.orders - 1))]
        if refused:
            self.result = TrialResult(verdict="cannot tell", reason=refused, cost=self.cost)

    def _refusal(self, batch: int) -> str:
        """Why the trial is not made; whether it could tell is read off the network as it is, which counts."""
        control, changed = self._flops
        refused = self.ledger.unaffordable(
            control,
            changed,
            batch=batch * self.task.ranks,
            samples=self.task.samples,
            remaining=self.task.remaining,
        )
        if refused:
            return refused
        (reading,) = self._read(self.control)
        return self.ledger.blind(reading.losses_N)

    @property
    def adopted(self) -> Arm:
        """The changed copy that took the run's own batches."""
        return self.changed[0]

    def advance(self, batches: Sequence[Any]) -> TrialResult | None:
        """One step of every copy; the result where this look gives it.

        Args:
            batches: one for each order; the first is the run's own next batch.

        Raises:
            TrainingError: the trial is over, or another number of batches.
        """
        if self.result is not None:
            raise TrainingError("a trial that is under way", "one that has ended", "look at its result")
        if len(batches) != self.config.orders:
            raise TrainingError(
                f"{self.config.orders} batches, one for each order", f"{len(batches)}", "draw one from each order"
            )
        for order, batch in enumerate(batches):
            self._pair(order, batch)
            self.recent[order] = [*self.recent[order], batch][-self.config.statistics_batches :]
        self.steps += 1
        if self.steps in self.config.look_steps:
            self._look()
        return self.result

    def _pair(self, order: int, batch: Any) -> None:
        """The control copy and the changed copy of one order, from the same random state."""
        control, changed = self.control[order], self.changed[order]
        if order:
            with preserved_rng(derive_seed(self.seed, "trial", order, self.steps)):
                begin = rng_state()
                self._step(control, batch)
                set_rng_state(begin)
                self.task.before_step(changed, self.steps)
                self._step(changed, batch)
        else:
            begin = rng_state()
            self._step(control, batch)
            with preserved_rng():
                set_rng_state(begin)
                self.task.before_step(changed, self.steps)
                self._step(changed, batch)
        rows = _length(batch) * self.task.ranks
        own = 0.0 if not order else self._flops[0]
        self._pay(FORWARDS_OF_STEP * rows * (own + self._flops[1]))

    def _step(self, arm: Arm, batch: Any) -> None:
        arm.train(self.task.step, batch, self.steps, self.config)

    def _read(self, arms: Sequence[Arm]) -> tuple[Reading, ...]:
        pairs = zip(arms, self.recent[: len(arms)], strict=True)
        found: tuple[Reading, ...] = self.task.agree(
            tuple(arm.read(self.task.read, self.task.forward, batches) for arm, batches in pairs)
        )
        for arm, batches in zip(arms, self.recent[: len(arms)], strict=True):
            rows = len(found[0].losses_N)
            if self.task.forward is not None and arm.live_norms:
                rows += sum(map(_length, batches)) * self.task.ranks
            self._pay(rows * (self._flops[1] if arms is self.changed else self._flops[0]))
        return found

    def _look(self) -> None:
        """Read every copy; end the trial where the answer is clear or the steps are done."""
        control, changed = self._read(self.control), self._read(self.changed)
        number = self.config.look_steps.index(self.steps)
        last = self.steps == self.config.look_steps[-1]
        losses = [torch.stack([reading.losses_N for reading in side]) for side in (control, changed)]
        if not bool(torch.isfinite(losses[0]).all()):
            self._end("cannot tell", "the control copy's loss is no number", None, control, changed)
            return
        found = estimate(*losses, config=self.config, noise=self.ledger.noise, error_rate=spending(self.config)[number])
        if found.clear or last:
            # Noise falls with the horizon: what an early look shows is too much for later ones rather than too little.
            self.ledger.noise = self.ledger.noise.observe(found)
            self._end(found.clear or "no difference", "", found, control, changed)

    def _end(
        self,
        verdict: str,
        reason: str,
        found: Estimate | None,
        control: tuple[Reading, ...],
        changed: tuple[Reading, ...],
    ) -> None:
        if found is not None:
            level = 1.0 - spending(self.config)[self.config.look_steps.index(self.steps)]
            reason = (
                f"held-out loss {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] at {level:.1%} against the "
                f"control copy after {self.steps} steps in {found.orders} orders"
            )
        self.result = TrialResult(
            verdict=verdict,
            reason=reason,
            estimate=found,
            steps=self.steps,
            cost=self.cost,
            control=control,
            changed=changed,
        )

    def _pay(self, flops: float) -> None:
        self.cost += flops
        self.ledger.spent += flops

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on beyond the run's own network, optimizer and streams, and the ledger.

        Nested state where the batches are.
        """
        return {
            "steps": self.steps,
            "cost": self.cost,
            "own": self.control[0].averages(),
            "control": [arm.state_dict() for arm in self.control[1:]],
            "changed": [arm.state_dict() for arm in self.changed],
            "recent": [list(batches) for batches in self.recent],
            "flops": list(self._flops),
        }

    @classmethod
    def resume(
        cls,
        control: Arm,
        change: Callable[[Arm], None],
        task: TrialTask,
        ledger: TrialLedger,
        state: dict[str, Any],
        *,
        seed: int = 0,
    ) -> "Trial":
        """Go on where `state_dict` was taken, with the run's network, streams and ledger as they were then.

        Args:
            control: as it was given.
            change: makes the same structure again.
            task: as it was given.
            ledger: of the run.
            seed: as it was given.
            state: of a trial that had no result yet.
        """
        trial = cls.__new__(cls)
        trial.task, trial.ledger, trial.config, trial.seed = task, ledger, ledger.config, seed
        trial.steps, trial.cost, trial.result = state["steps"], state["cost"], None
        trial._flops = state["flops"][0], state["flops"][1]
        trial.recent = [
            [tuple(batch) if isinstance(batch, list) else batch for batch in each] for each in state["recent"]
        ]
        with preserved_rng():
            first = control.copy()
            change(first)
            for number in range(trial.steps):
                task.before_step(first, number)
            orders = range(ledger.config.orders - 1)
            trial.control = [control, *(control.copy() for _ in orders)]
            trial.changed = [first, *(first.copy() for _ in orders)]
        control.load_state_dict(state["own"])
        for arms, states in ((trial.control[1:], state["control"]), (trial.changed, state["changed"])):
            for arm, each in zip(arms, states, strict=True):
                arm.load_state_dict(each)
        return trial


def _length(batch: Any) -> int:
    """Samples in a batch: its own length, or that of the labels in a pair."""
    return len(batch[1]) if isinstance(batch, tuple | list) else len(batch)
