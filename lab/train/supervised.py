"""Supervised training: the weights of one network on the train split, and what every strategy needs for that.

B batch, C channels, H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import CheckpointError
from lab.morph import NetworkAverage
from lab.nn import train_mode
from lab.space import Genotype
from lab.state import clone_state
from lab.store import AlertEvent, PhaseEvent, Record
from lab.train.commands import Offers, Outcome, ReduceLR, RequestContext, Rollback
from lab.train.criterion import PerSampleLoss
from lab.train.evaluate import evaluate
from lab.train.optimizer import LearningRate, make_weight_optimizer
from lab.train.rollback_limit import RollbackLimit
from lab.train.settings import OptimizerConfig
from lab.train.step import StepOptions, StepReport
from lab.train.strategy import EpochData, EpochPlan, Evaluation, Split, StrategyState

TRAINING = "training"
"""The one phase of a strategy that searches nothing."""


class WeightTrainer:
    """The weights of one network in training: optimizer, learning rate, step, restore point.

    Args:
        network: is trained as it is; a change of its structure keeps the optimizer in step.
        config: optimizer of the weights.
        epochs: of the run, over which the learning rate falls.
        options: how a step is taken.
        optimizer: of the weights; default: SGD with Nesterov momentum, as `config` says.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        *,
        epochs: int,
        options: StepOptions | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.network = network
        self.config = config
        self.epochs = epochs
        self.records: list[Record] = []
        self.optimizer: Optimizer = optimizer or make_weight_optimizer(
            network.parameters(),
            lr=config.weight_lr,
            momentum=config.weight_momentum,
            weight_decay=config.weight_decay,
        )
        self.rate = LearningRate(
            self.optimizer,
            config.weight_lr,
            epochs,
            schedule=config.weight_schedule,
            patience=config.rate_patience,
            interval=config.weight_schedule_interval,
        )
        self.weight_step = (options or StepOptions()).weight_step(
            self.optimizer, grad_clip=config.grad_clip, records=self.records
        )
        self.average = NetworkAverage(config.weight_average, network) if config.weight_average else None
        """Of the weights; whoever changes the network's structure changes it by the same plan."""
        self.rollbacks = RollbackLimit(config.max_rollbacks)
        self.restore_point: dict[str, Any] | None = None
        self.own_losses_N = torch.zeros(0)
        """Losses of the network itself, without an average, at the latest `end_epoch`."""
        self.phase = TRAINING
        self._announced = False

    def begin_epoch(
        self, epoch: int, data: EpochData, share: float | None = None, step_share: float | None = None
    ) -> EpochPlan:
        """Announce the phase where it begins, set the restore point and the epoch's learning rate.

        Args:
            share: of the run that is done, for the learning-rate schedule phase; None for that of its epochs.
            step_share: what a step adds to it; None for the share of its epochs.
        """
        if not self._announced or self.phase != TRAINING:
            self._announced, self.phase = True, TRAINING
            self.records.append(PhaseEvent(phase=self.phase, epoch=epoch, epochs=self.epochs, cycle=0))
            if self.average is not None:
                self.records.append(self.average.event())
        self.set_restore_point()
        step = 1.0 / data.length(Split.TRAIN)
        self.rate.begin(
            epoch,
            min(epoch / max(self.epochs, 1), 1.0) if share is None else share,
            step=step,
            phase_step=step / max(self.epochs, 1) if step_share is None else step_share,
        )
        train_mode(self.network)
        return EpochPlan(split=Split.TRAIN, segment=self.phase)

    @property
    def roots(self) -> tuple[object, ...]:
        """Network, optimizer, and the average where one is kept."""
        return tuple(part for part in (self.network, self.optimizer, self.averaged) if part is not None)

    @property
    def averaged(self) -> nn.Module | None:
        """The averaged network; None where no average is kept."""
        return None if self.average is None else self.average.network

    def set_restore_point(self) -> None:
        """Keep the present state for `rollback`."""
        self.restore_point = clone_state(self._tensors())

    def step(self, x_BCHW: Tensor, y_B: Tensor) -> StepReport:
        """One clipped step on the weights."""
        self.rate.advance()
        numbers = self.weight_step(self.network, x_BCHW, y_B, compiled=True)
        if self.average is not None:
            self.average.update(self.network)
        return StepReport(loss=numbers.loss, accuracy=numbers.accuracy, grad_norm=numbers.grad_norm, lr=self.rate.value)

    def end_epoch(self, data: EpochData, criterion: PerSampleLoss | None = None) -> Evaluation:
        """The network, averaged where that is kept, on the selection split; a plateau there lowers the learning rate.

        What decides is the reading of the network itself: an average does not move its training.
        """
        self.rollbacks.end_epoch()
        own = evaluate(self.network, data.selection(), criterion)
        self.own_losses_N = own.losses_N
        self.rate.observe(own.loss)
        return own if self.averaged is None else evaluate(self.averaged, data.selection(), criterion)

    def finish(self, epoch: int) -> None:
        """Announce the end, once."""
        if self.phase != "finished":
            self.phase = "finished"
            self.records.append(PhaseEvent(phase=self.phase, epoch=epoch, epochs=0, cycle=0))

    def offers(self) -> Offers:
        """What every strategy that trains one network can be asked."""
        return {ReduceLR: self.reduce_lr, Rollback: self.rollback}

    def reduce_lr(self, request: ReduceLR, moment: RequestContext | None = None) -> Outcome | None:
        """Multiply the learning rate; None where it is at its floor."""
        changed = self.rate.lower(request.factor)
        return None if changed is None else Outcome(before=changed[0], after=changed[1])

    def rollback(self, request: Rollback, moment: RequestContext | None = None) -> Outcome:
        """Restore the beginning of the epoch, and halve the learning rate.

        Raises:
            TrainingError: `max_rollbacks` in a row.
        """
        self.rollbacks.add(request.reason)
        assert self.restore_point is not None
        # A clone: an optimizer keeps the very tensors that it loads, and would train on in the restore point.
        self._load_tensors(clone_state(self.restore_point))
        self.rate.lower(0.5)
        self.records.append(AlertEvent(level="warning", title="Rolled back", text=request.reason))
        return Outcome(text=request.reason)

    def _tensors(self) -> dict[str, Any]:
        own = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        return own if self.average is None else {**own, "average": self.average.state_dict()}

    def _load_tensors(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise CheckpointError(
                "a checkpoint of this architecture",
                # The first line of torch only names the class; what differs is on the second.
                str(error).splitlines()[1].strip() if "\n" in str(error) else str(error),
                "use the cell, channels and layers that it was saved with",
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            # Earlier versions kept none.
            self.average.load_state_dict(state.get("average"), self.network)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            **self._tensors(),
            "step": self.weight_step.state_dict(),
            "rate": self.rate.state_dict(),
            "restore_point": self.restore_point,
            "phase": self.phase,
            "fresh": not self._announced,
            "rollbacks": self.rollbacks.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture.
        """
        if "network" not in state:
            raise CheckpointError("a checkpoint of one network", "one of another recipe", "resume with its recipe")
        state = clone_state(state)
        self._load_tensors(state)
        self.restore_point = state["restore_point"]
        # Earlier versions called this phase as one of the search's.
        self.phase = TRAINING if state["phase"] == "weight_retraining" else state["phase"]
        self._announced, self.rollbacks.count = not state["fresh"], state["rollbacks"]
        self.weight_step.load_state_dict(state["step"])
        self.rate.load_state_dict(state["rate"])
        train_mode(self.network)

    def summary(self) -> dict[str, Any]:
        """Parameters, and the genotype where the network has one."""
        genotype = getattr(self.network, "genotype", None)
        return {
            **({"genotype": genotype.to_json()} if isinstance(genotype, Genotype) else {}),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            **({} if self.average is None else self.average.summary()),
        }


class SupervisedStrategy:
    """Trains `network` alone: one phase, no change of its structure.

    Args:
        network: on the device that the batches come on.
        config: optimizer of the weights.
        epochs: of the run.
        options: how a step is taken.
    """

    def __init__(
        self, network: nn.Module, config: OptimizerConfig, *, epochs: int, options: StepOptions | None = None
    ) -> None:
        self.trainer = WeightTrainer(network, config, epochs=epochs, options=options)
        self.records = self.trainer.records
        self.step = self.trainer.step

    @property
    def phase(self) -> str:
        """training, then finished."""
        return self.trainer.phase

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self.trainer.network

    @property
    def offers(self) -> Offers:
        """A lower learning rate, and a rollback to the beginning of the epoch."""
        return self.trainer.offers()

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> EpochPlan:
        """Set the epoch's learning rate; the train split."""
        return self.trainer.begin_epoch(epoch, data)

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation:
        """Evaluate on the selection split."""
        return self.trainer.end_epoch(data)

    def finish(self, epoch: int, data: EpochData) -> None:
        """The network is what it is."""
        self.trainer.finish(epoch)

    def state(self) -> StrategyState:
        """Network, optimizer, learning rate, restore point."""
        return StrategyState(
            read_tensors=self.trainer.state_dict,
            read_summary=self.trainer.summary,
            roots=self.trainer.roots,
            averaged=self.trainer.averaged,
        )

    def restore(self, state: StrategyState) -> None:
        """Go on exactly where `state` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture, or its network had grown.
        """
        if state.plans:
            raise CheckpointError("a checkpoint of the fixed network", "one that has grown", "resume its own recipe")
        self.trainer.load_state_dict(state.tensors)
