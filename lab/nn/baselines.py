"""The fixed cells that a search is held against, and networks of them by size."""

from collections.abc import Mapping
from types import MappingProxyType

from lab.base import ConfigError
from lab.nn.evolvable import EvolvableNetwork
from lab.space import DARTS, NB125, NB201, Genotype, Space, parse_genotype


def six_convolutions() -> Genotype:
    """The cell of six 3x3 convolutions: strong, and found by nobody."""
    return Genotype(NB201, ("nor_conv_3x3",) * len(NB201.edges))


BASELINES: Mapping[Space, Genotype] = MappingProxyType(
    {
        NB201: six_convolutions(),
        NB125: Genotype(NB125, ("nor_conv_3x3",) * len(NB125.edges)),
        DARTS: parse_genotype(
            "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
            "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
            "normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
            "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
            "('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
        ),
    }
)
"""The fixed cell of each space; for DARTS the one that its authors found on CIFAR-10 (Liu, Simonyan, Yang 2019, figures
4 and 5, second order)."""


def channels_for(genotype: Genotype, parameters: int, *, layers: int, num_classes: int, in_channels: int) -> int:
    """The number of first-stage channels whose network of `genotype` is nearest to `parameters` in size.

    Args:
        genotype: the cell of the network.
        parameters: number of parameters to come near to, >= 1.
        layers: number of cells.
        num_classes: N >= 2.
        in_channels: of the input, >= 1.
    """

    def size(channels: int) -> int:
        net = EvolvableNetwork(
            genotype, channels=channels, layers=layers, num_classes=num_classes, in_channels=in_channels
        )
        return sum(p.numel() for p in net.parameters())

    channels = 1
    while size(channels + 1) <= parameters:
        channels += 1
    return min((channels, channels + 1), key=lambda count: abs(size(count) - parameters))


def parse_cell(text: str, space: Space) -> Genotype:
    """The genotype that `text` names; the space's baseline where it is empty.

    Args:
        text: as `lab.space.parse_genotype` takes it, or empty.
        space: that the cell must be of.

    Raises:
        ConfigError: another notation, or a cell of another space.
    """
    try:
        genotype = parse_genotype(text) if text else BASELINES[space]
    except ConfigError as error:
        raise ConfigError(f"--fixed-cell as {error.expected}", error.got, error.hint) from error
    if genotype.space != space:
        raise ConfigError(f"--fixed-cell of space {space.name}", genotype.space.name, "set --space accordingly")
    return genotype
