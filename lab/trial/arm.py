"""`Arm`: one copy in a trial, with its optimizer, its averaged weights, and how it is read.

Statistics that the steps left in the running buffers belong to other weights than the averaged ones: read with them,
the noise between batch orders was 3.6 times as large (Fashion-MNIST 14x14, 24 neighbours of a cell). So a reading lets
the averaged weights see the last batches once more, which counts in its cost.

N held-out samples.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from lab.base import TrainingError
from lab.nn import eval_mode, norm_layers
from lab.state import clone_state, preserved_rng
from lab.trial.config import TrialConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A network on the held-out samples, in eval mode."""

    losses_N: Tensor
    """Loss of each sample, nats, float64, CPU."""
    hits_N: Tensor
    """Whether each was classified correctly, CPU."""


class WeightAverage:
    """The running mean of a model's trained weights; begun anew where the set of them has changed."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Take the present weights."""
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        if {name: p.shape for name, p in weights.items()} != {name: p.shape for name, p in self.mean.items()}:
            self.count, self.mean = 0, {name: p.clone() for name, p in weights.items()}
        self.count += 1
        for name, value in weights.items():
            self.mean[name].lerp_(value, 1.0 / self.count)


@dataclass(kw_only=True, eq=False)
class Arm:
    """A network in training."""

    model: nn.Module
    optimizer: Optimizer
    """Of the model's weights; may hold others as well."""
    more: Any = None
    """What must be copied together with the two, such as a supernet whose parameters the model shares."""

    def __post_init__(self) -> None:
        self.average = WeightAverage()

    def train(self, step: Callable[["Arm", Any], None], batch: Any, number: int, config: TrialConfig) -> None:
        """Step `number` (from 0) of a trial on `batch`, taken by `step`; the half before a look is averaged."""
        look = next(steps for steps in config.look_steps if steps > number)
        if number == look // 2 or not number:
            self.begin_window()
        step(self, batch)
        if number >= look // 2:
            self.average.add(self.model)

    def begin_window(self) -> None:
        """Forget the weights so far."""
        self.average = WeightAverage()

    def copy(self) -> "Arm":
        """A deep copy of network, optimizer state and `more`, whose shared parameters stay shared.

        Raises:
            TrainingError: something in them cannot be copied.
        """
        try:
            model, optimizer, more = copy.deepcopy((self.model, self.optimizer, self.more))
        except (RuntimeError, TypeError) as error:
            raise TrainingError(
                "a network that can be copied for a trial",
                str(error).splitlines()[0],
                "keep no tensor that is part of a graph in an attribute: detach it",
            ) from error
        return Arm(model=model, optimizer=optimizer, more=more)

    @torch.no_grad()
    def read(
        self,
        read: Callable[[nn.Module], Reading],
        forward: Callable[[nn.Module, Any], Any] | None = None,
        batches: Sequence[Any] = (),
    ) -> Reading:
        """What `read` says of the averaged weights; model and random streams are as before afterwards.

        Args:
            read: reads a model on the held-out samples.
            forward: runs a model on a training batch.
            batches: the last ones. BatchNorm layers in train mode get the plain mean of their statistics; a layer in
                eval mode is frozen and keeps its own, and without batches each does.
        """
        tensors = dict(self.model.named_parameters())
        swaps = [(tensors[name].data, mean) for name, mean in self.average.mean.items()]
        layers = self.live_norms
        values = [own for own, _ in swaps] + [buffer for layer in layers for buffer in layer.buffers()]
        kept, momenta = [own.clone() for own in values], [layer.momentum for layer in layers]
        with preserved_rng():
            try:
                for own, value in swaps:
                    own.copy_(value)
                if forward is not None and layers and batches:
                    self._estimate_statistics(layers, forward, batches)
                return read(self.model)
            finally:
                for own, value in zip(values, kept, strict=True):
                    own.copy_(value)
                for layer, momentum in zip(layers, momenta, strict=True):
                    layer.momentum = momentum

    @property
    def live_norms(self) -> list[_BatchNorm]:
        """BatchNorm layers that training moves: those in train mode."""
        return [layer for layer in norm_layers(self.model) if layer.training]

    def _estimate_statistics(
        self, layers: list[_BatchNorm], forward: Callable[[nn.Module, Any], Any], batches: Sequence[Any]
    ) -> None:
        with eval_mode(self.model):
            for layer in layers:
                layer.reset_running_stats()
                # None makes torch keep the cumulative mean, in which each batch weighs the same.
                layer.momentum = None
                layer.training = True
            for batch in batches:
                forward(self.model, batch)

    @torch.no_grad()
    def take(self, other: "Arm") -> None:
        """Take every value of `other`, an arm of the same structure: weights, buffers, optimizer state, modes.

        Raises:
            TrainingError: another structure; nothing has then changed.
        """
        shapes, theirs_shapes = ({name: tuple(t.shape) for name, t in _named(arm.model)} for arm in (self, other))
        if shapes != theirs_shapes:
            wrong = sorted(n for n in shapes | theirs_shapes if shapes.get(n) != theirs_shapes.get(n))[0]
            got = f"{wrong} {theirs_shapes.get(wrong)} for {shapes.get(wrong)}"
            raise TrainingError("two networks of the same structure", got, "make the same change on both")
        for mine, theirs in zip(_tensors(self.model), _tensors(other.model), strict=True):
            mine.copy_(theirs)
        self.optimizer.load_state_dict(clone_state(other.optimizer.state_dict()))
        for module, like in zip(self.model.modules(), other.model.modules(), strict=True):
            module.training = like.training

    def state_dict(self) -> dict[str, Any]:
        """Values, optimizer state, averages."""
        return {
            "tensors": [tensor.detach() for tensor in _tensors(self.model)],
            "optimizer": self.optimizer.state_dict(),
            "modes": [module.training for module in self.model.modules()],
            **self.averages(),
        }

    def averages(self) -> dict[str, Any]:
        """The averages alone, for the arm that is the run's own network."""
        return {
            "average": {"count": self.average.count, "mean": dict(self.average.mean)},
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, or with `averages` alone."""
        state = clone_state(state)
        if "tensors" in state:
            for mine, theirs in zip(_tensors(self.model), state["tensors"], strict=True):
                mine.copy_(theirs)
            self.optimizer.load_state_dict(state["optimizer"])
            for module, training in zip(self.model.modules(), state["modes"], strict=True):
                module.training = training
        self.average.count, self.average.mean = state["average"]["count"], state["average"]["mean"]


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _tensors(model: nn.Module) -> list[Tensor]:
    return [tensor for _, tensor in _named(model)]
