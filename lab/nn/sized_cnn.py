"""The small convolutional network in every width and depth of the space `sizes`."""

from torch import Tensor, nn

from lab.base import require, require_range
from lab.space import SIZES, Genotype

POOLED = 2
"""Stages that end with a pooling, the first ones, as in `small_cnn`."""


class SizedCNN(nn.Module):
    """Three stages of 3x3 convolutions with BatchNorm and ReLU, two poolings, two linear layers.

    Args:
        genotype: of `SIZES`: channels and convolutions of each stage; 32x1, 64x1, 128x1 has `small_cnn`'s layers.
        num_classes: logits, >= 2.
        in_channels: of the images, >= 1.
        size: side of the square images, >= 4.

    Raises:
        ConfigError: a genotype of another space, or a number outside its range.
    """

    def __init__(self, genotype: Genotype, num_classes: int = 10, in_channels: int = 3, size: int = 32) -> None:
        super().__init__()
        require(
            genotype.space == SIZES,
            expected=f"a genotype of space {SIZES.name}",
            got=genotype.space.name,
            hint="build cells by EvolvableNetwork",
        )
        require_range("num_classes", num_classes, 2)
        require_range("in_channels", in_channels, 1)
        require_range("size", size, 2**POOLED)
        self.genotype = genotype
        layers: list[nn.Module] = []
        before = in_channels
        for stage, text in enumerate(genotype.primitives):
            width, depth = map(int, text.split("x"))
            for _ in range(depth):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                before = width
            if stage < POOLED:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(before * (size // 2**POOLED) ** 2, 2 * before), nn.ReLU(), nn.Linear(2 * before, num_classes)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits (B, num_classes)."""
        logits_BN: Tensor = self.classifier(self.flatten(self.features(x_BCHW)))
        return logits_BN


def sized_cnn(genotype: Genotype, num_classes: int = 10, in_channels: int = 3, size: int = 32) -> SizedCNN:
    """A fresh `SizedCNN`; arguments and errors as there."""
    return SizedCNN(genotype, num_classes, in_channels, size)
