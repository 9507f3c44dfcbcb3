"""`Attempts`: an action is tried on copies of the network that train, or at once where nothing trains."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lab.agent.batch import Labelled
from lab.agent.operators import StructuralOperator, rollback_all
from lab.agent.reward import MultiObjectiveReward
from lab.agent.tracked_model import TrackedModel
from lab.agent.trial import AcceptanceTest, TriedAction, read, trained, untrained
from lab.base import MorphError, TrainingError, derive_seed
from lab.morph import MorphReport, NetworkAverage, apply
from lab.nn import measure_flops, preserved_modes
from lab.trial import Arm, Trial, TrialLedger, TrialTask


@dataclass(frozen=True, kw_only=True)
class ActionAttempt:
    """An action that was tried."""

    reports: tuple[MorphReport, ...]
    """Its changes, in order."""
    tried: TriedAction
    kept: bool
    why: str


class Attempts:
    """Tries actions on the network of `tracked`.

    Args:
        tracked: network, optimizer, training batches and step.
        ledger: what the run's trials have cost and shown.
        reward: what a change is worth.
        seed: of the further batch orders.
        ranks: processes that share each batch.
        agree: the first process's value, for all.
        around: what goes on around each change of a network, such as a proof that asks it before and after.
        average: of the network's weights; is changed and trained with it.
    """

    def __init__(
        self,
        tracked: TrackedModel,
        ledger: TrialLedger,
        *,
        reward: MultiObjectiveReward,
        seed: int,
        ranks: int,
        agree: Callable[[Any], Any],
        around: Callable[[nn.Module], AbstractContextManager[None]] = lambda model: nullcontext(),
        average: NetworkAverage | None = None,
    ) -> None:
        self.tracked = tracked
        self.ledger = ledger
        self.reward = reward
        self.seed = seed
        self.ranks = ranks
        self.agree = agree
        self.around = around
        self.average = average
        self.remaining = float("inf")
        """Compute that the run has left, FLOPs."""

    def at_once(
        self,
        operator: StructuralOperator,
        taken: int,
        excluded: frozenset[str],
        test: AcceptanceTest,
        batches: list[Labelled],
    ) -> ActionAttempt:
        """Change the network itself and read it, without training; what is not kept is rolled back, bit for bit.

        Raises:
            MorphError: nothing can be changed.
        """
        model = self.tracked.model
        before = read(model, batches)
        with self.around(model):
            reports = operator.apply(self.tracked.context(taken, excluded), self.tracked.optimizer)
        kept = False
        try:
            _require_change(reports)
            tried = untrained(reports, before, read(model, batches), _labels(batches), self.reward)
            kept, why = self.agree(test(tried))
        finally:
            # Whatever goes wrong, the network is what it was.
            if not kept:
                rollback_all(reports)
        if kept:
            follow(self.average, reports)
        return ActionAttempt(reports=reports, tried=tried, kept=kept, why=why)

    def on_trial(
        self,
        operator: StructuralOperator,
        taken: int,
        excluded: frozenset[str],
        test: AcceptanceTest,
        batches: list[Labelled],
    ) -> ActionAttempt | str:
        """Try the change on copies, while the network trains on unchanged; it takes what is kept.

        Returns:
            What came of it, or why no trial was made.

        Raises:
            MorphError: nothing can be changed; the network is untouched.
        """
        assert self.tracked.optimizer is not None
        own = Arm(model=self.tracked.model, optimizer=self.tracked.optimizer, more=self.average)
        made: list[MorphReport] = []

        def change(arm: Arm) -> None:
            with self.around(arm.model):
                made.extend(operator.apply(self.tracked.context(taken, excluded, arm.model), arm.optimizer))
            _require_change(tuple(made))
            follow(arm.more, made)

        task = self._task(batches)
        probe = self.tracked.probe(self.ledger.config.steps)
        seed = derive_seed(self.seed, "agent", "trial", taken)
        with preserved_modes(self.tracked.model):
            try:
                trial = Trial(own, change, task, self.ledger, batch=max(map(len, probe)), seed=seed)
            except TrainingError as error:
                return str(error)
            self._advance(trial, probe, seed)
        result = trial.result
        assert result is not None
        if not result.made:
            return result.reason
        # The copies are not kept alive by what is told of them.
        reports = tuple(replace(report, model=own.model, undo=None) for report in made)
        tried = trained(reports, result, _labels(batches), self.reward)
        kept, why = self.agree(test(tried))
        if kept:
            for report in reports:
                apply(report.plan, own.model, own.optimizer, replayed=True).release()
            with preserved_modes(own.model):
                own.take(trial.adopted)
            if self.average is not None:
                self.average.take(trial.adopted.more)
        self.ledger.record(gained=kept)
        return ActionAttempt(reports=reports, tried=tried, kept=kept, why=why)

    def _advance(self, trial: Trial, probe: list[Labelled], seed: int) -> None:
        orders = self.tracked.orders(probe, self.ledger.config.orders, seed)
        while trial.result is None:
            number = trial.steps
            trial.advance([order[number] for order in orders])
            self.tracked.own_samples += len(probe[number])
            self.tracked.steps += 2 * len(orders)

    def _task(self, batches: list[Labelled]) -> TrialTask:
        train_step = self.tracked.train_step

        def step(arm: Arm, batch: Any) -> None:
            train_step(arm.model, arm.optimizer, batch)
            if arm.more is not None:
                arm.more.update(arm.model)

        def flops(model: nn.Module) -> float:
            return float(measure_flops(model, batches[0].inputs)) / len(batches[0])

        return TrialTask(
            step=step,
            read=lambda model: read(model, batches),
            samples=sum(map(len, batches)),
            flops=flops,
            forward=lambda model, batch: batch.logits(model),
            remaining=self.remaining,
            ranks=self.ranks,
            agree=self.agree,
        )


def follow(average: NetworkAverage | None, reports: Sequence[MorphReport]) -> None:
    """Change the average as its network has been changed."""
    if average is not None:
        for report in reports:
            average.change(report.plan, report.model)


def _require_change(reports: tuple[MorphReport, ...]) -> None:
    if not any(report.applied for report in reports):
        raise MorphError("a change", "one that left every bit as it was", "choose another action")


def _labels(batches: list[Labelled]) -> Tensor:
    return torch.cat([batch.labels_B for batch in batches]).cpu()
