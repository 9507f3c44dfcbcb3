"""`NetworkAverage`: the exponential moving average of a network's weights, which is read in the network's place.

torch's `AveragedModel` keeps it and moves it; what is here beside that follows the network through changes of its
structure. Where a plan is exact for the network's own weights alone (it drops weights that are 0 there), the average,
whose weights need not be 0, may compute something else behind it. Nothing here draws from a random stream.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lab.base import CheckpointError, require_range
from lab.morph.apply import apply
from lab.morph.plan import MorphPlan
from lab.morph.steps import Resize
from lab.store import AlertEvent

STATISTICS = ("running_mean", "running_var")
"""Buffers of a BatchNorm layer that are averaged; every other buffer of a network is copied."""

Tensors = tuple[Tensor, ...] | list[Tensor]


def decay_after(count: int, decay: float) -> float:
    """The decay that the average is moved by when it holds `count` steps: min(decay, (1 + n) / (10 + n)).

    So the first weights, far from all later ones, are soon forgotten (TensorFlow, `tf.train.ExponentialMovingAverage`,
    argument `num_updates`).

    Args:
        count: n >= 0.
        decay: in [0, 1).
    """
    return min(decay, (1 + count) / (10 + count))


class NetworkAverage:
    """avg <- d avg + (1 - d) w after each training step, d of `decay_after`; the first step's weights are copied.

    Averaged are parameters and the statistics of BatchNorm; any other buffer is that of the network.

    Args:
        decay: in [0, 1), per step.
        network: whose average begins; None where there is none yet.

    Raises:
        ConfigError: a decay outside its range.
    """

    def __init__(self, decay: float, network: nn.Module | None = None) -> None:
        require_range("decay", decay, 0, 1, open_high=True)
        self.decay = decay
        self._averaged: AveragedModel | None = None
        if network is not None:
            self.begin(network)

    @property
    def network(self) -> nn.Module | None:
        """The averaged network; None before `begin`."""
        return None if self._averaged is None else self._averaged.module

    @property
    def count(self) -> int:
        """Steps that the average holds."""
        return 0 if self._averaged is None else int(self._averaged.n_averaged)

    def begin(self, network: nn.Module) -> None:
        """Begin anew with a copy of `network`."""
        self._averaged = AveragedModel(network, multi_avg_fn=_warmed_up(self.decay), use_buffers=True)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights that a training step has left."""
        assert self._averaged is not None
        # Strict: a change of structure that the average was not told of ends here, where the library would pair other
        # tensors in silence.
        pairs = list(zip(self._averaged.module.modules(), network.modules(), strict=True))
        self._averaged.update_parameters(network)
        # Numbers of batches, shares of a transition: the library has averaged them too.
        for own, theirs in pairs:
            for name, buffer in own._buffers.items():
                source = theirs._buffers[name]
                if buffer is not None and source is not None and not _is_averaged(own, name):
                    buffer.copy_(source)

    def change(self, plan: MorphPlan, network: nn.Module) -> None:
        """Make the change that `plan` has just made of `network`.

        Raises:
            MorphError: the plan was made for another structure.
        """
        assert self._averaged is not None
        apply_alike(plan, self._averaged.module, network)

    def replace(self, changed: nn.Module) -> None:
        """Go on with `changed` in place of the averaged network, whose values it has."""
        assert self._averaged is not None
        self._averaged.module = changed

    def take(self, other: "NetworkAverage") -> None:
        """Go on with the average `other`, which is not used any more."""
        self._averaged = other._averaged

    def fill(self, network: nn.Module) -> None:
        """Give `network`, of the averaged network's structure, the averaged values."""
        assert self._averaged is not None
        _fill(network, named_tensors(self._averaged.module))

    def event(self) -> AlertEvent:
        """What a run says of it."""
        text = (
            f"what is read and exported is the running average of the weights (decay {self.decay:g} per step); "
            "the weights train as without it"
        )
        return AlertEvent(level="info", title="Averaged weights", text=text)

    def summary(self) -> dict[str, Any]:
        """What a report says of it, JSON data."""
        return {"weight_average": {"decay": self.decay, "steps": self.count}}

    def state_dict(self) -> dict[str, Any] | None:
        """The averaged tensors by name, and how many steps they hold; None where there is no network."""
        if self._averaged is None:
            return None
        return {"count": self.count, "tensors": named_tensors(self._averaged.module)}

    def load_state_dict(self, state: dict[str, Any] | None, network: nn.Module | None) -> None:
        """Go on where `state_dict` was taken.

        Args:
            state: None where there was no average: it then begins with `network`.
            network: of the structure that it had then; None for no network.

        Raises:
            CheckpointError: the average of another architecture.
        """
        self._averaged = None
        if network is None:
            return
        self.begin(network)
        if state is not None:
            assert self._averaged is not None
            _fill(self._averaged.module, state["tensors"])
            self._averaged.n_averaged.fill_(state["count"])


def apply_alike(plan: MorphPlan, average: nn.Module, network: nn.Module) -> None:
    """Change `average` as `plan` has changed `network`; a drawn unit is the same in both.

    Args:
        plan: has been carried out on `network`.
        average: of the structure that `network` had before; is changed in place.

    Raises:
        MorphError: it has another structure.
    """
    # As for a plan of an earlier run: these are other weights than those that it was tried on.
    apply(plan, average, replayed=True).release()
    resizes = [step for step in plan.steps if isinstance(step, Resize)]
    if not any(step.drawn for step in resizes):
        return
    # Draws have the deviation of the weights beside them, which differs: a new unit begins with the network's own.
    old = (torch.arange(len(plan.units)) < plan.old_units).double()
    own, theirs = named_tensors(average), named_tensors(network)
    with torch.no_grad():
        for step in resizes:
            mine, source = own[step.tensor], theirs.get(step.tensor)
            if source is None or source.shape != mine.shape:
                continue  # A later plan has changed it too: the same draws, with the deviation of the average.
            fresh = (step.scale(old) != 1).nonzero().flatten().to(mine.device)
            mine.index_copy_(step.dim, fresh, source.index_select(step.dim, fresh))


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of `model` by name, a tied one once, detached."""
    found: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in found.items()}


def _is_averaged(module: nn.Module, buffer: str) -> bool:
    return isinstance(module, _BatchNorm) and buffer in STATISTICS


@torch.no_grad()
def _fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy `tensors` into those of `network`; what it does not have is passed over.

    Raises:
        CheckpointError: one is missing or has another shape; nothing has then changed.
    """
    own = named_tensors(network)
    wrong = sorted(name for name, tensor in own.items() if name not in tensors or tensors[name].shape != tensor.shape)
    if wrong:
        raise CheckpointError(
            f"the average of a network with {wrong[0]} of shape {tuple(own[wrong[0]].shape)}",
            f"{tuple(tensors[wrong[0]].shape) if wrong[0] in tensors else 'none'}",
            "use the cell, channels and layers that it was saved with",
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _warmed_up(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """The library's update under `decay_after`."""

    def update(averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(decay_after(int(count), decay))(averages, values, count)

    return update
