"""A mutation on trial: the network with the new cell against an unchanged control copy on the same batches.

The control copy is the live network itself, which trains on; where the trial shows no gain its bits are those of a run
that made no trial and trained on these batches. B batch, C channels, H height, W width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab.asose.live_network import TOLERANCE, LiveNetwork, mutate_average
from lab.base import TrainingError, derive_seed
from lab.morph import NetworkAverage
from lab.nn import EvolvableNetwork, SuperNet, measure_flops, recalibrate_batchnorm, train_mode
from lab.nn.flops import FORWARDS_OF_STEP
from lab.probe import ProofSamples, outputs, relative_difference
from lab.space import Genotype
from lab.train import Criterion, EpochData, Split, StepOptions, WeightStep, evaluate
from lab.trial import Arm, Reading, Trial, TrialConfig, TrialLedger, TrialResult, TrialTask

FIRST_EPOCH = 2_000_000
"""Epoch number, above any real one, from which trials take the order of their batches."""
EPOCHS_APART = 1_000
"""Between the orders of a trial, and of one trial and the next: more epochs than any order runs through."""


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """What is copied with a child."""

    supernet: SuperNet
    """Has the child's parameters."""
    average: NetworkAverage | None
    """Of the child's weights; follows the copy's own steps."""


@dataclass(frozen=True, kw_only=True)
class TriedMutation:
    """What a trial said of a cell."""

    result: TrialResult
    difference: float
    """Relative output difference of the change at its moment, eval mode; NaN where no copy was changed."""
    trained: float
    """Operations of the control copy's steps, which are the run's own training."""
    asked: tuple[Tensor, ...] = ()
    """What the copy said of the proof's samples before and after the change, (P, K) each; empty where none was made."""


class MutationTrials:
    """Tries cells on the live network, one after the other.

    Args:
        live: is trained by a trial, and takes a cell that is better.
        config: steps, orders, share of the compute.
        options: how a step is taken.
        grad_clip: largest norm of the gradient.
        seed: run seed.
    """

    def __init__(
        self, live: LiveNetwork, config: TrialConfig, *, options: StepOptions, grad_clip: float, seed: int
    ) -> None:
        self.live = live
        self.options = options
        self.grad_clip = grad_clip
        self.seed = seed
        self.ledger = TrialLedger(config, math.inf)
        self.number = 0

    def run(
        self,
        target: Genotype,
        *,
        epoch: int,
        data: EpochData,
        own_step: WeightStep,
        criterion: Criterion,
        remaining: float,
        proof: ProofSamples,
    ) -> TriedMutation:
        """Try `target`; the live network has trained on afterwards, and has the new cell where that is better.

        Args:
            target: another cell than the live network's.
            epoch: of the run, for the statistics of new layers.
            data: batches to train on and the selection split.
            own_step: the run's own step.
            criterion: how the network is read.
            remaining: operations that the run has left.
            proof: samples that a changed copy is asked about.

        Raises:
            TrainingError: the change moved the output.
        """
        child = self.live.child
        assert child is not None
        self.number += 1
        beside = _Beside(supernet=self.live.supernet, average=self.live.average)
        own = Arm(model=child, optimizer=self.live.optimizer, more=beside)
        probe_BCHW = next(iter(data.selection()))[0]
        found, asked = [math.nan], list[Tensor]()

        def change(arm: Arm) -> None:
            asked.append(proof.ask(arm.model))
            found[0] = _mutate(arm, target, data, epoch, probe_BCHW)
            asked.append(proof.ask(arm.model))

        orders = [self._batches(data, order) for order in range(self.ledger.config.orders)]
        task = self._task(child.genotype, target, data, own, own_step, criterion, remaining, probe_BCHW[:1])
        rows = len(next(self._batches(data, 0))[1])
        trial = Trial(
            own, change, task, self.ledger, batch=rows, seed=derive_seed(self.seed, "mutation trial", self.number)
        )
        flops, trained = measure_flops(child, probe_BCHW[:1]), 0.0
        while trial.result is None:
            batches = [next(order) for order in orders]
            trained += FORWARDS_OF_STEP * flops * len(batches[0][1]) * self.options.group.size
            trial.advance(batches)
        result = trial.result
        if result.made:
            better = result.verdict == "better"
            self.ledger.record(gained=better)
            if better:
                _finish(child, target, self.live)
                own.take(trial.adopted)
                if self.live.average is not None:
                    self.live.average.take(trial.adopted.more.average)
        return TriedMutation(result=result, difference=found[0], trained=trained, asked=tuple(asked))

    def _batches(self, data: EpochData, order: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Training batches of one order of this trial, without end."""
        epoch = FIRST_EPOCH + EPOCHS_APART * (self.number * self.ledger.config.orders + order)
        while True:
            yield from data.batches(Split.TRAIN, epoch)
            epoch += 1

    def _task(
        self,
        old: Genotype,
        target: Genotype,
        data: EpochData,
        own: Arm,
        own_step: WeightStep,
        criterion: Criterion,
        remaining: float,
        one_1CHW: Tensor,
    ) -> TrialTask:
        edges = [edit.edge for edit in old.diff(target)]
        transition = max(self.ledger.config.look_steps[0] // 2, 1)
        steps: dict[int, WeightStep] = {}

        def step(arm: Arm, batch: Any) -> None:
            train_mode(arm.model)
            take = own_step if arm is own else steps.get(id(arm))
            if take is None:
                take = steps[id(arm)] = self.options.weight_step(arm.optimizer, grad_clip=self.grad_clip, records=[])
                take.criterion = own_step.criterion
            take(arm.model, *batch)
            if arm.more.average is not None:
                arm.more.average.update(arm.model)

        def before_step(arm: Arm, number: int) -> None:
            network = arm.model
            assert isinstance(network, EvolvableNetwork)
            between = [edge for edge in edges if edge in network.transitions]
            if between:
                for each in _networks(arm):
                    each.set_beta(min((number + 1) / transition, 1.0), between)
                    if number + 1 >= transition:
                        each.finalize(between)

        def read(model: nn.Module) -> Reading:
            evaluation = evaluate(model, data.selection(), criterion)
            return Reading(losses_N=evaluation.losses_N, hits_N=evaluation.hits_N)

        return TrialTask(
            step=step,
            read=read,
            samples=sum(len(y_B) for _, y_B in data.selection()),
            flops=lambda model: float(measure_flops(model, one_1CHW)),
            forward=lambda model, batch: model(batch[0]),
            before_step=before_step,
            remaining=remaining,
            ranks=self.options.group.size,
            agree=self.options.group.broadcast,
        )

    def state_dict(self) -> dict[str, Any]:
        """What trials have cost and shown."""
        return {"ledger": self.ledger.state_dict(), "planned": self.ledger.planned, "number": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.ledger.load_state_dict(state["ledger"])
        self.ledger.planned, self.number = state["planned"], state["number"]


def _mutate(arm: Arm, target: Genotype, data: EpochData, epoch: int, probe_BCHW: Tensor) -> float:
    """Begin the transition of a copy to `target`; the relative output difference that this made.

    Raises:
        TrainingError: it is more than `TOLERANCE`.
    """
    network = arm.model
    assert isinstance(network, EvolvableNetwork)
    before = outputs(network, probe_BCHW)
    layers = network.mutate(target, arm.more.supernet)
    recalibrate_batchnorm(network, data.statistics(epoch), layers)
    difference = relative_difference(outputs(network, probe_BCHW), before)
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"a mutation that changes the output by at most {TOLERANCE:g}",
            f"a difference of {difference:g}",
            "report this: the transition is at fault",
        )
    if arm.more.average is not None:
        mutate_average(arm.more.average, network)
    return difference


def _networks(arm: Arm) -> list[EvolvableNetwork]:
    """The copy and its average."""
    average = arm.more.average
    networks = (arm.model, None if average is None else average.network)
    return [network for network in networks if isinstance(network, EvolvableNetwork)]


@torch.no_grad()
def _finish(child: EvolvableNetwork, target: Genotype, live: LiveNetwork) -> None:
    """Give the live network the structure of the copy behind its transition."""
    edges = [edit.edge for edit in child.genotype.diff(target)]
    child.mutate(target, live.supernet)
    child.set_beta(1.0, edges)
    child.finalize(edges)
