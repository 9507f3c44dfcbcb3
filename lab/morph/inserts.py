"""Operations that add modules: a further layer, a shortcut, attention, a branch. Each adds exactly nothing at first.

What is added ends in a factor of 0 (a gate, or the scale of its own BatchNorm), so the function and the gradient of
every old parameter are what they were; the factor learns, and with it the rest (Bachlechner et al. 2021, ReZero; Zhang
et al. 2019, Fixup). Statistics of a BatchNorm are never put on the path of the old function.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

from torch import nn

from lab.base import MorphError
from lab.morph.morph import Draft, Morph
from lab.morph.shapes import Shapes, shapes_of
from lab.morph.steps import Wrap
from lab.morph.trace import Example
from lab.morph.widths import find_module

IDEMPOTENT = (nn.ReLU, nn.ReLU6, nn.Identity)
"""Activations that leave their own output as it is: f(f(x)) = f(x)."""
MAX_TOKENS = 4096
"""Tokens beyond which attention is refused: its cost grows with their square."""


def _layout(shapes: Shapes, path: str) -> tuple[int, bool]:
    """Channels, and whether they are those of maps (B, C, ...)."""
    count = len(shapes.out)
    if count in (2, 3, 4, 5) and shapes.axis in (1, count - 1):
        return shapes.out[shapes.axis], shapes.maps
    expected = f"{path} to give (B, C), (B, N, C), (B, C, L), (B, C, H, W), (B, H, W, C) or (B, C, D, H, W)"
    raise MorphError(expected, f"{shapes.out}, channels in dimension {shapes.axis}", "choose another module")


def _check_channels(shapes: Shapes, path: str) -> None:
    if shapes.moved:
        got = f"{shapes.into} -> {shapes.out}, where they are in dimension {shapes.axis} of the latter only"
        raise MorphError(f"{path} to read and give channels in one dimension", got, "choose a module inside it")


def _map_arguments(shapes: Shapes) -> dict[str, Any]:
    """Whether channels are those of maps, and of how many sides where it is not two."""
    sides = len(shapes.out) - 2
    return {"pixels": shapes.maps, **({"sides": sides} if shapes.maps and sides != 2 else {})}


def _stride(into: tuple[int, ...], out: tuple[int, ...]) -> tuple[tuple[int, ...], bool]:
    """Stride that gives maps of the size of `out`, and whether an integer one does."""
    strides = [max(1, round(a / b)) for a, b in zip(into[2:], out[2:], strict=True)]
    # ceil(a / s): what a convolution of this stride gives with its padding.
    fits = all(-(-a // s) == b for a, b, s in zip(into[2:], out[2:], strides, strict=True))
    return (tuple(strides), True) if fits else ((1,) * len(strides), False)


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
        channels, _ = _layout(shapes, self.after)
        kind = "identity_layer" if type(module) in IDEMPOTENT else "gated_layer"
        return Draft(
            steps=(Wrap(path=self.after, kind=kind, arguments={"channels": channels, **_map_arguments(shapes)}),)
        )


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
        _check_channels(replace(found[-1], into=into, moved=found[0].moved), last or first)
        channels_out, pixels = _layout(found[-1], last or first)
        channels_in = into[1] if pixels else into[-1]
        if not pixels and into[:-1] != out[:-1]:
            raise MorphError(f"{self.span} to keep all but the last dimension", f"{into} -> {out}", "take another span")
        stride, fits = _stride(into, out) if pixels else ((1, 1), True)
        arguments = {
            "into": channels_in,
            "out": channels_out,
            **_map_arguments(found[-1]),
            "stride": list(stride),
            "last": last.rpartition(".")[2],
        }
        note = f"shortcut {channels_in} -> {channels_out}" + (
            f", stride {'x'.join(map(str, stride))}" if pixels else ""
        )
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
        channels, pixels = _layout(shapes, self.after)
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
            raise MorphError(
                f"{self.at} to keep the number of dimensions", f"{shapes.into} -> {shapes.out}", "choose another module"
            )
        _check_channels(shapes, self.at)
        channels_out, pixels = _layout(shapes, self.at)
        channels_in = shapes.into[1] if pixels else shapes.into[-1]
        if not pixels and shapes.into[:-1] != shapes.out[:-1]:
            raise MorphError(
                f"{self.at} to keep all but the last dimension",
                f"{shapes.into} -> {shapes.out}",
                "choose another module",
            )
        stride, fits = _stride(shapes.into, shapes.out) if pixels else ((1, 1), True)
        arguments = {"into": channels_in, "out": channels_out, **_map_arguments(shapes), "stride": list(stride)}
        note = "" if fits else "no integer stride fits: `resample` pools the branch's maps"
        return Draft(steps=(Wrap(path=self.at, kind="branch", arguments=arguments),), note=note)
