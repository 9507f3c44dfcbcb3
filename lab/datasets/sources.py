"""What is known of each named set without reading it: its form, its origin, and the files it consists of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import require_range

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR10_FILES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of a training image that keep its class."""

    shift: int = 0
    """Largest shift in pixels along each axis, both ways; what moves in is black. 0 to 16."""
    flip: bool = False
    """Mirror half of the samples left to right."""

    def __post_init__(self) -> None:
        require_range("shift", self.shift, 0, 16)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One named set."""

    name: str
    """Name given to `--dataset`."""
    title: str
    """Name that people know it by; synthetic sets say so here."""
    shape: tuple[int, ...]
    """Channels, height, width; of records the positions of a text and the columns of a table; of sentences their words
    at most."""
    num_classes: int
    train: int
    """Samples of its training part, before any division."""
    test: int
    """Samples of its test part."""
    origin: str
    """Who made it, and when."""
    licence: str
    """Under which terms it may be used."""
    augmentation: Augmentation = Augmentation()
    """What may be done to its training images."""
    synthetic: bool = False
    folder: str = ""
    """Folder of its files inside the data folder; empty for the data folder itself."""
    files: tuple[str, ...] = ()
    """Files that have to be there; none where the set needs no download."""

    def missing(self, data_dir: Path) -> tuple[Path, ...]:
        """Files that are not under `data_dir`."""
        return tuple(path for name in self.files if not (path := data_dir / self.folder / name).is_file())


SOURCES = (
    Source(
        name="digits",
        title="digits",
        shape=(1, 8, 8),
        num_classes=10,
        train=1438,
        test=359,
        origin="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), through scikit-learn",
        licence="CC BY 4.0",
        augmentation=Augmentation(shift=1),
    ),
    Source(
        name="shapes",
        title="shapes (synthetic)",
        shape=(3, 32, 32),
        num_classes=10,
        train=4000,
        test=1000,
        origin="drawn by lab.datasets.shapes",
        licence="MIT, as the lab",
        synthetic=True,
        augmentation=Augmentation(shift=2, flip=True),
    ),
    Source(
        name="fashion-mnist",
        title="Fashion-MNIST",
        shape=(1, 28, 28),
        num_classes=10,
        train=60_000,
        test=10_000,
        origin="H. Xiao, K. Rasul and R. Vollgraf (Zalando Research, 2017)",
        licence="MIT",
        folder="FashionMNIST/raw",
        files=MNIST_FILES,
        augmentation=Augmentation(shift=2, flip=True),
    ),
    Source(
        name="mnist",
        title="MNIST",
        shape=(1, 28, 28),
        num_classes=10,
        train=60_000,
        test=10_000,
        origin="Y. LeCun, C. Cortes and C. J. C. Burges (1998)",
        licence="CC BY-SA 3.0",
        folder="MNIST/raw",
        files=MNIST_FILES,
        augmentation=Augmentation(shift=2),
    ),
    Source(
        name="cifar10",
        title="CIFAR-10",
        shape=(3, 32, 32),
        num_classes=10,
        train=50_000,
        test=10_000,
        origin="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        licence="none stated by its author; cite the report",
        folder="cifar-10-batches-py",
        files=CIFAR10_FILES,
        augmentation=Augmentation(shift=4, flip=True),
    ),
    Source(
        name="cifar100",
        title="CIFAR-100",
        shape=(3, 32, 32),
        num_classes=100,
        train=50_000,
        test=10_000,
        origin="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        licence="none stated by its author; cite the report",
        folder="cifar-100-python",
        files=("train", "test", "meta"),
        augmentation=Augmentation(shift=4, flip=True),
    ),
    Source(
        name="svhn",
        title="SVHN",
        shape=(3, 32, 32),
        num_classes=10,
        train=73_257,
        test=26_032,
        origin="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng (2011)",
        licence="for non-commercial use",
        files=("train_32x32.mat", "test_32x32.mat"),
        augmentation=Augmentation(shift=2),
    ),
)
"""Sets of images."""
NAMES = tuple(source.name for source in SOURCES)
MULTITASK = "multitask"
"""Name given to `--dataset`."""
MULTITASK_SOURCE = Source(
    name=MULTITASK,
    title="tumours: real records and targets, synthetic texts",
    shape=(30, 15),
    num_classes=2,
    train=456,
    test=113,
    origin="W. Wolberg, W. Street and O. Mangasarian, Breast Cancer Wisconsin (Diagnostic) (UCI, 1995), "
    "by scikit-learn",
    licence="CC BY 4.0",
    synthetic=True,
)
"""Records with a table, a text and several targets; its texts are synthetic."""
SENTENCES = "sentences"
"""Name given to `--dataset`."""
SENTENCES_SOURCE = Source(
    name=SENTENCES,
    title="sentences (synthetic)",
    shape=(15,),
    num_classes=2,
    train=1200,
    test=300,
    origin="written by lab.text.sentences",
    licence="MIT, as the lab",
    synthetic=True,
)
"""Labelled sentences with spans, which a program writes."""


def find_source(name: str) -> Source | None:
    """The named set that `name` means, whatever its case, hyphens and underscores; None where there is none."""
    plain = name.lower().replace("-", "").replace("_", "")
    return next((source for source in SOURCES if source.name.replace("-", "") == plain), None)


def describe(data_dir: str | Path = "data") -> list[dict[str, Any]]:
    """Every named set of images as JSON-ready data: its form, origin and licence, and whether its files are here."""
    root = Path(data_dir).expanduser()
    return [_describe(source, root) for source in SOURCES]


def describe_multitask() -> dict[str, Any]:
    """The set of records, described as `describe` does; `synthetic` is true since its texts are."""
    return _describe(MULTITASK_SOURCE, Path())


def describe_sentences() -> dict[str, Any]:
    """The set of labelled sentences, described as `describe` does."""
    return _describe(SENTENCES_SOURCE, Path())


def _describe(source: Source, root: Path) -> dict[str, Any]:
    return {
        "name": source.name,
        "title": source.title,
        "synthetic": source.synthetic,
        "shape": list(source.shape),
        "classes": source.num_classes,
        "train": source.train,
        "test": source.test,
        "needs_download": bool(source.files),
        "found": not source.missing(root),
        "source": source.origin,
        "licence": source.licence,
    }
