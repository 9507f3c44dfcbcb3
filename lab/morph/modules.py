"""The modules that surgery adds: ordinary module-level classes, so that a changed network pickles and copies.

Shapes: B batch, C channels, H W height and width, N tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import MorphError


def scale_channels(gate_C: Tensor, x: Tensor, dim: int) -> Tensor:
    """`x` times one number for each unit of dimension `dim`."""
    shape = [1] * x.dim()
    shape[dim] = -1
    return gate_C.reshape(shape) * x


class Gate(nn.Module):
    """One learnt factor for each channel, 0 at first: gate * x."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.gate = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`x` with each channel of dimension `dim` times its factor."""
        return scale_channels(self.gate, x, self.dim)


class Wrapper(nn.Module, ABC):
    """In the place of `body`, whose attributes it passes on: a parent may read `linear.weight` or `norm.eps`."""

    body: nn.Module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "body" or name.startswith("__"):
                raise
            return getattr(super().__getattr__("body"), name)

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output of the body and of what was added."""


def modules_around(model: nn.Module, path: str) -> list[nn.Module]:
    """The modules that the one at `path` is in, the model first."""
    names = path.split(".")
    return [model.get_submodule(".".join(names[:count])) for count in range(len(names))]


def is_called(module: nn.Module, args: tuple[Any, ...]) -> None:
    """A hook that does nothing: `nn.TransformerEncoderLayer` leaves its fused path, which calls none of its parts,
    where one of them has a hook."""


class Deepened(Wrapper):
    """A module and a further layer behind it: layer(body(x))."""

    def __init__(self, body: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.layer = layer

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output of the further layer."""
        y: Tensor = self.layer(self.body(*args, **kwargs))
        return y


class Residual(Wrapper):
    """A module and a branch on its output: y + branch(y), y = body(x)."""

    def __init__(self, body: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.branch = branch

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The output and what the branch adds to it."""
        y: Tensor = self.body(*args, **kwargs)
        added: Tensor = self.branch(y)
        return y + added


class Resample(nn.Module):
    """Average pooling to the size of other maps, of one to three sides."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """Maps (B, C, ...) as large as those of `like`."""
        y: Tensor = _POOLS[x.dim() - 2](x, tuple(like.shape[2:]))
        return y


class Branched(Wrapper):
    """A module and a branch beside it: body(x) + branch(x), the branch resampled where its maps have another size."""

    def __init__(self, body: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.branch = branch
        self.resample = Resample()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The sum of both."""
        # The branch first: a body that works in place would change what it reads. And on a copy: what it has saved for
        # its backward would be changed as well.
        in_place = any(getattr(module, "inplace", False) for module in self.body.modules())
        added: Tensor = self.branch(x.clone() if in_place else x)
        y: Tensor = self.body(x, *args, **kwargs)
        if added.dim() > 2 and added.shape[2:] != y.shape[2:]:
            added = self.resample(added, y)
        return y + added


class TokenAttention(nn.Module):
    """Multi-head attention over tokens (B, N, C), or over the pixels of (B, C, H, W) or (B, H, W, C)."""

    def __init__(self, channels: int, heads: int, pixels: bool) -> None:
        super().__init__()
        self.pixels = pixels
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        tokens_BNC = x.flatten(2).transpose(1, 2) if self.pixels else x.flatten(1, -2)
        normed_BNC = self.norm(tokens_BNC)
        y_BNC: Tensor = self.attention(normed_BNC, normed_BNC, normed_BNC, need_weights=False)[0]
        return (y_BNC.transpose(1, 2) if self.pixels else y_BNC).reshape(x.shape)


_CONVS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: nn.functional.adaptive_avg_pool1d,
    2: nn.functional.adaptive_avg_pool2d,
    3: nn.functional.adaptive_avg_pool3d,
}


def _conv(arguments: dict[str, Any]) -> type[nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """The convolution of maps with as many sides as the plan says; two where it says nothing."""
    return _CONVS[arguments.get("sides", 2)]


def _identity_layer(body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    channels = arguments["channels"]
    if arguments["pixels"]:
        conv = _conv(arguments)(channels, channels, 3, padding=1, bias=False)
        nn.init.dirac_(conv.weight)
        layer: nn.Module = conv
    else:
        linear = nn.Linear(channels, channels, bias=False)
        nn.init.eye_(linear.weight)
        layer = linear
    return Deepened(body, nn.Sequential(layer, type(body)()))


def _gated_layer(body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    channels, pixels = arguments["channels"], arguments["pixels"]
    layer = _conv(arguments)(channels, channels, 3, padding=1) if pixels else nn.Linear(channels, channels)
    return Residual(body, nn.Sequential(layer, nn.ReLU(), Gate(channels, 1 if pixels else -1)))


def _shortcut(body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    into, out = arguments["into"], arguments["out"]
    if not arguments["pixels"]:
        return Branched(_span(body, parent, name, arguments), nn.Sequential(nn.Linear(into, out), Gate(out, -1)))
    norm = _NORMS[arguments.get("sides", 2)](out)
    nn.init.zeros_(norm.weight)
    shortcut = nn.Sequential(_conv(arguments)(into, out, 1, stride=tuple(arguments["stride"])), norm)
    return Branched(_span(body, parent, name, arguments), shortcut)


def _span(body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    """The module itself, or it and its siblings up to `last`, taken out of the parent."""
    if not arguments["last"]:
        return body
    names = list(parent._modules)
    inner = names[names.index(name) : names.index(arguments["last"]) + 1]
    span = nn.Sequential()
    for sibling in inner:
        span.add_module(sibling, parent._modules[sibling])
        if sibling != name:
            del parent._modules[sibling]
    # A new container is in train mode.
    span.training = body.training
    return span


def _attention(body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    channels, pixels = arguments["channels"], arguments["pixels"]
    attention = TokenAttention(channels, arguments["heads"], pixels)
    return Residual(body, nn.Sequential(attention, Gate(channels, 1 if pixels else -1)))


def _branch(body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    into, out = arguments["into"], arguments["out"]
    if not arguments["pixels"]:
        return Branched(body, nn.Sequential(nn.Linear(into, out), nn.GELU(), Gate(out, -1)))
    conv = _conv(arguments)(into, out, 3, stride=tuple(arguments["stride"]), padding=1)
    return Branched(body, nn.Sequential(conv, nn.ReLU(), Gate(out, 1)))


PARTS: dict[str, Callable[[nn.Module, nn.Module, str, dict[str, Any]], nn.Module]] = {
    "identity_layer": _identity_layer,
    "gated_layer": _gated_layer,
    "shortcut": _shortcut,
    "attention": _attention,
    "branch": _branch,
}


def build_module(kind: str, body: nn.Module, parent: nn.Module, name: str, arguments: dict[str, Any]) -> nn.Module:
    """The module that takes the place of `body`.

    Raises:
        MorphError: an unknown kind.
    """
    if kind not in PARTS:
        raise MorphError(f"a part among {', '.join(PARTS)}", repr(kind), "make the plan again")
    return PARTS[kind](body, parent, name, arguments)
