"""`MultitaskStrategy`: a model of text and a table learns several tasks at once inside the one training loop.

B batch, L tokens, C columns, F features, K losses, E experts.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import CheckpointError, require
from lab.datasets import MultitaskData
from lab.mahia import ExpertRouter, HybridEfficientModel, Routing, collect_routing, memory_profile
from lab.multitask.config import MultitaskConfig
from lab.multitask.tasks import LossWeights, TaskLosses
from lab.nn import train_mode
from lab.state import clone_state
from lab.store import Record
from lab.train import (
    EpochData,
    EpochPlan,
    Evaluation,
    Offers,
    OptimizerConfig,
    Outcome,
    RequestContext,
    Rollback,
    Split,
    StepOptions,
    StepReport,
    StrategyState,
    WeightTrainer,
    evaluate,
)

Inputs = tuple[Tensor, Tensor]
"""Token ids (B, L) and columns (B, C)."""
COMPONENT = "component"
"""First part of the names of the numbers that say what a component of the model needs, in bytes."""


def make_hybrid(config: MultitaskConfig, data: MultitaskData) -> HybridEfficientModel:
    """The model for the inputs and tasks of `data`."""
    router = ExpertRouter(config.fused_dim, config.experts, config.experts_per_sample, bias_rate=config.bias_rate)
    return HybridEfficientModel(
        len(data.vocabulary),
        data.text_length,
        len(data.columns),
        {task.name: task.outputs for task in data.tasks},
        embed_dim=config.embed_dim,
        tab_hidden_dim=config.table_dim,
        fused_dim=config.fused_dim,
        memory_size=config.memory_nodes,
        max_layers=config.fabric_layers,
        feed_forward=router,
    )


class MultitaskStrategy:
    """Trains `network` on the sum of its tasks' weighted losses and the router's balance loss.

    A step: `encode` once, every loss from its features, one walk back through the encoder, one clipped optimizer step.
    The loss that is reported is the plain sum of the tasks' losses whatever their weights are, so that runs compare.

    Args:
        network: of text and a table, with one output for each task and a router.
        criterion: the tasks' losses.
        config: optimizer of the weights.
        multitask: the weighting of the losses.
        seed: run seed.
        epochs: of the run.
        options: how a step is taken; of it the precision alone.

    Raises:
        ConfigError: the network's outputs are not the tasks.
    """

    def __init__(
        self,
        network: HybridEfficientModel,
        criterion: TaskLosses,
        config: OptimizerConfig,
        multitask: MultitaskConfig,
        *,
        seed: int,
        epochs: int,
        options: StepOptions | None = None,
    ) -> None:
        require(
            set(network.heads) == set(criterion.names),
            expected=f"a network with the outputs {', '.join(criterion.names)}",
            got=", ".join(network.heads),
            hint="build it for these tasks",
        )
        self.model = network
        self.criterion = criterion
        self.multitask = multitask
        self.trainer = WeightTrainer(network, config, epochs=epochs, options=options)
        self.records: list[Record] = self.trainer.records
        self.weights = LossWeights(multitask, criterion.names, seed=seed)
        self._rule_point = clone_state(self.weights.state_dict())
        self._profile: dict[str, float] = {}

    @property
    def phase(self) -> str:
        """training, then finished."""
        return self.trainer.phase

    @property
    def network(self) -> nn.Module:
        """The model."""
        return self.model

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> EpochPlan:
        """Set the epoch's learning rate; the train split. At the run's first step each component is measured."""
        plan = self.trainer.begin_epoch(epoch, data)
        self.weights.begin_epoch()
        self._rule_point = clone_state(self.weights.state_dict())
        if step == 0:
            self._profile = self._components(data)
        return plan

    def _components(self, data: EpochData) -> dict[str, float]:
        """Bytes of each component by name: parameters, state, kept for backward, peak."""
        inputs, _ = next(data.batches(Split.TRAIN, 0))
        train_mode(self.model)
        found: dict[str, float] = {}
        for row in memory_profile(self.model, *inputs).components:
            for kind in ("parameters", "state", "kept", "peak"):
                found[f"{COMPONENT}/{row.name}/{kind}"] = float(getattr(row, kind))
        return found

    def step(self, inputs: Inputs, targets: dict[str, Tensor]) -> StepReport:
        """One clipped step on all losses. Where a loss or the gradient is not finite no parameter changes."""
        train_mode(self.model)
        precision, optimizer = self.trainer.weight_step.precision, self.trainer.optimizer
        optimizer.zero_grad(set_to_none=True)
        with collect_routing(self.model) as found, precision.autocast():
            features_BF = self.model.encode(*inputs)
        routings = [routing for each in found.values() for routing in each]
        balance = torch.stack([routing.balance_loss for routing in routings]).sum()
        scale = float(precision.scaled(torch.ones((), device=features_BF.device)))
        of_encoder = [scale * self.multitask.balance_weight * balance] if self.multitask.balance_weight else []
        hits: list[Tensor] = []

        def losses_of(leaf_BF: Tensor) -> list[Tensor]:
            with precision.autocast():
                outputs = self.model.decode(leaf_BF)
                assert isinstance(outputs, dict)
                losses = [each_B.mean() for each_B in self.criterion.parts(outputs, targets).values()]
            hits.append(self.criterion.hits(outputs, targets).float().mean())
            return losses

        weights = self.weights.weights
        result = self.weights.backward(features_BF, losses_of, of_encoder=of_encoder, scale=scale)
        precision.unscale(optimizer)
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.trainer.config.grad_clip)
        wanted = (norm, result.conflict, balance.detach(), hits[0], result.losses_K, result.norms_K, *_loads(routings))
        # All numbers of the step with one wait for the device.
        numbers = torch.cat([value.double().flatten() for value in wanted]).tolist()
        return self._update(numbers, weights)

    def _update(self, numbers: list[float], weights: list[float]) -> StepReport:
        """Take the optimizer's step where the numbers are finite; the report of the step."""
        count = len(self.criterion.names)
        norm, conflict, balance, accuracy = numbers[:4]
        losses, norms, loads = numbers[4 : 4 + count], numbers[4 + count : 4 + 2 * count], numbers[4 + 2 * count :]
        loss = sum(losses)
        precision = self.trainer.weight_step.precision
        finite = math.isfinite(loss) and math.isfinite(norm)
        taken = precision.update(self.trainer.optimizer, finite=finite)
        if taken:
            self.weights.end_step(losses, norms)
        overflow = not taken and math.isfinite(loss) and precision.scaler.is_enabled()
        more = {"conflict": conflict, "router/balance": balance, **self._profile}
        for name, own, weight, own_norm in zip(self.criterion.names, losses, weights, norms, strict=True):
            more |= {f"loss/{name}": own, f"weight/{name}": weight, f"norm/{name}": own_norm}
        more |= {f"router/load/{number}": share for number, share in enumerate(loads)}
        self._profile = {}
        return StepReport(
            loss=loss,
            accuracy=accuracy,
            grad_norm=None if overflow else norm,
            lr=self.trainer.rate.value,
            more=more,
        )

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation:
        """Move the weights that move by epochs; read the selection split."""
        # The losses of an epoch that was rolled back say nothing of the network that is left.
        if not self.trainer.rollbacks.end_epoch():
            self.weights.end_epoch()
        evaluation = evaluate(self.model, data.selection(), self.criterion)
        self.trainer.rate.observe(evaluation.loss)
        return evaluation

    def finish(self, epoch: int, data: EpochData) -> None:
        """The network is what it is."""
        self.trainer.finish(epoch)

    @property
    def offers(self) -> Offers:
        """A lower learning rate, and a rollback to the beginning of the epoch."""
        return {**self.trainer.offers(), Rollback: self.rollback}

    def rollback(self, request: Rollback, moment: RequestContext | None = None) -> Outcome:
        """Restore the beginning of the epoch: network, memories, optimizer, weights of the losses.

        Raises:
            TrainingError: `max_rollbacks` in a row.
        """
        outcome = self.trainer.rollback(request, moment)
        self.weights.load_state_dict(clone_state(self._rule_point))
        return outcome

    def state(self) -> StrategyState:
        """Model, optimizer, learning rate, restore point, weights of the losses."""
        return StrategyState(
            read_tensors=self._tensors,
            read_summary=self.summary,
            roots=self.trainer.roots,
        )

    def _tensors(self) -> dict[str, Any]:
        rule = {**self.weights.state_dict(), "point": self._rule_point}
        return {**self.trainer.state_dict(), "weights": rule}

    def restore(self, state: StrategyState) -> None:
        """Go on exactly where `state` was taken.

        Raises:
            CheckpointError: the state belongs to another recipe or architecture.
        """
        if "weights" not in state.tensors or state.plans:
            raise CheckpointError("a checkpoint of recipe multitask", "one of another recipe", "resume with its recipe")
        self.trainer.load_state_dict(state.tensors)
        self.weights.load_state_dict(clone_state(state.tensors["weights"]))
        self._rule_point = clone_state(state.tensors["weights"]["point"])

    def summary(self) -> dict[str, Any]:
        """Parameters, tasks, and how their losses are weighed at the end."""
        return {
            **self.trainer.summary(),
            "model": type(self.model).__name__,
            "tasks": list(self.criterion.names),
            "weighting": self.multitask.weighting,
            "weights": self.weights.weights,
            "experts": self.multitask.experts,
        }


def _loads(routings: list[Routing]) -> list[Tensor]:
    """Share of each expert, routers one after the other."""
    return [routing.load_E for routing in routings]
