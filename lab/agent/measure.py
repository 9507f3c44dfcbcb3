"""What the agent measures of a network on labelled samples: the whole, and each of its layers.

N samples, C units of a layer, K classes, D dimensions of a representation.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lab.agent.batch import Labelled
from lab.agent.information import (
    InformationBottleneck,
    differential_entropy,
    discrete_entropy,
    label_information,
    pooled_activations,
    redundancy,
)
from lab.base import DataError
from lab.nn import eval_mode

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that are measured."""
LEAST_ENTROPY = -20.0
"""Nats that a unit counts that never changes, whose differential entropy is minus infinity."""
UNITS = 24
"""Units of a layer on which information and redundancy are estimated, evenly spread."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMeasure:
    """One layer on the measured samples."""

    width: int
    """Units C: channels or features that it gives."""
    parameters: int
    """Weights and biases of its own."""
    entropy_C: Tensor
    """Differential entropy of each unit's pooled output, nats, at least `LEAST_ENTROPY`."""
    information: float
    """Mean mutual information of a unit's pooled output and the label, nats."""
    redundancy: float
    """Mean share of a unit's variance that others explain linearly, in [0, 1]."""
    gradient: float
    """Norm of the loss gradient of its weights."""
    taylor_C: Tensor
    """|sum of output * loss gradient of it| of each unit, mean over samples: the loss that the unit stands for, to
    first order (Molchanov et al. 2017, equation 4)."""
    weight_C: Tensor
    """Norm of each unit's incoming weights."""

    @property
    def entropy(self) -> float:
        """Mean entropy of its units, nats."""
        return float(self.entropy_C.mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Measures:
    """A network on the measured samples."""

    layers: MappingProxyType[str, LayerMeasure]
    """By module name, in the order of the forward."""
    batch: Labelled
    """The samples."""
    compression: float
    """Upper bound of what the input of the last layer says about the sample, nats, by `InformationBottleneck`."""


@contextmanager
def _recorded(model: nn.Module, seen: dict[str, list[tuple[Tensor, Tensor]]]) -> Iterator[None]:
    """Input and output of each call of each measured layer."""

    def hook(name: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                seen.setdefault(name, []).append((args[0], output))

        return note

    handles = [
        module.register_forward_hook(hook(name)) for name, module in model.named_modules() if isinstance(module, LAYERS)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def measure(model: nn.Module, batch: Labelled, ib: InformationBottleneck, *, seed: int = 0) -> Measures:
    """Every layer of `model` that is called once, in eval mode; nothing of the model changes, gradients included.

    Args:
        model: on the device of the batch.
        batch: N >= 8 samples with their labels.
        ib: strength and noise of the compression; the noise is a share of the distance between samples.
        seed: of the estimate of information.

    Returns:
        Entropy and information (nats) and redundancy, a share, of each layer; the compression of the last one, nats.

    Raises:
        DataError: fewer than 8 samples, or nothing to measure.
    """
    if len(batch) < 8:
        raise DataError("at least 8 samples to measure on", f"{len(batch)}", "give a larger loader")
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    with eval_mode(model), torch.enable_grad(), _recorded(model, seen):
        losses_N, _ = batch.losses(model)
        once = {name: calls[0] for name, calls in seen.items() if len(calls) == 1 and _is_measured(calls[0][1], batch)}
        if not once:
            raise DataError("a linear or convolution layer that learns and is called once", "none", "see lab doctor")
        weights = {name: _weight(model, name) for name in once}
        wanted = [out for _, out in once.values()] + [weight for weight in weights.values() if weight.requires_grad]
        found = torch.autograd.grad(losses_N.mean(), wanted, allow_unused=True)
        gradients = dict(zip(map(id, wanted), found, strict=True))
    layers = {
        name: _layer(
            model.get_submodule(name),
            out.detach(),
            gradients[id(out)],
            gradients.get(id(weights[name])),
            batch,
            seed,
        )
        for name, (_, out) in once.items()
    }
    last = next(reversed(once.values()))[0].detach()
    representation_ND = last if last.dim() == 2 else pooled_activations(last)
    # The noise is a share of the distance between samples, so that layers of any width and scale compare.
    deviation = float(representation_ND.std()) * representation_ND.shape[1] ** 0.5
    scaled = InformationBottleneck(ib.beta, ib.noise * deviation) if deviation > 0 else ib
    compression = float(scaled.compression(representation_ND.double()))
    return Measures(layers=MappingProxyType(layers), batch=batch, compression=compression)


def _weight(model: nn.Module, name: str) -> Tensor:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight


def _is_measured(output: Tensor, batch: Labelled) -> bool:
    return output.requires_grad and output.dim() >= 2 and len(output) == len(batch)


def _by_sample(module: nn.Module, values: Tensor) -> Tensor:
    """Output of a layer as (N, positions, C): maps have their channels first, linear layers last."""
    if values.dim() == 2:
        return values.unsqueeze(1)
    return values.flatten(1, -2) if isinstance(module, nn.Linear) else values.flatten(2).transpose(1, 2)


def _layer(
    module: nn.Module, output: Tensor, slope: Tensor | None, of_weight: Tensor | None, batch: Labelled, seed: int
) -> LayerMeasure:
    output_NPC = _by_sample(module, output)
    pooled_NC = output_NPC.mean(1)
    width = pooled_NC.shape[1]
    count = min(UNITS, width, max(len(batch) // 2 - 2, 1))
    some = torch.linspace(0, width - 1, count).round().long().to(pooled_NC.device)
    weight = module.weight
    assert isinstance(weight, Tensor)
    taylor_C = torch.zeros(width, dtype=torch.float64)
    if slope is not None:
        # The loss is a mean over N samples: times N its gradient is that of each sample's own loss.
        taylor_C = (output_NPC * _by_sample(module, slope) * len(batch)).sum(1).abs().mean(0).double().cpu()
    return LayerMeasure(
        width=width,
        parameters=sum(p.numel() for p in module.parameters(recurse=False)),
        entropy_C=differential_entropy(pooled_NC).clamp_min(LEAST_ENTROPY),
        information=float(label_information(pooled_NC[:, some], batch.labels_B, seed=seed).mean()),
        redundancy=float(redundancy(pooled_NC[:, some]).mean()),
        gradient=0.0 if of_weight is None else float(of_weight.norm()),
        taylor_C=taylor_C,
        weight_C=weight.detach().flatten(1).norm(dim=1).double().cpu(),
    )


@torch.no_grad()
def evaluate(model: nn.Module, batches: Sequence[Labelled]) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each sample (N,) float64, hits (N,) bool, labels (N,), on the CPU, in eval mode; no state is written.

    Args:
        model: on the device of the batches.
        batches: one at least; N samples together.
    """
    losses, hits, labels = [], [], []
    with eval_mode(model):
        for batch in batches:
            losses_B, logits_BK = batch.losses(model)
            losses.append(losses_B.double().cpu())
            hits.append((logits_BK.argmax(-1) == batch.labels_B).cpu())
            labels.append(batch.labels_B.cpu())
    return torch.cat(losses), torch.cat(hits), torch.cat(labels)


def describe(model: nn.Module, batches: Sequence[Labelled], measures: Measures) -> dict[str, float]:
    """The numbers that a state and a reward are made of.

    Args:
        model: on the device of the batches.
        batches: held-out samples, one batch at least.
        measures: of the same model, by `measure`.

    Returns:
        loss (nats), accuracy in [0, 1], parameters, layers, samples; entropy (nats) and redundancy (a share): means
        over the layers; information: what the output says about the label at least, H(Y) - loss, nats;
        label_information: mean of the layers' units, nats; compression (nats).
    """
    losses_N, hits_N, labels_N = evaluate(model, batches)
    layers = list(measures.layers.values())
    loss = float(losses_N.mean())
    information = discrete_entropy(labels_N) - loss if math.isfinite(loss) else 0.0
    return {
        "loss": loss,
        "accuracy": float(hits_N.double().mean()),
        "parameters": float(sum(p.numel() for p in model.parameters())),
        "layers": float(len(layers)),
        "entropy": sum(layer.entropy for layer in layers) / len(layers),
        "redundancy": sum(layer.redundancy for layer in layers) / len(layers),
        "information": max(information, 0.0),
        "label_information": sum(layer.information for layer in layers) / len(layers),
        "compression": measures.compression,
        "samples": float(len(losses_N)),
    }
