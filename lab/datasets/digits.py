"""The default: scikit-learn's handwritten digits, real and on every machine that has the lab."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lab.base import derive_seed
from lab.datasets.bundle import DataBundle
from lab.datasets.sources import Source
from lab.datasets.splits import stratified_parts

TEST_SHARE = 0.2
FILE = "datasets/data/digits.csv.gz"
"""Of scikit-learn, in its package."""


def load_digits_bundle(source: Source) -> DataBundle:
    """1,797 digits of 8x8 pixels with 17 grey levels, scaled to [0, 1]; a fifth of each class is the test part.

    The set has no test part of its own; this one is the same for every run seed, so that runs can be compared.

    Source: Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits; scikit-learn ships its test file.
    """
    table_NC = _table()
    x_NCHW = torch.from_numpy((table_NC[:, :-1].reshape(-1, 1, 8, 8) / 16).astype(np.float32))
    y_N = torch.from_numpy(table_NC[:, -1].astype(np.int64))
    train, test = stratified_parts(y_N, (1 - TEST_SHARE, TEST_SHARE), seed=derive_seed(0, "digits", "test"))
    return DataBundle.of_source(
        source,
        classes=tuple("0123456789"),
        x_train=x_NCHW[train],
        y_train=y_N[train],
        x_test=x_NCHW[test],
        y_test=y_N[test],
    )


def _table() -> NDArray[np.float64]:
    """(1797, 65): 64 grey levels and the class of each digit, as scikit-learn's file has them.

    Read without the package: its import, which brings pandas, takes a second of the start of each run.
    """
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / FILE
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as lines:
                return np.loadtxt(lines, delimiter=",", dtype=np.float64)
    # A version that keeps its file elsewhere.
    from sklearn.datasets import load_digits

    pixels_NP, labels_N = load_digits(return_X_y=True)
    return np.column_stack([pixels_NP, labels_N]).astype(np.float64)
