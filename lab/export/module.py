"""The source of a plain module that needs torch alone, written from a network's structure.

What is written holds only what occurs: the primitives of the cell, the cell as the sums that it computes, the
reduction between stages, the network with the widths and lengths that its stages have after growth.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from lab.base import ConfigError
from lab.nn import STAGES, EvolvableNetwork, StageBackbone
from lab.space import Edge, Genotype

CONVOLUTIONS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
"""Primitives with weights, and the side of their kernel."""

HEADER = '''"""{title}

Needs torch alone. Input: (B, {channels}, H, W), float32, trained at {height}x{width}, each channel as
(pixel - mean) / deviation with MEAN and DEVIATION below; 8-bit pixels are divided by 255 before.
Output: logits (B, {classes}).

    import torch
    from {stem} import Network

    network = Network()
    network.load_state_dict(torch.load("{weights}", weights_only=True))
    network.eval()
"""

import torch
from torch import Tensor, nn

MEAN = {mean}
DEVIATION = {deviation}
CLASSES = {names}
'''

CONV_NORM = '''
class ConvNorm(nn.Module):
    """BatchNorm(conv(ReLU(x))), same size."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(torch.relu(x)))
'''

AVERAGE_POOL = '''
def average_pool(x: Tensor) -> Tensor:
    """Mean over the 3x3 neighbourhood, what lies outside the map not counted, same size."""
    return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
'''

REDUCTION = '''
class Reduction(nn.Module):
    """Residual block of stride 2 between two stages."""

    def __init__(self, source: int, inner: int, target: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(source, inner, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, target, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(target)
        self.shortcut = nn.Conv2d(source, target, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm1(self.conv1(torch.relu(x)))
        inner = self.norm2(self.conv2(torch.relu(inner)))
        pooled = nn.functional.avg_pool2d(x, 2, stride=2, ceil_mode=True)
        return inner + self.shortcut(pooled)
'''

NETWORK = '''
class Network(nn.Module):
    """Stem, {stages} stages of cells, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d({in_channels}, {width}, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d({width})
{modules}
        self.head_norm = nn.BatchNorm2d({last})
        self.classifier = nn.Linear({last}, {classes})

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x))
{calls}
        return self.classifier(torch.relu(self.head_norm(x)).mean((2, 3)))
'''


@dataclass(frozen=True, kw_only=True)
class PlainModule:
    """A network without the lab's classes."""

    classes: str
    """Source of its classes; `Network` is the whole."""
    state: dict[str, Tensor]
    """What `Network().load_state_dict` takes."""


def plain_module(network: nn.Module) -> PlainModule:
    """Source and state of a module that computes what `network` computes.

    Raises:
        ConfigError: a network of another kind than cells of one input in three stages.
    """
    if not isinstance(network, EvolvableNetwork) or not isinstance(network.backbone, StageBackbone):
        kind = network.genotype.space.name if isinstance(network, EvolvableNetwork) else type(network).__name__
        raise ConfigError(
            "a network of space nb201, whose source can be written", f"one of {kind}", "export it with --to pt2 or onnx"
        )
    backbone = network.backbone
    parts = [_primitives(network.genotype), _cell(network.genotype), REDUCTION, _network(backbone)]
    return PlainModule(classes="\n".join(part for part in parts if part), state=_state(network, backbone))


def _primitives(genotype: Genotype) -> str:
    parts = [CONV_NORM] if set(genotype.primitives) & set(CONVOLUTIONS) else []
    parts += [AVERAGE_POOL] if "avg_pool_3x3" in genotype.primitives else []
    return "\n".join(parts)


def _edge_name(edge: Edge) -> str:
    return f"edge_{edge.target}_{edge.source}"


def _cell(genotype: Genotype) -> str:
    """The class of the cell: a module for each convolution, a line for each node."""
    pairs = list(zip(genotype.space.edges, genotype.primitives, strict=True))
    modules = [
        f"        self.{_edge_name(edge)} = ConvNorm(channels, {CONVOLUTIONS[name]})"
        for edge, name in pairs
        if name in CONVOLUTIONS
    ]
    lines = []
    for node in range(1, genotype.space.nodes):
        terms = [_term(edge, name) for edge, name in pairs if edge.target == node and name != "none"]
        lines.append(f"        x{node} = {' + '.join(terms) or 'torch.zeros_like(x0)'}")
    text = [
        "",
        "class Cell(nn.Module):",
        '    """Nodes x0 (input) to '
        f"x{genotype.space.nodes - 1} (output); each is the sum over the edges that come in:",
        "",
        f"    {genotype}",
        '    """',
        "",
        "    def __init__(self, channels: int) -> None:",
        "        super().__init__()",
        *modules,
        "",
        "    def forward(self, x0: Tensor) -> Tensor:",
        *lines,
        f"        return x{genotype.space.nodes - 1}",
        "",
    ]
    return "\n".join(text)


def _term(edge: Edge, name: str) -> str:
    source = f"x{edge.source}"
    if name in CONVOLUTIONS:
        return f"self.{_edge_name(edge)}({source})"
    return f"average_pool({source})" if name == "avg_pool_3x3" else source


def _network(backbone: StageBackbone) -> str:
    modules, calls = [], []
    for stage, length in enumerate(backbone.stage_lengths):
        cells = ", ".join([f"Cell({backbone.width(stage)})"] * length)
        if length:
            modules.append(f"        self.stage{stage} = nn.Sequential({cells})")
            calls.append(f"        x = self.stage{stage}(x)")
        if stage < STAGES - 1:
            inner = backbone.get_submodule(f"reductions.{stage}.conv1")
            assert isinstance(inner, nn.Conv2d)
            widths = f"{inner.in_channels}, {inner.out_channels}, {backbone.width(stage + 1)}"
            modules.append(f"        self.reduction{stage} = Reduction({widths})")
            calls.append(f"        x = self.reduction{stage}(x)")
    return NETWORK.format(
        stages=STAGES,
        in_channels=backbone.stem.in_channels,
        width=backbone.width(0),
        last=backbone.width(STAGES - 1),
        classes=backbone.classifier.out_features,
        modules="\n".join(modules),
        calls="\n".join(calls),
    )


def _state(network: EvolvableNetwork, backbone: StageBackbone) -> dict[str, Tensor]:
    """The network's tensors under the names of the plain module."""
    space = network.genotype.space
    names: dict[str, str] = {f"backbone.reductions.{stage}": f"reduction{stage}" for stage in range(STAGES - 1)}
    number = 0
    for stage, length in enumerate(backbone.stage_lengths):
        for place in range(length):
            for row, edge in enumerate(space.edges):
                names[f"backbone.cells.{number}.edges.{row}"] = f"stage{stage}.{place}.{_edge_name(edge)}"
            number += 1
    state = {}
    for name, tensor in network.state_dict().items():
        prefix = next((old for old in names if name.startswith(f"{old}.")), "backbone")
        renamed = f"{names[prefix]}{name[len(prefix) :]}" if prefix in names else name.removeprefix("backbone.")
        state[renamed] = tensor.detach().clone().contiguous()
    return state
