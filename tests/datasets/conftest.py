"""Small data sets that tests write themselves, and the real one that may lie beside the checkout."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

FASHION = Path(__file__).resolve().parents[3] / "shared/data/FashionMNIST/raw"


@pytest.fixture
def arrays():
    """Arrays of a sound .npz file: 60 training and 20 test images, 4 classes."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (60, 9, 7, 3), dtype=np.uint8),
        "y_train": np.arange(60) % 4,
        "x_test": rng.integers(0, 256, (20, 9, 7, 3), dtype=np.uint8),
        "y_test": np.arange(20) % 4,
    }


@pytest.fixture
def idx_folder(tmp_path):
    """A data folder with MNIST's four files in their real format, 40 training and 20 test images."""
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())
    return tmp_path


@pytest.fixture
def fashion_packed(tmp_path):
    """A data folder with Fashion-MNIST's four published .gz files."""
    if not FASHION.is_dir():
        pytest.skip("Fashion-MNIST's published files (28 MB) are not beside the checkout")
    shutil.copytree(FASHION, tmp_path / "FashionMNIST/raw")
    return tmp_path


@pytest.fixture
def fashion_folder(fashion_packed):
    """The same, unpacked."""
    for packed in (fashion_packed / "FashionMNIST/raw").glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    return fashion_packed
