"""What is known of each named set without reading it: its form, its origin, and the files it consists of."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lab.datasets.bundle import Augmentation, DataBundle

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR10_FILES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One named set."""

    name: str
    """Name given to `--dataset`."""
    title: str
    """Name that people know it by; synthetic sets say so here."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    num_classes: int
    train: int
    """Samples of its training part, before any division."""
    test: int
    """Samples of its test part."""
    origin: str
    """Who made it, and when."""
    licence: str
    """Under which terms it may be used."""
    augmentation: Augmentation
    """What may be done to its training images."""
    synthetic: bool = False
    folder: str = ""
    """Folder of its files inside the data folder; empty for the data folder itself."""
    files: tuple[str, ...] = ()
    """Files that have to be there; none where the set needs no download."""

    def missing(self, data_dir: Path) -> tuple[Path, ...]:
        """Files that are not under `data_dir`."""
        return tuple(path for name in self.files if not (path := data_dir / self.folder / name).is_file())

    def bundle(
        self, *, classes: tuple[str, ...], x_train: Tensor, y_train: Tensor, x_test: Tensor, y_test: Tensor
    ) -> DataBundle:
        """The set's tensors together with what is known of it; raises `DataError` where they are unsound."""
        return DataBundle(
            name=self.name,
            title=self.title,
            synthetic=self.synthetic,
            classes=classes,
            x_train=x_train,
            y_train=y_train,
            x_test=x_test,
            y_test=y_test,
            source=self.origin,
            licence=self.licence,
            augmentation=self.augmentation,
        )


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
NAMES = tuple(source.name for source in SOURCES)


def find_source(name: str) -> Source | None:
    """The named set that `name` means, whatever its case, hyphens and underscores; None where there is none."""
    plain = name.lower().replace("-", "").replace("_", "")
    return next((source for source in SOURCES if source.name.replace("-", "") == plain), None)
