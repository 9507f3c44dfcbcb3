"""One forward of a model, recorded with the weights that it begins with."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils import _pytree as pytree

from lab.base import MorphError
from lab.morph.dims import WidthVar, plain
from lab.morph.record import Call, Recorder, TracedTensor, WithoutReads
from lab.morph.traced_op import Value
from lab.morph.twins import MODEL_ERRORS, aliased, copied
from lab.nn import plain_attention, plain_recurrence

BARE_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Normalisations that repeat a size even where no tensor of theirs has it."""


@dataclass(frozen=True)
class Forward:
    """One forward that ran: the weights that it began with, its operations, and what it gave."""

    weights: dict[str, TracedTensor]
    calls: list[Call]
    outputs: list[TracedTensor]


def record_forward(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Forward:
    """One forward of a copy of `model` in eval mode.

    It runs on the arguments themselves, which is quickest, as long as no operation gives values to Python or writes to
    a weight; else on tensors without values. Where values decide how large a tensor is, every weight must be read.

    Raises:
        MorphError: the forward cannot be followed, for instance because it branches on values.
    """
    found = _on_values(model, args, kwargs)
    if found is not None:
        return found
    try:
        return _on_fakes(copied(model), args, kwargs)
    except MODEL_ERRORS as error:
        # Grouped products have no rule for tensors without values but in this dtype; widths are the same in any.
        if "BFloat16" not in str(error):
            raise _untraced(error) from error
        half = pytree.tree_map(_to_bfloat16, (args, kwargs))
        try:
            return _on_fakes(copied(model).bfloat16(), *half)
        except MODEL_ERRORS as other:
            raise _untraced(other) from other


def _on_values(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Forward | None:
    """The forward on the example; None where only one without values can say what it does, or that it fails."""
    quiet = aliased(model).eval()
    _give_weights(quiet)
    state = _state(quiet)
    inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    try:
        weights = _weights(state)
        named = [(tensor, TracedTensor(tensor.shape, varies=True)) for tensor in inputs]
        named += [(state[name], weight) for name, weight in weights.items()]
        recorder = Recorder(named, [*state.values(), *inputs])
        with _plain(quiet), recorder, WithoutReads(recorder):
            output = quiet(*args, **kwargs)
    except MODEL_ERRORS:
        return None
    outputs = _outputs(recorder, output)
    # How many tokens an expert gets says nothing of widths, but what was left out for want of them is not known.
    complete = not recorder.sized_by_values or all(weights[name].used for name, _ in quiet.named_parameters())
    return Forward(weights, recorder.calls, outputs) if complete and not recorder.refused else None


def _on_fakes(quiet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Forward:
    """The forward of a copy on tensors without values."""
    # Takes long to import, and few forwards need it.
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    _give_weights(quiet.eval())
    state = _state(quiet)
    weights = _weights(state)
    fakes = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(), static_shapes=True)

    def fake(item: Any) -> Any:
        return fakes.from_tensor(item, static_shapes=True) if isinstance(item, Tensor) else item

    held = {name: fake(tensor) for name, tensor in state.items()}
    args, kwargs = pytree.tree_map(fake, (args, kwargs))
    recorder = Recorder((held[name], slot) for name, slot in weights.items())
    with _plain(quiet), _quiet_log(), fakes, recorder:
        output = functional_call(quiet, held, args, kwargs)
    return Forward(weights, recorder.calls, _outputs(recorder, output))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _weights(state: dict[str, Tensor]) -> dict[str, TracedTensor]:
    """A width for each dimension of each weight; one of size 1 may be broadcast against any other: it is none."""
    found = {}
    for name, tensor in state.items():
        dims = tuple(((WidthVar(size),),) if size > 1 else plain(1) for size in tensor.shape)
        found[name] = TracedTensor(tensor.shape, Value(dims, name, tuple(range(len(dims)))), varies=True)
    return found


def _outputs(recorder: Recorder, output: Any) -> list[TracedTensor]:
    # Outputs may hold more than tensors, such as a cache; widths are sizes of tensors.
    return [recorder.slots(leaf) for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


@contextmanager
def _plain(model: nn.Module) -> Iterator[None]:
    """No graph, and attention and recurrence by operations that a rule knows."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with torch.no_grad(), plain_attention(), plain_recurrence() if recurrent else nullcontext():
        yield


@contextmanager
def _quiet_log() -> Iterator[None]:
    """torch logs a traceback for an operation that it cannot run without values, and raises the same besides."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _untraced(error: Exception) -> MorphError:
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return MorphError("a forward that can be traced without values", line, "see lab.doctor.simulate")


def _to_bfloat16(item: Any) -> Any:
    return item.bfloat16() if isinstance(item, Tensor) and item.is_floating_point() else item


def _give_weights(model: nn.Module) -> None:
    """A normalisation without weights gets some, so that the trace sees which width its sizes repeat."""
    like = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), torch.empty(0))
    for module in model.modules():
        if isinstance(module, BARE_NORMS) and module.weight is None:
            size = module.num_channels if isinstance(module, nn.GroupNorm) else getattr(module, "num_features", 0)
            shape = module.normalized_shape if isinstance(module, nn.LayerNorm | nn.RMSNorm) else (int(size),)
            module.weight = nn.Parameter(torch.ones(shape, dtype=like.dtype, device=like.device))
