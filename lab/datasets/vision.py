"""Torchvision's sets, read whole from files that are there or that were asked for with `download`."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from lab.base import DataError
from lab.datasets.bundle import DataBundle
from lab.datasets.config import DataConfig
from lab.datasets.sources import Source

DAMAGED = (RuntimeError, ValueError, AssertionError, KeyError, OSError, EOFError)
"""What torchvision's readers raise on a file that is cut short or of another form."""


def load_vision_bundle(source: Source, config: DataConfig) -> DataBundle:
    """One of torchvision's sets from `config.data_dir`, fetched there first where `config.download` is set.

    Raises `DataError` where it is not there, cannot be fetched, or is damaged.
    """
    root = Path(config.data_dir).expanduser()
    if source.missing(root):
        if not config.download:
            raise missing_error(source, root)
        download(source, root)
    try:
        classes, x_train, y_train = read_part(source.name, root, train=True)
        _, x_test, y_test = read_part(source.name, root, train=False)
    except DAMAGED as error:
        got = f"a damaged file in {(root / source.folder).resolve()} ({one_line(error)})"
        hint = "delete that folder's files of the set and fetch them again with --download"
        raise DataError(f"the {source.title} files as published", got, hint) from error
    return DataBundle.of_source(source, classes=classes, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def missing_error(source: Source, root: Path) -> DataError:
    """Where the set was looked for, and both ways to get it."""
    folder = (root / source.folder).resolve()
    missing = [path.name for path in source.missing(root)]
    packed = all(path.with_name(path.name + ".gz").is_file() for path in source.missing(root))
    got = "only the packed .gz files" if packed else f"no {', '.join(missing)}"
    by_hand = "unpack them beside the .gz files" if packed else f"put {', '.join(source.files)} there"
    return DataError(f"{source.title} in {folder}", got, f"add --download, or {by_hand}")


def download(source: Source, root: Path) -> None:
    """Fetch both parts through torchvision, which checks them and leaves alone what is there."""
    try:
        for train in (True, False):
            open_part(source.name, root, train=train, download=True)
    except DAMAGED as error:
        got = f"the download into {root.resolve()} failed ({one_line(error)})"
        by_hand = f"put {', '.join(source.files)} into {(root / source.folder).resolve()}"
        raise DataError(f"{source.title} from the network", got, f"try again, or {by_hand}") from error


def open_part(name: str, root: Path, *, train: bool, download: bool) -> datasets.VisionDataset:
    """Torchvision's own object for one part."""
    match name:
        case "svhn":
            return datasets.SVHN(root, split="train" if train else "test", download=download)
        case "fashion-mnist":
            return datasets.FashionMNIST(root, train=train, download=download)
        case "mnist":
            return datasets.MNIST(root, train=train, download=download)
        case "cifar10":
            return datasets.CIFAR10(root, train=train, download=download)
        case _:
            return datasets.CIFAR100(root, train=train, download=download)


def read_part(name: str, root: Path, *, train: bool) -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Class names, images (N, C, H, W) uint8 and labels (N,) of one part."""
    part = open_part(name, root, train=train, download=False)
    match name:
        case "svhn":
            return tuple("0123456789"), torch.from_numpy(part.data.copy()), torch.from_numpy(part.labels)
        case "mnist" | "fashion-mnist":
            classes = tuple("0123456789") if name == "mnist" else tuple(part.classes)
            return classes, part.data[:, None], part.targets
        case _:
            pixels = torch.from_numpy(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)))
            return tuple(part.classes), pixels, torch.tensor(part.targets, dtype=torch.int64)


def one_line(error: Exception) -> str:
    """An error of a library as one line of at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
