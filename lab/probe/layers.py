"""`LayerProbe`: gradient and update of each layer at one step, beside the training and without a mark on it.

Bounded whatever the network's size: of each tensor at most `ENTRIES` entries are copied before the step.
"""

import math

import torch
from torch import Tensor, nn

from lab.store import LayersEvent

ENTRIES = 4096
"""Entries of a tensor, evenly spaced, by which its update is judged."""
MOST_LAYERS = 32


def layer_name(parameter: str) -> str:
    """Layer of a parameter by its name: up to the first number in it (`cells.0`), else the module that owns it."""
    parts = parameter.split(".")[:-1]
    for place, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: place + 1])
    return ".".join(parts) or "network"


def _layers(names: list[str]) -> dict[str, list[int]]:
    """Layer -> positions of its parameters, in the network's order; many layers are joined to runs of neighbours."""
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        found.setdefault(layer_name(name), []).append(position)
    if len(found) <= MOST_LAYERS:
        return found
    each, joined = math.ceil(len(found) / MOST_LAYERS), list(found)
    runs = [joined[begin : begin + each] for begin in range(0, len(joined), each)]
    return {f"{run[0]} to {run[-1]}": [place for name in run for place in found[name]] for run in runs}


class LayerProbe:
    """Made right before an optimizer step of `network`; `read` right behind it.

    Args:
        network: whose parameters the step trains; a parameter that gets no gradient is not counted.
    """

    @torch.no_grad()
    def __init__(self, network: nn.Module) -> None:
        named = [(name, each) for name, each in network.named_parameters() if each.requires_grad and each.numel()]
        self._parameters = [each for _, each in named]
        self._layers = _layers([name for name, _ in named])
        self._before = [_entries(each).clone() for each in self._parameters]

    @torch.no_grad()
    def read(self) -> LayersEvent | None:
        """What the step did; None where no parameter got a gradient."""
        trained = [place for place, each in enumerate(self._parameters) if each.grad is not None]
        if not trained:
            return None
        weights = [self._before[place].float() for place in trained]
        moves = [_entries(self._parameters[place]).float() - old for place, old in zip(trained, weights, strict=True)]
        gradients = [self._parameters[place].grad.float() for place in trained]  # type: ignore[union-attr]
        # One wait for the device. The norm of the entries stands for the whole tensor's.
        norms = torch.stack([torch.stack(torch._foreach_norm(each)) for each in (gradients, moves, weights)])
        share = torch.tensor([self._parameters[place].numel() / self._before[place].numel() for place in trained])
        gradient, moved, weight = norms.cpu().double().square()
        rows = zip(trained, gradient.tolist(), (moved * share).tolist(), (weight * share).tolist(), strict=True)
        found = {place: (grad, move, size) for place, grad, move, size in rows}
        return self._event(found)

    def _event(self, found: dict[int, tuple[float, float, float]]) -> LayersEvent:
        gradients: list[float | None] = []
        ratios: list[float | None] = []
        for places in self._layers.values():
            squares = [found[place] for place in places if place in found]
            grad, move, size = (math.fsum(column) for column in zip(*squares, strict=True)) if squares else (0, 0, 0)
            gradients.append(_short(math.sqrt(grad)) if squares else None)
            ratios.append(_short(math.sqrt(move / size)) if squares and size > 0 else None)
        return LayersEvent(layers=list(self._layers), gradient=gradients, ratio=ratios)


def _entries(parameter: Tensor) -> Tensor:
    """The tensor itself where it has no more than `ENTRIES` entries, else as many of them; a view where that goes."""
    whole = parameter.detach()
    if whole.numel() <= ENTRIES:
        return whole
    return whole.flatten()[:: math.ceil(whole.numel() / ENTRIES)]


def _short(value: float) -> float:
    """Four digits: what a colour can show, in few bytes."""
    return float(f"{value:.4g}")
