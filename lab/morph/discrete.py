"""Discrete changes of one layer: kernel size, dilation and groups of a convolution, heads of an attention.

What is exact for any weights, or for the weights as they are, is planned as exact; what is not is planned as changed,
with the difference that was measured. Weights, gradients and moments of the optimizer go to their new places, new
places start as the optimizer starts them, from 0.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lab.base import MorphError
from lab.morph.morph import Draft, Morph
from lab.morph.steps import Pad, Regroup, SetAttribute, Step
from lab.morph.trace import Example
from lab.morph.widths import find_module
from lab.state import weight_digest

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FORWARDS = frozenset(kind.forward for kind in _CONVS)
_INNER = frozenset(getattr(kind, "_conv_forward", None) for kind in _CONVS)
Sizes = tuple[int, ...]


def _find_conv(model: nn.Module, layer: str) -> tuple[str, _ConvNd]:
    """Name of the weight, and the module.

    Raises:
        MorphError: not a convolution that its attributes and its weight say all of.
    """
    conv = find_module(model, layer)
    kind = type(conv)
    own = kind.forward not in _FORWARDS or getattr(kind, "_conv_forward", None) not in _INNER
    if not isinstance(conv, _ConvNd) or own:
        got = f"{kind.__name__} {layer}"
        raise MorphError("a convolution layer with torch's own forward", got, "name a layer of that kind")
    if "weight" not in conv._parameters:
        got = f"{layer}, whose weight is computed"
        raise MorphError("a weight that is a parameter", got, "remove the parametrization first")
    sharing = [path for path, other in model.named_modules() if _holds(other, conv.weight)]
    if len(sharing) > 1:
        raise MorphError(f"a weight that only {layer} has", f"one shared by {', '.join(sharing)}", "untie it first")
    if conv.padding_mode != "zeros":
        got = f"padding_mode {conv.padding_mode!r}"
        raise MorphError(f"{layer} with padding of zeros", got, "choose another layer")
    return next(name for name, parameter in model.named_parameters() if parameter is conv.weight), conv


def _holds(module: nn.Module, weight: Tensor) -> bool:
    return any(parameter is weight for parameter in module._parameters.values())


def _sizes(value: int | Sizes, conv: _ConvNd, what: str, *, odd: bool) -> Sizes:
    """One number for each dimension of the maps."""
    count = len(conv.kernel_size)
    sizes = value if isinstance(value, tuple) else (value,) * count
    if len(sizes) != count or not all(type(size) is int and size > 0 and (size % 2 or not odd) for size in sizes):
        expected = f"{'an odd' if odd else 'a positive'} {what}, or {count} of them"
        raise MorphError(expected, repr(value), "give whole numbers")
    return sizes


def _geometry(layer: str, conv: _ConvNd, kernel: Sizes, dilation: Sizes) -> tuple[SetAttribute, ...]:
    """The attributes of a convolution with another kernel and dilation whose output keeps its size.

    The size depends on 2 * padding - dilation * (kernel - 1), stride or not.

    Raises:
        MorphError: no padding keeps the size.
    """
    spans = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    before = tuple(d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    padding: str | Sizes = conv.padding
    if padding == "same":
        sides = [(span // 2, span - span // 2) for span in spans]
    else:
        old = (0,) * len(spans) if isinstance(padding, str) else padding
        doubled = [2 * p + new - span for p, new, span in zip(old, spans, before, strict=True)]
        if any(size < 0 or size % 2 for size in doubled):
            got = f"padding {old}, which would have to be {tuple(size / 2 for size in doubled)}"
            raise MorphError(f"a padding that keeps the output size of {layer}", got, "choose another value")
        padding = tuple(size // 2 for size in doubled)
        sides = [(size, size) for size in padding]
    # torch computes this copy of the padding when a layer is made: it has to be kept in step.
    repeated = tuple(side for pair in reversed(sides) for side in pair)
    values = {"kernel_size": kernel, "dilation": dilation, "padding": padding}
    return _set(layer, conv, {**values, "_reversed_padding_repeated_twice": repeated})


def _set(path: str, module: nn.Module, values: dict[str, Any]) -> tuple[SetAttribute, ...]:
    """Steps for the attributes that are other than they were."""
    changed = {name: value for name, value in values.items() if getattr(module, name) != value}
    return tuple(SetAttribute(module=path, attribute=name, value=value) for name, value in changed.items())


def _moved(model: nn.Module, conv: _ConvNd, moves: tuple[Pad | Regroup, ...], attributes: tuple[Step, ...]) -> Draft:
    """The draft of moving the entries of a weight: exact unless some that are not 0 stay nowhere."""
    old = conv.weight.detach()
    new = old
    for move in moves:
        new = move.moved(new)
    steps = (*moves, *attributes)
    lost = int(old.count_nonzero() - new.count_nonzero())
    if lost:
        share = 1.0 - float(new.double().square().sum() / old.double().square().sum())
        note = f"drops {lost:,} of {old.numel():,} weights, {share:.1%} of the sum of their squares"
        return Draft(steps=steps, exact=False, note=note)
    if any(move.drops for move in moves):
        return Draft(steps=steps, exact=True, weights=weight_digest(model), note="drops weights that are 0")
    return Draft(steps=steps, exact=True)


@dataclass(frozen=True)
class SetKernel(Morph):
    """Another odd kernel size of a convolution, about the same middle; padding follows, the output keeps its size.

    A larger kernel gets zeros around it, w'[i + a] = w[i] with padding p + dilation * a: the same sum, exact. A smaller
    one loses its border: exact where that is 0.
    """

    layer: str
    """Name of a convolution, transposed or not, of 1 to 3 dimensions."""
    kernel_size: int | tuple[int, ...]
    """Odd, in positions; one for all dimensions or one for each."""
    name: ClassVar[str] = "set_kernel"
    exact: ClassVar[bool] = False

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        weight, conv = _find_conv(model, self.layer)
        new, old = _sizes(self.kernel_size, conv, "kernel size", odd=True), conv.kernel_size
        if new == old:
            raise MorphError(f"another kernel size than {self.layer} has", str(old), "choose another size")
        if not all(size % 2 for size in old):
            raise MorphError(f"{self.layer} with a kernel that has a middle", f"size {old}", "choose another layer")
        sides = [(after - before) // 2 for before, after in zip(old, new, strict=True)]
        pads = tuple(Pad(tensor=weight, dim=2 + dim, before=side, after=side) for dim, side in enumerate(sides) if side)
        return _moved(model, conv, pads, _geometry(self.layer, conv, new, conv.dilation))


@dataclass(frozen=True)
class SetDilation(Morph):
    """Another distance between the taps of a convolution; padding follows, the output keeps its size at any stride.

    The taps read other positions, so the function changes, unless none but the middle one is other than 0.
    """

    layer: str
    """Name of a convolution, transposed or not, of 1 to 3 dimensions."""
    dilation: int | tuple[int, ...]
    """In positions, 1 or more; one for all dimensions or one for each."""
    name: ClassVar[str] = "set_dilation"
    exact: ClassVar[bool] = False

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        _, conv = _find_conv(model, self.layer)
        new, old, kernel = _sizes(self.dilation, conv, "dilation", odd=False), conv.dilation, conv.kernel_size
        moving = [dim for dim, size in enumerate(kernel) if size > 1 and new[dim] != old[dim]]
        if not moving:
            got = f"dilation {old} and kernel {kernel}"
            raise MorphError(f"a dilation of {new} that moves taps of {self.layer}", got, "nothing would change")
        steps = _geometry(self.layer, conv, kernel, new)
        taps = conv.weight.detach().clone()
        middle = [slice(None)] * taps.dim()
        for dim in moving:
            middle[2 + dim] = slice(kernel[dim] // 2, kernel[dim] // 2 + kernel[dim] % 2)
        taps[tuple(middle)] = 0.0
        if int(taps.count_nonzero()):
            return Draft(steps=steps, exact=False)
        return Draft(steps=steps, exact=True, weights=weight_digest(model), note="moves taps that are 0")


@dataclass(frozen=True)
class SetGroups(Morph):
    """Another number of groups of a convolution.

    Joined groups get a block-diagonal weight, exact; divided ones keep the blocks on the diagonal and lose the rest:
    exact where that is 0.
    """

    layer: str
    """Name of a convolution, transposed or not, of 1 to 3 dimensions."""
    groups: int
    """1 is dense; it divides the channels that come in and those that go out."""
    name: ClassVar[str] = "set_groups"
    exact: ClassVar[bool] = False

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        weight, conv = _find_conv(model, self.layer)
        channels = (conv.in_channels, conv.out_channels)
        _divide(self.groups, f"a number of groups that divides {channels[0]} and {channels[1]}", channels)
        if self.groups == conv.groups:
            raise MorphError(f"another number of groups than {self.layer} has", str(conv.groups), "choose another one")
        regroup = Regroup(tensor=weight, before=conv.groups, after=self.groups)
        return _moved(model, conv, (regroup,), _set(self.layer, conv, {"groups": self.groups}))


def _divide(value: int, expected: str, sizes: Sizes) -> None:
    if type(value) is not int or value < 1 or any(size % value for size in sizes):
        raise MorphError(expected, repr(value), "choose a common divisor")


@dataclass(frozen=True)
class SetHeads(Morph):
    """Another number of heads over the same weights of a multi-head attention; the function changes.

    Softmax is taken over the products of other slices of queries and keys, scaled with the square root of their size
    (Vaswani et al. 2017, Attention is all you need, section 3.2.2).
    """

    attention: str
    """Name of an `nn.MultiheadAttention`, or of a module that has exactly one inside."""
    heads: int
    """Divides the embedding size."""
    name: ClassVar[str] = "set_heads"
    exact: ClassVar[bool] = False

    def build_steps(self, model: nn.Module, example: Example, seed: int) -> Draft:
        """See `Morph.build_steps`."""
        path, attention = self._found(model)
        size, old = attention.embed_dim, attention.num_heads
        _divide(self.heads, f"a number of heads that divides {size}", (size,))
        if self.heads == old:
            raise MorphError(f"another number of heads than {path} has", str(old), "choose another one")
        steps = _set(path, attention, {"num_heads": self.heads, "head_dim": size // self.heads})
        owner_path = path.rpartition(".")[0]
        # Some blocks repeat the number of their attention.
        if getattr(model.get_submodule(owner_path), "num_heads", None) == old:
            steps += (SetAttribute(module=owner_path, attribute="num_heads", value=self.heads),)
        return Draft(steps=steps, exact=False, note=f"heads of {size // old} become heads of {size // self.heads}")

    def _found(self, model: nn.Module) -> tuple[str, nn.MultiheadAttention]:
        outer = find_module(model, self.attention)
        found = [
            (f"{self.attention}.{path}" if path else self.attention, module)
            for path, module in outer.named_modules()
            if isinstance(module, nn.MultiheadAttention)
        ]
        if len(found) != 1:
            got = ", ".join(path for path, _ in found[:6]) or f"none in {type(outer).__name__} {self.attention}"
            raise MorphError("the name of one nn.MultiheadAttention", got, "name one of named_modules()")
        return found[0]
