"""ASO-SE: alternating training of weights and architecture with a live network that mutates.

warmup -> arch_training -> mutation -> weight_retraining -> arch_training -> ..., `total_cycles` times, then a last
weight_retraining in which the structure stays; a mutation takes no epoch, and a phase of no epochs is passed over. The
first mutation phase takes the live network from the supernet; each later one changes it. A run with a prior and no
warm-up begins there, with the prior's cell. B batch, C channels, H height, W width, E edges, K primitives.
"""

import math
from typing import Any

from torch import Tensor, nn

from lab.asose.architecture import ArchitectureTrainer
from lab.asose.compute import ComputeMeter
from lab.asose.config import ASOSEConfig
from lab.asose.controller import LiveNetworkController
from lab.asose.live_network import Discrete
from lab.asose.phases import Phases
from lab.asose.stopping import Stopping
from lab.asose.temperature import TemperatureControl
from lab.base import TrainingError
from lab.nn import SuperNet, train_mode
from lab.space import Table
from lab.state import clone_state
from lab.store import AlertEvent, Record
from lab.train import (
    Criterion,
    EpochData,
    EpochPlan,
    Evaluation,
    Mutate,
    Offers,
    OptimizerConfig,
    Outcome,
    ReduceLR,
    ReduceMutationStrength,
    ReleaseTemperature,
    Request,
    RequestContext,
    Rollback,
    SetTemperature,
    Split,
    StepNumbers,
    StepOptions,
    StepReport,
    StrategyState,
)
from lab.train.commands import Handler
from lab.train.optimizer import LearningRate
from lab.train.rollback_limit import RollbackLimit


class ASOSEStrategy:
    """The four phases, as a strategy of the training loop.

    Args:
        supernet: on the device that the batches come on.
        config: phases, exploration, mutation.
        weights: optimizer of the weights.
        seed: run seed.
        epochs: epochs of the run, over which the learning rate falls.
        budget: floating-point operations after which the run ends, and over which the learning rate falls where that is
            sooner; None for a run of so many epochs.
        table: true accuracies of the space's cells; only shown, never used.
        options: how a step on the weights is taken.
    """

    def __init__(
        self,
        supernet: SuperNet,
        config: ASOSEConfig,
        weights: OptimizerConfig | None = None,
        *,
        seed: int,
        epochs: int,
        budget: float | None = None,
        table: Table | None = None,
        options: StepOptions | None = None,
    ) -> None:
        self.config = config
        weights = weights or OptimizerConfig()
        self.epochs = epochs
        options = options or StepOptions()
        self.architecture = ArchitectureTrainer(
            supernet, config, seed=seed, grad_accum_steps=options.grad_accum_steps, group=options.group
        )
        self.explorer = self.architecture.explorer
        self.controller = LiveNetworkController(
            supernet, self.architecture, config, weights, seed=seed, options=options, table=table
        )
        self.live = self.controller.live
        self.mutator = self.controller.mutator
        self.growth = self.controller.growth
        self.records: list[Record] = []
        self.temperature = TemperatureControl(self.explorer, config.temperature_schedule, self.records)
        # One list, so that the events of both stay in order.
        self.controller.records = self.records
        self.weight_step = options.weight_step(self.live.optimizer, grad_clip=weights.grad_clip, records=self.records)
        self.phases = Phases(config, mutator=self.mutator, remedies=self.architecture.remedies, records=self.records)
        self.rate = LearningRate(
            self.live.optimizer,
            weights.weight_lr,
            epochs,
            schedule=weights.weight_schedule,
            patience=weights.rate_patience,
            interval=weights.weight_schedule_interval,
        )
        self.rollbacks = RollbackLimit(weights.max_rollbacks)
        self.stopping = Stopping(config)
        whole = weights.weight_schedule_interval == "epoch"
        self.compute = ComputeMeter(budget, epochs, options.group.size, whole_epochs=whole)

    def set_criterion(self, criterion: Criterion) -> None:
        """Train and judge by another loss than the cross-entropy."""
        self.weight_step.criterion = self.architecture.criterion = self.controller.criterion = criterion

    @property
    def phase(self) -> str:
        """warmup, arch_training, mutation, weight_retraining or finished."""
        return self.phases.name

    @property
    def cycle(self) -> int:
        """Number of the search cycle, from 0."""
        return self.phases.cycle

    @property
    def network(self) -> nn.Module | None:
        """The child; None before the first mutation phase."""
        return self.live.child

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> EpochPlan | None:
        """Prepare `epoch`; mutation phases are passed through here. None where no epoch is left to train.

        After its end the search goes on in further cycles, for as many epochs as it is given.
        """
        self.architecture.take_prior(data)
        if self.phases.name == "finished":
            self.stopping.waited = 0
            self.phases.extend()
        while self.phases.name == "mutation":
            self.phases.announce(epoch, 0)
            tries = self.config.mutation_test == "trial" and self._mutates()
            self.controller.mutation_phase(epoch, step, self.phases.cycle, data)
            if tries:
                self._try_mutation(epoch, data)
            self.phases.enter("weight_retraining", self.config.weight_training_epochs)
            if self.phases.left <= 0:
                self.controller.decide(self.controller.read(data))
            self.phases.pass_empty()
        if self.phases.name == "finished":
            return None
        if self.phases.fresh:
            self.phases.fresh = False
            self.phases.announce(epoch, self.phases.left)
            if not self.mutator.pending:
                self.controller.set_restore_point(step)
            if self.phases.name == "arch_training":
                self.architecture.set_rate(data)
                self.temperature.tell()
        self.compute.measure(self._trained, data)
        if self.phases.structure_is_final and not self.compute.has_epoch_left(data):
            self._stop(f"the budget of {self.compute.budget:.3g} operations is spent")
            return None
        self.architecture.scores = []
        split = Split.SEARCH if self.phases.name == "arch_training" else Split.TRAIN
        self.compute.set_rate(self.rate, self.phases, epoch, data, split)
        return EpochPlan(split=split, segment=f"{self.phases.name} {self.phases.cycle}")

    def step(self, x_BCHW: Tensor, y_B: Tensor) -> StepReport:
        """One step of the phase: supernet weights, architecture parameters, or the live network's weights."""
        beta, numbers = None, None
        self.rate.advance()
        self.compute.step(y_B)
        if self.phases.name == "arch_training":
            loss, accuracy, norm = self.architecture.step(x_BCHW, y_B)
            numbers = StepNumbers(loss=loss, accuracy=accuracy, grad_norm=norm)
        elif self.phases.name == "warmup":
            train_mode(self.live.supernet)
            numbers = self.weight_step(self.live.supernet, x_BCHW, y_B, self.architecture.draw_uniform())
        else:
            beta = self.controller.advance()
            train_mode(self.controller.child)
            numbers = self.weight_step(self.controller.child, x_BCHW, y_B, compiled=True)
            self.live.update_average()
        return StepReport(
            loss=numbers.loss,
            accuracy=numbers.accuracy,
            grad_norm=numbers.grad_norm,
            lr=self.architecture.rate if self.phases.name == "arch_training" else self.rate.value,
            temperature=self.explorer.temperature,
            beta=beta,
            ends_epoch=self.phases.structure_is_final and self.compute.is_spent,
        )

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation | None:
        """Count the epoch, unless it was rolled back, and change phase where it was the last one."""
        if self.rollbacks.end_epoch():
            return None
        self.phases.left -= 1
        evaluation = None
        if self.phases.name == "arch_training":
            self.architecture.end_epoch()
            self.temperature.tell()
            self.controller.tell_genotype("epoch")
            self._end_exploration()
        elif self.phases.name == "weight_retraining" and self._is_read(data):
            evaluation = self.controller.read(data)
            # A rejected mutation leaves another network than the one that was just read.
            if self.phases.left <= 0 and self.controller.decide(evaluation) == "rejected":
                evaluation = self.controller.read(data)
            self._watch(evaluation)
        self.compute.read(self.controller.take_images_read())
        if self.phases.left <= 0 and self.phases.name != "finished":
            self.phases.next()
        return self.controller.told(evaluation, data)

    def _mutates(self) -> bool:
        """Whether the mutation phase of this cycle changes the cell."""
        return self.live.child is not None and not self.phases.cycle % self.config.mutation_frequency

    def _try_mutation(self, epoch: int, data: EpochData) -> None:
        """Try another cell at the rate of the coming epoch."""
        self.compute.measure(self.controller.child, data)
        self.compute.set_rate(self.rate, self.phases, epoch, data, Split.TRAIN)
        planned = self.compute.planned(data)
        ledger = self.controller.trials.ledger
        if math.isinf(ledger.planned):
            ledger.planned = planned
        left = max(planned - self.compute.spent, 1.0)
        self.compute.spent += self.controller.try_mutation(epoch, data, self.weight_step, left)

    @property
    def _trained(self) -> nn.Module:
        """What the coming epoch trains; of a network that is drawn at each step the likeliest."""
        if self.phases.name == "weight_retraining":
            return self.controller.child
        return Discrete(self.live.supernet, self.explorer.argmax_genotype)

    def _end_exploration(self) -> None:
        """End this exploration phase where a stop rule says so; later ones are passed over."""
        reason = self.architecture.remedies.stopped
        if reason:
            self.phases.left = 0
            self.records.append(AlertEvent(level="info", title="Exploration ended", text=reason))

    def _is_read(self, data: EpochData) -> bool:
        """Whether the live network is read after this epoch: something is decided by it, or it is cheap enough."""
        decides = self.phases.left <= 0 or bool(self.mutator.pending) or self.config.may_stop
        decides |= self.rate.schedule == "plateau" or self.compute.budget is None or self.compute.is_spent
        return decides or self.compute.affords_reading(data, self.config.reading_share)

    def _watch(self, evaluation: Evaluation) -> None:
        """Lower the rate on a plateau; end the run where its goal is reached or nothing gets better any more."""
        lowered = self.rate.observe(evaluation.loss)
        if lowered is not None:
            text = f"learning rate {lowered[0]:.2g} -> {lowered[1]:.2g} after {self.rate.patience} epochs without gain"
            self.records.append(AlertEvent(level="info", title="Plateau", text=text))
        reason = self.stopping.observe(evaluation, may_stop=not self.mutator.pending)
        if reason:
            self._stop(reason)

    def _stop(self, text: str) -> None:
        if self.phases.name != "finished":
            self.records.append(AlertEvent(level="info", title="Stopped early", text=text))
            self.phases.enter("finished", 0)

    def finish(self, epoch: int, data: EpochData) -> None:
        """Leave a live network that is no mixture: an unfinished transition is rolled back."""
        if self.live.child is None:
            self.controller.extract_child(epoch, data)
        if self.mutator.pending:
            self.controller.decide(self.controller.read(data))
        self.growth.finalize(self.controller.child)
        self.phases.name = "finished"
        self.phases.announce(epoch, 0)

    @property
    def offers(self) -> Offers:
        """A calmer training, a rollback, another temperature; a mutation where there is a live network."""
        offered: dict[type[Request], Handler] = {
            ReduceLR: self._reduce_lr,
            ReduceMutationStrength: self._reduce_mutation_strength,
            Rollback: self.rollback,
            SetTemperature: self.temperature.hold,
            ReleaseTemperature: self.temperature.release,
        }
        if self.live.child is not None and self.phases.name != "finished" and not self.phases.structure_is_final:
            offered[Mutate] = self.mutate
        return offered

    def _reduce_lr(self, request: ReduceLR, moment: RequestContext) -> Outcome | None:
        changed = self.rate.lower(request.factor)
        return None if changed is None else Outcome(before=changed[0], after=changed[1])

    def _reduce_mutation_strength(self, request: ReduceMutationStrength, moment: RequestContext) -> Outcome | None:
        changed = self.controller.reduce_strength(request.factor)
        return None if changed is None else Outcome(before=changed[0], after=changed[1])

    def rollback(self, request: Rollback, moment: RequestContext | None = None) -> Outcome:
        """Restore the last restore point; pending mutations are rejected and their genotypes excluded.

        Raises:
            TrainingError: `max_rollbacks` in a row.
        """
        self.rollbacks.add(request.reason)
        pending = bool(self.mutator.pending)
        self.records += self.mutator.reject(None, f"rolled back: {request.reason}")
        self.controller.restore(request.reason)
        self.rate.lower(0.5)
        if pending:
            self.phases.next()
        return Outcome(text=request.reason)

    def mutate(self, request: Mutate, moment: RequestContext) -> Outcome:
        """Mutate the live network at once.

        Raises:
            TrainingError: every edge is in transition, or every other cell is excluded.
        """
        if not self.mutator.pending:
            self.controller.set_restore_point(moment.step)
        if not self.controller.mutate(moment.epoch, moment.data, requested="control"):
            raise TrainingError(
                "a cell that is neither excluded nor in transition", "none", "wait until the transition has ended"
            )
        if self.phases.name == "weight_retraining":
            self.phases.left = max(self.phases.left, self.config.weight_training_epochs)
        return Outcome(text=f"mutation {self.mutator.number} applied")

    def state(self) -> StrategyState:
        """Supernet, live network, explorer, optimizers, phase, and every growth so far."""
        networks = (self.live.supernet, self.live.child, self.live.averaged, self.explorer)
        parts = (*networks, self.live.optimizer, self.architecture.optimizer)
        return StrategyState(
            plans=self.growth.steps,
            read_tensors=self._tensors,
            read_summary=self.summary,
            roots=tuple(part for part in parts if part is not None),
            averaged=self.live.averaged,
        )

    def _tensors(self) -> dict[str, Any]:
        return {
            **self.controller.state_dict(),
            "architecture": self.architecture.state_dict(),
            "step": self.weight_step.state_dict(),
            "rate": self.rate.state_dict(),
            "rollbacks": self.rollbacks.count,
            "compute": self.compute.state_dict(),
            "numbers": {**self.phases.state_dict(), **self.stopping.state_dict()},
        }

    def restore(self, state: StrategyState) -> None:
        """Go on exactly where `state` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture.
            MorphError: its plans are no growths of this network.
        """
        self.growth.replay(state.plans, self.live.optimizer)
        self._load_tensors(clone_state(state.tensors))

    def restore_networks(self, state: StrategyState) -> None:
        """Supernet and live network alone: the explorer's stream is one of the device that the run computed on.

        Raises:
            CheckpointError, MorphError: as for `restore`.
        """
        self.growth.replay(state.plans, self.live.optimizer)
        self.live.load_state_dict(state.tensors["live"])

    def _load_tensors(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict(state)
        self.architecture.load_state_dict(state["architecture"])
        self.weight_step.load_state_dict(state["step"])
        self.phases.load_state_dict(state["numbers"])
        # Earlier versions counted no operations.
        if "compute" in state:
            self.compute.load_state_dict(state["compute"])
        self.stopping.load_state_dict(state["numbers"])
        self.rate.load_state_dict(state["rate"])
        self.rollbacks.count = state["rollbacks"]

    def summary(self) -> dict[str, Any]:
        """Genotype, parameters, mutations and growths."""
        child = self.live.child
        return {
            "genotype": None if child is None else child.genotype.to_json(),
            "parameters": 0 if child is None else sum(p.numel() for p in child.parameters()),
            "supernet_parameters": sum(p.numel() for p in self.live.supernet.parameters()),
            "mutations": self.mutator.counts,
            "growths": len(self.growth.grown),
            "largest_difference": max(self.mutator.largest_difference, self.growth.largest_difference),
            "compute": self.compute.spent,
            **({} if self.live.average is None else self.live.average.summary()),
        }
