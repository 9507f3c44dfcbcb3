"""Operations that add modules: a further layer, a shortcut, attention, a branch. Each adds exactly nothing at first.

What is added ends in a factor of 0 (a gate, or the scale of its own BatchNorm), so the function and the gradient of
every old parameter are what they were; the factor learns, and with it the rest (Bachlechner et al. 2021, ReZero; Zhang
et al. 2019, Fixup). Statistics of a BatchNorm are never put on the path of the old function.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lab.base import MorphError
from lab.morph.morph import Draft, Morph
from lab.morph.steps import Wrap
from lab.morph.trace import MODEL_ERRORS, Example, run
from lab.morph.widths import find_module

IDEMPOTENT = (nn.ReLU, nn.ReLU6, nn.Identity)
"""Activations that leave their own output as it is: f(f(x)) = f(x)."""
MAX_TOKENS = 4096
"""Tokens beyond which attention is refused: its cost grows with their square."""


@dataclass(frozen=True)
class Shapes:
    """Shapes of what a module reads and gives."""

    into: tuple[int, ...]
    out: tuple[int, ...]


@contextmanager
def _watching(model: nn.Module, paths: tuple[str, ...], seen: dict[str, list[Shapes]]) -> Iterator[None]:
    def hook(path: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            first = next((item for item in args if isinstance(item, Tensor)), None)
            into = () if first is None else tuple(first.shape)
            seen[path].append(Shapes(into, tuple(output.shape) if isinstance(output, Tensor) else ()))

        return note

    handles = [model.get_submodule(path).register_forward_hook(hook(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def shapes_of(model: nn.Module, example: Example, *paths: str) -> list[Shapes]:
    """Shapes at the modules `paths` in one forward.

    Raises:
        MorphError: a module is never called, is called with other shapes each time, or gives no tensor.
    """
    quiet = deepcopy(model).eval()
    seen: dict[str, list[Shapes]] = {path: [] for path in paths}
    try:
        with _watching(quiet, paths, seen), torch.no_grad():
            run(quiet, example)
    except MODEL_ERRORS as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise MorphError("a forward that runs on the example", line, "give an example that the model takes") from error
    for path, found in seen.items():
        if len(set(found)) != 1:
            got = "never called" if not found else f"called with {len(set(found))} shapes"
            raise MorphError(f"{path} to be called with one shape", got, "choose another module")
        if not found[0].out or not found[0].into:
            raise MorphError(f"{path} to read and give tensors", "something else", "choose another module")
    return [seen[path][0] for path in paths]


def _layout(model: nn.Module, shape: tuple[int, ...], path: str) -> tuple[int, bool]:
    """Channels, and whether they are those of maps (B, C, H, W)."""
    if len(shape) == 4 and not _channels_last(model, shape, path):
        return shape[1], True
    if len(shape) in (2, 3, 4):
        return shape[-1], False
    expected = f"{path} to give (B, C), (B, N, C), (B, C, H, W) or (B, H, W, C)"
    raise MorphError(expected, f"a tensor of {len(shape)} dimensions", "choose another module")


def _channels_last(model: nn.Module, shape: tuple[int, ...], path: str) -> bool:
    """Whether maps are (B, H, W, C), as in window attention: by the last layer in or before `path` whose size fits."""
    named = [(name, module) for name, module in model.named_modules() if name]
    end = max(number for number, (name, _) in enumerate(named) if name == path or name.startswith(f"{path}."))
    for _, module in reversed(named[: end + 1]):
        size = 0
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            size = module.out_channels
        elif isinstance(module, nn.BatchNorm2d):
            size = module.num_features
        elif isinstance(module, nn.Linear):
            size = module.out_features
        elif isinstance(module, nn.LayerNorm):
            size = module.normalized_shape[-1]
        if size in (shape[1], shape[-1]):
            return size != shape[1]
    return False


def _stride(into: tuple[int, ...], out: tuple[int, ...]) -> tuple[tuple[int, int], bool]:
    """Stride that gives maps of the size of `out`, and whether an integer one does."""
    strides = [max(1, round(a / b)) for a, b in zip(into[2:], out[2:], strict=True)]
    # ceil(a / s): what a convolution of this stride gives with its padding.
    fits = all(-(-a // s) == b for a, b, s in zip(into[2:], out[2:], strides, strict=True))
    return ((strides[0], strides[1]), True) if fits else ((1, 1), False)


@dataclass(frozen=True)
class Deepen(Morph):
    """A further layer behind `after`.

    Behind an idempotent activation f it is f(I y + 0) with the identity I, trainable; elsewhere y + gate * layer(y).
    """

    after: str
    """Name of a module."""
    name: ClassVar[str] = "deepen"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        module = find_module(model, self.after)
        (shapes,) = shapes_of(model, example, self.after)
        channels, pixels = _layout(model, shapes.out, self.after)
        kind = "identity_layer" if type(module) in IDEMPOTENT else "gated_layer"
        return Draft(steps=(Wrap(path=self.after, kind=kind, arguments={"channels": channels, "pixels": pixels}),))


@dataclass(frozen=True)
class InsertResidual(Morph):
    """A shortcut around `span`: span(x) + shortcut(x), the shortcut a 1x1 convolution and a BatchNorm of scale 0."""

    span: str | tuple[str, str]
    """One name, or the first and the last of siblings in an `nn.Sequential`."""
    name: ClassVar[str] = "insert_residual"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        first, last = (self.span, "") if isinstance(self.span, str) else self.span
        find_module(model, first)
        found = shapes_of(model, example, first, *([last] if last else []))
        if last:
            _check_siblings(model, first, last)
        into, out = found[0].into, found[-1].out
        if len(into) != len(out):
            raise MorphError(f"{self.span} to keep the number of dimensions", f"{into} -> {out}", "take a shorter span")
        channels_out, pixels = _layout(model, out, last or first)
        channels_in = into[1] if pixels else into[-1]
        if not pixels and into[:-1] != out[:-1]:
            raise MorphError(f"{self.span} to keep all but the last dimension", f"{into} -> {out}", "take another span")
        stride, fits = _stride(into, out) if pixels else ((1, 1), True)
        arguments = {
            "into": channels_in,
            "out": channels_out,
            "pixels": pixels,
            "stride": list(stride),
            "last": last.rpartition(".")[2],
        }
        note = f"shortcut {channels_in} -> {channels_out}" + (f", stride {stride[0]}x{stride[1]}" if pixels else "")
        if not fits:
            note += f"; no integer stride gives {out[2:]} from {into[2:]}: `resample` pools the shortcut's maps"
        return Draft(steps=(Wrap(path=first, kind="shortcut", arguments=arguments),), note=note)


def _check_siblings(model: nn.Module, first: str, last: str) -> None:
    parent = model.get_submodule(first.rpartition(".")[0])
    names = list(parent._modules)
    inside = first.rpartition(".")[0] == last.rpartition(".")[0] and type(parent) is nn.Sequential
    if not inside or names.index(first.rpartition(".")[2]) > names.index(last.rpartition(".")[2]):
        raise MorphError("first and last of siblings in an nn.Sequential", f"{first}, {last}", "name two such modules")


@dataclass(frozen=True)
class InsertAttention(Morph):
    """Self-attention on the output of `after`: y + gate * attention(norm(y)), over tokens or over pixels."""

    after: str
    """Name of a module that gives (B, N, C) or (B, C, H, W)."""
    heads: int = 0
    """Number of heads, a divisor of C; 0 takes 4, or the largest divisor below."""
    name: ClassVar[str] = "insert_attention"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        find_module(model, self.after)
        (shapes,) = shapes_of(model, example, self.after)
        channels, pixels = _layout(model, shapes.out, self.after)
        if len(shapes.out) == 2:
            raise MorphError(f"{self.after} to give tokens or maps", f"vectors {shapes.out}", "choose another module")
        tokens = prod(shapes.out[2:] if pixels else shapes.out[1:-1])
        if tokens > MAX_TOKENS:
            expected = f"at most {MAX_TOKENS} tokens at {self.after}"
            raise MorphError(expected, f"{tokens}", "choose a module behind a pooling")
        heads = self.heads or next(count for count in (4, 3, 2, 1) if channels % count == 0)
        if channels % heads:
            raise MorphError(f"heads that divide {channels}", f"heads = {heads}", "choose a divisor")
        arguments = {"channels": channels, "pixels": pixels, "heads": heads}
        return Draft(steps=(Wrap(path=self.after, kind="attention", arguments=arguments),))


@dataclass(frozen=True)
class AddBranch(Morph):
    """A branch beside `at`: at(x) + gate * branch(x), the branch a 3x3 convolution or a linear layer."""

    at: str
    """Name of a module that reads and gives one tensor."""
    name: ClassVar[str] = "add_branch"

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        find_module(model, self.at)
        (shapes,) = shapes_of(model, example, self.at)
        if len(shapes.into) != len(shapes.out):
            raise MorphError(f"{self.at} to keep the number of dimensions", f"{shapes}", "choose another module")
        channels_out, pixels = _layout(model, shapes.out, self.at)
        channels_in = shapes.into[1] if pixels else shapes.into[-1]
        if not pixels and shapes.into[:-1] != shapes.out[:-1]:
            raise MorphError(f"{self.at} to keep all but the last dimension", f"{shapes}", "choose another module")
        stride, fits = _stride(shapes.into, shapes.out) if pixels else ((1, 1), True)
        arguments = {"into": channels_in, "out": channels_out, "pixels": pixels, "stride": list(stride)}
        note = "" if fits else "no integer stride fits: `resample` pools the branch's maps"
        return Draft(steps=(Wrap(path=self.at, kind="branch", arguments=arguments),), note=note)
