"""The small convolutional network of the source documents, on which lessons and tests show surgery."""

from collections import OrderedDict

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Three 3x3 convolutions with BatchNorm and ReLU, two poolings, two linear layers, for 32x32 images.

    Args:
        num_classes: logits.
        size: side of the square images, a multiple of 4.
        in_channels: of the images.
        channels: units C of the first convolution; then 2 C, 4 C, and 8 C in the hidden linear layer.
    """

    def __init__(self, num_classes: int = 10, size: int = 32, in_channels: int = 3, channels: int = 32) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = in_channels
        for number, width in enumerate((channels, 2 * channels, 4 * channels), start=1):
            layers[f"conv{number}"] = nn.Conv2d(before, width, 3, padding=1)
            layers[f"norm{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU()
            if number < 3:
                layers[f"pool{number}"] = nn.MaxPool2d(2)
            before = width
        self.features = nn.Sequential(layers)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(before * (size // 4) ** 2, 2 * before), nn.ReLU(), nn.Linear(2 * before, num_classes)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits (B, num_classes)."""
        logits_BN: Tensor = self.classifier(self.flatten(self.features(x_BCHW)))
        return logits_BN


def small_cnn(num_classes: int = 10, size: int = 32, in_channels: int = 3, channels: int = 32) -> SmallCNN:
    """A fresh `SmallCNN`; 2,193,674 parameters as it stands.

    Args:
        num_classes: logits.
        size: side of the square images, a multiple of 4.
        in_channels: of the images.
        channels: units of the first convolution.
    """
    return SmallCNN(num_classes, size, in_channels, channels)


seed_cnn = small_cnn
"""The name that the source documents and earlier runs have for it."""
