"""Scores of a network that was never trained: what its structure alone says of how well it may learn.

Every score takes any `nn.Module` and an `example` of its input, as `lab.nn.measure_flops` does: a tensor, a tuple of
positional or a mapping of keyword arguments, with the samples of a batch along the first dimension. It works on a copy,
so weights, gradients, buffers, modes and random streams of the module given are as before. Higher is better.

Known limits: log_synflow, naswot, parameters and FLOPs measure capacity. They order random cells (Spearman 0.80 to 0.87
with NAS-Bench-201's accuracies) and say little inside the best fifth; over sizes they prefer the largest network.

B batch, N samples compared (B), U units.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lab.base import ConfigError, require
from lab.explore.collapse import SKIP
from lab.nn import measure_flops, norm_layers, plain_attention
from lab.space import Genotype
from lab.state import preserved_rng

LEAST_SAMPLES = 2
"""Samples of a batch below which nothing can be told apart."""
ABSENT_SCORE = -math.inf
"""Score of a network on which a score is not defined, such as one that cannot tell two samples apart."""

NORMS = frozenset(
    {
        functional.batch_norm,
        functional.layer_norm,
        functional.group_norm,
        functional.instance_norm,
        functional.rms_norm,
        functional.local_response_norm,
        torch.batch_norm,
        torch.layer_norm,
        torch.group_norm,
        torch.instance_norm,
        torch.rms_norm,
    }
)
"""Functions that normalise their first argument; every normalising module of torch calls one of them."""

aten = torch.ops.aten
ACTIVATIONS = frozenset(
    {
        aten.relu,
        aten.relu_,
        aten.leaky_relu,
        aten.leaky_relu_,
        aten._prelu_kernel,
        aten.rrelu_with_noise,
        aten.threshold,
        aten.threshold_,
        aten.hardtanh,
        aten.hardtanh_,
        aten.elu,
        aten.elu_,
        aten.gelu,
        aten.silu,
        aten.silu_,
        aten.mish,
        aten.mish_,
        aten.hardswish,
        aten.hardswish_,
        aten.softplus,
    }
)
"""Operations of torch that pass what is above 0 and hold back what is below; relu6, selu and celu run one of them."""
CLAMPS = frozenset({aten.clamp, aten.clamp_, aten.clamp_min, aten.clamp_min_})
"""Operations that are a ReLU where their lower bound is 0."""


def log_synflow(model: nn.Module, example: Any, *, in_place: bool = False) -> float:
    """Sum over all parameters w of w log(1 + |dR/dw|), R the sum of the output; `-inf` where it is not finite.

    Weights are absolute values, every floating input is ones (one sample), normalisation is left out, modules are in
    eval mode, numbers are float64. The logarithm keeps a deep network's largest gradients from being all that counts.
    In a network of convolutions and ReLU no gradient is negative; attention has some, and their size is what counts.

    Args:
        model: any module that runs in float64.
        example: its input; integers, such as token numbers, stay as they are.
        in_place: work on `model` itself, whose weights are lost; a copy takes as long as the score of a small network.

    Raises:
        ConfigError: the model does not take the example, or gives nothing that depends on its parameters.

    Source: Cavagnero et al. 2023, "FreeREA: Training-Free Evolution-Based Architecture Search", section 3.2; Tanaka et
    al. 2020, "Pruning Neural Networks without Any Data", for the sum without the logarithm.
    """
    with _studied(model, in_place) as network:
        network.double().eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.grad = None
                parameter.requires_grad_(parameter.is_floating_point()).abs_()
        with torch.enable_grad(), _WithoutNorms():
            total = sum((each.sum() for each in _floats(_run(network, _ones(example)))), torch.zeros(()))
            weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
            require(
                total.requires_grad,
                expected="a model whose output depends on its parameters",
                got="an output without gradient",
                hint="give the trainable model itself",
            )
            slopes = torch.autograd.grad(total, weights, allow_unused=True)
        terms = [
            (w * torch.log1p(slope.abs())).sum() for w, slope in zip(weights, slopes, strict=True) if slope is not None
        ]
        score = float(torch.stack(terms).sum().detach())
    return score if math.isfinite(score) else ABSENT_SCORE


def naswot(model: nn.Module, example: Any, *, in_place: bool = False) -> float:
    """log |det K| with K_ij the number of units that samples i and j set alike; `-inf` where K is singular.

    A unit is one element of the output of a ReLU or its kin (`ACTIVATIONS`), module or function, and is set where it
    is above 0. K is (N, N): sum over the units' codes c (N, U) of c c^T + (1 - c) (1 - c)^T, in float64. BatchNorm
    normalises by the batch, dropout is off.

    Args:
        model: any module with such activations.
        example: its input, at least `LEAST_SAMPLES` different samples.
        in_place: work on `model` itself, whose modes and averages of BatchNorm change; its weights stay.

    Raises:
        ConfigError: the model does not take the example, too few samples, or no activation over the batch.

    Source: Mellor et al. 2021, "Neural Architecture Search without Training", section 3.
    """
    samples = _samples(example)
    require(
        samples >= LEAST_SAMPLES,
        expected=f"a batch of at least {LEAST_SAMPLES} samples",
        got=samples,
        hint="give more samples",
    )
    with _studied(model, in_place) as network, torch.no_grad():
        network.eval()
        for layer in norm_layers(network):
            layer.train()
        codes = _Codes(samples)
        with codes:
            _run(network, example)
    require(
        codes.units > 0,
        expected="a model with ReLU-like activations over the batch",
        got="none",
        hint="score it by log_synflow, parameters or flops",
    )
    sign, logarithm = torch.linalg.slogdet(codes.alike_NN)
    # K is positive semidefinite: a sign of -1 is rounding at a determinant of 0.
    return float(logarithm) if float(sign) > 0 and math.isfinite(float(logarithm)) else ABSENT_SCORE


def parameters(model: nn.Module, example: Any = None) -> float:
    """Number of parameters, shared ones once.

    Args:
        model: any module.
        example: is not used; scores are called alike.
    """
    return float(sum(parameter.numel() for parameter in model.parameters()))


def flops(model: nn.Module, example: Any) -> float:
    """Floating-point operations of one forward for each sample of `example`, by `lab.nn.measure_flops`.

    Raises:
        ConfigError: the model does not take the example.
    """
    samples = max(_samples(example), 1)
    with _studied(model) as network, _as_config_error():
        return measure_flops(network, example) / samples


def skip_length(genotype: Genotype) -> float:
    """Mean over the skip connections of the nodes that each passes over (target - source - 1); 0 without any.

    Hand-made for cells as NAS-Bench-201 has them: a long skip lets a short path exist beside a deep one.

    Source: Cavagnero et al. 2023, "FreeREA", section 3.2, by the authors' code.
    """
    lengths = [
        genotype.space.edges[row].target - genotype.space.edges[row].source - 1
        for row in genotype.rows
        if genotype.primitives[row] == SKIP
    ]
    return sum(lengths) / len(lengths) if lengths else 0.0


Score = Callable[[nn.Module, Any], float]
"""A score of a network on an example of its input."""
SCORES: Mapping[str, Score] = MappingProxyType(
    {"log_synflow": log_synflow, "naswot": naswot, "parameters": parameters, "flops": flops}
)
"""Every score of a network by name; higher is better."""


class _WithoutNorms(TorchFunctionMode):
    """Normalising functions give back what they get."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in NORMS:
            return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


class _Codes(TorchDispatchMode):
    """Counts on which units each pair of samples agrees, activation by activation.

    Args:
        samples: N.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.units = 0
        self.alike_NN = torch.zeros(samples, samples, dtype=torch.float64)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in ACTIVATIONS or (packet in CLAMPS and len(args) > 1 and args[1] == 0):
            self._add(out)
        return out

    def _add(self, out: Tensor) -> None:
        shape = tuple(out.shape)
        if shape[:1] and shape[0] % self.samples == 0:
            # Windows or patches of a sample may lie along the first dimension as well.
            rows = out.reshape(self.samples, -1)
        elif len(shape) > 1 and shape[1] == self.samples:
            rows = out.transpose(0, 1).reshape(self.samples, -1)
        else:
            return
        # float32 holds the counts of one activation exactly up to 2^24 units, and is the faster product.
        set_NU = (rows > 0).to(torch.float32 if rows.shape[1] < 2**24 else torch.float64)
        clear_NU = 1 - set_NU
        self.alike_NN += (set_NU @ set_NU.T + clear_NU @ clear_NU.T).double().cpu()
        self.units += rows.shape[1]


@contextmanager
def _studied(model: nn.Module, in_place: bool = False) -> Iterator[nn.Module]:
    """A copy of `model` to work on, or the model; random streams are as before the block afterwards."""
    require(isinstance(model, nn.Module), expected="a torch.nn.Module", got=type(model).__name__, hint="give the model")
    with preserved_rng(seed=0), plain_attention():
        if in_place:
            yield model
            return
        try:
            network = copy.deepcopy(model)
        except (RuntimeError, TypeError) as error:
            raise ConfigError("a module that copy.deepcopy copies", _line(error), "score it before training") from error
        yield network


def _run(network: nn.Module, example: Any) -> Any:
    with _as_config_error():
        if isinstance(example, Mapping):
            return network(**example)
        return network(*example) if isinstance(example, tuple) else network(example)


@contextmanager
def _as_config_error() -> Iterator[None]:
    """What a model raises on an example that it does not take, as one of our errors."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise ConfigError("an example that the model takes", _line(error), "give a batch as in training") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _tensors(example: Any) -> list[Tensor]:
    parts = example.values() if isinstance(example, Mapping) else example if isinstance(example, tuple) else (example,)
    return [part for part in parts if isinstance(part, Tensor) and part.dim() > 0]


def _samples(example: Any) -> int:
    """Samples of the batch: the length of the first tensor.

    Raises:
        ConfigError: the example holds no tensor with a batch dimension.
    """
    tensors = _tensors(example)
    if not tensors:
        raise ConfigError(
            "an example with a tensor whose first dimension is the batch", type(example).__name__, "give a batch"
        )
    return len(tensors[0])


def _ones(example: Any) -> Any:
    """The first sample, floating tensors as ones in float64."""
    samples = _samples(example)

    def one(part: Any) -> Any:
        if not isinstance(part, Tensor) or part.dim() == 0:
            return part
        first = part[:1] if len(part) == samples else part
        return torch.ones_like(first, dtype=torch.float64) if part.is_floating_point() else first

    if isinstance(example, Mapping):
        return {name: one(part) for name, part in example.items()}
    return tuple(map(one, example)) if isinstance(example, tuple) else one(example)


def _floats(output: Any) -> list[Tensor]:
    """The floating tensors of an output: a tensor, or tensors in a mapping, a list or a tuple."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return [tensor for part in inner for tensor in _floats(part)]
