"""What modules read and give in one forward, and which dimension of it holds their channels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lab.base import MorphError
from lab.morph.modules import modules_around
from lab.morph.trace import Example, call_arguments
from lab.morph.twins import MODEL_ERRORS, copied, release

_CHANNELS_SECOND = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
LARGEST_DOUBLED = 64
"""Size up to which a probe doubles a side of the input; beyond it adds half of this."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of what a module reads and gives."""

    into: tuple[int, ...]
    out: tuple[int, ...]
    axis: int = -1
    """Dimension of both that holds the channels: 1 for maps (B, C, ...), the last one for vectors and tokens."""
    moved: bool = False
    """Whether what the module reads has its channels in another dimension: its size there follows the input's sides."""

    @property
    def maps(self) -> bool:
        """Whether channels come second, before one to three sides."""
        return len(self.out) > 2 and self.axis == 1


@dataclass(frozen=True)
class _Layer:
    """A layer that was called: the dimension of its output that it makes, and the sizes of all."""

    axis: int
    shape: tuple[int, ...]


def shapes_of(model: nn.Module, example: Example, *paths: str) -> list[Shapes]:
    """Shapes at the modules `paths` in one forward, and where their channels are.

    The channels are where the size stays while the sides of the input change. Where the forward takes no other sides,
    or more than one size stays, the layer that was called last before the module's end decides.

    Raises:
        MorphError: a module is never called, is called with other shapes each time, gives no tensor, or is a part of an
            encoder that packs padded batches.
    """
    for path in paths:
        _check_not_packed(model, path)
    quiet = copied(model).eval()
    try:
        seen, layers = _watched(quiet, example, paths)
    except MODEL_ERRORS as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise MorphError("a forward that runs on the example", line, "give an example that the model takes") from error
    for path, found in seen.items():
        if len(set(found)) != 1:
            got = "never called" if not found else f"called with {len(set(found))} shapes"
            raise MorphError(f"{path} to be called with one shape", got, "choose another module")
        if not found[0].out or not found[0].into:
            raise MorphError(f"{path} to read and give tensors", "something else", "choose another module")
    other = _other_sides(quiet, example, paths)
    release(quiet)
    found_at = []
    for path in paths:
        one, far = seen[path][0], other.get(path)
        axis = _axis(one.out, far.out if far else None, layers[path])
        alike = far is not None and len(one.into) == len(one.out) == len(far.into) > 2
        found_at.append(replace(one, axis=axis, moved=bool(far and alike and far.into[axis] != one.into[axis])))
    return found_at


def _check_not_packed(model: nn.Module, path: str) -> None:
    """`nn.TransformerEncoder` may hand its layers nested tensors in eval mode, which only their fused path takes."""
    for encoder in modules_around(model, path):
        if isinstance(encoder, nn.TransformerEncoder) and encoder.use_nested_tensor:
            got = f"a TransformerEncoder that packs padded batches into nested ones around {path}"
            raise MorphError("a part that is given plain tensors", got, "set its use_nested_tensor to False")


def _watched(
    model: nn.Module, example: Example, paths: tuple[str, ...]
) -> tuple[dict[str, list[Shapes]], dict[str, list[_Layer]]]:
    """Shapes of every call of each path, and the layers that were called before its end."""
    seen: dict[str, list[Shapes]] = {path: [] for path in paths}
    called: list[_Layer] = []
    before: dict[str, list[_Layer]] = {path: [] for path in paths}

    def layer(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() > 1:
            called.append(_Layer(1 if isinstance(module, _CHANNELS_SECOND) else output.dim() - 1, tuple(output.shape)))

    def end(path: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            first = next((item for item in args if isinstance(item, Tensor)), None)
            into = () if first is None else tuple(first.shape)
            seen[path].append(Shapes(into, tuple(output.shape) if isinstance(output, Tensor) else ()))
            before[path] = list(called)

        return note

    known = [module for module in model.modules() if isinstance(module, (*_CHANNELS_SECOND, *_CHANNELS_LAST))]
    with _hooked([*((module, layer) for module in known), *((model.get_submodule(path), end(path)) for path in paths)]):
        args, kwargs = call_arguments(example)
        with torch.no_grad():
            model(*args, **kwargs)
    return seen, before


@contextmanager
def _hooked(hooks: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _axis(shape: tuple[int, ...], other: tuple[int, ...] | None, layers: list[_Layer]) -> int:
    last = len(shape) - 1
    if last < 2:
        return last
    stays = list(range(1, len(shape)))
    if other is not None and len(other) == len(shape):
        stays = [number for number in stays if shape[number] == other[number]] or stays
    if len(stays) == 1:
        return stays[0]
    alike = [layer for layer in layers if len(layer.shape) == len(shape) and layer.axis in stays]
    fits = [layer for layer in alike if layer.shape[layer.axis] == shape[layer.axis]]
    # Tokens that became a picture again: the layer before has another number of dimensions.
    reshaped = [1 if layer.axis == 1 else last for layer in layers[-1:]]
    for axis in ([fits[-1].axis] if fits else []) + reshaped + ([alike[-1].axis] if alike else []):
        if axis in stays:
            return axis
    return last if last in stays else stays[0]


def _other_sides(model: nn.Module, example: Example, paths: tuple[str, ...]) -> dict[str, Shapes]:
    """Shapes of what each path reads and gives for one sample with other sides; empty where the forward takes none."""
    for first in (2, 1):
        probe = _grown(example, first)
        if probe is None:
            continue
        try:
            seen, _ = _watched(model, probe, paths)
        except MODEL_ERRORS:
            continue
        return {path: found[0] for path, found in seen.items() if len(set(found)) == 1}
    return {}


def _grown(example: Example, first: int) -> Example | None:
    """One sample whose tensors are longer along their sides, which begin at dimension `first`; None without any."""
    leaves, form = pytree.tree_flatten(example)
    shapes = [item.shape for item in leaves if isinstance(item, Tensor) and item.dim()]
    if not shapes:
        return None
    batch, changed = shapes[0][0], False
    for place, item in enumerate(leaves):
        if not isinstance(item, Tensor) or not item.dim() or item.shape[0] != batch:
            continue
        item = item[:1]
        if item.is_floating_point():
            sides = range(first, item.dim() - (first == 1)) if item.dim() > 2 else range(0)
        else:
            # Numbers of tokens, and masks over them.
            sides = range(1, min(item.dim(), 2))
        for side in sides:
            size = item.shape[side]
            added = size if size <= LARGEST_DOUBLED else LARGEST_DOUBLED // 2
            item = torch.cat([item, item.narrow(side, 0, added)], side)
            changed = True
        leaves[place] = item
    grown: Example = pytree.tree_unflatten(leaves, form)
    return grown if changed else None
