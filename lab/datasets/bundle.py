"""A loaded data set: checked tensors and where they come from.

Shapes: N samples, C channels, H height, W width, K classes.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lab.base import DataError
from lab.datasets.sources import Augmentation, Source


@dataclass(frozen=True, kw_only=True, eq=False)
class DataBundle:
    """A whole data set in memory, on the CPU, as it was stored: not normalised, not divided.

    Raises `DataError` where the tensors do not belong together: another shape, a label without a class, NaN.
    """

    name: str
    """Short name, as given to `DataConfig`."""
    title: str
    """What a page or a table shows; synthetic sets say so here."""
    synthetic: bool
    """True where the images were drawn by a program."""
    classes: tuple[str, ...]
    """Name of each of the K classes."""
    x_train: Tensor
    """Training images (N, C, H, W): uint8 in 0..255, or float32."""
    y_train: Tensor
    """Training labels (N,), int64 in 0..K-1."""
    x_test: Tensor
    """Test images, of the form of `x_train`."""
    y_test: Tensor
    """Test labels, of the form of `y_train`."""
    source: str
    """Who made it, and when."""
    licence: str
    """Under which terms it may be used."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """What may be done to its training images."""

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            problem = find_problem(x, y, len(self.classes))
            if problem:
                expected, got = problem
                raise DataError(f"{expected} in {self.name}", f"{got} in the {part} part", "fix the data set")
        if self.x_train.shape[1:] != self.x_test.shape[1:] or self.x_train.dtype != self.x_test.dtype:
            got = " and ".join(f"{tuple(x.shape[1:])} {x.dtype}" for x in (self.x_train, self.x_test))
            raise DataError(f"train and test images of one form in {self.name}", got, "fix the data set")
        if len(self.classes) < 2:
            raise DataError(f"two classes or more in {self.name}", "one class only", "add samples of another class")
        counts = torch.bincount(self.y_train, minlength=len(self.classes))
        missing = [self.classes[k] for k in (counts == 0).nonzero().flatten().tolist()]
        if missing:
            got = f"none of {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}"
            raise DataError(f"training samples of every class in {self.name}", got, "add some, or renumber the labels")

    @classmethod
    def of_source(
        cls,
        source: Source,
        *,
        classes: tuple[str, ...],
        x_train: Tensor,
        y_train: Tensor,
        x_test: Tensor,
        y_test: Tensor,
    ) -> "DataBundle":
        """The tensors of a named set together with what is known of it; raises `DataError` where they are unsound."""
        return cls(
            name=source.name,
            title=source.title,
            synthetic=source.synthetic,
            classes=classes,
            x_train=x_train,
            y_train=y_train,
            x_test=x_test,
            y_test=y_test,
            source=source.origin,
            licence=source.licence,
            augmentation=source.augmentation,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self.x_train.shape
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return len(self.classes)


def find_problem(x_NCHW: Tensor, y_N: Tensor, num_classes: int) -> tuple[str, str] | None:
    """What was expected of one part and what came; None where the part is sound."""
    if x_NCHW.ndim != 4 or x_NCHW.dtype not in (torch.uint8, torch.float32):
        return "images (N, C, H, W) of uint8 or float32", f"{tuple(x_NCHW.shape)} {x_NCHW.dtype}"
    if min(x_NCHW.shape) == 0:
        return "at least one image of at least one pixel", f"shape {tuple(x_NCHW.shape)}"
    if y_N.ndim != 1 or y_N.dtype != torch.int64 or len(y_N) != len(x_NCHW):
        return f"{len(x_NCHW)} int64 labels", f"labels {tuple(y_N.shape)} {y_N.dtype}"
    if x_NCHW.dtype == torch.float32 and not torch.isfinite(x_NCHW).all():
        return "finite pixels", f"{int((~torch.isfinite(x_NCHW)).sum())} NaN or infinite pixels"
    low, high = int(y_N.min()), int(y_N.max())
    if low < 0 or high >= num_classes:
        return f"labels from 0 to {num_classes - 1}", f"labels from {low} to {high}"
    return None
